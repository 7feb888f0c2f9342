# ---
# jupyter:
#   course:
#     title: The zoo of pretrained networks
#     question: More than forty pretrained networks are one line of code away. Which one should you take?
#     results:
#       lost_serving_caffe: "accuracy lost by caffe preprocessing at serving only, mean of two networks, in pairs"
#       pretrained_gain_pictograms: "pretrained minus the better random network, accuracy on pictograms, in pairs"
#       over_pixels_digits: "pretrained networks, mean of eight candidates, minus pixels, accuracy on digits"
#       evidence_regret: "accuracy lost by taking the network of best LogME, mean of two tasks"
#       random_regret: "accuracy lost by taking one of the eight candidates at random"
#     goals:
#       - load any network of the zoo by name, with its own preprocessing and input size, and read what it costs;
#       - count parameters and operations, measure latency and memory, and know which of them predicts which;
#       - compare networks fairly on your own task, and read a Pareto plot;
#       - score networks by the evidence of their features, without fitting heads, and say how far to trust the score;
#       - recognise two traps - one preprocessing for all, and padding on the other side.
#     prerequisites:
#       - notebook 02 (frozen features and a head);
#       - for section 5, eigenvalues of a symmetric matrix and the Gaussian density.
#     recap:
#       - >-
#         A pretrained network is its weights together with its preprocessing, its padding and its input size.
#         Exchange one of them and the numbers change, often without an error.
#       - >-
#         A wrong preprocessing at serving only costs much, in caffe style {{lost_serving_caffe.mean:.2f}} ±
#         {{lost_serving_caffe.half_width:.2f}} of accuracy. Throughout, the new head adapts, and hides most of it.
#       - >-
#         Parameters, operations, latency and memory are four different prices. Count the first two, measure the
#         others on the machine that will pay them.
#       - >-
#         Put a baseline without any network beside the zoo: on the digits, the average network minus pixels is
#         {{over_pixels_digits.mean:+.3f}} ± {{over_pixels_digits.half_width:.3f}}.
#       - >-
#         Four networks, three of one family, are too few to say how well a score ranks networks in general. Ask for
#         the regret of a choice instead.
#       - >-
#         Choosing by LogME on twenty labels of each class cost {{evidence_regret.mean:.3f}} ±
#         {{evidence_regret.half_width:.3f}} of accuracy against the best of eight, averaged over two tasks; any network
#         at the largest size {{largest_regret.mean:.3f}} ± {{largest_regret.half_width:.3f}}.
#     shows: >-
#       A wrong preprocessing at serving only costs {{lost_serving_caffe.mean:.2f}} ±
#       {{lost_serving_caffe.half_width:.2f}} of accuracy, and a new head hides most of it. On digits, the average
#       pretrained network minus pixels is {{over_pixels_digits.mean:+.3f}} ± {{over_pixels_digits.half_width:.3f}}. The
#       choice by LogME gives away {{evidence_regret.mean:.3f}} ± {{evidence_regret.half_width:.3f}}, any network at the
#       largest size {{largest_regret.mean:.3f}} ± {{largest_regret.half_width:.3f}}.
#     references: [
#       kornblith2019, you2021, mackay1992, bao2019, russakovsky2015, tan2019, tan2021, liu2020, liu2022, sandler2018,
#       simonyan2015, he2016, he2016identity, szegedy2016, szegedy2017, chollet2017, howard2017, howard2019, huang2017,
#       zoph2018, jacob2018, sze2017, cawley2010, openmoji
#     ]
# ---

# %% tags=["parameters"]
PROFILE = "default"  # smoke, default or full
SEED = 0
NAMES = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2", "MobileNetV2Torch"]
SIZES = [64, 128]  # sides of the images in pixels; 0: the one a network was trained at
DRAWS = 5  # splits of the data
DIGITS = 60  # images of each digit
SHOTS = 20  # labelled images of each class
REPEATS = 8  # of each timed pass
PROCESSES = 4  # fresh processes in which memory is measured, at most
ASK_EVERY = 2  # the recommender is asked about every second network
EAGER = False  # True: no graphs where few passes do not pay for them

# %% [markdown]
# `NAMES` lists the networks to compare, two or more. The four above are carried by packages and need no internet. With
# a connection, all names of `zoo_table()` may stand there too, such as `["ResNet50", "DenseNet121"]`; Xception wants
# images of 71 pixels or more in `SIZES`, InceptionV3 and InceptionResNetV2 of 75. The figures quoted in the text hold
# for the four.

# %%
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import tensorflow as tf
from scipy.linalg import helmert
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC

# %%
from course_utils.data import Samples, few_shot, load_imagenet_photos, load_mnist, load_openmoji, stratified_split
from course_utils.data.assets import fetch
from course_utils.errors import CourseError
from course_utils.evaluation import ROLE_COLOURS, Expectations, mean_and_interval, show_source
from course_utils.models import efficientnet_lite, extract_features, fold_batch_norm
from course_utils.models.inverted_residual import build_network
from course_utils.models.preprocessing import ApplicationPreprocessing
from course_utils.zoo import BACKBONES, load_backbone, zoo_table
from course_utils.zoo.candidates import measure_candidates
from course_utils.zoo.cost import count_flops, measure_cost, multiplications
from course_utils.zoo.memory import count_memory, measure_memory
from course_utils.zoo.recommender import chosen_strategy, recommend, spoken, with_predicted_times
from course_utils.zoo.transferability import h_score, log_evidence, prepared

# %%
SEEDS = [100 * SEED + draw for draw in range(DRAWS)]
CARRIED = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2", "MobileNetV2Torch"]
if PROFILE == "default" and NAMES != CARRIED:  # the figures of the text belong to these four
    expect = Expectations("experiments/05_pretrained_zoo", f"default with {', '.join(NAMES)}")

tf.get_logger().setLevel("ERROR")  # it takes the many graphs of this notebook for a mistake

# %% [markdown]
# ## 1. One registry
#
# Each network below was trained on ImageNet (Russakovsky et al. 2015), by different people, with different habits.
# The registry keeps together what belongs together: the class, the preprocessing, the input size, the number of
# parameters, the published accuracy, the source of the weights and their licence.

