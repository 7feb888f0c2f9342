"""A classifier that learns from labelled inputs of one domain and unlabelled inputs of another."""

from numbers import Real

import keras
import numpy as np

from course_utils.errors import CourseError


@keras.saving.register_keras_serializable("course_utils")
class AdaptedClassifier(keras.Model):
    """Extractor and head, with a penalty on features that differ between source and target.

    Fit it on what `unlabelled_target` returns; evaluate and predict on inputs of either domain. The extractor
    is called once for each domain, so that BatchNormalization standardises each by its own statistics. For use on
    the target, call `adapt_batch_norm` at the end.

    Parameters
    ----------
    extractor : keras.Model
        From inputs to features.
    head : keras.layers.Layer
        From features to logits.
    penalty : keras.layers.Layer, optional
        From source and target features to a scalar, such as `Coral`. Without one, the target is not used.
    weight : float
        Factor of the penalty in the loss, at least 0; a variable, which `RampUp` can raise.

    Raises
    ------
    CourseError
        If the weight is negative or not finite.
    """

    def __init__(self, extractor, head, penalty=None, weight: float = 1.0, **kwargs):
        if not (isinstance(weight, Real) and np.isfinite(weight) and weight >= 0):
            raise CourseError(f"weight={weight!r} is impossible: give a finite factor of at least 0.")
        super().__init__(**kwargs)
        self.extractor, self.head, self.penalty = extractor, head, penalty
        self.weight = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(weight), trainable=False, autocast=False, name="weight"
        )
        self.distance = keras.metrics.Mean(name="penalty")

    def call(self, inputs, training=None):
        if not isinstance(inputs, dict):
            return self.head(self.extractor(inputs, training=training), training=training)
        source = self.extractor(inputs["source"], training=training)
        logits = self.head(source, training=training)
        if self.penalty is not None:
            penalty = self.penalty(source, self.extractor(inputs["augmented"], training=training))
            self.add_loss(self.weight * penalty)
            self.distance.update_state(penalty)
        return logits

    def get_config(self):
        parts = {name: getattr(self, name) for name in ("extractor", "head", "penalty")}
        parts = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **parts, "weight": float(self.weight)}

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config.pop(name)) for name in ("extractor", "head", "penalty")
        }
        return cls(**parts, **config)
