# ---
# jupyter:
#   course:
#     title: Tuning with Optuna
#     question: You tried dozens of configurations and kept the best. How good is it really?
#     shows: "With features computed and networks compiled once, a search runs {{frozen_speedup.mean:.0f}} times as many trials per minute. At equal budget, TPE with pruning is {{gain_validation.mean:+.3f}} ± {{gain_validation.half_width:.3f}} ahead of random search on validation; on the nested test {{gain_test.mean:+.3f}} ± {{gain_test.half_width:.3f}}, which shows nothing. The best trial's own score was {{optimism.mean:.3f}} too good."
#     results:
#       frozen_speedup: "trials per minute with features computed once, times as many (as many)"
#       gain_validation: "TPE with pruning minus random search, on validation"
#       gain_test: "the same on the nested test"
#       optimism: "by how much the best trial's own score is too good (not at all)"
#     goals:
#       - write a search space whose parameters depend on each other, and sample learning rates on the right scale;
#       - make trials cheap - features computed once, networks compiled once - and stop hopeless ones early;
#       - compare two ways of searching fairly, at equal budget and over repetitions;
#       - read the history, importance, slices and contours of a study, and know what they cannot tell;
#       - say what the score of the best of many trials is worth, and measure it where nothing was chosen;
#       - let a search survive being killed, and share it between processes.
#     prerequisites:
#       - notebook 02 (frozen features) and notebook 03 (fine-tuning), or their ideas;
#       - for one formula in section 7, the binomial distribution.
#     recap:
#       - "A frozen backbone gives the same features in every trial. Computing them once, and compiling the head once, ran {{frozen_speedup.mean:.0f}} times as many trials per minute."
#       - Learning rates and weight decay live on a logarithmic scale. A conditional parameter is asked for inside an `if`.
#       - "The median pruner stopped {{pruned_share.mean:.0%}} of the random trials. That is a bet, and its losses can be measured."
#       - "At equal budget, the best of TPE with pruning was {{gain_validation.mean:+.3f}} ± {{gain_validation.half_width:.3f}} ahead of the best of random search on validation; on the nested test {{gain_test.mean:+.3f}} ± {{gain_test.half_width:.3f}}: no gain was shown there."
#       - "The best trial's own score flatters it: by {{optimism.mean:.3f}} here, and twenty coins reach {{coins.mean:.2f}}. Report a figure from data that chose nothing."
#       - A study in a database goes on after `kill -9`. A heartbeat tells that a running trial has lost its process, and Optuna runs it again.
#     references: [bergstra2011, bergstra2012, akiba2019, watanabe2023, jamieson2016, li2018, li2020asha, hutter2014, watanabe2023ped, cawley2010, dodge2019, loshchilov2019, srivastava2014, tan2019, liu2020, sandler2018, openmoji]
# ---

# %% tags=["parameters"]
PROFILE = "default"  # smoke, default or full
SEED = 0
SIZE = 64  # side of an image in pixels
EVERY = 1  # every how many-th pictogram is used
BACKBONE_COUNT = 3
WIDTHS = [3, 6]  # log2 of the smallest and the widest hidden layer
DEPTHS = 2  # how many depths of fine-tuning there are to choose from
EPOCHS = 10
BATCH = 64
TIMED_SLOW = 2  # trials timed with everything in every trial
TIMED_FAST = 20  # trials timed with features and graphs built once
GRID = 13  # learning rates of the curve
TRIALS = 24  # of the first study
STARTUP = 5  # trials that end before the pruner begins
WARMUP = 2  # epochs of a trial that the pruner leaves alone
PAIRS = 3  # splits of the comparison, each used twice
BUDGET = 200  # epochs of one search
OWN_SPLITS = 3  # splits of the best-of-many experiment
OWN_TRIALS = 40  # trained configurations to choose from, for each split
REDRAWS = 100  # times that 50 images are drawn
SHARED_TRIALS = 8  # of the study that several processes share

# %%
import warnings
from functools import cache
from typing import NamedTuple

import keras
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import seaborn as sns
import tensorflow as tf
from keras import layers

from course_utils.data import load_openmoji, stratified_split
from course_utils.evaluation import ROLE_COLOURS, confidence_interval, mean_and_interval, mean_plus_minus
from course_utils.models import extract_features, for_cpu_training, unfreeze
from course_utils.zoo import load_backbone

optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise one line for every trial
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
# Small matrices: threads only wait for each other.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.get_logger().setLevel("ERROR")  # it takes the many graphs of this notebook for a mistake

# %% [markdown]
# ## 1. What is to be tuned, and what stays sealed
#
# The task is that of notebook 02: eight classes of pictograms, here in smaller images, so all scores are lower than
# there. A configuration is many choices. Which backbone? A head of which width, with how much dropout? Which learning
# rate, how much weight decay? Frozen, or with some blocks trained, and how many? Such choices are called
# **hyperparameters**: training does not find them, it needs them.
#
# A search tries configurations, one **trial** after the other, and keeps the one with the best score. The score is the
# balanced accuracy on the *validation* set. The *test* set must not decide anything, or nothing is left to measure
# with. Good intentions are easily forgotten in a long notebook. So we seal the test set, and count how often it is
# opened.


# %%
class Sealed:
    """The row numbers of the test set, and how often somebody asked for them."""

    def __init__(self, numbers):
        self._numbers, self.openings = numbers, 0

    def open(self):
        self.openings += 1
        return self._numbers


class Split(NamedTuple):
    """Row numbers of the pictograms of three sets."""

    train: np.ndarray
    validation: np.ndarray
    test: Sealed


# %%
pictograms = load_openmoji(size=SIZE)
everything = zip(pictograms.train, pictograms.validation, pictograms.test)
images, y = (np.concatenate(arrays) for arrays in everything)
images, y = images[::EVERY], y[::EVERY]  # all of them, except in `smoke`
class_names = pictograms.class_names


def new_split(seed):
    train, validation, test = stratified_split(y, seed=seed)
    return Split(train, validation, Sealed(test))


first = new_split(100 * SEED)
print(f"{len(first.train)} to train, {len(first.validation)} to validate, and a sealed test set")

# %% [markdown]
# *The pictograms are from [OpenMoji](https://openmoji.org), licence [CC BY-SA
# 4.0](https://creativecommons.org/licenses/by-sa/4.0/).*
#
# About 115 pictograms to validate is little. A score on them moves by several hundredths when other pictograms are
# drawn. Keep that in mind: it is the reason for section 7.

# %% [markdown]
# ## 2. The search space
#
# In Optuna (Akiba et al. 2019) a search space is a function. It asks the trial for values, and the trial decides which.
# Python's own `if` makes a parameter **conditional**: only a fine-tuned network has a `depth`, only a
# frozen one has a choice of backbone and a hidden layer. To see the function at work, we start six trials by hand, with
# `study.ask()`, and train nothing.

# %%
BACKBONES = ["EfficientNetLite0", "EfficientNetLite2", "MobileNetV2Torch", "EfficientNetLite1"]
BACKBONES = BACKBONES[:BACKBONE_COUNT]
STRATEGIES = ["frozen", "fine-tuned"]


