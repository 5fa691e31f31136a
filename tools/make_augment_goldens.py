#!/usr/bin/env python3
"""Makes tests/data/fit_golden.txt and tests/data/augment_golden.txt: what Pillow makes of the
pictures in tests/data/images, for tests/test_fit.c and tests/test_augment.c.

Lines of fit_golden.txt are

    box NAME LEFT TOP RIGHT BOTTOM WxH SHA256      resize(size, BICUBIC, box=box)
    crop NAME WxH SHA256                           ImageOps.fit(image, size, BICUBIC)
    pad NAME WxH SHA256                            ImageOps.pad(image, size, BICUBIC)

and of augment_golden.txt, where NAME is the whole picture,

    brightness|contrast|saturation NAME FACTOR SHA256   ImageEnhance (saturation is its Color)
    reflect|repeat NAME DEGREES HEX                     rotate(degrees, BILINEAR)

Pillow knows no edges for a rotation, so it rotates a picture with a wide margin, made by numpy's
pad in mode symmetric or edge, from which the middle is taken.

Made with Python 3.11, Pillow 13.0.0, numpy 2.4.6.
"""

import hashlib
import pathlib
import struct

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
PICTURES = ["rgb_8.png", "ycc_444.jpg", "tall.png", "size_40x1.jpg"]
SIZES = [(16, 16), (31, 64), (90, 11), (5, 4)]


def picture(name):
    return Image.open(DATA / "images" / name).convert("RGB")


def sha(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def single(value):
    """The number as f32 holds it: a box is four of them."""
    return struct.unpack("f", struct.pack("f", value))[0]


def boxes(width, height, random):
    """Whole, at each corner, single pixels, half pixels, and anywhere."""
    yield 0, 0, width, height
    yield 0, 0, (width + 1) // 2, (height + 1) // 2
    yield width // 2, height // 2, width, height
    yield width - 1, height - 1, width, height
    yield width // 3, 0, width // 3 + 1, height
    if width > 2 and height > 2:
        yield 0.5, 1.5, width - 0.5, height - 1.5
        yield 0.25, 0, width - 0.25, height
    for fraction in [False] * 12 + [True] * 6:
        x = sorted(random.uniform(0, width, 2))
        y = sorted(random.uniform(0, height, 2))
        if fraction:
            yield single(x[0]), single(y[0]), single(x[1]), single(y[1])
        else:
            yield int(x[0]), int(y[0]), int(x[1]) + 1, int(y[1]) + 1


def make_fits(out):
    random = np.random.RandomState(7)
    for name in PICTURES:
        image = picture(name)
        for i, box in enumerate(boxes(*image.size, random)):
            sizes = [SIZES[i % len(SIZES)]]
            if all(float(side).is_integer() for side in box):  # one axis, or both, as they are
                w, h = int(box[2] - box[0]), int(box[3] - box[1])
                sizes += [(w, 9), (9, h), (w, h)]
            for size in sizes:
                resized = image.resize(size, Image.BICUBIC, box=box)
                edges = " ".join(repr(float(side)) for side in box)
                out.write(f"box {name} {edges} {size[0]}x{size[1]} {sha(resized)}\n")
        for size in SIZES + [(1, 1), (7, 7), (64, 64), (65, 65)]:
            text = f"{size[0]}x{size[1]}"
            fitted = ImageOps.fit(image, size, Image.BICUBIC)
            out.write(f"crop {name} {text} {sha(fitted)}\n")
            if min(ImageOps.contain(image, size, Image.BICUBIC).size) > 0:
                padded = ImageOps.pad(image, size, Image.BICUBIC)
                out.write(f"pad {name} {text} {sha(padded)}\n")


def make_colours(out):
    kinds = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }
    for kind, enhance in kinds.items():
        for name in PICTURES:
            for factor in (0, 0.1, 0.7, 0.95, 1, 1.3, 2.5, 9):
                changed = enhance(picture(name)).enhance(factor)
                out.write(f"{kind} {name} {factor} {sha(changed)}\n")


def make_rotations(out):
    name = "rgb_8.png"
    pixels = np.asarray(picture(name))
    height, width = pixels.shape[:2]
    for kind, mode in (("reflect", "symmetric"), ("repeat", "edge")):
        margin = 40
        wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode)
        for degrees in (0, 7.5, -20, 45, 90, 180, -133):
            turned = Image.fromarray(wide).rotate(degrees, Image.BILINEAR)
            box = (margin, margin, margin + width, margin + height)
            out.write(f"{kind} {name} {degrees} {turned.crop(box).tobytes().hex()}\n")


def main():
    with open(DATA / "fit_golden.txt", "w") as out:
        make_fits(out)
    with open(DATA / "augment_golden.txt", "w") as out:
        make_colours(out)
        make_rotations(out)


if __name__ == "__main__":
    main()
