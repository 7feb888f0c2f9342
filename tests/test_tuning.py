"""A study that is killed goes on where it was: nothing is counted twice, and no trial is lost."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import optuna
import pytest
from optuna.trial import TrialState

from course_utils.errors import CourseError
from course_utils.settings import ROOT
from course_utils.tuning import open_study, run_trials
from course_utils.tuning.study import MAX_RETRIES, is_alive, journal_lock

optuna.logging.set_verbosity(optuna.logging.WARNING)

WORKER = """
import sys, time
import optuna
from course_utils.tuning import run_trials

journal, n_trials, stops_at, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    if trial.number == stops_at:
        print("in trial", trial.number, flush=True)
        time.sleep(60)
    time.sleep(seconds)
    return -x * x

run_trials(journal, objective, n_trials, optuna.samplers.RandomSampler(seed=0))
"""


def parabola(trial):
    return -(trial.suggest_float("x", -1, 1) ** 2)


@pytest.mark.parametrize("value", [None, float("nan"), "high"])
def test_an_objective_without_a_number_ends_the_search(tmp_path, value):
    with pytest.raises(CourseError, match="accepted is a number"):
        run_trials(tmp_path / "journal", lambda trial: value, 2)


def start_worker(journal, n_trials, stops_at=-1, seconds=0.0):
    arguments = [str(journal), str(n_trials), str(stops_at), str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def kill_in_trial(worker):
    """Wait until the worker says that it is inside its long trial, and kill it there."""
    assert worker.stdout.readline().startswith(b"in trial")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()


def finish(worker):
    worker.communicate(timeout=60)
    assert worker.returncode == 0


def states(study):
    return Counter(trial.state.name for trial in study.trials)


@pytest.fixture(autouse=True)
def time_limit():
    """Turn waiting for ever, which is how a lost trial shows, into a failure."""

    def stop(*_):
        raise TimeoutError("a study waits for a trial that nobody runs")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "search.journal"


def assert_each_once(study, n_trials):
    """Assert that the finished trials are as many as were asked for, all different, and nothing is left over."""
    finished = [trial for trial in study.trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == n_trials
    assert len({tuple(trial.params.values()) for trial in finished}) == n_trials
    assert not states(study).keys() & {"RUNNING", "WAITING"}


def test_a_study_killed_in_mid_trial_goes_on(journal):
    kill_in_trial(start_worker(journal, 6, stops_at=3))
    killed = open_study(journal).trials
    assert [trial.state.name for trial in killed] == ["COMPLETE"] * 3 + ["RUNNING"]

    study = run_trials(journal, parabola, 6, optuna.samplers.RandomSampler(seed=0))
    assert_each_once(study, 6)
    assert states(study) == {"COMPLETE": 6, "FAIL": 1}
    assert [trial.values for trial in study.trials[:3]] == [trial.values for trial in killed[:3]]
    assert study.trials[3].state.name == "FAIL"
    assert study.trials[4].params == killed[3].params  # the lost trial runs first
    assert study.trials[4].user_attrs["retry_of"] == 3


def test_another_worker_takes_over_from_a_killed_one(journal):
    victim = start_worker(journal, 12, stops_at=0)
    while not journal.exists() or not open_study(journal).trials:
        time.sleep(0.05)
    others = [start_worker(journal, 12, seconds=0.05) for _ in range(2)]
    kill_in_trial(victim)
    for worker in others:
        finish(worker)
    study = open_study(journal)
    assert_each_once(study, 12)
    assert states(study) == {"COMPLETE": 12, "FAIL": 1}
    assert sum(trial.user_attrs.get("retry_of") == 0 for trial in study.trials) == 1
    owners = Counter(tuple(trial.user_attrs["process"]) for trial in study.trials)
    assert len(owners) == 3 and min(owners.values()) >= 1


def test_a_finished_study_is_not_run_again(journal):
    run_trials(journal, parabola, 4)
    study = run_trials(journal, lambda trial: pytest.fail("one trial too many"), 4)
    assert len(study.trials) == 4


def test_a_sampler_that_joins_draws_anew(journal):
    run_trials(journal, parabola, 3, optuna.samplers.RandomSampler(seed=0))
    assert_each_once(run_trials(journal, parabola, 6, optuna.samplers.RandomSampler(seed=0)), 6)


def test_pruned_trials_count(journal):
    def objective(trial):
        trial.report(trial.suggest_float("x", 0, 1), 0)
        raise optuna.TrialPruned

    assert states(run_trials(journal, objective, 3)) == {"PRUNED": 3}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_trial_runs_again(journal, error):
    def interrupted(trial):
        parabola(trial)
        raise error

    with pytest.raises(error):
        run_trials(journal, interrupted, 2)
    first = open_study(journal).trials[0]
    study = run_trials(journal, parabola, 2)
    assert_each_once(study, 2)
    assert study.trials[1].params == first.params


def test_a_configuration_that_always_fails_is_given_up(journal):
    def impossible(trial):
        parabola(trial)
        raise OSError

    for _ in range(MAX_RETRIES + 1):
        with pytest.raises(OSError):
            run_trials(journal, impossible, 1)
    assert states(open_study(journal)) == {"FAIL": MAX_RETRIES + 1}
    assert len({trial.params["x"] for trial in open_study(journal).trials}) == 1
    assert_each_once(run_trials(journal, parabola, 1), 1)


def test_a_retry_killed_before_it_asked_for_anything_is_queued_again(journal):
    study = open_study(journal)
    study.enqueue_trial({"x": 0.5}, user_attrs={"retry_of": 7, "retries": 1})
    study.ask().set_user_attr("process", [2**22 + 1, 0.0])  # a process that cannot be
    study = run_trials(journal, parabola, 1)
    assert study.best_params == {"x": 0.5}
    assert states(study) == {"FAIL": 1, "COMPLETE": 1}


def test_queued_before_the_mark_was_made_is_not_queued_twice(journal):
    study = open_study(journal)
    study.ask({"x": optuna.distributions.FloatDistribution(-1, 1)})  # has no owner: its process died at once
    study.enqueue_trial(study.trials[0].params, user_attrs={"retry_of": 0, "retries": 1})
    assert_each_once(run_trials(journal, parabola, 2), 2)


def test_half_a_last_line_is_cut_off(journal):
    run_trials(journal, parabola, 2)
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    assert_each_once(run_trials(journal, parabola, 3), 3)


def test_the_lock_of_a_killed_process_is_released(journal):
    code = "import sys, time; from course_utils.tuning.study import journal_lock; journal_lock(sys.argv[1]).acquire(); print('in trial', flush=True); time.sleep(60)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    kill_in_trial(subprocess.Popen([sys.executable, "-c", code, str(journal)], env=environment, stdout=subprocess.PIPE))
    with journal_lock(journal).acquire(timeout=1):
        pass


def test_a_process_is_known_by_number_and_start():
    import psutil

    here = psutil.Process()
    assert is_alive([here.pid, here.create_time()])
    assert not is_alive([here.pid, here.create_time() - 100])  # the number was used again
    assert not is_alive(None)


@pytest.mark.parametrize("n_trials", [0, -1, 2.5, True, "3"])
def test_nonsense_numbers_of_trials_are_refused(journal, n_trials):
    with pytest.raises(CourseError, match="n_trials=.* is impossible"):
        run_trials(journal, parabola, n_trials)
    assert not journal.exists()


def test_other_files_are_refused_and_left_alone(tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear reader,\nthis is no journal")
    with pytest.raises(CourseError, match="letter.txt is no journal of Optuna"):
        open_study(letter)
    assert letter.read_text().endswith("no journal")
    for path in (tmp_path, tmp_path / "missing" / "search.journal"):
        with pytest.raises(CourseError, match="There can be no journal at"):
            open_study(path)
