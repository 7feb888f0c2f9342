"""Weights that Keras downloads, through its own loading path: a small file server on this machine serves made files.

The loading happens in a process of its own, for Keras decides at its import where downloaded files are kept.
"""

import functools
import json
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import keras
import numpy as np
import pytest

LOADER = """
import json, sys
import numpy as np
from keras.src.applications import mobilenet_v2, mobilenet_v3
from course_utils.errors import CourseError
from course_utils.zoo import load_backbone

mobilenet_v2.BASE_WEIGHT_PATH = mobilenet_v3.BASE_WEIGHT_PATH = sys.argv[1]
pixels = np.linspace(0, 255, 96 * 96 * 3, dtype="float32").reshape(1, 96, 96, 3)
told = []
for name, size in json.loads(sys.argv[2]):
    try:
        told.append(np.array(load_backbone(name, input_size=size)(pixels)).tolist())
    except CourseError as error:
        told.append(str(error))
print("\\n" + json.dumps(told))
"""
FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{}_no_top.h5"


class Requests(SimpleHTTPRequestHandler):
    """Serves a folder, remembers what was asked for, and breaks off in the middle of one file."""

    def send_head(self):
        self.server.asked.append(self.path.strip("/"))
        return super().send_head()

    def copyfile(self, source, outputfile):
        data = source.read()
        outputfile.write(data[: len(data) // 2] if "_160_" in self.path else data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Requests, directory=folder)) as server:
        server.asked, server.folder = [], folder
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def made_network():
    """A MobileNetV2 of Keras with other weights than a fresh one, also in its BatchNormalization."""
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(96, 96, 3), pooling="avg")
    random = np.random.default_rng(0)
    network.set_weights([w + random.uniform(0, 0.02, w.shape) for w in network.get_weights()])
    return network


def test_made_weights_arrive_through_the_download_of_keras(server, tmp_path):
    network = made_network()
    network.save(server.folder / FILE.format(96))
    (server.folder / FILE.format(160)).write_bytes((server.folder / FILE.format(96)).read_bytes())
    (server.folder / FILE.format(192)).write_text("<html>Please log in to this network.</html>")
    (server.folder / "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5").write_bytes(b"not what Keras knows")
    wanted = [("MobileNetV2", size) for size in (96, 96, 128, 160, 192)] + [("MobileNetV3Small", 96)]
    finished = subprocess.run(
        [sys.executable, "-c", LOADER, f"http://127.0.0.1:{server.server_port}/", json.dumps(wanted)],
        env=os.environ | {"KERAS_HOME": str(tmp_path / "keras"), "no_proxy": "127.0.0.1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-2000:]
    first, again, *refused = json.loads(finished.stdout.splitlines()[-1])

    pixels = np.linspace(0, 255, 96 * 96 * 3, dtype="float32").reshape(1, 96, 96, 3)
    expected = network(keras.applications.mobilenet_v2.preprocess_input(pixels.copy()))
    np.testing.assert_allclose(first, np.array(expected), rtol=1e-4, atol=1e-5)
    assert again == first and server.asked.count(FILE.format(96)) == 1  # the second time from the cache
    kept = str(tmp_path / "keras" / "models")
    for (name, _), sentence in zip(wanted[2:], refused, strict=True):  # missing, broken off, no weights, other weights
        assert f"The weights of {name} could not be downloaded or read" in sentence and kept in sentence
    assert not (tmp_path / "keras" / "models" / FILE.format(160)).exists()