def suggest(trial, strategies=STRATEGIES):
    """Ask the trial for a configuration."""
    chosen = {
        "strategy": trial.suggest_categorical("strategy", strategies),
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.8),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 10.0, log=True),
    }
    if chosen["strategy"] == "frozen":
        chosen["backbone"] = trial.suggest_categorical("backbone", BACKBONES)
        chosen["width"] = 2 ** trial.suggest_int("log2_width", *WIDTHS)
    else:
        chosen["depth"] = trial.suggest_int("depth", 1, DEPTHS)
    return chosen


# %%
study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
for strategy in 3 * STRATEGIES:
    study.enqueue_trial({"strategy": strategy})  # the next trial gets this, and is free in all else
drawn = [suggest(study.ask()) for _ in range(6)]
shown = pd.DataFrame(drawn).map(lambda value: f"{value:.2g}" if isinstance(value, float) else value)
shown.replace("nan", "")

# %% [markdown]
# Empty cells are parameters that do not exist in that trial. Details that matter:
#
# - The width is asked for as its logarithm, an integer from 3 to 6: 8, 16, 32 or 64 units. The sampler then knows
#   that 16 lies between 8 and 32. As a categorical it would not.
# - The backbones, EfficientNet-Lite (Tan & Le 2019; Liu 2020) and MobileNetV2 (Sandler et al. 2018), have no order:
#   they are categorical.
# - Learning rate and weight decay are sampled with `log=True`. (AdamW multiplies the weight decay by the learning rate
#   at each step. So a decay of 10 is strong only beside a large rate.)
# - The same change of variable serves for what has a limit. Of a momentum, the distance from 1 matters: .9 averages
#   over 10 steps, .99 over 100. So ask for `one_minus_momentum`, with `log=True`.
#
# ### Mistake: a learning rate sampled uniformly
#
# What happens without `log=True`? Nine tenths of the interval from .00001 to .1 lie above .01. We let Optuna draw
# 400 rates each way.


# %%
def draw_rates(count, log):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    return np.array([study.ask().suggest_float("rate", 1e-5, 1e-1, log=log) for _ in range(count)])


rates = {"log=True": draw_rates(400, log=True), "uniform": draw_rates(400, log=False)}
figure, axes = plt.subplots(1, 2, figsize=(12, 3.2), sharex=True, sharey=True)
for ax, (name, drawn), role in zip(axes, rates.items(), ("transfer", "wrong way")):
    ax.hist(drawn, bins=np.logspace(-5, -1, 17), color=ROLE_COLOURS[role], edgecolor="white")
    ax.set(title=name, xscale="log", xlabel="learning rate")
axes[0].set_ylabel("trials of 400")
figure.set_label("400 sampled learning rates: even over the decades, or crowded above .01")
large = {name: np.mean(drawn > 1e-2) for name, drawn in rates.items()}
expect("large_rates", large["log=True"], contrast=large["uniform"])
plt.show()

# %% [markdown]
# Uniformly, {{large_rates.contrast:.0%}} of the trials have a rate above .01, and the three decades below share the
# rest. With `log=True` each decade gets its quarter: {{large_rates.mean:.0%}} lie above .01. What the difference costs,
# we measure as soon as we can train.
#
# Older texts write `suggest_loguniform`. Optuna 5 still has it, but warns, and names the new way:

# %% tags=["nbval-check-output"]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    study.ask().suggest_loguniform("rate", 1e-5, 1e-1)
advice = "- use suggest_float(..., log=True)" if "log=True" in str(caught[0].message) else ""
print(caught[0].category.__name__, advice)

# %% [markdown]
# ## 3. Cheap trials
#
# A search is as good as the number of trials one can afford. Two things make ours cheap.
#
# **Features once.** A frozen backbone gives the same vector for the same image in every trial (notebook 02). So all
# trials, and all workers, share one cached array for each backbone. Only fine-tuned trials touch a backbone, and of it
# only the upper blocks: the network is cut below the lowest block that may train, and the activations there are
# cached too.

# %%
features = {}
for name in BACKBONES:
    features[name] = tf.constant(extract_features(load_backbone(name, input_size=SIZE), images))
BLOCKS = ["top", "block7a", "block6d"][:DEPTHS]  # from the top down

lite = load_backbone("EfficientNetLite0", input_size=SIZE)
lowest = unfreeze(lite, BLOCKS[-1]).layers[0]
below = lite.get_layer(lowest).input
flat = extract_features(keras.Model(lite.input, layers.Flatten()(below)), images)
activations = tf.constant(flat.reshape(-1, *below.shape[1:]))
print(f"{len(features)} backbones; activations below {lowest}: {activations.shape[1:]} each")

# %% [markdown]
# **Graphs once.** TensorFlow builds a graph the first time a network trains, which takes longer than the training of
# a small head. A new network for every trial means a new graph for every trial. But between two trials of the same
# shape only *numbers* change: the weights, the state of the optimiser, the learning rate, the weight decay, the rate of
# dropout. If all of these are **variables**, one graph serves all trials. Keras' `Dropout` keeps its rate as a constant
# in the graph, so we write our own:


# %%
class VariableDropout(layers.Layer):
    """Dropout (Srivastava et al. 2014) whose rate can change without a new graph."""

    def __init__(self):
        super().__init__()
        self.rate = self.add_weight(name="rate", initializer="zeros", trainable=False)
        self.seed = keras.random.SeedGenerator(SEED)

    def call(self, x, training=False):
        if not training:
            return x
        kept = keras.random.uniform(keras.ops.shape(x), seed=self.seed) >= self.rate
        return keras.ops.where(kept, x / (1 - self.rate), 0.0)


# %% [markdown]
# A `Network` can be trained any number of times, each time as if it were new. `train_epoch` puts a whole epoch into one
# graph. The optimiser is AdamW, where the weight decay is a step of its own (Loshchilov & Hutter 2019).


# %%
class Network:
    """A classifier compiled once, and trained anew with the hyperparameters of each trial."""

    def __init__(self, inputs, vectors):
        keras.utils.set_random_seed(SEED)
        self.dropout = VariableDropout()
        outputs = layers.Dense(len(class_names), activation="softmax")(self.dropout(vectors))
        self.model = keras.Model(inputs, outputs)
        self.adam = keras.optimizers.AdamW()
        self.adam.weight_decay = keras.Variable(0.0, trainable=False)
        self.model.compile(self.adam, "sparse_categorical_crossentropy")
        self.adam.build(self.model.trainable_variables)
        self.first = [(each, each.numpy()) for each in self.model.variables + self.adam.variables]

    def start_anew(self, learning_rate, dropout, weight_decay):
        for variable, value in self.first:
            variable.assign(value)
        self.adam.learning_rate.assign(learning_rate)
        self.adam.weight_decay.assign(weight_decay)
        self.dropout.rate.assign(dropout)

    @tf.function
    def train_epoch(self, x, y, batches):
        for batch in batches:
            self.model.train_step((tf.gather(x, batch), tf.gather(y, batch)))

    @tf.function(reduce_retracing=True)
    def predict(self, x, numbers):
        return tf.argmax(self.model(tf.gather(x, numbers), training=False), axis=1)


