"""A chest phantom: synthetic X-rays of two hospitals, for practice where no real ones can be had."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from course_utils.data.chest_xrays import CLASS_NAMES, SIZE
from course_utils.data.dataset import Card, DataSplit, Samples
from course_utils.errors import whole_number

CARD = Card(
    title="Chest phantom (synthetic)",
    source="Drawn by a program from simple shapes; no image shows a person.",
    licence="MIT",
    citation="",
    note="Synthetic: figures measured on it say nothing about the diagnosis of people.",
)

Range = tuple[float, float]  # drawn uniformly for each image


class Hospital(NamedTuple):
    """How a hospital takes its images, and how many of its patients are ill."""

    ill: float  # share of pneumonia
    brightness: Range  # of soft tissue, 0 black to 1 white
    contrast: Range
    scatter: Range  # share of the rays that veil the image
    noise: Range  # standard deviation
    zoom: Range  # above 1 the image shows less than the whole chest
    collimated: float  # share of images with the shadow of the collimator at their border


FIRST = Hospital(0.74, (0.5, 0.64), (0.9, 1.3), (0.0, 0.25), (0.004, 0.015), (1.0, 1.25), 0.05)
SECOND = Hospital(0.625, (0.48, 0.66), (0.85, 1.2), (0.08, 0.3), (0.006, 0.017), (0.95, 1.2), 0.15)
PARTS = ((1500, FIRST), (300, FIRST), (400, SECOND))  # training, validation, test


class Chest(NamedTuple):
    """Lungs and the rest, for each image: maps of shape (n, 28, 28)."""

    lungs: np.ndarray  # share of the ray's way that is air, 0 to 1
    tissue: np.ndarray  # brightness without that air
    place: tuple[np.ndarray, np.ndarray]  # from mediastinum (0) to chest wall (1), from apex (0) to base (1)
    side: np.ndarray  # -1 the patient's right, on the left of the image; 1 the left


def draw_chest_phantoms(seed: int = 0) -> DataSplit:
    """Draw synthetic chest radiographs, normal or with pneumonia, as a stand-in for PneumoniaMNIST.

    Pneumonia is one or more opacities of varying place, size, sharpness and density inside the
    lungs, some of them faint. The test part comes from a second hospital, with another exposure,
    more scatter and noise, and fewer ill among its patients.

    Parameters
    ----------
    seed : int
        The same seed gives the same images.

    Returns
    -------
    DataSplit
        1,500 training, 300 validation and 400 test images; ``x`` uint8, 0 (air, black) to 255
        (white), shape (n, 28, 28, 1); classes "normal" and "pneumonia".
    """
    streams = np.random.default_rng(whole_number("seed", seed, 0)).spawn(len(PARTS))
    parts = [_draw_part(random, *part)[0] for random, part in zip(streams, PARTS, strict=True)]
    return DataSplit(*parts, CLASS_NAMES, CARD)


def draw_chests(n: int, hospital: Hospital, seed: int = 0) -> tuple[Samples, np.ndarray]:
    """Draw chests as one hospital takes them, and where their opacities lie.

    One seed gives the same chests in every hospital with the same share of ill. So one factor can be changed alone:
    ``draw_chests(1000, FIRST._replace(scatter=SECOND.scatter))``.

    Parameters
    ----------
    n : int
        How many, at least 1.
    hospital : Hospital
        Such as `FIRST` or `SECOND`.
    seed : int
        The same seed gives the same images.

    Returns
    -------
    Samples
        As in `draw_chest_phantoms`.
    ndarray of float, shape (n, 28, 28)
        The share of a ray's way on which an opacity has taken the place of air, 0 to 1; all 0 for a normal chest.

    Raises
    ------
    CourseError
        If `n` is no whole number of at least 1.
    """
    return _draw_part(np.random.default_rng(seed), whole_number("n", n), hospital)


def _draw_part(random: np.random.Generator, n: int, hospital: Hospital) -> tuple[Samples, np.ndarray]:
    """Draw the images of one part, in random order, and their opacities."""
    ill = random.permutation(np.arange(n) < round(hospital.ill * n))
    chest = _anatomy(random, *_position(random, n, hospital))
    opaque = chest.lungs * ill[:, None, None] * _opacity(random, chest)
    images = _exposure(random, chest.tissue - 0.36 * (chest.lungs - opaque), hospital)
    return Samples(images[..., None], ill.astype(np.int64)), opaque


def _position(random: np.random.Generator, n: int, hospital: Hospital) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pixel how far right (u) and down (v) it lies in the chest, -1 to 1 for an upright one."""
    down, right = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    angle, zoom = _each(random, n, -0.1, 0.1), _each(random, n, *hospital.zoom)
    u = (right * np.cos(angle) + down * np.sin(angle)) / zoom + _each(random, n, -0.1, 0.1)
    v = (down * np.cos(angle) - right * np.sin(angle)) / zoom + _each(random, n, -0.1, 0.1)
    return u, v


