"""Checks of the exercises of lesson 06: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable

import keras
import keras_hub
import numpy as np

from course_utils.exercises.answers import require
from course_utils.exercises.pairs import paired_gain
from course_utils.exercises.rates import largest_rate

LARGEST_RATE = 5e-4  # far above what is usual for a BERT, far below what ruins it
ENOUGH_PIECES = 32  # as many as the lesson gives to a sentence
WORDS = "the film was dull lovely and a plot music bad good not".split()


def check_attend(attend: Callable) -> None:
    """Check ``attend(query, key, value, real, causal)``: one head of attention with its two masks.

    Parameters
    ----------
    attend : callable
        Takes three arrays of shape (positions, d), an array of bool of shape (positions,) that is False for padding,
        and whether later positions are hidden; returns an array of shape (positions, d).

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    random = np.random.default_rng(0)
    query, key, value = (random.normal(0, 2, (6, 9)).astype("float32") for _ in range(3))
    real = np.array([True, True, True, True, False, False])
    for causal in (False, True):
        answer = attend(query.copy(), key.copy(), value.copy(), real.copy(), causal)
        require(answer is not None, "attend returned nothing.")
        answer = np.asarray(answer)
        _name_the_fault(answer, query, key, value, real, causal)
    large = np.asarray(attend(50 * query, 50 * key, value, real, False))
    require(bool(np.isfinite(large[real]).all()), "Large scores give NaN: use a softmax of a library.")
    print("attend is right: scaled, no padding, and with causal=True nothing that comes later.")


def _name_the_fault(answer, query, key, value, real, causal) -> None:
    """Require that the answer is right at the real positions; else say which mistake explains it."""
    require(
        answer.shape != (len(real), len(real)) or value.shape[1] == len(real),
        "attend returned the weights: multiply them with the values.",
    )
    require(answer.shape == value.shape, f"attend returned the shape {answer.shape}; it should be {value.shape}.")
    when = f"With causal={causal}: "
    require(
        bool(np.isfinite(answer[real]).all()),
        f"{when}NaN in the output: does each position see at least itself, and does the softmax run over keys?",
    )
    mistakes = {
        "the scores are not divided by the root of d.": _attend(query, key, value, real, causal, scale=1),
        "the scores are divided by d instead of its root.": _attend(query, key, value, real, causal, scale=9),
        "padding is not hidden.": _attend(query, key, value, np.ones(6, bool), causal),
        "the real positions are hidden, not the padding.": _attend(query, key, value, ~real, causal),
        "the softmax runs over the queries; it should run over the keys.": _attend(
            query, key, value, real, causal, axis=0, hidden=-1e9
        ),
        "hidden scores become 0, and exp(0) is 1: make them minus infinity.": _attend(
            query, key, value, real, causal, hidden=0.0
        ),
        "the weights are hidden after the softmax, so rows no longer sum to one.": _attend(
            query, key, value, real, causal, late=True
        ),
        "causal makes no difference." if causal else "later positions are hidden, but were not to be.": _attend(
            query, key, value, real, not causal
        ),
        "earlier positions are hidden instead of later ones.": _attend(query, key, value, real, causal, turned=True),
    }
    right = _attend(query, key, value, real, causal)
    for sentence, wrong in mistakes.items():
        differs = not np.allclose(wrong[real], right[real], atol=1e-3)
        require(not (differs and np.allclose(answer[real], wrong[real], atol=1e-4)), when + sentence)
    require(
        np.allclose(answer[real], right[real], atol=1e-4),
        f"{when}the output is not softmax(QKᵀ/√d)·V with hidden positions at minus infinity.",
    )


def _attend(query, key, value, real, causal, scale=3.0, axis=-1, hidden=-np.inf, late=False, turned=False):
    """Return the output of one head, right or with the mistake asked for (`scale` is the root of d = 9)."""
    scores = (query @ key.T / scale).astype("float64")
    order = np.tri(len(real), dtype=bool)
    seen = real[None, :] & ((order.T if turned else order) if causal else True)
    if late:
        return (_softmax(scores, axis) * seen) @ value
    scores = np.where(seen, scores, hidden)
    with np.errstate(invalid="ignore"):  # a mistake may hide everything
        return _softmax(scores, axis) @ value


