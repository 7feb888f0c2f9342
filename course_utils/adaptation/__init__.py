"""Domain adaptation: learn from labels of one domain what is to hold in another that has none."""

from course_utils.adaptation.batches import unlabelled_target
from course_utils.adaptation.measures import domain_accuracy, gap_closed, proxy_a_distance
from course_utils.adaptation.model import AdaptedClassifier
from course_utils.adaptation.penalties import Coral, DomainAdversary, MaximumMeanDiscrepancy
from course_utils.adaptation.pseudo_labels import SelfLabelledClassifier
from course_utils.adaptation.reversal import GradientReversal
from course_utils.adaptation.schedule import RampUp
from course_utils.adaptation.statistics import adapt_batch_norm
