#!/usr/bin/env python3
"""Writes tests/data/fine_tune_golden.txt: what fastai's fine_tune does at every step of a run of two
frozen and three free epochs, four batches each: the rates of three groups of layers, the momentum,
and whether the first layer, the norm layer after it and the head are trained.

    python3 tools/make_fine_tune_goldens.py

Made with Python 3.11.7, torch 2.15.0, fastai 2.8.12, fastcore 2.2.39.
"""
import pathlib
from functools import partial

import torch
from fastai.basics import SGD, Callback, DataLoader, DataLoaders, L, Learner, nn, params
from fastai.callback import schedule  # noqa: F401 (gives Learner its fine_tune)

FILE = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "fine_tune_golden.txt"


class Rows(Callback):
    def __init__(self):
        self.rows = []

    def before_step(self):
        body, norm, head = (float(self.model[i].weight.requires_grad) for i in (0, 1, 4))
        rates = [float(group["lr"]) for group in self.opt.hypers]
        self.rows.append([*rates, float(self.opt.hypers[0]["mom"]), body, norm, head])


def main():
    samples = [(torch.randn(3), torch.tensor(i % 2)) for i in range(8)]
    loader = partial(DataLoader, samples, bs=2, device="cpu")
    model = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
    )
    rows = Rows()
    learner = Learner(
        DataLoaders(loader(), loader()),
        model,
        loss_func=nn.CrossEntropyLoss(),
        opt_func=partial(SGD, mom=0.9),
        splitter=lambda m: L(m[:2], m[2:4], m[4:]).map(params),
        cbs=rows,
    )
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(3, base_lr=0.2, freeze_epochs=2)
    text = "".join(" ".join(f"{v:.9g}" for v in row) + "\n" for row in rows.rows)
    FILE.write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
