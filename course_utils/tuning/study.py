"""An Optuna study in a journal file: killed, it goes on where it was; processes of one machine may share it."""

import math
import time
from collections import Counter
from collections.abc import Callable
from numbers import Integral
from pathlib import Path

import optuna
import psutil
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from course_utils.errors import CourseError

MAX_RETRIES = 3  # a configuration that kills its process every time must not be tried for ever
POLL_SECONDS = 0.1


def run_trials(
    path: str | Path,
    objective: Callable[[Trial], float],
    n_trials: int,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Run a study until its journal holds `n_trials` finished trials, those of earlier runs and other processes included.

    A trial that a killed process left behind is marked as failed, and its configuration runs again. While
    other processes work on the last trials this one waits, and takes over should they be killed.

    Parameters
    ----------
    path : str or Path
        The journal, one file for one study; it is created if there is none.
    objective : callable
        Takes a trial and returns the value to maximise, or raises `optuna.TrialPruned`.
    n_trials : int
        Complete and pruned trials count, failed ones do not.
    sampler, pruner : optional
        As in `optuna.create_study`; they are not kept in the file. A sampler that joins a study under way gets a
        new seed: with the old one it would draw the same configurations again.

    Returns
    -------
    optuna.Study

    Raises
    ------
    CourseError
        If `n_trials` is no number of trials, there can be no journal at `path`, or the objective returns no number.
    """
    if isinstance(n_trials, bool) or not isinstance(n_trials, Integral) or n_trials < 1:
        raise CourseError(f"n_trials={n_trials!r} is impossible: give a whole number, at least 1.")
    study, lock = open_study(path, sampler, pruner), journal_lock(path)
    with lock:
        if study.get_trials(deepcopy=False):
            study.sampler.reseed_rng()
        trial = take_trial(study, n_trials)
    while trial or count_states(study, TrialState.COMPLETE, TrialState.PRUNED) < n_trials:
        if trial:
            run_trial(study, trial, objective, lock)
        else:
            time.sleep(POLL_SECONDS)
        with lock:
            trial = take_trial(study, n_trials)
    return study


def take_trial(study: optuna.Study, n_trials: int) -> Trial | None:
    """Queue what dead processes left behind; return a trial for this process, or None if enough are taken.

    The caller holds the lock of the journal. So no other process sees a trial without its owner.
    """
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if not is_alive(trial.user_attrs.get("process")):
            queue_again(study, trial)
    if count_states(study, TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING) >= n_trials:
        return None
    trial = study.ask()
    process = psutil.Process()
    trial.set_user_attr("process", [process.pid, process.create_time()])
    return trial


def run_trial(study: optuna.Study, trial: Trial, objective: Callable[[Trial], float], lock: FileLock) -> None:
    """Run one trial and write down how it ended; whatever interrupts it, its configuration is queued again."""
    try:
        value = checked_value(objective(trial))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except BaseException:
        with lock:
            queue_again(study, study.trials[trial.number])
        raise
    else:
        study.tell(trial, value)


def checked_value(value: object) -> float:
    """Return the value of a trial; Optuna would mark the trial as failed, and the search would never end."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise CourseError(
            f"The objective returned {value!r}; accepted is a number. Of a network that diverged, raise optuna.TrialPruned."
        )
    return number


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Mark a trial as failed, and put its configuration back into the queue, once."""
    # The configuration of a trial from the queue is known before the objective asks for it.
    configuration = trial.system_attrs.get("fixed_params", {}) | trial.params
    retries = trial.user_attrs.get("retries", 0)
    queued = any(other.user_attrs.get("retry_of") == trial.number for other in study.get_trials(deepcopy=False))
    # First the queue, then the mark: killed between the two, this function is called again.
    if configuration and retries < MAX_RETRIES and not queued:
        study.enqueue_trial(configuration, user_attrs={"retry_of": trial.number, "retries": retries + 1})
    study.tell(trial.number, state=TrialState.FAIL)


def is_alive(process: list | None) -> bool:
    """Whether the process with this number and start time still runs; numbers are used again, so both must agree."""
    if process is None:
        return False
    number, started = process
    try:
        found = psutil.Process(number)
        return abs(found.create_time() - started) < 1 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def count_states(study: optuna.Study, *states: TrialState) -> int:
    """Return how many trials of the study are in one of these states."""
    counts = Counter(trial.state for trial in study.get_trials(deepcopy=False))
    return sum(counts[state] for state in states)


def open_study(
    path: str | Path,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Open the study of a journal file, to look at it or to go on; it maximises. See `run_trials`."""
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise CourseError(f"There can be no journal at {path}: give a file, in a folder that exists.")
    with journal_lock(path):
        mend_last_line(path)
        storage = JournalStorage(JournalFileBackend(str(path), JournalLock(path)))
        return optuna.create_study(
            storage=storage, study_name="study", load_if_exists=True, direction="maximize",
            sampler=sampler, pruner=pruner,
        )  # fmt: skip


def mend_last_line(path: Path) -> None:
    """Cut off what a killed process wrote of a last line: Optuna would refuse the whole file."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        content = file.read()
        if not content.startswith(b'{"op_code":'):
            raise CourseError(f"{path.name} is no journal of Optuna: give such a file, or a new name.")
        file.truncate(content.rfind(b"\n") + 1)


def journal_lock(path: str | Path) -> FileLock:
    """Return the lock of a journal, one object in a process; the system releases it when its holder dies."""
    return FileLock(f"{Path(path).resolve()}.lock", is_singleton=True)


class JournalLock:
    """That lock for Optuna, whose own would make everyone wait for 30 seconds after a kill."""

    def __init__(self, path: Path):
        self._lock = journal_lock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()
