"""Threads of this process, as many as its peers have."""

import tensorflow as tf
from threadpoolctl import threadpool_limits

from course_tools.bench.rounds import THREADS


def limit_threads() -> None:
    """Give TensorFlow and NumPy `THREADS` threads; it must come before TensorFlow computes anything."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    threadpool_limits(THREADS, user_api="blas")
