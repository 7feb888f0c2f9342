# ---
# jupyter:
#   course:
#     title: The zoo of pretrained networks
#     question: Which pretrained network should I take?
#     minutes: {reading: 45, exercises: 40}
#     shows: "With ten labels a class, the network that LogME takes gives away {{regret_evidence.mean:.3f}} ± {{regret_evidence.half_width:.3f}} of accuracy on pictograms (one at random {{regret_random.mean:.3f}}), and {{own_regret.mean:.3f}} ± {{own_regret.half_width:.3f}} on digits for which nobody tuned it (one at random {{own_regret_random.mean:.3f}}): there it is no better than chance."
#     goals:
#       - name a network and a strategy for your own folder of images, within a budget of milliseconds, from measurements;
#       - compare candidates by the validation score of a head on cached features, and by LogME;
#       - read four prices - weights, operations, time, memory - and know which of them you have to measure;
#       - recognise two mistakes - one preprocessing for all networks, and images that are too small for a network.
#     prerequisites:
#       - lesson 02 (frozen features and a head).
#     recap:
#       - A candidate is a network together with an image size. Both decide accuracy and time.
#       - Compute the features of your labelled images once for each candidate, fit a head, and compare by cross-validation.
#       - Set a budget first. Within it, take the largest image size and a good ImageNet accuracy as the default. With twenty labels of each class ask LogME as well.
#       - Each network keeps its own preprocessing, inside the model. Each has a smallest image size.
#       - Judge a way of choosing by its regret, the accuracy that it gives away on images nobody chose by.
#     references: [you2021, kornblith2019, mackay1992, sandler2018, liu2020, sze2017, cawley2010, openmoji]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0
FOLDER = ""  # your own images, a subfolder for each class; empty: pictograms
NETWORKS = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2", "MobileNetV2Torch"]
SIZES = [64, 128]  # height and width in pixels
PER_CLASS = 10  # labelled images of each class
BUDGET = 20  # milliseconds for an image, in batches of 32

# %% [markdown]
# ## The whole thing first
#
# You have a folder of images, ten labels for each class, and 20 milliseconds for an image. Which network do you take? The program reads the images (pictograms in eight classes), measures
# four networks at two image sizes, and recommends one. Three are EfficientNet-Lite (Liu et al. 2020).

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

from course_utils import data, models, zoo
from course_utils.zoo import candidates, recommender

# %%
folder = data.clean_image_folder(FOLDER) if FOLDER else data.load_openmoji_folder()
size = {"image_size": (SIZES[-1], SIZES[-1]), "shuffle": False, "verbose": False}
files = keras.utils.image_dataset_from_directory(folder, **size)
x, y = (np.concatenate(part) for part in zip(*files))
images = data.Samples(x.astype("uint8"), y)
sample = data.few_shot(images, PER_CLASS, SEED)  # the labelled ones

# %%
limits = threadpool_limits(1, user_api="blas")  # small matrices: more threads would only wait
pairs = [(name, side) for name in NETWORKS for side in SIZES]
measured = candidates.measure_candidates(sample, pairs)
affordable = measured[measured["pass"] <= BUDGET / 1000]
task = {"images": len(sample.y), "classes": len(files.class_names)}
advice = recommender.recommend(affordable, **task, budget=30, unit="minutes")
print(advice)

# %%
figure, ax = plt.subplots(figsize=(9, 4.4))
figure.set_label("Score over milliseconds for an image: a point for each network and size, and the budget.")
for marker, (name, rows) in zip("osD^", measured.groupby("name")):
    ax.plot(1000 * rows["pass"], rows["score"], marker + "-", markersize=9, label=name)
