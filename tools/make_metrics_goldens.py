#!/usr/bin/env python3
"""Makes tests/data/metrics_golden.txt: scikit-learn's figures for made predictions.

Logits and labels come from the generator that tests/support/numbers.c implements too, changed as
tests/test_metrics.c changes them: a label's own logit is raised, class 5 is never predicted, class 6
has neither samples nor predictions. most_confused is fastai's formula.

Runs in float64; the numbers in the file are rounded to nine digits.
Made with Python 3.11.7, numpy 2.4.6 and scikit-learn 1.9.1.
"""

import pathlib

import numpy as np
from sklearn import metrics

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "metrics_golden.txt"
SAMPLES, CLASSES = 90, 7


def bits(place, count):
    """The first numbers of a stream of tests/support/numbers.c."""
    state, out = place + 1, []
    for _ in range(count + 4):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 20)
    return np.array(out[4:])


def made():
    logits = ((bits(3, SAMPLES * CLASSES) - 2048) / 1024).reshape(SAMPLES, CLASSES)
    label = bits(4, SAMPLES) % (CLASSES - 1)
    logits[np.arange(SAMPLES), label] += 1.25
    logits[:, 5:] -= 8
    assert all(len(set(row)) == CLASSES for row in logits), "equal logits: ranks would not be unique"
    return logits, label


def row(out, name, values):
    out.write(name + "".join(f" {v:.9g}" for v in np.ravel(values)) + "\n")


def most_confused(matrix, least=1):
    matrix = matrix.copy()
    np.fill_diagonal(matrix, 0)
    pairs = [(i, j, matrix[i, j]) for i, j in zip(*np.where(matrix >= least))]
    return sorted(pairs, key=lambda p: p[2], reverse=True)


def main():
    logits, label = made()
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    probs, predicted = np.exp(log_probs), logits.argmax(1)
    every = range(CLASSES)
    loss = -log_probs[np.arange(SAMPLES), label]
    with open(PATH, "w") as out:
        row(out, "predicted", predicted)
        row(out, "loss", loss)
        row(out, "probs", probs[:3])
        for k in (1, 2, 5):
            row(out, f"top{k}", metrics.top_k_accuracy_score(label, logits, k=k, labels=every))
        matrix = metrics.confusion_matrix(label, predicted, labels=every)
        row(out, "confusion", matrix)
        p, r, f, n = metrics.precision_recall_fscore_support(label, predicted, labels=every, zero_division=0)
        for name, values in (("precision", p), ("recall", r), ("f1", f), ("support", n)):
            row(out, name, values)
        for kind in ("macro", "weighted"):
            average = metrics.precision_recall_fscore_support(label, predicted, average=kind, zero_division=0)
            row(out, kind, average[:3])
        row(out, "confused", most_confused(matrix))
        row(out, "confused3", most_confused(matrix, 3))
        row(out, "top_losses", np.argsort(-loss, kind="stable")[:9])


if __name__ == "__main__":
    main()
