#!/usr/bin/env python3
"""Makes tests/data/ops_golden.txt: what each row of the table in tests/test_ops.c must give.

A row here has the name and the operands of its row there, and says in PyTorch's words what the op
is; so a new op needs a line in both. Operands come from a small generator that
tests/support/numbers.c implements too: only results are stored. The loss is sum(result * weights),
the weights being made by the same generator; its gradients are stored for every f32 operand of an
op that has one.

PyTorch runs in float64 and the numbers are rounded to float32; rows about infinities, NaN or types
run in float32. Images are [N,H,W,C] in the file, as in Kiln, and NCHW inside PyTorch.

Made with Python 3.11.7 and torch 2.15.0 on a CPU.
"""

import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from philox import philox

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "ops_golden.txt"
NAMES = {
    torch.float32: "f32",
    torch.float64: "f32",
    torch.bfloat16: "bf16",
    torch.uint8: "u8",
    torch.bool: "u8",
    torch.int32: "i32",
    torch.int64: "i32",
}
WEIGHTS = 7  # the stream of numbers that the loss's weights come from
INF, NAN = math.inf, math.nan

# ---- operands: what tests/support/numbers.c makes ----


def stream(place):
    """12-bit numbers from a linear congruential generator; the first four are thrown away."""
    state = place + 1
    n = 0
    while True:
        state = (state * 1664525 + 1013904223) % 2**32
        n += 1
        if n > 4:
            yield state >> 20


def wide(bits):
    return (bits - 2048) / 1024


def positive(bits):
    return 0.5 + bits / 2048


def off_zero(bits):
    return wide(bits) + (1 / 16 if bits >= 2048 else -1 / 16)


def coarse(bits):
    return (bits >> 10) - 1


class Operand:
    def __init__(self, shape, number=None, values=None, dtype=None):
        self.shape, self.number, self.values, self.dtype = list(shape), number, values, dtype

    def make(self, place, dtype):
        count = math.prod(self.shape)
        numbers = stream(place)
        values = self.values or [self.number(next(numbers)) for _ in range(count)]
        assert len(values) == count
        return torch.tensor(values, dtype=self.dtype or dtype).reshape(self.shape)


def X(*shape):
    return Operand(shape, wide)


def P(*shape):
    return Operand(shape, positive)


def Z(*shape):
    return Operand(shape, off_zero)


def C(*shape):
    return Operand(shape, coarse)


def V(values, *shape):
    return Operand(shape or [len(values)], values=values)


def I(limit, *shape):
    return Operand(shape, lambda bits: bits % limit, dtype=torch.int32)


def B(*shape):
    return Operand(shape, lambda bits: bits % 256, dtype=torch.uint8)


SAME = "same"  # the first operand once more

# ---- the rows ----

ROWS = {}


def row(name, run, *operands, dtype=torch.float64):
    assert name not in ROWS, name
    ROWS[name] = (run, operands, dtype)


def binary_rows():
    for name, run, right in [
        ("add", torch.add, X),
        ("sub", torch.sub, X),
        ("mul", torch.mul, X),
        ("div", torch.div, P),
    ]:
        row(f"{name}/same", run, X(2, 3), right(2, 3))
        row(f"{name}/scalar", run, X(2, 3), right())
        row(f"{name}/scalar_left", run, X(), right(2, 3))
        row(f"{name}/outer", run, X(3, 1), right(1, 4))
        row(f"{name}/rank", run, X(2, 3, 4), right(4))
        row(f"{name}/rank_left", run, X(3), right(2, 3))
        row(f"{name}/middle", run, X(2, 3, 4), right(2, 1, 4))
        row(f"{name}/both", run, X(2, 1, 3, 1), right(5, 1, 4))
        row(f"{name}/square", run, right(3, 4), SAME)
        row(f"{name}/empty", run, X(0, 3), right(3))
    by_zero = V([1.0, -1.0, 0.0, 2.0]), V([0.0, 0.0, 0.0, INF])
    row("div/zero", torch.div, *by_zero, dtype=torch.float32)
    row("eq/f32", torch.eq, C(3, 5), C(3, 5))
    row("eq/outer", torch.eq, C(4, 1), C(1, 4))
    row("eq/nan", torch.eq, V([NAN, INF, 0.0]), V([NAN, INF, -0.0]))
    row("eq/i32", torch.eq, I(3, 3, 5), I(3, 5))


