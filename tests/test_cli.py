"""The command line on odd consoles, and how soon it refuses."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib

import pytest

from course_utils.settings import ROOT

COURSE = [sys.executable, "-m", "course_tools.cli"]


@pytest.mark.parametrize("settings", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_console_without_dashes_shows_the_table(settings):
    finished = subprocess.run([*COURSE, "list"], env=os.environ | settings, capture_output=True, text=True)
    assert finished.returncode == 0 and "Traceback" not in finished.stderr
    assert "02_feature_extraction" in finished.stdout


def test_a_wrong_parameter_is_told_before_anything_large_is_imported():
    """Seconds are not measured: a loaded machine has others."""
    code = (
        "import sys; sys.argv[1:] = ['run', '02', '-p', 'NOPE', '1']\n"
        "from course_tools.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in ('papermill', 'nbformat', 'sklearn', 'keras') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "no parameter 'NOPE'" in finished.stderr and finished.stdout.strip() == "[]"


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
