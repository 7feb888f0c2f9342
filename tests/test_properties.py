"""Whatever comes in: a right answer or one sentence, and the input as it was."""

import keras
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from course_utils.adaptation import (
    AdaptedClassifier,
    GradientReversal,
    RampUp,
    SelfLabelledClassifier,
    adapt_batch_norm,
    domain_accuracy,
    gap_closed,
    unlabelled_target,
)
from course_utils.data import (
    Samples,
    draw_chest_phantoms,
    few_shot,
    load_imagenet_photos,
    load_usps,
    split_image_folder,
    stratified_split,
)
from course_utils.errors import CourseError
from course_utils.evaluation import (
    bootstrap_interval,
    choose_threshold,
    classification_metrics,
    mean_and_interval,
    mean_plus_minus,
    plot_images,
    prediction_interval,
    sensitivity_at_specificity,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from course_utils.text.sentences import checked_texts
from course_utils.zoo.cost import measure_cost
from course_utils.zoo.memory import count_memory, measure_memory
from course_utils.zoo.recommender import recommend
from course_utils.zoo.transferability import h_score, log_evidence

pytestmark = pytest.mark.filterwarnings("ignore::Warning")
settings.register_profile(
    "course", deadline=None, max_examples=50, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("course")

NUMBERS = st.sampled_from([0.0, 1.0, 0.5, -1.0, 1e-9, 1e300, 5e-324, np.nan, np.inf, -np.inf]) | st.floats(width=16)
DTYPES = st.sampled_from([np.float64, np.float32, np.float16])
CONTAINERS = [
    np.asfortranarray, lambda a: a[::-1][::-1], list, tuple, lambda a: a.tolist(), lambda a: a.astype(object), str, set,
    pd.DataFrame, lambda a: pd.Series(list(a), index=range(len(a), 0, -1)), lambda a: np.ma.masked_equal(a, 0),
    lambda a: a.astype(str), lambda a: a.astype(bytes), lambda a: dict(enumerate(a)), lambda a: None, lambda a: a * 1j,
]  # fmt: skip
PLAIN = st.just(np.asarray)  # most often, or little would get further than the first check
ODD_ARRAYS = DTYPES.flatmap(lambda d: arrays(d, array_shapes(max_dims=2, max_side=8), elements=NUMBERS.map(d)))


@st.composite
def odd(draw, values):
    """Draw an array in some container; arrays are read-only."""
    try:
        given_ = draw(PLAIN | PLAIN | PLAIN | st.sampled_from(CONTAINERS))(draw(values))
    except (TypeError, ValueError):
        given_ = []
    if isinstance(given_, np.ndarray):
        given_.flags.writeable = False
    return given_


@st.composite
def labels_and(draw, elements, *shapes):
    """Draw labels and an array, nearly always with as many rows; `shapes` begin with how many more it has."""
    n = draw(st.integers(2, 12) | st.integers(0, 2))
    labels = st.lists(draw(st.sampled_from([*[st.integers(0, 1)] * 5, st.integers(-1, 2)])), min_size=n, max_size=n)
    shape = draw(st.sampled_from([*shapes, *shapes, *shapes, (0, 1), (1, 0), (0, 2, 2), (1,)]))
    values = arrays(
        draw(DTYPES),
        (n + shape[0], *shape[1:]),
        elements=draw(st.sampled_from([*[elements] * 5, NUMBERS.map(np.float16)])),
    )
    return draw(odd(labels.map(np.array))), draw(odd(values))


def called(function, *given_):
    """Return what the function returns, or None after one sentence; all else fails, and so does a changed input."""
    before = [repr(each) for each in given_]
    try:
        result = function(*given_)
    except CourseError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        result = None
    assert [repr(each) for each in given_] == before
    return result


@pytest.mark.parametrize("function", [mean_and_interval, prediction_interval])
@given(odd(ODD_ARRAYS))
def test_intervals(function, values):
    if called(function, values) is not None:
        assert np.isfinite(np.asarray(values, float)).all() and not np.ma.is_masked(values)
        assert called(mean_plus_minus, values)


@pytest.mark.parametrize(
    "function",
    [
        choose_threshold, classification_metrics, sensitivity_at_specificity, threshold_at_sensitivity,
        threshold_at_specificity,
    ],
)  # fmt: skip
@given(labels_and(st.sampled_from([0.0, 0.25, 0.5, 1.0]), (0,), (0, 1)))
def test_scores_of_anything(function, drawn):
    result = called(function, *drawn)
    if isinstance(result, float):
        assert 0 <= result <= 1


TWO_CLASSES = st.integers(2, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda y: 0 < sum(y) < len(y)),
        st.lists(
            st.floats(0, 1) | st.sampled_from([0.0, 0.5, np.nextafter(0.5, 1), 1e-9, 1.0]), min_size=n, max_size=n
        ),
    )
)


@given(TWO_CLASSES)
def test_thresholds_are_as_good_as_any(drawn):
    labels, scores = map(np.array, drawn)
    candidates = np.unique([0.0, *scores, 1.0])
    balanced = [sklearn.metrics.balanced_accuracy_score(labels, scores > t) for t in candidates]
    found = choose_threshold(labels, scores)
    assert sklearn.metrics.balanced_accuracy_score(labels, scores > found) == pytest.approx(max(balanced))
    low, high = threshold_at_sensitivity(labels, scores, 0.6), threshold_at_specificity(labels, scores, 0.6)
    assert (scores[labels == 0] <= high).mean() >= 0.6 - 1e-9
    assert low == 0 or (scores[labels == 1] > low).mean() >= 0.6 - 1e-9


