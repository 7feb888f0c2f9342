"""The checks of lesson 04 accept right answers and name each planted fault."""

from collections import defaultdict
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, LeaveOneOut, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_utils.adaptation import GradientReversal
from course_utils.exercises import domain_adaptation as check
from course_utils.exercises.answers import ExerciseError
from course_utils.settings import ROOT


def test_a_right_reverse_is_accepted(capsys):
    check.check_reverse(lambda x, strength: x + (1 + strength) * (ops.stop_gradient(x) - x))
    check.check_reverse(lambda x, strength: (1 + strength) * ops.stop_gradient(x) - strength * x)
    check.check_reverse(lambda x, strength: GradientReversal(strength)(x))
    assert capsys.readouterr().out == 3 * "reverse is right.\n"


@pytest.mark.parametrize(
    ("reverse", "sentence"),
    [
        (lambda x, strength: None, "returns nothing"),
        (lambda x, strength: "x", "return a tensor"),
        (lambda x, strength: x, "turn it"),
        (lambda x, strength: -strength * x, "changes the values"),
        (lambda x, strength: ops.stop_gradient(x), "no gradient comes through"),
        (lambda x, strength: x + 2 * (ops.stop_gradient(x) - x), "strength 0.3"),
        (
            lambda x, strength: x + strength * (ops.stop_gradient(x) - x),
            "at strength 1: do the parts of the sum cancel",
        ),
        (lambda x, strength: x + (1 - 2 * strength) * (ops.stop_gradient(x) - x), "not -strength times"),
    ],
)
def test_each_fault_of_reverse_is_named(reverse, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_reverse(reverse)


def label_loss_with(
    softmax=True, clean=True, from_logits=True, mean=True, always=None, over_confident=False, positive=False
):
    """Return a `label_loss` that has the faults asked for."""

    def label_loss(clean_logits, augmented_logits, limit=0.9):
        scores = ops.softmax(clean_logits) if softmax else clean_logits
        confident = ops.cast(ops.max(scores, axis=1) > (limit if always is None else always), "float32")
        if positive:
            confident *= ops.cast(ops.max(clean_logits, axis=1) > 0, "float32")
        labels = ops.argmax(clean_logits if clean else augmented_logits, axis=1)
        losses = confident * ops.sparse_categorical_crossentropy(labels, augmented_logits, from_logits=from_logits)
        if over_confident:
            return ops.sum(losses) / ops.maximum(ops.sum(confident), 1)
        return ops.mean(losses) if mean else losses

    return label_loss


def test_a_mended_label_loss_is_accepted(capsys):
    check.check_label_loss(label_loss_with())
    assert capsys.readouterr().out == "label_loss is mended.\n"


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"softmax": False}, "An image of probability 0.34 is counted: confidence is the largest softmax"),
        ({"clean": False}, "label of the clean one"),
        ({"from_logits": False}, "from_logits=True"),
        ({"mean": False}, "take the mean"),
        ({"always": 0.9}, "threshold is not used"),
        ({"always": 0.4}, "probability 0.45 is used"),
        ({"positive": True}, "whose logits are negative is left out"),
        ({"over_confident": True}, "over all images"),
    ],
)
def test_each_fault_of_the_label_loss_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_label_loss(label_loss_with(**faults))


def label_loss_by(confidence, average, hard=True):
    """Return a `label_loss` with another confidence, another mean, or soft labels."""

    def label_loss(clean, augmented, threshold=0.9):
        confident = ops.cast(confidence(clean, augmented) > threshold, "float32")
        labels = ops.one_hot(ops.argmax(clean, axis=1), 3) if hard else ops.softmax(clean)
        return average(confident * ops.categorical_crossentropy(labels, augmented, from_logits=True), confident)

    return label_loss


def of_clean(clean, augmented):
    return ops.max(ops.softmax(clean), axis=1)


def over_all(losses, confident):
    return ops.mean(losses)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis 0")  # an attempt that is wrong on purpose
