"""The ways to install say the same: conda's file, the README, the lock and pyproject.toml."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from course_utils.settings import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOCKED = re.findall(r"^([\w-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)


def test_conda_brings_a_python_that_the_course_takes_and_pip_the_lock():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    conda = yaml.safe_load(text)
    *plain, by_pip = conda["dependencies"]
    versions = dict(name.partition("=")[::2] for name in plain)
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{versions.pop('python')}.0")
    assert versions == {"pip": "", "git": ""} and by_pip == {"pip": ["-r requirements.lock"]}
    assert f"conda activate {conda['name']}" in text and f"conda activate {conda['name']}" in README


@pytest.mark.parametrize("wanted", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["tools"]])
def test_the_lock_has_every_package_in_its_range(wanted):
    requirement = Requirement(wanted)
    versions = {version for name, version in LOCKED if name == requirement.name}
    assert versions and all(requirement.specifier.contains(version) for version in versions)