def _softmax(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def check_ready(ready: Callable) -> None:
    """Check ``ready(backbone, tokenizer)``, which makes a text classifier that is ready for `fit`.

    Parameters
    ----------
    ready : callable
        Takes a BERT and its tokenizer. Returns a compiled ``BertTextClassifier`` of two classes that reads
        at least 32 pieces of a text, at a rate of at most 0.0005; and a function from n texts to their n
        probabilities of class 1.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    keras.utils.set_random_seed(0)
    backbone, tokenizer = _small_bert()
    answer = ready(backbone, tokenizer)
    require(isinstance(answer, tuple) and len(answer) == 2, "ready must return the model and the function.")
    model, probability = answer
    require(isinstance(model, keras.Model), f"The model is {model!r}: return the classifier first.")
    long_text = " ".join(WORDS * 4)
    pieces = int(np.sum(model.preprocessor([long_text])["padding_mask"]))
    text = f"Of a text of {len(WORDS) * 4} words only {pieces} pieces are read; {ENOUGH_PIECES} or more are wanted."
    require(pieces >= ENOUGH_PIECES, text)
    require(model.compiled, "The model is not compiled: compile it.")
    rate = largest_rate(model.optimizer)
    require(rate > 0, "The learning rate is 0: nothing can move.")
    # Keras keeps rates in 32 bits, which is a little more than 5e-4.
    require(rate <= 1.001 * LARGEST_RATE, f"The learning rate reaches {rate:.2g}; for a BERT, try 0.0001 or less.")
    require(bool(backbone.trainable_weights), "The backbone is frozen: it was to be fine-tuned.")
    texts = [f"the film was {word}" for word in WORDS]
    labels = np.arange(len(texts)) % 2
    head = model.weights[-2]
    head.assign(np.random.default_rng(0).normal(0, 2, head.shape))  # far from one half
    tokens = model.preprocessor(texts)
    outputs = np.asarray(model(tokens))  # `predict` would build a graph first
    are_probabilities = bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-4))
    p = outputs if are_probabilities else _softmax(outputs)
    expected = float(-np.log(p[np.arange(len(labels)), labels]).mean())
    loss = float(model.compute_loss(tokens, labels, outputs))
    hint = "they are probabilities, not logits." if are_probabilities else "does the loss know that they are logits?"
    require(
        bool(np.isclose(loss, expected, rtol=0.01)),
        f"The loss of these outputs is {loss:.2f}, but their cross-entropy is {expected:.2f}: {hint}",
    )
    _check_probability(np.asarray(probability(texts)), p)
    print("ready is mended: whole sentences, a loss from logits, a small rate, and probabilities.")


def _check_probability(found: np.ndarray, expected: np.ndarray) -> None:
    require(
        found.shape == (len(expected),),
        f"For {len(expected)} texts the function returns the shape {found.shape}; ({len(expected)},) is due.",
    )
    require(
        bool(((found >= 0) & (found <= 1)).all()),
        f"A 'probability' is {found[(found < 0) | (found > 1)][:1].sum():.2f}: turn the logits into probabilities.",
    )
    require(not np.allclose(found, expected[:, 0], atol=1e-4), "The function returns the probability of class 0.")
    require(
        np.allclose(found, expected[:, 1], atol=1e-4),
        "The function does not return the softmax over the two logits of each text, the last axis; "
        "a sigmoid of one of them is another number.",
    )


def _small_bert() -> tuple[keras_hub.models.BertBackbone, keras_hub.models.BertTokenizer]:
    """Return an untrained BERT of one layer, and a tokenizer that knows a few words."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    backbone = keras_hub.models.BertBackbone(
        len(vocabulary), num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=512
    )
    backbone.set_weights([10 * weight for weight in backbone.get_weights()])  # so that texts differ
    return backbone, keras_hub.models.BertTokenizer(vocabulary, lowercase=True)


def check_own_texts(predicted: np.ndarray, words: np.ndarray, true: np.ndarray) -> float:
    """Compare predictions from frozen vectors with those from word counts, as pairs.

    Parameters
    ----------
    predicted, words : array of int, shape (n,)
        Class numbers that the two classifiers give to the same texts.
    true : array of int, shape (n,)
        Class numbers of these texts.

    Returns
    -------
    float
        Accuracy of `predicted` minus that of `words`.

    Raises
    ------
    ExerciseError
        When the predictions cannot belong to these texts, or are no better than the most frequent class.
    """
    require(
        not np.array_equal(predicted, true),
        "Not one of these texts is wrong: were the true labels handed in, or was the classifier fitted on them?",
    )
    return paired_gain({"predicted": predicted, "words": words}, true, "texts")
