"""What should not act at once is raised during training."""

from numbers import Real

import keras
import numpy as np

from course_utils.errors import CourseError


class RampUp(keras.callbacks.Callback):
    """Raise a variable during training from 0 towards `top`: top (2 / (1 + exp(-10 p)) - 1), p from 0 to 1.

    At first a domain classifier knows nothing and pseudo-labels are wrong; both would only be noise.

    Parameters
    ----------
    variable : keras.Variable
        Such as the ``strength`` of a `GradientReversal`, or the ``weight`` of an `AdaptedClassifier`.
    top : float

    References
    ----------
    Ganin et al. (2016), https://jmlr.org/papers/v17/15-239.html, section 5.2.2
    """

    def __init__(self, variable: keras.Variable, top: float = 1.0):
        if not (isinstance(top, Real) and np.isfinite(top)):
            raise CourseError(f"top={top!r} is impossible: give a finite number.")
        super().__init__()
        self.variable, self.top = variable, top

    def on_train_begin(self, logs=None):
        if self.params["steps"] is None:
            raise CourseError(
                "The schedule needs to know the batches of an epoch; give `fit` the argument steps_per_epoch."
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        progress = (self.epoch + batch / self.params["steps"]) / self.params["epochs"]
        self.variable.assign(self.top * (2 / (1 + np.exp(-10 * progress)) - 1))
