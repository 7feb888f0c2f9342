"""Scores against densities and covariances written out, and the recommender on made-up measurements."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.linalg import helmert
from scipy.stats import multivariate_normal

from course_utils.data.dataset import Samples
from course_utils.errors import CourseError
from course_utils.zoo import candidates
from course_utils.zoo.candidates import measure_candidates
from course_utils.zoo.recommender import recommend, spoken
from course_utils.zoo.transferability import RATIOS, h_score, log_evidence, prepared


def clouds(distance, n=60, d=10, seed=0):
    """Three classes of Gaussian features whose means lie `distance` apart from the origin."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return random.normal(size=(n, d)) + distance * np.eye(d)[y], y


def test_evidence_is_the_gaussian_density_of_the_labels():
    x, y = clouds(1.0, n=15, d=6)
    centred, targets = prepared(x, y)
    best = []
    basis = helmert(15)  # of what is left after centring
    for target in (basis @ targets).T:
        shapes = [np.eye(14) + basis @ centred @ centred.T @ basis.T / ratio for ratio in RATIOS]
        variances = [target @ np.linalg.solve(shape, target) / 14 for shape in shapes]
        best.append(max(multivariate_normal(cov=v * s).logpdf(target) for v, s in zip(variances, shapes, strict=False)))
    assert log_evidence(x, y) == pytest.approx(np.mean(best) / 14, abs=1e-9)


@pytest.mark.parametrize("d", [10, 200])
def test_evidence_grows_with_separation_also_with_many_features(d):
    scores = [log_evidence(*clouds(distance, d=d)) for distance in (0, 2, 4, 8)]
    assert scores == sorted(scores) and scores[-1] > scores[0] + 0.3


def test_many_features_of_noise_do_not_beat_few_that_tell_something():
    """Fails where centring is not paid for: more features than samples then fit every target for nothing."""
    noise = [np.random.default_rng(1000 + seed).normal(size=(60, 1280)) for seed in range(40)]
    informative = [clouds(1.0, d=20, seed=seed) for seed in range(40)]
    assert all(log_evidence(*few) > log_evidence(many, few[1]) for few, many in zip(informative, noise, strict=True))


def test_scores_bear_features_of_any_size():
    x, y = clouds(2.0)
    for score in (log_evidence, h_score):
        for factor in (1e-300, 1e300):
            assert score(factor * x, y) == pytest.approx(score(x, y))
        assert np.isfinite(
            [score(0 * x, y), score(x.astype(np.float16), y), score(np.asfortranarray(x), list(y))]
        ).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_each_row_is_brought_to_length_one_then_each_column_is_centred(sign):
    x, y = clouds(2.0)
    x = sign * np.abs(x)
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    found, targets = prepared(np.logspace(-150, 150, 60)[:, None] * x, y)
    assert np.allclose(found, rows - rows.mean(axis=0))
    assert np.allclose(targets, (y[:, None] == np.arange(3)) - 1 / 3)
    _, unequal = prepared(x, np.minimum(y, 1))  # two classes, a third and two thirds
    assert np.allclose(unequal.mean(axis=0), 0) and unequal.shape == (60, 2)


def test_evidence_depends_on_neither_scale_nor_names_nor_order():
    x, y = clouds(2.0)
    order = np.random.default_rng(1).permutation(len(y))
    assert log_evidence(100 * x, y) == pytest.approx(log_evidence(x, y))
    assert log_evidence(x[order], 7 - 2 * y[order]) == pytest.approx(log_evidence(x, y))


def test_h_score_is_the_trace_written_out():
    x, y = clouds(1.0, n=90, d=5)
    centred, _ = prepared(x, y)
    means = np.stack([centred[y == k].mean(axis=0) for k in range(3)])
    expected = np.trace(np.linalg.inv(centred.T @ centred / 90) @ (means.T @ means / 3))
    assert h_score(x, y) == pytest.approx(expected)


def test_h_score_cannot_tell_networks_apart_with_more_features_than_samples():
    assert h_score(*clouds(0, n=60, d=200)) == pytest.approx(2)
    assert h_score(*clouds(8, n=60, d=200)) == pytest.approx(2)
    assert h_score(*clouds(0, n=600, d=10)) < 0.2


