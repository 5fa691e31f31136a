#!/usr/bin/env python3
"""Makes tests/data/parity_made.txt and parity_real.txt: simple_cnn's loss, gradients and first 20
training steps, as PyTorch computes them.

    make_parity_goldens.py          parity_made.txt: a batch that a generator makes
    make_parity_goldens.py DATA     also parity_real.txt: every 74th training picture of the
                                    Imagenette folder DATA, in path order, 128 in all

Weights, the made batch and the signs below come from Philox4x32-10, as src/core/random.c has it, in
arithmetic that is exact, so tests/test_parity.c makes the same numbers. Pictures are brought
upright, squashed to 64x64 by Pillow and normalised by the batch's own statistics.

A gradient is stored as its norm and 64 projections r_k . g, the r_k being vectors of random signs.
For any vector d the mean of (r_k . d)^2 over such r_k is |d|^2, since the mean of r_ki r_kj is 1 for
i = j and else 0. So the root of the mean square of (r_k . g_kiln - r_k . g_torch) estimates
|g_kiln - g_torch| (within about 9%, one standard deviation, for 64 of them) from a file of a few
kilobytes.

Everything is computed twice, in float32 (what people train in) and in float64 (what is true). In
the file:
    batch    SHA-256 of the pictures' bytes, u8 [128,64,64,3]
    mean, std
    loss     in float32, in float64
    trace32, trace64   losses of 20 steps of plain SGD at 0.1 on this batch
    grad     NAME, its norm in float64, |g32 - g64| / |g64|, then the projections of g64

Made with Python 3.11.7, torch 2.15.0, pillow 13.0.0, numpy 2.4.6 on a CPU, one thread.
"""

import hashlib
import pathlib
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image, ImageOps

from philox import stream

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
SEED, USER = 2026, 5  # KN_RANDOM_USER
N, SIZE, EVERY, STEPS, LR, PROJECTIONS = 128, 64, 74, 20, 0.1, 64
PIXELS, SIGNS = 100, 200  # numbers of streams; parameters have 0 to 9
# name, shape, and in 64ths the width of the interval around 0 that its numbers fill. Somewhat narrower
# than kaiming's and xavier's, so that 20 steps at 0.1 on one batch stay clear of the edge where
# training becomes chaotic: there, float32 and float64 part by 0.01 and more.
PARAMS = [
    ("layers.0.weight", (16, 3, 3, 3), 50),
    ("layers.0.bias", (16,), 4),
    ("layers.1.weight", (32, 16, 3, 3), 22),
    ("layers.1.bias", (32,), 4),
    ("layers.2.weight", (64, 32, 3, 3), 15),
    ("layers.2.bias", (64,), 4),
    ("layers.3.weight", (128, 64, 3, 3), 11),
    ("layers.3.bias", (128,), 4),
    ("layers.5.weight", (10, 128), 12),
    ("layers.5.bias", (10,), 4),
]


def weights():
    """f32 values; 24 random bits times a 64th is exact in f64 and rounded once."""
    out = []
    for i, (_, shape, width) in enumerate(PARAMS):
        unit = (stream(SEED, USER, i, int(np.prod(shape))) >> 8).astype(np.float64) / 2**24 - 0.5
        out.append((unit * (width / 64)).astype(np.float32).reshape(shape))
    return out


def signs(i, count):
    """[count, 64] of -1 and 1: element e's are the bits of the stream's words 2e and 2e + 1."""
    words = stream(SEED, USER, SIGNS + i, 2 * count).reshape(count, 2)
    bits = (words[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1
    return bits.reshape(count, PROJECTIONS).astype(np.float64) * 2 - 1


def made_batch():
    """Pictures of 8x8 squares, each of one colour; the classes in turn."""
    words = stream(SEED, USER, PIXELS, N * 8 * 8 * 3).reshape(N, 8, 8, 3)
    squares = (words >> 24).astype(np.uint8)
    return squares.repeat(8, 1).repeat(8, 2), np.arange(N) % 10


def real_batch(data):
    files = sorted(str(p) for p in pathlib.Path(data, "train").glob("*/*") if p.suffix.lower() in (".jpeg", ".jpg", ".png"))
    classes = sorted({pathlib.Path(f).parent.name for f in files})
    chosen = [files[i * EVERY] for i in range(N)]
    pictures = [ImageOps.exif_transpose(Image.open(f)).convert("RGB") for f in chosen]
    x = np.stack([np.asarray(p.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for p in pictures])
    return x, np.array([classes.index(pathlib.Path(f).parent.name) for f in chosen])


class SimpleCnn(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.values = nn.ParameterList(nn.Parameter(torch.from_numpy(w).to(dtype)) for w in weights())

    def forward(self, x):
        v = self.values
        for i in range(0, 8, 2):
            x = F.relu(F.conv2d(x, v[i], v[i + 1], stride=2, padding=1))
        return F.linear(x.mean((2, 3)), v[8], v[9])


def run(x, y, mean, std, dtype):
    """loss, gradients and trace."""
    x = ((torch.from_numpy(x).to(dtype) / 255 - mean.to(dtype)) / std.to(dtype)).permute(0, 3, 1, 2)
    y = torch.from_numpy(y)
    model = SimpleCnn(dtype)
    opt = torch.optim.SGD(model.parameters(), lr=LR)
    trace, grads = [], None
    for _ in range(STEPS):
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        if grads is None:
            grads = [p.grad.double().numpy().copy() for p in model.values]
        opt.step()
        trace.append(loss.item())
    return trace, grads


def write(path, x, y):
    unit = torch.from_numpy(x).double().reshape(-1, 3) / 255
    mean, std = unit.mean(0).float(), unit.std(0).float()  # rounded once, as Kiln stores them
    trace32, grads32 = run(x, y, mean, std, torch.float32)
    trace64, grads64 = run(x, y, mean, std, torch.float64)
    with open(path, "w") as out:
        print("batch", hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest(), file=out)
        for name, three in ("mean", mean), ("std", std):
            print(name, *(f"{v:.9g}" for v in three.tolist()), file=out)
        print(f"loss {trace32[0]:.9g} {trace64[0]:.12g}", file=out)
        print("trace32", *(f"{v:.9g}" for v in trace32), file=out)
        print("trace64", *(f"{v:.12g}" for v in trace64), file=out)
        for i, (g32, g64) in enumerate(zip(grads32, grads64)):
            norm = np.linalg.norm(g64)
            distance = np.linalg.norm(g32 - g64) / norm
            projections = g64.reshape(-1) @ signs(i, g64.size)
            print(f"grad {PARAMS[i][0]} {norm:.12g} {distance:.3g}", file=out)
            print(*(f"{p:.10g}" for p in projections), file=out)
            print(PARAMS[i][0], f"{norm:.4g}", f"float32 is off by {distance:.2g}", file=sys.stderr)
    print(path.name, "losses", trace64[0], "to", trace64[-1], file=sys.stderr)


def main():
    torch.set_num_threads(1)
    write(FOLDER / "parity_made.txt", *made_batch())
    if len(sys.argv) > 1:
        write(FOLDER / "parity_real.txt", *real_batch(sys.argv[1]))


if __name__ == "__main__":
    main()
