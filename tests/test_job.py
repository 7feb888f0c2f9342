"""What a job hands to its run, what it keeps of it, and when that need not be made again; no notebook is executed."""

import dataclasses
import errno
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from distributed import Reschedule
from distributed.core import Status

from course_tools.notebooks import Notebook
from course_tools.run import job as jobs
from course_tools.run import jobs as runner
from course_tools.run.alone import alone_in
from course_tools.run.job import Job, facts_of, job_for
from course_tools.run.jobs import run_jobs
from course_tools.settings import LIMIT_MINUTES
from course_utils.errors import CourseError

PASSED = {"status": "passed", "seconds": 2.5, "gigabytes": 0.1, "records": [{"name": "figure"}], "error": None}


@pytest.fixture
def calls(monkeypatch):
    """How often and with what `execute` was called; in place of a run it writes a notebook of this text."""
    made = {"calls": [], "result": PASSED, "text": '{"executed": 1}'}

    def execute(path, output, parameters, on_cell, environment, limit):
        made["calls"].append((path, parameters, on_cell, environment, limit))
        made["folder"] = output.parent
        made["beside"] = {file.name for file in output.parent.parent.iterdir()}
        if made["text"] is not None:
            output.write_text(made["text"])
        return dict(made["result"])

    monkeypatch.setattr(jobs, "execute", execute)
    return made


@pytest.fixture
def job(write_notebook, tmp_path):
    (tmp_path / "build").mkdir()
    path = write_notebook("01_one", "1 + 1")
    return Job("one", Notebook("01_one"), path, tmp_path / "build" / path.name)


def on_cell(done, total):
    pass


def test_a_job_compares_its_figures_and_takes_no_parameters_unless_told(job):
    assert job.measuring is False and job.parameters == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.name = "another"  # jobs stand in dictionaries


def test_a_run_gets_what_the_job_says(job, calls):
    job = dataclasses.replace(job, parameters={"SEED": 3})
    job.run(7.0, on_cell)
    dataclasses.replace(job, measuring=True).run(7.0, on_cell)
    path, parameters = job.path, job.parameters
    assert calls["calls"] == [
        (path, parameters, on_cell, {}, 7.0),
        (path, parameters, on_cell, {"COURSE_MEASURE": "1"}, 7.0),
    ]


def test_a_run_is_written_beside_its_output_and_leaves_two_files(job, calls):
    result = job.run(1.0, on_cell)
    # Beside it, so that moving it is one step on any disk; under a name that the next run sweeps away.
    assert calls["folder"].parent == job.output.parent and calls["folder"].name.startswith(".partial-")
    assert sorted(path.name for path in job.output.parent.iterdir()) == ["01_one.ipynb", "01_one.json"]
    assert json.loads(job.output.read_text()) == {"executed": 1}
    kept = PASSED | {"name": "one", "parameters": {}, "fingerprint": job.fingerprint()}
    assert json.loads(job.record.read_text()) == kept and result == kept | {"reused": False}


def test_a_success_is_taken_again_until_something_of_it_changes(job, calls, write_notebook):
    assert job.last_success() is None
    result = job.run(1.0, on_cell)
    assert job.last_success() == result | {"reused": True}
    assert dataclasses.replace(job, measuring=True).last_success() is None  # its figures were compared
    assert dataclasses.replace(job, parameters={"SEED": 1}).last_success() is None
    write_notebook("01_one", "1 + 2")
    assert job.last_success() is None
    write_notebook("01_one", "1 + 1")
    assert job.last_success() == result | {"reused": True}
    job.output.unlink()
    assert job.last_success() is None


@pytest.mark.parametrize("text", ["", "{", "null"])
def test_a_damaged_record_is_no_success(job, calls, text):
    job.run(1.0, on_cell)
    job.record.write_text(text)
    assert job.last_success() is None


def test_a_success_whose_folder_is_gone_is_made_again(job, calls, monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "leave_report", lambda *_: tmp_path / "written")
    (tmp_path / "written").mkdir()
    assert job.run(1.0, on_cell)["folder"] == str(tmp_path / "written")
    assert job.last_success()["folder"] == str(tmp_path / "written")
    (tmp_path / "written").rmdir()
    assert job.last_success() is None


