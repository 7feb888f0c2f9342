"""Fixtures shared by the tests."""

import sys

import matplotlib
import nbformat
import pytest

from course_tools import cli, notebooks
from course_tools.build import build, fingerprint, frame
from course_tools.measure import records
from course_utils.data import catalog
from course_utils.evaluation import expectations

matplotlib.use("Agg")

BAND = """
low = 0.8
high = 1.0
mean = 0.9
std = 0.01
contrast = 0.123
contrast_low = 0.1
contrast_high = 0.14
"""
# A package of two loaders; what begins a notebook needs no TensorFlow.
PACKAGE = {
    "__init__.py": "",
    "errors.py": "class CourseError(ValueError): pass\n",
    "notebook.py": """
def begin(notebook, profile, seed):
    return lambda name, value, contrast: print(f"{name} {value}")
""",
    "data/__init__.py": """
from course_utils.data.digits import load_digits
from course_utils.data.words import load_words
""",
    "data/digits.py": 'from course_utils.errors import CourseError\nASSET = "digits"\ndef load_digits(): return 1\n',
    "data/words.py": 'ASSET = "words"\ndef load_words(): return 2\n',
}
SOURCE = """\
# ---
# jupyter:
#   course:
#     title: A title
#     question: Does it work?
#     goals: [see it]
#     prerequisites: [none]
#     recap: ["It reached {{accuracy.mean:.2f}}."]
#     references: [someone2020]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0

# %% [markdown]
# The right way gives {{accuracy.mean:.2f}} ± {{accuracy.half_width:.3f}}, the wrong one {{ accuracy.contrast }}.

# %% tags=["nbval-check-output"]
from course_utils.data import load_digits

print(load_digits())

# %% tags=["fold"]
# The machinery
several = 1

# %% tags=["solution"]
1 + 1

# %% [markdown] tags=["solution"]
# It was two.

# %% tags=["headline"]
expect("accuracy", 0.9, contrast=0.1)
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course in a folder of its own: lesson 01, its experiment, experiment 02, a package of two loaders."""
    for module in (notebooks, frame, fingerprint):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(build, "BUILD", tmp_path / "build")
    monkeypatch.setattr(records, "SECONDS_PATH", tmp_path / "data" / "seconds.toml")
    monkeypatch.setattr(catalog, "CATALOG_PATH", tmp_path / "data" / "catalog.toml")
    monkeypatch.setattr(expectations, "BANDS_PATH", tmp_path / "bands.toml")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for kernels
    catalog.load_catalog.cache_clear()
    asset = 'kind = "data"\ntitle = "T"\nabout = "A"\nlicence = "L"\ncitation = "C"\nmember_sha256 = "1"\n'
    sources = {name: SOURCE for name in ("01_trial", "experiments/01_trial")}
    sources["experiments/02_other"] = SOURCE.replace("load_digits", "load_words")
    files = {f"notebooks/source/{name}.py": text for name, text in sources.items()}
    files |= {f"course_utils/{name}": text for name, text in PACKAGE.items()}
    files |= {"course_tools/cli.py": "", "requirements.lock": "numpy==2.0\n"}
    files["data/catalog.toml"] = f"[digits]\n{asset}[words]\n{asset}"
    files["data/references.toml"] = (
        '[someone2020]\ntext = "Someone (2020). A paper."\nurl = "https://www.example.org/a"\n'
    )
    files["data/seconds.toml"] = "[01_trial]\ndefault = 65.2\n"
    files["bands.toml"] = "".join(
        f'["{name}".default]\nseeds = [0, 1, 2, 3, 4]\n["{name}".default.bands.accuracy]{BAND}' for name in sources
    )
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    yield tmp_path
    catalog.load_catalog.cache_clear()


@pytest.fixture
def edit(course):
    """Return a function that changes a text of the small course."""

    def change(name, before, after):
        path = course / name
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")
        catalog.load_catalog.cache_clear()

    return change


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that runs the command line in this process; it returns the exit code and what was printed."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["course", *words])
        monkeypatch.setattr(cli.console, "width", 120)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def write_notebook(tmp_path):
    """Return a function that writes a small notebook from the sources of its code cells."""

    def write(name, *sources, parameters="SEED = 0"):
        cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
        return path

    return write
