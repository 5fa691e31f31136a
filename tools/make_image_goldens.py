#!/usr/bin/env python3
"""Makes the pictures and goldens of tests/test_image.c.

    make_image_goldens.py             write tests/data/images/ and its golden.txt
    make_image_goldens.py IMAGENETTE  write tests/data/imagenette_resize.txt for that folder

Each picture is small and stands for one form in which JPEG and PNG store colours. What Pillow
writes, Pillow wrote; cjpeg and jpegtran of libjpeg-turbo made the subsamplings and codings that it
cannot; PNGs are put together here. The expected bytes are Pillow's

    exif_transpose(open(path)).convert("RGB").resize(size, BICUBIC)

except that 16-bit grey is v >> 8. A line of golden.txt is

    NAME FORM BITS ORIENTATION WxH SHA256 [WxH SHA256]...

with the upright size, the hash of its RGB bytes, and the same for each size resized to.

Made with Python 3.11, Pillow 13.0.0 (its libjpeg-turbo 3.2.0), numpy 2.4.6, and cjpeg and jpegtran
of libjpeg-turbo 2.1.5. Pillow before 13 resizes tall pictures by other bytes: it never does the
height first.
"""

import hashlib
import io
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageOps

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
FOLDER = DATA / "images"
SIZES = [(16, 16), (31, 64), (90, 11)]  # and, for each, its own width or height kept
files = {}  # name: (bytes, form, bits, orientation)