# %%
zoo = zoo_table()
first = zoo[(zoo["from"] == "carried") | ~zoo["from"].duplicated()]
shown = first.replace({"from": {"^keras.applications.": ""}}, regex=True).drop(columns="published by")
shown.round({"parameters [M]": 1, "without head [M]": 1})

# %% [markdown]
# These are the carried networks, and the first of each module of Keras; `zoo_table()` has all. "Top-1" is the share of
# the 50,000 ImageNet validation photos that a network's first guess names, as published by
# [Keras](https://keras.io/api/applications), by
# [Google](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite) for EfficientNet-Lite, and
# by [PyTorch](https://pytorch.org/vision/stable/models.html). "caffe", "tf" and "torch" are the three styles of
# preprocessing of `keras.applications`; "own" means another one, or one inside the network. "From" names a module of
# `keras.applications`, whose weights Keras downloads; the first four rows are *carried*: their weights come from
# packages. The families are VGG (Simonyan & Zisserman 2015), ResNet (He et al. 2016), ResNetV2 (He et al. 2016,
# "Identity mappings"), Inception (Szegedy et al. 2016; Szegedy et al. 2017), Xception (Chollet 2017), MobileNet (Howard
# et al. 2017; Sandler et al. 2018; Howard et al. 2019), DenseNet (Huang et al. 2017), NASNet (Zoph et al. 2018),
# EfficientNet (Tan & Le 2019; Liu 2020; Tan & Le 2021) and ConvNeXt (Liu et al. 2022). (MobileNetV2Torch has no head,
# and its package does not say where the weights come from. The figure in its row is the one published for PyTorch's own
# MobileNetV2.)

# %%
shifts = {
    "VGG16": (-6, -14), "ResNet50": (6, -12), "ResNet152V2": (6, -4), "InceptionResNetV2": (6, -4),
    "MobileNetV2": (6, 2), "MobileNetV3Small": (6, 3), "NASNetMobile": (6, -13), "NASNetLarge": (6, -4),
    "DenseNet121": (6, 2), "EfficientNetLite0": (-6, -9), "EfficientNetB0": (-6, 3), "EfficientNetB7": (6, -11),
    "EfficientNetV2L": (6, -13), "EfficientNetV2S": (-6, 6), "ConvNeXtTiny": (6, 3), "ConvNeXtXLarge": (-6, 5),
}  # fmt: skip
figure, ax = plt.subplots(figsize=(10, 6))
carried = zoo["from"] == "carried"
for group, label, role in ((~carried, "downloaded", "reference"), (carried, "carried", "transfer")):
    x, y = zoo.loc[group, "without head [M]"], zoo.loc[group, "published top-1"]
    ax.scatter(x, y, s=90, label=label, color=ROLE_COLOURS[role], zorder=3)
for name, shift in shifts.items():
    place = dict(xytext=shift, textcoords="offset points", ha="left" if shift[0] > 0 else "right")
    ax.annotate(name, zoo.loc[name, ["without head [M]", "published top-1"]], fontsize=10, **place)
ax.set(xscale="log", ylabel="published top-1", title=f"{len(zoo)} networks, some with their names")
ax.set_xlabel("parameters without head, millions (logarithmic)")
ticks = [1, 2, 5, 10, 20, 50, 100, 200]
ax.set_xticks(ticks, ticks)
ax.minorticks_off()
ax.legend(loc="upper left")
figure.set_label("Published top-1 of the networks over their millions of parameters")
plt.show()

# %% [markdown]
# More parameters alone do not buy accuracy. Without its head VGG16 has more than four times the weights of
# EfficientNet-Lite0, with its head thirty times, and it names fewer photos. (Nine of ten weights of VGG16 sit in the
# head that we throw away anyway: compare the two columns of the table.) Nor were all trained alike: ConvNeXtBase and
# its larger sisters saw the 14 million images of ImageNet-21k first.
#
# `load_backbone(name)` builds any of them from raw pixels to pooled features. The registry's numbers are checked: a
# test of this course builds every one of the networks at its own size, counts its weights and runs an image through
# it. Here we check one.

# %% tags=["nbval-check-output"]
built = load_backbone("MobileNetV2", weights=None)
assert built.count_params() == BACKBONES["MobileNetV2"].parameters_without_head
print(f"{built.name}: {built.count_params():,} weights up to {built.output_shape[-1]} features")

# %% [markdown]
# ## 2. Two traps: the same weights, other numbers
#
# ### Mistake: one preprocessing for all
#
# A loop over networks invites a mistake: preprocess the images once, before the loop. Then all networks but one get
# the preprocessing of another. It happens in two ways:
#
# - **at serving only**: the head was fitted on features in the network's own style, and new images come in another;
# - **throughout**: the head is fitted and tested in the same wrong style.
#
# We take two networks that expect different things. EfficientNet-Lite0 wants $(x - 127)/128$, which is almost "tf".
# MobileNetV2Torch wants "torch". They are the only two styles among the carried weights: no network here wants
# "caffe", and none holds its rescaling inside. The task is the eight classes of OpenMoji pictograms of notebook 02.


# %%
def whole(split):
    """Return the training, validation and test set as one."""
    pairs = zip(split.train, split.validation, split.test)
    return Samples(*(np.concatenate(arrays) for arrays in pairs))


def split_rows(y, seed):
    """Return which images are the few labelled ones, which are for validation, and which for the test."""
    train, validation, test = stratified_split(y, seed=seed)
    return few_shot(Samples(train, y[train]), SHOTS, seed).x, validation, test


pictograms = whole(load_openmoji(size=SIZES[-1] or 260))

# %% [markdown]
# The head of the whole notebook is one of four: a logistic regression of one of three strengths, or a support vector
# machine with the usual kernel (RBF). The one with the best accuracy on validation is kept. It is fitted on 20 images
# of each class (4 in `smoke`).


# %%
def fit_head(x, y, few, validation):
    """Fit four heads on the rows `few`; return the one of highest balanced accuracy on the rows `validation`."""
    # PCA with all components only turns the axes: the same fit in fewer dimensions, hence faster.
    turn = make_pipeline(Normalizer(), PCA(svd_solver="full")).fit(x[few])
    heads = [*(LogisticRegression(C=C, max_iter=300) for C in (3, 30, 300)), SVC(C=10)]
    fitted = [make_pipeline(turn, head.fit(turn.transform(x[few]), y[few])) for head in heads]
    return max(fitted, key=lambda head: balanced_accuracy_score(y[validation], head.predict(x[validation])))


