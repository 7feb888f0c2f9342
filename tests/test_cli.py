"""The command line on odd consoles, and how soon it refuses."""

import os
import subprocess
import sys

import pytest

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