ax.axvline(BUDGET, color="0.4", linestyle="--", label="budget")
ax.axhline(measured["random score"][0], color="black", linestyle=":", label="random weights")
ax.set(xscale="log", xlabel="milliseconds for an image", ylabel="score (LogME)")
ax.minorticks_off()
ax.set_xticks([1, 2, 5, 10, 20, 50], [1, 2, 5, 10, 20, 50])
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# *Pictograms: [OpenMoji](https://openmoji.org), [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/).*
#
# The picture has a point for each **candidate**, a network at an image size; the two sizes of a network are joined. Right of the dashed line a candidate is too slow; here all fit, and with `BUDGET = 2` some do not. The score is LogME (section 1): higher is better, also where it is negative. At the dotted line a
# network would be no better than one with random weights, and you would train *from scratch*. Otherwise features are *frozen* first, and
# then *fine-tuned* (lesson 03) if the time allows; you keep the fine-tuned network only if validation improves.
#
# The times are those of *this machine at this moment*. The numbers with "±" below do not depend on times. They are means of five runs with the 95% interval of the mean; a single run, such as yours, may lie outside.

# %% [markdown]
# ## 1. How does it know?
#
# The labelled images went through each network once. What came out, the **features**, is cached. All questions about accuracy are then asked of the features, which costs almost nothing.

# %% tags=["fold"]
# Diagram: one pass through each network, then questions to the features
figure, ax = plt.subplots(figsize=(13, 2.6))
figure.set_label("Labelled images go through each network with its own preprocessing; the cached features "
                 "give a score, the clock gives the milliseconds; both lead to a choice.")  # fmt: skip
boxes = {(0, 0): "labelled\nimages", (1.3, 0): "each network with\nits preprocessing"}
boxes |= {(2.7, 0.5): "features, cached", (2.7, -0.5): "milliseconds"}
boxes |= {(4, 0.5): "score of a head,\nLogME", (4, -0.5): "budget", (5.1, 0): "choice"}
for (left, height), text in boxes.items():
    ax.text(left, height, text, ha="center", va="center", fontsize=12,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#cfe3f2" if left < 4.5 else "#fbdcb8"})  # fmt: skip
arrows = [(0.33, 0, 0.75, 0), (1.88, 0.1, 2.14, 0.4), (1.88, -0.1, 2.3, -0.4)]
arrows += [(3.24, 0.5, 3.52, 0.5), (3.14, -0.5, 3.72, -0.5), (4.48, 0.4, 4.85, 0.1), (4.28, -0.4, 4.85, -0.1)]
for x0, y0, x1, y1 in arrows:
    ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "->", "color": "0.3"})
ax.set(xlim=(-0.4, 5.5), ylim=(-0.9, 0.9))
ax.axis("off")
plt.show()

# %% [markdown]
# Two scores are in use.
#
# **The validation score of a head.** Fit a logistic regression on the features and score it on images that it has not seen. With few labels use *cross-validation*: cut the labelled images into
# five parts, fit on four, score the fifth, five times.
#
# **LogME**, the logarithm of maximum evidence (You et al. 2021; the evidence is MacKay's, 1992). It takes the average over all linear heads, with small weights preferred: how probable are the labels? No head is fitted. A good
# value needs features in which a *simple* head separates the classes. The recommender above uses it; the experiment derives the formula.
#
# Both need every network to run on your images. What LogME saves is the fitting of heads.
#
# **Predict.** Eight candidates, 80 labelled images. ImageNet accuracy ranks the four networks Lite2, Lite1, Lite0, MobileNetV2. Will pictograms rank them the same?
#
# <details><summary>Answer</summary>
#
# Nobody knows before the measurement. ImageNet accuracy was measured on photographs at the full size of each network. Kornblith et al. (2019) found that it predicts transfer well
# over many tasks of natural photographs. Pictograms are none.
#
# </details>

# %%
networks = {pair: zoo.load_backbone(pair[0], input_size=pair[1]) for pair in pairs}
networks["random weights", SIZES[-1]] = zoo.load_backbone(NETWORKS[0], input_size=SIZES[-1], weights=None)
features = {pair: models.extract_features(network, images.x) for pair, network in networks.items()}

# %%
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

# %%
turn = PCA(svd_solver="full")  # all components: the same fit in fewer dimensions, hence faster
head = make_pipeline(Normalizer(), turn, LogisticRegression(C=10, max_iter=300))
numbered = data.Samples(np.arange(len(y)), y)
known = data.few_shot(numbered, PER_CLASS, SEED).x  # which images are the labelled ones
folds = {
    pair: cross_val_score(head, h[known], y[known], cv=min(5, PER_CLASS), scoring="balanced_accuracy")
    for pair, h in features.items()
}

