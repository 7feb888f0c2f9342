import io
import pickle
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from course_utils.errors import CourseError
from course_utils.models.checkpoint import MAGIC_NUMBER, PROTOCOL_VERSION, read_torch_checkpoint

TORCH_TYPES = {"float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "bool": "BoolStorage"}
TORCH_TYPES |= {"int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage"}
TORCH_TYPES |= {"uint8": "ByteStorage"}


class Global:
    """Pickled as a global name, as PyTorch's classes are."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Tensor:
    def __init__(self, key, array, offset=0, shape=None, strides=None):
        self.key, self.array, self.offset = key, array, offset
        self.shape = array.shape if shape is None else shape
        self.strides = tuple(s // array.itemsize for s in array.strides) if strides is None else strides


class Storage:
    def __init__(self, tensor):
        kind = Global("torch", TORCH_TYPES[tensor.array.dtype.name])
        self.identifier = ("storage", kind, tensor.key, "cpu", tensor.array.size, None)


class OfPython2(bytes):
    """Pickled as a string of Python 2: bytes without a word of their letters."""


class LegacyPickler(pickle._Pickler):
    """Writes the globals and storages of PyTorch without PyTorch."""

    def persistent_id(self, item):
        return item.identifier if isinstance(item, Storage) else None

    def save(self, item, save_persistent_id=True):
        if isinstance(item, Global):
            self.write(b"c" + f"{item.module}\n{item.name}\n".encode())
        elif isinstance(item, Tensor):
            arguments = (Storage(item), item.offset, tuple(item.shape), tuple(item.strides), False, OrderedDict())
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.save(arguments)
            self.write(pickle.REDUCE)
        elif isinstance(item, OfPython2):
            self.write(pickle.SHORT_BINSTRING + bytes([len(item)]) + item)
        else:
            super().save(item, save_persistent_id)


def write_checkpoint(path, state, magic=MAGIC_NUMBER, little_endian=True):
    tensors = {item.key: item for item in state.values() if isinstance(item, Tensor)}
    with path.open("wb") as file:
        for item in (magic, PROTOCOL_VERSION, {"little_endian": little_endian}, state, sorted(tensors)):
            LegacyPickler(file, 2).dump(item)
        for key in sorted(tensors):
            array = tensors[key].array
            file.write(array.size.to_bytes(8, "little") + array.tobytes())
    return path


@pytest.fixture
def arrays():
    draw = np.random.default_rng(0).normal
    return {
        "weight": draw(size=(4, 3, 2, 2)).astype(np.float32),
        "half": draw(size=5).astype(np.float16),
        "steps": np.array(7, np.int64),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
    }


def test_reads_every_tensor_bit_equal(tmp_path, arrays):
    state = OrderedDict((name, Tensor(str(i), array)) for i, (name, array) in enumerate(arrays.items()))
    read = read_torch_checkpoint(write_checkpoint(tmp_path / "net.pth", state))
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", TORCH_TYPES)
def test_reads_each_kind_of_number(tmp_path, kind):
    array = np.array([0, 1, 100]).astype(kind)
    (read,) = read_torch_checkpoint(write_checkpoint(tmp_path / "net.pth", {"x": Tensor("0", array)})).values()
    assert read.dtype == kind and read.tolist() == array.tolist()


def test_reads_views_of_one_storage(tmp_path):
    values = np.arange(12, dtype=np.float32)
    state = OrderedDict(
        transposed=Tensor("0", values, shape=(4, 3), strides=(1, 4)),
        tail=Tensor("0", values, offset=10, shape=(2,), strides=(1,)),
    )
    read = read_torch_checkpoint(write_checkpoint(tmp_path / "net.pth", state))
    np.testing.assert_array_equal(read["transposed"], values.reshape(3, 4).T)
    np.testing.assert_array_equal(read["tail"], [10, 11])


@pytest.mark.parametrize("module, name", [("os", "system"), ("builtins", "eval"), ("torch", "load")])
def test_hostile_pickle_is_refused_and_does_not_run(tmp_path, module, name):
    proof = tmp_path / "ran"
    argument = f"{sys.executable} -c \"open(r'{proof}', 'w')\"" if name == "system" else f"open(r'{proof}', 'w')"
    path = tmp_path / "net.pth"
    with path.open("wb") as file:
        for item in (MAGIC_NUMBER, PROTOCOL_VERSION, {"little_endian": True}):
            pickle.dump(item, file, 2)
        file.write(b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(X")
        file.write(len(argument).to_bytes(4, "little") + argument.encode() + b"tR.")
    with pytest.raises(CourseError, match=f"asks for {module}.{name}"):
        read_torch_checkpoint(path)
    assert not proof.exists()


@pytest.mark.parametrize("keep", [0, 3, 40, 0.5, 0.99])
def test_truncated_file_is_refused(tmp_path, arrays, keep):
    path = write_checkpoint(tmp_path / "net.pth", OrderedDict(weight=Tensor("0", arrays["weight"])))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(CourseError, match="no whole PyTorch checkpoint"):
        read_torch_checkpoint(path)


def write_zip(path, state, byteorder=b"little", compression=zipfile.ZIP_STORED):
    pickled = io.BytesIO()
    LegacyPickler(pickled, 2).dump(state)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("net/data.pkl", pickled.getvalue())
        file.writestr("net/byteorder", byteorder)
        for tensor in state.values():
            if isinstance(tensor, Tensor):
                file.writestr(f"net/data/{tensor.key}", tensor.array.tobytes())
    return path


def test_zip_format_is_read_bit_equal(tmp_path, arrays):
    values = np.arange(12, dtype=np.float32)
    state = OrderedDict((name, Tensor(str(i), array)) for i, (name, array) in enumerate(arrays.items()))
    state["transposed"] = Tensor("9", values, shape=(4, 3), strides=(1, 4))
    read = read_torch_checkpoint(write_zip(tmp_path / "net.pt", state))
    assert list(read) == list(state)
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()
    np.testing.assert_array_equal(read["transposed"], values.reshape(3, 4).T)


@pytest.mark.parametrize("kind", ["legacy", "zip"])
def test_names_that_python_2_wrote_are_read_as_utf_8(tmp_path, kind):
    state = OrderedDict({OfPython2("größe.weight".encode()): Tensor("0", np.arange(3, dtype=np.float32))})
    write = write_checkpoint if kind == "legacy" else write_zip
    read = read_torch_checkpoint(write(tmp_path / "net.pth", state))
    assert {name: array.tolist() for name, array in read.items()} == {"größe.weight": [0, 1, 2]}


def test_bad_zip_files_are_refused(tmp_path):
    tensor, path = Tensor("0", np.arange(12, dtype=np.float32)), tmp_path / "net.pt"
    for state, options, message in [
        ({"x": tensor}, {"byteorder": b"big"}, "big-endian"),
        ({"x": tensor}, {"compression": zipfile.ZIP_DEFLATED}, "is compressed"),
        ({"x": Tensor("0", tensor.array, shape=(13,))}, {}, "larger than its storage"),
        ({"x": tensor, "epoch": 3}, {}, "flat dictionary"),
    ]:
        with pytest.raises(CourseError, match=message):
            read_torch_checkpoint(write_zip(path, OrderedDict(state), **options))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", b"\x80\x02cos\nsystem\n(X\x01\x00\x00\x00atR.")
    with pytest.raises(CourseError, match="asks for os.system"):
        read_torch_checkpoint(path)
    path.write_bytes(write_zip(path, OrderedDict(x=tensor)).read_bytes()[:-40])
    with pytest.raises(CourseError, match="no whole PyTorch checkpoint"):
        read_torch_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (10**9, 10**9), "strides": (0, 0)},
        {"shape": (13,), "strides": (1,)},
        {"shape": (12,), "strides": (2,)},
        {"shape": (2,), "strides": (-1,)},
        {"offset": 5},
        {"offset": -1},
    ],
)
def test_impossible_views_are_refused(tmp_path, change):
    tensor = Tensor("0", np.arange(12, dtype=np.float32), **change)
    with pytest.raises(CourseError, match="no whole PyTorch checkpoint"):
        read_torch_checkpoint(write_checkpoint(tmp_path / "net.pth", OrderedDict(x=tensor)))


def test_impossible_sizes_are_refused_before_memory_is_taken(tmp_path, arrays):
    path = write_checkpoint(tmp_path / "net.pth", OrderedDict(weight=Tensor("0", arrays["weight"])))
    values = arrays["weight"].tobytes()
    path.write_bytes(path.read_bytes()[: -len(values) - 8] + (10**15).to_bytes(8, "little") + values)
    with pytest.raises(CourseError, match="storage 0 is cut short"):
        read_torch_checkpoint(path)


def test_other_contents_are_refused(tmp_path, arrays):
    tensor = Tensor("0", arrays["weight"])
    for options, message in [
        ({"state": OrderedDict(x=tensor), "magic": 1}, "magic number"),
        ({"state": OrderedDict(x=tensor), "little_endian": False}, "big-endian"),
        ({"state": OrderedDict(x=tensor, epoch=3)}, "flat dictionary"),
    ]:
        with pytest.raises(CourseError, match=message):
            read_torch_checkpoint(write_checkpoint(tmp_path / "net.pth", **options))
    with pytest.raises(CourseError, match="No such file"):
        read_torch_checkpoint(tmp_path / "absent.pth")