# %% [markdown]
# To exchange the preprocessing we exchange one layer of the network. All else stays, weights included.

# %%
MODULES = {"tf": "mobilenet_v2", "torch": "densenet", "caffe": "resnet50"}  # a module of Keras of each style


def with_style(network, style):
    """Return the network with another preprocessing; "raw" is none."""
    layer = ApplicationPreprocessing(MODULES[style]) if style in MODULES else keras.layers.Rescaling(1.0)
    return keras.models.clone_model(network, clone_function=lambda old: layer if old.name == "preprocessing" else old)


in_style = {}  # network -> style -> features of the pictograms
for name in (NAMES[0], NAMES[-1]):
    network = load_backbone(name, input_size=SIZES[0] or None)
    networks = {"own": network} | {style: with_style(network, style) for style in (*MODULES, "raw")}
    in_style[name] = {style: extract_features(network, pictograms.x) for style, network in networks.items()}

# %%
rows = []
for name, of_style in in_style.items():
    for seed in SEEDS:
        few, validation, test = split_rows(pictograms.y, seed)
        heads = {style: fit_head(x, pictograms.y, few, validation) for style, x in of_style.items()}
        for style, x in of_style.items():
            for kind, head in {"serving": heads["own"], "throughout": heads[style]}.items():
                accuracy = balanced_accuracy_score(pictograms.y[test], head.predict(x[test]))
                rows.append({"kind": kind, "network": name, "style": style, "accuracy": accuracy})
styles = pd.DataFrame(rows).groupby(["kind", "network", "style"])["accuracy"].mean().unstack()
styles = styles[["own", *MODULES, "raw"]]

# %%
figure, axes = plt.subplots(1, 2, figsize=(14, 3), sharey=True)
titles = {"serving": "Wrong style at serving only", "throughout": "Wrong style throughout"}
for ax, (kind, title) in zip(axes, titles.items()):
    values = styles.loc[kind]
    labels = [f"{name} ({BACKBONES[name].style})" for name in values.index]
    sns.heatmap(values, annot=True, fmt=".2f", cmap="Blues", vmin=0, vmax=0.8, cbar=False, linewidths=2, ax=ax)
    ax.set(title=title, xlabel="", ylabel="")
    ax.set_yticks(ax.get_yticks(), labels, rotation=0)
    ax.tick_params(length=0)
figure.set_label("Accuracy by network and preprocessing: low in a wrong style at serving, nearly level throughout")
plt.show()

# %%
for (kind, name), accuracies in styles.iterrows():
    for style in (*MODULES, "raw"):
        expect(f"lost_{kind}_{style}_{name}", accuracies["own"] - accuracies[style], limits=(-1, 1))
for name, accuracy in styles.loc["serving"]["own"].items():
    expect(f"own_style_{name}", accuracy, limits=(0, 1))
at_serving = styles.loc["serving"].mean()
for style in ("caffe", "raw"):
    expect(f"lost_serving_{style}", at_serving["own"] - at_serving[style], contrast=0, limits=(-1, 1))

# %% [markdown]
# What a wrong style costs, in pairs: accuracy in the own style minus that in the wrong one. Five runs of five splits
# (the runs share the pictograms, so the intervals are somewhat too narrow). In its own style EfficientNetLite0 reaches
# {{own_style_EfficientNetLite0.mean:.2f}} ± {{own_style_EfficientNetLite0.half_width:.2f}},
# MobileNetV2Torch {{own_style_MobileNetV2Torch.mean:.2f}} ± {{own_style_MobileNetV2Torch.half_width:.2f}}.
#
# | wrong style | Lite0, at serving only | Lite0, throughout | MobileNetV2Torch, at serving only | MobileNetV2Torch, throughout |
# |---|---|---|---|---|
# | tf | {{lost_serving_tf_EfficientNetLite0.mean:.3f}} ± {{lost_serving_tf_EfficientNetLite0.half_width:.3f}} | {{lost_throughout_tf_EfficientNetLite0.mean:.3f}} ± {{lost_throughout_tf_EfficientNetLite0.half_width:.3f}} | {{lost_serving_tf_MobileNetV2Torch.mean:.3f}} ± {{lost_serving_tf_MobileNetV2Torch.half_width:.3f}} | {{lost_throughout_tf_MobileNetV2Torch.mean:.3f}} ± {{lost_throughout_tf_MobileNetV2Torch.half_width:.3f}} |
# | torch | {{lost_serving_torch_EfficientNetLite0.mean:.3f}} ± {{lost_serving_torch_EfficientNetLite0.half_width:.3f}} | {{lost_throughout_torch_EfficientNetLite0.mean:.3f}} ± {{lost_throughout_torch_EfficientNetLite0.half_width:.3f}} | its own | its own |
# | caffe | {{lost_serving_caffe_EfficientNetLite0.mean:.3f}} ± {{lost_serving_caffe_EfficientNetLite0.half_width:.3f}} | {{lost_throughout_caffe_EfficientNetLite0.mean:.3f}} ± {{lost_throughout_caffe_EfficientNetLite0.half_width:.3f}} | {{lost_serving_caffe_MobileNetV2Torch.mean:.3f}} ± {{lost_serving_caffe_MobileNetV2Torch.half_width:.3f}} | {{lost_throughout_caffe_MobileNetV2Torch.mean:.3f}} ± {{lost_throughout_caffe_MobileNetV2Torch.half_width:.3f}} |
# | raw | {{lost_serving_raw_EfficientNetLite0.mean:.3f}} ± {{lost_serving_raw_EfficientNetLite0.half_width:.3f}} | {{lost_throughout_raw_EfficientNetLite0.mean:.3f}} ± {{lost_throughout_raw_EfficientNetLite0.half_width:.3f}} | {{lost_serving_raw_MobileNetV2Torch.mean:.3f}} ± {{lost_serving_raw_MobileNetV2Torch.half_width:.3f}} | {{lost_throughout_raw_MobileNetV2Torch.mean:.3f}} ± {{lost_throughout_raw_MobileNetV2Torch.half_width:.3f}} |
#
# At serving only, caffe style costs {{lost_serving_caffe.mean:.2f}} ± {{lost_serving_caffe.half_width:.2f}} on average
# over the two networks, and raw pixels {{lost_serving_raw.mean:.2f}} ± {{lost_serving_raw.half_width:.2f}}. Throughout,
# the same styles cost a fraction of that: only the head differs between the two columns of a network, so it is the new
# head that adapts. That makes the mistake hard to notice.
#
# There is no error message in any column. The cure is to give each network its preprocessing as its *first layer*, as
# `load_backbone` does, and to feed raw pixels to all. A test of the course
# (`test_network_and_preprocessing_come_from_the_same_module`) checks that every network of the registry sits in the
# same module of Keras as its preprocessing.
#
# Two more entries of this trap: `keras.applications.efficientnet.preprocess_input` does **nothing**, because those
# networks hold their scaling inside; dividing by 255 before is one division too many. And two networks called
# MobileNetV2 want different styles, depending on who trained them.
#
# ### Mistake: the right weights in a slightly other network
#
# A convolution with stride 2 on an even number of pixels must pad one side more than the other, or pad both and
# ignore one. TensorFlow pads at the bottom and right ("same"); PyTorch pads alike on all sides. The shapes agree, the
# number of weights agrees, loading succeeds.
#
# We build EfficientNet-Lite0 twice, with the same weights. The padding of the second is that of PyTorch; this one flag
# is all that differs.