def test_a_report_is_left_by_a_run_that_passed_and_shows_figures(job, calls, monkeypatch):
    reported = []
    monkeypatch.setattr(jobs, "leave_report", lambda path, parameters: reported.append((path.name, parameters)))
    dataclasses.replace(job, measuring=True).run(1.0, on_cell)
    calls["result"] = PASSED | {"status": "failed"}
    job.run(1.0, on_cell)
    assert reported == []
    calls["result"] = PASSED
    assert "folder" not in dataclasses.replace(job, parameters={"RATE": 2}).run(1.0, on_cell)
    assert reported == [("01_one.ipynb", {"SEED": 0, "RATE": 2})]  # also those of the notebook itself


def test_a_failed_run_is_kept_to_be_read_and_is_run_again(job, calls):
    calls["result"] = PASSED | {"status": "failed", "error": {"cell": "1 / 0", "message": "no"}}
    assert job.run(1.0, on_cell)["error"]["cell"] == "1 / 0"
    assert job.output.exists() and json.loads(job.record.read_text())["status"] == "failed"
    assert job.last_success() is None


@pytest.mark.parametrize("text", [None, '{"half'])
def test_a_run_that_wrote_no_whole_notebook_leaves_none(job, calls, text):
    for existed in (False, True):
        if existed:
            job.output.write_text('{"of an earlier run": 1}')
        calls["text"] = text
        assert job.run(1.0, on_cell)["status"] == "passed"
        assert not job.output.exists() and job.record.exists() and job.last_success() is None


def test_an_old_record_never_stands_beside_a_new_output(job, calls, monkeypatch):
    """Killed between the two, a run must not let an earlier success be taken for its own."""
    job.run(1.0, on_cell)
    replace, records = os.replace, []

    def watched(source, target):
        if Path(target) == job.output:
            records.append(job.record.exists())
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    job.run(1.0, on_cell)
    assert records == [False] and job.record.exists()


def test_a_full_disk_is_a_failure_and_no_earlier_success_stays(job, calls, monkeypatch):
    job.run(1.0, on_cell)
    monkeypatch.setattr(jobs, "execute", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    expected = {"cell": "", "message": f"OSError: [Errno {errno.ENOSPC}] No space left"}
    failed = {"name": "one", "status": "failed", "seconds": 0.0, "records": [], "error": expected}
    assert job.run(1.0, on_cell) == failed and not job.record.exists()
    assert job.run(1.0, on_cell) == failed  # also where there is no record
    shutil.rmtree(job.output.parent)
    job.output.parent.write_text("no folder")
    assert job.failure(OSError(errno.ENOSPC, "No space left")) == failed


def test_every_file_of_own_data_counts_by_name_size_and_time(job, tmp_path):
    folder = tmp_path / "mine"
    (folder / "cat").mkdir(parents=True)
    file = folder / "cat" / "1.png"
    file.write_text("a cat")
    os.utime(file, ns=(0, 1000))
    assert facts_of(folder) == facts_of(file) == [(os.fsencode(file).hex(), 5, 1000)]
    assert facts_of(tmp_path / "nowhere") == []
    (folder / ".hidden").write_text("of the system")
    assert len(facts_of(folder)) == 1


@pytest.mark.parametrize("name", ["DATA", "FOLDER"])
def test_own_data_and_the_notebook_both_count(job, tmp_path, write_notebook, name):
    (tmp_path / "mine.csv").write_text("text,label")
    os.utime(tmp_path / "mine.csv", ns=(0, 1000))
    own = dataclasses.replace(job, parameters={name: str(tmp_path / "mine.csv")})
    before = own.fingerprint()
    os.utime(tmp_path / "mine.csv", ns=(0, 2000))
    after = own.fingerprint()
    write_notebook("01_one", "1 + 2")
    assert len({before, after, own.fingerprint()}) == 3


def test_data_that_are_not_there_yet_count_when_they_come(job, tmp_path):
    own = dataclasses.replace(job, parameters={"DATA": str(tmp_path / "mine.csv")})
    before = own.fingerprint()
    (tmp_path / "mine.csv").write_text("text,label")
    assert own.fingerprint() != before


def test_chest_xrays_of_the_reader_count_only_where_they_are_shown(write_notebook, tmp_path, monkeypatch):
    shows = write_notebook("07_shows", "from course_utils.data import load_chest_xrays", "!ls", "if True:\n    %pwd")
    made = [
        Job(path.stem, Notebook(path.stem), path, tmp_path / path.name) for path in (shows, write_notebook("01_one"))
    ]
    own, seen = tmp_path / "mine.npz", []
    monkeypatch.setenv("COURSE_PNEUMONIA_MNIST", str(own))
    for content in ("a child's chest", "another chest"):
        own.write_text(content)
        seen.append([job.fingerprint() for job in made])
    assert [before != after for before, after in zip(*seen, strict=True)] == [True, False]


def test_the_fetched_chest_xrays_count_where_the_reader_has_none(write_notebook, tmp_path, monkeypatch):
    path = write_notebook("07_shows", "from course_utils.data import load_chest_xrays")
    job = Job("shows", Notebook("07_shows"), path, tmp_path / "07_shows.ipynb")
    asked, fetched = [], tmp_path / "fetched.npz"
    monkeypatch.delenv("COURSE_PNEUMONIA_MNIST", raising=False)
    monkeypatch.setattr(jobs, "cached_path", lambda asset: asked.append(asset.name) or fetched)
    seen = [job.fingerprint()]
    for content in ("", "one chest", "another chest"):
        fetched.write_text(content)
        seen.append(job.fingerprint())
    fetched.write_text("one chest")
    assert len(set(seen)) == 4 and job.fingerprint() == seen[2] and set(asked) == {"pneumonia_mnist"}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), path)
    other = job.fingerprint()
    fetched.write_text("a third")
    assert job.fingerprint() == other


