"""Pretrained networks: loading, folding, and features of the frozen ones."""

from course_utils.models.backbones import BACKBONES, load_backbone
from course_utils.models.features import extract_features
from course_utils.models.folding import fold_batch_norm

__all__ = ["BACKBONES", "extract_features", "fold_batch_norm", "load_backbone"]
