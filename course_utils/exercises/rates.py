"""The learning rate that an optimizer will reach."""

import keras


def largest_rate(optimizer: keras.Optimizer) -> float:
    """Return the largest learning rate within the first thousand steps; a schedule may begin at zero."""
    rates = []
    for one in getattr(optimizer, "optimizers", [optimizer]):  # a MultiOptimizer has several
        start = int(one.iterations)
        for step in range(0, 1001, 10):
            one.iterations.assign(step)
            rates.append(float(one.learning_rate))
        one.iterations.assign(start)
    return max(rates)