def test_a_lesson_runs_into_build(monkeypatch):
    monkeypatch.setattr(jobs, "run_parameters", lambda notebook, profile, typed: {"PROFILE": profile, **typed})
    notebook = Notebook("01_trial", True)
    job = job_for(notebook, "smoke", {"SEED": "3"})
    assert job.output == jobs.BUILD / "experiments" / "01_trial.ipynb" and job.path == notebook.path
    assert job.parameters == {"PROFILE": "smoke", "SEED": "3"} and not job.measuring
    assert (job.name, job.notebook) == ("experiments/01_trial", notebook)


@pytest.fixture
def workers(monkeypatch):
    """What is asked of the workers; each answers with the name of its job."""
    asked = []

    @contextmanager
    def open_cluster(count, scheduler, folder):
        asked.append([count, scheduler, folder])
        yield "client"

    def run_on(client, waiting, limit, alone):
        asked[-1] += [client, [job.name for job in waiting], limit, alone]
        return {job.output: {"name": job.name} for job in reversed(waiting)}

    monkeypatch.setattr(runner, "open_cluster", open_cluster)
    monkeypatch.setattr(runner, "_run_on", run_on)
    return asked


def test_only_what_is_not_done_goes_to_the_workers_and_the_order_stays(job, calls, workers):
    first, last = (dataclasses.replace(job, name=n, output=job.output.with_name(f"{n}.ipynb")) for n in ("a", "z"))
    done, folder = job.run(1.0, on_cell), job.output.parent
    results = run_jobs([last, job, first], 4, limit=3.0)
    assert results == [{"name": "z"}, done | {"reused": True}, {"name": "a"}]
    run_jobs([first, job], 1, "tcp://a:1", force=True)
    assert run_jobs([job], 4) == [done | {"reused": True}]  # no worker is started for it
    assert workers == [
        [2, None, folder, "client", ["z", "a"], 3.0, False],
        [1, "tcp://a:1", folder, "client", ["a", "one"], LIMIT_MINUTES, True],
    ]


def test_what_killed_runs_left_is_swept_out_of_all_folders_before_and_after(job, calls, workers, monkeypatch):
    deep = dataclasses.replace(job, name="deep", output=job.output.parent / "deep" / "deep.ipynb")
    (job.output.parent / ".partial-killed").mkdir()
    run_on, seen = runner._run_on, []

    def leaving(client, waiting, limit, alone):
        seen.extend(path.name for path in job.output.parent.glob(".partial-*"))
        for one in waiting:
            (one.output.parent / ".partial-left").mkdir()
        with pytest.raises(CourseError, match="Another run is writing to deep/"):
            run_jobs([deep], 1)
        return run_on(client, waiting, limit, alone)

    monkeypatch.setattr(runner, "_run_on", leaving)
    run_jobs([deep, job], 1)
    assert seen == [] and not list(job.output.parent.rglob(".partial-*"))
    with alone_in(deep.output.parent, "Another"):  # the lock is free again
        pass


