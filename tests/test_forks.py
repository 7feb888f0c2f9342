"""What a fork uses outside the notebooks: workflows, the container for development, the citation."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from course_utils.settings import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# actionlint's wheel is locked for Linux on x86-64 only.
ACTIONLINT = shutil.which("actionlint", path=Path(sys.executable).parent) or shutil.which("actionlint")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_sound(path):
    if ACTIONLINT:
        done = subprocess.run([ACTIONLINT, "-shellcheck=", "-pyflakes=", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    workflow = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # where `on` is no truth value
    assert set(workflow) <= {"name", "on", "permissions", "concurrency", "jobs"}
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert int(job["timeout-minutes"]) and all("uses" in step or "run" in step for step in job["steps"])


def test_workflows_call_the_makefile():
    steps = {path.stem: path.read_text(encoding="utf-8") for path in WORKFLOWS}
    assert "run: make test PYTHON" in steps["test"]
    assert "run: make test-all" in steps["nightly"] and "run: make course" in steps["nightly"]
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in "course experiments site slides test test-all lab mutants faults bench lock".split():
        assert f"\n{target}:" in targets, f"the Makefile lacks {target}"
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"


def test_container_and_citation_are_readable():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert "make .venv/ready" in container["postCreateCommand"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
