#!/usr/bin/env python3
"""A training step on PyTorch: what `bench/step` measures, by the program that people use today.

usage: torch_step.py [--model NAME] [--batch N] [--size N] [--threads N] [--steps N] [--device D]
                     [--arm ARM]... [--predict]
       torch_step.py --peak --device D

NAME is simple_cnn, resnet18 or xresnet50 (written here, layer for layer those of Kiln); an arm is
eager, channels-last, bf16 (autocast, channels-last), compile or compile-bf16 (torch.compile of the
same), all that run here if none is named; on a GPU also capture and capture-bf16 (the whole step,
optimizer included, as a CUDA graph) and graph and graph-bf16 (the same of the compiled model). The
step: normalise u8 pictures, forward, cross entropy, backward, plain SGD; with --predict a prediction:
normalise, forward of the trained kind, softmax (bf16: the whole model is; compiled: its weights are
constants). Prints a JSON line for each arm: the median of N steps in milliseconds (on a GPU, whose
data lies there, of N runs of 50 steps that end in waiting for it), and the process's peak memory so
far in MiB. --peak: of products of bf16 matrices of 8192 x 8192, in TFLOP/s.
"""
import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

ARMS = ("eager", "channels-last", "bf16", "compile", "compile-bf16", "capture", "capture-bf16",
        "graph", "graph-bf16")
ROUNDS = 50  # steps on a GPU that are timed as one


def conv(ni, nf, kernel=3, stride=1, bias=False):
    return nn.Conv2d(ni, nf, kernel, stride, kernel // 2, bias=bias)


def simple_cnn():
    sizes = (3, 16, 32, 64, 128)
    layers = []
    for ni, nf in zip(sizes, sizes[1:]):
        layers += [conv(ni, nf, stride=2, bias=True), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


class Block(nn.Module):
    """conv, norm, relu, conv, norm, with a shortcut; xresnet's is pooled, ResNet's strided."""

    def __init__(self, ni, nf, stride, wide, pooled):
        super().__init__()
        out = nf * (4 if wide else 1)
        if wide:
            parts = [(ni, nf, 1, 1), (nf, nf, 3, stride), (nf, out, 1, 1)]
        else:
            parts = [(ni, nf, 3, stride), (nf, out, 3, 1)]
        layers = []
        for a, b, kernel, step in parts:
            layers += [conv(a, b, kernel, step), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers[:-1])
        short = []
        if pooled and stride > 1:
            short.append(nn.AvgPool2d(2, ceil_mode=True))
        if ni != out or stride > 1:
            short += [conv(ni, out, 1, 1 if pooled else stride), nn.BatchNorm2d(out)]
        self.short = nn.Sequential(*short)

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x), inplace=True)


def resnet(counts, wide, deep_stem):
    if deep_stem:
        stem = []
        for a, b, stride in ((3, 32, 2), (32, 32, 1), (32, 64, 1)):
            stem += [conv(a, b, 3, stride), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    else:
        stem = [conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers, ni = [*stem, nn.MaxPool2d(3, 2, 1)], 64
    for stage, count in enumerate(counts):
        for i in range(count):
            nf = 64 << stage
            layers.append(Block(ni, nf, 2 if stage > 0 and i == 0 else 1, wide, deep_stem))
            ni = nf * (4 if wide else 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ni, 10))


MODELS = {
    "simple_cnn": simple_cnn,
    "resnet18": lambda: resnet((2, 2, 2, 2), False, False),
    "xresnet50": lambda: resnet((3, 4, 6, 3), True, True),
}


def stepper(model, arm, batch, size, device):
    torch.manual_seed(1)
    net = MODELS[model]().to(device)
    cuda, whole = device.startswith("cuda"), arm.startswith(("capture", "graph"))
    if arm != "eager":
        net = net.to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(net.parameters(), lr=0.01, foreach=cuda or None)
    run = net
    if arm.startswith("compile"):
        run = torch.compile(net, mode="reduce-overhead" if cuda else None)
    elif arm.startswith("graph"):
        run = torch.compile(net)
    pixels = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device)
    labels = (torch.arange(batch) % 10).to(device)

    def step():
        x = ((pixels.float() / 255 - 0.5) / 0.29).permute(0, 3, 1, 2)
        if arm == "eager":
            x = x.contiguous()
        with torch.autocast(device.split(":")[0], torch.bfloat16, arm.endswith("bf16"),
                            cache_enabled=not whole):
            loss = F.cross_entropy(run(x).float(), labels)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss if cuda else loss.item()

    return step


def predictor(model, arm, batch, size, device):
    torch.manual_seed(1)
    kind = torch.bfloat16 if arm.endswith("bf16") else torch.float32
    net = MODELS[model]().to(device, kind).eval()
    if arm != "eager":
        net = net.to(memory_format=torch.channels_last)
    run = net
    if arm.startswith(("compile", "graph")):
        from torch._inductor import config
        config.freezing = True
        run = torch.compile(net)
    pixels = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=device)

    @torch.inference_mode()
    def step():
        x = ((pixels.float() / 255 - 0.5) / 0.29).permute(0, 3, 1, 2)
        if arm == "eager":
            x = x.contiguous()
        best = torch.softmax(run(x.to(kind)).float(), 1).max()
        return best if device.startswith("cuda") else best.item()

    return step


def captured(step):
    """The step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss

    return replay


def measure(step, steps, arm, cuda):
    if cuda and arm.startswith(("capture", "graph")):  # which warms up on a stream of its own
        step = captured(step)
    for _ in range(3):
        loss = step()
    rounds = ROUNDS if cuda else 1
    taken = []
    for i in range(steps + cuda):
        began = time.perf_counter()
        for _ in range(rounds):
            loss = step()
        if cuda:
            torch.cuda.synchronize()
        if i >= cuda:  # the first on a GPU warms up
            taken.append((time.perf_counter() - began) / rounds)
    return statistics.median(taken) * 1e3, float(loss.detach() if cuda else loss)


def matrix_peak(device, side=8192, rounds=20):
    """The quickest of some products, each followed by the next as in a step, in TFLOP/s."""
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    best = 0
    for _ in range(6):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(rounds):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 2 * side**3 * rounds / (time.perf_counter() - began))
    return best * 1e-12


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", default="simple_cnn", choices=MODELS)
    ap.add_argument("--batch", type=int, default=128)
    ap.add_argument("--size", type=int, default=64)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--arm", action="append", choices=ARMS)
    ap.add_argument("--predict", action="store_true")
    ap.add_argument("--peak", action="store_true")
    a = ap.parse_args()
    if a.peak:
        print(json.dumps({"torch": torch.__version__, "bf16_tflops": matrix_peak(a.device)}))
        return
    torch.set_num_threads(a.threads)
    cuda = a.device.startswith("cuda")
    for arm in a.arm or (ARMS if cuda else ARMS[:5]):
        line = {"torch": torch.__version__, "model": a.model, "batch": a.batch, "size": a.size,
                "threads": a.threads, "device": a.device, "arm": arm}
        try:
            make = predictor if a.predict else stepper
            line["ms"], line["loss"] = measure(make(a.model, arm, a.batch, a.size, a.device),
                                               a.steps, arm, cuda)
        except Exception as error:  # an arm that this version or machine lacks
            line["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        line["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
