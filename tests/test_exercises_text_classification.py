"""The checks of lesson 08 accept right answers and name each planted fault."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_recall_curve
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from course_utils.exercises import text_classification as check
from course_utils.exercises.answers import ExerciseError


def by_sorting(labels, scores, recall):
    found = np.sort(scores[labels == 1])[::-1]
    return found[int(np.ceil(recall * len(found) - 1e-9)) - 1]


def without_tolerance(labels, scores, recall):
    found = np.sort(scores[labels == 1])[::-1]
    return found[int(np.ceil(recall * len(found))) - 1]


def by_curve(labels, scores, recall):
    _, reached, thresholds = precision_recall_curve(labels, scores)
    return thresholds[reached[:-1] >= recall].max()


def in_an_array(labels, scores, recall):
    return np.array(by_curve(labels, scores, recall))


@pytest.mark.parametrize("right", [by_sorting, by_curve, in_an_array])
def test_a_right_threshold_is_accepted(right, capsys):
    check.check_threshold_for(right)
    said = capsys.readouterr().out
    assert said.startswith("threshold_for is right") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda labels, scores, recall: None, "instead of a number"),
        (lambda labels, scores, recall: 0.0, "is not the highest"),
        (lambda labels, scores, recall: 0.5, "finds only|is not the highest"),
        (lambda labels, scores, recall: by_sorting(1 - labels, scores, recall), "finds only|is not the highest"),
        (lambda labels, scores, recall: by_sorting(np.ones_like(labels), scores, recall), "finds only|not the highest"),
        (lambda labels, scores, recall: np.quantile(scores[labels == 1], 1 - recall), "finds only"),
        (
            lambda labels, scores, recall: np.sort(scores[labels == 1])[int((1 - recall) * labels.sum()) + 1],
            "finds only",
        ),
        (lambda labels, scores, recall: by_sorting(labels, scores, recall) - 0.05, "is not the highest"),
        (
            lambda labels, scores, recall: np.quantile(scores[labels == 1], 1 - recall, method="lower"),
            "not the highest",
        ),
        (
            lambda labels, scores, recall: by_sorting(labels, scores, recall) - 1e-5,
            r"threshold (\S+) is not the .*: (?!\1 )",
        ),
        (without_tolerance, "Asked for a recall of 0.07, .* is not the highest"),
        (lambda labels, scores, recall: np.array([0.5]), "instead of a number"),
        (lambda labels, scores, recall: "0.5", "instead of a number"),
        (lambda labels, scores, recall: by_sorting(labels, scores, 1 - recall + 0.01), "finds only|not the highest"),
    ],
)
def test_each_wrong_threshold_is_named(wrong, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_threshold_for(wrong)


def score_model_with(
    by="document", fit_all=False, argmax=False, plain=False, share=0.2, turned=False, dropped=False, quiet=False,
    asked=True, short=0,
):  # fmt: skip
    """Return a `score_model` that has the faults asked for."""

    def score_model(table, model):
        if by == "row":
            train, test = train_test_split(table, test_size=share, random_state=0)
        else:
            split = GroupShuffleSplit(1, test_size=share, random_state=0)
            train, test = (table.iloc[rows] for rows in next(split.split(table, groups=table["document"])))
        train = table if fit_all else train[:-5] if dropped else train
        labels = (train["label"] == "positive").to_numpy()
        if short is not None:
            model.fit(train["text"].tolist(), labels[::-1] if turned else labels[short:])
        if not asked:
            return 0.5
        found = model.predict(test["text"].tolist())
        answers = found.argmax(axis=1) if argmax else found[:, 0] > 0.5
        truth = test["label"] == "positive"
        score = np.mean(answers == truth) if plain else balanced_accuracy_score(truth, answers)
        return None if quiet else score

    return score_model


def test_a_mended_score_is_accepted(capsys):
    check.check_score_model(score_model_with())
    said = capsys.readouterr().out
    assert said.startswith("score_model is mended") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"by": "row"}, "split by document"),
        ({"fit_all": True}, "fit on train only"),
        ({"by": "row", "fit_all": True, "argmax": True, "plain": True}, "fit on train only"),
        ({"argmax": True}, "argmax over one column"),
        ({"argmax": True, "plain": True}, "argmax over one column"),
        ({"plain": True}, "the plain accuracy"),
        ({"share": 0.5}, "about a fifth"),
        ({"turned": True}, "labels given to fit"),
        ({"dropped": True}, "on neither side: fit on all documents that are not asked about"),
        ({"quiet": True}, "instead of a number"),
        ({"short": 3}, "fit got (\\d+) sentences, but \\d+ labels"),
        ({"short": None}, "was not fitted"),
        ({"asked": False}, "was not asked"),
    ],
)
def test_each_fault_of_score_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_score_model(score_model_with(**faults))


def test_a_score_of_the_training_part_is_named():
    def score_model(table, model):
        score_model_with()(table, model)
        return 0.987

    with pytest.raises(ExerciseError, match="balanced accuracy of the probabilities above 0.5"):
        check.check_score_model(score_model)


LABELS = np.array(["good", "bad", "good", "good", "bad", "good", "bad", "good"], dtype=object)


def test_own_answers_are_compared_as_pairs(capsys):
    counts = LABELS.copy()
    counts[0] = "bad"
    assert check.check_own_texts(LABELS, LABELS, counts) == 0.125
    assert "as pairs +0.125 ± 0.296: no clear difference" in capsys.readouterr().out


def test_answers_that_are_none_are_named():
    with pytest.raises(ExerciseError, match="my_answers is None"):
        check.check_own_texts(LABELS, None, LABELS)
