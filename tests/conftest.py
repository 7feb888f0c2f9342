"""Fixtures shared by the tests."""

import matplotlib
import nbformat
import pytest

matplotlib.use("Agg")


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
