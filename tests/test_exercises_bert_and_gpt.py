"""The checks of lesson 06 accept right answers and name each planted fault."""

import keras
import keras_hub
import numpy as np
import pytest

from course_utils.exercises import bert_and_gpt as check
from course_utils.exercises.answers import ExerciseError


def attend_with(
    root=True, scaled=True, padding=True, opposite=False, axis=-1, hidden=-1e9, late=False, causal_at=(True,),
    turned=False, strict=False, weights=False, plain=False,
):  # fmt: skip
    """Return an `attend` that has the faults asked for."""

    def attend(query, key, value, real, causal):
        d = query.shape[-1]
        scores = query @ key.T / (1 if not scaled else np.sqrt(d) if root else d)
        seen = np.ones_like(scores, dtype=bool)
        if padding:
            seen &= ~real if opposite else real
        if causal in causal_at:
            order = np.tri(len(real), k=-1 if strict else 0, dtype=bool)
            seen &= order.T if turned else order
        if not late:
            scores = np.where(seen, scores, hidden)
        if plain:
            a = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        else:
            a = np.array(keras.ops.softmax(scores, axis=axis))
        a = a * seen if late else a
        return a if weights else a @ value

    return attend


@pytest.mark.parametrize("hidden", [-1e9, -np.inf])
def test_a_right_attend_is_accepted(hidden, capsys, recwarn):
    check.check_attend(attend_with(hidden=hidden))
    said = capsys.readouterr().out
    assert said.startswith("attend is right") and said.count("\n") == 1
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"scaled": False}, "not divided by the root"),
        ({"root": False}, "divided by d instead"),
        ({"padding": False}, "padding is not hidden"),
        ({"opposite": True}, "real positions are hidden"),
        ({"axis": 0}, "over the queries"),
        ({"hidden": 0.0}, r"exp\(0\) is 1"),
        ({"late": True}, "after the softmax"),
        ({"causal_at": ()}, "causal makes no difference"),
        ({"causal_at": (True, False)}, "later positions are hidden, but were not to be"),
        ({"causal_at": (False,)}, "later positions are hidden, but were not to be"),
        ({"turned": True}, "earlier positions are hidden"),
        ({"strict": True, "hidden": -np.inf}, "see at least itself"),
        ({"strict": True}, "the output is not softmax"),
        ({"weights": True}, "returned the weights"),
    ],
)
def test_each_fault_of_attend_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_attend(attend_with(**faults))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_softmax_that_overflows_is_named():
    with pytest.raises(ExerciseError, match="Large scores give NaN"):
        check.check_attend(attend_with(plain=True))


def test_a_stub_of_attend_is_named():
    with pytest.raises(ExerciseError, match="returned nothing"):
        check.check_attend(lambda *_: None)


def ready_with(
    length=32, logits=True, rate=1e-4, softmax=True, axis=-1, column=1, frozen=False, compiled=True, activation=None
):
    """Return a `ready` that has the faults asked for."""

    def ready(backbone, tokenizer):
        pack = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=length)
        model = keras_hub.models.BertTextClassifier(backbone, 2, preprocessor=pack, activation=activation)
        backbone.trainable = not frozen
        if compiled:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
            model.compile(keras.optimizers.Adam(rate), loss)
        else:
            model.compiled = False

        def probability(texts):
            outputs = model.predict(texts, verbose=0)
            if softmax == "sigmoid":
                return np.array(keras.ops.sigmoid(outputs))[:, column]
            outputs = np.array(keras.ops.softmax(outputs, axis=axis)) if softmax else outputs
            return outputs if column is None else outputs[:, column]

        return model, probability

    return ready


def test_a_mended_ready_is_accepted(capsys):
    check.check_ready(ready_with())
    said = capsys.readouterr().out
    assert said.startswith("ready is mended") and said.count("\n") == 1


def test_the_largest_rate_is_accepted():
    check.check_ready(ready_with(rate=check.LARGEST_RATE))


def test_logits_above_zero_are_no_probabilities():
    check.check_ready(ready_with(activation="softplus"))


def test_a_softmax_in_the_model_is_accepted():
    check.check_ready(ready_with(activation="softmax", logits=False, softmax=False))


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"length": 8}, "only 8 pieces are read"),
        ({"rate": 0.01}, "learning rate reaches 0.01"),
        ({"rate": 0.0}, "learning rate is 0"),
        ({"frozen": True}, "backbone is frozen"),
        ({"compiled": False}, "not compiled"),
        ({"logits": False}, "does the loss know that they are logits"),
        ({"softmax": False}, "turn the logits into probabilities"),
        ({"activation": "softmax", "softmax": False}, "they are probabilities, not logits"),
        ({"softmax": "sigmoid"}, "a sigmoid of one of them"),
        ({"axis": 0}, "over the two logits of each text"),
        ({"column": 0}, "probability of class 0"),
        ({"column": None}, "returns the shape"),
    ],
)
def test_each_fault_of_ready_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_ready(ready_with(**faults))


def test_a_ready_that_returns_only_the_model_is_named():
    with pytest.raises(ExerciseError, match="the model and the function"):
        check.check_ready(lambda *pair: ready_with()(*pair)[0])


TRUE = np.repeat([0, 1], 10)
MOST = np.where(np.arange(20) % 5 == 0, 1 - TRUE, TRUE)
FEWER = np.where(np.arange(20) % 2 == 0, 1 - TRUE, TRUE)


def test_own_texts_are_compared_as_pairs(capsys):
    assert check.check_own_texts(MOST, FEWER, TRUE) == pytest.approx(0.3)
    assert check.check_own_texts(MOST, MOST, TRUE) == 0
    said = capsys.readouterr().out
    assert "predicted 0.800, words 0.500" in said and "+0.000 ± 0.000: no clear difference" in said


@pytest.mark.parametrize(
    ("predicted", "words", "sentence"),
    [
        (None, MOST, "predicted is None"),
        (MOST, MOST[:5], "words has the shape"),
        (TRUE, MOST, "Not one of these texts is wrong"),
    ],
)
def test_predictions_that_cannot_be_right_are_named(predicted, words, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_own_texts(predicted, words, TRUE)