def unary_rows():
    row("neg/2d", torch.neg, X(3, 5))
    row("neg/rank8", torch.neg, X(1, 2, 1, 2, 1, 2, 1, 2))
    row("neg/empty", torch.neg, X(2, 0))
    row("exp/2d", torch.exp, X(3, 5))
    row("exp/extreme", torch.exp, V([-INF, -200.0, 0.0, 100.0, INF, NAN]), dtype=torch.float32)
    row("log/2d", torch.log, P(3, 5))
    row("log/extreme", torch.log, V([0.0, -1.0, 1.0, 1e-38, INF, NAN]), dtype=torch.float32)
    row("sqrt/2d", torch.sqrt, P(3, 5))
    row("sqrt/extreme", torch.sqrt, V([0.0, -1.0, 4.0, INF, NAN]), dtype=torch.float32)
    row("relu/2d", torch.relu, Z(4, 5))
    row("relu/scalar", torch.relu, Z())
    row("relu/extreme", torch.relu, V([0.0, -INF, INF, -1e-38, 1e-38, NAN]), dtype=torch.float32)


    for name, run in [("swish", F.silu), ("mish", F.mish)]:
        row(f"{name}/2d", run, X(4, 20))
        extreme = V([-100.0, -1e-38, 0.0, 30.0, 100.0, INF, NAN])
        row(f"{name}/extreme", run, extreme, dtype=torch.float32)


def shape_rows():
    row("reshape/flat", lambda x: x.reshape(-1), X(2, 3, 2))
    row("reshape/infer", lambda x: x.reshape(3, -1, 2), X(2, 3, 4))
    row("reshape/scalar", lambda x: x.reshape(()), X(1, 1))
    row("reshape/rank8", lambda x: x.reshape(1, 2, 1, 3, 1, 1, 2, 1), X(12))
    row("permute/2d", lambda x: x.permute(1, 0), X(3, 4))
    row("permute/nhwc_nchw", lambda x: x.permute(0, 3, 1, 2), X(2, 3, 2, 4))
    row("permute/cycle", lambda x: x.permute(2, 0, 1), X(2, 3, 4))
    row("permute/rank5", lambda x: x.permute(4, 2, 0, 3, 1), X(2, 1, 3, 2, 2))
    row("permute/i32", lambda x: x.permute(1, 0), I(9, 3, 4))
    row("permute/u8", lambda x: x.permute(2, 1, 0), B(2, 3, 3))
    row("cast/bf16", lambda x: x.bfloat16(), V(ROUNDED), dtype=torch.float32)
    row("cast/bf16_f32", lambda x: x.bfloat16().float(), X(5, 5), dtype=torch.float32)
    row("cast/f32_u8", lambda x: x.to(torch.uint8), V([0.0, 0.9, 1.5, 254.99, 255.0]))
    whole = V([-1.5, 1.5, -0.5, 16777216.0, -2147483648.0])
    row("cast/f32_i32", lambda x: x.to(torch.int32), whole)
    row("cast/u8_f32", lambda x: x.to(torch.float32), B(3, 4))
    row("cast/i32_f32", lambda x: x.to(torch.float32), I(1000, 3, 4))


# Halfway between two bf16 numbers, just beside it, and the ends of the range.
ROUNDED = [
    1.00390625, 1.01171875, 1.00390637, 1.00390613, -1.00390625, 3.3895314e38,
    3.4e38, 1e-45, -0.0, INF, -INF, NAN,
]


def everything(x):
    return tuple(range(x.dim()))