# %% [markdown]
# Two families of networks: heads of some width on frozen features, and the upper blocks of EfficientNet-Lite0 with some
# of them unfrozen (`unfreeze` is from notebook 03; BatchNormalization stays frozen). All our backbones give vectors of
# one length, so a head of each width serves them all. `@cache` keeps each one.


# %%
@cache
def frozen_network(width):
    (length,) = {x.shape[1] for x in features.values()}  # the same for all backbones
    inputs = keras.Input((length,))
    return Network(inputs, layers.Dense(width, activation="relu")(inputs))


@cache
def fine_tuned_network(depth):
    upper = for_cpu_training(keras.Model(below, lite.output))  # a copy, with faster gradients
    unfreeze(upper, BLOCKS[depth - 1])
    return Network(upper.input, upper.output)


# %% [markdown]
# Training is a Python generator: after each epoch it yields a function that predicts. So whoever trains can look at the
# score after each epoch, and stop. (Later, `*_, predict = training(...)` runs all epochs and keeps the last function.)


# %%
def training(chosen, train):
    """Train a configuration; after each epoch yield a function that predicts rows."""
    if chosen["strategy"] == "frozen":
        network, x = frozen_network(chosen["width"]), features[chosen["backbone"]]
    else:
        network, x = fine_tuned_network(chosen["depth"]), activations
    network.start_anew(chosen["learning_rate"], chosen["dropout"], chosen["weight_decay"])
    random, batch = np.random.default_rng(SEED), BATCH
    whole = len(train) // batch * batch  # a smaller last batch would need a graph of its own
    for _ in range(EPOCHS):
        batches = random.permutation(train)[:whole].reshape(-1, batch)
        network.train_epoch(x, y, batches)
        yield lambda numbers: network.predict(x, numbers).numpy()


def balanced_accuracy(numbers, predicted):
    right = np.bincount(y[numbers], weights=predicted == y[numbers])
    return np.mean(right / np.bincount(y[numbers]))


# %% [markdown]
# The **objective** takes a trial and returns a score. It reports the score after each epoch, and asks whether to go on.
# Note what it returns: the score after the *last* epoch. To return the best epoch would be one more choice by luck.
# (Who trains with `fit` gets reporting and pruning from one callback,
# `optuna_integration.KerasPruningCallback(trial, "val_accuracy")`.)


# %%
def objective(trial, split, strategies=STRATEGIES):
    for epoch, predict in enumerate(training(suggest(trial, strategies), split.train)):
        score = balanced_accuracy(split.validation, predict(split.validation))
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return score


# %% [markdown]
# Networks that are used again invite a subtle bug: something of the last trial is left over. So the first test is
# whether a configuration gives the same score again, with another trial in between. A `FixedTrial` answers each
# question with the value that we put in.

# %% tags=["nbval-check-output"]
one = dict(learning_rate=2e-3, dropout=0.3, weight_decay=0.1, strategy="frozen", backbone=BACKBONES[0], log2_width=4)
other = one | dict(learning_rate=5e-2, dropout=0.7, weight_decay=5.0)
scores = [objective(optuna.trial.FixedTrial(params), first) for params in (one, other, one)]
assert scores[0] == scores[2], "something of the trial before is left over"
print("the same configuration, before and after another one: the same score")

# %% [markdown]
# ### How many trials a minute?
#
# The naive objective does in every trial what most scripts do: load the backbone, run it over the pictograms, build a
# head, compile it, `fit`. In between there is the way of notebook 02: features once, but a new head for each trial. No
# trial is cut short here: a study without a pruner of its own gets Optuna's, which ends trials below the median, so we
# give it the one that never prunes.


# %%
def fit_new_head(x, chosen, split):
    inputs = keras.Input(x.shape[1:])
    hidden = layers.Dense(chosen["width"], activation="relu")(inputs)
    dropped = layers.Dropout(chosen["dropout"])(hidden)
    outputs = layers.Dense(len(class_names), activation="softmax")(dropped)
    head = keras.Model(inputs, outputs)
    adam = keras.optimizers.AdamW(chosen["learning_rate"], weight_decay=chosen["weight_decay"])
    head.compile(adam, "sparse_categorical_crossentropy")
    head.fit(x[: len(split.train)], y[split.train], epochs=EPOCHS, batch_size=BATCH, verbose=0)
    predicted = head.predict(x[len(split.train) :], verbose=0).argmax(axis=1)
    return balanced_accuracy(split.validation, predicted)


seen = np.concatenate([first.train, first.validation])


def new_head(trial):
    chosen = suggest(trial, ["frozen"])
    return fit_new_head(features[chosen["backbone"]].numpy()[seen], chosen, first)


def naive(trial):
    chosen = suggest(trial, ["frozen"])
    backbone = load_backbone(chosen["backbone"], input_size=SIZE)
    return fit_new_head(backbone.predict(images[seen], verbose=0), chosen, first)


# %%
import time


def trials_per_minute(objective, count):
    sampler, pruner = optuna.samplers.RandomSampler(seed=SEED), optuna.pruners.NopPruner()
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    start = time.perf_counter()
    study.optimize(objective, n_trials=count)
    return 60 * count / (time.perf_counter() - start)


# %%
def fast(trial):
    return objective(trial, first, ["frozen"])


smallest, largest = WIDTHS
for width in range(smallest, largest + 1):  # the graphs are built before the clock starts
    objective(optuna.trial.FixedTrial(one | {"log2_width": width}), first)
speed = {
    "everything in every trial": trials_per_minute(naive, TIMED_SLOW),
    "features once": trials_per_minute(new_head, TIMED_SLOW),
    "features and graphs once": trials_per_minute(fast, TIMED_FAST),
}
ratio = speed["features and graphs once"] / speed["everything in every trial"]
expect("frozen_speedup", ratio, contrast=1, timing=True)
pd.DataFrame({"trials per minute": speed}).round(0).astype(int)

# %% [markdown]
# {{frozen_speedup.mean:.0f}} times as many trials in the same time. Look at the middle row as well: with the features
# at hand, most of the time went into building graphs. (The one pass of each backbone and the building of four graphs
# are paid once, before the first trial. They are not in the ratio.) From here on we can afford what searches rarely
# get: repetitions.
#
# ### What the wrong scale costs
#
# Back to the learning rate. We train one good head with rates over the whole interval, on three splits, and so know the
# score of every rate. What score does a trial have on average, if its rate is sampled in one way or the other? That is
# the mean of the curve over a logarithmic axis, or over a linear one.

# %%
grid = np.logspace(-5, -1, GRID).clip(1e-5, 1e-1)
good = one | dict(dropout=0.1, log2_width=5)
curve = np.mean(
    [
        [objective(optuna.trial.FixedTrial(good | {"learning_rate": rate}), each) for rate in grid]
        for each in (first, new_split(100 * SEED + 50), new_split(100 * SEED + 51))
    ],
    axis=0,
)
log_mean = np.interp(np.linspace(-5, -1, 10_001), np.log10(grid), curve).mean()
uniform_mean = np.interp(np.log10(np.linspace(1e-5, 1e-1, 10_001)), np.log10(grid), curve).mean()

