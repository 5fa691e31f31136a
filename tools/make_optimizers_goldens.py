#!/usr/bin/env python3
"""Makes tests/data/optimizers_golden.txt: where 20 steps of each optimizer take six parameters, and
tests/data/schedules_golden.txt: rates and momentum of each schedule over a run of 592 steps.

The problem is that of make_optim_goldens.py with other shapes; a case here has the name and the
settings of its row in tests/test_optimizers.c. SGD, Adam, AdamW and RAdam are PyTorch's own. fastai's
RAdam, Lookahead and schedules are written from fastai's formulas (fastai 2.8, optimizer.py and
callback/schedule.py), Muon from Jordan's ("Muon", 2024) with the plain iteration on the whole matrix.

Runs in float64; the numbers in the files are rounded to nine digits. Muon's quintic is meant for
bfloat16: its steps from float32 agree with those from float64 less closely than the others'.
Made with Python 3.11.7 and torch 2.15.0 on a CPU.
"""

import math
import pathlib

import torch

from make_optim_goldens import wide

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
SHAPES = ((5,), (4, 6), (8, 2, 3, 3), (12, 5), (3,), (4, 7))
STEPS = 20


# ---- optimizers that PyTorch has not ----


class FastaiRAdam:
    def __init__(self, params, lr, mom, sqr_mom, eps, wd):
        self.lr, self.mom, self.sqr_mom, self.eps, self.wd = lr, mom, sqr_mom, eps, wd
        self.params, self.count = params, 0
        self.avg = [torch.zeros_like(p) for p in params]
        self.sqr = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self):
        self.count += 1
        t, mom, sqr_mom = self.count, self.mom, self.sqr_mom
        r_inf = 2 / (1 - sqr_mom) - 1
        r = r_inf - 2 * t * sqr_mom**t / (1 - sqr_mom**t)
        for p, avg, sqr in zip(self.params, self.avg, self.sqr):
            p.mul_(1 - self.lr * self.wd)
            avg.mul_(mom).add_(p.grad, alpha=1 - mom)
            sqr.mul_(sqr_mom).addcmul_(p.grad, p.grad, value=1 - sqr_mom)
            debias1, debias2 = 1 - mom**t, 1 - sqr_mom**t
            if r > 5:
                v = math.sqrt(((r - 4) * (r - 2) * r_inf) / ((r_inf - 4) * (r_inf - 2) * r))
                p.addcdiv_(avg, (sqr / debias2).sqrt() + self.eps, value=-self.lr * v / debias1)
            else:
                p.add_(avg, alpha=-self.lr / debias1)


class Lookahead:
    def __init__(self, inner, params, k, alpha):
        self.inner, self.params, self.k, self.alpha, self.count = inner, params, k, alpha, 0
        self.slow = [p.detach().clone() for p in params]

    @torch.no_grad()
    def step(self):
        self.inner.step()
        self.count += 1
        if self.count % self.k == 0:
            for slow, fast in zip(self.slow, self.params):
                slow.add_(fast - slow, alpha=self.alpha)
                fast.copy_(slow)


def newton_schulz(g):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


class Muon:
    """Hidden matrices; the rest by AdamW with a rate of lr * ratio."""

    def __init__(self, params, lr, momentum, nesterov, wd, ratio):
        self.hidden = [p for p in params if p.ndim >= 2][:-1]
        rest = [p for p in params if all(p is not q for q in self.hidden)]
        self.adam = torch.optim.AdamW(rest, lr=lr * ratio, betas=(0.9, 0.95), eps=1e-10, weight_decay=wd)
        self.lr, self.momentum, self.nesterov, self.wd = lr, momentum, nesterov, wd
        self.velocity = [torch.zeros_like(p) for p in self.hidden]

    @torch.no_grad()
    def step(self):
        self.adam.step()
        for p, v in zip(self.hidden, self.velocity):
            v.mul_(self.momentum).add_(p.grad)
            x = p.grad + self.momentum * v if self.nesterov else v
            x = x.reshape(len(x), -1)
            form = math.sqrt(max(1, x.shape[0] / x.shape[1]))
            p.mul_(1 - self.lr * self.wd).add_(newton_schulz(x).reshape(p.shape), alpha=-self.lr * form)


# ---- the cases ----


def sgd(**options):
    return lambda params: torch.optim.SGD(params, lr=0.05, **options)


def adamw(lr=0.02, **options):
    return lambda params: torch.optim.AdamW(params, lr=lr, **options)


def adamw_not_rank1(params):
    flat, rest = [p for p in params if p.ndim < 2], [p for p in params if p.ndim >= 2]
    return torch.optim.AdamW([{"params": flat, "weight_decay": 0}, {"params": rest}], lr=0.02, weight_decay=0.5)


def radam(**options):
    return lambda params: torch.optim.RAdam(params, lr=0.05, **options)