@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.ones((4, 2)), np.arange(3), "do not fit"),
        (np.ones(4), np.arange(4), "do not fit"),
        (np.full((4, 2), np.nan), np.array([0, 0, 1, 1]), "hold nan"),
        (np.ones((4, 0)), np.array([0, 0, 1, 1]), "do not fit"),
        (np.array([["a"], ["b"]]), np.array([0, 1]), "numbers"),
        (np.ma.masked_equal(np.eye(4), 0), np.array([0, 0, 1, 1]), "masked"),
        (np.ones((4, 2)), np.array([0, 0, 1, np.nan]), "missing"),
        (np.ones((4, 2)), np.zeros(4, int), "1 classes among 4"),
        (np.ones((4, 2)), np.arange(4), "4 classes among 4"),
    ],
)
def test_bad_input_of_scores_is_refused(x, y, message):
    for score in (log_evidence, h_score):
        with pytest.raises(CourseError, match=message):
            score(x, y)


MEASURED = pd.DataFrame(
    {
        "name": ["EfficientNetLite0", "EfficientNetLite2"],
        "input size": [96, 128],
        "classes": 8,
        "score": [-0.15, -0.10],
        "random score": -0.30,
        "pass": [0.01, 0.04],
        "head": [0.0, 0.0],
        "training step": [0.05, 0.20],
    }
)


def ask(measured=MEASURED, images=1000, classes=8, budget=60, unit="seconds"):
    return recommend(measured, images=images, classes=classes, budget=budget, unit=unit)


def test_the_best_score_that_fits_is_taken():
    assert (ask().model, ask().input_size, ask().strategy) == ("EfficientNetLite2", 128, "frozen")
    tight = ask(budget=20)
    assert (tight.model, tight.strategy) == ("EfficientNetLite0", "frozen")
    assert any("too slow" in reason and "EfficientNetLite2" in reason for reason in tight.reasons)
    assert tight.seconds == pytest.approx(10)


def test_time_left_allows_fine_tuning():
    found = ask(budget=1, unit="hours")
    assert found.strategy == "frozen, then fine-tuned" and found.seconds == pytest.approx(40 + 10 * 200)
    assert str(found).startswith("EfficientNetLite2 at 128 px, frozen, then fine-tuned: about 34 min")
    assert "only if validation improves" in str(found)


@pytest.mark.parametrize(
    ("budget", "model", "strategy"),
    [
        (10, "EfficientNetLite0", "frozen"),
        (39.9, "EfficientNetLite0", "frozen"),
        (40, "EfficientNetLite2", "frozen"),
        (2039.9, "EfficientNetLite2", "frozen"),
        (2040, "EfficientNetLite2", "frozen, then fine-tuned"),
    ],
)
def test_a_time_that_is_just_enough_is_enough(budget, model, strategy):
    assert (ask(budget=budget).model, ask(budget=budget).strategy) == (model, strategy)


def test_every_part_of_the_time_counts():
    with_head = ask(MEASURED.assign(head=0.01))
    assert with_head.seconds == pytest.approx(1000 * (0.04 + 0.01))
    assert with_head.table["frozen"].to_dict() == pytest.approx({0: 50, 1: 20})
    assert with_head.table["fine-tuned"].tolist() == pytest.approx([50 + 2000, 20 + 500])
    assert ask(images=500).seconds == pytest.approx(20)


def test_the_smallest_tasks_are_accepted():
    assert ask(images=8).strategy == "frozen, then fine-tuned"
    assert ask(MEASURED.assign(classes=2), images=2, classes=2).model == "EfficientNetLite2"


def test_the_reasons_name_what_was_compared():
    one, two, long = ask(budget=20), ask(), ask(budget=1, unit="hours")
    assert "-0.150 is that of the only candidate" in str(one) and "in 20 s; random weights score -0.300" in str(one)
    assert "too slow for the budget: EfficientNetLite2 128 px" in str(one)
    assert "highest of the 2 candidates" in str(two) and "too slow" not in str(two) + str(ask(budget=40))
    assert "10 epochs of fine-tuning would take about 34 min" in str(two)
    assert "features take about 40 s" in str(long) and "(125 images a class)" in str(long)
    same = ask(MEASURED.assign(**{"random score": -0.10}))
    assert same.strategy == "from scratch" and same.seconds == pytest.approx(2040)