# %%
torch_padding = efficientnet_lite.TENSORFLOW._replace(symmetric_padding=True)
rescaling = keras.layers.Rescaling(1 / 128, -127 / 128)
given = "other padding", 224, fetch("efficientnet_lite0"), rescaling, efficientnet_lite.STAGES, torch_padding
classifiers = {"own padding": load_backbone("EfficientNetLite0", include_top=True)}
classifiers["other padding"] = build_network(*given, has_head=True)

# %%
photos, labels = load_imagenet_photos(size=224)
vectors = {}
for padding, model in classifiers.items():
    both = keras.Model(model.input, [model.get_layer("pool").output, model.output])
    pooled, probabilities = both.predict(photos, verbose=0)
    vectors[padding] = Normalizer().transform(pooled)
    named = np.sum(probabilities.argmax(axis=1) == labels)
    print(f"{padding}: {model.count_params():,} weights, {named} of {len(photos)} photos named")
cosines = np.sum(vectors["own padding"] * vectors["other padding"], axis=1)
print(f"cosine of the two feature vectors of a photo: {cosines.min():.2f} to {cosines.max():.2f}")

# %%
expect("padding_cosine", cosines.mean(), limits=(-1, 1))

# %% [markdown]
# Equal weights in an equal network give a cosine of 1. Here it is {{padding_cosine.mean:.2f}} on average (the same
# twenty photos in every run): not broken, only different. Twenty photos cannot tell which of the two names more. When
# you port weights, compare the *outputs* with the original, to several digits. The tests of this course do so for the
# carried networks, against PyTorch.

# %% [markdown]
# ## 3. What does a network cost?
#
# There are four prices, and they are easily confused.
#
# | price | unit | how we get it |
# |---|---|---|
# | parameters | millions | counted |
# | operations (FLOPs) for an image | billions | counted |
# | latency | milliseconds | measured, median of repeated passes |
# | working memory of a batch | megabytes | counted, and measured in a fresh process |
#
# **Operations.** In a convolution, every weight of the kernel is multiplied and added once at every position of the
# output. So a layer with kernel $k \times k$, $c$ input and $f$ output channels and an output of $h \times w$ costs
#
# $$2 \cdot k^2 c f \cdot h w$$
#
# operations, and a depthwise one, which has no sum over channels, $2 \cdot k^2 c \cdot h w$ (Howard et al. 2017).
# Dense layers have one position. (Where there are hundreds of channels, an ordinary convolution costs hundreds of
# times as much as a depthwise one: the idea of MobileNet.) That is all the code does:

# %%
show_source(count_flops, multiplications)

# %% tags=["nbval-check-output"]
lite = load_backbone("EfficientNetLite0")
for name, model in {"EfficientNetLite0": lite, "MobileNetV2": built}.items():
    print(f"{name} at {model.input_shape[1]} px: {count_flops(model) / 2e6:.0f} million products")

# %% [markdown]
# The paper counts 300 million for MobileNetV2 (Sandler et al. 2018); for Lite0 its authors publish 407 million, head
# and smaller layers included. Beware of the factor of two: many texts call a multiplication *and* an addition one
# operation.
#
# **Memory.** In a batch, the arrays between the layers need more memory than the weights. An array must be kept until
# its last reader has run, so we walk through the network and keep the books. We also measure: a fresh process loads
# the network, and we watch how much it grows while the first batch passes. **Latency** we measure on this machine,
# with BatchNormalization folded away (notebook 02; Jacob et al. 2018): once for an image alone and once in a batch of
# 32. All networks get images of one size here, except in `full`.

# %%
candidates = {}  # network and size -> model
for name in NAMES:
    for size in [size or BACKBONES[name].input_size for size in SIZES]:
        candidates[name, size] = load_backbone(name, input_size=size)

# %%
BATCH = 32
rows, folded = {}, {}
for name in NAMES:
    size = SIZES[-1] or BACKBONES[name].input_size
    folded[name] = fold_batch_norm(candidates[name, size])
    cost = measure_cost(folded[name], batch_size=BATCH, repeats=REPEATS)
    rows[name] = {
        "parameters [M]": cost.parameters / 1e6,
        "GFLOP": cost.flops / 1e9,
        "an image alone [ms]": 1e3 * cost.latency,
        "an image in a batch [ms]": 1e3 * cost.batch_latency,
        "memory of a batch, counted [MB]": count_memory(folded[name], BATCH),
    }
costs = pd.DataFrame(rows).T

# %%
for name in NAMES[:PROCESSES]:  # in smoke only the first: a process takes seconds to start
    costs.loc[name, "memory of a batch, measured [MB]"] = measure_memory(folded[name], BATCH)
costs.round(2)