# %% [markdown]
# ## 2. Whose choice is best?
#
# Now we open the labels of *all other* images as a test. The accuracy is balanced, the mean over classes.

# %%
import pandas as pd
from sklearn.metrics import balanced_accuracy_score

unseen = np.setdiff1d(np.arange(len(y)), known)
table = pd.DataFrame(index=pd.MultiIndex.from_tuples(features, names=["network", "size"]))
table["ImageNet top-1"] = [zoo.BACKBONES[name].top1 if name in NETWORKS else 0 for name, _ in features]
table["LogME"] = [*measured["score"], measured["random score"][0]]
table["validation"] = [scores.mean() for scores in folds.values()]
table["standard error"] = [scores.std(ddof=1) / len(scores) ** 0.5 for scores in folds.values()]

# %%
fitted = {pair: head.fit(h[known], y[known]).predict(h[unseen]) for pair, h in features.items()}
table["test"] = [balanced_accuracy_score(y[unseen], guess) for guess in fitted.values()]
table.round(3)

# %%
real = table.drop(index="random weights")
figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), sharey=True)
figure.set_label("Test accuracy of the candidates over ImageNet accuracy, LogME and validation accuracy.")
for ax, score in zip(axes, ["ImageNet top-1", "LogME", "validation"]):
    for marker, (name, rows) in zip("osD^", real.groupby("network")):
        ax.scatter(rows[score], rows["test"], rows.index.get_level_values("size"), marker=marker, label=name)
    ax.set(xlabel=score)
axes[0].set_ylabel(f"balanced accuracy, {len(unseen)} test images")
axes[2].legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Each network stands twice in a panel, with a larger symbol for the larger image size. A way of choosing takes the point furthest to the right. It is good if that point is also high.
#
# So judge it by its **regret**: the accuracy of the best candidate minus the accuracy of the one it takes. ImageNet accuracy does not know the image size; as most people would, we give it the largest.

# %%
best = real["test"].max()
largest = real.xs(SIZES[-1], level="size", drop_level=False)
takes = {"ImageNet accuracy, largest size": largest["ImageNet top-1"].idxmax()}
takes |= {"LogME": real["LogME"].idxmax(), "validation of a head": real["validation"].idxmax()}
regret = {way: best - real.loc[pair, "test"] for way, pair in takes.items()}
regret["a candidate at random, on average"] = best - real["test"].mean()

# %%
for way, lost in regret.items():
    print(f"{way:35}{lost:.3f}", *takes.get(way, ()))

# %% [markdown]
# | way of choosing | regret, five runs |
# |---|---|
# | ImageNet accuracy, largest size | {{regret_imagenet.mean:.3f}} ± {{regret_imagenet.half_width:.3f}} |
# | LogME | {{regret_evidence.mean:.3f}} ± {{regret_evidence.half_width:.3f}} |
# | validation of a head | {{regret_validation.mean:.3f}} ± {{regret_validation.half_width:.3f}} |
# | a candidate at random | {{regret_random.mean:.3f}} ± {{regret_random.half_width:.3f}} |
#
# The runs draw other labelled images from the same {{images.mean:.0f}}, so the intervals are a little too narrow. In pairs, the regret of the validation score minus that of LogME is
# {{validation_minus_evidence.mean:+.3f}} ± {{validation_minus_evidence.half_width:.3f}}: the interval includes zero, so neither is shown to be better.
#
# LogME does well here. Be careful with that: the course's recommender was made with these pictograms in sight. Exercise 3 asks it on digits for which nobody tuned it, and there its regret is
# {{own_regret.mean:.3f}} ± {{own_regret.half_width:.3f}}, a network at random {{own_regret_random.mean:.3f}} ± {{own_regret_random.half_width:.3f}}. That is a **null result**: with ten labels a class, a score can be no better than chance. The
# standard errors in the table warn of it: they are about as large as the differences between networks at one size.
#
# What is large is another difference. The network that LogME takes reaches {{chosen_accuracy.mean:.2f}} ± {{chosen_accuracy.half_width:.2f}}; the same architecture with random weights
# {{chosen_accuracy.contrast:.2f}}. Taking *some* pretrained network matters more than which one.
#
# ## 3. Four prices
#
# **Predict.** Lite2 has about 2.2 times the weights of MobileNetV2 (without head). Does it need 2.2 times the operations? The memory? The time?
#
# <details><summary>Answer</summary>
#
# No price follows from another. The table below counts a little less than 2.2 times the operations, and *less* memory. The time depends on the machine.
#
# </details>