def _anatomy(random: np.random.Generator, u: np.ndarray, v: np.ndarray) -> Chest:
    """Build the chests: rib cage, mediastinum with aorta and heart, diaphragm, and the lungs between them."""
    n, out, side = len(u), np.abs(u), np.sign(u)

    def each(low, high):
        return _each(random, n, low, high)

    apex, base, width = each(-0.95, -0.75), each(0.5, 0.75), each(0.75, 0.92)
    depth = np.clip((v - apex) / (base - apex), 0, 1)
    cage = width * np.sqrt(1 - (1 - depth) ** 3) * (0.75 + 0.25 * depth)
    aorta = each(0, 0.1) * np.exp(-(((depth - 0.25) / 0.08) ** 2)) * (side > 0)
    middle = 0.15 + each(0, 0.08) * depth + aorta
    heart = _ellipse(u - each(0.08, 0.2), v - base + each(0.12, 0.25), each(0.3, 0.42), each(0.34, 0.5))
    arch = 1 - ((out - 0.45 * width) / (0.55 * width)) ** 2
    abdomen = _inside(v - base - 0.07 * side + each(0.08, 0.22) * arch)  # the liver lifts the right dome
    lungs = _inside(cage - out) * _inside(out - middle) * (v > apex) * (1 - heart) * (1 - abdomen)

    hilum = np.exp(-(((out - 0.25) / 0.13) ** 2) - ((v - each(-0.15, 0.1)) / 0.22) ** 2)
    soft = 0.66 + 0.06 * heart + 0.1 * abdomen + each(0.02, 0.12) * hilum
    bones = _bones(random, out, v, v - apex, cage) * (1 - 0.5 * abdomen)
    shoulders = _inside(v - apex + each(0.15, 0.4) - 0.3 * (out - 0.3))
    body = _inside(each(0.95, 1.3) - out, 0.02) * shoulders
    return Chest(lungs, (soft + bones) * body, ((out - middle) / (cage - middle + 0.01), depth), side)


def _bones(random: np.random.Generator, out, v, below_apex, cage) -> np.ndarray:
    """Return the brightness that ribs, spine and clavicles add; `out` is the distance from the midline."""
    n = len(out)
    drop = _each(random, n, 0.15, 0.45) * out**1.5  # ribs slope down on their way outward
    cycles = (v - drop) / _each(random, n, 0.19, 0.25) + _each(random, n, 0, 1)
    ribs = (0.5 + 0.5 * np.cos(2 * np.pi * cycles)) ** 2 * _inside(cage + 0.06 - out)
    vertebrae = 1 + 0.15 * np.cos(2 * np.pi * (v / 0.2 + _each(random, n, 0, 1)))
    spine = np.exp(-((out / 0.13) ** 2)) * vertebrae
    height = below_apex + 0.25 * out - _each(random, n, 0.1, 0.2)
    clavicles = np.exp(-((height / 0.05) ** 2)) * _inside(cage + 0.2 - out)
    return _each(random, n, 0.06, 0.12) * ribs + 0.1 * spine + 0.08 * clavicles


def _opacity(random: np.random.Generator, chest: Chest) -> np.ndarray:
    """Return which share of the lungs' air each pneumonia displaces: a map of shape (n, 28, 28)."""
    n = len(chest.lungs)
    across, down = chest.place
    spared = np.ones_like(chest.lungs)
    for chance in (1, 0.4, 0.25):  # a second and a third focus are rarer
        side = random.choice([-1, 1], (n, 1, 1))
        place = _each(random, n, 0.2, 0.9), _each(random, n, 0.2, 0.85)
        size = _each(random, n, 0.2, 0.55)
        shape = _each(random, n, 0.7, 1.4)
        edge = _each(random, n, 0.7, 2.0)  # from a veil to a sharp border
        density = _each(random, n, 0.55, 1) * (random.random((n, 1, 1)) < chance)
        distance = ((across - place[0]) / (1.5 * size * shape)) ** 2 + ((down - place[1]) * shape / size) ** 2
        spared *= 1 - density * np.exp(-(distance**edge)) * (chest.side == side)
    patchy = 1 + 0.3 * gaussian_filter(random.normal(size=chest.lungs.shape), (0, 1, 1))
    return np.clip((1 - spared) * patchy, 0, 1)


def _exposure(random: np.random.Generator, image: np.ndarray, hospital: Hospital) -> np.ndarray:
    """Take the image: scatter, contrast and brightness, noise, collimator; as bytes."""
    n = len(image)
    veil = gaussian_filter(image, (0, 6, 6))
    scatter = _each(random, n, *hospital.scatter)
    image = gaussian_filter(image, (0, 0.4, 0.4)) * (1 - scatter) + veil * scatter
    image = _each(random, n, *hospital.brightness) + _each(random, n, *hospital.contrast) * (image - 0.62)
    image = image + _each(random, n, *hospital.noise) * random.normal(size=image.shape)
    edge = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1])
    shadow = random.integers(0, 4, (n, 2)) * (random.random((n, 1)) < hospital.collimated)
    lit = (edge >= shadow[:, :1])[:, :, None] & (edge >= shadow[:, 1:])[:, None, :]
    return np.rint(255 * np.clip(image * np.where(lit, 1, 0.1), 0, 1)).astype(np.uint8)


def _each(random: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    """Draw one number for each image, to be broadcast over its pixels."""
    return random.uniform(low, high, (n, 1, 1))


def _inside(distance: np.ndarray, softness: float = 0.03) -> np.ndarray:
    """Turn the distance to a border into 1 inside, 0 outside, with a soft edge."""
    return expit(distance / softness)


def _ellipse(u, v, width, height) -> np.ndarray:
    """Return the soft disc of an ellipse around the origin, its axes turned as a heart's."""
    along, across = u * np.cos(0.5) + v * np.sin(0.5), v * np.cos(0.5) - u * np.sin(0.5)
    return _inside(1 - np.hypot(along / width, across / height), 0.08)
