"""Data sets of the course: fetched once, verified, and cut into stratified parts."""

from course_utils.data.assets import fetch
from course_utils.data.chest_xrays import load_chest_xrays
from course_utils.data.dataset import Card, DataSplit, Samples
from course_utils.data.digits import load_mnist, load_uci_digits, load_usps
from course_utils.data.image_folders import load_openmoji_folder
from course_utils.data.image_split import split_image_folder
from course_utils.data.mnist_m import load_mnist_m, load_mnist_m_folder
from course_utils.data.openmoji import load_openmoji
from course_utils.data.own_images import clean_image_folder
from course_utils.data.phantom import draw_chest_phantoms
from course_utils.data.photos import load_imagenet_photos
from course_utils.data.sentiment import load_sentiment
from course_utils.data.splits import few_shot, stratified_split
from course_utils.data.tables import load_text_csv