# %% tags=["fold"]
# Table: four prices of each network at the largest size
from course_utils.zoo.cost import measure_cost
from course_utils.zoo.memory import count_memory

prices = {}
for name in NETWORKS:
    folded = models.fold_batch_norm(networks[name, SIZES[-1]])
    cost = measure_cost(folded, repeats=8)
    prices[name] = {
        "weights [M]": cost.parameters / 1e6,
        "operations [GFLOP]": cost.flops / 1e9,
        "memory of a batch of 32 [MB]": count_memory(folded, 32),
        "ms, an image alone": 1000 * cost.latency,
        "ms, an image of a batch": 1000 * cost.batch_latency,
    }
prices = pd.DataFrame(prices).T
prices.round(2)

# %% tags=["nbval-check-output"]
print("fewest weights:   ", prices["weights [M]"].idxmin())
print("fewest operations:", prices["operations [GFLOP]"].idxmin())
print("most memory:      ", prices["memory of a batch of 32 [MB]"].idxmax())

# %% [markdown]
# MobileNetV2 (Sandler et al. 2018) has the fewest weights and operations, and needs the *most* memory for a batch. The first three are counted and are the same on every machine.
#
# - **Weights** decide the size of the file.
# - **Operations** (FLOPs): each weight of a convolution is multiplied and added once at each position of its output. Half the side of the image means a quarter of them.
# - **Memory** of a batch: the arrays between the layers, not the weights.
# - **Time** has to be measured on the machine that will pay it (Sze et al. 2017). Call the network once before the clock starts: the first call builds the graph. Measure an image *alone* if your users send single images, and a batch
#   if you have a folder. In the experiment an image alone took {{experiment.batch_gain.mean:.1f}} ± {{experiment.batch_gain.half_width:.1f}} times as long.
#
# ## 4. The mistake: one preprocessing for all
#
# A loop over networks invites it: prepare the images once, before the loop. Our networks have their preprocessing inside. We cut it off, and give two networks every style.
#
# **Predict.** A *new head* is fitted on whatever comes out. How much does a wrong style cost?
#
# <details><summary>Answer</summary>
#
# Little: see the map, and the five runs below it. The head is fitted on the distorted features. That makes the mistake hard to notice. (In one run, differences below about 0.05 are noise; a wrong style may even look better.)
#
# </details>

# %%
styles = {"none": lambda x, own: x, "its own": lambda x, own: own(x)}
for mode in ["tf", "torch", "caffe"]:
    prepare = keras.applications.imagenet_utils.preprocess_input
    styles[mode] = lambda x, own, mode=mode, prepare=prepare: prepare(x.copy(), mode=mode)

# %%
pixels, rows = sample.x.astype("float32"), {}
for name in {NETWORKS[0], NETWORKS[-1]}:
    network = networks[name, SIZES[-1]]
    own = keras.Model(network.input, network.get_layer("preprocessing").output)
    rest = keras.Model(own.output, network.output)
    h = {style: rest.predict(np.array(change(pixels, own)), verbose=0) for style, change in styles.items()}
    rows[name] = {style: cross_val_score(head, v, sample.y, cv=min(5, PER_CLASS)).mean() for style, v in h.items()}
by_style = pd.DataFrame(rows).T.sort_index()

# %%
figure, ax = plt.subplots(figsize=(8, 2.6))
figure.set_label("Validation accuracy of a new head for two networks and five styles of preprocessing.")
ax.imshow(by_style, cmap="Blues", vmin=0, vmax=1, aspect="auto")
for (i, j), value in np.ndenumerate(by_style.values):
    ax.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
