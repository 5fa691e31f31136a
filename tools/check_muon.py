#!/usr/bin/env python3
"""How far Muon's orthogonalisation on the small side of a matrix (src/optim/muon.c, float32) is from
the plain iteration in float64, beside the plain iteration in float32 and in bfloat16, the type it was
published with. Prints, for matrices of several shapes and conditions, the distance of each from the
float64 one relative to that one's norm.

Made with Python 3.11.7 and torch 2.15.0 on a CPU.
"""

import torch

A, B, C = 3.4445, -4.7750, 2.0315


def plain(x):
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x


def on_the_small_side(x):
    x = x.T if x.shape[0] > x.shape[1] else x
    eye = torch.eye(x.shape[0], dtype=x.dtype)
    gram = x @ x.T
    norm = gram.diagonal().double().sum().sqrt().to(x.dtype) + 1e-7
    gram, product = gram / norm**2, None
    for k in range(5):
        q = A * eye + B * gram + C * (gram @ gram)
        if k < 4:
            gram = q @ gram @ q
        product = q if product is None else q @ product
    return product @ x / norm


def matrix(rows, cols, condition):
    """Random directions; singular values from 1 down to 1 / condition in equal ratios."""
    x = torch.randn(rows, cols, dtype=torch.float64)
    if condition is None:
        return x
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    s = condition ** -torch.linspace(0, 1, len(s), dtype=torch.float64)
    return u @ torch.diag(s) @ v


def distance(x, want):
    return ((x.double() - want).norm() / want.norm()).item()


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{'shape':>12} {'condition':>9} {'small side f32':>15} {'plain f32':>10} {'plain bf16':>10}")
    for rows, cols in ((16, 27), (32, 144), (128, 576), (256, 2304), (512, 128), (256, 256)):
        for condition in (None, 1e2, 1e4, 1e6):
            x = matrix(rows, cols, condition)
            want = plain(x)
            row = [distance(f(x.to(t)), want) for f, t in (
                (on_the_small_side, torch.float32), (plain, torch.float32), (plain, torch.bfloat16))]
            name = "random" if condition is None else f"{condition:.0e}"
            print(f"{rows:>6}x{cols:<5} {name:>9} {row[0]:>15.1e} {row[1]:>10.1e} {row[2]:>10.1e}")


if __name__ == "__main__":
    main()
