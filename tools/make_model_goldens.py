#!/usr/bin/env python3
"""Makes tests/data/models_golden.txt: what torchvision's resnets and fastai's xresnets answer.

Weights, running statistics and pictures come from Philox4x32-10 in arithmetic that is exact, so
tests/test_models.c makes the same numbers. For each model:

    model    NAME, number of parameters, their numbers in all, SHA-256 of the lines "name [shape]"
    eval     logits of two pictures [2,10] in evaluation
    train    loss of four pictures in training
    float32  by how much the norm of a gradient of PyTorch's own float32 is off, at most
    running  the norm of all running statistics after that
    grad     NAME and the norm of its gradient: of every ninth parameter, and of the last

The rest of PyTorch's numbers are in float64. Made with Python 3.11.7, torch 2.15.0, torchvision 0.29.2 and fastai 2.8.12
on a CPU.
"""

import hashlib
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from fastai.vision.models import xresnet

from philox import stream

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "models_golden.txt"
SEED, USER = 2026, 5  # KN_RANDOM_USER
PICTURES, SIDE, CLASSES, PIXELS = 4, 64, 10, 9999
MODELS = ["resnet18", "resnet34", "resnet50", "xresnet18", "xresnet34", "xresnet50"]


def uniform(layer, count):
    """In [0, 1), from the stream of that number."""
    return (stream(SEED, USER, layer, count) >> 8).astype(np.float64) * 2.0**-24


def spread(name, shape):
    """The middle and half the width of the interval that a tensor's numbers fill."""
    if len(shape) > 1:
        return 0.0, np.sqrt(6.0 / np.prod(shape[1:]))
    if name.endswith("running_mean"):
        return 0.0, 0.25
    if name.endswith(("running_var", "weight")):
        return 1.0, 0.25
    return 0.0, 0.125


def fill(model):
    """Numbers the tensors in the order of their registration, num_batches_tracked left out."""
    number = 0
    for name, t in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        middle, half = spread(name, t.shape)
        values = (2 * uniform(number, t.numel()) - 1) * half + middle
        t.copy_(torch.from_numpy(values.astype(np.float32)).reshape(t.shape))
        number += 1


def pictures():
    bits = uniform(PIXELS, PICTURES * SIDE * SIDE * 3)
    x = torch.from_numpy((2 * bits - 1).astype(np.float32).astype(np.float64))
    return x.reshape(PICTURES, SIDE, SIDE, 3).permute(0, 3, 1, 2)


def make(name):
    if name.startswith("x"):
        return getattr(xresnet, name)(n_out=CLASSES)
    return getattr(torchvision.models, name)(num_classes=CLASSES)


def train(name, dtype):
    """The model after a backward pass, and the loss."""
    model = make(name)
    fill(model)
    model.to(dtype).train()
    loss = F.cross_entropy(model(pictures().to(dtype)), torch.arange(PICTURES) % CLASSES)
    loss.backward()
    return model, loss.item()


def error_of_float32(name, parameters):
    single = dict(train(name, torch.float32)[0].named_parameters())
    norms = [(p.grad.norm().item(), single[n].grad.norm().item()) for n, p in parameters]
    return max(abs(a - b) / a for a, b in norms if a > 0)


def write(file, name):
    model = make(name).double()
    fill(model)
    x, parameters = pictures(), list(model.named_parameters())
    lines = "".join(
        f"{n} [{','.join(map(str, t.shape))}]\n" for n, t in model.state_dict().items()
    )
    digest = hashlib.sha256(lines.encode()).hexdigest()
    print("model", name, len(parameters), sum(p.numel() for _, p in parameters), digest, file=file)
    model.eval()
    with torch.no_grad():
        logits = model(x[:2]).reshape(-1).tolist()
    print("eval", *["%.9g" % v for v in logits], file=file)
    model, loss = train(name, torch.float64)
    parameters = list(model.named_parameters())
    running = [t for n, t in model.state_dict().items() if "running_" in n]
    print("train %.9g" % loss, file=file)
    print("float32 %.3g" % error_of_float32(name, parameters), file=file)
    print("running %.9g" % torch.cat(running).norm().item(), file=file)
    for i, (n, p) in enumerate(parameters):
        if i % 9 == 0 or i == len(parameters) - 1:
            print(f"grad {n} %.9g" % p.grad.norm().item(), file=file)
    print("end", file=file)


def main():
    torch.set_num_threads(1)
    with open(PATH, "w", encoding="ascii") as file:
        for name in MODELS:
            write(file, name)
            print(name)


main()
