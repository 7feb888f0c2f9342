"""Read the weights of a PyTorch checkpoint without PyTorch, and without trusting the file."""

import math
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from course_utils.errors import CourseError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

# Plain strings stand for the storage classes: a hostile pickle can neither call nor change them.
STORAGE_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class TensorView(NamedTuple):
    """A tensor as the pickle tells it: a strided view into a block of raw values, apart from the pickles."""

    key: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, requires_grad=False, hooks=None):
    return TensorView(*storage, offset, shape, strides)


class WhitelistUnpickler(pickle.Unpickler):
    """Unpickler that knows ordered dictionaries and tensors, and refuses every other global."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        raise CourseError(
            f"The checkpoint asks for {module}.{name}, which may run code: accepted are plain tensors in a dictionary."
        )

    def persistent_load(self, identifier: tuple) -> tuple[str, str]:
        kind, dtype, key, _, _, *view = identifier  # the zip format knows no views of storages
        if kind != "storage" or dtype not in STORAGE_TYPES.values() or view not in ([], [None]):
            raise ValueError("an unknown kind of storage")
        return str(key), dtype


def read_torch_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Read a PyTorch state dictionary, saved in the zip format or in the legacy one before it.

    A zip file holds the dictionary as ``data.pkl`` and the raw values as ``data/KEY``, uncompressed. A legacy file
    is a sequence of five pickles (magic number, protocol version, system information, state dictionary, list of
    storage keys), then for each key an 8-byte count and the raw values. Only dictionaries and tensors are unpickled.

    Parameters
    ----------
    path : str or Path
        The checkpoint, usually ``.pth`` or ``.pt``.

    Returns
    -------
    dict of str to ndarray
        The tensors by their PyTorch names, in the order of the file, equal bit by bit.

    Raises
    ------
    CourseError
        If the file is missing, of another format, truncated, or asks for anything but tensors.

    References
    ----------
    PyTorch, "Serialization semantics", https://docs.pytorch.org/docs/stable/notes/serialization.html
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            read = _read_zip if file.read(2) == b"PK" else _read_legacy
            file.seek(0)
            return read(file)
    except CourseError:
        raise
    # Damaged bytes can make the unpickler fail in any way: all of them mean the same to the caller.
    except Exception as error:
        raise CourseError(f"{path.name} is no whole PyTorch checkpoint: {error or type(error).__name__}.") from error


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise ValueError("it is compressed")  # else a small file might announce any size
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise ValueError("its values are big-endian")
        views = _checked(WhitelistUnpickler(archive.open(entries["data.pkl"]), encoding="utf-8").load())
        storages = {view.key: archive.read(entries[f"data/{view.key}"]) for view in views.values()}
    return {name: _materialise(view, storages[view.key]) for name, view in views.items()}


def _read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    magic, protocol, system, views, keys = (WhitelistUnpickler(file, encoding="utf-8").load() for _ in range(5))
    if magic != MAGIC_NUMBER or protocol != PROTOCOL_VERSION:
        raise ValueError("the magic number or the protocol version is another one")
    if not system["little_endian"]:
        raise ValueError("its values are big-endian")
    dtypes, storages = {view.key: view.dtype for view in _checked(views).values()}, {}
    for key in map(str, keys):
        size = int.from_bytes(file.read(8), "little") * np.dtype(dtypes[key]).itemsize
        if size > os.fstat(file.fileno()).st_size - file.tell():
            raise ValueError(f"storage {key} is cut short")
        storages[key] = file.read(size)
    if file.read(1):
        raise ValueError("something follows its last storage")
    return {name: _materialise(view, storages[view.key]) for name, view in views.items()}


def _checked(state: object) -> dict[str, TensorView]:
    if not isinstance(state, dict) or not all(isinstance(view, TensorView) for view in state.values()):
        raise ValueError("it holds something else than a flat dictionary of tensors")
    return state


def _materialise(view: TensorView, values: bytes) -> np.ndarray:
    """Copy one strided view out of its storage; NumPy refuses what would reach beyond it."""
    item = np.dtype(view.dtype).itemsize
    if math.prod(view.shape) * item > len(values):
        raise ValueError(f"a tensor of shape {view.shape} is larger than its storage")
    strides = [stride * item for stride in view.strides]
    return np.ndarray(view.shape, view.dtype, values, view.offset * item, strides).copy()