# %%
figure, ax = plt.subplots(figsize=(8, 3.6))
ax.plot(grid, curve, "o-", color=ROLE_COLOURS["reference"])
ax.axhline(log_mean, color=ROLE_COLOURS["transfer"], linestyle="--", label="mean of log=True")
ax.axhline(uniform_mean, color=ROLE_COLOURS["wrong way"], linestyle=":", label="mean of uniform")
ax.axvspan(1e-2, 1e-1, color=ROLE_COLOURS["wrong way"], alpha=0.12, linewidth=0)
ax.text(3.2e-2, 0.03, "90% of the\nuniform trials", ha="center", va="bottom", fontsize=12)
ax.set(xscale="log", xlabel="learning rate", ylabel="balanced accuracy", ylim=(0, None))
ax.set_title("One head, all rates")
ax.legend(loc="upper left")
figure.set_label("Balanced accuracy over the learning rate: a hill that falls on both sides")
expect("log_scale_gain", log_mean - uniform_mean)
plt.show()

# %% [markdown]
# Over five runs with other splits the average trial scores {{log_scale_gain.mean:.2f}} ±
# {{log_scale_gain.half_width:.2f}} more with `log=True`. A single run shows little: in one of the five, where the hill
# reached far to the right, it was hardly anything. Nine of ten uniform trials fall into the shaded decade, on the far
# slope. (The *best* of many trials suffers less than the average one, because a single lucky rate is enough. But a
# search is not meant to live on luck.)

# %% [markdown]
# ## 4. A first study
#
# Now the whole space, with Optuna's default sampler, one option added, and its default pruner.
#
# **TPE** (Bergstra et al. 2011; Watanabe 2023 explains every part) divides the trials so far into a few good ones and
# the rest. It models where the good ones lie, $l(x)$, and where the others lie, $g(x)$; for numbers, both are sums of
# Gaussians. It draws some candidates from $l$, and the next trial is the one with the largest $l(x) / g(x)$. The first
# ten trials are random. For one objective Optuna 5 models the parameters together and not one by one; `group=True`,
# which Optuna still calls experimental, gives those of each strategy a model of their own.
#
# **Pruning.** After each epoch the objective reports its score. The median pruner stops a trial whose best score so far
# is below the median of what the finished trials had at that epoch. It waits until five trials have finished, and
# leaves the first two epochs of every trial alone. Sharper rules give a few survivors most of the budget: successive
# halving (Jamieson & Talwalkar 2016; Li et al. 2020) and Hyperband (Li et al. 2018), in Optuna
# `SuccessiveHalvingPruner` and `HyperbandPruner`.


# %%
def tpe(seed):
    return optuna.samplers.TPESampler(seed=seed, group=True)


def median_pruner():
    return optuna.pruners.MedianPruner(STARTUP, WARMUP)


first_study = optuna.create_study(direction="maximize", sampler=tpe(SEED), pruner=median_pruner())
first_study.optimize(lambda trial: objective(trial, first), n_trials=TRIALS)

# %%
trials = first_study.trials_dataframe(attrs=("number", "value", "params", "state"))
trials.columns = [name.removeprefix("params_") for name in trials.columns]
trials["epochs"] = [len(trial.intermediate_values) for trial in first_study.trials]
trials.sort_values("value", ascending=False).head(8).round(4).astype(object).fillna("")

# %% tags=["nbval-check-output"]
if PROFILE != "smoke":  # of so few trials none need be pruned
    assert (trials["state"] == "PRUNED").any(), "no trial was pruned: the pruner does not work"
assert len(trials) == TRIALS, "trials were forgotten"
assert first.test.openings == 0, "the search has looked at the test set"
print(f"{len(trials)} trials, some of them pruned")
print(f"the test set was opened {first.test.openings} times")

# %% [markdown]
# A pruner that never prunes is a common bug: a `report` without `should_prune`, or a pruner that waits for more epochs
# than there are. Nothing fails, the search is only slower. Hence the assertion.
#
# What the pruner saw, drawn by Optuna, with the median of the finished trials added. (Optuna's plots change the style
# of all later figures; the context keeps that inside.)

# %%
from optuna.visualization import matplotlib as optuna_plots

finished = [trial for trial in first_study.trials if trial.state.name == "COMPLETE"]
median = pd.DataFrame([trial.intermediate_values for trial in finished]).median()
with plt.style.context({}):
    ax = optuna_plots.plot_intermediate_values(first_study)
    (line,) = ax.plot(median, color="black", linewidth=3, label="median of the finished trials")
    ax.set(title="What the pruner saw", xlabel="epoch", ylabel="balanced accuracy, validation")
    ax.legend(handles=[line], loc="lower right")  # Optuna's own names every trial
    ax.figure.set_label("Validation scores over epochs; pruned trials end below the median")
    plt.show()

# %% [markdown]
# And the same trials in order, with the best one so far:

# %%
with plt.style.context({}):
    ax = optuna_plots.plot_optimization_history(first_study, target_name="balanced accuracy")
    ax.figure.set_label("Scores of finished trials in order, and the best so far")
    plt.show()

# %%
trials.groupby("strategy")["value"].agg(["size", "max"]).round(3)

# %% [markdown]
# Curves that end early were pruned. In the history, compare the first ten trials, drawn at random, with the later
# ones, which TPE chose. Then count the trials of each strategy. A strategy whose first trials do badly gets hardly any
# later ones: its branch is *starved*. So such a study does not compare the strategies fairly. What stands on top is a
# verdict about a handful of trials, small images, few epochs and one split. Notebook 03 asks that question properly.
#
# For a search that runs for days, look at these plots live: `pip install optuna-dashboard`, then
# `optuna-dashboard sqlite:///search.db`.

# %% [markdown]
# ## 5. TPE with pruning against random search
#
# Random search (Bergstra & Bengio 2012) is the baseline of every clever search. It has no memory, runs on any number of
# machines without talking, and is hard to beat by much. Three rules make the comparison fair:
#
# - **Equal budget, in epochs.** A pruned trial is cheap, so counting trials would be unfair to pruning. Each search may
#   train the same number of epochs in all: those of 20 whole trials, plus what the last trial needs to end. (The
#   sampler's own time is left out. Beside trials of minutes it would be nothing.)
# - **One change at a time.** TPE and pruning are two ideas. We run all four combinations.
# - **Repetitions.** One search against another is an anecdote. Each repetition has a split and a seed of its own, the
#   same for all four. And each split is used **twice, with validation and test set exchanged**: if one of the two sets
#   happens to be easier, it counts once for a search and once against it. The two searches of a split share their
#   training set, so they count as one: differences are averaged over the two, and intervals go over the splits.
#
# Only frozen networks are searched, because they are cheap, although fine-tuned ones may have led the first study. The
# figures below say nothing about those. In the left figure, look where the curves part: TPE begins with
# the same ten random trials as random search, so of twenty trials only the second half is its own.

# %%
def random_search(seed):
    return optuna.samplers.RandomSampler(seed=seed)


ARMS = {
    "random": (random_search, optuna.pruners.NopPruner),
    "random, pruning": (random_search, median_pruner),
    "TPE": (tpe, optuna.pruners.NopPruner),
    "TPE, pruning": (tpe, median_pruner),
}


def epochs_of(study):
    return sum(len(trial.intermediate_values) for trial in study.get_trials(deepcopy=False))