# %%
figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), sharey=True)
titles = {
    "parameters [M]": "parameters [M]",
    "GFLOP": "GFLOP for an image",
    "an image in a batch [ms]": "ms for an image",
    "memory of a batch, counted [MB]": f"MB for a batch of {BATCH}",
}
for ax, (column, title) in zip(axes, titles.items()):
    bars = ax.barh(costs.index, costs[column], color=ROLE_COLOURS["transfer"])
    ax.bar_label(bars, fmt="%.3g", padding=3)
    ax.set(title=title)
    ax.margins(x=0.2)
axes[0].invert_yaxis()
figure.set_label("Bars of parameters, GFLOP, milliseconds and megabytes of each network")
plt.show()

# %%
expect("batch_gain", (costs["an image alone [ms]"] / costs["an image in a batch [ms]"]).mean(), timing=True)

# %% tags=["nbval-check-output"]
print("fewest operations:", costs["GFLOP"].idxmin())
print("largest working memory:", costs["memory of a batch, counted [MB]"].idxmax())
of_a_batch = "memory of a batch, {} [MB]"
measured_to_counted = costs[of_a_batch.format("measured")] / costs[of_a_batch.format("counted")]
assert measured_to_counted.dropna().between(0.7, 4).all()
print("measured and counted memory are of one order")

# %% [markdown]
# Three things to see. An image alone took {{batch_gain.mean:.1f}} times as long as an image in a batch, averaged
# over networks (± {{batch_gain.half_width:.1f}} over five runs: whatever else the machine does enters here).
# Weights and operations have one order, and memory has another: MobileNetV2 has the fewest weights and operations and
# yet needs the most. And operations are not time: Lite2 does nearly twice as many as MobileNetV2, and did not take
# twice as long. Moving numbers takes time, too (Sze et al. 2017), but we did not test what makes the difference here.
#
# Counted and measured memory differ; we did not test why. For a comparison take the counted one. To be sure that a
# batch fits, measure, and in a fresh process, as we did: one that has computed before has memory left over, and may use
# that instead of growing.
#
# Operations grow with the number of pixels: half the side makes a network four times cheaper. So the *size* belongs
# to the choice as much as the name does. In what follows a candidate is a pair: a network and a size.

# %% [markdown]
# ## 4. The comparison
#
# Two tasks, both far from ImageNet: the pictograms of section 2, and handwritten digits. Each candidate gives frozen
# features, and the head of section 2 is fitted on them. Test figures are means over several draws, each of which
# splits the data anew. (The draws share images, so their intervals are somewhat too narrow.)
#
# Two kinds of candidates are controls. *Random weights* show what the architecture alone can do, at the smallest size.
# *Pixels* do without a network: the images at 28 x 28 pixels are the features, for the same four heads.
#
# Mind what the small images do to the comparison. All networks are asked at sizes below those of their
# training, Lite2 (260 pixels) furthest below. In `full` each network also runs at its own size.
#
# The digits are enlarged to the size of the pictograms and get three equal colours. So one array holds the images of
# both tasks, and one pass through a network serves both.

# %%
tasks = {"pictograms": pictograms, "digits": few_shot(whole(load_mnist()), per_class=DIGITS, seed=SEED)}
digits = tasks["digits"].x
enlarged = np.array(keras.ops.image.resize(digits, pictograms.x.shape[1:3])).astype("uint8")
images = np.concatenate([pictograms.x, np.repeat(enlarged, 3, axis=-1)])

# %%
random_controls, same_shape = {}, {}  # of a control: its model, and the candidate with trained weights
for name in (NAMES[0], NAMES[-1]):
    size = SIZES[0] or BACKBONES[name].input_size
    random_controls[f"{name}, random", size] = load_backbone(name, input_size=size, weights=None)
    same_shape[f"{name}, random", size] = name, size
features = {}
for candidate, model in (candidates | random_controls).items():
    vectors = extract_features(model, images)
    of_pictograms, of_digits = np.split(vectors, [len(pictograms.x)])
    features[candidate] = {"pictograms": of_pictograms, "digits": of_digits}
print(len(features), "candidates,", len(images), "images")

# %%
shrunk = np.array(keras.ops.image.resize(pictograms.x.astype("float32"), (28, 28)))
pixels = {"pictograms": shrunk.reshape(len(shrunk), -1), "digits": digits.reshape(len(digits), -1)}


def one_draw(x, y, seed):
    """Return the test accuracy of the head, and two scores of the few labelled images (section 5)."""
    few, validation, test = split_rows(y, seed)
    guesses = fit_head(x, y, few, validation).predict(x[test])
    plain = make_pipeline(Normalizer(), PCA(svd_solver="full"), LogisticRegression(C=10, max_iter=300))
    folds = cross_val_score(plain, x[few], y[few], cv=min(5, SHOTS), scoring="balanced_accuracy")
    return {
        "accuracy": balanced_accuracy_score(y[test], guesses),
        "LogME": log_evidence(x[few], y[few]),
        "cross-validation": folds.mean(),
    }


# %%
rows = []
for task, samples in tasks.items():
    for (name, size), of_task in (features | {("pixels", 28): pixels}).items():
        for seed in SEEDS:
            found = one_draw(of_task[task], samples.y, seed)
            rows.append({"task": task, "network": name, "size": size, "seed": seed, **found})
results = pd.DataFrame(rows)
results["candidate"] = results["network"] + " " + results["size"].astype(str) + " px"

# %%
table = results.groupby(["network", "size", "task"])["accuracy"].agg(mean="mean", SD="std").unstack()
table.round(3)

# %%
figure, axes = plt.subplots(1, 2, figsize=(14, 5.5), sharey=True)
order = results.groupby("candidate")["accuracy"].mean().sort_values(ascending=False).index
for ax, task in zip(axes, tasks):
    rows = results[results["task"] == task]
    roles = ["scratch" if "random" in name else "reference" if "pixels" in name else "transfer" for name in order]
    grouped = rows.groupby("candidate")["accuracy"]
    spread = [mean_and_interval(grouped.get_group(candidate))[1] for candidate in order]
    style = dict(color=[ROLE_COLOURS[role] for role in roles], error_kw=dict(lw=1.5, capsize=3))
    ax.barh(order, grouped.mean()[order], xerr=spread, **style)
    ax.set(title=f"{task.capitalize()}: accuracy, 95% interval over draws", xlim=(0, 1))