ax.set_xticks(range(len(by_style.columns)), by_style.columns)
ax.set_yticks(range(len(by_style)), by_style.index)
ax.grid(visible=False)
plt.show()

# %% [markdown]
# "tf" scales to [−1, 1], "torch" subtracts ImageNet's mean and divides by its standard deviation, "caffe" subtracts the mean and swaps red and blue. EfficientNet-Lite wants $(x - 127)/128$, almost "tf"; MobileNetV2Torch wants "torch". VGG and ResNet want "caffe".
#
# Over five runs, Lite0 and MobileNetV2Torch reach {{style_own.mean:.2f}} ± {{style_own.half_width:.2f}} on average with their own style and {{style_caffe.mean:.2f}} ± {{style_caffe.half_width:.2f}} with "caffe" (paired difference
# {{style_gain.mean:+.3f}} ± {{style_gain.half_width:.3f}}). With an *old* head, fitted in the right style, they lose in the experiment
# {{experiment.lost_serving_caffe.mean:.2f}} ± {{experiment.lost_serving_caffe.half_width:.2f}} with "caffe" and {{experiment.lost_serving_raw.mean:.2f}} ± {{experiment.lost_serving_raw.half_width:.2f}} without any. A new head adapts to distorted features, and hides the mistake. **The
# symptom:** there is none in training. Check a few labelled photographs with the old head, as in lesson 02.
#
# ## 5. The mistake: images too small for the network
#
# Each strided layer halves the image, so every network has a smallest size.

# %% tags=["nbval-check-output"]
try:
    zoo.load_backbone("InceptionV3", input_size=64, weights=None)
except ValueError as error:
    print(error)
for (name, side), network in networks.items():
    if name in (NETWORKS[0], NETWORKS[-1]):
        print(f"{name} at {side} px: last feature map {network.layers[-2].output.shape[1:3]}")

# %% [markdown]
# InceptionV3 refuses 64 pixels, which is the kind case. The unkind case is silent: a network that takes a small image says nothing. Its last map shrinks, and is averaged, so the features keep their length.
#
# **Symptom:** accuracy rises clearly with the size alone. Over five runs, going from 64 to 128 pixels adds {{larger_images.mean:.3f}} ± {{larger_images.half_width:.3f}} of test accuracy on average
# over our four networks. At one size, the best and the worst of the four differ by {{networks_differ.mean:.3f}} ± {{networks_differ.half_width:.3f}}. So the size is worth as much as the choice among all four.
#
# ## 6. What the experiments say
#
# The experiment: 20 labels a class, pictograms and digits, eight candidates each.

# %% tags=["fold"]
# Figure: regret in the experiment
from course_utils.evaluation.expectations import read_bands

bands = read_bands()["experiments/05_pretrained_zoo"]["default"]["bands"]
shown = {"evidence_regret": "LogME", "validation_regret": "cross-validation\nof a head"}
shown |= {"imagenet_regret": "ImageNet accuracy,\nlargest size", "largest_regret": "any network,\nlargest size"}
figure, ax = plt.subplots(figsize=(8, 3.4))
figure.set_label("Regret of four ways of choosing, from LogME to any network, with a line for a random candidate.")
for text, band in [(text, bands[name]) for name, text in shown.items()]:
    ax.barh(text, band.mean, xerr=band.half_width, capsize=5, color="C0")
