"""The runner: parallel, going on after a failure, resumable, never half-written."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from course_tools import cli
from course_tools.notebooks import select_notebooks
from course_tools.parameters import check_parameters
from course_tools.publish.page import result_table, write_pages
from course_tools.run import bounds
from course_tools.run.execute import execute
from course_tools.run.jobs import Job, _alone_in, _failure, run_jobs
from course_utils.errors import CourseError
from course_utils.whole_file import replacing

RECORD = """
import json, os
with open(os.environ["COURSE_RECORDS"], "a") as file:
    file.write(json.dumps({"name": "figure", "value": SEED + 0.5, "contrast": None, "timing": False, "low": 0, "high": 9}) + "\\n")
"""


def make_job(path, folder, **parameters):
    return Job(path.stem, path, folder / path.name, parameters)


def test_a_failing_notebook_is_told_and_does_not_stop_the_others(write_notebook, tmp_path):
    good, bad = (
        write_notebook("01_good", RECORD),
        write_notebook("02_bad", "wrong = 1\nwrong / 0", "print('never')"),
    )
    folder = tmp_path / "build"
    jobs = [make_job(good, folder, SEED=3), make_job(bad, folder)]

    passed, failed = run_jobs(jobs, workers=2)

    assert passed["status"] == "passed" and passed["records"][0]["value"] == 3.5
    assert 0.02 < passed["gigabytes"] < 1  # a bare kernel
    assert failed["status"] == "failed" and "wrong / 0" in failed["error"]["cell"]
    assert failed["error"]["message"].startswith("ZeroDivisionError")
    assert sorted(path.name for path in folder.glob(".partial-*")) == []
    assert json.loads(jobs[0].record.read_text())["fingerprint"] == jobs[0].fingerprint()

    # Resumed: the one that passed is not run again, the failed one is.
    jobs[1].record.write_bytes(b"\xff damaged")
    again = run_jobs(jobs, workers=1)
    assert [result["reused"] for result in again] == [True, False]

    (folder / "mutants.json").write_text("[]")  # no record of a notebook
    (folder / "03_damaged.ipynb").touch()
    (folder / "03_damaged.json").write_bytes(b"\xff damaged")
    index = write_pages(folder)
    page = index.read_text()
    assert "02_bad.html" in page and "<details><summary>1 figure</summary>figure 3.5 (0 to 9)" in page
    assert "<details open>" in page  # the one that failed shows its figures at once
    assert result_table(again).row_count == 2


def test_changed_code_parameters_or_data_are_run_again(write_notebook, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_PNEUMONIA_MNIST", raising=False)
    job = make_job(write_notebook("01_one", "1 + 1"), tmp_path / "build")
    before = job.fingerprint()
    assert dataclasses.replace(job, parameters={"SEED": 1}).fingerprint() != before
    write_notebook("01_one", "1 + 2")
    changed = job.fingerprint()
    assert changed != before
    own = tmp_path / "mine.npz"
    own.write_text("a child's chest")
    monkeypatch.setenv("COURSE_PNEUMONIA_MNIST", str(own))
    with_own = job.fingerprint()
    own.write_text("another chest")
    assert len({job.fingerprint(), with_own, changed}) == 3


def test_a_run_that_could_not_begin_leaves_no_earlier_success(write_notebook, tmp_path):
    job = make_job(write_notebook("01_one", "1 + 1"), tmp_path / "build")
    assert run_jobs([job], workers=1)[0]["status"] == "passed" and job.record.exists()
    assert _failure(job, OSError("no space"))["status"] == "failed" and not job.record.exists()
    assert "01_one" not in write_pages(job.output.parent).read_text()


def test_a_program_called_may_end_by_itself_after_ctrl_c():
    code = "import os, signal, sys, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(1); sys.exit(7)"
    assert cli._call([sys.executable, "-c", code]) == 7


def test_a_killed_run_leaves_nothing_half_written(write_notebook, tmp_path):
    path, folder = write_notebook("01_slow", "import time; time.sleep(60)"), tmp_path / "build"
    script = (
        "from pathlib import Path; from course_tools.run.jobs import Job, run_jobs\n"
        f"if __name__ == '__main__': run_jobs([Job('slow', Path({str(path)!r}), Path({str(folder / path.name)!r}))], 1)"
    )
    main = tmp_path / "main.py"
    main.write_text(script)
    process = subprocess.Popen([sys.executable, main], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(folder.glob(".partial-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert not (folder / path.name).exists() and not (folder / "01_slow.json").exists()
    with _alone_in(folder):  # the lock of the killed run is free, and its rest is swept away
        assert list(folder.glob(".partial-*")) == []


def test_two_runs_into_one_folder_are_refused(tmp_path):
    with _alone_in(tmp_path), pytest.raises(CourseError, match="Another run is writing"):
        with _alone_in(tmp_path):
            pass


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"SEDE": "3"}, "has no parameter 'SEDE'; it takes PROFILE, RATE, SEED"),
        ({"SEED": "three"}, "SEED takes a value of type int, such as 0; got 'three'"),
        ({"PROFILE": "quick"}, "PROFILE 'quick' is unknown; choose one of smoke, default, full"),
    ],
)
def test_bad_parameters_are_refused_by_name(write_notebook, given, sentence):
    path = write_notebook("01_one", parameters='PROFILE = "default"\nSEED = 0\nRATE = 0.5')
    with pytest.raises(CourseError, match=sentence):
        check_parameters(path, given)


def test_parameters_take_the_types_of_their_defaults(write_notebook):
    path = write_notebook("01_one", parameters='PROFILE = "default"\nSEED = 0\nRATE = 0.5')
    assert check_parameters(path, {"SEED": "7", "RATE": "1", "PROFILE": "full"}) == {
        "SEED": 7,
        "RATE": 1.0,
        "PROFILE": "full",
    }


def test_an_unknown_notebook_is_refused():
    with pytest.raises(CourseError, match="There is no notebook '77'; the course has 01"):
        select_notebooks(["77"])


def test_the_command_line_tells_bad_input_in_one_line():
    command = [sys.executable, "-c", "from course_tools.cli import main; main()", "run", "77"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0 and "There is no notebook '77'" in done.stderr


def test_a_notebook_that_kills_its_kernel_fails_alone(write_notebook, tmp_path):
    path = write_notebook("01_dies", "import os; os._exit(3)")
    (result,) = run_jobs([make_job(path, tmp_path / "build")], workers=1)
    assert result["status"] == "failed" and "DeadKernelError" in result["error"]["message"]
    assert "os._exit(3)" in result["error"]["cell"]


def test_a_notebook_that_never_ends_is_stopped_with_its_kernel(write_notebook, tmp_path):
    pid = tmp_path / "pid"
    endless = f"import os, pathlib\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\nprint('before')\nwhile True: pass"
    result = execute(write_notebook("01_endless", endless), tmp_path / "output.ipynb", {}, limit=0.03)
    assert result["status"] == "failed" and "while True: pass" in result["error"]["cell"]
    assert result["error"]["message"].startswith(
        "The notebook was stopped after 0.03 minutes, 0.0 of them in this cell: `course run` allows more"
    )
    assert not psutil.pid_exists(int(pid.read_text()))
    assert "before" in (tmp_path / "output.ipynb").read_text()


def test_the_output_of_a_cell_is_cut(write_notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "LIMIT_CHARACTERS", 1000)
    prints, shows = "for _ in range(20): print('x' * 99, flush=True)", "print('begin')\n'y' * 2000"
    execute(
        write_notebook("01_prints", prints, shows, "print('z' * 900)"),
        tmp_path / "output.ipynb",
        {},
    )
    cells = nbformat.read(tmp_path / "output.ipynb", as_version=4).cells
    texts = ["".join(output.get("text", "data") for output in cell.outputs) for cell in cells]
    told = "The output of this cell was cut after 1,000 characters."
    assert [text.count(told) for text in texts] == [0, 1, 1, 0]
    assert 900 < texts[1].count("x") <= 1000 and texts[2].startswith("begin") and texts[3] == "z" * 900 + "\n"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(OSError), replacing(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_in_a_sentence(monkeypatch, capsys):
    def app(number):
        raise OSError(number, os.strerror(number), "build/01.ipynb")

    monkeypatch.setattr(cli, "app", lambda: app(errno.ENOSPC))
    with pytest.raises(SystemExit):
        cli.main()
    told = "No space left on device (build/01.ipynb): free some space, and call the same command again"
    assert told in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(cli, "app", lambda: app(errno.ECONNRESET))
    with pytest.raises(OSError):
        cli.main()
