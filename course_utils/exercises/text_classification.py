"""Checks of the exercises of lesson 08: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score

from course_utils.exercises.answers import require
from course_utils.exercises.pairs import paired_gain

RECALLS = (0.5, 0.75, 0.95, 1.0, 0.07)


def check_threshold_for(threshold_for: Callable) -> None:
    """Check ``threshold_for(labels, scores, recall)`` on several sets of scores, some of them equal.

    Parameters
    ----------
    threshold_for : callable
        Takes labels (0 or 1), scores and a recall; returns the highest threshold at which ``scores >= threshold``
        finds at least this share of class 1.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    for seed in range(12):
        labels, scores = _scores(seed)
        for recall in RECALLS:
            answer = threshold_for(labels.copy(), scores.copy(), recall)
            if isinstance(answer, np.ndarray) and answer.ndim == 0:
                answer = answer.item()
            require(
                isinstance(answer, Real) and np.isfinite(answer),
                f"threshold_for returned {answer!r} instead of a number.",
            )
            _check_threshold(float(answer), labels, scores, recall)
    print("threshold_for is right: enough of class 1 is found, and no higher threshold would do.")


def _scores(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores that separate them badly: 10 to 30 of each class, every third set with equal scores.

    One set has 100 of each class: 0.07 * 100 is a little more than 7 for a computer.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat([0, 1], 100 if seed == 9 else random.integers(10, 31, 2)))
    scores = np.clip(0.4 + 0.2 * labels + 0.2 * random.normal(size=len(labels)), 0.01, 0.99)
    return labels, np.round(scores, 1) if seed % 3 == 2 else scores


def _check_threshold(answer: float, labels: np.ndarray, scores: np.ndarray, recall: float) -> None:
    """Require that a threshold finds enough of class 1, and that the next higher score does not."""
    of_class = scores[labels == 1]
    found = np.mean(of_class >= answer)
    require(
        found >= recall - 1e-9,
        f"Asked for a recall of {recall}, the threshold {answer:.3f} finds only {found:.3f} of class 1.",
    )
    higher = np.unique(scores[scores > answer])
    enough = [score for score in higher if np.mean(of_class >= score) >= recall - 1e-9]
    require(
        not enough,
        f"Asked for a recall of {recall}, the threshold {answer:.6g} is not the highest: "
        f"{max(enough, default=0):.6g} finds enough, too.",
    )


class _Spy:
    """A model that remembers what it was given, and answers with probabilities that are often wrong."""

    def __init__(self, table: pd.DataFrame):
        random = np.random.default_rng(1)
        positive = (table["label"] == "positive").to_numpy()
        scores = np.clip(np.where(positive, 0.68, 0.45) + 0.25 * random.normal(size=len(table)), 0.02, 0.98)
        self.score_of = dict(zip(table["text"], scores, strict=True))
        self.fitted, self.labels, self.asked = [], [], []

    def fit(self, x: Sequence[str], y: Sequence[bool], **options) -> None:
        self.fitted += list(x)
        self.labels += list(np.asarray(y).ravel())

    def predict(self, x: Sequence[str], **options) -> np.ndarray:
        self.asked += list(x)
        return np.array([[self.score_of[text]] for text in x])


