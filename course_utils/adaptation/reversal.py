"""Gradient reversal: the identity on the way forward, minus λ times the gradient on the way back."""

from numbers import Real

import keras
import numpy as np
from keras import ops

from course_utils.errors import CourseError


@keras.saving.register_keras_serializable("course_utils")
class GradientReversal(keras.layers.Layer):
    """Pass values on unchanged and gradients times -λ.

    The layer computes x + (1 + λ) (stop(x) - x), where stop(x) has the value of x and no gradient. The bracket
    is zero, so the value is x; the derivative is 1 - (1 + λ) = -λ. This needs no custom gradient and
    works on every Keras backend.

    Parameters
    ----------
    strength : float
        λ at the start; `RampUp` assigns to the variable ``strength`` during training.

    References
    ----------
    Ganin & Lempitsky (2015), https://proceedings.mlr.press/v37/ganin15.html
    """

    def __init__(self, strength: float = 1.0, **kwargs):
        if not (isinstance(strength, Real) and np.isfinite(strength)):
            raise CourseError(f"strength={strength!r} is impossible: give a finite number.")
        super().__init__(**kwargs)
        self.strength = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(strength), trainable=False, name="strength"
        )

    def call(self, x):
        return x + (1.0 + self.strength) * (ops.stop_gradient(x) - x)

    def get_config(self):
        return {**super().get_config(), "strength": float(self.strength)}
