"""The preprocessing of `keras.applications` as a layer, so that a model carries its own."""

import keras

from course_utils.errors import CourseError


@keras.saving.register_keras_serializable(package="course_utils")
class ApplicationPreprocessing(keras.layers.Layer):
    """Apply the ``preprocess_input`` of a module of `keras.applications` to raw pixels 0-255.

    Parameters
    ----------
    module : str
        Name of the module, such as ``"resnet50"`` or ``"mobilenet_v2"``.
    """

    def __init__(self, module: str, **kwargs):
        super().__init__(**kwargs)
        self.module = module
        if not hasattr(getattr(keras.applications, module, None), "preprocess_input"):
            raise CourseError(f"keras.applications.{module} has no preprocess_input: give a module such as 'resnet50'.")

    def call(self, pixels):
        return getattr(keras.applications, self.module).preprocess_input(pixels)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        return super().get_config() | {"module": self.module}