def search(split, sampler, pruner):
    """Run trials until the budget is spent."""
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.optimize(
        lambda trial: objective(trial, split, ["frozen"]),
        callbacks=[lambda study, trial: epochs_of(study) >= BUDGET and study.stop()],
    )
    return study


# %%
def exchanged(seed):
    """Return a split, and the same one with its validation and test sets exchanged."""
    train, one, other = stratified_split(y, seed=seed)
    return [Split(train, one, Sealed(other)), Split(train, other, Sealed(one))]


splits = [split for number in range(PAIRS) for split in exchanged(100 * SEED + 1 + number)]
studies = {
    arm: [search(split, sampler(100 * SEED + i), pruner()) for i, split in enumerate(splits)]
    for arm, (sampler, pruner) in ARMS.items()
}


# %%
def best_so_far(study):
    """Return the best finished score after each epoch of the budget."""
    best, course = np.nan, []
    for trial in study.trials:
        course += [best] * len(trial.intermediate_values)
        if trial.state == optuna.trial.TrialState.COMPLETE:
            best = np.fmax(best, trial.value)
    return np.array(course + [best])[: BUDGET + 1]


# %%
every = np.arange(BUDGET, EPOCHS - 1, -max(1, EPOCHS // 3))[::-1]  # up to the whole budget
courses = pd.DataFrame(
    [
        (arm, epochs, best)
        for arm in ARMS
        for study in studies[arm]
        for epochs, best in zip(every, best_so_far(study)[every])
    ],
    columns=["search", "epochs spent", "best on validation"],
)
best_scores = pd.DataFrame({arm: [study.best_value for study in studies[arm]] for arm in ARMS})


def by_split(values):
    """Return the mean of the two searches of each split: only these means are independent."""
    return values.groupby(np.arange(len(values)) // 2).mean()


ahead = by_split(best_scores.sub(best_scores["random"], axis=0)).drop(columns="random")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4.8), width_ratios=[3, 2])
lines = dict(x="epochs spent", y="best on validation", hue="search", style="search")
sns.lineplot(courses, **lines, errorbar=None, drawstyle="steps-post", ax=left)
left.set(title=f"Best so far, mean over {len(splits)} searches each")
left.legend(title=None, loc="lower right")
points = dict(linestyle="none", color=ROLE_COLOURS["transfer"], capsize=0.1)
sns.pointplot(ahead, errorbar=confidence_interval, ax=right, **points)
right.axhline(0, color=ROLE_COLOURS["reference"], linestyle=":")
right.set(title="Ahead of random search, 95% interval", ylabel="difference on validation")
figure.set_label("Best score over epochs spent, and the lead over random search")
plt.show()

# %%
counts = {arm: np.mean([len(study.trials) for study in studies[arm]]) for arm in ARMS}
pruned = {}
for arm in ARMS:
    states = [trial.state.name for study in studies[arm] for trial in study.trials]
    pruned[arm] = states.count("PRUNED") / len(states)
summary = pd.DataFrame({"trials": counts, "share pruned": pruned})
summary["best on validation"] = best_scores.mean()
summary["ahead of random"] = ahead.mean()
summary["± (95%)"] = ahead.apply(lambda column: mean_and_interval(column)[1])
summary.round(3)

# %% tags=["nbval-check-output"]
of_trials = [trial.value for study in studies["random"] for trial in study.trials]
expect("found", best_scores.mean().mean(), contrast=np.mean(of_trials), limits=(0, 1))
expect("pruned_share", pruned["random, pruning"], contrast=0, limits=(0, 1))
spent = np.mean([epochs_of(study) / len(study.trials) for study in studies["random, pruning"]])
expect("epochs_of_a_trial", spent / EPOCHS, contrast=1, limits=(0, 1))
expect("gain_validation", ahead["TPE, pruning"].mean())
assert all(split.test.openings == 0 for split in splits), "a search has looked at the test set"
print("all test sets are still sealed")

# %%
for arm in ahead:
    low, high = confidence_interval(ahead[arm])
    verdict = "ahead of" if low > 0 else "behind" if high < 0 else "not clearly different from"
    print(f"{arm}: {verdict} random search on validation ({low:+.3f} to {high:+.3f})")

# %% [markdown]
# Any search finds something much better than the mean trial: {{found.mean:.2f}} against {{found.contrast:.2f}}. In
# random search, pruning stops {{pruned_share.mean:.0%}} ± {{pruned_share.half_width:.0%}} of the trials over five
# runs; a trial then needs {{epochs_of_a_trial.mean:.0%}} of its epochs on average, so the same budget holds more
# trials. Over five runs of this whole experiment the best of TPE with pruning is {{gain_validation.mean:+.3f}} ±
# {{gain_validation.half_width:.3f}} ahead of the best of random search. The lines above say whether the few splits of
# this run alone show a difference. Where an interval contains zero, they do not; then the honest sentence is "not
# clearly different", not "state of the art" (Dodge et al. 2019).
#
# All this is on **validation**, the data that the searches looked at. Whether anything is left elsewhere comes in
# section 7.
#
# ### Is pruning a good bet?
#
# The pruner bets that who is behind now stays behind. In earnest one never learns what became of the others. Here we
# can look: we train the pruned trials of the random searches to the end.

# %%
bets = []
for study, split in zip(studies["random, pruning"], splits):
    for trial in study.trials:
        fixed = optuna.trial.FixedTrial(trial.params)
        final = objective(fixed, split, ["frozen"]) if trial.state.name == "PRUNED" else trial.value
        bets.append({"state": trial.state.name.lower(), "score": final, "wins": final > study.best_value})
bets = pd.DataFrame(bets)
by_state = bets.groupby("state")["score"].mean()
behind = by_state["complete"] - by_state.get("pruned", 0.0)
expect("pruned_behind", behind, contrast=0, limits=(-1, 1))
bets.groupby("state").agg(
    trials=("score", "size"), mean=("score", "mean"), best=("score", "max"), winners=("wins", "sum")
).round(3)

# %% [markdown]
# Trained to the end, the pruned trials stay {{pruned_behind.mean:.2f}} behind those that were spared, on average.
# "Winners" are pruned trials that would have beaten the best of their search. Where there are some, the bet was lost:
# curves cross. That is the price. The table of section 5 says what pruning brought at equal budget.

# %% [markdown]
# ## 6. What did the searches learn?
#
# The trials of the random searches are an even sample of the space, and none was pruned. So they are the right ones to
# ask how the score depends on the parameters. (The trials of TPE crowd where it is good: about the rest they know
# little.)
#
# For the next cell but one, each trial gets one more parameter: a random number that nobody used.

# %%
from optuna.distributions import FloatDistribution

random = np.random.default_rng(SEED)
pooled = optuna.create_study(direction="maximize")
for trial in (trial for study in studies["random"] for trial in study.trials):
    made = optuna.create_trial(
        params=trial.params | {"nothing": random.random()},
        distributions=trial.distributions | {"nothing": FloatDistribution(0, 1)},
        value=trial.value,
    )
    pooled.add_trial(made)

# %% [markdown]
# **Slices** show one parameter at a time. Each point is a trial; the darker, the later.

# %%
with plt.style.context({"figure.figsize": (6.6, 3.6)}):  # half of the width for each panel
    shown = ["learning_rate", "dropout", "weight_decay", "log2_width"]
    axes = optuna_plots.plot_slice(pooled, shown, target_name="balanced accuracy")
    axes[0].figure.set_label("Score over each parameter; only the learning rate has a clear hill")
    plt.show()

# %% [markdown]
# The learning rate has a hill in the middle and both slopes fall far. Wider heads are better, up to the edge of the
# space: a search that ends at an edge asks for a wider space. The dropout matters less, except perhaps at its ends. The
# weight decay shows little. (Scores of .125 are networks that give one answer to everything.)
#
# **Importance** puts a number on it. fANOVA (Hutter et al. 2014) fits a random forest to the trials and splits the
# variance of its predictions into shares of the parameters. Optuna 5's default, PED-ANOVA (Watanabe et al. 2023), asks
# how far the distribution of a parameter among the *good* trials differs from that among all. How large is the share of
# a parameter that does *nothing*? The random number tells.

# %%
evaluators = {
    "fANOVA: over the whole space": optuna.importance.FanovaImportanceEvaluator(seed=SEED),
    "PED-ANOVA: among the good": optuna.importance.PedAnovaImportanceEvaluator(),
}
importance = {}
for name, evaluator in evaluators.items():
    importance[name] = optuna.importance.get_param_importances(pooled, evaluator=evaluator)

# %%
importance = pd.DataFrame(importance).drop(index="strategy", errors="ignore")
importance = importance.sort_values(importance.columns[0])
bars = importance.rename(index=lambda name: name.replace("_", " "))
ax = bars.plot.barh(figsize=(8, 4.2), width=0.75)
ax.set(title=f"Importance, from {len(pooled.trials)} random trials", xlabel="share")
handles, labels = ax.get_legend_handles_labels()
ax.legend(handles[::-1], labels[::-1], loc="lower right")  # in the order of the bars
ax.figure.set_label("Importance of the parameters, one of which does nothing")
fanova = importance.iloc[:, 0]
expect("importance_of_nothing", fanova["nothing"], contrast=fanova["learning_rate"], limits=(0, 1))
plt.show()

# %% [markdown]
# Of what the parameters explain one by one, fANOVA gives the learning rate {{importance_of_nothing.contrast:.0%}}
# (between {{importance_of_nothing.contrast_low:.0%}} and {{importance_of_nothing.contrast_high:.0%}} over
# repetitions), and the parameter that does nothing {{importance_of_nothing.mean:.0%}}. (Optuna scales the shares so
# that they sum to one.) A bar about as short as that of *nothing* is no evidence. And such numbers belong to the
# *space*, not to the parameter: narrow the learning rate to the top of its hill, and little of its importance is left.
# The two methods answer different questions, so they may order the parameters differently.
#
# **Contours** show two parameters together. Look whether the best learning rate moves when the other parameter changes.
# Optuna interpolates the surface between the trials; trust it only where there are points.

# %%
for other in ("dropout", "log2_width"):
    with plt.style.context({"figure.figsize": (7, 4.4)}):
        shown = ["learning_rate", other]
        ax = optuna_plots.plot_contour(pooled, shown, target_name="balanced accuracy")
        ax.figure.set_label(f"Score over learning rate and {other}; a hill at middle rates")
        plt.show()

# %% [markdown]
# If the hill moves, the two parameters must be tuned together. With so few trials, read no more from the surface: over
# repetitions we compared neither the place of the hill nor its height.
#
# ## 7. What is the best trial's score worth?
#
# The best of many trials was chosen *because* its score was high. Part of that height is merit, part is luck, and luck
# does not come along (Cawley & Talbot 2010).
#
# ### First, coins
#
# Twenty classifiers guess the labels of 50 images by tossing a coin. Each is right with probability one half. The
# number right is binomial, and the largest $M$ of twenty independent ones has the mean
#
# $$\mathbb E[M] = \sum_{k=1}^{50} P(M \ge k) = \sum_{k=1}^{50} \left(1 - F(k-1)^{20}\right),$$
#
# where $F$ is the distribution function of one. Then the same by simulation. `choose_and_check` draws 50 images many
# times, each class in proportion, takes the trial that is best on them, and scores it on the others.

# %%
from scipy.stats import binom
from sklearn.model_selection import StratifiedShuffleSplit


def score_of_all(right, labels):
    """Return the balanced accuracy of each row of `right`, trials by images."""
    return np.mean([right[:, labels == label].mean(axis=1) for label in np.unique(labels)], axis=0)


def choose_and_check(right, labels, count, random):
    """Choose the best of `count` trials on 50 images; return its score there, and on all others."""
    draws = StratifiedShuffleSplit(REDRAWS, train_size=50, random_state=SEED)
    scores = []
    for here, there in draws.split(labels, labels):
        tried = right[random.choice(len(right), count, replace=False)]
        reported = score_of_all(tried[:, here], labels[here])
        elsewhere = score_of_all(tried[[reported.argmax()]][:, there], labels[there])[0]
        scores.append([reported.max(), elsewhere])
    return np.mean(scores, axis=0)


# %%
random = np.random.default_rng(SEED)
tosses = random.random((2000, 100)) < 0.5
labels = np.zeros(100, int)  # all heads
coins = {count: choose_and_check(tosses, labels, count, random) for count in (1, 2, 5, 10, 20, 50)}
expected = np.sum(1 - binom.cdf(np.arange(50), 50, 0.5) ** 20) / 50
print(
    f"best of 20 coins: expected {expected:.3f}, simulated {coins[20][0]:.3f};",
    f"on other images {coins[20][1]:.3f}",
)

# %% tags=["nbval-check-output"]
expect("coins", coins[20][0], contrast=coins[20][1], limits=(0, 1))
assert abs(coins[20][0] - expected) < 0.02
print("formula and simulation agree to .02")

# %% [markdown]
# The best coin reports {{coins.mean:.3f}}. It is right half of the time.
#
# ### Then, our own trials
#
# Coins have no merit at all; configurations do. The same experiment with real trials: random configurations are
# trained once, and *all* pictograms that they were not trained on take the place of the 100 tosses. For this we use
# some splits of their own, whose test sets decide nothing else.


# %%
def trained_at_random(split, seed):
    """Train random configurations; return what they get right of the unseen, and its labels."""
    study = optuna.create_study(sampler=random_search(seed))
    unseen = np.concatenate([split.validation, split.test.open()])
    right = []
    for _ in range(OWN_TRIALS):
        *_, predict = training(suggest(study.ask(), ["frozen"]), split.train)
        right.append(predict(unseen) == y[unseen])
    return np.array(right), y[unseen]


seeds = [100 * SEED + 60 + number for number in range(OWN_SPLITS)]
trained = [trained_at_random(new_split(seed), seed) for seed in seeds]

# %%
sizes = [count for count in (1, 2, 5, 10, 20, 40, 120) if count <= OWN_TRIALS]
ours = {
    count: np.mean([choose_and_check(*of_split, count, random) for of_split in trained], axis=0)
    for count in sizes
}

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 4.4))
for ax, scores, title in zip(axes, (coins, ours), ("Coins", "Configurations")):
    reported, true = np.array(list(scores.values())).T
    counts, wrong = list(scores), ROLE_COLOURS["wrong way"]
    ax.plot(counts, reported, "o-", color=wrong, label="its own score")
    ax.plot(counts, true, "s-", color=ROLE_COLOURS["transfer"], label="on other images")
    ax.fill_between(counts, true, reported, color=wrong, alpha=0.12, linewidth=0)
    ax.set(title=f"{title}, chosen on 50 images", xscale="log", ylabel="score of the best trial")
    ax.set_xlabel("trials to choose from")
    ax.set_xticks(counts, counts)
    ax.minorticks_off()