axes[0].invert_yaxis()
figure.set_label("Accuracy of each candidate, of pixels and of random weights, on both tasks")
plt.show()

# %%
accuracy = results.groupby(["task", "network", "size"])["accuracy"].mean()
for task in tasks:
    of_networks = accuracy[task].loc[NAMES]
    trained, random = (accuracy[task][list(pairs)] for pairs in (same_shape.values(), same_shape))
    expect(f"pretrained_{task}", of_networks.mean(), limits=(0, 1))
    against = {"contrast": 0} if task == "pictograms" else {}
    expect(f"pretrained_gain_{task}", trained.mean() - random.max(), limits=(-1, 1), **against)
    expect(f"over_pixels_{task}", of_networks.mean() - accuracy[task, "pixels", 28], limits=(-1, 1))
    expect(f"best_over_pixels_{task}", of_networks.max() - accuracy[task, "pixels", 28], limits=(-1, 1))
    of_name = of_networks.groupby(level="network").mean()
    expect(f"last_minus_others_{task}", of_name[NAMES[-1]] - of_name[NAMES[:-1]].mean(), limits=(-1, 1))

# %% [markdown]
# Averaged over networks and sizes, pretrained features reach {{pretrained_pictograms.mean:.2f}} ±
# {{pretrained_pictograms.half_width:.2f}} on the pictograms and {{pretrained_digits.mean:.2f}} ±
# {{pretrained_digits.half_width:.2f}} on the digits.
#
# **Against random weights.** At the smallest size the two networks that have a twin with random weights reach, on
# average, {{pretrained_gain_pictograms.mean:.2f}} ± {{pretrained_gain_pictograms.half_width:.2f}} more than the better
# twin on the pictograms, and {{pretrained_gain_digits.mean:.2f}} ± {{pretrained_gain_digits.half_width:.2f}} more on
# the digits.
#
# **Against pixels.** On the pictograms the average network lies {{over_pixels_pictograms.mean:+.3f}} ±
# {{over_pixels_pictograms.half_width:.3f}} above pixels. On the digits the difference is
# {{over_pixels_digits.mean:+.3f}} ± {{over_pixels_digits.half_width:.3f}}, for
# the best of the eight, picked on
# these very test figures, {{best_over_pixels_digits.mean:+.3f}} ± {{best_over_pixels_digits.half_width:.3f}}.
#
# Differences between *neighbours* among the pretrained candidates are smaller than the intervals in the figure: do not
# read an order from them. MobileNetV2, the last of the four on ImageNet, stands
# {{last_minus_others_pictograms.mean:+.3f}} ± {{last_minus_others_pictograms.half_width:.3f}} against the mean of the
# others on the pictograms and {{last_minus_others_digits.mean:+.3f}} ± {{last_minus_others_digits.half_width:.3f}} on
# the digits. It differs from them in shape, preprocessing and training; we did not test which of these counts.
#
# ### Accuracy has a price: the Pareto plot
#
# A candidate is worth a look if no other is both cheaper, here in operations, and at least as accurate. Those
# candidates form the **Pareto front**.


# %%
def pareto_front(prices, gains):
    """Return which points no other point beats in both: lower price and higher gain."""
    beaten = [
        np.any((prices <= price) & (gains >= gain) & ((prices < price) | (gains > gain)))
        for price, gain in zip(prices, gains)
    ]
    return ~np.array(beaten)


pretrained_results = results[results["network"].isin(NAMES)]
points = pretrained_results.groupby(["task", "network", "size"], as_index=False)["accuracy"].mean()
flops_at = {candidate: count_flops(model) / 1e9 for candidate, model in candidates.items()}
points["GFLOP"] = [flops_at[name, size] for name, size in zip(points["network"], points["size"])]

# %%
by_network = dict(hue="network", style="network", size="size", sizes=(60, 200), hue_order=NAMES, style_order=NAMES)
figure, axes = plt.subplots(1, 2, figsize=(14, 5))
for ax, task in zip(axes, tasks):
    rows = points[points["task"] == task].sort_values("GFLOP")
    front = rows[pareto_front(rows["GFLOP"].values, rows["accuracy"].values)]
    sns.scatterplot(rows, x="GFLOP", y="accuracy", ax=ax, legend=ax is axes[1], **by_network)
    grey = dict(color=ROLE_COLOURS["reference"], zorder=0)
    ax.step(front["GFLOP"], front["accuracy"], where="post", **grey)
    ax.set(title=f"{task.capitalize()}: Pareto front", xlabel="GFLOP for an image", xscale="log")
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2) if tick < rows["GFLOP"].max()]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.set_xlim(0.8 * rows["GFLOP"].min(), 1.25 * rows["GFLOP"].max())
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure.set_label("Accuracy over GFLOP with the Pareto front, on pictograms and on digits")
plt.show()

# %%
by_size = pretrained_results.groupby(["task", "size"])["accuracy"].mean()
gain = {task: by_size[task].iloc[-1] - by_size[task].iloc[0] for task in tasks}
at_one_size = points.groupby(["task", "size"])["accuracy"]
differ = (at_one_size.max() - at_one_size.min()).groupby("task").mean()
for task in tasks:
    expect(f"larger_images_{task}", gain[task], limits=(-1, 1))
    expect(f"networks_differ_{task}", differ[task], limits=(0, 1))

# %% [markdown]
# The grey line is the front; the larger symbol is the larger image. A point below the line is dominated: another one is
# both cheaper and better. Going from 64 to 128 pixels adds {{larger_images_pictograms.mean:.3f}} ±
# {{larger_images_pictograms.half_width:.3f}} on the pictograms and {{larger_images_digits.mean:.3f}} ±
# {{larger_images_digits.half_width:.3f}} on the digits, averaged over networks. At one size, the best and the worst of
# the four differ by {{networks_differ_pictograms.mean:.3f}} ± {{networks_differ_pictograms.half_width:.3f}} and
# {{networks_differ_digits.mean:.3f}} ± {{networks_differ_digits.half_width:.3f}}; this range also holds the luck of the
# best and the worst, and would not be zero for four equal networks. So the size of the image is a choice as large as
# the name of the network. Twice the side costs four times the operations, though.
#
# The front was found on test figures, by looking at all of them. As a description of what happened this is fine. As a
# way to choose it is not: the front's corners are lucky points too (Cawley & Talbot 2010; notebook 09). The next
# section chooses without the test set.

