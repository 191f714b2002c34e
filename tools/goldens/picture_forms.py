"""Records what Pillow makes of small pictures in every form that people have. Needs pillow, numpy, libturbojpeg and jpegtran.

Usage: python3 tools/goldens/picture_forms.py   (writes Tests/Goldens/picture-forms.json)
"""

import base64
import ctypes
import ctypes.util
import io
import json
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 12, 8
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
# Every corner of a colour of its own, so that no turn or mirror looks like another.
RGB = np.stack([x * 255 // 11, y * 255 // 7, (x * 9 + y * 17) % 200], -1).astype(np.uint8)
ALPHA = (x * 23).astype(np.uint8)
GREY = RGB[..., 0]
picture = Image.fromarray(RGB)
cases: dict[str, dict] = {}


def add(name: str, data: bytes, tolerance: int = 0, expected: np.ndarray | None = None) -> None:
    if expected is None:
        image = Image.open(io.BytesIO(data))
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode == "CMYK" or not image.has_transparency_data:
            image = image.convert("RGB")
        else:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        expected = np.asarray(image)
    cases[name] = {
        "file": base64.b64encode(data).decode(),
        "tolerance": tolerance,
        "width": expected.shape[1],
        "height": expected.shape[0],
        "pixels": base64.b64encode(np.ascontiguousarray(expected, np.uint8).tobytes()).decode(),
    }


def saved(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(depth: int, colour: int, values: np.ndarray, before: bytes = b"", after: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of any depth and colour type, from values (height, width, channels)."""

    def rows(part: np.ndarray) -> bytes:
        out = b""
        for row in part:
            if depth == 16:
                out += b"\0" + row.astype(">u2").tobytes()
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in row.reshape(-1))
                bits += "0" * (-len(bits) % 8)
                out += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        return out

    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)] if interlaced else [(0, 1, 0, 1)]
    data = b"".join(rows(values[top::down, left::right]) for top, down, left, right in passes)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data)) + after + chunk(b"IEND", b"")


def exif(orientation: int, order: str = "<") -> bytes:
    """A TIFF block with an unrelated tag before the orientation."""
    mark = b"II" if order == "<" else b"MM"
    return (
        mark
        + struct.pack(order + "HIH", 42, 8, 2)
        + struct.pack(order + "HHIHH", 0x0103, 3, 1, 6, 0)
        + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
        + struct.pack(order + "I", 0)
    )


def with_segment(jpeg: bytes, content: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    alpha = alpha[..., None].astype(int)
    return (colours.astype(int) * alpha + 255 * (255 - alpha) + 127) // 255


# PNG
add("rgb.png", saved(picture, "PNG"))
for depth in (1, 2, 4, 8):
    levels = (GREY.astype(int) >> (8 - depth))[..., None]
    add(f"grey-{depth}.png", png(depth, 0, levels), expected=np.repeat(levels * 255 // (2**depth - 1), 3, 2))
palette = bytes(RGB.reshape(-1, 3)[:16].tobytes())
places = ((x + y) % 16)[..., None]
add("palette-4.png", png(4, 3, places, chunk(b"PLTE", palette)))
add("palette-transparent.png", png(8, 3, places, chunk(b"PLTE", palette) + chunk(b"tRNS", bytes(range(0, 160, 10)))))
add("rgb-transparent.png", png(8, 2, RGB, chunk(b"tRNS", struct.pack(">HHH", *map(int, RGB[3, 4])))))
add("grey-transparent.png", png(8, 0, GREY[..., None], chunk(b"tRNS", struct.pack(">H", int(GREY[0, 5])))))
add("grey-alpha.png", png(8, 4, np.dstack([GREY, ALPHA])))
add("rgba.png", png(8, 6, np.dstack([RGB, ALPHA])))
wide = RGB.astype(int) * 256 + 77
# Pillow cuts 16-bit greys off at 255; the high byte is the picture.
add("grey-16.png", png(16, 0, wide[..., :1]), expected=np.repeat(GREY[..., None], 3, 2))
add("rgb-16.png", png(16, 2, wide))
add("rgba-16.png", png(16, 6, np.dstack([wide, ALPHA.astype(int) * 256])))
add("interlaced.png", png(8, 2, RGB, interlaced=True))
add("gamma.png", png(8, 2, RGB, chunk(b"gAMA", struct.pack(">I", 100000))))
add("wrong-sum.png", png(8, 2, RGB, chunk(b"pHYs", b"\0" * 9)[:-1] + b"\0"), expected=RGB)
add("animated.png", saved(picture, "PNG", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "red")]))
for turn in range(1, 9):
    add(f"exif-{turn}.png", png(8, 2, RGB, chunk(b"eXIf", exif(turn, "<>"[turn % 2]))))
add("exif-behind.png", png(8, 2, RGB, after=chunk(b"eXIf", exif(6))))
text = "\nexif\n{:8d}\n{}\n".format(len(exif(6)) + 6, (b"Exif\0\0" + exif(6)).hex()).encode()
add("exif-text.png", png(8, 2, RGB, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))))

# JPEG; its arithmetic differs a little between versions of the library.
smooth = Image.fromarray(np.stack([x * 20, y * 30, x * 0 + 90], -1).astype(np.uint8))
jpeg = saved(smooth, "JPEG", quality=95, subsampling=0)
add("rgb.jpg", jpeg, 2)
add("halved-colours.jpg", saved(smooth, "JPEG", quality=95, subsampling=2), 2)
add("grey.jpg", saved(Image.fromarray(GREY), "JPEG", quality=95), 2)
add("progressive.jpg", saved(smooth, "JPEG", quality=95, progressive=True), 2)
add("restarts.jpg", saved(smooth, "JPEG", quality=95, restart_marker_blocks=1), 2)
add("stored-rgb.jpg", saved(smooth, "JPEG", quality=95, keep_rgb=True), 2)
inks = np.dstack([255 - np.asarray(smooth), x * 10]).astype(np.uint8)
add("cmyk.jpg", saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=95), 2)
turbo = ctypes.CDLL(ctypes.util.find_library("turbojpeg"))
turbo.tjInitCompress.restype = ctypes.c_void_p
out, size = ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_ulong(0)
stored = np.ascontiguousarray(255 - inks)
assert (
    turbo.tjCompress2(
        ctypes.c_void_p(turbo.tjInitCompress()), stored.ctypes.data_as(ctypes.c_void_p), WIDTH, 0, HEIGHT, 11, ctypes.byref(out), ctypes.byref(size), 0, 95, 0
    )
    == 0
)
add("ycck.jpg", bytes(out[: size.value]), 2)
arithmetic = subprocess.run(["jpegtran", "-arithmetic"], input=jpeg, capture_output=True, check=True).stdout
add("arithmetic.jpg", arithmetic, 2, np.asarray(Image.open(io.BytesIO(jpeg))))
add("extraneous.jpg", jpeg[:-2] + b"\0" * 17 + jpeg[-2:], 2)
add("behind-the-end.jpg", jpeg + b"made by a camera", 2)
add("no-end-mark.jpg", jpeg[:-2], 2, np.asarray(Image.open(io.BytesIO(jpeg))))
for turn in range(1, 9):
    add(f"exif-{turn}.jpg", with_segment(jpeg, b"Exif\0\0" + exif(turn, "><"[turn % 2])), 2)
xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
add("xmp.jpg", with_segment(jpeg, xmp), 2)
plain = np.asarray(Image.open(io.BytesIO(jpeg)))
for name, block in {
    "nothing": b"",
    "too-short": exif(6)[:15],
    "far-directory": b"II*\0\xff\xff\xff\xff",
    "endless": b"II*\0\x08\0\0\0\xff\xff",
    "loop": b"MM\0*\0\0\0\0",
    "value-0": exif(0),
    "value-9": exif(9),
    "no-order": b"XX" + exif(6)[2:],
}.items():
    add(f"broken-exif-{name}.jpg", with_segment(jpeg, b"Exif\0\0" + block), 2, plain)

# WebP
add("lossless.webp", saved(picture, "WEBP", lossless=True))
add("lossy.webp", saved(smooth, "WEBP", quality=95), 2)
add("alpha.webp", saved(Image.fromarray(np.dstack([RGB, ALPHA]), "RGBA"), "WEBP", lossless=True, exact=True), 1)
add("animated.webp", saved(picture, "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "red")]))
for turn in range(1, 9):
    add(f"exif-{turn}.webp", saved(picture, "WEBP", lossless=True, exif=exif(turn, "<>"[turn % 2])))

# GIF
few = picture.quantize(16)
add("plain.gif", saved(few, "GIF", interlace=0))
big = Image.fromarray(np.kron(RGB, np.ones((3, 1, 1), np.uint8))).quantize(16)
add("interlaced.gif", saved(big, "GIF", interlace=1))
add("transparent.gif", saved(few, "GIF", transparency=few.getpixel((5, 3))))
add("animated.gif", saved(few, "GIF", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "red")]))


# BMP
def bmp(
    bits: int, rows: bytes, compression: int = 0, table: bytes = b"", masks: bytes = b"", header: int = 40, height: int = HEIGHT, colours: int = 0
) -> bytes:
    info = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, compression, len(rows), 2835, 2835, colours, 0)
    info += masks + b"\0" * max(0, header - 40 - len(masks))
    start = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + table + rows


def padded(rows: list[bytes]) -> bytes:
    return b"".join(row + b"\0" * (-len(row) % 4) for row in rows)


def packed(values: np.ndarray, bits: int) -> bytes:
    text = "".join(format(int(v), f"0{bits}b") for v in values)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


bgr = RGB[::-1, :, ::-1]
table16 = b"".join(bytes(c[::-1]) + b"\0" for c in RGB.reshape(-1, 3)[:16])
flat = places[..., 0]
add("24.bmp", saved(picture, "BMP"))
add("top-down.bmp", bmp(24, padded([RGB[r, :, ::-1].tobytes() for r in range(HEIGHT)]), height=-HEIGHT))
add("32.bmp", bmp(32, np.dstack([bgr, ALPHA]).tobytes()))
add("32-alpha.bmp", bmp(32, np.dstack([bgr, ALPHA[::-1]]).tobytes(), 3, masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=108))
add(
    "32-empty-alpha.bmp",
    bmp(32, np.dstack([bgr, ALPHA * 0]).tobytes(), 3, masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=108),
    expected=RGB,
)
add("1.bmp", bmp(1, padded([packed(row % 2, 1) for row in flat[::-1]]), table=table16[:8], colours=2))
add("4.bmp", bmp(4, padded([packed(row, 4) for row in flat[::-1]]), table=table16, colours=16))
add("8.bmp", bmp(8, padded([bytes(row.astype(np.uint8)) for row in flat[::-1]]), table=table16, colours=16))
five = (RGB.astype(int) >> 3)[::-1]
add("16.bmp", bmp(16, padded([(row[:, 0] << 10 | row[:, 1] << 5 | row[:, 2]).astype("<u2").tobytes() for row in five]), table=b""), 1)
six = RGB.astype(int)[::-1]
add(
    "565.bmp",
    bmp(
        16,
        padded([((row[:, 0] >> 3) << 11 | (row[:, 1] >> 2) << 5 | row[:, 2] >> 3).astype("<u2").tobytes() for row in six]),
        3,
        masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F),
    ),
    1,
)
runs = b"".join(b"\5\3" + b"\0\4" + bytes([1, 2, 3, 4]) + b"\3\7" + b"\0\0" for _ in range(HEIGHT)) + b"\0\1"
add("rle8.bmp", bmp(8, runs, 1, table=table16, colours=16))
runs = b"".join(b"\5\x34" + b"\0\4" + b"\x12\x34" + b"\3\x77" + b"\0\0" for _ in range(HEIGHT)) + b"\0\1"
add("rle4.bmp", bmp(4, runs, 2, table=table16, colours=16))
core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24) + padded([row.tobytes() for row in bgr])
add("os2.bmp", b"BM" + struct.pack("<IHHI", 14 + len(core), 0, 0, 26) + core)

# TIFF
TIFF_FORMS = {"raw": {}, "lzw": {"compression": "tiff_lzw"}, "deflate": {"compression": "tiff_adobe_deflate"}, "packbits": {"compression": "packbits"}}
for name, options in TIFF_FORMS.items():
    add(f"{name}.tif", saved(picture, "TIFF", **options))
add("jpeg.tif", saved(smooth, "TIFF", compression="jpeg", quality=95), 3)
add("grey.tif", saved(Image.fromarray(GREY), "TIFF"))
add("grey-16.tif", saved(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"), expected=np.repeat(GREY[..., None], 3, 2))
add("fax.tif", saved(Image.fromarray(GREY > 99), "TIFF", compression="group4"))
add("palette.tif", saved(few, "TIFF"))
add("rgba.tif", saved(Image.fromarray(np.dstack([RGB, ALPHA]), "RGBA"), "TIFF"), 1)
add("cmyk.tif", saved(Image.fromarray(inks, "CMYK"), "TIFF"), 1)
add("pages.tif", saved(picture, "TIFF", save_all=True, append_images=[Image.new("RGB", (5, 5), "red")]))
for turn in range(1, 9):
    add(f"turned-{turn}.tif", saved(picture, "TIFF", tiffinfo={274: turn}))

# PNM
add("p6.ppm", b"P6\n# a note\n12 8\n255\n" + RGB.tobytes())
add("p5.pgm", b"P5 12 8 255\n" + GREY.tobytes())
add("p5-16.pgm", b"P5 12 8 65535\n" + (GREY.astype(">u2") * 257).tobytes(), expected=np.repeat(GREY[..., None], 3, 2))
add("p4.pbm", b"P4 12 8\n" + b"".join(packed(row % 2, 1) for row in flat))
add("p3.ppm", b"P3\n12 8 15\n" + " ".join(str(int(v) >> 4) for v in RGB.reshape(-1)).encode(), 1)
add("p2.pgm", b"P2\n12 8\n#note\n255\n" + " ".join(str(int(v)) for v in GREY.reshape(-1)).encode())
add("p1.pbm", b"P1\n12 8\n" + b"\n".join("".join(str(int(v) % 2) for v in row).encode() for row in flat))

path = Path(__file__).resolve().parents[2] / "Tests/Goldens/picture-forms.json"
path.write_text(json.dumps(cases, indent=0, sort_keys=True) + "\n")
print(len(cases), "pictures,", path.stat().st_size, "bytes")
