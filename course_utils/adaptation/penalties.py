"""Penalties on features that differ between the domains: CORAL, MMD, and a domain adversary."""

import math

import keras
from keras import layers, ops

from course_utils.adaptation.reversal import GradientReversal
from course_utils.errors import CourseError


class Penalty(layers.Layer):
    """What all penalties share: features are flattened, and compared in float32 also where the network has float16."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, source_shape, target_shape):
        if source_shape[1:] != target_shape[1:] or 1 in (source_shape[0], target_shape[0]):
            raise CourseError(
                f"Features have shapes {source_shape} and {target_shape}; accepted are two rows or more, of one width."
            )

    def call(self, source, target):
        width = math.prod(source.shape[1:])
        return self.compare(ops.reshape(source, (-1, width)), ops.reshape(target, (-1, width)))


@keras.saving.register_keras_serializable("course_utils")
class Coral(Penalty):
    """Squared distance of the two covariance matrices, over 4 d².

    Takes source and target features, each of d numbers for an input, and returns a scalar.

    References
    ----------
    Sun & Saenko (2016), https://arxiv.org/abs/1607.01719
    """

    def compare(self, source, target):
        difference = covariance(source) - covariance(target)
        return ops.sum(difference**2) / (4 * source.shape[-1] ** 2)


def covariance(features):
    """Return the unbiased covariance matrix, (d, d), of features of shape (n, d)."""
    centred = features - ops.mean(features, axis=0)
    return ops.matmul(ops.transpose(centred), centred) / (ops.cast(ops.shape(features)[0], features.dtype) - 1)


@keras.saving.register_keras_serializable("course_utils")
class MaximumMeanDiscrepancy(Penalty):
    """Squared distance of the two distributions' means, in the space of a sum of Gaussian kernels.

    Takes source and target features, each of d numbers for an input, and returns a scalar, the unbiased
    estimate. The widths are multiples of the mean squared distance in the batch.

    References
    ----------
    Gretton et al. (2012), https://jmlr.org/papers/v13/gretton12a.html;
    Long et al. (2015), https://arxiv.org/abs/1502.02791
    """

    MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)

    def compare(self, source, target):
        n = ops.shape(source)[0]
        x = ops.concatenate([source, target])
        x -= ops.mean(x, axis=0)  # far from the origin, the difference below would be one of huge numbers
        squares = ops.sum(x**2, axis=1)
        distances = ops.maximum(squares[:, None] + squares[None, :] - 2 * ops.matmul(x, ops.transpose(x)), 0)
        width = ops.stop_gradient(ops.mean(distances)) + keras.config.epsilon()
        kernel = sum(ops.exp(-distances / (m * width)) for m in self.MULTIPLES) / len(self.MULTIPLES)
        return mean_off_diagonal(kernel[:n, :n]) + mean_off_diagonal(kernel[n:, n:]) - 2 * ops.mean(kernel[:n, n:])


def mean_off_diagonal(matrix):
    """Return the mean of a square matrix without its diagonal."""
    n = ops.cast(ops.shape(matrix)[0], matrix.dtype)
    return (ops.sum(matrix) - ops.sum(ops.diagonal(matrix))) / (n * (n - 1))


@keras.saving.register_keras_serializable("course_utils")
class DomainAdversary(Penalty):
    """Cross-entropy of a domain classifier behind gradient reversal.

    Takes source and target features, each of d numbers for an input, and returns a scalar. The classifier
    learns to tell the domains apart; the features, by the reversed gradient, to prevent it.

    Parameters
    ----------
    units : int
        Width of the domain classifier's hidden layer.

    References
    ----------
    Ganin et al. (2016), https://jmlr.org/papers/v17/15-239.html
    """

    def __init__(self, units: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        dtype = self.dtype_policy
        self.reversal = GradientReversal(dtype=dtype)
        self.classifier = keras.Sequential([layers.Dense(units, "relu", dtype=dtype), layers.Dense(1, dtype=dtype)])

    def build(self, source_shape, target_shape):
        super().build(source_shape, target_shape)
        self.classifier.build((None, math.prod(source_shape[1:])))

    def compare(self, source, target):
        logits = self.classifier(self.reversal(ops.concatenate([source, target])))
        is_target = ops.concatenate([ops.zeros_like(source[:, :1]), ops.ones_like(target[:, :1])])
        return ops.mean(ops.binary_crossentropy(is_target, logits, from_logits=True))

    def get_config(self):
        return {**super().get_config(), "units": self.units}