# %% [markdown]
# ## 5. A ranking without heads
#
# To fit a head on every candidate is honest, and sometimes too slow. Can one tell from the features and labels alone
# how well a head will do? (Every network must still compute its features; only the heads are saved.) You et al.
# (2021) propose the **log evidence** (LogME), after MacKay (1992).
#
# Write one class as a column of targets $y$ (1 for its members, 0 for the others, centred) and the centred features
# as $X$, $n \times d$. Centring takes one direction away, so $n$ is here the number of samples less one. Suppose a
# linear head with random weights and noise:
#
# $$y = X w + \varepsilon, \qquad w \sim \mathcal N(0, \alpha^{-1} I),
# \quad \varepsilon \sim \mathcal N(0, \beta^{-1} I).$$
#
# Then $y$ itself is Gaussian. With the ratio $t = \alpha / \beta$,
#
# $$y \sim \mathcal N\!\left(0,\; \beta^{-1} \left(I + X X^\top / t\right)\right).$$
#
# How probable are the labels we have under this model? That is the evidence. No head is fitted: it is averaged over
# *all* heads. Features in which a simple head separates the classes make the labels probable. A flexible model that
# could explain any labels spreads its probability thin, and is punished by the determinant.
#
# Let $X X^\top = U \operatorname{diag}(\lambda) U^\top$ with eigenvalues $\lambda_i$, and $z = U^\top y$. The
# covariance of $z$ is diagonal with the entries $(1 + \lambda_i/t)/\beta$, so
#
# $$\log p(y) = -\frac n2 \log 2\pi + \frac n2 \log \beta -
# \frac12 \sum_i \log\left(1 + \frac{\lambda_i}{t}\right) - \frac\beta2\, q(t),
# \qquad q(t) = \sum_i \frac{z_i^2}{1 + \lambda_i/t}.$$
#
# Setting the derivative with respect to $\beta$ to zero gives $\beta = n / q(t)$, and what is left depends on $t$
# alone:
#
# $$\log p(y) = -\frac n2 \left(\log \frac{2\pi\, q(t)}{n} + 1\right) -
# \frac12 \sum_i \log\left(1 + \frac{\lambda_i}{t}\right).$$
#
# We try many $t$ and keep the best, for each class; the score is the mean over classes, divided by $n$. (The paper
# finds $\alpha$ and $\beta$ by a fixed-point iteration. One variable on a grid is simpler and cannot stop at a local
# maximum.) The code is the formula:

# %%
show_source(log_evidence)

# %% [markdown]
# First a check: the formula must agree with the Gaussian density written down directly.

# %% tags=["nbval-check-output"]
random = np.random.default_rng(SEED)
x, y = random.normal(size=(12, 5)), np.repeat([0, 1, 2], 4)
centred, targets = (helmert(12) @ array for array in prepared(x, y))  # the 11 directions that are left
best = []
for target in targets.T:
    shapes = [np.eye(11) + centred @ centred.T / t for t in np.logspace(-4, 4, 81)]
    variances = [target @ np.linalg.solve(S, target) / 11 for S in shapes]
    gaussians = [multivariate_normal(cov=v * S) for v, S in zip(variances, shapes)]
    best.append(max(gaussian.logpdf(target) for gaussian in gaussians) / 11)
assert abs(np.mean(best) - log_evidence(x, y)) < 1e-9
print("formula and density agree to 1e-9")

# %% [markdown]
# ### A score that cannot rank
#
# An older score is the H-score (Bao et al. 2019): how much of the spread of the features lies between the classes,
#
# $$H = \operatorname{tr}\left(\operatorname{cov}(x)^{-1} \operatorname{cov}(\mathbb E[x \mid y])\right).$$
#
# `h_score(x, y)` computes it with the pseudo-inverse, after bringing each row of $x$ to length one. Here it is for all
# candidates and the two networks with random weights, on 20 pictograms of each class.

# %% tags=["nbval-check-output"]
rows = Samples(np.arange(len(pictograms.y)), pictograms.y)
few = few_shot(rows, per_class=20, seed=SEED).x  # which pictograms
h_scores = [h_score(of_task["pictograms"][few], pictograms.y[few]) for of_task in features.values()]
assert np.ptp(h_scores) < 1e-3
print(f"every candidate, random or not: {np.mean(h_scores):.3f}")

# %% [markdown]
# There are 160 samples and 1,280 features. Then *any* labels can be written as a linear function of the features, and
# the score takes its largest value, the number of classes less one, for every network. The evidence does not break
# here, because its prior prefers small heads. Whenever a formula inverts a covariance, count samples and dimensions
# first.
#
# ### Does it choose well?
#
# A score is asked of the few labelled images that the head is fitted on, and of nothing else: LogME, and as its most
# obvious rival the *cross-validation* of a logistic regression (five parts). Both are compared with the real accuracy:
# that of the head on test, averaged over draws.

# %%
scores = ["LogME", "cross-validation"]
averages = pretrained_results.groupby(["task", "network", "size"], as_index=False)[[*scores, "accuracy"]].mean()
figure, axes = plt.subplots(2, 2, figsize=(14, 9), sharey="row")
for line, task in zip(axes, tasks):
    for ax, score in zip(line, scores):
        rows = averages[averages["task"] == task]
        sns.scatterplot(rows, x=score, y="accuracy", ax=ax, legend=ax is axes[0, 1], **by_network)
        ax.set(title=task.capitalize())
