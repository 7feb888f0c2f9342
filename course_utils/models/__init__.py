"""Pretrained networks: loading, folding, and features of the frozen ones."""

from course_utils.models.backbones import load_backbone
from course_utils.models.features import extract_features
from course_utils.models.folding import fold_batch_norm
from course_utils.models.freezing import unfreeze
from course_utils.models.pointwise import multiply_pointwise
from course_utils.models.registry import BACKBONES, zoo_table

__all__ = ["BACKBONES", "extract_features", "fold_batch_norm", "load_backbone", "multiply_pointwise", "unfreeze", "zoo_table"]
