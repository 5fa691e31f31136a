#!/usr/bin/env python3
"""Makes tests/data/lr_find_golden.txt: the rates that fastai's four suggestions read from curves.

A curve is computed, here and in tests/test_lr_suggest.c, from whole numbers by + - * / alone, so that
both have the same bits: rate i of n is 2^(i/4) / 2^20 with the quarter powers rounded to 1/1024, and
the loss is a parabola, a cliff, a staircase and so on, with noise from a small generator. A line of
the file is NAME VALLEY STEEP MINIMUM SLIDE. All in float64. The definitions are those of
fastai.callback.schedule (fastai 2): the longest decreasing subsequence for valley, the steepest step
per log rate, a tenth of the rate of the lowest loss, the interval slide rule of width 15 and
threshold 0.005 over numpy.gradient's slopes. Made with Python 3.11 and numpy.
"""

import pathlib

import numpy as np

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "lr_find_golden.txt"
QUARTERS = (1024, 1218, 1448, 1722)  # 1024 * 2^(k/4)


def noise(count):
    """In [-0.5, 0.5), multiples of 1/4096."""
    state, out = 1, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(((state >> 20) - 2048) / 4096)
    return out


def curve(name, count):
    u = noise(count)
    lr = [QUARTERS[i % 4] / 1024 * 2 ** (i // 4) / 2**20 for i in range(count)]
    loss = []
    for i in range(count):
        t = i / count
        if name.startswith("parabola"):
            y = 1 + (t - 0.75) * (t - 0.75) * 4
        elif name.startswith("cliff"):
            fall = t - 0.5
            y = 2.25 if t < 0.5 else 2.25 - fall * 3 - fall * fall if t < 0.75 else 1.25 + fall * 32
        elif name.startswith("stairs"):
            y = 3 - (i // 6) * 0.125 - (i // 6) * (i // 6) / 1024
        elif name.startswith("rising"):
            y = 1 + t * t
        elif name.startswith("falling"):
            y = 3 - 2 * t * t
        else:
            y = 2.0
        loss.append(y + (u[i] / 16 if name.endswith("noisy") else 0))
    return np.array(lr), np.array(loss)


def valley(lr, loss):
    """The first of the longest decreasing subsequences, by its length and its end."""
    longest = np.ones(len(loss), int)
    for i in range(len(loss)):
        before = longest[:i][loss[:i] > loss[i]]
        longest[i] = 1 + (before.max() if len(before) else 0)
    end = int(longest.argmax())
    start = end - int(longest[end]) if longest[end] > 1 else 0
    third = (end - start) / 3
    return lr[max(start + int(third) + int(third / 2), 0)]


def steep(lr, loss):
    return lr[(np.diff(loss) / np.diff(np.log(lr))).argmin()]


def minimum(lr, loss):
    return lr[loss.argmin()] / 10


def slide(lr, loss, width=15, threshold=0.005):
    slope = np.gradient(loss)
    right = len(loss) - 1
    if right < width:
        return float("nan")
    found = lr[right - width]
    while right >= width and abs(slope[right] - slope[right - width]) > threshold:
        found = lr[right - width]
        right -= 1
    return found


def main():
    lines = []
    for name, count in (
        ("parabola", 85), ("parabola-noisy", 85), ("cliff", 85), ("cliff-noisy", 85),
        ("stairs", 60), ("stairs-noisy", 60), ("rising", 40), ("rising-noisy", 40),
        ("falling", 85), ("falling-noisy", 16), ("flat", 30), ("flat-noisy", 100),
        ("falling", 4), ("parabola-noisy", 15),
    ):
        lr, loss = curve(name, count)
        found = [f(lr, loss) for f in (valley, steep, minimum, slide)]
        lines.append(" ".join([name, str(count)] + [format(v, ".17g") for v in found]))
    PATH.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