def picture(width, height, seed=0):
    """A gradient with shapes on it and noise in a corner, so that errors of place and of colour
    both show."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([x / width, y / height, (x + y) / (width + height)], -1) * 255
    rgb[(x - width * 0.3) ** 2 + (y - height * 0.4) ** 2 < (height * 0.25) ** 2] = [230, 40, 20]
    rgb[int(height * 0.6) : int(height * 0.85), int(width * 0.5) : int(width * 0.9)] = [10, 60, 220]
    noise = np.random.RandomState(seed).randint(0, 256, (height // 4, width // 4, 3))
    rgb[: height // 4, width - width // 4 :] = noise
    return rgb.astype(np.uint8)


WIDTH, HEIGHT = 45, 38
RGB = picture(WIDTH, HEIGHT)
GREY = np.asarray(Image.fromarray(RGB).convert("L"))


def tiff(orientation, order="<", kind=3, count=1):
    """An EXIF block: one directory, in it the make and the orientation."""
    value = struct.pack(order + ("H2x" if kind == 3 else "I"), orientation)
    return (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(order + "IH", 8, 2)
        + struct.pack(order + "HHI4s", 0x10F, 2, 4, b"abc\0")
        + struct.pack(order + "HHI4s", 0x112, kind, count, value)
        + struct.pack(order + "I", 0)
    )


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
XMP_ELEMENT = b"<x:xmpmeta><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>"


# ---- JPEG ----


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def after_soi(jpeg, *segments):
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def pil_jpeg(array, mode=None, **options):
    out = io.BytesIO()
    image = Image.fromarray(array)
    if mode:
        image = image.convert(mode)
    image.save(out, "JPEG", **options)
    return out.getvalue()


def cjpeg(array, *options):
    kind = b"P5" if array.ndim == 2 else b"P6"
    pnm = kind + b"\n%d %d\n255\n" % (array.shape[1], array.shape[0]) + array.tobytes()
    return subprocess.run(["cjpeg", *options], input=pnm, capture_output=True, check=True).stdout


def jpegtran(jpeg, *options):
    return subprocess.run(
        ["jpegtran", *options], input=jpeg, capture_output=True, check=True
    ).stdout


def drop_segment(jpeg, marker):
    at = jpeg.index(bytes([0xFF, marker]))
    return jpeg[:at] + jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0] :]


def add_jpegs():
    def add(name, data, form="RGB", orientation=1):
        files[name + ".jpg"] = (data, form, 8, orientation)

    add("grey", pil_jpeg(GREY, quality=85), "grey")
    add("grey_progressive", pil_jpeg(GREY, quality=85, progressive=True), "grey")
    add("grey_sampled_2x2", cjpeg(GREY, "-grayscale", "-sample", "2x2"), "grey")
    for name, sample in {
        "444": "1x1", "422": "2x1", "420": "2x2", "440": "1x2", "411": "4x1", "410": "4x2",
        "441": "1x4", "311": "3x1",
    }.items():  # fmt: skip
        add(f"ycc_{name}", cjpeg(RGB, "-quality", "85", "-sample", sample))
    add("ycc_mixed", cjpeg(RGB, "-sample", "2x2,1x2,2x1"))
    add("rgb", cjpeg(RGB, "-rgb", "-quality", "85"))
    add("rgb_by_adobe", pil_jpeg(RGB, quality=85, keep_rgb=True))
    for sample in ("1x1", "2x1", "2x2"):
        add(f"progressive_{sample}", cjpeg(RGB, "-progressive", "-sample", sample))
    add("arithmetic", cjpeg(RGB, "-arithmetic", "-sample", "2x2"))
    add("arithmetic_progressive", cjpeg(RGB, "-arithmetic", "-progressive", "-sample", "2x1"))
    add("restart", cjpeg(RGB, "-restart", "2B", "-sample", "2x2"))
    add("restart_progressive", cjpeg(RGB, "-restart", "1", "-progressive", "-sample", "2x2"))
    add("optimised", cjpeg(RGB, "-optimize", "-quality", "40"))
    add("quality_1", cjpeg(RGB, "-quality", "1"))
    add("quality_100", cjpeg(RGB, "-quality", "100"))
    add("float_tables", cjpeg(RGB, "-quality", "5,95"))
    baseline = cjpeg(RGB, "-quality", "80", "-sample", "2x2")
    with tempfile.NamedTemporaryFile("w") as scans:
        scans.write("0;\n1;\n2;\n")
        scans.flush()
        add("separate_scans", jpegtran(baseline, "-scans", scans.name))
    add("junk_after", baseline + b"\xff\xd8junk" * 9)
    add("no_jfif", drop_segment(baseline, 0xE0))
    add("comment", after_soi(baseline, segment(0xFE, b"no picture" * 20), segment(0xE5, b"")))
    for w, h in ((1, 1), (1, 40), (40, 1), (16, 16), (17, 15), (3, 2)):
        add(f"size_{w}x{h}", cjpeg(picture(w, h), "-sample", "2x2"))

    cmyk = np.dstack([255 - RGB[..., i] for i in range(3)] + [GREY // 3])
    ink = pil_jpeg_cmyk(cmyk, quality=90)
    add("cmyk", ink, "CMYK")
    add("cmyk_progressive", pil_jpeg_cmyk(cmyk, quality=90, progressive=True), "CMYK")
    add("cmyk_420", pil_jpeg_cmyk(cmyk, quality=90, subsampling=2), "CMYK")
    add("cmyk_no_adobe", drop_segment(ink, 0xEE), "CMYK")
    # The same samples, said to be YCC and K: Adobe's marker ends with the transform.
    at = ink.index(b"Adobe") + 11
    add("ycck", ink[:at] + b"\2" + ink[at + 1 :], "CMYK")

    for value in range(1, 9):
        app1 = segment(0xE1, b"Exif\0\0" + tiff(value, "<" if value % 2 else ">"))
        add(f"exif_{value}", after_soi(baseline, app1), orientation=value)
    add("exif_long", after_soi(baseline, segment(0xE1, b"Exif\0\0" + tiff(6, ">", 4))), "RGB", 6)
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP % 8)
    add("xmp", after_soi(baseline, xmp), orientation=8)
    both = after_soi(baseline, segment(0xE1, b"Exif\0\0" + tiff(3)), xmp)
    add("exif_before_xmp", both, orientation=3)
    add("exif_value_9", after_soi(baseline, segment(0xE1, b"Exif\0\0" + tiff(9))))


def pil_jpeg_cmyk(cmyk, **options):
    out = io.BytesIO()
    Image.fromarray(cmyk, "CMYK").save(out, "JPEG", **options)
    return out.getvalue()


# ---- PNG ----


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]  # fmt: skip


def pack_rows(values, bits, filtered):
    """Rows of [h,w,channels] as PNG stores them; with filtered, the five filters in turn."""
    rows, before = [], None
    step = max(1, values.shape[2] * bits // 8)
    for y in range(values.shape[0]):
        if bits == 16:
            row = values[y].astype(">u2").tobytes()
        elif bits == 8:
            row = values[y].astype(np.uint8).tobytes()
        else:
            flat = values[y].reshape(-1)
            text = "".join(format(int(v), f"0{bits}b") for v in flat)
            text += "0" * (-len(text) % 8)
            row = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
        kind = y % 5 if filtered else 0
        rows.append(bytes([kind]) + filter_row(kind, row, before or bytes(len(row)), step))
        before = row
    return b"".join(rows)


def filter_row(kind, row, up, step):
    out = bytearray()
    for i, value in enumerate(row):
        a = row[i - step] if i >= step else 0
        b, c = up[i], up[i - step] if i >= step else 0
        p = a + b - c
        paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
    return bytes(out)


def png(values, bits, colour, before=b"", after=b"", interlaced=False, filtered=False):
    if values.ndim == 2:
        values = values[..., None]
    assert values.shape[2] == CHANNELS[colour]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, colour, 0, 0, interlaced)
    if interlaced:
        parts = [values[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b"".join(pack_rows(p, bits, filtered) for p in parts if p.size)
    else:
        raw = pack_rows(values, bits, filtered)
    data = zlib.compress(raw, 9)
    half = len(data) // 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", data[:half])
        + chunk(b"IDAT", data[half:])
        + after
        + chunk(b"IEND", b"")
    )


def add_pngs():
    def add(name, data, form, bits, orientation=1):
        files[name + ".png"] = (data, form, bits, orientation)

    def both(name, values, bits, colour, form, before=b""):
        add(name, png(values, bits, colour, before, filtered=True), form, bits)
        if bits in (1, 8):
            add(name + "_interlaced", png(values, bits, colour, before, interlaced=True), form, bits)

    small = picture(23, 19, 1)
    grey = np.asarray(Image.fromarray(small).convert("L"))
    grey16 = grey.astype(np.uint16) * 256 + np.arange(23, dtype=np.uint16) * 11
    rgb16 = small.astype(np.uint16) * 256 + grey[..., None]
    alpha = (np.arange(23 * 19).reshape(19, 23, 1) % 256).astype(np.uint8)
    alpha16 = alpha.astype(np.uint16) * 255
    for bits in (1, 2, 4, 8):
        both(f"grey_{bits}", grey >> (8 - bits), bits, 0, "grey")
    both("grey_16", grey16, 16, 0, "grey")
    add("grey_8_trns", png(grey, 8, 0, chunk(b"tRNS", b"\0\x40")), "grey", 8)
    add("grey_1_trns", png(grey >> 7, 1, 0, chunk(b"tRNS", b"\0\1")), "grey", 1)
    add("grey_16_trns", png(grey16, 16, 0, chunk(b"tRNS", b"\x40\0")), "grey", 16)
    both("grey_alpha_8", np.dstack([grey, alpha]), 8, 4, "grey+alpha")
    both("grey_alpha_16", np.dstack([grey16, alpha16]), 16, 4, "grey+alpha")
    both("rgb_8", small, 8, 2, "RGB")
    both("rgb_16", rgb16, 16, 2, "RGB")
    add("rgb_8_trns", png(small, 8, 2, chunk(b"tRNS", b"\0\1\0\2\0\3")), "RGB", 8)
    add("rgb_8_plte", png(small, 8, 2, chunk(b"PLTE", bytes(range(30)))), "RGB", 8)
    both("rgba_8", np.dstack([small, alpha]), 8, 6, "RGBA")
    both("rgba_16", np.dstack([rgb16, alpha16]), 16, 6, "RGBA")
    colours = np.random.RandomState(5).randint(0, 256, 768).astype(np.uint8).tobytes()
    for bits in (1, 2, 4, 8):
        palette = chunk(b"PLTE", colours[: 3 << bits])
        index = grey >> (8 - bits)
        both(f"palette_{bits}", index, bits, 3, "palette", palette)
        trns = palette + chunk(b"tRNS", bytes(range(0, 256, 50))[: 1 << bits])
        add(f"palette_{bits}_trns", png(index, bits, 3, trns), "palette", bits)
    add("palette_short", png(grey, 8, 3, chunk(b"PLTE", colours[:300])), "palette", 8)
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"sRGB", b"\0")
    add("gamma", png(small, 8, 2, gamma), "RGB", 8)

    for value in range(1, 9):
        add(f"exif_{value}", png(small, 8, 2, chunk(b"eXIf", tiff(value))), "RGB", 8, value)
    add("exif_after", png(small, 8, 2, after=chunk(b"eXIf", tiff(6, ">"))), "RGB", 8, 6)
    block = b"Exif\0\0" + tiff(5)
    text = b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    raw = b"Raw profile type exif\0"
    add("exif_text", png(small, 8, 2, chunk(b"tEXt", raw + text)), "RGB", 8, 5)
    two = chunk(b"eXIf", tiff(3)) + chunk(b"tEXt", raw + text)
    add("exif_and_text", png(small, 8, 2, two), "RGB", 8, 3)
    packed = chunk(b"zTXt", raw + b"\0" + zlib.compress(text))
    add("exif_packed_text", png(small, 8, 2, packed), "RGB", 8, 5)
    xmp = b"XML:com.adobe.xmp\0"
    add("xmp", png(small, 8, 2, chunk(b"iTXt", xmp + b"\0\0\0\0" + XMP_ELEMENT % 7)), "RGB", 8, 7)
    packed = chunk(b"iTXt", xmp + b"\1\0\0\0" + zlib.compress(XMP % 2))
    add("xmp_packed", png(small, 8, 2, packed), "RGB", 8, 2)
    bomb = chunk(b"zTXt", raw + b"\0" + zlib.compress(bytes(9 << 20), 9))
    add("text_bomb", png(small, 8, 2, bomb), "RGB", 8)
    one = png(np.full((1, 1, 3), 77, np.uint8), 8, 2)
    add("size_1x1", one, "RGB", 8)
    add("no_end", one[:-12], "RGB", 8)
    tall = picture(8, 120)  # Pillow 13 reduces its height first
    add("tall", png(tall, 8, 2), "RGB", 8)
    out = io.BytesIO()
    Image.fromarray(small).save(out, "PNG")
    add("by_pillow", out.getvalue(), "RGB", 8)


# ---- goldens ----


def upright(path):
    if path.stem == "text_bomb":  # Pillow refuses a text that long; the pixels are good
        path = path.with_name("rgb_8.png")
    image = Image.open(path)
    if image.mode == "I;16":
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(high).convert("RGB")
    return ImageOps.exif_transpose(image).convert("RGB")


def sha(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def main():
    add_jpegs()
    add_pngs()
    lines = []
    for old in FOLDER.glob("*"):
        old.unlink()
    for name, (data, form, bits, orientation) in sorted(files.items()):
        (FOLDER / name).write_bytes(data)
        image = upright(FOLDER / name)
        w, h = image.size
        parts = [name, form, str(bits), str(orientation), f"{w}x{h}", sha(image)]
        for size in SIZES + [(w, 2 * h + 1), (max(1, w // 2), h)]:
            parts += [f"{size[0]}x{size[1]}", sha(image.resize(size, Image.BICUBIC))]
        lines.append(" ".join(parts) + "\n")
    (FOLDER / "golden.txt").write_text("".join(lines))
    total = sum(len(f[0]) for f in files.values())
    print(f"{len(files)} pictures, {total} bytes")


def main_imagenette(folder):
    paths = sorted(p.relative_to(folder) for p in folder.glob("*/*/*.JPEG"))[::26]
    with open(DATA / "imagenette_resize.txt", "w") as out:
        for path in paths:
            small = upright(folder / path).resize((64, 64), Image.BICUBIC)
            out.write(f"{path} {sha(small)[:16]}\n")
    print(f"{len(paths)} pictures")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main_imagenette(pathlib.Path(sys.argv[1]))
    else:
        FOLDER.mkdir(parents=True, exist_ok=True)
        main()
