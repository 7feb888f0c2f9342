"""The checks of lesson 05 accept right answers and name each planted fault."""

import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from course_utils.exercises import network_choice as check
from course_utils.exercises.answers import ExerciseError


def choose(table, budget, errors=1.0, own=False, by="ms", lower=True):
    affordable = table[table["ms"] <= budget]
    if affordable.empty:
        raise ValueError("nothing fits")
    best = affordable.loc[affordable["score"].idxmax()]
    margin = affordable["standard error"] if own else best["standard error"]
    good = affordable[affordable["score"] >= best["score"] - errors * margin]
    return good[by].idxmin() if lower else good[by].idxmax()


def test_a_right_choice_is_accepted(capsys):
    check.check_choose(choose)
    assert capsys.readouterr().out == "choose is right.\n"


@pytest.mark.parametrize(
    ("faulty", "sentence"),
    [
        (lambda t, b: None, "no name in the index"),
        (lambda t, b: t["score"].idxmax(), "filter by the budget first"),
        (lambda t, b: t[t["ms"] <= b]["ms"].idxmin(), "must be 0.88 or more"),
        (lambda t, b: t[t["ms"] <= b]["score"].idxmax(), "'small' is within one standard error"),
        (lambda t, b: choose(t[t["ms"] < b], b), "filter|cheaper|no name|score"),
        (lambda t, b: choose(t, b, own=True), "must be 0.77 or more|must be 0.88 or more"),
        (lambda t, b: choose(t, b, errors=2), "must be"),
        (lambda t, b: choose(t, b, lower=False), "cheaper"),
        (lambda t, b: choose(t, max(b, 1)), "raise a ValueError"),
    ],
)
def test_each_fault_of_a_choice_is_named(faulty, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_choose(faulty)


def test_a_bar_set_before_the_budget_is_named():
    def faulty(table, budget):
        bar = table["score"].max() - table.loc[table["score"].idxmax(), "standard error"]
        good = table[(table["score"] >= bar) & (table["ms"] <= budget)]
        if good.empty:
            raise ValueError("nothing fits")
        return good["ms"].idxmin()

    with pytest.raises(ExerciseError, match="29 ms choose raises ValueError .nothing fits., though 4 candidates fit"):
        check.check_choose(faulty)


def comparison(change=lambda x: x, warm=True, held_out=True, back=1):
    def compare(networks, images, labels):
        images, found = change(images), {}
        for name, network in networks.items():
            if warm:
                network(images[:1], training=False)
            start = time.perf_counter()
            features = network.predict(images, verbose=0)
            seconds = back * (time.perf_counter() - start)
            head = LogisticRegression(C=10)
            fitted = head.fit(features, labels).score(features, labels)
            accuracy = cross_val_score(head, features, labels).mean() if held_out else fitted
            found[name] = accuracy, 1000 * seconds / len(images)
        return found

    return compare


def test_a_mended_comparison_is_accepted(capsys):
    check.check_compare(comparison())
    assert capsys.readouterr().out == "compare is mended.\n"


@pytest.mark.parametrize(
    ("faulty", "sentence"),
    [
        (comparison(change=lambda x: x / 255), "wants raw pixels"),
        (comparison(change=lambda x: x - 127), "wants raw pixels"),
        (comparison(held_out=False), "fitted on"),
        (comparison(warm=False), "first call"),
        (comparison(back=-1), "end minus begin"),
        (lambda n, x, y: {}, "dict from each name"),
        (lambda n, x, y: dict.fromkeys(n, (0.5, 1.0)), "never called"),
        (lambda n, x, y: {k: (a[1], a[0]) for k, a in comparison()(n, x, y).items()}, "only|fitted on"),
    ],
)
def test_each_fault_of_a_comparison_is_named(faulty, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_compare(faulty)


def test_regret(capsys):
    accuracies = {("a", 64): 0.5, ("b", 64): np.float64(0.75)}
    check.check_regret(accuracies, ("a", 64), 0.25)
    assert "regret 0.250" in capsys.readouterr().out
    check.check_regret(accuracies, ("b", 64), 0.0)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (({"a": 0.5}, "a", 0.0), "two candidates or more"),
        (({"a": 0.5, "b": 75}, "a", 0.0), r"\['b'\] is no number from 0 to 1"),
        (({"a": 0.5, "b": 0.7}, "c", 0.0), "not among the accuracies"),
        (({"a": 0.5, "b": 0.7}, "a", -0.2), "the best candidate has 0.700"),
        (({"a": 0.5, "b": 0.7}, "a", 0.1), "the best candidate has 0.700"),
        (({"a": 0.5, "b": 0.7}, "a", None), "regret is None"),
    ],
)
def test_each_fault_of_a_regret_is_named(answer, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_regret(*answer)