axes[0].legend(loc="upper left")
figure.set_label("Reported and true score of the best of 1 to many trials")
optimism = {count: reported - true for count, (reported, true) in ours.items()}
expect("optimism_of_one", optimism[1])
expect("optimism_of_many", optimism[sizes[-1]])
plt.show()

# %% [markdown]
# A single trial, not chosen, is off by {{optimism_of_one.mean:+.3f}} ± {{optimism_of_one.half_width:.3f}}. The best of
# 40 reports {{optimism_of_many.mean:.3f}} ± {{optimism_of_many.half_width:.3f}} more than it is worth. That is less
# than with coins, because configurations really differ, and merit is part of their height. The gap grows with the
# number of trials; with more images it is smaller, as lesson 09 shows with coins. On the right the blue line rises as
# well: choosing does find better configurations. Searching is right. Reporting the search's own score is wrong.
#
# ### And the four searches
#
# Now the nested test: for each search of section 5, the best configuration is trained once more and scored on the set
# that its search has never seen. Beside them stand two configurations that nobody searched for: Keras' default learning
# rate with a dropout of one half, and a guess, the head of "One head, all rates" with a rate of .002. (It is not quite
# innocent: that curve was drawn on validation sets of other splits.)

# %%
default = dict(one, learning_rate=1e-3, dropout=0.5, weight_decay=4e-3, log2_width=5)
unsearched = {"default": default, "guess": good}


