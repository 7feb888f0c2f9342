"""A saved model names the course's layers: under another name, files that readers have stored could not be read."""

import keras
import pytest

from course_utils import adaptation, models
from course_utils.models import cpu_training, preprocessing

HERE = [
    *(preprocessing.ApplicationPreprocessing, models.HubLayer),
    *(cpu_training.PointwiseConv2D, cpu_training.ShiftedDepthwiseConv2D),
    *(adaptation.AdaptedClassifier, adaptation.SelfLabelledClassifier, adaptation.GradientReversal),
    *(adaptation.Coral, adaptation.MaximumMeanDiscrepancy, adaptation.DomainAdversary),
]


@pytest.mark.parametrize("layer", HERE, ids=lambda layer: layer.__name__)
def test_a_layer_is_found_by_the_name_that_files_carry(layer):
    name = f"course_utils>{layer.__name__}"
    assert keras.saving.get_registered_name(layer) == name and keras.saving.get_registered_object(name) is layer