ax.axvline(bands["random_regret"].mean, color="0.4", linestyle="--", label="a candidate at random")
ax.set(xlabel="regret in accuracy, five runs, mean ± 95%")
ax.invert_yaxis()
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# LogME gives away {{experiment.evidence_regret.mean:.3f}} ± {{experiment.evidence_regret.half_width:.3f}}. In pairs, others give away more by: validation of a head {{experiment.validation_minus_evidence.mean:+.3f}} ± {{experiment.validation_minus_evidence.half_width:.3f}}, ImageNet accuracy {{experiment.imagenet_minus_evidence.mean:+.3f}} ± {{experiment.imagenet_minus_evidence.half_width:.3f}}, any network at the largest size
# {{experiment.largest_minus_evidence.mean:+.3f}} ± {{experiment.largest_minus_evidence.half_width:.3f}}. Where an interval includes zero, LogME is not shown to be better.
#
# Is a network needed at all? The average network minus a head on plain pixels is {{experiment.over_pixels_digits.mean:+.3f}} ± {{experiment.over_pixels_digits.half_width:.3f}} on digits, {{experiment.over_pixels_pictograms.mean:+.3f}} ± {{experiment.over_pixels_pictograms.half_width:.3f}} on pictograms.
#
# **So which one?** What the measurements support:
#
# 1. Strike out what is too slow, measured on your machine.
# 2. Take the largest image size that is left.
# 3. Begin with the best ImageNet accuracy. With ten labels of each class, no score was shown to beat it.
# 4. With twenty labels of each class ask LogME as well: it gave away less.
# 5. Among candidates that differ by less than a standard error take the cheapest (exercise 1). Then fine-tune: lesson 03 measures what that brings.
#
# **Networks that we did not measure.** With internet, `NETWORKS` takes any name of `zoo.zoo_table()`, such as ResNet50, ConvNeXtTiny or EfficientNetV2B0. `course zoo compare FOLDER NAMES` puts any of them into one table. Networks trained without labels, such as DINOv2, load as presets of KerasHub (`zoo.presets.load_preset`); we did not measure them. Mind the *licence of the weights*: the table names it.

# %% [markdown]
# ## Your turn
#
# ### Exercise 1 (implement): good enough, and then cheap
#
# The best score is partly luck. So choose like this: among the candidates within the budget find the best score; subtract *its* standard error; of all within the budget whose score is at least that, take the cheapest. (This is the
# *one-standard-error rule*.) If nothing fits the budget, raise a `ValueError`.

# %% tags=["exercise"]
from course_utils.exercises import network_choice as check


def choose(table, budget):
    """Return the index of a row of `table`, with columns score, standard error and ms."""
    ...  # your code


# check.check_choose(choose)

# %% tags=["solution", "nbval-check-output"]
def choose_solution(table, budget):
    fits = table[table["ms"] <= budget]
    if fits.empty:
        raise ValueError(f"nothing fits {budget} ms; the fastest needs {table['ms'].min():g}")
    top = fits.loc[fits["score"].idxmax()]
    good = fits[fits["score"] >= top["score"] - top["standard error"]]
    return good["ms"].idxmin()


check.check_choose(choose_solution)

# %% [markdown] tags=["solution"]
# The budget comes first. If you look for the best score before you filter, a network that you cannot pay sets the bar for all others.

# %% [markdown]
# ### Exercise 2 (debug): three faults
#
# A colleague compares networks that hold their own preprocessing. In his table every network has an accuracy of 1.00, the times are much longer than those of a second run, and the features look alike for all images.

# %% tags=["exercise"]
import time


def compare(networks, images, labels):
    found = {}
    images = images / 255
    for name, network in networks.items():
        start = time.perf_counter()
        h = network.predict(images, verbose=0)
        seconds = time.perf_counter() - start
        accuracy = head.fit(h, labels).score(h, labels)
        found[name] = accuracy, 1000 * seconds / len(images)
    return found


# check.check_compare(compare)

# %% tags=["solution", "nbval-check-output"]
def compare_solution(networks, images, labels):
    found = {}
    for name, network in networks.items():
        network.predict(images, verbose=0)  # builds the graph
        start = time.perf_counter()
        h = network.predict(images, verbose=0)
        seconds = time.perf_counter() - start
        accuracy = cross_val_score(head, h, labels, cv=5).mean()
        found[name] = accuracy, 1000 * seconds / len(images)
    return found


check.check_compare(compare_solution)

# %% [markdown] tags=["solution"]
# With more features than images a head fits *any* labels on the images it was fitted on, so every network looks perfect. The clock counted the building of the graph. And the division was one preprocessing too many.

