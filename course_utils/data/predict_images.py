"""Classify new images: python predict.py FILE_OR_FOLDER ... > answers.csv

Needs Keras with TensorFlow. With Pillow it reads every format that the training read, and turns photos upright;
without, it reads JPEG, PNG, GIF and BMP alike, a JPEG to a grey level, and says which photos need Pillow.
"""

import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

try:
    from PIL import Image, ImageOps
except ImportError:
    Image = None

CLASSES = []
SIZE = 0
BATCH = 32


def read_with_pillow(file):
    """Return an image upright, RGB, transparent parts white, as the training read it."""
    with Image.open(file) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode.startswith(("I", "F")):
            raise ValueError("more than 16 bits a channel")
        rgba = image.convert("RGBA")
    rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return np.asarray(rgb.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def read_with_tensorflow(file):
    """Do the same without Pillow; turned photos are refused."""
    data = Path(file).read_bytes()
    for mark, at in ((b"\x12\x01\x03\x00\x01\x00\x00\x00", 8), (b"\x01\x12\x00\x03\x00\x00\x00\x01", 9)):
        found = data[:65536].find(mark)
        if b"Exif" in data[:65536] and found >= 0 and data[found + at] > 1:
            raise ValueError("the camera notes that it is turned: pip install pillow")
    if data.startswith(b"\xff\xd8"):
        image = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()  # as Pillow does
    else:
        image = tf.io.decode_image(data, expand_animations=False).numpy()
    if image.shape[-1] in (2, 4):
        alpha, image = image[..., -1:].astype(int), image[..., :-1].astype(int)
        both = (image * alpha + 255 * (255 - alpha) + 128) * 128
        image = ((both >> 8) + both >> 15).astype(np.uint8)
    image = resized(resized(image, 1), 0)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def resized(image, axis):
    """Resize along one axis as Pillow's bilinear filter does it, to the last grey level: in units of 2**-22."""
    before, centres = image.shape[axis], (np.arange(SIZE) + 0.5) * image.shape[axis] / SIZE
    if before == SIZE:
        return image
    wide = max(before / SIZE, 1)
    share = np.maximum(1 - np.abs(np.arange(before) + 0.5 - centres[:, None]) / wide, 0)
    share = np.floor(share / share.sum(axis=1, keepdims=True) * 2**22 + 0.5)
    mixed = np.tensordot(share, image.astype(float), (1, axis))
    return np.moveaxis(np.clip(np.floor(mixed / 2**22 + 0.5), 0, 255), 0, axis).astype(np.uint8)


def main(paths):
    """Write a row for each file: its name, the class, and the probability of each class."""
    home = Path(__file__).resolve().parent
    files = [f for path in map(Path, paths) for f in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if not file.is_dir() and not file.name.startswith(".")]
    if not files:
        sys.exit(f"There is no file in {', '.join(paths)}.")
    model, read = keras.saving.load_model(home / "model.keras", compile=False), 0
    write = csv.writer(sys.stdout).writerow
    write(["file", "class", *CLASSES])
    for start in range(0, len(files), BATCH):
        names, images = [], []
        for file in files[start : start + BATCH]:
            try:
                images.append((read_with_pillow if Image else read_with_tensorflow)(file))
                names.append(file)
            except Exception as error:  # a damaged file must not stop the others
                print(f"{file} cannot be read: {error}", file=sys.stderr)
        answers = model.predict(np.stack(images), verbose=0) if images else []
        read += len(names)
        for name, p in zip(names, answers, strict=True):
            write([name, CLASSES[p.argmax()], *(f"{value:.4f}" for value in p)])
    if not read:
        sys.exit("No file could be read as an image.")


if __name__ == "__main__":
    # In UTF-8 whatever the console has; a name that has no characters is written with escapes, and lines end once.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    main(sys.argv[1:] or sys.exit(__doc__))