@pytest.mark.parametrize(
    ("label_loss", "sentence"),
    [
        (lambda clean, augmented, threshold: None, "returns nothing"),
        (label_loss_by(of_clean, lambda losses, confident: ops.sum(losses) / ops.sum(confident)), "over all images"),
        (label_loss_by(of_clean, over_all, hard=False), "labels are probabilities"),
        (label_loss_by(lambda clean, augmented: ops.max(ops.softmax(augmented), axis=1), over_all), "of the clean"),
        (label_loss_by(lambda clean, augmented: ops.max(ops.softmax(clean, axis=0), axis=1), over_all), "axis=1"),
        (label_loss_by(lambda clean, augmented: ops.max(ops.sigmoid(clean), axis=1), over_all), "largest softmax"),
        (lambda *logits: 0.995 * label_loss_by(of_clean, over_all)(*logits), "weight no image by its confidence"),
    ],
)
def test_an_attempt_at_the_label_loss_is_told_what_is_wrong_with_it(label_loss, sentence):
    with pytest.raises(ExerciseError, match=sentence) as refused:
        check.check_label_loss(label_loss)
    assert ("from_logits" in str(refused.value)) == ("-log softmax" in str(refused.value))


def test_a_label_loss_by_other_means_is_accepted():
    check.check_label_loss(label_loss_by(of_clean, over_all))


def pixels(images):
    return images.reshape(len(images), -1) / 255


def two_features(images):
    return np.stack([images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))], axis=1)


def teller(features, folds):
    """Return a `tell_apart`; without folds it is judged on the images that it was fitted on."""

    def tell_apart(old, new):
        x, domain = features(np.concatenate([old, new])), np.repeat([0, 1], [len(old), len(new)])
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
        return (
            cross_val_score(classifier, x, domain, cv=folds).mean()
            if folds
            else classifier.fit(x, domain).score(x, domain)
        )

    return tell_apart


held_out, fitted_on = teller(pixels, 5), teller(pixels, None)
IMAGES = np.random.default_rng(1).integers(0, 200, (20, 28, 28, 3))


@pytest.mark.parametrize("features", [pixels, two_features])
def test_images_from_elsewhere_are_told_apart(features):
    assert check.check_tell_apart(teller(features, 5), IMAGES, IMAGES + 55) > 0.9


@pytest.mark.parametrize(
    ("tell_apart", "sentence"),
    [
        (fitted_on, "judged on images that it was fitted on"),
        (teller(two_features, None), "judged on images that it was fitted on"),
        (teller(pixels, LeaveOneOut()), "a few folds"),
        (teller(pixels, KFold(5)), "shuffle first"),
        (teller(pixels, [(np.arange(16), np.arange(16, 20))]), "shuffle first"),  # as `validation_split` of Keras
        (teller(lambda images: images, 5), "one row for each image"),
        (lambda old, new: None, "returns None"),
        (lambda old, new: tf.constant(0.5), "returns a tensor"),
        (lambda old, new: 0.5, "easy to tell apart: shuffle first, divide the pixels by 255, train longer"),
        (lambda old, new: 0.0, "where 0.5 is guessing"),
        (lambda old, new: 0.97, "looks at no image"),
    ],
)
def test_each_fault_of_tell_apart_is_named(tell_apart, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_tell_apart(tell_apart, IMAGES, IMAGES)


def test_the_same_images_in_both_folders_are_suspected(capsys):
    shuffled = StratifiedKFold(5, shuffle=True, random_state=0)
    assert check.check_tell_apart(teller(pixels, shuffled), IMAGES, IMAGES) < 0.35
    assert "the same images in both folders?" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["", "holiday"])
def test_only_the_images_of_the_course_are_compared_with_a_band(folder):
    source = (ROOT / "notebooks/source/04_domain_adaptation.py").read_text(encoding="utf-8")
    names = defaultdict(lambda: np.ones(1), my_old="", my_new=folder, max=max, np=np, expect=Mock())
    exec(source.split('# %% tags=["headline"]\n')[1], {}, names)
    assert ("apart" in [call.args[0] for call in names["expect"].call_args_list]) == (not folder)


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ExerciseError, match="of one size"):
        check.check_tell_apart(held_out, IMAGES, IMAGES[:, :20])


def test_a_small_folder_is_refused_before_anything_is_fitted():
    with pytest.raises(ExerciseError, match="9 new images: give ten or more"):
        check.check_tell_apart(None, IMAGES, IMAGES[:9])
