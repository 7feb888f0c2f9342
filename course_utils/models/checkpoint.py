"""Read the weights of a PyTorch checkpoint without PyTorch, and without trusting the file."""

import math
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from course_utils.errors import CourseError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
ZIP_SIGNATURE = b"PK\x03\x04"
COUNT_BYTES = 8

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


class Storage(NamedTuple):
    """A block of raw values, written after the pickles."""

    key: str
    dtype: str
    count: int


class TensorView(NamedTuple):
    """A tensor as the pickle tells it: a strided view into one storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, requires_grad=False, hooks=None):
    return TensorView(storage, offset, shape, strides)


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

    def persistent_load(self, identifier: tuple) -> Storage:
        kind, dtype, key, _, count, view = identifier
        if kind != "storage" or dtype not in STORAGE_TYPES.values() or view is not None:
            raise ValueError("an unknown kind of storage")
        return Storage(str(key), dtype, count)


def read_torch_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Read a PyTorch state dictionary saved in the legacy (pre-zip) format.

    The file is a sequence of five pickles (magic number, protocol version, system information, state
    dictionary, list of storage keys), then for each key an 8-byte count and the raw values. Only
    dictionaries and tensors are unpickled, and the size of every tensor is checked against the length of
    the file before memory is taken for it.

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
    if not path.is_file():
        raise CourseError(f"{path} is no file: a PyTorch checkpoint is expected.")
    with path.open("rb") as file:
        if file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE:
            raise CourseError(
                f"{path.name} has PyTorch's zip format: only the legacy format is read "
                "(torch.save with _use_new_zipfile_serialization=False)."
            )
        file.seek(0)
        try:
            views, keys = _read_pickles(file)
            storages = _read_storages(file, views, keys)
            return {name: _materialise(view, storages) for name, view in views.items()}
        except CourseError:
            raise
        # Damaged bytes can make the unpickler fail in any way: all of them mean the same to the caller.
        except Exception as error:
            raise CourseError(
                f"{path.name} is no whole PyTorch checkpoint in the legacy format: {error or type(error).__name__}."
            ) from error


def _read_pickles(file: BinaryIO) -> tuple[dict[str, TensorView], list[str]]:
    """Read the five pickles; return the tensors by name and the keys of the storages in file order."""
    magic, protocol, system, state, keys = (WhitelistUnpickler(file, encoding="utf-8").load() for _ in range(5))
    if magic != MAGIC_NUMBER or protocol != PROTOCOL_VERSION:
        raise ValueError("the magic number or the protocol version is another one")
    if not system["little_endian"]:
        raise ValueError("its values are big-endian")
    if not isinstance(state, dict) or not all(isinstance(view, TensorView) for view in state.values()):
        raise ValueError("it holds something else than a flat dictionary of tensors")
    return dict(state), [str(key) for key in keys]


def _read_storages(file: BinaryIO, views: dict[str, TensorView], keys: list[str]) -> dict[str, np.ndarray]:
    """Read the raw values of every storage after checking all sizes against the bytes that are left."""
    declared = {view.storage.key: view.storage for view in views.values()}
    if len(keys) != len(declared) or set(keys) != set(declared):
        raise ValueError("the listed storages are not those of its tensors")
    if any(type(storage.count) is not int or storage.count < 0 for storage in declared.values()):
        raise ValueError("a storage has an impossible size")
    expected = sum(COUNT_BYTES + np.dtype(s.dtype).itemsize * s.count for s in declared.values())
    left = os.fstat(file.fileno()).st_size - file.tell()
    if left != expected:
        raise ValueError(f"{expected:,} bytes of values are announced and {left:,} are there")
    storages = {}
    for key in keys:
        _, dtype, count = declared[key]
        if int.from_bytes(file.read(COUNT_BYTES), "little", signed=True) != count:
            raise ValueError(f"storage {key} has another size than announced")
        storages[key] = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)
    return storages


def _materialise(view: TensorView, storages: dict[str, np.ndarray]) -> np.ndarray:
    """Copy one strided view out of its storage."""
    values, shape, strides = storages[view.storage.key], view.shape, view.strides
    if view.storage.count != len(values) or np.dtype(view.storage.dtype) != values.dtype:
        raise ValueError(f"storage {view.storage.key} is described in two ways")
    if len(shape) != len(strides) or min((view.offset, *shape, *strides)) < 0 or math.prod(shape) > len(values):
        raise ValueError(f"a tensor has an impossible shape {shape} or strides {strides}")
    last = view.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=False))
    if math.prod(shape) and last >= len(values):
        raise ValueError(f"a tensor of shape {shape} reaches beyond its storage")
    steps = [stride * values.itemsize for stride in strides]
    # An empty tensor has no first element to point at.
    start = values[view.offset :] if math.prod(shape) else values
    return np.lib.stride_tricks.as_strided(start, shape, steps).copy()
