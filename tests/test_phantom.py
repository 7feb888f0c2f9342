"""The chest phantom: seeded, of the stated make-up, told by where a lung is opaque and not by its mean brightness."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from course_utils.data import draw_chest_phantoms, phantom
from course_utils.errors import CourseError

PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def split():
    return draw_chest_phantoms()


def grey(samples):
    return samples.x[..., 0] / 255


def lung_profile(samples):
    """Return blocks of 4 x 4 pixels, each image brought to one mean and spread."""
    blocks = grey(samples).reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)
    return (blocks - blocks.mean(axis=1, keepdims=True)) / blocks.std(axis=1, keepdims=True)


def auc(classifier, samples, features=lung_profile):
    return roc_auc_score(samples.y, classifier.decision_function(features(samples)))


@pytest.fixture(scope="module")
def probe(split):
    return LogisticRegression(C=0.1, max_iter=1000).fit(lung_profile(split.train), split.train.y)


def test_form_and_counts(split):
    assert split.counts().to_numpy().tolist() == [[390, 78, 150], [1110, 222, 250]]
    for part in PARTS:
        x, y = getattr(split, part)
        assert x.dtype == np.uint8 and x.shape == (len(y), 28, 28, 1) and y.dtype == np.int64
        assert 0 < np.mean(y[: len(y) // 2] == 0) < 0.5  # shuffled, not sorted by class
    assert split.class_names == ("normal", "pneumonia")
    assert "synthetic" in repr(split) and "Synthetic" in split.card.note


def test_seed_decides_the_images(split):
    again, other = draw_chest_phantoms(0), draw_chest_phantoms(1)
    for part in PARTS:
        first = getattr(split, part)
        assert np.array_equal(first.x, getattr(again, part).x) and np.array_equal(first.y, getattr(again, part).y)
        assert not np.array_equal(first.x, getattr(other, part).x)
    images = np.concatenate([getattr(split, part).x.reshape(-1, 28 * 28) for part in PARTS])
    assert len(np.unique(images, axis=0)) == 2200  # none in two parts


# Mean, SD, mean step down and to the right, and the lean to the right and down, in shades of gray.
DRAWN = {
    "train": (146.682, 43.781, 11.0, 11.506, 0.06, 8.365),
    "validation": (147.415, 44.316, 11.1, 11.569, 0.067, 8.53),
    "test": (142.385, 44.984, 10.717, 11.303, -0.065, 8.309),
}


@pytest.mark.parametrize("part", PARTS)
def test_images_are_those_on_which_the_figures_were_measured(split, part):
    x, ramp = getattr(split, part).x[..., 0].astype(float), np.linspace(-1, 1, 28)
    steps = [np.abs(np.diff(x, axis=axis)).mean() for axis in (1, 2)]
    found = (x.mean(), x.std(), *steps, (x * ramp).mean(), (x * ramp[:, None]).mean())
    assert found == pytest.approx(DRAWN[part], abs=2e-3)


def test_images_are_well_exposed(split):
    for part in PARTS:
        x = getattr(split, part).x
        assert 120 < x.mean() < 165 and x.std(axis=(1, 2, 3)).min() > 10
        assert np.mean(x == 255) < 0.01 and np.mean(x < 5) < 0.05


def test_classes_differ_in_the_lungs_and_not_only_in_brightness(split, probe):
    assert 0.82 < auc(probe, split.validation) < 0.97  # neither hopeless nor trivial
    assert 0.55 < roc_auc_score(split.train.y, grey(split.train).mean(axis=(1, 2))) < 0.75  # as in the real ones


def test_second_hospital_is_harder_and_its_images_differ(split, probe):
    validation, test = (auc(probe, part) for part in (split.validation, split.test))
    assert 0.75 < test < validation
    normal = [grey(part)[part.y == 0] for part in (split.validation, split.test)]
    spread = [images.std(axis=(1, 2)).mean() for images in normal]
    assert spread[1] < 0.95 * spread[0]  # scatter takes contrast
    grain = [np.abs(np.diff(images[:, -4:, :], n=2, axis=2)).mean() for images in normal]
    assert grain[1] > 1.2 * grain[0]  # noise, seen below the diaphragm
    dark = [(images[:, 14, [0, -1]] < 0.15).mean() for images in normal]
    assert dark[1] > dark[0]  # the collimator's shadow
    scores = [probe.decision_function(lung_profile(part))[part.y == 0].mean() for part in (split.train, split.test)]
    assert scores[1] > scores[0] + 0.2  # a threshold of the first hospital calls more of the healthy ill


def test_vertical_flips_leave_the_anatomy(split, probe):
    turned = split.validation._replace(x=split.validation.x[:, ::-1])
    assert auc(probe, turned) < auc(probe, split.validation) - 0.15


def draw_chests(n=400):
    random = np.random.default_rng(5)
    return phantom._anatomy(random, *phantom._position(random, n, phantom.FIRST))


def test_anatomy_lies_as_it_should():
    chest = draw_chests()
    lungs = chest.lungs.mean(axis=0)
    right, left = (lungs[:, :14].sum(), lungs[:, 14:].sum())  # the patient's right is on the image's left
    assert left < 0.95 * right  # the heart takes room in the left lung
    upper, lower = (lungs[rows].sum() for rows in (slice(2, 8), slice(11, 17)))
    assert upper < 0.65 * lower  # the apex is narrower than the base
    assert lungs[8:18, 13:15].max() < 0.1 and lungs[-2:].max() < 0.1  # no air in the mediastinum or the abdomen
    assert 0.15 < lungs.mean() < 0.4


def test_opacities_are_local_and_of_many_kinds():
    chest = draw_chests()
    opacity = phantom._opacity(np.random.default_rng(0), chest)
    assert opacity.min() >= 0 and opacity.max() <= 1
    lost = (opacity * chest.lungs).sum(axis=(1, 2)) / chest.lungs.sum(axis=(1, 2))
    low, high = np.quantile(lost, [0.05, 0.95])
    assert low < 0.15 and 0.4 < high < 0.9  # faint and extensive ones, rarely both lungs white
    half = chest.side < 0
    right = (opacity * chest.lungs * half).sum(axis=(1, 2)) / (opacity * chest.lungs).sum(axis=(1, 2))
    assert (right > 0.95).mean() > 0.15 and (right < 0.05).mean() > 0.15  # on either side, often on one alone


def test_only_pneumonia_changes_the_lungs(monkeypatch):
    """With the opacities taken away, the classes cannot be told apart, and nothing outside the lungs has changed."""
    ill = draw_chest_phantoms()
    monkeypatch.setattr(phantom, "_opacity", clear(phantom._opacity))
    well = draw_chest_phantoms()
    healthy = LogisticRegression(C=0.1, max_iter=1000).fit(lung_profile(well.train), well.train.y)
    assert 0.4 < auc(healthy, well.validation) < 0.6
    same = ill.train.y == 0
    assert np.array_equal(ill.train.x[same], well.train.x[same])


def clear(opacity):
    return lambda random, chest: 0 * opacity(random, chest)


def test_one_seed_gives_the_same_chests_in_every_hospital():
    (normal, opaque), (changed, again) = (
        phantom.draw_chests(50, phantom.FIRST._replace(noise=noise, collimated=0), seed=3)
        for noise in ((0.0, 0.0), (0.01, 0.01))
    )
    assert np.array_equal(normal.y, changed.y) and np.array_equal(opaque, again)
    difference = normal.x.astype(float) - changed.x
    assert abs(difference.mean()) < 0.1 and 2 < difference.std() < 3.1  # 0.01 of 255, and rounding


def test_the_place_of_an_opacity_is_known():
    chests, opaque = phantom.draw_chests(100, phantom.FIRST)
    assert opaque.shape == (100, 28, 28) and opaque.min() >= 0 and opaque.max() <= 1
    assert not opaque[chests.y == 0].any() and opaque[chests.y == 1].any(axis=(1, 2)).all()


@pytest.mark.parametrize("n", [0, 2.5])
def test_a_number_of_chests_that_cannot_be_is_refused(n):
    with pytest.raises(CourseError, match="whole number, at least 1"):
        phantom.draw_chests(n, phantom.FIRST)