def fastai_radam(params):
    return FastaiRAdam(params, 0.05, 0.9, 0.99, 1e-5, 0.1)


def muon(momentum=0.95, nesterov=True, wd=0.0):
    return lambda params: Muon(params, 0.02, momentum, nesterov, wd, 0.1)


# name: (optimizer, does the third parameter take part only now and then)
CASES = {
    "nesterov": (sgd(momentum=0.9, nesterov=True), False),
    "nesterov_decay": (sgd(momentum=0.9, nesterov=True, weight_decay=0.05), True),
    "adamw": (adamw(weight_decay=0), False),
    "adamw_options": (adamw(lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1), True),
    "adamw_no_wd_rank1": (adamw_not_rank1, False),
    "adam_l2": (lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.1), False),
    "radam": (radam(), True),
    "radam_decay": (radam(weight_decay=0.1, decoupled_weight_decay=True, betas=(0.8, 0.99), eps=1e-3), False),
    "radam_l2": (radam(weight_decay=0.1, betas=(0.9, 0.99)), False),
    "radam_fastai": (fastai_radam, False),
    "lookahead": (lambda p: Lookahead(sgd(momentum=0.9)(p), p, 6, 0.5), False),
    "lookahead_3": (lambda p: Lookahead(adamw(weight_decay=0.1)(p), p, 3, 0.8), True),
    "ranger": (lambda p: Lookahead(FastaiRAdam(p, 0.05, 0.95, 0.99, 1e-6, 0.01), p, 6, 0.5), False),
    "muon": (muon(), False),
    "muon_decay": (muon(momentum=0.8, nesterov=False, wd=0.5), False),
}


def run(make, now_and_then):
    params = [torch.nn.Parameter(wide(40 + i, math.prod(s)).reshape(s)) for i, s in enumerate(SHAPES)]
    opt = make(params)
    for step in range(STEPS):
        loss = 0
        for i, (p, s) in enumerate(zip(params, SHAPES)):
            n = math.prod(s)
            c, d = wide(1000 + 10 * step + i, n).reshape(s), wide(50 + i, n).reshape(s) / 8
            if i != 2 or not now_and_then or (step >= 5 and step % 3 == 2):
                loss = loss + (p * (c + d * p)).sum()
        for p in params:
            p.grad = None
        loss.backward()
        opt.step()
    return params


# ---- schedules: fastai's functions of the place in the run ----


def sched_cos(start, end, pos):
    return start + (1 + math.cos(math.pi * (1 - pos))) * (end - start) / 2


def combined_cos(pct, start, middle, end, pos):
    if pos < pct:
        return sched_cos(start, middle, pos / pct)
    return sched_cos(middle, end, (pos - pct) / (1 - pct))


def sched_lin(start, end, pos):
    return start + pos * (end - start)


LR, RUN = 0.1, 592


def one_cycle(pos):
    return sched_lin(LR / 10, LR, pos / 0.25) if pos < 0.25 else sched_lin(LR, 0, (pos - 0.25) / 0.75)


def one_cycle_cos(pos):
    return combined_cos(0.25, LR / 10, LR, LR / 1e5, pos)


def warmed(schedule, share):
    def rate(pos):
        if pos < share:
            return sched_lin(schedule(0) / 100, schedule(0), pos / share)
        return schedule((pos - share) / (1 - share))

    return rate


SCHEDULES = {
    "constant": lambda pos: LR,
    "one-cycle": one_cycle,
    "one-cycle-cos": one_cycle_cos,
    "one-cycle-cos_options": lambda pos: combined_cos(0.4, LR / 25, LR, LR / 1e3, pos),
    "momentum": lambda pos: combined_cos(0.25, 0.95, 0.85, 0.95, pos),
    "momentum_options": lambda pos: combined_cos(0.4, 0.9, 0.7, 0.9, pos),
    "cosine": lambda pos: sched_cos(LR, 0, pos),
    "flat-cos": lambda pos: combined_cos(0.75, LR, LR, LR / 1e5, pos),
    "step": lambda pos: LR * 0.1 ** int(3 * pos),
    "step_options": lambda pos: LR * 0.5 ** int(5 * pos),
    "constant_warm": warmed(lambda pos: LR, 0.1),
    "cosine_warm": warmed(lambda pos: sched_cos(LR, 0, pos), 0.2),
    "one-cycle_warm": warmed(one_cycle, 0.05),
}


def main():
    with open(DATA / "optimizers_golden.txt", "w") as out:
        for name, case in CASES.items():
            out.write(f"case {name}\n")
            for p in run(*case):
                out.write(" ".join(f"{v:.9g}" for v in p.flatten().tolist()) + "\n")
    with open(DATA / "schedules_golden.txt", "w") as out:
        for name, schedule in SCHEDULES.items():
            out.write(f"case {name}\n")
            out.write("\n".join(f"{schedule(step / RUN):.9g}" for step in range(0, RUN)) + "\n")


if __name__ == "__main__":
    main()
