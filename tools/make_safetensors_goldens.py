#!/usr/bin/env python3
"""Makes tests/data/safetensors/, and checks files that Kiln wrote.

    make_safetensors_goldens.py              write the goldens
    make_safetensors_goldens.py FILE...      load each file with the safetensors package, list it

python.safetensors, float16.safetensors, empty.safetensors: written by the safetensors package; the
first is read back and its values compared by tests/test_safetensors.c.
kiln.safetensors: the bytes that kn_st_write must produce, laid out here independently of both
libraries and then loaded with the package, which has the last word on whether they are valid.

Made with Python 3.11.7, torch 2.15.0, safetensors 0.8.0.
"""

import json
import pathlib
import struct
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "safetensors"

DTYPES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
    torch.int32: "I32",
    torch.int64: "I64",
}

METADATA = {"kiln.classes": '["a","b"]', "quote": 'say "hi"\n', "wörld": "日本"}

TENSORS = {
    "layers.0.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) * 0.5 - 1,
    "odd": torch.tensor([1, 2, 255], dtype=torch.uint8),
    "half": torch.tensor([[1.0], [-2.5]], dtype=torch.bfloat16),
    "none": torch.zeros((0, 4), dtype=torch.float32),
    "count": torch.tensor([-7, 2**31 - 1], dtype=torch.int32),
    "num_batches_tracked": torch.tensor(2**40 + 1, dtype=torch.int64),
}

HALVES = [1, -2.5, 65504, 2**-24, 1 / 3, -0.0, float("-inf"), -1 / 3 * 2**-14]


def raw(tensor):
    """The tensor's bytes, little endian."""
    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def kiln_bytes(tensors, metadata):
    """The layout of kn_st_write: metadata first, tensors in order, padded to a multiple of 8."""
    header = {"__metadata__": metadata}
    data = b""
    for name, tensor in tensors.items():
        begin = len(data)
        data += raw(tensor)
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, len(data)],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def check(path, tensors, metadata):
    with safe_open(path, framework="pt") as f:
        assert f.metadata() == metadata, f.metadata()
        assert set(f.keys()) == set(tensors), f.keys()
        for name, tensor in tensors.items():
            got = f.get_tensor(name)
            assert got.dtype == tensor.dtype and got.shape == tensor.shape, name
            assert raw(got) == raw(tensor), name


def show(path):
    with safe_open(path, framework="pt") as f:
        print(f"{path}: metadata {f.metadata()}")
        for name in f.keys():
            tensor = f.get_tensor(name)
            print(f"  {name} {tensor.dtype} {list(tensor.shape)}")


def main():
    for path in sys.argv[1:]:
        show(path)
    if len(sys.argv) > 1:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_file(TENSORS, FOLDER / "python.safetensors", METADATA)
    save_file({"w": torch.tensor(HALVES, dtype=torch.float16)}, FOLDER / "float16.safetensors")
    save_file({}, FOLDER / "empty.safetensors")
    (FOLDER / "kiln.safetensors").write_bytes(kiln_bytes(TENSORS, METADATA))
    for name in ("python", "kiln"):
        check(FOLDER / f"{name}.safetensors", TENSORS, METADATA)
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.stat().st_size:6} {path.name}")


main()