def check_score_model(score_model: Callable) -> None:
    """Check ``score_model(table, model)``, which has to split by document, fit, and report balanced accuracy.

    Parameters
    ----------
    score_model : callable
        Takes a table with the columns text, label and document, and a model with one sigmoid output; returns
        the balanced accuracy on documents that the model has not met.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    table = _reviews()
    spy = _Spy(table)
    answer = score_model(table.copy(), spy)
    require(bool(spy.fitted), "The model was not fitted: call model.fit with the training sentences.")
    require(bool(spy.asked), "The model was not asked: call model.predict with the test sentences.")
    require(
        len(spy.fitted) == len(spy.labels),
        f"fit got {len(spy.fitted)} sentences, but {len(spy.labels)} labels: one is due for each.",
    )
    positive = dict(zip(table["text"], table["label"] == "positive", strict=True))
    require(
        all(
            label in (0, 1) and bool(label) == positive[text]
            for text, label in zip(spy.fitted, spy.labels, strict=True)
        ),
        "The labels given to fit are not those of its sentences: 1 or True for positive, in the order of the texts.",
    )
    _check_parts(table, spy)
    _check_score(answer, np.array([positive[text] for text in spy.asked]), spy)
    print("score_model is mended: documents stay whole, the test part is new, 0.5 decides, both classes count alike.")


def _check_parts(table: pd.DataFrame, spy: _Spy) -> None:
    """Require that no sentence and no document is on both sides, and that about a fifth of them is asked about."""
    both = set(spy.fitted) & set(spy.asked)
    require(not both, f"{len(both)} sentences that the model was fitted on are also asked about: fit on train only.")
    document = dict(zip(table["text"], table["document"], strict=True))
    fitted, asked = ({document[text] for text in texts} for texts in (spy.fitted, spy.asked))
    shared = fitted & asked
    require(not shared, f"{len(shared)} documents have sentences on both sides: split by document.")
    require(
        len(set(spy.fitted)) + len(set(spy.asked)) == len(table),
        f"Of {len(table)} sentences, {len(table) - len(set(spy.fitted)) - len(set(spy.asked))} are on neither side: "
        "fit on all documents that are not asked about; nothing here needs a validation part.",
    )
    share = len(asked) / table["document"].nunique()
    require(0.1 <= share <= 0.3, f"{share:.0%} of the documents are asked about; it should be about a fifth.")


def _check_score(answer: float, labels: np.ndarray, spy: _Spy) -> None:
    """Require that the score is the balanced accuracy of the answers above 0.5."""
    scores = np.array([spy.score_of[text] for text in spy.asked])
    expected = balanced_accuracy_score(labels, scores > 0.5)
    require(np.ndim(answer) == 0 and answer is not None, f"score_model returned {answer!r} instead of a number.")
    always_first = (np.mean(~labels), 0.5)
    require(
        not any(np.isclose(answer, value) for value in always_first),
        f"The score is {answer:.2f}, that of a model that never says positive: argmax over one column is always 0.",
    )
    require(
        not np.isclose(answer, np.mean((scores > 0.5) == labels)),
        f"The score is {answer:.2f}, the plain accuracy; always saying positive would get {labels.mean():.2f}.",
    )
    require(
        np.isclose(answer, expected),
        f"The score is {answer:.3f}; the balanced accuracy of the probabilities above 0.5 is {expected:.3f}.",
    )


def _reviews() -> pd.DataFrame:
    """Return 60 documents of one to nine sentences, four in five positive, in an order that has no meaning."""
    random = np.random.default_rng(0)
    sizes = random.integers(1, 10, 60)
    document = np.repeat(np.arange(60), sizes)
    label = np.where(random.random(len(document)) < 0.8, "positive", "negative")
    text = [f"sentence {number} of review {review}" for number, review in enumerate(document)]
    table = pd.DataFrame({"text": text, "label": label, "document": document})
    return table.sample(frac=1, random_state=0).set_index(random.permutation(len(table)) + 1000)


def check_own_texts(labels: Sequence[str], answers: Sequence[str], counts: Sequence[str]) -> float:
    """Compare the answers of a classifier with those of word counts, as pairs on the same sentences.

    Parameters
    ----------
    labels : sequence of str, length n
        True labels of the test sentences.
    answers, counts : sequence of str, length n
        What the reader's classifier and word counts predict, in the order of `labels`.

    Returns
    -------
    float
        Accuracy of the classifier minus that of word counts.

    Raises
    ------
    ExerciseError
        When the answers cannot belong to the labels, or are no better than the most frequent label.
    """
    return paired_gain({"my_answers": answers, "my_counts": counts}, labels, "test sentences")
