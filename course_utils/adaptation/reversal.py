"""Gradient reversal: the identity on the way forward, minus λ times the gradient on the way back."""

import keras
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
        λ at the start; `ReversalSchedule` assigns to the variable ``strength`` during training.

    References
    ----------
    Ganin & Lempitsky (2015), https://proceedings.mlr.press/v37/ganin15.html
    """

    def __init__(self, strength: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.strength = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(strength), trainable=False, name="strength"
        )

    def call(self, x):
        return x + (1.0 + self.strength) * (ops.stop_gradient(x) - x)

    def get_config(self):
        return {**super().get_config(), "strength": float(self.strength)}


class ReversalSchedule(keras.callbacks.Callback):
    """Raise λ during training from 0 towards 1: λ = 2 / (1 + exp(-10 p)) - 1, p from 0 to 1.

    At first the domain classifier knows nothing, and its gradient would only be noise for the features.

    Parameters
    ----------
    reversal : GradientReversal

    References
    ----------
    Ganin et al. (2016), https://jmlr.org/papers/v17/15-239.html, section 5.2.2
    """

    def __init__(self, reversal: GradientReversal):
        super().__init__()
        self.reversal = reversal

    def on_train_begin(self, logs=None):
        if self.params["steps"] is None:
            raise CourseError(
                "The schedule needs to know the batches of an epoch; give `fit` the argument steps_per_epoch."
            )
        self.step = 0

    def on_train_batch_begin(self, batch, logs=None):
        progress = self.step / (self.params["epochs"] * self.params["steps"])
        self.reversal.strength.assign(2 / (1 + ops.exp(-10 * progress)) - 1)
        self.step += 1

    def on_epoch_end(self, epoch, logs=None):
        logs["reversal"] = float(self.reversal.strength)
