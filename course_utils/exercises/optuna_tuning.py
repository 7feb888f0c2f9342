"""Checks of the exercises of lesson 09: each tests the reader's answer and says in one sentence what is wrong."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState

from course_utils.data.image_folders import class_folders, visible_files
from course_utils.exercises.answers import require
from course_utils.exercises.pairs import paired_gain

LIMITS = {"rate": (1e-4, 1e-1), "units": (8, 256), "dropout": (0, 0.8)}
ALWAYS, WITH_LAYER = {"rate", "layers"}, {"rate", "layers", "units", "dropout"}


def check_suggest(suggest: Callable) -> None:
    """Check ``suggest(trial)``: a conditional search space with the right scales.

    Parameters
    ----------
    suggest : callable
        Takes an Optuna trial; returns a dictionary of ``rate`` (0.0001 to 0.1) and ``layers`` (0 or 1), and with
        one layer also ``units`` (8 to 256) and ``dropout`` (0 to 0.8), each suggested under its name.

    Raises
    ------
    ExerciseError
        With what is wrong.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(200):
        trial = study.ask()
        chosen = suggest(trial)
        require(isinstance(chosen, dict), f"suggest returned {chosen!r} instead of a dictionary.")
        _check_configuration(chosen, trial)
        drawn.append(trial)
    require(len({trial.params["layers"] for trial in drawn}) == 2, "layers should be 0 in some trials and 1 in others.")
    for name, limits in LIMITS.items():
        asked = next(trial.distributions[name] for trial in drawn if name in trial.distributions)
        require(
            np.allclose((asked.low, asked.high), limits),
            f"{name} goes from {asked.low:g} to {asked.high:g}; it should go from {limits[0]:g} to {limits[1]:g}.",
        )
        require(asked.log or name == "dropout", f"{name} is sampled uniformly: large values crowd out small ones.")
        require(not asked.log or name != "dropout", "dropout begins at 0, which has no logarithm: sample it uniformly.")
    print("suggest is right.")


def _check_configuration(chosen: dict, trial: optuna.Trial) -> None:
    """Require that a configuration has the right names, and that they were suggested under these."""
    require("layers" in chosen and chosen["layers"] in (0, 1), f"layers must be there, and be 0 or 1, in {chosen}.")
    expected = WITH_LAYER if chosen["layers"] else ALWAYS
    require(
        set(chosen) == expected,
        f"With layers = {chosen['layers']} the dictionary has {', '.join(chosen)}; it should have "
        f"{', '.join(sorted(expected))}.",
    )
    require(
        set(trial.params) == expected,
        f"With layers = {chosen['layers']} the trial was asked for {', '.join(trial.params)}; it should be asked for "
        f"{', '.join(sorted(expected))}, and for nothing else.",
    )
    require(
        all(trial.params[name] == value for name, value in chosen.items()),
        f"The dictionary says {chosen}, but the trial suggested {trial.params}: return the values as they are.",
    )
    whole = isinstance(chosen.get("units", 8), int)
    require(whole, f"units must be a whole number; got {chosen.get('units')!r}.")


def check_search(search: Callable) -> None:
    """Check ``search(train, trials)``, a search without the four planted faults.

    Parameters
    ----------
    search : callable
        Takes ``train(rate, part)``, a generator of accuracies after each epoch, and a number of trials; returns
        an Optuna study.

    Raises
    ------
    ExerciseError
        With the first fault that is still there.
    """
    parts, begun = set(), []

    def train(rate: float, part: str) -> Iterator[float]:
        parts.add(part)
        begun.append(rate)
        for epoch in range(1, 11):  # rises and falls: the last epoch is not the best one
            yield max(0.1, 0.9 - 0.2 * abs(np.log10(rate) + 3)) * np.sin(np.pi * epoch / 16)

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = search(train, 60)
    finally:
        optuna.logging.set_verbosity(verbosity)
    require(isinstance(study, optuna.Study), f"search returned {study!r} instead of the study.")
    require(len(study.trials) == len(begun) == 60, f"Of 60 trials asked for, {len(begun)} were trained.")
    _check_choice(study, parts)
    print("The search is mended.")


def _check_choice(study: optuna.Study, parts: set[str]) -> None:
    """Require that the study chose on validation, the right way round, on the right scale, and pruned."""
    require(parts == {"validation"}, f"The search read the part {', '.join(sorted(parts))}: choose on validation only.")
    require(
        study.direction == optuna.study.StudyDirection.MAXIMIZE,
        "The study minimises the accuracy, which is Optuna's default: say which direction you want.",
    )
    asked = study.trials[0].distributions.get("rate")
    require(asked is not None and asked.log, "The rate is sampled uniformly, so nine of ten lie above 0.01.")
    require(
        np.allclose((asked.low, asked.high), (1e-5, 1e-1)),
        f"The rate goes from {asked.low:g} to {asked.high:g}; leave the range as it was.",
    )
    finished = study.get_trials(states=[TrialState.COMPLETE])
    require(bool(finished), "Not one trial finished: prune only when trial.should_prune() says so.")
    require(
        all(len(trial.intermediate_values) == 10 for trial in finished),
        "A finished trial has not reported all its epochs: a trial that is stopped must raise TrialPruned.",
    )
    early = [trial for trial in study.get_trials(states=[TrialState.PRUNED]) if len(trial.intermediate_values) < 10]
    require(bool(early), "No trial was stopped early: report alone stops nothing, ask should_prune in every epoch.")
    require(
        all(np.isclose(trial.value, trial.intermediate_values[9]) for trial in finished),
        "A trial returns something else than the accuracy after its last epoch.",
    )


def check_own_search(tuned: np.ndarray, untuned: np.ndarray, folder: str | Path) -> float:
    """Compare the predictions of a tuned and an untuned model for the images of a folder, as pairs.

    Parameters
    ----------
    tuned, untuned : array of int, shape (n,)
        Predicted class numbers of all images, class after class in alphabetical order.
    folder : str or pathlib.Path
        Test images, one subfolder for each class; n in all.

    Returns
    -------
    float
        Accuracy of the tuned model minus that of the untuned one.

    Raises
    ------
    ExerciseError
        When the predictions cannot belong to the folder, or are no better than the most frequent class.
    """
    counts = [len(visible_files(path)) for path in class_folders(folder).values()]
    labels = np.repeat(np.arange(len(counts)), counts)
    return paired_gain({"tuned": tuned, "untuned": untuned}, labels, "test images")
