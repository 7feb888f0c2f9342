"""The checks of lesson 09 accept right answers and name each planted fault."""

import numpy as np
import optuna
import pytest
from PIL import Image

from course_utils.exercises import optuna_tuning as check
from course_utils.exercises.answers import ExerciseError


def suggest_with(log=True, always=False, asked_always=False, whole=True, low=8, layers=1, rescaled=1, dropout_low=0.0):
    """Return a `suggest` that has the faults asked for."""

    def suggest(trial):
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=log) * rescaled
        chosen = {"rate": rate, "layers": trial.suggest_int("layers", 0, layers)}
        if not chosen["layers"] and not always and not asked_always:
            return chosen
        ask = trial.suggest_int if whole else trial.suggest_float
        rest = {"units": ask("units", low, 256, log=True)}
        rest["dropout"] = trial.suggest_float("dropout", dropout_low, 0.8, log=dropout_low > 0)
        return chosen | rest if chosen["layers"] or always else chosen

    return suggest


def test_a_right_suggest_is_accepted(capsys):
    check.check_suggest(suggest_with())
    assert capsys.readouterr().out == "suggest is right.\n"


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"log": False}, "rate is sampled uniformly"),
        ({"always": True}, "the dictionary has"),
        ({"asked_always": True}, "the trial was asked for"),
        ({"whole": False}, "units must be a whole number"),
        ({"low": 1}, "units goes from 1 to 256"),
        ({"layers": 0}, "0 in some trials and 1 in others"),
        ({"layers": 2}, "layers must be there, and be 0 or 1"),
        ({"rescaled": 10}, "return the values as they are"),
        ({"dropout_low": 0.1}, "dropout goes from 0.1"),
    ],
)
def test_each_fault_of_suggest_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_suggest(suggest_with(**faults))


def test_a_stub_of_suggest_is_named():
    with pytest.raises(ExerciseError, match="instead of a dictionary"):
        check.check_suggest(lambda trial: None)


def search_with(log=True, part="validation", prune=True, direction="maximize", best=False, ended="raise", pruner=None):
    """Return a `search` that has the faults asked for."""

    def search(train, trials):
        def objective(trial):
            reported = []
            for epoch, accuracy in enumerate(train(trial.suggest_float("rate", 1e-5, 1e-1, log=log), part)):
                trial.report(accuracy, epoch)
                reported.append(accuracy)
                if prune and trial.should_prune():
                    if ended == "raise":
                        raise optuna.TrialPruned
                    break
            if ended == "always":
                raise optuna.TrialPruned
            return max(reported) if best else accuracy

        study = optuna.create_study(direction=direction, pruner=pruner or optuna.pruners.MedianPruner())
        study.optimize(objective, n_trials=trials)
        return study

    return search


def test_a_right_search_is_accepted_and_optuna_speaks_as_before(capsys):
    before = optuna.logging.get_verbosity()
    check.check_search(search_with())
    assert capsys.readouterr().out == "The search is mended.\n" and optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"part": "test"}, "read the part test"),
        ({"direction": "minimize"}, "minimises the accuracy"),
        ({"log": False}, "sampled uniformly"),
        ({"prune": False}, "No trial was stopped early"),
        ({"pruner": optuna.pruners.NopPruner()}, "No trial was stopped early"),
        ({"ended": "always", "prune": False}, "Not one trial finished"),
        ({"ended": "break"}, "must raise TrialPruned"),
        ({"best": True}, "something else than the accuracy after its last epoch"),
    ],
)
def test_each_fault_of_search_is_named(faults, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_search(search_with(**faults))


def test_a_search_of_other_length_is_named():
    with pytest.raises(ExerciseError, match="Of 60 trials asked for, 3"):
        check.check_search(lambda train, trials: search_with()(train, 3))


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    return tmp_path


LABELS = np.repeat([0, 1], 10)


def test_predictions_are_compared_as_pairs(folder, capsys):
    untuned = np.where(np.arange(20) % 5 == 0, 1 - LABELS, LABELS)
    assert check.check_own_search(LABELS, untuned, folder) == pytest.approx(0.2)
    assert check.check_own_search(LABELS, LABELS, folder) == 0
    said = capsys.readouterr().out
    assert "+0.200 ± 0.192: a difference" in said and "+0.000 ± 0.000: no clear difference" in said


def test_predictions_in_another_number_than_images_are_named(folder):
    with pytest.raises(ExerciseError, match="tuned has the shape .* there are 20 test images"):
        check.check_own_search(LABELS[:5], LABELS, folder)
