"""The runner: parallel, going on after a failure, resumable, never half-written."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import nbformat
import psutil
import pytest

from course_tools.notebooks import Notebook
from course_tools.run.alone import alone_in
from course_tools.run.execute import execute
from course_tools.run.job import Job
from course_tools.run.jobs import run_jobs
from course_tools.run.table import result_table, written_folders

RECORD = """
import json, os
record = {"name": "figure", "value": SEED + 0.5, "contrast": None, "timing": False, "low": 0, "high": 9}
with open(os.environ["COURSE_RECORDS"], "a") as file:
    file.write(json.dumps(record) + "\\n")
"""


def make_job(path, folder, **parameters):
    return Job(path.stem, Notebook(path.stem), path, folder / path.name, parameters)


def waited_for(condition, seconds=300):
    """Return what the condition returns once that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def living(pids):
    """Return those that are at work; who was killed may wait for its parent to notice."""
    return [
        process
        for process in psutil.process_iter(["status"])
        if str(process.pid) in pids.split() and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_a_failing_notebook_is_told_and_does_not_stop_the_others(write_notebook, tmp_path):
    good, bad = (write_notebook("01_good", RECORD), write_notebook("02_bad", "wrong = 1\nwrong / 0", "print('never')"))
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
    assert result_table(again).row_count == 2


def test_what_a_notebook_writes_gets_the_executed_notebook_and_its_page(write_notebook, tmp_path):
    bar = "print(1, end='/2' + chr(13))\nprint(2, chr(8) * 4, 'it has', 'run')"
    writes = f"from pathlib import Path\nPath(OUT).mkdir()\n{bar}"
    path = write_notebook("01_one", writes, parameters=f"SEED = 0\nOUT = {str(tmp_path / 'out')!r}")
    for measuring, files in ((False, ["report.html", "report.ipynb"]), (True, [])):
        job = dataclasses.replace(make_job(path, tmp_path / "build"), measuring=measuring)
        assert run_jobs([job], workers=1, force=True)[0]["status"] == "passed"
        assert sorted(file.name for file in (tmp_path / "out").iterdir()) == files
        if files:
            assert "1/2" not in (tmp_path / "out" / "report.ipynb").read_text()
            page = (tmp_path / "out" / "report.html").read_text()
            assert "it has run" in page and "<script" not in page
            assert "it has run" in (tmp_path / "out" / "report.ipynb").read_text()
        shutil.rmtree(tmp_path / "out")


def test_the_folder_of_a_project_is_named_and_made_again_when_it_is_gone(write_notebook, tmp_path):
    out = tmp_path / "out"
    writes = (
        "from course_utils.data.project_folder import project_folder\n"
        "with project_folder(OUT) as home:\n    (home / 'model_card.md').write_text('mine')"
    )
    job = make_job(write_notebook("01_one", writes, parameters=f"SEED = 0\nOUT = {str(out)!r}"), tmp_path / "build")
    runs = [run_jobs([job], workers=1)[0] for _ in range(2)]
    assert [run["reused"] for run in runs] == [False, True]
    assert written_folders(runs[1:]) == [f"01_one wrote {out}"]
    shutil.rmtree(out)
    assert [run_jobs([job], workers=1, force=force)[0]["reused"] for force in (False, True)] == [False, False]
    assert written_folders(runs[1:]) == [f"01_one wrote {out}; earlier ones are kept: out-1"]
    assert (out / "report.html").exists() and (tmp_path / "out-1" / "report.html").exists()


@pytest.mark.parametrize("home", [None, "a file"])
def test_a_home_that_is_missing_or_takes_no_file_stops_no_run(write_notebook, tmp_path, monkeypatch, home):
    (tmp_path / "a file").touch()
    kept = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "KERAS_HOME")
    for name in ("HOME", *kept):
        monkeypatch.delenv(name, raising=False)
    if home:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    path = write_notebook("01_home", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    result = execute(path, tmp_path / "output.ipynb", {"SEED": 3})
    assert result["status"] == "passed", result["error"]


def test_a_killed_run_leaves_nothing_half_written(write_notebook, tmp_path):
    pid = tmp_path / "pid"
    path = write_notebook("01_slow", BUSY.format(pid=str(pid)))
    folder = tmp_path / "build"
    main = tmp_path / "main.py"
    main.write_text(
        "from pathlib import Path\nfrom course_tools.notebooks import Notebook\n"
        "from course_tools.run.job import Job\nfrom course_tools.run.jobs import run_jobs\n"
        f"path, output = Path({str(path)!r}), Path({str(folder / path.name)!r})\n"
        "run_jobs([Job('slow', Notebook('01_slow'), path, output)], 1)"
    )
    process = subprocess.Popen([sys.executable, main], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family = waited_for(lambda: pid.exists() and pid.read_text())
    assert len(living(family)) == 4
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert waited_for(lambda: not living(family), seconds=30)
    assert not (folder / path.name).exists() and not (folder / "01_slow.json").exists()
    with alone_in(folder, "Another"):  # the lock of the killed run is free, and its rest is swept away
        assert list(folder.glob(".partial-*")) == []


def test_a_notebook_that_kills_its_kernel_fails_alone(write_notebook, tmp_path):
    path = write_notebook("01_dies", "import os; os._exit(3)")
    (result,) = run_jobs([make_job(path, tmp_path / "build")], workers=1)
    assert result["status"] == "failed" and "DeadKernelError" in result["error"]["message"]
    assert "os._exit(3)" in result["error"]["cell"]


# In the first kernel that finds the file named by DIES, Python ends before it is ready.
DIES_ONCE = """
import os, sys
if "ipykernel_launcher" in " ".join(sys.orig_argv) and os.path.exists(os.environ["DIES"]):
    os.unlink(os.environ["DIES"])
    sys.stderr.write("the library is missing\\n")
    os._exit(3)
"""


def test_a_kernel_that_dies_while_starting_is_told_and_the_next_notebook_runs(write_notebook, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DIES_ONCE)
    (tmp_path / "dies").touch()
    monkeypatch.setenv("DIES", str(tmp_path / "dies"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    jobs = [make_job(write_notebook(name, "1 + 1"), tmp_path / "build") for name in ("01_one", "02_two")]
    first, second = run_jobs(jobs, workers=1)
    told, last_words = first["error"]["message"].splitlines()
    assert told.startswith("The kernel did not start (") and told.endswith("); `course doctor` looks at it.")
    assert last_words == "the library is missing" and first["error"]["cell"] == ""
    assert (first["status"], second["status"]) == ("failed", "passed")


# Starts a process, and one that lives on in a session of its own without a parent; notes all; never ends.
BUSY = """
import os, pathlib, subprocess, time
child = subprocess.Popen(["sleep", "600"])
orphan = subprocess.run("setsid sleep 601 >/dev/null 2>&1 & echo $!", shell=True, capture_output=True, text=True).stdout
pathlib.Path({pid!r}).write_text(f"{{os.getppid()}} {{os.getpid()}} {{child.pid}} {{orphan}}")
print("before")
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files, for this process and for those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_notebook_that_never_ends_is_stopped_with_all_that_it_started(write_notebook, tmp_path, temporary):
    pid = tmp_path / "pid"
    result = execute(write_notebook("01_endless", BUSY.format(pid=str(pid))), tmp_path / "output.ipynb", {}, limit=0.05)
    assert result["status"] == "failed" and "setsid sleep" in result["error"]["cell"]
    assert result["error"]["message"].startswith(
        "The notebook was stopped after 0.05 minutes, 0.1 of them in this cell: `course run` allows more"
    )
    assert len(pid.read_text().split()) == 4 and living(pid.read_text()) == []
    assert list(temporary.iterdir()) == []  # nor what the killed kernel would have deleted at its end


def test_what_a_notebook_leaves_running_ends_with_it(write_notebook, tmp_path):
    pid = tmp_path / "pid"
    leaves = BUSY.format(pid=str(pid)).partition("while")[0]
    assert execute(write_notebook("01_leaves", leaves), tmp_path / "output.ipynb", {})["status"] == "passed"
    assert len(pid.read_text().split()) == 4 and living(pid.read_text()) == []


def test_a_killed_runner_is_told(write_notebook, tmp_path):
    kills = write_notebook("01_kills", "import os\nos.kill(os.getppid(), 9)\nimport time; time.sleep(60)")
    result = execute(kills, tmp_path / "output.ipynb", {})
    assert result["error"]["message"].startswith("The process that runs the notebook was killed.")
    assert "os.getppid()" in result["error"]["cell"]


def test_what_is_no_notebook_fails_in_one_sentence(write_notebook, tmp_path):
    path = write_notebook("01_none")
    path.write_text("no notebook")
    (result,) = run_jobs([make_job(path, tmp_path / "build")], workers=1)
    assert result["status"] == "failed" and result["error"]["message"].startswith(
        "NotJSONError: Notebook does not appear"
    )


def test_the_kernel_is_the_present_python_whatever_the_notebook_names(write_notebook, tmp_path):
    path = write_notebook("01_named", "import sys\nprint(sys.executable)")
    path.write_text(path.read_text().replace('"name": "python3"', '"name": "of_another_machine"'))
    assert execute(path, tmp_path / "output.ipynb", {"SEED": 3})["status"] == "passed"
    assert sys.executable in (tmp_path / "output.ipynb").read_text()


def test_the_output_of_a_cell_is_cut(write_notebook, tmp_path):
    prints, shows = "for _ in range(50): print('x' * 99_999, flush=True)", "print('begin')\n'y' * 5_000_000"
    execute(write_notebook("01_prints", prints, shows, "print('z' * 900)"), tmp_path / "output.ipynb", {})
    cells = nbformat.read(tmp_path / "output.ipynb", as_version=4).cells
    texts = ["".join(output.get("text", "data") for output in cell.outputs) for cell in cells]
    told = "The output of this cell was cut after 4,000,000 characters."
    assert [text.count(told) for text in texts] == [0, 1, 1, 0]
    assert 3_900_000 < texts[1].count("x") <= 4_000_000
    assert texts[2].startswith("begin") and texts[3] == "z" * 900 + "\n"