# %% [markdown]
# ### Exercise 3 (your own data): the regret of the recommender
#
# Write the path of a folder of your own images into `my_path`. Let the recommender choose on ten images of each class. Then do the full comparison on all the others: how much accuracy did its choice give away? Without images of your own take
# handwritten digits on photographs, for which nobody tuned it. `measure_candidates` and `recommend` are called as in the third cell of the lesson; the advice has `.model` and `.input_size`.

# %% tags=["exercise"]
my_path = FOLDER
my_folder = data.clean_image_folder(my_path) if my_path else data.load_mnist_m_folder() / "train"
my_pairs = [(name, SIZES[0]) for name in NETWORKS]
accuracies, taken, my_regret = {}, None, None  # pair -> test accuracy; the pair recommended

# check.check_regret(accuracies, taken, my_regret)

# %% tags=["solution"]
my_files = keras.utils.image_dataset_from_directory(my_folder, **size)
my_x, my_y = (np.concatenate(part) for part in zip(*my_files))
my_images = data.Samples(my_x.astype("uint8"), my_y)
my_known = data.few_shot(data.Samples(np.arange(len(my_y)), my_y), PER_CLASS, SEED).x
my_unseen = np.setdiff1d(np.arange(len(my_y)), my_known)
my_measured = candidates.measure_candidates(data.Samples(my_images.x[my_known], my_y[my_known]), my_pairs)
my_task = {"images": len(my_known), "classes": len(my_files.class_names)}
my_advice = recommender.recommend(my_measured, **my_task, budget=30, unit="minutes")
taken = my_advice.model, my_advice.input_size
for pair in my_pairs:
    h = models.extract_features(networks[pair], my_images.x)
    guess = head.fit(h[my_known], my_y[my_known]).predict(h[my_unseen])
    accuracies[pair] = balanced_accuracy_score(my_y[my_unseen], guess)
my_regret = max(accuracies.values()) - accuracies[taken]
check.check_regret(accuracies, taken, my_regret)

# %% [markdown] tags=["solution"]
# Over five runs the recommender's regret on the digits is {{own_regret.mean:.3f}} ± {{own_regret.half_width:.3f}}. A network at random gives away {{own_regret_random.mean:.3f}} ± {{own_regret_random.half_width:.3f}}, the best ImageNet accuracy
# {{own_regret_imagenet.mean:.3f}} ± {{own_regret_imagenet.half_width:.3f}}. The recommender did not help here. And even the best of the four reaches only {{own_best.mean:.2f}} ± {{own_best.half_width:.2f}}: a choice among frozen networks cannot replace
# fine-tuning (lesson 03).

# %% [markdown]
# ## Take it home
#
# The recommended network gets a head, trained on all labelled images. Resizing, preprocessing, network and head become one model; the card says how it was chosen.

# %%
chosen = advice.model, advice.input_size
pipeline = head.fit(features[chosen][known], y[known])
resize = [keras.Input((None, None, 3)), keras.layers.Resizing(chosen[1], chosen[1])]
classify = keras.layers.Dense(len(files.class_names), activation="softmax")
product = keras.Sequential([*resize, networks[chosen], keras.layers.UnitNormalization(), classify])
kernel = (pipeline[-1].coef_ @ pipeline[1].components_).T  # PCA and regression are one matrix
classify.set_weights([kernel, pipeline[-1].intercept_ - pipeline[1].mean_ @ kernel])

# %%
import json
import tempfile
from pathlib import Path

home = Path(tempfile.mkdtemp())  # temporary; for your own work choose a folder that lasts
product.save(home / "model.keras")

# %%
card = {"classes": files.class_names, "input": "RGB image of any size, 0-255",
        "network": f"{chosen[0]} at {chosen[1]} px, ImageNet, frozen",
        "chosen by": f"LogME on {len(known)} images, {len(pairs)} candidates, budget {BUDGET} ms",
        "balanced accuracy on test": round(table.loc[chosen, "test"], 2),
        "licence of the weights": zoo.BACKBONES[chosen[0]].licence}  # fmt: skip
(home / "card.json").write_text(json.dumps(card, indent=2));

# %%
import subprocess
import sys

