"""The zoo of pretrained networks: load one by name, compare their cost, choose one for a task."""

from course_utils.zoo.backbones import load_backbone
from course_utils.zoo.registry import BACKBONES, zoo_table