def score_on(numbers, params, split):
    *_, predict = training(suggest(optuna.trial.FixedTrial(params)), split.train)
    return balanced_accuracy(numbers, predict(numbers))


rows = []
for repetition, split in enumerate(splits):
    test = split.test.open()
    for arm in ARMS:
        best = studies[arm][repetition].best_trial
        rows.append((repetition, arm, best.value, score_on(test, best.params, split)))
    for name, params in unsearched.items():
        scores = [score_on(numbers, params, split) for numbers in (split.validation, test)]
        rows.append((repetition, name, *scores))
nested = pd.DataFrame(rows, columns=["repetition", "search", "validation", "test"])

# %%
means = nested.groupby("search")[["validation", "test"]].mean().loc[[*ARMS, *unsearched]]
means["optimism"] = means["validation"] - means["test"]
scores = nested.pivot(index="repetition", columns="search")
validations, tests = scores["validation"], scores["test"]
differences = by_split(tests[[*ahead, *unsearched]].sub(tests["random"], axis=0))
means["test, ahead of random"] = differences.mean()
means["± (95%)"] = differences.apply(lambda column: mean_and_interval(column)[1])
means.round(3)

# %%
of_splits = nested.groupby([nested["repetition"] // 2, "search"], sort=False).mean()
long = (
    of_splits[["validation", "test"]]
    .reset_index("search")
    .melt("search", var_name="set", value_name="balanced accuracy")
)
colours = {"validation": ROLE_COLOURS["wrong way"], "test": ROLE_COLOURS["transfer"]}
ax = sns.pointplot(
    long, x="search", y="balanced accuracy", hue="set", palette=colours, markers=["o", "s"],
    dodge=0.25, linestyle="none", errorbar=confidence_interval, capsize=0.08,
)  # fmt: skip
ax.figure.set_size_inches(10, 4.4)
ax.set(title="Best configuration: where it was chosen, and elsewhere", xlabel="")
ax.legend(title=None, loc="center left", bbox_to_anchor=(1, 0.5))
ax.figure.set_label("Scores of the best configurations on validation and on the nested test")
plt.show()

# %%
flattered = by_split((validations - tests)[list(ARMS)])
flattered["TPE, pruning - random"] = flattered["TPE, pruning"] - flattered["random"]
flattered.agg(mean_plus_minus).to_frame("optimism, mean ± 95% over splits")

# %% tags=["nbval-check-output"]
searched = nested[nested["search"].isin(ARMS)]
expect("optimism", (searched["validation"] - searched["test"]).mean(), contrast=0, limits=(-1, 1))
expect("gain_test", differences["TPE, pruning"].mean())
expect("default_behind", -differences["default"].mean(), contrast=0, limits=(-1, 1))
expect("nested_test", searched["test"].mean(), contrast=1 / 8, limits=(0, 1))
assert [split.test.openings for split in splits] == [1] * len(splits)
print("each test set was opened once, after the searches")

# %%
best = first_study.best_trial
on_test = score_on(first.test.open(), best.params, first)
print(f"the first study, best trial: {best.value:.3f} on validation, {on_test:.3f} on its test set")

# %% [markdown]
# The first study has one score on each set. If the two differ, nobody can say how much of it was optimism and how much
# the split. So look at the means. The best trials were {{optimism.mean:.3f}} ± {{optimism.half_width:.3f}} too good,
# over four ways of searching and all splits. (Validation and test set were exchanged in half of them, so a set that is
# easier than the other cannot be the reason.) They reach {{nested_test.mean:.2f}} on data that chose nothing.
#
# Are all searches flattered alike? The second table shows it for this run, with intervals over the splits. The
# optimism of random search may come out negative there: with twenty trials it is small, and a hundred pictograms
# measure it roughly. One would expect that a search which follows the score of validation more closely, as TPE with
# pruning does, is flattered more. We have not shown it: the last row rests on three splits.
#
# And the contest? On validation TPE with pruning was {{gain_validation.mean:+.3f}} ±
# {{gain_validation.half_width:.3f}} ahead of random search over five runs. On the nested test it is
# {{gain_test.mean:+.3f}} ± {{gain_test.half_width:.3f}}: no gain was shown, and none was excluded. A single run may
# show either sign. With some hundred pictograms to validate, much of a lead on validation is luck. (In `full` there
# are ten splits.)
#
# (Nothing was chosen for the last two rows, and each set serves once as validation and once as test. So their optimism
# is exactly zero.)
#
# Was the search worth it? The default stays {{default_behind.mean:.2f}} ± {{default_behind.half_width:.2f}} behind
# random search. But that is a weak opponent. Look at the last row of the first table: the guess needs no search at
# all. Where its interval reaches zero, these searches have not shown that they beat it. A configuration that you trust
# belongs at the front of the queue of a search, `study.enqueue_trial(default)`: it costs one trial, and on validation
# the search cannot end below it. It does not free you from the nested test.

# %% [markdown]
# ## 8. Killed, resumed, shared
#
# A search in earnest runs for days, and machines do not. A study in memory is lost with its process. Optuna keeps a
# study in a **storage**: each parameter and each reported score is written at once. On one machine an SQLite file will
# do.
#
# A process that is killed leaves its trial behind, marked as running. For databases Optuna has a **heartbeat**: while a
# trial runs, its process writes the time every `heartbeat_interval` seconds. Whoever starts a trial looks for running
# ones without a sign of life for `grace_period` seconds, marks them as failed, and calls back;
# `RetryHeartbeatStaleTrialCallback` puts their configuration into the queue again. `MaxTrialsCallback` ends the search
# when the *storage* holds enough finished trials. (`n_trials=100` after a restart would run 100 *more*.)
#
# A worker is a script of its own. It shares two files with the others: the cached features and the database. It imports
# no TensorFlow, trains a linear head with scikit-learn, and so starts quickly. First the training, with a report and a
# look at the pruner after every ten epochs:

# %%
HEAD = """
import numpy as np
import optuna
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import balanced_accuracy_score

file = np.load("features.npz")
x, y, x_validation, y_validation = (file[name] for name in file)

def train(trial):
    rate = trial.suggest_float("learning_rate", 1e-6, 1e-1, log=True)
    alpha = trial.suggest_float("alpha", 1e-6, 1e-1, log=True)
    head = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, alpha=alpha)
    for step in range(6):
        for epoch in range(10):
            head.partial_fit(x, y, classes=range(8))
        score = balanced_accuracy_score(y_validation, head.predict(x_validation))
        trial.report(score, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return score
"""

# %% [markdown]
# Then the worker. It opens the study in the database, with a heartbeat, and goes on until enough trials have ended.

# %%
WORKER = """
import sys
import optuna
from head import train
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

n_trials, seed = int(sys.argv[1]), int(sys.argv[2])

def objective(trial):
    trial.set_user_attr("worker", seed)
    return train(trial)

optuna.logging.set_verbosity(optuna.logging.WARNING)
retry = RetryHeartbeatStaleTrialCallback(max_retry=3)
beat = dict(heartbeat_interval=1, grace_period=3, heartbeat_stale_trial_callback=retry)
storage = RDBStorage("sqlite:///search.db", **beat)
sampler, pruner = optuna.samplers.TPESampler(seed=seed), optuna.pruners.MedianPruner(4, 1)
study = optuna.load_study(study_name="search", storage=storage, sampler=sampler, pruner=pruner)
enough = MaxTrialsCallback(n_trials, states=(TrialState.COMPLETE, TrialState.PRUNED))
study.optimize(objective, callbacks=[enough])
"""

# %% [markdown]
# The study is created before the workers start, so that they do not create the tables at the same moment. Then we start
# one worker, wait until it is in the middle of a trial, and kill it. It gets no chance to tidy up: `kill()` sends what
# `kill -9` sends, and what Linux sends when memory runs out. (A kill between two trials would hit none. Then we start a
# worker once more.)

# %%
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

directory = tempfile.TemporaryDirectory()
folder = Path(directory.name)
(folder / "head.py").write_text(HEAD)
(folder / "worker.py").write_text(WORKER)
x = features[BACKBONES[0]].numpy()
of_train = {"x": x[first.train], "y": y[first.train]}
of_validation = {"x_validation": x[first.validation], "y_validation": y[first.validation]}
np.savez(folder / "features.npz", **of_train, **of_validation)
address = f"sqlite:///{folder}/search.db"
shared = optuna.create_study(study_name="search", storage=address, direction="maximize")
seeds = itertools.count(SEED)  # each start gets one of its own


def start_worker():
    command = [sys.executable, "-W", "ignore", "worker.py", str(SHARED_TRIALS), str(next(seeds))]
    return subprocess.Popen(command, cwd=folder)


# %%
def in_mid_trial(trials):
    """Return the trials that run and have reported something."""
    return [trial for trial in trials if trial.state.name == "RUNNING" and trial.intermediate_values]


running = []
while not running:
    worker = start_worker()
    while not in_mid_trial(shared.get_trials(deepcopy=False)[SHARED_TRIALS // 4 :]):
        assert worker.poll() is None, "the worker ended before it could be killed"
        time.sleep(0.02)
    worker.kill()
    worker.wait()
    before = shared.trials
    running = in_mid_trial(before)

# %% tags=["nbval-check-output"]
(lost,) = running
assert worker.returncode != 0
print("worker killed - trials left running:", len(running))

# %% [markdown]
# We wait until the grace period is over. Then two workers at once, on the same study. No one tells them what happened.

# %%
time.sleep(4)
workers = [start_worker(), start_worker()]
assert [worker.wait() for worker in workers] == [0, 0]
after = shared.trials
again_of = optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number
pd.DataFrame(
    {
        "state": [trial.state.name.lower() for trial in after],
        "score": [trial.value for trial in after],
        "reports": [len(trial.intermediate_values) for trial in after],
        "worker": [1 + trial.user_attrs["worker"] - SEED for trial in after],
        "runs again": pd.array([again_of(trial) for trial in after], dtype="Int64"),
    }
).rename_axis("trial").round(3).astype(object).fillna("")

# %% tags=["nbval-check-output"]
finished = [trial for trial in after if trial.state.name in ("COMPLETE", "PRUNED")]
again = [trial for trial in finished if again_of(trial) == lost.number]
assert after[lost.number].state.name == "FAIL"
assert [trial.params for trial in again] == [lost.params]
assert all(after[trial.number].value == trial.value for trial in before if trial is not lost)
assert SHARED_TRIALS <= len(finished) <= SHARED_TRIALS + 1, "trials were forgotten"
print("the killed trial is marked as failed; its configuration ran again, once")
print("finished trials from before the kill are unchanged")
directory.cleanup()

# %% [markdown]
# Nothing was lost. What this recipe does not do:
#
# - **The count is not exact.** A worker that is in a trial when the number is reached still ends it: two workers may
#   finish one trial more than was asked for. And a worker that joins a finished study runs one trial before it looks.
# - **Someone must come by.** A dead trial is noticed when a trial *starts* after the grace period. At the very end of a
#   search it stays "running".
# - **Only death is retried.** A trial that ends by an exception, by Ctrl-C or with NaN is marked as failed, and its
#   configuration is gone.
# - **A heartbeat needs a database.** Journal files have none.
# - **Same seed, same configurations.** A worker that starts again with its old seed draws what it drew before. So give
#   each start a seed of its own.
#
# This worker tunes a plain linear head. The space of section 2 does not contain it, and no search finds what is not in
# its space. So such a head belongs beside every search; lesson 09 measures one there, over five runs.
#
# ### More workers
#
# - **Threads**: `study.optimize(objective, n_jobs=4)` runs trials in threads of one process. Good for objectives that
#   wait, little use for TensorFlow, which by itself uses all cores (here we limited it to one), and wrong for our
#   shared networks.
# - **Processes on one machine**: as above. Give each its share of the cores.
# - **Several machines**: the same code with a database server instead of a file, `RDBStorage("postgresql://...", ...)`,
#   and a longer heartbeat. On a Dask cluster, `optuna_integration.DaskStorage` keeps the study on the scheduler.
# - What the workers share: the storage and the cache of features. What they must not share: the seed.
#
# With many workers at once TPE knows less at each step: it proposes before the others have answered. Optuna 5 by default
# counts running trials as bad ones (`constant_liar`), so that workers do not all try the same. We did not measure what
# is lost. Random search does not mind.

# %% tags=["headline"]
expect.table()
