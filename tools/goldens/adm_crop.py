"""Records what Pillow makes of ADM's centre crop: box halving, bicubic, middle square. Needs pillow and numpy.

Usage: python3 tools/goldens/adm_crop.py   (writes Tests/Goldens/adm-crop/*.png)
"""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 32
folder = Path(__file__).resolve().parents[2] / "Tests/Goldens/adm-crop"


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Slopes, stripes and noise: smooth parts, edges and every frequency."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    values = np.stack([x * 255 // width, (x // 3 + y // 5) % 2 * 255, random.integers(0, 256, (height, width))], axis=-1)
    return Image.fromarray(values.astype(np.uint8))


folder.mkdir(parents=True, exist_ok=True)
for seed, (width, height) in enumerate([(37, 53), (150, 97), (64, 128), (20, 31), (131, 65)]):
    image = picture(width, height, seed)
    image.save(folder / f"{width}x{height}.png")
    centre_crop(image, SIZE).save(folder / f"{width}x{height}-cropped.png")