def reduce_rows():
    for name, run in [("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax)]:
        row(f"{name}/all", lambda x, r=run: r(x, dim=everything(x)), X(2, 3, 2))
        row(f"{name}/first", lambda x, r=run: r(x, dim=0), X(3, 4))
        row(f"{name}/last", lambda x, r=run: r(x, dim=-1), X(3, 4))
        row(f"{name}/middle", lambda x, r=run: r(x, dim=1), X(2, 3, 4))
        row(f"{name}/keep", lambda x, r=run: r(x, dim=1, keepdim=True), X(2, 3, 4))
        row(f"{name}/two", lambda x, r=run: r(x, dim=(0, 2)), X(2, 3, 4))
        row(f"{name}/hw", lambda x, r=run: r(x, dim=(1, 2), keepdim=True), X(2, 3, 2, 3))
        row(f"{name}/all_keep", lambda x, r=run: r(x, dim=everything(x), keepdim=True), X(2, 3))
    row("sum/none", lambda x: x.clone(), X(2, 3))
    row("sum/scalar", lambda x: x.clone(), X())
    row("sum/empty", lambda x: x.sum(0), X(0, 3))
    row("mean/empty", lambda x: x.mean(0), X(0, 3))
    row("max/empty", lambda x: x.amax(1), X(0, 3))
    row("max/ties", lambda x: x.amax(1), C(4, 5))
    row("max/ties_all", lambda x: x.amax((0, 1)), C(3, 4))
    row("max/infinite", lambda x: x.amax(1), V([-INF, -INF, 1.0, INF], 2, 2), dtype=torch.float32)
    no_number = V([1.0, NAN, 3.0, 1.0, 2.0, 3.0], 2, 3)
    row("max/nan", lambda x: x.amax(1), no_number, dtype=torch.float32)
    row("std/all", lambda x: x.std(), X(3, 4))
    row("std/first", lambda x: x.std(0), X(4, 3))
    row("std/no_bias", lambda x: x.std(1, unbiased=False), X(3, 4))
    row("std/keep", lambda x: x.std(1, keepdim=True), X(2, 3, 4))
    row("std/two", lambda x: x.std((0, 2), unbiased=False, keepdim=True), X(2, 3, 4))
    row("std/channels", lambda x: x.std((0, 1, 2)), X(2, 2, 3, 3))
    row("std/constant", lambda x: x.std(1), V([2.0, 2.0, 2.0, 1.0, 2.0, 4.0], 2, 3))
    row("argmax/2d", lambda x: x.argmax(-1), X(4, 5))
    row("argmax/3d", lambda x: x.argmax(-1), X(2, 3, 4))
    row("argmax/1d", lambda x: x.argmax(-1), X(7))
    row("argmax/ties", lambda x: x.argmax(-1), C(5, 6))
    row("argmax/nan", lambda x: x.argmax(-1), V([1.0, NAN, INF, 3.0, NAN, NAN], 2, 3))


def gather(axis):
    return lambda x, index: torch.gather(x, axis, index.long())


def gather_rows():
    row("gather/first", gather(0), X(4, 3), I(4, 2, 3))
    row("gather/last", gather(-1), X(3, 5), I(5, 3, 4))
    row("gather/column", gather(1), X(4, 5), I(5, 4, 1))
    row("gather/longer", gather(1), X(2, 3), I(3, 2, 7))
    row("gather/smaller", gather(0), X(4, 3, 2), I(4, 2, 2, 1))
    row("gather/middle", gather(1), X(2, 4, 3), I(4, 2, 3, 3))
    row("gather/1d", gather(0), X(6), I(6, 9))
    row("gather/empty", gather(0), X(4, 3), I(4, 0, 3))


def product_rows():
    row("matmul/2d", torch.matmul, X(3, 4), X(4, 5))
    row("matmul/inner", torch.matmul, X(1, 6), X(6, 1))
    row("matmul/outer", torch.matmul, X(4, 1), X(1, 3))
    row("matmul/square", torch.matmul, X(4, 4), SAME)
    row("matmul/batch", torch.matmul, X(2, 3, 4), X(2, 4, 2))
    row("matmul/batches", torch.matmul, X(2, 2, 2, 3), X(2, 2, 3, 4))
    row("matmul/no_rows", torch.matmul, X(0, 4), X(4, 3))
    row("matmul/no_inner", torch.matmul, X(2, 0), X(0, 3))
    row("linear_op/bias", F.linear, X(4, 6), X(3, 6), X(3))
    row("linear_op/no_bias", F.linear, X(4, 6), X(3, 6))
    row("linear_op/one", F.linear, X(1, 5), X(1, 5), X(1))
    row("linear_op/wide", F.linear, X(3, 32), X(10, 32), X(10))


def conv(stride=1, padding=0, relu=False):
    def run(x, weight, bias=None):
        y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, padding).permute(0, 2, 3, 1)
        return y.relu() if relu else y

    return run


def conv_rows():
    row("conv2d/k1", conv(), X(2, 3, 2, 3), X(4, 3, 1, 1), X(4))
    row("conv2d/k1s2", conv(2), X(1, 5, 4, 4), X(3, 4, 1, 1), X(3))
    row("conv2d/k1_one", conv(), X(1, 1, 1, 1), X(1, 1, 1, 1), X(1))
    row("conv2d/k2", conv(), X(1, 4, 3, 3), X(2, 3, 2, 2), X(2))
    row("conv2d/k2s2", conv(2), X(2, 4, 6, 2), X(3, 2, 2, 2))
    row("conv2d/k3", conv(), X(1, 5, 4, 3), X(4, 3, 3, 3), X(4))
    row("conv2d/k3p1", conv(1, 1), X(2, 4, 3, 3), X(4, 3, 3, 3), X(4))
    row("conv2d/k3s2p1", conv(2, 1), X(2, 6, 6, 3), X(4, 3, 3, 3), X(4))
    row("conv2d/k3s2odd", conv(2, 1), X(1, 7, 5, 3), X(5, 3, 3, 3), X(5))
    row("conv2d/k3s2_rest", conv(2), X(1, 6, 8, 2), X(3, 2, 3, 3), X(3))
    row("conv2d/k3s3p2", conv(3, 2), X(1, 6, 5, 3), X(3, 3, 3, 3))
    row("conv2d/k3p3", conv(1, 3), X(1, 2, 2, 2), X(2, 2, 3, 3), X(2))
    row("conv2d/k4s2p1", conv(2, 1), X(1, 6, 6, 3), X(2, 3, 4, 4), X(2))
    row("conv2d/k5p2", conv(1, 2), X(1, 4, 5, 3), X(2, 3, 5, 5), X(2))
    row("conv2d/k5s2p2", conv(2, 2), X(1, 7, 7, 3), X(2, 3, 5, 5), X(2))
    row("conv2d/k6p3", conv(1, 3), X(1, 4, 3, 1), X(2, 1, 6, 6), X(2))
    row("conv2d/k7s3p3", conv(3, 3), X(1, 8, 7, 3), X(2, 3, 7, 7))
    row("conv2d/k7s2p3", conv(2, 3), X(1, 6, 6, 3), X(2, 3, 7, 7), X(2))
    row("conv2d/rect", conv(1, 1), X(1, 5, 6, 2), X(3, 2, 1, 5), X(3))
    row("conv2d/tall", conv(2, 1), X(1, 7, 5, 2), X(2, 2, 5, 2), X(2))
    row("conv2d/gray", conv(1, 1), X(2, 4, 4, 1), X(8, 1, 3, 3), X(8))
    row("conv2d/to_one", conv(1, 1), X(2, 3, 3, 8), X(1, 8, 3, 3), X(1))
    row("conv2d/16_in", conv(2, 1), X(1, 4, 4, 16), X(2, 16, 3, 3), X(2))
    row("conv2d/relu", conv(2, 1, relu=True), X(2, 5, 5, 3), X(4, 3, 3, 3), X(4))
    row("conv2d/relu_no_bias", conv(1, 0, relu=True), X(1, 4, 4, 3), X(4, 3, 3, 3))
    row("conv2d/relu_k1", conv(relu=True), X(2, 2, 3, 4), X(8, 4, 1, 1), X(8))
    row("mean_hw/4d", lambda x: x.mean((1, 2)), X(2, 3, 4, 5))
    row("mean_hw/1x1", lambda x: x.mean((1, 2)), X(3, 1, 1, 4))
    row("mean_hw/empty", lambda x: x.mean((1, 2)), X(0, 2, 2, 3))


def pool(function, *args, **options):
    return lambda x: function(x.permute(0, 3, 1, 2), *args, **options).permute(0, 2, 3, 1)


def pool_rows():
    for name, run in [("max_pool", F.max_pool2d), ("avg_pool", F.avg_pool2d)]:
        row(f"{name}/k2", pool(run, 2), X(2, 4, 6, 3))
        row(f"{name}/k3s2p1", pool(run, 3, 2, 1), X(2, 6, 8, 5))
        row(f"{name}/k3s1", pool(run, 3, 1), X(1, 5, 4, 2 if name == "max_pool" else 17))
        row(f"{name}/ceil", pool(run, 2, 2, 0, ceil_mode=True), X(1, 5, 7, 2))
        row(f"{name}/ceil_gap", pool(run, 2, 3, 1, ceil_mode=True), X(1, 7, 6, 2))
        row(f"{name}/ceil_one", pool(run, 2, 2, 0, ceil_mode=True), X(2, 1, 1, 3))
        row(f"{name}/empty", lambda x: x[:, :1, :1, :].clone(), X(0, 2, 2, 3))
    row("max_pool/k3s2p1odd", pool(F.max_pool2d, 3, 2, 1), X(1, 5, 5, 17))
    row("max_pool/ties", pool(F.max_pool2d, 2), C(2, 4, 4, 3))
    special = V([1.0, NAN, 3.0, 2.0, 5.0, 5.0, 4.0, 5.0] + 4 * [-INF], 3, 2, 2, 1)
    row("max_pool/extreme", pool(F.max_pool2d, 2), special, dtype=torch.float32)


def norm(relu=False, eps=1e-5):
    def run(x, weight, bias, residual=None):
        flat = x.reshape(-1, x.shape[-1])
        y = F.batch_norm(flat, None, None, weight, bias, training=True, eps=eps).reshape(x.shape)
        y = y if residual is None else y + residual
        return y.relu() if relu else y

    return run


def norm_eval(relu=False):
    def run(x, weight, bias, mean, var):
        flat = x.reshape(-1, x.shape[-1])
        y = F.batch_norm(flat, mean.detach(), var.detach(), weight, bias).reshape(x.shape)
        return y.relu() if relu else y

    return run


def norm_rows():
    row("batch_norm_op/2d", norm(), X(6, 3), X(3), X(3))
    row("batch_norm_op/4d", norm(), X(2, 3, 2, 4), X(4), X(4))
    row("batch_norm_op/wide", norm(), X(2, 2, 2, 35), X(35), X(35))
    row("batch_norm_op/eps", norm(eps=0.5), X(5, 2), X(2), X(2))
    row("batch_norm_op/relu", norm(relu=True), X(9, 3), X(3), X(3))
    row("batch_norm_op/residual", norm(), X(7, 3), X(3), X(3), X(7, 3))
    operands = X(2, 3, 2, 3), X(3), X(3), X(2, 3, 2, 3)
    row("batch_norm_op/residual_relu", norm(relu=True), *operands)
    row("batch_norm_op/eval", norm_eval(), X(5, 3), X(3), X(3), X(3), P(3))
    row("batch_norm_op/eval_relu", norm_eval(True), X(2, 2, 2, 3), X(3), X(3), X(3), P(3))


def conv_norm_rows():
    def after(convolve, normalise):
        return lambda x, weight, *rest: normalise(convolve(x, weight), *rest)

    padded, strided = conv(1, 1), conv(2, 1)
    operands = X(2, 4, 3, 3), X(4, 3, 3, 3), X(4), X(4)
    row("conv2d_norm/training", after(padded, norm()), *operands)
    operands = X(2, 5, 4, 3), X(3, 3, 3, 3), X(3), X(3), X(2, 3, 2, 3)
    row("conv2d_norm/residual", after(strided, norm(relu=True)), *operands)
    operands = X(1, 5, 4, 3), X(4, 3, 3, 3), X(4), X(4), X(4), P(4)
    row("conv2d_norm/eval", after(padded, norm_eval()), *operands)
    operands = X(2, 3, 2, 4), X(5, 4, 1, 1), X(5), X(5), X(5), P(5)
    row("conv2d_norm/eval_relu", after(conv(), norm_eval(True)), *operands)


def dropout(p):
    """The test's context has seed 1; layer 3, step 4; 6 is KN_RANDOM_DROPOUT."""

    def run(x):
        blocks = np.arange((x.numel() + 3) // 4)
        words = philox((1, 0), 0, blocks, 4, 6 << 16 | 3).reshape(-1)[: x.numel()]
        keep = torch.from_numpy((words >> 8) * 2.0**-24 < 1 - p)
        return x * keep.reshape(x.shape) / (1 - p)

    return run


def dropout_rows():
    row("dropout_op/none", dropout(0), X(3, 5))
    row("dropout_op/half", dropout(0.5), X(5, 7))
    row("dropout_op/most", dropout(0.9), X(4, 20))


LARGE = [1e4, -1e4, 9999.0, 0.0, -1e4, -1e4, 88.0, 89.0, 90.0]
NO_NUMBER = [0.0, NAN, 1.0, 0.0, 1.0, 2.0]
LOWEST = [-INF, 0.0, 1.0, -INF, -INF, 2.0]


def softmax_rows():
    for name, run in [
        ("logsumexp", lambda x: x.logsumexp(-1)),
        ("log_softmax", lambda x: x.log_softmax(-1)),
        ("softmax", lambda x: x.softmax(-1)),
    ]:
        row(f"{name}/2d", run, X(4, 5))
        row(f"{name}/1d", run, X(6))
        row(f"{name}/3d", run, X(2, 3, 4))
        row(f"{name}/one", run, X(3, 1))
        row(f"{name}/empty", run, X(0, 3))
        row(f"{name}/large", run, V(LARGE, 3, 3), dtype=torch.float32)
        row(f"{name}/lowest", run, V(LOWEST, 2, 3), dtype=torch.float32)
        row(f"{name}/nan", run, V(NO_NUMBER, 2, 3), dtype=torch.float32)
        row(f"{name}/all_lowest", run, V([-INF, -INF], 1, 2), dtype=torch.float32)
        row(f"{name}/highest", run, V([INF, 0.0], 1, 2), dtype=torch.float32)


def loss_rows():
    for name, loss in [("nll", F.nll_loss), ("cross_entropy", F.cross_entropy)]:
        run = lambda x, target, f=loss: f(x, target.long())
        row(f"{name}/2d", run, X(5, 4), I(4, 5))
        row(f"{name}/one_row", run, X(1, 6), I(6, 1))
        row(f"{name}/one_class", run, X(3, 1), I(1, 3))
        row(f"{name}/ten", run, X(8, 10), I(10, 8))
        row(f"{name}/large", run, V(LARGE, 3, 3), I(3, 3), dtype=torch.float32)
        row(f"{name}/nan", run, V(NO_NUMBER, 2, 3), I(3, 2), dtype=torch.float32)


def mixed(smoothing=0.0, weighted=False):
    """Cross entropy of mixed targets. With class weights Kiln divides by the mixed weights' sum."""

    def run(x, target, *rest):
        weight, target2, share = rest if weighted else (None, *rest)
        weight = weight.detach() if weighted else torch.ones(x.shape[1], dtype=x.dtype)
        share = share.detach()
        each = [
            F.cross_entropy(x, t.long(), weight, reduction="none", label_smoothing=smoothing)
            for t in (target, target2)
        ]
        total = share * weight[target.long()] + (1 - share) * weight[target2.long()]
        return torch.lerp(each[1], each[0], share).sum() / total.sum()

    return run


def smooth(smoothing=0.0):
    def run(x, target, weight=None):
        weight = None if weight is None else weight.detach()
        return F.cross_entropy(x, target.long(), weight, label_smoothing=smoothing)

    return run


def cross_entropy_with_rows():
    name = "cross_entropy_with"
    shares = V([0.75, 1.0, 0.0, 0.5, 0.9375, 0.125])
    row(f"{name}/plain", smooth(), X(5, 4), I(4, 5))
    row(f"{name}/smooth", smooth(0.1), X(5, 4), I(4, 5))
    row(f"{name}/flat", smooth(1.0), X(3, 7), I(7, 3))
    row(f"{name}/weights", smooth(), X(6, 3), I(3, 6), P(3))
    row(f"{name}/smooth_weights", smooth(0.2), X(6, 3), I(3, 6), P(3))
    row(f"{name}/mixed", mixed(), X(6, 4), I(4, 6), I(4, 6), shares)
    row(f"{name}/mixed_smooth", mixed(0.1), X(6, 4), I(4, 6), I(4, 6), shares)
    row(f"{name}/all_first", mixed(), X(5, 4), I(4, 5), I(4, 5), V([1.0] * 5))
    row(f"{name}/everything", mixed(0.3, True), X(6, 5), I(5, 6), P(5), I(5, 6), shares)
    row(f"{name}/large", smooth(), V(LARGE, 3, 3), I(3, 3), P(3), dtype=torch.float32)
    row(f"{name}/nan", smooth(0.1), V(NO_NUMBER, 2, 3), I(3, 2), dtype=torch.float32)


# ---- running and writing ----


def shape_text(shape):
    return "[" + ",".join(map(str, shape)) + "]"


def numbers(tensor):
    return ["%.9g" % value for value in tensor.detach().float().reshape(-1).tolist()]


def results(run, operands, dtype):
    tensors = []
    for place, operand in enumerate(operands):
        t = tensors[0] if operand is SAME else operand.make(place, dtype)
        tensors.append(t.requires_grad_(t.dtype.is_floating_point))
    out = run(*tensors)
    grads = [None] * len(tensors)
    if out.requires_grad and out.dtype != torch.bfloat16:
        weights = Operand(out.shape, off_zero).make(WEIGHTS, dtype)
        (out * weights).sum().backward()
        grads = [None if o is SAME else t.grad for o, t in zip(operands, tensors)]
    return out, grads


def write_row(file, name, run, operands, dtype):
    out, grads = results(run, operands, dtype)
    shapes = [operands[0] if o is SAME else o for o in operands]
    words = [f"row {name} in"] + [shape_text(o.shape) for o in shapes]
    print(*words, f"out {NAMES[out.dtype]} {shape_text(out.shape)}", file=file)
    wrapped(file, numbers(out))
    for place, grad in enumerate(grads):
        if grad is not None:
            print(f"grad {place}", file=file)
            wrapped(file, numbers(grad))


def wrapped(file, words):
    for i in range(0, len(words), 8):
        print(*words[i : i + 8], file=file)


def main():
    for make in (
        binary_rows, unary_rows, shape_rows, reduce_rows, gather_rows, product_rows, conv_rows,
        pool_rows, norm_rows, conv_norm_rows, dropout_rows, softmax_rows, loss_rows,
        cross_entropy_with_rows,
    ):
        make()
    PATH.parent.mkdir(parents=True, exist_ok=True)
    with open(PATH, "w", encoding="ascii") as file:
        for name, (run, operands, dtype) in ROWS.items():
            write_row(file, name, run, operands, dtype)
    print(f"{len(ROWS)} rows, {PATH.stat().st_size} bytes")


main()