@pytest.mark.parametrize("score", [log_evidence, h_score])
@given(labels_and(st.floats(-8, 8, width=16), (0, 3), (0, 14)))
def test_scores_of_transfer_of_anything(score, drawn):
    assert np.isfinite(called(score, *drawn[::-1]) or 0)


@given(ODD_ARRAYS, ODD_ARRAYS)
def test_domain_probe_of_anything(source, target):
    assert 0 <= (called(domain_accuracy, source, target) or 0) <= 1


@given(NUMBERS, NUMBERS, NUMBERS)
def test_gap_of_anything(accuracy, source_only, bound):
    found = called(gap_closed, accuracy, source_only, bound)
    assert found is not None or bound == source_only or not np.isfinite([bound - source_only]).all()


@given(odd(st.integers(10, 30).flatmap(lambda n: arrays(np.int64, n, elements=st.integers(0, 2)))), st.integers(-1, 3))
def test_splits_of_anything(labels, seed):
    found = called(stratified_split, labels, None, seed)
    if found is not None:
        assert sorted(np.concatenate(found)) == list(range(len(labels)))
    few = called(lambda y: few_shot(Samples(np.arange(np.size(y)), y), 2, abs(seed)), labels)
    if few is not None:
        assert np.bincount(np.unique(few.y, return_inverse=True)[1]).tolist() == [2] * len(np.unique(few.y))
        assert (np.asarray(labels)[few.x].astype(str) == few.y.astype(str)).all()


@given(odd(arrays(object, st.integers(0, 3), elements=st.text(max_size=5) | st.none() | st.binary(max_size=2))))
def test_texts_of_anything(texts):
    found = called(checked_texts, texts)
    assert found is None or all(isinstance(text, str) and text.strip() for text in found)


LABELS, SCORES, ROWS = np.array([0, 1] * 10), np.linspace(0.1, 0.9, 20), np.zeros((20, 3))
PIXELS = np.zeros((2, 4, 4), np.uint8)
CANDIDATE = dict.fromkeys(["score", "random score", "pass", "head", "training step"], 0.1)
CANDIDATES = pd.DataFrame([{"name": "a", "input size": 9, "classes": 2} | CANDIDATE])
REQUEST = {"images": 10, "classes": 2, "budget": 1.0, "unit": "hours"}
IDENTITY = keras.layers.Identity()


def standardised():
    return keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])


NUMERIC = {
    "weight": lambda v: AdaptedClassifier(IDENTITY, IDENTITY, weight=v),
    "weight of pseudo-labels": lambda v: SelfLabelledClassifier(IDENTITY, IDENTITY, weight=v),
    "threshold of pseudo-labels": lambda v: SelfLabelledClassifier(IDENTITY, IDENTITY, threshold=v),
    "shares": lambda v: SelfLabelledClassifier(IDENTITY, IDENTITY, shares=[v, v]),
    "strength": GradientReversal,
    "top": lambda v: RampUp(None, v),
    "batch_size of AdaBN": lambda v: adapt_batch_norm(standardised(), ROWS, v),
    "features": lambda v: domain_accuracy(np.full((4, 2), v), np.full((4, 2), v)),
    "accuracy": lambda v: gap_closed(v, 0.5, 0.9),
    "bound": lambda v: gap_closed(0.5, 0.6, v),
    "seed of batches": lambda v: unlabelled_target(Samples(ROWS, LABELS), ROWS, 2, v),
    "seed of phantoms": draw_chest_phantoms,
    "seed of a file": lambda v: load_usps("no file", v),
    "seed of a folder": lambda v: split_image_folder("no folder", 10, v),
    "images of a class": lambda v: split_image_folder("no folder", v),
    "size of photos": load_imagenet_photos,
    "seed of a bootstrap": lambda v: bootstrap_interval(lambda y, p: p.mean(), LABELS, SCORES, repeats=20, seed=v),
    "specificity": lambda v: threshold_at_specificity(LABELS, SCORES, v),
    "sensitivity": lambda v: threshold_at_sensitivity(LABELS, SCORES, v),
    "demand": lambda v: sensitivity_at_specificity(LABELS, SCORES, v),
    "threshold": lambda v: classification_metrics(LABELS, SCORES, "" if v is None else v),  # None is 0.5
    "columns": lambda v: plot_images(PIXELS, columns=v),
    "batch_size of a cost": lambda v: measure_cost(standardised(), v),
    "repeats": lambda v: measure_cost(standardised(), 1, v),
    "batch_size of counted memory": lambda v: count_memory(standardised(), v),
    "batch_size of measured memory": lambda v: measure_memory(standardised(), v),
    "images": lambda v: recommend(CANDIDATES, **REQUEST | {"images": v}),
    "classes": lambda v: recommend(CANDIDATES, **REQUEST | {"classes": v}),
    "budget": lambda v: recommend(CANDIDATES, **REQUEST | {"budget": v}),
}


@pytest.mark.parametrize("function", NUMERIC.values(), ids=NUMERIC)
@settings(max_examples=10)
@given(st.sampled_from(["2", "0.5", "half", "", None, b"1"]) | st.text(max_size=3))
def test_no_text_is_taken_for_a_number(function, value):
    with pytest.raises(CourseError, match="number|factor|probability|share|confidence") as refusal:
        function(value)
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["batch_size of AdaBN", "batch_size of counted memory", "repeats", "images"])
def test_no_number_below_one_passes_silently(name):
    with pytest.raises(CourseError, match="give a whole number, at least 1"):
        NUMERIC[name](-1)
