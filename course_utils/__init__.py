"""Plumbing of the transfer-learning course: what a notebook teaches stays visible in the notebook."""

import os
import warnings

# Chosen before Keras is first imported; a reader's own choice wins.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Notebook outputs are read by students: TensorFlow's C++ log is noise there.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# KerasHub's progress bars complain where there are no widgets; plain ones do.
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "0.1.0"