def test_the_unit_matters():
    assert ask(budget=20, unit="seconds").model != ask(budget=20, unit="minutes").model


def test_no_better_than_random_means_from_scratch():
    found = ask(MEASURED.assign(**{"random score": 0.0}), budget=1, unit="hours")
    assert found.strategy == "from scratch" and "nothing to transfer" in str(found) and "longer than" not in str(found)
    tight = ask(MEASURED.assign(**{"random score": 0.0}), budget=20)
    assert tight.strategy == "from scratch" and "longer than the 20 s of the budget" in str(tight)


@pytest.mark.parametrize(
    "request_, message",
    [
        (dict(unit="fortnights"), "accepted are seconds, minutes, hours"),
        (dict(budget=0), "above 0"),
        (dict(budget=float("nan")), "above 0"),
        (dict(classes=1), "two classes"),
        (dict(images=1000.5), "images=1000.5 is impossible"),
        (dict(classes=8.0), "classes=8.0 is impossible"),
        (dict(images=5), "at least one image of each"),
        (dict(budget=1), "fastest needs about 10 s"),
        (dict(classes=9), "shows 8 classes of 9"),
    ],
)
def test_bad_requests_get_one_sentence(request_, message):
    with pytest.raises(CourseError, match=message):
        ask(**request_)


def test_measurements_of_a_real_network():
    random = np.random.default_rng(0)
    sample = Samples(random.integers(0, 256, (12, 40, 40, 1), dtype=np.uint8), np.arange(12) % 3)
    table = measure_candidates(sample, [("MobileNetV2Torch", 32)])
    row = table.iloc[0]
    assert (row["name"], row["input size"]) == ("MobileNetV2Torch", 32)
    assert np.isfinite([row["score"], row["random score"]]).all()
    assert row[["pass", "training step", "head"]].min() > 0
    with pytest.raises(CourseError, match="at least one pair"):
        measure_candidates(sample, [])
    with pytest.raises(CourseError, match="have 4 channels, not 1 or 3"):
        measure_candidates(sample._replace(x=np.repeat(sample.x, 4, axis=-1)), [("MobileNetV2Torch", 32)])


@pytest.fixture
def small_networks(monkeypatch):
    """Networks of the registry with two features, four images at a time."""

    def load_backbone(name, input_size, weights="imagenet"):
        inputs = keras.Input((input_size, input_size, 3))
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 1)(inputs)))

    monkeypatch.setattr(candidates, "load_backbone", load_backbone)
    monkeypatch.setattr(candidates, "BATCH", 4)
    return load_backbone


def test_each_image_has_its_features_and_the_time_is_that_of_one(small_networks, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3)).astype(np.uint8)
    clock = iter([0, 8, 10, 14, 20, 32])  # three batches of 8, 4 and 12 seconds
    monkeypatch.setattr(candidates, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    model = small_networks("any", 8)
    features, seconds = candidates.timed_features(model, images)
    assert np.allclose(features, model(images.astype("float32")), rtol=1e-4) and seconds == 8 / 4


def test_a_training_step_costs_as_many_passes_as_measured_on_the_first(small_networks, monkeypatch):
    x, y = clouds(2.0, n=12)
    sample = Samples(np.zeros((12, 8, 8, 3), np.uint8), y)
    passes = iter([0.5, 0.5, 2.0])  # of random weights, of two candidates
    monkeypatch.setattr(candidates, "timed_features", lambda model, images: (x, next(passes)))
    monkeypatch.setattr(candidates, "median_seconds", lambda step, repeats: step() and 3.0 * candidates.BATCH)
    table = measure_candidates(sample, [("MobileNetV2Torch", 8), ("EfficientNetLite0", 8)])
    assert table["training step"].tolist() == [3.0, 12.0] and table["pass"].tolist() == [0.5, 2.0]
    assert set(table["score"]) == set(table["random score"]) == {log_evidence(x, y)} and set(table["classes"]) == {3}


def test_times_are_told_in_a_readable_unit():
    assert [spoken(value) for value in (0.51, 45.2, 600, 9000)] == ["0.5 s", "45 s", "10 min", "2.5 h"]
    edges = [spoken(value) for value in (9.9, 10, 119, 120, 7199, 7200)]
    assert edges == ["9.9 s", "10 s", "119 s", "2 min", "120 min", "2.0 h"]
