#!/usr/bin/env python3
"""Makes tests/data/optim_golden.txt: where 20 steps of torch.optim.SGD take three parameters.

The loss of step t is sum(p * (c_t + d * p)) over the parameters p that take part in it, so that a
gradient, c_t + 2 d p, depends on the step and on the weights, and on nothing but the optimizer's own
arithmetic. Numbers come from the generator that tests/support/numbers.c implements too; a case here
has the name and the settings of its row in tests/test_optim.c.

Runs in float64; the numbers in the file are rounded to nine digits, enough for any float32.
Made with Python 3.11.7 and torch 2.15.0 on a CPU.
"""

import pathlib

import torch

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "optim_golden.txt"
SIZES = (5, 3, 37)
STEPS, LR = 20, 0.1


def wide(place, count):
    """The first numbers of a stream: WIDE of tests/support/numbers.c."""
    state, bits = place + 1, []
    for _ in range(count + 4):
        state = (state * 1664525 + 1013904223) % 2**32
        bits.append(state >> 20)
    return torch.tensor([(b - 2048) / 1024 for b in bits[4:]], dtype=torch.float64)


def always(step, i):
    return True


def second_now_and_then(step, i):
    """The second parameter takes part from step 5 on, and then in every third step."""
    return i != 1 or (step >= 5 and step % 3 == 2)


CASES = {
    # name: (a dict for every parameter, which take part, the rate of a step)
    "plain": ([{}, {}, {}], always, None),
    "decay": ([{"weight_decay": 0.05}] * 3, always, None),
    "momentum": ([{"momentum": 0.9}] * 3, always, None),
    "momentum_decay": ([{"momentum": 0.9, "weight_decay": 0.05}] * 3, always, None),
    "groups": (
        [
            {"momentum": 0.9},
            {"lr": 0.01, "weight_decay": 0.2, "momentum": 0.5},
            {"momentum": 0.9},
        ],
        always,
        None,
    ),
    "frozen": ([{"momentum": 0.9, "weight_decay": 0.05}, None, {"momentum": 0.9, "weight_decay": 0.05}], always, None),
    "absent": ([{"momentum": 0.9, "weight_decay": 0.05}] * 3, second_now_and_then, None),
    "scheduled": ([{"momentum": 0.9}] * 3, always, lambda step: LR * (STEPS - step) / STEPS),
}


def run(groups, takes_part, rate):
    params = [torch.nn.Parameter(wide(40 + i, n)) for i, n in enumerate(SIZES)]
    for p, g in zip(params, groups):
        p.requires_grad_(g is not None)
    opt = torch.optim.SGD([{"params": [p], **(g or {})} for p, g in zip(params, groups)], lr=LR)
    for step in range(STEPS):
        if rate is not None:
            for g in opt.param_groups:
                g["lr"] = rate(step)
        loss = 0
        for i, (p, n) in enumerate(zip(params, SIZES)):
            c, d = wide(1000 + 10 * step + i, n), wide(50 + i, n) / 8
            if takes_part(step, i):
                loss = loss + (p * (c + d * p)).sum()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
    return params


def main():
    with open(PATH, "w") as out:
        for name, case in CASES.items():
            out.write(f"case {name}\n")
            for p in run(*case):
                out.write(" ".join(f"{v:.9g}" for v in p.tolist()) + "\n")


if __name__ == "__main__":
    main()