def test_what_cannot_be_swept_out_stops_nobody(tmp_path):
    for _ in range(2):
        with alone_in(tmp_path / "not" / "there", "Another"):
            (tmp_path / "not" / "there" / ".partial-file").touch()  # no folder, such as a run leaves


def test_a_task_that_broke_is_a_failed_run_and_one_that_is_lost_is_told(job, calls):
    finished = SimpleNamespace(status="finished", result=lambda: PASSED)
    assert runner._result_of(finished, job) == PASSED
    broken = SimpleNamespace(status="error", exception=lambda: MemoryError("too much"))
    assert runner._result_of(broken, job) == job.failure(MemoryError("too much"))
    for status in ("pending", "lost", "cancelled"):
        with pytest.raises(CourseError, match="what is finished is kept, and the same command goes on from there"):
            runner._result_of(SimpleNamespace(status=status), job)


class Task:
    status = "finished"

    def __init__(self, result):
        self.result = result


class Cluster:
    """Stands for a Dask cluster and its one worker, which does a task when its result is asked for."""

    status = Status.running

    def __init__(self):
        self.submitted, self.told, self.listeners = [], [], {}

    def submit(self, function, job, *arguments, **options):
        self.submitted.append((job.name, options))
        return Task(lambda: function(job, *arguments))

    def subscribe_topic(self, topic, handler):
        self.listeners[topic] = handler
        handler((0, {"name": "of another run", "done": 0, "total": 2}))

    def unsubscribe_topic(self, topic):
        del self.listeners[topic]

    def log_event(self, topic, message):
        self.told.append(tuple(message.values()))
        self.listeners[topic]((0, message))


@pytest.fixture
def cluster(monkeypatch):
    """The cluster that `run_jobs` finds; the last job is done first."""
    found = Cluster()

    @contextmanager
    def open_cluster(workers, scheduler, folder):
        yield found

    monkeypatch.setattr(runner, "open_cluster", open_cluster)
    monkeypatch.setattr(runner, "get_worker", lambda: found)
    monkeypatch.setattr(runner, "as_completed", lambda futures: reversed(list(futures)))
    return found


def test_each_job_is_submitted_once_the_first_first_and_told_when_it_is_done(job, cluster, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(Job, "run", lambda job, limit, tell: {"status": "passed", "seconds": 2.4, "of": job.name})
    names = ["one[1]", "two", "three"]
    named = [dataclasses.replace(job, name=name, output=job.output.with_name(name)) for name in names]
    assert [result["of"] for result in run_jobs(named, 2)] == names
    assert cluster.submitted == [(name, {"pure": False, "priority": -place}) for place, name in enumerate(names)]
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line for line in lines if " in " in line] == [f"{name}: passed in 2 s" for name in reversed(names)]
    whole, *bars = [line for line in lines if " in " not in line]
    assert whole.startswith("all ") and "3/3" in whole and [line.split()[0] for line in bars] == names
    assert all("passed" in line for line in bars) and not cluster.listeners


@pytest.mark.parametrize("scheduler", ["tcp://a:1", None])
def test_a_worker_tells_each_finished_cell_once_and_one_of_a_cluster_keeps_its_room_to_itself(
    job, cluster, monkeypatch, scheduler
):
    def run(job, limit, tell):
        assert runner.ROOM.locked() == (scheduler is not None) and limit == 7.0
        for done in (1, 1, 2):
            tell(done, 2)
        return PASSED

    monkeypatch.setattr(Job, "run", run)
    assert run_jobs([job], 1, scheduler, limit=7.0) == [PASSED]
    assert cluster.told == [("one", 0, 1), ("one", 1, 2), ("one", 2, 2)] and not runner.ROOM.locked()


def test_a_worker_that_has_no_room_or_closes_gives_its_job_back(job, cluster, monkeypatch):
    monkeypatch.setattr(Job, "run", lambda job, limit, tell: PASSED)
    with runner.ROOM:
        with pytest.raises(Reschedule):
            run_jobs([job], 1, "tcp://a:1")
        assert run_jobs([job], 1) == [PASSED]  # on this machine each has a process of its own
    for status in (Status.closing, Status.closed):
        cluster.status = status
        with pytest.raises(Reschedule):
            run_jobs([job], 1, "tcp://a:1")
        assert not runner.ROOM.locked()
