"""Networks: folding, freezing, features of the frozen ones, maps of what they look at, and SavedModels."""

from course_utils.models.cpu_training import for_cpu_training
from course_utils.models.features import extract_features
from course_utils.models.folding import fold_batch_norm
from course_utils.models.freezing import unfreeze
from course_utils.models.gradcam import grad_cam
from course_utils.models.hub_layer import HubLayer
