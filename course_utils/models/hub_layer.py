"""A SavedModel of TensorFlow Hub, text or image, as a layer of Keras 3."""

import inspect
import warnings
from contextlib import suppress
from pathlib import Path

import keras
import tensorflow as tf

from course_utils.errors import CourseError


@keras.saving.register_keras_serializable("course_utils")
class HubLayer(keras.layers.Layer):
    """Run a SavedModel; its variables are the layer's weights, and so are trained, counted and saved.

    A ``.keras`` file keeps the weights and the handle: to be loaded, it needs the SavedModel where it was.
    A SavedModel is a program: take handles only from those whom you trust.

    Parameters
    ----------
    handle : str or Path
        A folder that holds a SavedModel, or the address of one on TensorFlow Hub.
    output_key : str or None
        Which output to take where there are several, such as ``"pooled_output"``; None gives what the
        SavedModel gives, perhaps a dictionary.
    trainable : bool
        Whether the variables that its author left trainable train here. A frozen one also runs in its
        inference mode, as BatchNormalization does.
    **kwargs
        ``name`` and ``dtype`` of a Keras layer; the SavedModel computes in its own dtype.

    Raises
    ------
    CourseError
        If nothing can be loaded from there, it cannot be called, has no such output, or should train and
        has nothing to train.

    References
    ----------
    The interface: https://www.tensorflow.org/hub/reusable_saved_models
    """

    def __init__(self, handle: str | Path, output_key: str | None = None, trainable: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.handle, self.output_key = str(handle), output_key
        self.saved_model = load_saved_model(self.handle)
        check_output(self.saved_model, self.output_key, self.handle)
        trained = {id(variable) for variable in getattr(self.saved_model, "trainable_variables", [])}
        if trainable and not trained:
            raise CourseError(f"{self.handle} lists no trainable variables: accepted is trainable=False.")
        # Keras sees only variables of its own. These share their memory with those of the SavedModel.
        self.tracked = [
            keras.Variable(
                v, dtype=v.dtype.name, trainable=id(v) in trained, name=v.name.replace("/", "_").split(":")[0]
            )
            for v in getattr(self.saved_model, "variables", [])
        ]
        self.trainable = trainable  # after the variables are there: a model asks them, not the layer
        self.supports_jit = False  # XLA, the default on GPUs, knows no strings
        self.built = True

    def call(self, inputs, training=None):
        saved_model, training = self.saved_model, bool(training and self.trainable)
        takes_mode = "training" in inspect.signature(saved_model.__call__).parameters
        outputs = saved_model(inputs, training=training) if takes_mode else saved_model(inputs)
        if self.trainable:
            for penalty in getattr(saved_model, "regularization_losses", []):
                self.add_loss(penalty())
        return outputs if self.output_key is None else outputs[self.output_key]

    def get_config(self):
        return super().get_config() | {"handle": self.handle, "output_key": self.output_key}


def load_saved_model(handle: str) -> tf.Module:
    """Load a SavedModel that can be called, from a folder or an address; see `HubLayer`."""
    accepted = "accepted are a folder with a SavedModel (saved_model.pb, variables) and the address of one"
    is_address = "://" in handle
    if not is_address and not tf.saved_model.contains_saved_model(handle):
        raise CourseError(f"There is no SavedModel in {handle}: {accepted}.")
    with suppress(ImportError):
        import tensorflow_text  # noqa: F401  registers the operations of text models
    try:
        saved_model = _load_address(handle) if is_address else tf.saved_model.load(handle)
    except (ImportError, OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0].strip(" .")
        raise CourseError(f"Nothing could be loaded from {handle} ({reason}): {accepted}.") from error
    if not callable(saved_model):
        raise CourseError(
            f"The SavedModel in {handle} cannot be called: accepted are those in the TF2 format of TensorFlow "
            "Hub. keras.layers.TFSMLayer takes what model.export() wrote."
        )
    return saved_model


def check_output(saved_model: tf.Module, output_key: str | None, handle: str) -> None:
    """Raise an error that lists the outputs if `output_key` is none of them."""
    outputs = saved_model.__call__.concrete_functions[0].structured_outputs
    accepted = [*sorted(outputs), None] if isinstance(outputs, dict) else [None]
    if output_key not in accepted:
        listed = ", ".join(map(repr, accepted))
        raise CourseError(f"{handle} has no output {output_key!r}: accepted for output_key are {listed}.")


def _load_address(handle: str) -> tf.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it still asks for pkg_resources, which setuptools < 81 have
        import tensorflow_hub
    return tensorflow_hub.load(handle)
