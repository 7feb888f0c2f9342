"""The command line: on odd consoles, how soon it refuses, how it ends."""

import errno
import importlib.metadata
import os
import subprocess
import sys
import tomllib

import pytest
import typer

from course_tools import cli, notebooks
from course_tools.notebooks import Notebook
from course_utils.settings import ROOT

PATH = Notebook.path.fget
COURSE = [sys.executable, "-m", "course_tools.cli"]


@pytest.mark.parametrize("settings", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_console_without_dashes_shows_the_table(settings):
    finished = subprocess.run([*COURSE, "list"], env=os.environ | settings, capture_output=True, text=True)
    assert finished.returncode == 0 and "Traceback" not in finished.stderr
    assert "02_feature_extraction" in finished.stdout


@pytest.mark.parametrize(
    ("words", "sentence"), [(["77"], "There is no notebook '77'"), (["02", "-p", "NOPE", "1"], "no parameter 'NOPE'")]
)
def test_bad_input_is_told_in_one_line_before_anything_large_is_imported(words, sentence):
    """Seconds are not measured: a loaded machine has others."""
    code = (
        "import sys; from course_tools.cli import main\n"
        "try: main()\n"
        "finally: print({'papermill', 'nbformat', 'distributed', 'sklearn', 'keras'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code, "run", *words]
    finished = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
    assert finished.returncode == 2 and finished.stdout == "set()\n"
    assert finished.stderr.strip().count("\n") == 0 and sentence in finished.stderr


class InterruptedImport:
    """A finder during which Ctrl-C comes, once the command line is looked for."""

    def find_spec(self, name, path=None, target=None):
        if name == "course_tools.cli":
            raise KeyboardInterrupt


def test_ctrl_c_during_the_import_ends_in_one_word(monkeypatch, capsys):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    begin = importlib.metadata.EntryPoint("course", scripts["course"], "console_scripts").load()
    monkeypatch.delitem(sys.modules, "course_tools.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [InterruptedImport(), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        begin()
    assert end.value.code == 130 and capsys.readouterr().err == "Interrupted.\n"


def test_what_is_before_that_import_is_little():
    code = "import sys, course_tools.entry; print({'course_tools.cli', 'typer', 'rich', 'numpy'} & {*sys.modules})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.stdout.strip() == "set()", finished.stderr


def test_a_damaged_notebook_is_told_and_its_neighbours_run(monkeypatch, tmp_path, capsys):
    """The runs are left out: what matters is which notebooks are handed to them."""
    handed = []
    lesson = notebooks.select_notebooks(["02"])[0]
    empty = Notebook("98_empty")
    monkeypatch.setattr(Notebook, "path", property(lambda self: tmp_path / "98.ipynb" if self == empty else PATH(self)))
    (tmp_path / "98.ipynb").touch()
    monkeypatch.setattr(cli, "select_notebooks", lambda *_: [lesson, empty])
    monkeypatch.setattr(cli, "_executed", lambda jobs, *_: (handed.extend(jobs) or [], 0))
    with pytest.raises(typer.Exit) as ended:
        cli.run(parameter=None)
    assert ended.value.exit_code == 1 and [job.notebook for job in handed] == [lesson]
    assert "98.ipynb is no notebook that can be read" in capsys.readouterr().out


def test_a_program_called_may_end_by_itself_after_ctrl_c():
    code = "import os, signal, sys, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(1); sys.exit(7)"
    assert cli._call([sys.executable, "-c", code]) == 7


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


def test_ctrl_c_ends_in_one_sentence(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    only = typer.Typer()
    only.command()(interrupted)
    monkeypatch.setattr(cli, "app", lambda: only([]))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = "Interrupted: what is finished is kept, and the same command goes on from there."
    assert ended.value.code == 130 and " ".join(capsys.readouterr().err.split()) == told
