"""The runner on a Dask cluster that is already there: a scheduler and two worker processes on loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import optuna_integration
import pytest
from distributed import Client
from test_run import waited_for

from course_tools.notebooks import Notebook
from course_tools.run import cluster
from course_tools.run.job import Job
from course_tools.run.jobs import run_jobs
from course_utils.errors import CourseError
from course_utils.settings import ROOT

# Tells the course's records its seed, and a file of its own when it began and ended, and for which worker.
NOTED = """
import json, os, psutil, time
WORKER = psutil.Process().parent().ppid()  # between them is the process that runs this notebook
def note(event):
    with open(NOTES, "a") as file:
        file.write(json.dumps([event, SEED, WORKER, time.time()]) + "\\n")
note("begin")
while os.path.exists(GATE):
    time.sleep(0.05)
time.sleep(0.3)
with open(os.environ["COURSE_RECORDS"], "a") as file:
    file.write(json.dumps({"name": "seed", "value": SEED, "contrast": None, "timing": False}) + "\\n")
note("end")
"""


class Processes:
    """Scheduler and workers as processes that a test starts, and may kill."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        self.file = folder / "scheduler.json"

    def scheduler(self):
        self._start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = json.loads(waited_for(lambda: self.file.exists() and self.file.read_text()))["address"]
        return self.address

    def worker(self, path=ROOT):
        """Start a worker without a nanny, so that a killed one stays dead, and with more threads than one."""
        options = "--no-nanny", "--no-dashboard", "--nthreads", "3", "--host", "127.0.0.1"
        return self._start("distributed.cli.dask_worker", *options, path=path)

    def stop(self):
        for process in reversed(self.running):
            process.kill()
            process.wait()

    def _start(self, module, *options, path=ROOT):
        command = [sys.executable, "-m", module, "--scheduler-file", str(self.file), *options]
        with open(self.folder / f"log{len(self.running)}", "wb") as log:
            environment = {**os.environ, "PYTHONPATH": str(path)}
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.running.append(process)
        return process


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Address of a scheduler with two workers, for the tests that kill none of them."""
    started = Processes(tmp_path_factory.mktemp("pair"))
    address = started.scheduler()
    started.worker(), started.worker()
    with Client(address) as client:
        client.wait_for_workers(2, timeout=60)
    yield address
    started.stop()


def noted_jobs(write_notebook, folder, count):
    """Return jobs that note their beginning and end, and wait while the gate is there."""
    path = write_notebook("01_noted", NOTED, parameters='SEED = 0\nNOTES = ""\nGATE = ""')
    common = {"NOTES": str(folder / "notes"), "GATE": str(folder / "gate")}
    return [
        Job(f"noted {seed}", Notebook("01_noted"), path, folder / "build" / f"{seed}.ipynb", {"SEED": seed} | common)
        for seed in range(count)
    ]


def notes(folder, event):
    """Return (seed, worker's process, time) of each event of this kind."""
    path = folder / "notes"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [tuple(rest) for kind, *rest in lines if kind == event]


def test_a_worker_runs_one_notebook_at_a_time_whatever_its_threads(pair, write_notebook, tmp_path):
    jobs = noted_jobs(write_notebook, tmp_path, 3)
    results = run_jobs(jobs, workers=1, scheduler=pair)

    assert [result["records"][0]["value"] for result in results] == [0, 1, 2]  # none got another's records
    begun, ended = notes(tmp_path, "begin"), {seed: end for seed, _, end in notes(tmp_path, "end")}
    assert len({worker for _, worker, _ in begun}) == 2
    for seed, worker, start in begun:
        assert not any(w == worker and s != seed and b < start < ended[s] for s, w, b in begun)


def test_two_local_clusters_take_no_notice_of_each_other(tmp_path, recwarn):
    with cluster.open_cluster(1, None, tmp_path), cluster.open_cluster(1, None, tmp_path):
        assert [str(warning.message) for warning in recwarn if "Port" in str(warning.message)] == []


def test_as_many_notebooks_at_a_time_as_workers_on_this_machine(write_notebook, tmp_path):
    (tmp_path / "gate").touch()
    seen = []

    def open_gate():
        waited_for(lambda: len(notes(tmp_path, "begin")) >= 2)
        time.sleep(1)
        seen.append(len(notes(tmp_path, "begin")))
        (tmp_path / "gate").unlink()

    with ThreadPoolExecutor() as pool:
        opened = pool.submit(open_gate)
        run_jobs(noted_jobs(write_notebook, tmp_path, 3), workers=2)
    assert opened.exception() is None and seen == [2]
    assert {worker for _, worker, _ in notes(tmp_path, "end")} == {os.getpid()}


def test_the_work_of_a_killed_worker_is_done_by_another(processes, write_notebook, tmp_path):
    address = processes.scheduler()
    victim = processes.worker()
    processes.worker()
    jobs, gate = noted_jobs(write_notebook, tmp_path, 3), tmp_path / "gate"
    gate.touch()
    with Client(address) as client:
        client.wait_for_workers(2, timeout=60)
    words = KILL_IN_MID_WORK, str(tmp_path / "notes"), str(victim.pid), str(gate)
    killer = subprocess.Popen([sys.executable, "-c", *words])

    results = run_jobs(jobs, workers=1, scheduler=address)

    assert killer.wait() == 0 and victim.wait() == -signal.SIGKILL
    assert len(notes(tmp_path, "begin")) == 4  # one of the three began twice
    assert sorted(seed for seed, _, _ in notes(tmp_path, "end")) == [0, 1, 2]  # and each ended once
    assert [result["records"][0]["value"] for result in results] == [0, 1, 2]
    expected = sorted([".lock", *(f"{seed}.{kind}" for seed in range(3) for kind in ("ipynb", "json"))])
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == expected
    assert [json.loads(job.record.read_text())["status"] for job in jobs] == ["passed"] * 3


# Once two notebooks are at work: kill one worker, then let the notebooks go on.
KILL_IN_MID_WORK = """
import os, pathlib, signal, sys, time
notes, victim, gate = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
while not notes.exists() or len(notes.read_text().splitlines()) < 2:
    time.sleep(0.05)
os.kill(victim, signal.SIGKILL)
time.sleep(3)  # what runs its notebook ends with it
gate.unlink()
"""


def test_a_scheduler_that_goes_away_is_told_in_a_sentence(processes, write_notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 2)  # also how long the client tries to find it again
    address = processes.scheduler()
    processes.worker()
    (tmp_path / "gate").touch()
    command = (
        "import os, pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)\n"
        "os.kill(int(sys.argv[2]), 9)"
    )
    subprocess.Popen([sys.executable, "-c", command, str(tmp_path / "notes"), str(processes.running[0].pid)])
    with pytest.raises(CourseError, match="The Dask scheduler went away; what is finished is kept"):
        run_jobs(noted_jobs(write_notebook, tmp_path, 1), workers=1, scheduler=address)


def test_workers_that_see_another_checkout_or_none_are_named(processes, write_notebook, tmp_path):
    address = processes.scheduler()
    other = tmp_path / "other"
    for package in ("course_utils", "course_tools"):
        shutil.copytree(ROOT / package, other / package)
    stranger = processes.worker(path=other)
    jobs = noted_jobs(write_notebook, tmp_path, 1)
    with pytest.raises(
        CourseError, match=f"has the course in {other}, this machine in {ROOT}; the path must be the same"
    ):
        run_jobs(jobs, workers=1, scheduler=address)
    stranger.kill()
    (other / "course_tools" / "run" / "__init__.py").write_text("import a_package_that_is_not_installed")
    second = processes.worker(path=other)
    with Client(address) as client:
        waited_for(lambda: list(client.run(os.getpid, on_error="ignore").values()) == [second.pid])
    with pytest.raises(
        CourseError, match="cannot import the course .*start it with the Python in which the course is installed"
    ):
        run_jobs(jobs, workers=1, scheduler=address)
    assert [path.name for path in (tmp_path / "build").iterdir()] == [".lock"]


def test_workers_that_do_not_see_the_folder_are_named(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_what_it_sees", lambda token: (str(ROOT), False))
    with pytest.raises(CourseError, match=f"does not see {tmp_path}; all workers must share this folder"):
        with cluster.open_cluster(1, pair, tmp_path):
            pass


def test_a_scheduler_without_workers_is_told(processes, write_notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    with pytest.raises(CourseError, match="has no worker after 0.5 s; start one with `dask worker tcp://127"):
        run_jobs(noted_jobs(write_notebook, tmp_path, 1), workers=1, scheduler=processes.scheduler())


@pytest.mark.parametrize(
    "address", ["", "nonsense://here", "http://127.0.0.1:8787", "tcp://127.0.0.1:none", "tcp://127.0.0.1:1"]
)
def test_a_bad_address_is_told_in_a_sentence(address, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    with pytest.raises(CourseError, match=f"No Dask scheduler answers at '{address}'; its address looks like tcp://"):
        with cluster.open_cluster(1, address, tmp_path):
            pass


def test_a_listener_that_is_no_scheduler_is_told_in_a_sentence(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    with Client(pair) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address, reason in [
            (f"tcp://127.0.0.1:{silent.getsockname()[1]}", "silence"),
            (worker, "it is a worker's"),
        ]:
            with pytest.raises(CourseError, match=f"No Dask scheduler answers at '{address}'.*{reason}"):
                with cluster.open_cluster(1, address, tmp_path):
                    pass


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_on_the_cluster_runs_every_trial_once(pair, tmp_path):
    ran = tmp_path / "ran"

    def objective(trial):  # a local function travels to the workers by value
        with open(ran, "a") as file:
            file.write(f"{trial.number} {os.getpid()}\n")
        return (trial.suggest_float("x", -1, 1) - 0.5) ** 2

    with Client(pair) as client:
        study = optuna.create_study(storage=optuna_integration.DaskStorage(client=client))
        parts = [client.submit(study.optimize, objective, n_trials=1, pure=False) for _ in range(20)]
        client.gather(parts)
        trials = study.trials

    numbers, workers = zip(*(line.split() for line in ran.read_text().splitlines()), strict=False)
    assert sorted(map(int, numbers)) == sorted(trial.number for trial in trials) == list(range(20))
    assert {trial.state.name for trial in trials} == {"COMPLETE"} and len(set(workers)) == 2
