"""samples.npz as tools that compute FID read it: arr_0, uint8, NHWC; written image by image, never held whole."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

from files import replacing


def write_npz(path: Path, pictures: list[Path], classes: list[str]):
    """Pictures in the order given, and the class of each under `labels`."""
    width, height, _ = decode_png(pictures[0].read_bytes())
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(member("arr_0.npy"), "w", force_zip64=True) as out:
            out.write(npy_header("|u1", (len(pictures), height, width, 3)))
            for picture in pictures:
                size = decode_png(picture.read_bytes())
                if size[:2] != (width, height):
                    raise ValueError(f"'{picture}' is {size[0]}x{size[1]}, not {width}x{height}")
                out.write(size[2])
        longest = max(len(name) for name in classes)
        with archive.open(member("labels.npy"), "w") as out:
            out.write(npy_header(f"<U{longest}", (len(classes),)))
            for name in classes:
                out.write(name.ljust(longest, "\0").encode("utf-32-le"))


def member(name: str) -> zipfile.ZipInfo:
    """A fixed date: equal images give an equal file."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def npy_header(dtype: str, shape: tuple) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}"
    # The header ends at a multiple of 64 bytes.
    length = len(text) + 64 - (len(text) + 10) % 64
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + text.ljust(length - 1).encode() + b"\n"


def decode_png(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and RGB bytes of an eight-bit RGB file that is not interlaced, as the server writes them."""
    stream, packed = io.BytesIO(data), b""
    if stream.read(8) != b"\x89PNG\r\n\x1a\n":
        raise ValueError("not a PNG file")
    while head := stream.read(8):
        length, kind = struct.unpack(">I4s", head)
        body = stream.read(length)
        stream.read(4)
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            if (depth, colour, interlaced) != (8, 2, 0):
                raise ValueError("not an eight-bit RGB file")
        elif kind == b"IDAT":
            packed += body
    rows, stride = zlib.decompress(packed), width * 3
    above, out = bytearray(stride), bytearray()
    for y in range(height):
        start = y * (stride + 1)
        above = unfiltered(rows[start], bytearray(rows[start + 1 : start + 1 + stride]), above)
        out += above
    return width, height, bytes(out)


def unfiltered(kind: int, row: bytearray, above: bytearray) -> bytearray:
    for i in range(len(row)):
        a, b, c = (row[i - 3] if i >= 3 else 0), above[i], (above[i - 3] if i >= 3 else 0)
        if kind == 1:
            row[i] = (row[i] + a) & 255
        elif kind == 2:
            row[i] = (row[i] + b) & 255
        elif kind == 3:
            row[i] = (row[i] + (a + b) // 2) & 255
        elif kind == 4:
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row[i] = (row[i] + nearest) & 255
    return row
