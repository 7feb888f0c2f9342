"""Consistency pseudo-labels: what a model says of a clean target image is the label of its augmented copy."""

from numbers import Real

import keras
from keras import ops

from course_utils.adaptation.model import AdaptedClassifier
from course_utils.errors import CourseError, as_floats

MOMENTUM = 0.95  # of the running mean of the predictions


@keras.saving.register_keras_serializable("course_utils")
class SelfLabelledClassifier(AdaptedClassifier):
    """Extractor and head that label the target themselves, batch by batch, where they are confident.

    Fit it on what `unlabelled_target` returns with an augmentation. The clean target inputs are labelled in
    training mode: by the statistics of their own batch. Raise ``weight`` from 0 by `RampUp`, for the first
    labels are the worst.

    Parameters
    ----------
    extractor, head, weight
        See `AdaptedClassifier`; the weight is that of the loss on pseudo-labels.
    shares : sequence of float, optional
        Shares of the classes to which the predictions are brought, on a running mean, before they are used; by
        default they stay as they are.
    threshold : float
        Labels of a lower confidence are not used.

    References
    ----------
    Sohn et al. (2020), https://arxiv.org/abs/2001.07685;
    Berthelot et al. (2020), https://arxiv.org/abs/1911.09785, section 3.1
    """

    def __init__(self, extractor, head, weight: float = 1.0, shares=None, threshold: float = 0.9, **kwargs):
        if not (isinstance(threshold, Real) and 0 <= threshold <= 1):
            raise CourseError(f"threshold={threshold!r} is impossible: give a confidence from 0 to 1.")
        if shares is not None:
            as_floats(shares, "The shares")
        super().__init__(extractor, head, weight=weight, **kwargs)
        self.shares, self.threshold = shares, threshold
        if shares is not None:  # the running mean of what was predicted; one batch is too small
            self.predicted = self.add_weight(
                shape=(len(shares),), initializer="zeros", trainable=False, autocast=False, name="predicted"
            )
            self.predicted.assign(shares)

    def call(self, inputs, training=None):
        logits = super().call(inputs, training)
        if isinstance(inputs, dict):
            clean = self.head(self.extractor(inputs["target"], training=training), training=training)
            guesses = self.head(self.extractor(inputs["augmented"], training=training), training=training)
            penalty = self.disagreement(ops.stop_gradient(clean), guesses)
            self.add_loss(self.weight * penalty)
            self.distance.update_state(penalty)
        return logits

    def disagreement(self, clean, augmented):
        """Return the cross-entropy of the augmented logits with the confident labels of the clean ones."""
        probabilities = ops.softmax(ops.cast(clean, "float32"))
        if self.shares is not None:
            self.predicted.assign(MOMENTUM * self.predicted + (1 - MOMENTUM) * ops.mean(probabilities, axis=0))
            probabilities *= ops.convert_to_tensor(self.shares, "float32") / self.predicted
            probabilities /= ops.sum(probabilities, axis=1, keepdims=True)
        confident = ops.cast(ops.max(probabilities, axis=1) > self.threshold, "float32")
        labels = ops.argmax(probabilities, axis=1)
        losses = ops.sparse_categorical_crossentropy(labels, ops.cast(augmented, "float32"), from_logits=True)
        return ops.mean(confident * losses)

    def get_config(self):
        config = super().get_config()
        del config["penalty"]
        return {**config, "shares": self.shares, "threshold": self.threshold}

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config.pop(name)) for name in ("extractor", "head")}
        return cls(**parts, **config)
