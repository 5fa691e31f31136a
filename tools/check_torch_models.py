#!/usr/bin/env python3
"""Checks that weights go from PyTorch to Kiln and back, from picture file to answer.

    check_torch_models.py KILN PICTURE...

For each resnet: torchvision makes random weights (with running statistics of random pictures) and
writes them as safetensors; `kiln predict --weights` must give PyTorch's probabilities on the
pictures. Then Kiln trains the model for a moment and saves it; torchvision must load the file,
strictly, and give what `kiln predict` gives. Prints the largest difference of log-probabilities,
which are the logits but for a constant a picture; exits 1 above 1e-3.

Checked with torch 2.15.0, torchvision 0.29.2, pillow 13.0.0, safetensors 0.8.0 on a CPU.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SIZE, LIMIT = 128, 1e-3
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def batch(pictures, mean, std):
    def read(path):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        return np.asarray(image.resize((SIZE, SIZE), Image.BICUBIC))

    x = torch.from_numpy(np.stack([read(p) for p in pictures])).float() / 255
    return ((x - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)


def answers(kiln, *arguments):
    done = subprocess.run([kiln, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def log_probs(kiln, *arguments):
    rows = answers(kiln, "predict", "--json", "--img-size", SIZE, "--resize", "squash", *arguments)
    return torch.tensor([row["probs"] for row in rows if "probs" in row]).log()


def torch_log_probs(model, x):
    model.eval()
    with torch.no_grad():
        return model(x).log_softmax(1)


def to_kiln(kiln, name, pictures, folder):
    model = getattr(torchvision.models, name)(num_classes=10)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 64, 64))
    path = folder / f"{name}.safetensors"
    save_file(model.state_dict(), path)
    want = torch_log_probs(model, batch(pictures, *IMAGENET))
    return (want - log_probs(kiln, "--weights", path, "--model", name, *pictures)).abs().max()


def from_kiln(kiln, name, pictures, folder):
    run = folder / f"run-{name}"
    answers(kiln, "train", "shapes", "--recipe", "chapter", "--model", name, "--epochs", 1,
            "--img-size", 64, "--lr", 0.01, "-q", "--json", "-o", run)
    path = run / "model.safetensors"
    with safe_open(path, "pt") as file:
        stored = json.loads(file.metadata()["kiln.input"])
    model = getattr(torchvision.models, name)(num_classes=10)
    model.load_state_dict(load_file(path))
    want = torch_log_probs(model, batch(pictures, stored["mean"], stored["std"]))
    return (want - log_probs(kiln, path, *pictures)).abs().max()


def main():
    kiln, pictures = sys.argv[1], sys.argv[2:]
    torch.manual_seed(0)
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("resnet18", "resnet34", "resnet50"):
            there = float(to_kiln(kiln, name, pictures, pathlib.Path(folder)))
            back = float(from_kiln(kiln, name, pictures, pathlib.Path(folder)))
            print(f"{name}: to Kiln {there:.2g}, from Kiln {back:.2g}")
            worst = max(worst, there, back)
    sys.exit(worst > LIMIT)


main()