program = """
import json, sys, keras
model, card = keras.saving.load_model(sys.argv[1]), json.load(open(sys.argv[2]))
image = keras.utils.img_to_array(keras.utils.load_img(sys.argv[3]))
probabilities = model.predict(image[None], verbose=0)[0]
print(card["classes"][probabilities.argmax()], f"with probability {probabilities.max():.2f}")
"""

# %%
new_file = Path(files.file_paths[unseen[0]])
command = [sys.executable, "-c", program, home / "model.keras", home / "card.json", new_file]
answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
print(f"A file of class {new_file.parent.name} is called {answer}")

# %% [markdown]
# The features stay frozen here. The test accuracy on the card is fair to this run, because LogME saw only the labelled images. That of the network that is best *on test* would be too good: the best of eight is also the luckiest (Cawley & Talbot 2010).

# %% [markdown]
# ## Quiz
#
# **1.** Network A has 0.78 on validation, B 0.77, each with a standard error of 0.04. A takes 30 ms, B 8 ms. Which do you take?
#
# <details><summary>Answer</summary>
#
# B, unless more labels show a difference. The scores do not tell them apart, the clock does.
#
# </details>
#
# **2.** A network has half the operations of another. Is it twice as fast?
#
# <details><summary>Answer</summary>
#
# Perhaps not. Operations are counted; time depends on the machine, the library and the moving of arrays. Measure it, after one call to warm up.
#
# </details>
#
# **3.** LogME saves you from fitting heads. From what does it not save you?
#
# <details><summary>Answer</summary>
#
# From running every network on your labelled images, and from giving each its own preprocessing. It gives no accuracy either: only values on the same images can be compared.
#
# </details>
#
# **4.** In a study of four networks a score has a rank correlation of 0.8 with accuracy. What do you conclude for yours?
#
# <details><summary>Answer</summary>
#
# Little. Of the 24 orders of four networks, four have a correlation of at least 0.8: one in six by chance. Ask for the regret, and for more networks.
#
# </details>
#
# **5.** All networks of your comparison got images divided by 255, and their heads reach good accuracies. Is the comparison fair?
#
# <details><summary>Answer</summary>
#
# No. Networks lose differently by it, and a new head hides the loss. The order may be that of the luck with the preprocessing.
#
# </details>
#
# **Where to go next.** Lesson 03 fine-tunes the network that you took. Lesson 09 searches over many settings. Liu (2020) describes the Lites.

# %% tags=["headline"]
share = {"limits": (0, 1)}
default = (["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2", "MobileNetV2Torch"], [64, 128], 10)
if not FOLDER and (PROFILE == "smoke" or (NETWORKS, SIZES, PER_CLASS) == default):  # what was measured
    expect("chosen_accuracy", real.loc[takes["LogME"], "test"], contrast=table["test"].iloc[-1], **share)
    expect("regret_imagenet", regret["ImageNet accuracy, largest size"], **share)
    expect("regret_evidence", regret["LogME"], **share)
    expect("regret_validation", regret["validation of a head"], **share)
    expect("regret_random", regret["a candidate at random, on average"], **share)
    expect("validation_minus_evidence", regret["validation of a head"] - regret["LogME"])
    expect("images", len(y))
    expect("style_own", by_style["its own"].mean(), **share)
    expect("style_caffe", by_style["caffe"].mean(), **share)
    expect("style_gain", by_style["its own"].mean() - by_style["caffe"].mean())
    by_size = real.groupby("size")["test"]
    expect("larger_images", by_size.mean().iloc[-1] - by_size.mean().iloc[0])
    expect("networks_differ", (by_size.max() - by_size.min()).mean(), **share)
    expect("own_regret", my_regret, **share)
    expect("own_regret_random", max(accuracies.values()) - np.mean(list(accuracies.values())), **share)
    of_imagenet = max(accuracies, key=lambda pair: zoo.BACKBONES[pair[0]].top1)
    expect("own_regret_imagenet", max(accuracies.values()) - accuracies[of_imagenet], **share)
    expect("own_best", max(accuracies.values()), **share)
expect.table()