axes[0, 1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure.set_label("Accuracy over two scores, LogME and cross-validation, on pictograms and on digits")
plt.show()

# %% [markdown]
# No rank correlation is quoted. There are eight candidates, but only four networks, three of them of one family. The
# two sizes of a network are candidates for a *choice*; they are no further networks. An order that comes from the
# sizes says nothing on networks in general. Kornblith, Shlens & Le (2019) compared many networks, and found that
# ImageNet accuracy predicts transfer well over many tasks of natural photos.
#
# What matters in the end is a loss: **regret**, the accuracy given away by taking the candidate that a score puts
# first, instead of the one that is really best. Two rivals know nothing of the task: the best ImageNet accuracy at the
# largest size, and any network at the largest size.


# %%
def regrets(task):
    rows = pretrained_results[pretrained_results["task"] == task].set_index(["network", "size"])
    real = rows.groupby(level=["network", "size"])["accuracy"].mean()
    largest = real[[(name, SIZES[-1] or BACKBONES[name].input_size) for name in NAMES]]
    best_on_imagenet = max(largest.index, key=lambda pair: BACKBONES[pair[0]].top1)
    by_seed = rows.groupby("seed")
    chosen = {score: real[list(by_seed[score].idxmax())].mean() for score in ("LogME", "cross-validation")}
    chosen["ImageNet top-1, largest size"] = real[best_on_imagenet]
    chosen["at random, largest size"] = largest.mean()
    chosen["at random"] = real.mean()
    return real.max() - pd.Series(chosen)


regret = pd.DataFrame({task: regrets(task) for task in tasks})
regret.round(3)

# %%
regret_of = dict(zip(("evidence", "validation", "imagenet", "largest", "random"), regret.mean(axis=1)))
for way, lost in regret_of.items():
    expect(f"{way}_regret", lost, limits=(0, 1))
    if way != "evidence":
        expect(f"{way}_minus_evidence", lost - regret_of["evidence"], limits=(-1, 1))

# %% [markdown]
# | way of choosing | regret, mean of two tasks, five runs | minus that of LogME, in pairs |
# |---|---|---|
# | LogME | {{evidence_regret.mean:.3f}} ± {{evidence_regret.half_width:.3f}} | – |
# | cross-validation of a head | {{validation_regret.mean:.3f}} ± {{validation_regret.half_width:.3f}} | {{validation_minus_evidence.mean:+.3f}} ± {{validation_minus_evidence.half_width:.3f}} |
# | ImageNet accuracy, largest size | {{imagenet_regret.mean:.3f}} ± {{imagenet_regret.half_width:.3f}} | {{imagenet_minus_evidence.mean:+.3f}} ± {{imagenet_minus_evidence.half_width:.3f}} |
# | any network at the largest size | {{largest_regret.mean:.3f}} ± {{largest_regret.half_width:.3f}} | {{largest_minus_evidence.mean:+.3f}} ± {{largest_minus_evidence.half_width:.3f}} |
# | any candidate | {{random_regret.mean:.3f}} ± {{random_regret.half_width:.3f}} | {{random_minus_evidence.mean:+.3f}} ± {{random_minus_evidence.half_width:.3f}} |
#
# Where an interval of the last column includes zero, LogME is not shown to be better than that way of choosing. The
# largest size alone, with any network, already saves part of what a candidate at random gives away. Mind also that the
# course's recommender, which asks LogME, was made with these pictograms in sight; lesson 05 asks it on digits for which
# nobody tuned it. And even a candidate at random is no disaster: all of them are good. A score earns its keep when
# there are many candidates, or bad ones among them.

# %% [markdown]
# ## 6. A recommender that measures
#
# "With less than a thousand images take a small network": rules of thumb know neither your images nor your
# machine. The course's recommender measures instead. On a sample of *your* images it
#
# 1. computes the features of every candidate, and times that;
# 2. computes the evidence of these features, and that of random weights as a control;
# 3. measures on the first candidate how many passes a training step costs, and so predicts the time of the strategies
#    for *all* your images;
# 4. names the candidate with the highest evidence among those that fit the budget, a strategy, and its reasons.
#
# The strategy is *from scratch* if no network beats random weights; *frozen* if only the features fit the budget;
# *frozen, then fine-tuned* (notebook 03) if there is time for both - to be kept only if validation improves, which no
# score can promise.

# %%
show_source(with_predicted_times, chosen_strategy)

# %%
sample = few_shot(tasks["pictograms"], per_class=SHOTS, seed=SEED)
asked = [(name, size) for name, size in candidates if name in NAMES[::ASK_EVERY]]
tf.config.run_functions_eagerly(EAGER)
measured = measure_candidates(sample, asked)
tf.config.run_functions_eagerly(False)
measured.round(4)

# %% [markdown]
# The last three columns are seconds for each image. (By default it is asked about two of the four networks.) One
# measurement answers many questions. How would you sort 5,000 pictograms, in three budgets? (A budget that is too
# short is answered with the time that the fastest candidate needs. The first one is tight: another machine may answer
# otherwise.)

# %%
for budget, unit in ((8, "seconds"), (2, "minutes"), (2, "hours")):
    try:
        advice = f"Take {recommend(measured, images=5000, classes=8, budget=budget, unit=unit)}"
    except CourseError as error:
        advice = error
    print(f"Budget {budget:g} {unit}. {advice}\n")

# %% tags=["nbval-check-output"]
for budget, unit in ((3, "fortnights"), (-1, "minutes")):
    try:
        recommend(measured, images=5000, classes=8, budget=budget, unit=unit)
    except CourseError as error:
        print(error)

# %% [markdown]
# A budget without a unit is the oldest mistake of such helpers: is "10" ten seconds or ten hours?
#
# Is the predicted time right? We predict the pass over some of the pictograms and then make it.

# %%
name, size = asked[-1]
backbone = tf.function(fold_batch_norm(candidates[name, size]), autograph=False)
batches = np.array_split(pictograms.x, range(32, 320, 32))[:9]  # nine whole ones
backbone(tf.image.resize(batches[0], (size, size)))  # builds the graph
start = time.perf_counter()
for batch in batches:
    backbone(tf.image.resize(batch, (size, size)))
needed = time.perf_counter() - start
predicted = 32 * len(batches) * measured["pass"].iloc[-1]
print(f"predicted {spoken(predicted)}, needed {spoken(needed)}")

# %%
expect("predicted_time", min(predicted / needed, needed / predicted), timing=True)

# %% [markdown]
# The shorter of the two times is {{predicted_time.mean:.0%}} of the longer, on average over repetitions. That is what
# such a prediction is good for: it tells a minute from an hour. What it does not know is what else the machine will
# be doing.

# %% tags=["headline"]
expect.table()
