"""Pretrained networks: loading, folding, freezing, features of the frozen ones, maps of what they look at, and SavedModels."""

from course_utils.models.backbones import load_backbone
from course_utils.models.cpu_training import for_cpu_training
from course_utils.models.features import extract_features
from course_utils.models.folding import fold_batch_norm
from course_utils.models.freezing import unfreeze
from course_utils.models.gradcam import grad_cam
from course_utils.models.hub_layer import HubLayer
from course_utils.models.registry import BACKBONES, zoo_table

__all__ = [
    "BACKBONES",
    "HubLayer",
    "extract_features",
    "fold_batch_norm",
    "for_cpu_training",
    "grad_cam",
    "load_backbone",
    "unfreeze",
    "zoo_table",
]
