# ---
# jupyter:
#   course:
#     title: Medical imaging, measured
#     question: How much of what validation promises is left on images that were not cut from the training folder, and why?
#     shows: "On X-rays: an AUC that is {{frozen_auc_gap.mean:.3f}} higher on validation than on test; a threshold set to 95% specificity on validation that keeps {{specificity_kept.mean:.2f}} on test; a classifier that reads a burnt-in letter (AUC {{leak_auc.mean:.3f}}, and {{turned_auc.mean:.2f}} where the healthy carry it). Fine-tuned on 1,000 images: test AUC {{tuned_auc.mean:.3f}} ± {{tuned_auc.half_width:.3f}}."
#     results:
#       tuned_auc: "test AUC, fine-tuned, mean over networks"
#       tuned_gain: "what fine-tuning adds to the AUC of frozen features (nothing)"
#       accuracy: "its accuracy, threshold of the best balanced accuracy on validation (always pneumonia)"
#       accuracy_at_95_sensitivity: "its accuracy, threshold of 95% sensitivity on validation (always pneumonia)"
#       ensemble_auc: "test AUC of five networks together (mean over networks)"
#       ensemble_accuracy: "their accuracy, threshold of the best balanced accuracy on validation"
#       ensemble_accuracy_at_95: "their accuracy, threshold of 95% sensitivity on validation"
#       ensemble_accuracy_highest: "the highest accuracy that any threshold gives them on test (in hindsight)"
#       frozen_auc_gap: "AUC of frozen features, validation minus test (no difference)"
#       specificity_kept: "specificity on test at a threshold set to 0.95 on validation (what was wanted)"
#     goals:
#       - separate the spread over images from the spread over training draws;
#       - test suspected causes of a shift one at a time;
#       - compare class weights, resolutions and fine-tuning as pairs;
#       - see what a threshold from test hides, which score calibration improves, and what a burnt-in letter does.
#     prerequisites:
#       - lesson 07.
#     recap:
#       - "The AUC was {{frozen_auc_gap.mean:.3f}} higher on validation than on test: ± {{frozen_auc_gap.half_width:.3f}} over seeds, ± {{gap_over_images.mean:.3f}} over images. Give both."
#       - "Of the suspected causes, one was shown: the images of the two folders differ. Bright chests fare worse, and brightness is not why."
#       - "Class weights moved scores, not their order (AUC {{auc_changed_by_weights.mean:+z.4f}} ± {{auc_changed_by_weights.half_width:.4f}}). A threshold does the same for nothing."
#       - "Fine-tuning added {{tuned_gain.mean:.3f}} ± {{tuned_gain.half_width:.3f}} to the AUC of frozen features, judged in pairs."
#       - "A specificity of 0.95 on validation was {{specificity_kept.mean:.2f}} on test. A threshold from test hides that."
#       - "Calibration fitted on validation does not mend a shift: on test the intercept was {{test_intercept.mean:+.1f}}."
#       - "A burnt-in letter gives an AUC of {{leak_auc.mean:.3f}}, and of {{turned_auc.mean:.2f}} where the habit is reversed. No validation from the same place finds it."
#     references: [kermany2018, yang2023, delong1988, efron1993, zech2018, lin2017, loshchilov2017, raghu2019, mcnemar1947, youden1950, cawley2010, vickers2006, vancalster2019, guo2017, saerens2002, selvaraju2017, degrave2021, oakdenrayner2020, roberts2021, tan2019, liu2020, russakovsky2015]
# ---

# %% tags=["parameters"]
PROFILE = "default"  # smoke, default or full
SEED = 0
DATA = ""  # path of pneumoniamnist.npz; "" finds or downloads it
PHANTOMS = False  # True: synthetic chests, whether or not there are X-rays
LARGER = []  # paths of files of MedMNIST+, such as pneumoniamnist_64.npz, for section 4
SIZE = 64  # height and width of the images in pixels, as the network sees them
SIZES = [32, 48, 64, 96]  # of section 4
IMAGES = 0  # of training, the first; 0: all
TESTED = 0  # of validation and of test, the first; 0: all
GIVEN = 1000  # training images for fine-tuning, and for all that is compared with it; 0: all
DRAWN = 500  # training images of one draw
DRAWS = 20  # classifiers on frozen features, each with its own draw
HEADS = 5  # draws for each remedy of imbalance
HEAD_EPOCHS = 20
EPOCHS = 3  # of fine-tuning
RUNS = 1  # networks that are fine-tuned
BOOTSTRAPS = 1000
MAPPED = 64  # images with a Grad-CAM map

# %% [markdown]
# ## 1. Images and reference standard
#
# PneumoniaMNIST (Yang et al. 2023) holds chest X-rays of children at 28 × 28 pixels, after Kermany et al. (2018). Without the file, the notebook goes on with **phantoms**, synthetic chests: the same code, other figures. The text speaks of the X-rays.

# %%
import os

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
from IPython.display import Markdown, display
from scipy.special import expit
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from course_utils.data import Samples, draw_chest_phantoms, load_chest_xrays
from course_utils.errors import CourseError
from course_utils.evaluation import Expectations, choose_threshold, classification_metrics, mean_plus_minus, plot_images
from course_utils.models import extract_features, for_cpu_training
from course_utils.zoo import load_backbone

tf.get_logger().setLevel("ERROR")  # it takes many small models for a mistake
pd.set_option("display.width", 120)  # tables in one piece, also as plain text


# %%
def find_images():
    """Return the chest images in three sets, and whether they are X-rays."""
    if not PHANTOMS:
        try:
            return load_chest_xrays(DATA or None), True
        except CourseError:
            if DATA or os.environ.get("COURSE_PNEUMONIA_MNIST"):
                raise  # a file was named: do not go on without it
    return draw_chest_phantoms(), False


chests, real = find_images()
expect = Expectations(expect.notebook, PROFILE if real else f"{PROFILE}_phantom")
NOTES = {
    True: "**These are X-rays: PneumoniaMNIST.**",
    False: "**PneumoniaMNIST could not be had, or phantoms were asked for: the images below are drawn by a program. "
    "Figures in the text hold for the X-rays, not for them.**",
}
display(Markdown(NOTES[real]))

# %%
NORMAL, PNEUMONIA = 0, 1
random = np.random.default_rng(SEED)


def first(samples, number):
    """Return so many samples; all of them for 0."""
    return Samples(samples.x[: number or None], samples.y[: number or None])


train, validation, test = first(chests.train, IMAGES), first(chests.validation, TESTED), first(chests.test, TESTED)
chosen_rows = random.permutation(len(train.y))[: GIVEN or None]
given = Samples(train.x[chosen_rows], train.y[chosen_rows])
LABELS = {"validation": validation.y, "test": test.y}
counts = {name: np.bincount(labels, minlength=2) for name, labels in {"training": train.y, **LABELS}.items()}
table = pd.DataFrame(counts, index=chests.class_names).T
table.assign(share=(table["pneumonia"] / table.sum(axis=1)).round(3))

# %%
shown = [np.flatnonzero(test.y == label)[:8] for label in (NORMAL, PNEUMONIA)]
axes = plot_images(test.x[np.concatenate(shown)], columns=8)
axes[0, 0].set_title("normal", loc="left")
axes[1, 0].set_title("pneumonia", loc="left")
plt.gcf().set_label("Eight normal chests with dark lungs, and below eight pneumonias, whose lungs are veiled.")
plt.show()

# %% [markdown]
# What a reviewer asks first:
#
# - **Reference standard.** Two physicians graded each X-ray. For the test set, and only there, a third one checked the grades (Kermany et al. 2018).
# - **Source.** Kermany et al. published a training and a test folder. PneumoniaMNIST cut its validation set out of the *training* folder, one image in ten, and took the test folder as test set.
# - **Patients.** One child may have several images. The file has no patient numbers, no age, no sex, no date. So nobody can split by patient, and nobody can check whether a child is in training and in validation.
# - **Use of the sets.** Training fits weights. Validation chooses thresholds and calibration. Test reports. (The recipes below are those of lesson 07. They were settled by people who had seen test figures, so the figures may be slightly too good.)
#
# ## 2. Validation against test
#
# The images run once through a frozen network of photographs (EfficientNet-Lite0; Tan & Le 2019, Liu 2020, Russakovsky et al. 2015). On its features, logistic regression is fitted to 500 training images, with the regularisation that is best in cross-validation on five of the draws. That is repeated for twenty draws, and figures are means over the draws.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

backbone = load_backbone(input_size=SIZE)
sets = {"train": train, "validation": validation, "test": test}
features = {name: extract_features(backbone, part.x) for name, part in sets.items()}


def classifier(C=1.0):
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))


STRENGTHS = np.logspace(-5, -1, 5)


def tuned_classifier(x, y):
    """Return a classifier whose regularisation was chosen by cross-validation."""
    choices = {"logisticregression__C": STRENGTHS}
    return GridSearchCV(classifier(), choices, scoring="roc_auc", cv=3).fit(x, y)


# %%
draws = [np.random.default_rng([SEED, draw]).permutation(len(train.y))[:DRAWN] for draw in range(DRAWS)]
searches = [tuned_classifier(features["train"][rows], train.y[rows]) for rows in draws[:5]]
C = STRENGTHS[np.mean([search.cv_results_["mean_test_score"] for search in searches], axis=0).argmax()]
frozen = [classifier(C).fit(features["train"][rows], train.y[rows]) for rows in draws]
scores = {name: [one.predict_proba(features[name])[:, 1] for one in frozen] for name in LABELS}
columns = ["roc_auc", "accuracy", "sensitivity", "specificity"]
means = {
    name: pd.DataFrame([classification_metrics(LABELS[name], p) for p in scores[name]])[columns].mean()
    for name in LABELS
}
table = pd.DataFrame(means).T.rename(columns={"roc_auc": "AUC"})
table["accuracy of always “pneumonia”"] = [labels.mean() for labels in LABELS.values()]
print(f"C = {C:g}, threshold 0.5")
table.round(3)

# %% [markdown]
# The AUC falls from validation to test. The specificity at 0.5 is {{frozen_specificity_validation.mean:.2f}} on validation and {{frozen_specificity_test.mean:.2f}} on test (five seeds): of ten normal chests of test, more than four would be called pneumonia. Accuracies cannot be compared: the shares of pneumonia differ.
#
# Is the fall of the AUC more than chance? There are two sources of chance, and each has its own interval:
#
# - **over images:** other children would have given other figures. The AUC is a mean over all pairs of one pneumonia and one normal chest: 1 where the pneumonia scores higher, 0.5 for a tie. The bootstrap (Efron & Tibshirani 1993) draws the rows and columns of this table of pairs again. The formula of DeLong et al. (1988) needs only the means of its rows and columns.
# - **over draws:** other training images, the same test images.


# %%
def pairs(y, p):
    """Return for each pneumonia (rows) and normal chest (columns) whether they are in the right order."""
    return (np.sign(p[y == PNEUMONIA][:, None] - p[y == NORMAL]) + 1) / 2


def delong(table):
    """Return the 95% half-width, over images, of the mean of a table of pairs (or of a difference of two)."""
    return 1.96 * np.sqrt(sum(np.var(table.mean(axis=axis), ddof=1) / table.shape[1 - axis] for axis in (0, 1)))


def bootstrap(table):
    """Return the means of the table when its images are drawn again with replacement, class by class."""
    rows, columns = (random.multinomial(n, np.full(n, 1 / n), BOOTSTRAPS) / n for n in table.shape)
    return ((rows @ table) * columns).sum(axis=1)


# %%
ordered = {name: np.mean([pairs(LABELS[name], p) for p in scores[name]], axis=0) for name in LABELS}
aucs = {name: np.array([roc_auc_score(LABELS[name], p) for p in scores[name]]) for name in LABELS}
aucs["validation − test"] = aucs["validation"] - aucs["test"]
again = {name: bootstrap(table) for name, table in ordered.items()}
again["validation − test"] = again["validation"] - again["test"]
widths = {name: delong(table) for name, table in ordered.items()}
widths["validation − test"] = np.hypot(widths["validation"], widths["test"])
rows = {}
for name, auc in aucs.items():
    low, high = np.quantile(again[name], [0.025, 0.975])
    rows[name] = {"AUC": auc.mean(), "bootstrap, 2.5%": low, "97.5%": high}
    rows[name] |= {"DeLong, ± over images": widths[name], "SD over draws": auc.std(ddof=1)}
pd.DataFrame(rows).T.round(3)

# %%
gap = aucs["validation − test"]
figure, ax = plt.subplots(figsize=(8, 2.6))
figure.set_label(
    "AUC of validation minus that of test: twenty draws scatter widely; the interval over images is as wide."
)
ax.plot(gap, np.zeros(DRAWS), "o", alpha=0.5, label="one draw of training images")
spread = np.abs(np.quantile(again["validation − test"], [0.025, 0.975])[:, None] - gap.mean())
ax.errorbar(gap.mean(), 1, xerr=spread, marker="s", capsize=5, color="C1", label="mean, 95% over images")
ax.axvline(0, color="0.4", linestyle=":")
ax.set(yticks=[], ylim=(-0.7, 1.7), xlabel="AUC on validation minus AUC on test")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Over five seeds the difference is {{frozen_auc_gap.mean:.3f}} ± {{frozen_auc_gap.half_width:.3f}}; over images, its half-width is {{gap_over_images.mean:.3f}}. A single draw scatters as widely (figure), the mean of twenty draws hardly. So the seeds alone would make the difference look far more certain than it is. Bootstrap and DeLong agree.
#
# The classifier tuned nothing on validation. So this is no overfitting to it. What else? We test the candidates one at a time.
#
# ### Candidate 1: the images themselves
#
# Can a classifier tell test from training images *within one class*? If both were drawn alike, its cross-validated AUC would be near 0.5.

# %%
from sklearn.model_selection import cross_val_predict


def told_apart(name, label):
    """Return the AUC at which images of a set are told from training images of the same class."""
    one, other = features["train"][train.y == label], features[name][LABELS[name] == label]
    one = one[random.permutation(len(one))[:1000]]
    x, source = np.concatenate([one, other]), np.repeat([0, 1], [len(one), len(other)])
    return roc_auc_score(source, cross_val_predict(classifier(C), x, source, cv=3, method="decision_function"))


of_class = {text: {name: told_apart(name, k) for name in LABELS} for k, text in enumerate(chests.class_names)}
apart = pd.DataFrame(of_class)
apart.rename(index=lambda name: f"{name} from training").round(3)

# %% [markdown]
# Validation is hardly told from training ({{test_from_train.contrast:.2f}}, mean of the classes), test is ({{test_from_train.mean:.2f}}). It is mostly the normal chests that stand out. So the two folders hold different images, and validation cannot know it. Of models that travel to other hospitals this is known (Zech et al. 2018); here, as far as is known, both folders come from one.
#
# ### Candidate 2: the third physician
#
# Validation labels were checked less. Turn 5% of them at random: if such noise were the reason, the AUC on validation should *rise*. And how many labels of test would have to be wrong? Turn those of the normal chests with the highest scores, one after the other, until test has the AUC of validation.

# %%
by_mean = {name: np.mean(scores[name], axis=0) for name in LABELS}
wanted = roc_auc_score(validation.y, by_mean["validation"])
flips = [random.random(len(validation.y)) < 0.05 for _ in range(100)]
noisy = np.mean(
    [roc_auc_score(np.where(flip, 1 - validation.y, validation.y), by_mean["validation"]) for flip in flips]
)

suspects = np.flatnonzero(test.y == NORMAL)
suspects = suspects[np.argsort(-by_mean["test"][suspects])]
turned, to_turn = test.y.copy(), 0
while roc_auc_score(turned, by_mean["test"]) < wanted and to_turn < len(suspects) - 1:
    turned[suspects[to_turn]] = PNEUMONIA
    to_turn += 1
print(f"AUC on validation {wanted:.3f}, with 5% of its labels turned {noisy:.3f}")
print(f"labels of test to turn until its AUC is as high: {to_turn} of {len(test.y)}")

# %% [markdown]
# Random errors in validation labels lower its AUC. So they do not explain why it is *higher*. The other way round: some {{labels_to_turn.mean:.0f}} labels of 624, if they are the least fitting ones, would close the difference. That we cannot exclude. Which labels the third physician changed, the file does not tell.
#
# ### Candidate 3: the same children in training and validation
#
# Without patient numbers, the best stand-in for "the same child" is "very similar". Cut validation into halves A and B. Fit once without the ten nearest training images of each image of A, once without those of B. If known children help, A suffers more from losing A's neighbours than from losing B's.

# %%
from sklearn.neighbors import NearestNeighbors

scaler = StandardScaler().fit(features["train"])
near = NearestNeighbors(n_neighbors=10).fit(scaler.transform(features["train"]))
near = near.kneighbors(scaler.transform(features["validation"]), return_distance=False)
in_a = np.isin(np.arange(len(validation.y)), random.permutation(len(validation.y))[::2])


def pairs_without(rows):
    """Return the tables of pairs of validation, and of test, when these training images are left out."""
    kept = np.setdiff1d(np.arange(len(train.y)), rows)
    model = classifier(C).fit(features["train"][kept], train.y[kept])
    p = {name: model.decision_function(features[name]) for name in LABELS}
    return [pairs(validation.y[half], p["validation"][half]) for half in (in_a, ~in_a)], pairs(test.y, p["test"])


(all_a, all_b), all_test = pairs_without([])
(a_no_a, b_no_a), _ = pairs_without(near[in_a])
(a_no_b, b_no_b), _ = pairs_without(near[~in_a])

# %%
from_neighbours = [a_no_b - a_no_a, b_no_a - b_no_b]
neighbours_gave = np.mean([table.mean() for table in from_neighbours])
print(f"left out: {len(np.unique(near[in_a]))} and {len(np.unique(near[~in_a]))} of {len(train.y)} training images")
print(f"AUC from an image's own neighbours: {neighbours_gave:+.4f} ± {np.hypot(*map(delong, from_neighbours)) / 2:.4f}")
print(f"validation − test, all training images: {(all_a.mean() + all_b.mean()) / 2 - all_test.mean():.3f}")

# %% [markdown]
# Own neighbours bring {{neighbours_gave.mean:+.4f}} ± {{neighbours_gave.half_width:.4f}} of AUC over five seeds (± {{neighbours_over_images.mean:.4f}} over images): at most a small part of {{frozen_auc_gap.mean:.3f}}. This is a stand-in only: two images of one child need not be neighbours in this space.
#
# ### Candidate 4: brightness
#
# The normal chests of test that are bright are called pneumonia more often. (A mean hides such groups; Oakden-Rayner et al. 2020.) Is brightness the reason? Change it alone: give the dark third the brightness of the bright third, and the reverse. The threshold of each classifier is the one with the best balanced accuracy on validation.

# %%
thresholds = [choose_threshold(validation.y, p) for p in scores["validation"]]
healthy = test.x[test.y == NORMAL].astype("float32")
brightness = healthy.mean(axis=(1, 2, 3))
third = np.searchsorted(np.quantile(brightness, [1 / 3, 2 / 3]), brightness)
dark, bright = third == 0, third == 2
factor = np.median(brightness[bright]) / np.median(brightness[dark])


def left_alone(images):
    """Return for each image which share of the classifiers calls it normal."""
    x = extract_features(backbone, np.clip(images, 0, 255))
    return np.mean([one.predict_proba(x)[:, 1] <= t for one, t in zip(frozen, thresholds)], axis=0)


# %%
def over_images(values):
    return f"{values.mean():.3f} ± {1.96 * values.std(ddof=1) / len(values) ** 0.5:.3f}"


taken = {"as it is": left_alone(healthy), "changed": healthy}
taken["changed"] = np.where(dark, left_alone(factor * healthy), left_alone(healthy / factor))
rows = {
    f"{name} third": {way: over_images(values[group]) for way, values in taken.items()}
    | {"change": over_images((taken["changed"] - taken["as it is"])[group])}
    for name, group in (("dark", dark), ("bright", bright))
}
print(f"specificity; dark third × {factor:.2f}, bright third × {1 / factor:.2f}")
pd.DataFrame(rows).T

# %%
lost = taken["as it is"][dark].mean() - taken["as it is"][bright].mean()
darkened = np.mean((taken["changed"] - taken["as it is"])[bright])
brightened = np.mean((taken["changed"] - taken["as it is"])[dark])

# %% [markdown]
# Over five seeds, bright normal chests have {{specificity_lost_in_bright.mean:.2f}} ± {{specificity_lost_in_bright.half_width:.2f}} less specificity than dark ones. If brightness itself were the reason, darkening the bright third would raise its specificity. It *lowers* it: {{bright_darkened.mean:+.2f}} ± {{bright_darkened.half_width:.2f}}. Brightening the dark third changes it by {{dark_brightened.mean:+.2f}} ± {{dark_brightened.half_width:.2f}}. So "the network has learnt that bright is ill" is wrong here, though the groups suggest it. Bright chests differ from dark ones in something else, and in what, we did not find. A subgroup tells where a model fails, not why.
#
# ### What cannot be a cause, and what is left
#
# The share of pneumonia differs, too. It moves accuracy and precision, but neither AUC nor sensitivity nor specificity: each of them is a mean within a class, or over pairs of the two.
#
# So four causes were tried. The images differ; the rest was not shown, or is too small. Class weights follow in section 3. The third physician cannot be excluded.
#
# ## 3. Imbalance: weights, focal loss, or nothing
#
# **Class weights** multiply the loss of each image so that both classes have the same total. The **focal loss** (Lin et al. 2017) multiplies it by $(1 - p)^2$, with $p$ the probability of the true class, so that easy images count little. The third way changes nothing in training. For each of them a threshold is then chosen on validation, the one with the best balanced accuracy.
#
# A linear head is trained on the cached features, in several draws. In one draw all ways have the same images, first weights and order, so they are compared as pairs.

# %%
cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
focal_loss = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
by_class = np.bincount(train.y, minlength=2)
weights = {label: len(train.y) / (2 * by_class[label]) for label in (NORMAL, PNEUMONIA)}
WAYS = {"nothing": (cross_entropy, None), "focal loss": (focal_loss, None)}
WAYS |= {
    "class weights": (cross_entropy, weights),
    "weights by name": (cross_entropy, dict(zip(chests.class_names, weights.values()))),
}


def new_head(loss):
    """Return dropout and one dense layer, from features to a logit; and all its numbers, those of Adam included."""
    layers = [keras.Input(features["train"].shape[1:]), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    head = keras.Sequential(layers)
    head.compile(keras.optimizers.Adam(3e-3), loss)
    head.optimizer.build(head.trainable_variables)
    return head, [variable.numpy() for variable in head.variables + head.optimizer.variables]


def train_head(head, begin, x, y, class_weight=None, run=0):
    """Train anew, from the numbers of the beginning: a new network would cost a new graph."""
    for variable, value in zip(head.variables + head.optimizer.variables, begin):
        variable.assign(value)
    keras.utils.set_random_seed(SEED + 1000 * run)  # the order of the images
    head.fit(x, y, 64, epochs=HEAD_EPOCHS, class_weight=class_weight, verbose=0)


# %%
rows = []
for way, (loss, class_weight) in WAYS.items():
    keras.utils.set_random_seed(SEED)
    head, begin = new_head(loss)
    for draw in range(1 if way == "weights by name" else HEADS):
        train_head(head, begin, features["train"][draws[draw]], train.y[draws[draw]], class_weight)
        p = {name: expit(np.asarray(head(features[name]))[:, 0]) for name in LABELS}
        at_half = classification_metrics(test.y, p["test"])
        at_best = classification_metrics(test.y, p["test"], choose_threshold(validation.y, p["validation"]))
        rows.append({
            "way": way, "draw": draw, "AUC": at_half["roc_auc"],
            "AUC, validation − test": roc_auc_score(validation.y, p["validation"]) - at_half["roc_auc"],
            "score of normal chests": p["test"][test.y == NORMAL].mean(),
            "specificity at 0.5": at_half["specificity"],
            "balanced accuracy at 0.5": at_half["balanced_accuracy"],
            "at its threshold": at_best["balanced_accuracy"],
        })  # fmt: skip
imbalance = pd.DataFrame(rows).set_index(["way", "draw"])
imbalance.drop("weights by name", level="way").groupby("way", sort=False).mean().round(3)

# %%
changes = {way: imbalance.loc[way] - imbalance.loc["nothing"] for way in ("class weights", "focal loss")}
print(f"against nothing, mean of {HEADS} pairs ± 95% over draws")
pd.DataFrame({way: change.apply(mean_plus_minus) for way, change in changes.items()})

# %% tags=["nbval-check-output"]
totals = [weights[label] * by_class[label] for label in (NORMAL, PNEUMONIA)]
assert np.isclose(*totals), "weights should give both classes the same total"
of_normal = imbalance["score of normal chests"]
unweighted = of_normal["nothing", 0]
assert np.isclose(of_normal["weights by name", 0], unweighted, atol=1e-4)
assert not np.isclose(of_normal["class weights", 0], unweighted, atol=1e-4), "the class weights have no effect"
print("Class weights under the names of the classes have no effect, and nothing warns.")

# %% [markdown]
# Weights lower the scores of normal chests by {{score_lowered_by_weights.mean:.3f}} ± {{score_lowered_by_weights.half_width:.3f}} (five seeds) and so raise the specificity at 0.5 by {{specificity_by_weights.mean:.3f}} ± {{specificity_by_weights.half_width:.3f}}. The *order* of the images hardly changes: the AUC by {{auc_changed_by_weights.mean:+z.4f}} ± {{auc_changed_by_weights.half_width:.4f}}. The scores move as a whole, and a threshold does that, too. With its own threshold, the balanced accuracy changes by {{balanced_changed_by_weights.mean:+z.3f}} ± {{balanced_changed_by_weights.half_width:.3f}} with weights, and by {{balanced_changed_by_focal.mean:+z.3f}} ± {{balanced_changed_by_focal.half_width:.3f}} with the focal loss.
#
# Are the weights a cause of the fall from validation to test? The difference of the AUCs changes by {{gap_changed_by_weights.mean:+z.4f}} ± {{gap_changed_by_weights.half_width:.4f}} with them: no. What follows trains without weights. Weights have a price: their scores belong to a world in which half of the children are ill.
#
# A **mistake** that the last cell shows: weights under the names of the classes, `{"normal": …}`. Keras looks weights up by class *number*, and what it does not find gets weight 1.
#
# ## 4. Resolution
#
# All images have 28 × 28 pixels; how far should they be enlarged for the network? Each size has its own regularisation, chosen by cross-validation, on the same training images. Differences are taken in pairs, on the same test images.


# %%
def at_size(size, x_train, y_train, x_test, y_test):
    """Return the table of pairs on test of a classifier on features of images of this size."""
    network = load_backbone(input_size=size)
    model = tuned_classifier(extract_features(network, x_train), y_train)
    return pairs(y_test, model.decision_function(extract_features(network, x_test)))


by_size = {size: at_size(size, *given, *test) for size in SIZES}
reference = by_size[SIZES[-1]]
rows = {size: {"AUC": table.mean(), "± over images": delong(table)} for size, table in by_size.items()}
for size, table in by_size.items():
    rows[size] |= {f"minus {SIZES[-1]} pixels": (table - reference).mean(), "± of the pair": delong(table - reference)}
pd.DataFrame(rows).T.rename_axis("pixels").round(3)

# %% [markdown]
# In one run, the intervals of the pairs are as wide as most differences. Over five seeds, the AUC is {{auc_at_32.mean:.3f}} at 32 pixels, {{auc_at_48.mean:.3f}} at 48, {{auc_at_64.mean:.3f}} at 64 and {{auc_at_96.mean:.3f}} at 96. Against 96 pixels, 32 changes it by {{at_32_minus_largest.mean:+z.3f}} ± {{at_32_minus_largest.half_width:.3f}}, 48 by {{at_48_minus_largest.mean:+z.3f}} ± {{at_48_minus_largest.half_width:.3f}}, 64 by {{at_64_minus_largest.mean:+z.3f}} ± {{at_64_minus_largest.half_width:.3f}}. So 32 pixels are too few, and beyond 48 no gain was shown. (These ± are over seeds; over images they are wider, as the table shows.)
#
# Enlarging adds no detail. MedMNIST+ offers the *same* X-rays with 64, 128 and 224 pixels. Whoever has downloaded its files names them in `LARGER`, and the next cell compares them as above.

# %%
rows = {}
for path in LARGER:
    file = np.load(path)
    x, labels = file["train_images"][..., None], file["train_labels"][:, 0]
    some = np.random.default_rng(SEED).permutation(len(labels))[: len(given.y)]
    table = at_size(x.shape[1], x[some], labels[some], file["test_images"][..., None], file["test_labels"][:, 0])
    rows[x.shape[1]] = {"AUC": table.mean(), "± over images": delong(table)}
pd.DataFrame(rows).T.round(3) if rows else print("no file of MedMNIST+ was named")

# %% [markdown]
# ## 5. Two phases: frozen against fine-tuned
#
# Photographs and X-rays have little in common, and what transfer brings in medicine has been doubted (Raghu et al. 2019). **Phase one** trains a head on cached features. **Phase two** trains everything but BatchNormalization, at a small rate that warms up and then falls along half a cosine (Loshchilov & Hutter 2017), on images that are shifted, turned and zoomed a little. The number of epochs is fixed: no epoch is chosen, so nothing is read from validation yet.
#
# Augmentation is a claim: this image still means the same. A child stands a little to the side, but never upside down. Frozen classifiers do not even read such images as well:

# %%
upside_down = extract_features(backbone, test.x[:, ::-1])
read = np.mean([roc_auc_score(test.y, one.predict_proba(upside_down)[:, 1]) for one in frozen])
print(f"AUC of frozen classifiers on test: {aucs['test'].mean():.3f}, upside down {read:.3f}")


# %%
def new_network():
    """Return a network from pixels to features, and its trainable body; augmentation is active in training only."""
    body = for_cpu_training(load_backbone(input_size=SIZE))  # the same layers, with faster gradients
    for layer in body.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    pixels = keras.Input((28, 28, 1))
    x = keras.layers.RandomTranslation(0.05, 0.05, fill_mode="nearest")(pixels)
    x = keras.layers.RandomRotation(0.02, fill_mode="nearest")(x)
    x = keras.layers.RandomZoom(0.08, fill_mode="nearest")(x)
    x = keras.layers.Concatenate()([keras.layers.Resizing(SIZE, SIZE)(x)] * 3)  # gray to three channels
    return pixels, body(x)


x_given = features["train"][chosen_rows]


def fine_tuned(run):
    """Train in two phases; return the whole network, from pixels to a logit."""
    keras.utils.set_random_seed(100 * SEED + run)
    head, begin = new_head(cross_entropy)
    train_head(head, begin, x_given, given.y, run=run)
    pixels, x = new_network()
    model = keras.Model(pixels, head(x))
    steps = EPOCHS * -(-len(given.y) // 32)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=3e-4, warmup_steps=steps // 5)
    model.compile(keras.optimizers.Adam(rate), cross_entropy)
    model.fit(*given, epochs=EPOCHS, verbose=0)
    return model


# %%
runs = []
for run in range(RUNS):
    model = fine_tuned(run)
    runs.append({name: model.predict(sets[name].x, verbose=0)[:, 0] for name in LABELS})
logits = runs[0]
tuned = {name: expit(z) for name, z in logits.items()}

# %% [markdown]
# What is saved must be what was scored. So the last network is written to one file and read again, and asked for the same scores. Augmentation is asleep in `predict`: no score depends on chance.

# %% tags=["nbval-check-output"]
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "chests.keras")
    loaded = keras.saving.load_model(Path(folder) / "chests.keras")
assert np.allclose(loaded.predict(test.x, verbose=0)[:, 0], runs[-1]["test"], atol=1e-3)
print("the network that was read from the file gives the scores of the one that was trained")

# %% [markdown]
# The rival is logistic regression on the frozen features of the same images, its regularisation chosen by cross-validation. Both score the same test images, so the difference of the AUCs is judged in pairs: by DeLong, and by drawing images again. Decisions, each at its own threshold from validation, are compared by the test of McNemar (1947): among the images that *one* of the two gets right, is it more often the one than the other?

# %%
from scipy.stats import binomtest

rival = tuned_classifier(x_given, given.y)
probed = {name: rival.predict_proba(features[name])[:, 1] for name in LABELS}
both = {"frozen": probed, "fine-tuned": tuned}
difference = pairs(test.y, tuned["test"]) - pairs(test.y, probed["test"])
right, rows = {}, {}
for way, p in both.items():
    right[way] = (p["test"] > choose_threshold(validation.y, p["validation"])) == test.y
    rows[way] = {f"AUC, {name}": roc_auc_score(y, p[name]) for name, y in LABELS.items()}
    rows[way]["accuracy, test"] = right[way].mean()
low, high = np.quantile(bootstrap(difference), [0.025, 0.975])
only = {way: int(np.sum(right[way] & ~right[other])) for way, other in zip(both, [*both][::-1])}
print(f"AUC, fine-tuned minus frozen: {difference.mean():+.3f} ± {delong(difference):.3f} by DeLong, ", end="")
print(f"{low:+.3f} to {high:+.3f} by bootstrap")
p_value = binomtest(only["fine-tuned"], sum(only.values())).pvalue if sum(only.values()) else 1.0
print(
    f"right in {only['fine-tuned']} images only fine-tuned, in {only['frozen']} only frozen: McNemar p = {p_value:.2g}"
)
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# Over five seeds, fine-tuning adds {{tuned_gain.mean:.3f}} ± {{tuned_gain.half_width:.3f}} to the AUC of the frozen features; over images the half-width is {{tuned_gain_over_images.mean:.3f}}. The decisions are less settled than one p-value says: over the seeds, {{right_only_tuned.mean:.0f}} ± {{right_only_tuned.half_width:.0f}} test images are right only with the fine-tuned network, {{right_only_frozen.mean:.0f}} ± {{right_only_frozen.half_width:.0f}} only with the frozen one.
#
# In this comparison augmentation, deeper training and a loss on all layers come together; we did not take them apart. Validation is above test for both, so phase two has not closed the difference.
#
# ## 6. A threshold from validation, and one from test
#
# Each threshold is a choice, and choices are made on validation. The **mistake** is to make them on the images that are reported. Here are both, for the fine-tuned network. (A score above the threshold is called pneumonia; the best balanced accuracy is the maximum of Youden's index, 1950.)

# %%
from course_utils.evaluation import threshold_at_sensitivity, threshold_at_specificity

RULES = {
    "best balanced accuracy": choose_threshold,
    "95% specificity": threshold_at_specificity,
    "95% sensitivity": threshold_at_sensitivity,
}
thresholds = {rule: choose(validation.y, tuned["validation"]) for rule, choose in RULES.items()}
rows = {}
for rule, choose in RULES.items():
    for origin, t in (("validation", thresholds[rule]), ("test: mistake", choose(test.y, tuned["test"]))):
        rates = classification_metrics(test.y, tuned["test"], t)
        rows[rule, origin] = {"threshold": t} | {name: rates[name] for name in columns[1:]}
        rows[rule, origin]["balanced accuracy"] = rates["balanced_accuracy"]
pd.DataFrame(rows).T.rename_axis(["rule", "chosen on"]).round(3)

# %% tags=["nbval-check-output"]
THRESHOLD = thresholds["best balanced accuracy"]
of_test = choose_threshold(test.y, tuned["test"])
reached = {
    name: [balanced_accuracy_score(y, tuned[name] > t) for t in (THRESHOLD, of_test)] for name, y in LABELS.items()
}
assert THRESHOLD == choose_threshold(validation.y, tuned["validation"]), "the threshold is not that of validation"
assert reached["validation"][0] >= reached["validation"][1] - 1e-9, "not the best threshold on validation"
print("The threshold was chosen on validation. The one from test is no better there.")

# %%
grid = np.linspace(0.01, 0.99, 99)
figure, ax = plt.subplots(figsize=(8, 4))
figure.set_label(
    "Balanced accuracy over the threshold: the curve of test has its maximum elsewhere than that of validation."
)
for (name, y), colour in zip(LABELS.items(), ("C0", "C1")):
    ax.plot(grid, [balanced_accuracy_score(y, tuned[name] > t) for t in grid], color=colour, label=name)
for t, colour, text in ((THRESHOLD, "C0", "chosen on validation"), (of_test, "C1", "chosen on test: mistake")):
    ax.axvline(t, color=colour, linestyle="--", linewidth=1.4, label=text)
ax.set(xlabel="threshold", ylabel="balanced accuracy", xlim=(0, 1))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# How much does the mistake flatter? Shift and choice must be kept apart. So cut the test set into halves at random, choose on one, report both. One network may be lucky, so take the twenty classifiers of section 2. They also tell what a threshold is worth, and whether a specificity survives.


# %%
def halves_of_test(p):
    """Choose on one half of the test set; return balanced accuracy there, and on the other half."""
    one, other = np.array_split(random.permutation(len(test.y)), 2)
    t = choose_threshold(test.y[one], p[one])
    return [balanced_accuracy_score(test.y[half], p[half] > t) for half in (one, other)]


reported, true = np.mean([halves_of_test(p) for p in scores["test"] for _ in range(20)], axis=0)
before = np.mean([balanced_accuracy_score(test.y, p > 0.5) for p in scores["test"]])
both_sets = list(zip(scores["validation"], scores["test"]))
at_chosen = np.mean([balanced_accuracy_score(test.y, p > choose_threshold(validation.y, q)) for q, p in both_sets])
strict = [threshold_at_specificity(validation.y, q, 0.95) for q, _ in both_sets]
kept = np.mean([np.mean(p[test.y == NORMAL] <= t) for t, p in zip(strict, scores["test"])])
figures = {
    "balanced accuracy, test half that chose": reported,
    "balanced accuracy, other half of test": true,
    "balanced accuracy on test at 0.5": before,
    "… at the threshold from validation": at_chosen,
    "specificity on test where validation had 0.95": kept,
}
pd.Series(figures, name="mean of the draws").to_frame().round(3)

# %% [markdown]
# Three findings, over five seeds:
#
# - **Choosing on test flatters.** The half of test that chose reports {{test_chosen_optimism.mean:.3f}} ± {{test_chosen_optimism.half_width:.3f}} too much: one number, chosen from some 300 images. With more choices or fewer images it gets worse (Cawley & Talbot 2010).
# - **It also hides the shift.** The fine-tuned network has a balanced accuracy of {{balanced_by_threshold_of_validation.mean:.2f}} ± {{balanced_by_threshold_of_validation.half_width:.2f}} on test at the threshold from validation, and of {{balanced_by_threshold_of_test.mean:.2f}} ± {{balanced_by_threshold_of_test.half_width:.2f}} at the one from test. Luck of the size above is in this difference. The rest is what a threshold from test quietly corrects: the scores of test lie elsewhere (figure). No clinic has the labels to do so.
# - **A threshold from validation is worth having, and travels badly.** For the frozen features it lifts the balanced accuracy on test from {{balanced_accuracy_at_threshold.contrast:.2f}} (at 0.5) to {{balanced_accuracy_at_threshold.mean:.2f}}. But a specificity set to 0.95 on validation is {{specificity_kept.mean:.2f}} ± {{specificity_kept.half_width:.2f}} on test.
#
# ### What is it worth? Net benefit
#
# With a price of ten false alarms for one missed pneumonia, the threshold probability is $p_t = 1/11$, and the **net benefit** (Vickers & Elkin 2006) is found/n − alarms/n · $p_t / (1 - p_t)$. The rival is to treat everybody. The cheapest threshold is chosen once on validation, once on test; ± is over images.

# %%
PRICE = 10  # false alarms that are as bad as one missed pneumonia


def benefit(y, called):
    """Return what each image adds to the net benefit: 1 if found, minus the price of a false alarm."""
    return np.where(y == PNEUMONIA, 1, -1 / PRICE) * called


def cheapest(name):
    """Return the threshold with the highest net benefit on a set of images."""
    cuts = np.unique(np.concatenate([[0], tuned[name]]))
    return max(cuts, key=lambda t: benefit(LABELS[name], tuned[name] > t).mean())


everybody = benefit(test.y, np.ones(len(test.y)))
by_price = {f"threshold from {name}": benefit(test.y, tuned["test"] > cheapest(name)) for name in LABELS}
rows = {"treat everybody": {"net benefit": f"{everybody.mean():.3f}"}}
for rule, gained in by_price.items():
    rows[rule] = {
        "net benefit": f"{gained.mean():.3f}",
        "more than treating everybody": over_images(gained - everybody),
    }
pd.DataFrame(rows).T.fillna("")

# %% [markdown]
# Over five seeds, the threshold from validation gains {{gain_at_price.mean:.4f}} ± {{gain_at_price.half_width:.4f}} over treating everybody, and the one from test reports {{gain_of_mistake.mean:.4f}} ± {{gain_of_mistake.half_width:.4f}}. With five pneumonias in eight chests and so high a price, "treat everybody" is hard to beat by much. 0.01 is one pneumonia found among 100 chests without a further alarm.
#
# ## 7. Do the probabilities mean what they say?
#
# Of all chests with a score of 0.8, eight in ten should show pneumonia. Calibration has a place and a width (Van Calster et al. 2019). The **intercept** is what must be added to all logits so that the mean score is the share of pneumonia: below 0, the scores are too high. The **slope** is the factor that the logits need: below 1, they are overconfident.
#
# Two repairs, fitted on validation: a **temperature** (Guo et al. 2017) is one factor for all logits; **Platt scaling** is a factor and an addend.

# %%
from scipy.optimize import brentq
from sklearn.metrics import brier_score_loss, log_loss


def line(z, y, addend=True):
    """Return factor and addend of a logistic regression on the logit, without a penalty."""
    fit = LogisticRegression(C=np.inf, fit_intercept=addend).fit(z[:, None], y)
    return float(fit.coef_[0, 0]), float(np.ravel(fit.intercept_)[0])


def measures(y, z):
    p = expit(z)
    place = brentq(lambda addend: np.mean(expit(z + addend)) - y.mean(), -20, 20)
    return {"intercept": place, "slope": line(z, y)[0], "Brier": brier_score_loss(y, p), "log loss": log_loss(y, p)}


z = logits["validation"]
LINES = {
    "as trained": (1, 0),
    "temperature": line(z, validation.y, addend=False),
    "Platt scaling": line(z, validation.y),
}
rows = {
    (name, way): {"factor": factor, "addend": addend} | measures(y, factor * logits[name] + addend)
    for name, y in LABELS.items()
    for way, (factor, addend) in LINES.items()
}
calibration = pd.DataFrame(rows).T
calibration.round(3)


# %%
def drawn_again(y):
    """Return positions of images drawn again with replacement, class by class."""
    return np.concatenate([random.choice(rows, len(rows)) for rows in map(np.flatnonzero, (y == 0, y == 1))])


repeats = [drawn_again(test.y) for _ in range(BOOTSTRAPS // 4)]
drawn = {
    way: pd.DataFrame([measures(test.y[rows], factor * logits["test"][rows] + addend) for rows in repeats])
    for way, (factor, addend) in LINES.items()
}
intervals = {}
for way, sample in drawn.items():
    low, high = sample.quantile(0.025), sample.quantile(0.975)
    intervals[way] = {name: f"{low[name]:+.3f} to {high[name]:+.3f}" for name in sample}
for way in ("temperature", "Platt scaling"):
    low, high = ((drawn[way] - drawn["as trained"])[["Brier", "log loss"]].quantile(q) for q in (0.025, 0.975))
    intervals[f"{way} − as trained"] = {name: f"{low[name]:+.3f} to {high[name]:+.3f}" for name in low.index}
print("test, 95% over images")
pd.DataFrame(intervals).T.fillna("")

# %% [markdown]
# Why does one score improve, and another not? Split the change into images that the network calls rightly at 0.5, and wrongly:

# %%
from scipy.special import log_expit

towards = {
    way: np.where(test.y == 1, 1, -1) * (factor * logits["test"] + addend) for way, (factor, addend) in LINES.items()
}
rightly = towards["as trained"] > 0
by_call = {}
for way in ("temperature", "Platt scaling"):
    changes_of = {
        "log loss": log_expit(towards["as trained"]) - log_expit(towards[way]),
        "Brier": expit(-towards[way]) ** 2 - expit(-towards["as trained"]) ** 2,
    }
    for score, change in changes_of.items():
        by_call[way, score] = {"rightly called": change[rightly].sum() / len(test.y)}
        by_call[way, score] |= {"wrongly called": change[~rightly].sum() / len(test.y), "together": change.mean()}
print(f"called rightly: {rightly.sum()}, wrongly: {(~rightly).sum()}")
pd.DataFrame(by_call).T.round(4)

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True)
figure.set_label("Reliability curves of validation and test with 95% intervals, as trained and after Platt scaling.")
diagonal = np.linspace(-6, 14, 400)
for ax, (name, y) in zip(axes, LABELS.items()):
    for way, marker in (("as trained", "o"), ("Platt scaling", "s")):
        z = LINES[way][0] * logits[name] + LINES[way][1]
        groups = np.array_split(np.argsort(z), 8)
        share = np.array([y[group].mean() for group in groups])
        found = [binomtest(int(y[group].sum()), len(group)).proportion_ci(method="wilson") for group in groups]
        low, high = np.array(found).T
        spread = np.maximum([share - low, high - share], 0)
        ax.errorbar([np.median(z[group]) for group in groups], share, spread, fmt=marker, capsize=3, label=way)
    ax.plot(diagonal, expit(diagonal), color="0.5", linestyle=":", label="calibrated")
    ax.set(title=name.capitalize(), xlabel="median logit of the group (0: a score of 0.5)")
axes[0].set_ylabel("share of pneumonias")
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# Over five seeds, the scores as trained have an intercept of {{validation_intercept.mean:+.1f}} ± {{validation_intercept.half_width:.1f}} on validation: they are too low. On test it is {{test_intercept.mean:+.1f}} ± {{test_intercept.half_width:.1f}}: they are too high, and with a slope of {{test_slope.mean:.2f}} ± {{test_slope.half_width:.2f}} overconfident. The repairs change the scores on test by:
#
# | | log loss | Brier score |
# |---|---|---|
# | temperature | {{log_loss_by_temperature.mean:+z.3f}} ± {{log_loss_by_temperature.half_width:.3f}} | {{brier_by_temperature.mean:+z.4f}} ± {{brier_by_temperature.half_width:.4f}} |
# | Platt scaling | {{log_loss_by_platt.mean:+z.3f}} ± {{log_loss_by_platt.half_width:.3f}} | {{brier_by_platt.mean:+z.4f}} ± {{brier_by_platt.half_width:.4f}} |
#
# **Temperature.** No change was shown: its factor is {{temperature_factor.mean:.2f}} ± {{temperature_factor.half_width:.2f}}, so some networks become more modest, others bolder. Where the factor is below 1, modesty costs a little on the many images called rightly, and saves on the few called wrongly. A confident error costs log loss without bound; the Brier score of one image is at most 1.
#
# **Platt scaling makes both scores worse.** It also adds a number, because the scores are too low *on validation*. On test that moves scores further up which are too high already: {{log_loss_by_platt_rightly.mean:+z.3f}} ± {{log_loss_by_platt_rightly.half_width:.3f}} of log loss through images called rightly, {{log_loss_by_platt_wrongly.mean:+z.3f}} ± {{log_loss_by_platt_wrongly.half_width:.3f}} through the others.
#
# Neither mends what is wrong on test: the place of the scores, which validation does not know. (Were only the share of pneumonia another, and known, one could correct by it; Saerens et al. 2002.) Calibrate on images of the place where the model will work.
#
# ## 8. A leak: the burnt-in letter
#
# Portable machines go to the beds of those who cannot stand, and some write a letter into the image. Detectors of pneumonia and of COVID-19 were found to read such marks (Zech et al. 2018, DeGrave, Janizek & Lee 2021). We burn a "P" into the corner of the training pneumonias, fit logistic regression to the images of section 5, and take it to four hospitals.

# %%
LETTER = np.array([[1, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]])


def marked(x):
    """Return the images with a white P in the upper right corner."""
    x = x.copy()
    x[:, 1:6, 23:27, 0] = np.maximum(x[:, 1:6, 23:27, 0], 255 * LETTER)
    return x


axes = plot_images(marked(test.x[:8]), columns=8)
plt.gcf().set_label("Eight chests with a white P in the upper right corner.")
plt.show()

# %%
with_letter = {"given": extract_features(backbone, marked(given.x)), "test": extract_features(backbone, marked(test.x))}
leaking = classifier(C).fit(np.where(given.y[:, None] == PNEUMONIA, with_letter["given"], x_given), given.y)
clean = classifier(C).fit(x_given, given.y)
HOSPITALS = {
    "pneumonias carry it": test.y == PNEUMONIA,
    "nobody carries it": np.zeros(len(test.y), bool),
    "a random half carries it": random.permutation(len(test.y)) % 2 == 0,
    "normal chests carry it": test.y == NORMAL,
}
of_leak = {"trained with letters": leaking, "trained without": clean}
leak = {}
for hospital, carry in HOSPITALS.items():
    x = np.where(carry[:, None], with_letter["test"], features["test"])
    leak[hospital] = {way: roc_auc_score(test.y, one.decision_function(x)) for way, one in of_leak.items()}
print("AUC on test")
leak = pd.DataFrame(leak).T
leak.round(3)

# %% [markdown]
# Where the habit is the same, the AUC is {{leak_auc.mean:.3f}} (five seeds). Without letters it is {{leak_auc.contrast:.2f}}, not far below the {{clean_auc.mean:.2f}} of a clean training: the classifier reads the lungs, too. With the letter on a random half it falls to {{shuffled_auc.mean:.2f}} ± {{shuffled_auc.half_width:.2f}}. With the reversed habit it is {{turned_auc.mean:.2f}} ± {{turned_auc.half_width:.2f}}, near the chance level, where the clean one has {{turned_auc.contrast:.2f}}. Validation from the same hospital carries the same letters, so it praises the leak.
#
# ### Would a map have found it?
#
# Here the right place is known. Standardisation and logistic regression are linear, so backbone and classifier are one network with a dense layer at its end, of which Grad-CAM (Selvaraju et al. 2017) gives maps. How much of a map's heat lies on the cells of the letter? The null is their **share of the area**: that much a map has there that knows nothing. Maps may also be empty, where no cell raises the score. They have no heat to share out, so they are counted apart.

# %%
from course_utils.models import grad_cam


def as_network(model):
    """Return backbone and classifier as one network, from large images to a logit."""
    scaler, regression = model[0], model[1]
    kernel = regression.coef_.T / scaler.scale_[:, None]
    dense = keras.layers.Dense(1)
    reader = keras.Model(backbone.input, dense(backbone.output))
    dense.set_weights([kernel, regression.intercept_ - scaler.mean_ @ kernel])
    return reader


carriers = marked(test.x[test.y == PNEUMONIA][:MAPPED])
large = np.repeat(keras.layers.Resizing(SIZE, SIZE)(carriers.astype("float32")), 3, axis=-1)
maps = {}
for way, one in of_leak.items():
    reader = as_network(one)
    for stride in (16, 8):
        layer = [each.name for each in reader.layers if each.output.shape[1:3] == (SIZE // stride,) * 2][-1]
        maps[way, f"cells of {stride} pixels"] = grad_cam(reader, large, layer)

# %%
rows = {}
for key, heat in maps.items():
    side = heat.shape[1]
    corner = np.s_[:, : int(np.ceil(6 / 28 * side)), int(23 / 28 * side) :]  # the letter's cells
    full = heat[heat.any(axis=(1, 2))]
    rows[key] = {
        "heat on the letter": np.mean(full[corner].sum(axis=(1, 2)) / full.sum(axis=(1, 2))) if len(full) else np.nan,
        "share of the area": np.ones((1, side, side))[corner].sum() / side**2,
        "empty maps": 1 - len(full) / len(heat),
    }
on_letter = pd.DataFrame(rows).T
on_letter.round(3)

# %%
figure, axes = plt.subplots(2, 6, figsize=(12, 4.4))
figure.set_label(
    "Maps over six pneumonias with the letter: hot at the letter after a training with letters, elsewhere without."
)
for row, way in zip(axes, of_leak):
    for ax, image, heat in zip(row, carriers, maps[way, "cells of 16 pixels"]):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.imshow(heat, cmap="viridis", alpha=0.6 * heat, vmin=0, vmax=1, extent=(-0.5, 27.5, 27.5, -0.5))
        ax.axis("off")
    row[0].set_title(f"{way}, cells of 16 pixels", loc="left")
figure.colorbar(plt.cm.ScalarMappable(cmap="viridis"), ax=axes, label="share of the maximum", shrink=0.8)
plt.show()

# %% [markdown]
# The coarse map finds the letter: {{heat_on_letter.mean:.2f}} ± {{heat_on_letter.half_width:.2f}} of its heat is there, against 0.06 of the area, and {{heat_without.mean:.2f}} ± {{heat_without.half_width:.2f}} for a classifier that never saw a letter. The fine map of the same network has {{fine_heat_on_letter.mean:.2f}} ± {{fine_heat_on_letter.half_width:.2f}}, little above its area. Empty are {{empty_maps.mean:.1%}} of the coarse and {{fine_empty_maps.mean:.1%}} of the fine maps. So the layer should be chosen by such a test, and not by the looks of the map. A map is worth most as a search for what should not count, not as a reason for one patient.
#
# ## 9. Beside published figures
#
# Yang et al. (2023) publish AUC and accuracy on the official test set. Ours stand beside them with 95% intervals over images; the accuracy has a threshold from validation. The profile `full` trains five networks on all images, at 96 pixels. Then the first row is their mean, and a second one is the **ensemble**, which averages their logits.

# %%
from course_utils.evaluation import bootstrap_interval


def told(run):
    """Return AUC and accuracies on test, each with its interval."""
    metrics = {"AUC": roc_auc_score}
    for name, rule in (("accuracy", "best balanced accuracy"), ("accuracy at 95% sensitivity", "95% sensitivity")):
        t = RULES[rule](validation.y, run["validation"])
        metrics[name] = lambda y, p, t=t: np.mean((p > t) == y)
    rows = {}
    for name, metric in metrics.items():
        low, high = bootstrap_interval(metric, test.y, run["test"], repeats=BOOTSTRAPS, seed=SEED)
        rows[name] = {"measured": metric(test.y, run["test"]), "low": low, "high": high}
    return pd.DataFrame(rows)


as_scores = [{name: expit(z) for name, z in run.items()} for run in runs]
ours = {f"fine-tuned, {SIZE} px": sum(map(told, as_scores)) / RUNS}
if RUNS > 1:
    together = {name: expit(np.mean([run[name] for run in runs], axis=0)) for name in LABELS}
    ours[f"ensemble of {RUNS}, {SIZE} px"] = told(together)
    hindsight = choose_threshold(test.y, together["test"], "accuracy")  # for comparison only: chosen on test
    highest = np.mean((together["test"] > hindsight) == test.y)
    print(f"ensemble: no threshold has an accuracy above {highest:.3f} on test")
measured = pd.DataFrame({name: rows.loc["measured"] for name, rows in ours.items()}).T

# %%
published = {
    "ResNet-18, 28 px": ("0.944", "0.854", "", "all 4,708"),
    "ResNet-50, 224 px": ("0.962", "0.884", "", "all 4,708"),
    "Google AutoML Vision, 28 px": ("0.991", "0.946", "", "all 4,708"),
}
cells = {
    name: [f"{m.measured:.3f} ({m.low:.3f} to {m.high:.3f})" for _, m in rows.items()] + [f"{len(given.y):,}"]
    for name, rows in ours.items()
}
pd.DataFrame(published | cells, index=[*measured.columns, "training images"]).T

# %% [markdown]
# Over five seeds, the AUC with 1,000 images is {{tuned_auc.mean:.3f}} ± {{tuned_auc.half_width:.3f}}; the accuracy is {{accuracy.mean:.2f}} ± {{accuracy.half_width:.2f}}, at 95% sensitivity {{accuracy_at_95_sensitivity.mean:.2f}} ± {{accuracy_at_95_sensitivity.half_width:.2f}}. To say "pneumonia" always has {{accuracy.contrast:.3f}}.
#
# In the last run of `full` the ensemble has an AUC of {{full.ensemble_auc.value:.3f}} (mean of its networks {{full.ensemble_auc.contrast:.3f}}). Its accuracy is {{full.ensemble_accuracy.value:.3f}}, and {{full.ensemble_accuracy_at_95.value:.3f}} at 95% sensitivity. We had aimed at 0.985 and 0.935, and missed both. The AUC misses by less than the intervals are wide. The accuracy is lost at the threshold: chosen on test, one would have {{full.ensemble_accuracy_highest.value:.3f}}. Part of that is hindsight. Besides, the scores of test lie elsewhere (section 7), and validation does not know it.
#
# Who is better? That is not decided here. All were scored on the same 624 images, so a difference must be judged in pairs, as in section 5, and the published predictions are not at hand. The terms differ, too: the ResNets began with random weights and saw all training images; ours began with photographs and saw 1,000.
#
# ### What such a model may not be used for
#
# - **Not for a diagnosis.** One test set of 624 small images, looked at more than once, is no study with patients.
# - **Not for other patients.** These are children of one to five years from one hospital. Nothing is known about adults.
# - **Not for other questions.** "No pneumonia" is not "healthy".
# - **Not without watching.** A new machine is a new test set.
#
# Roberts et al. (2021) looked at 62 studies of models for COVID-19 on chest X-rays and CT, and found none fit for use, for reasons met here: leaks, unknown patients, data from two sources, no test elsewhere.

# %% tags=["headline"]
share, signed = {"limits": (0, 1)}, {"limits": (-1, 1)}
expect("frozen_auc_gap", gap.mean(), contrast=0, **signed)
expect("gap_over_images", widths["validation − test"])
for name in LABELS:
    expect(f"frozen_specificity_{name}", means[name]["specificity"], **share)
apart = apart.mean(axis=1)
expect("test_from_train", apart["test"], contrast=apart["validation"], **share)
expect("labels_to_turn", to_turn)
expect("neighbours_gave", neighbours_gave)
expect("neighbours_over_images", np.hypot(*map(delong, from_neighbours)) / 2)
expect("specificity_lost_in_bright", lost, **signed)
expect("bright_darkened", darkened)
expect("dark_brightened", brightened)
mean_change = {way: change.mean() for way, change in changes.items()}
expect("score_lowered_by_weights", -mean_change["class weights"]["score of normal chests"], contrast=0, **signed)
expect("auc_changed_by_weights", mean_change["class weights"]["AUC"])
expect("specificity_by_weights", mean_change["class weights"]["specificity at 0.5"])
expect("gap_changed_by_weights", mean_change["class weights"]["AUC, validation − test"])
expect("balanced_changed_by_weights", mean_change["class weights"]["at its threshold"])
expect("balanced_changed_by_focal", mean_change["focal loss"]["at its threshold"])
for size, table in by_size.items():
    expect(f"auc_at_{size}", table.mean(), **share)
    if size != SIZES[-1]:
        expect(f"at_{size}_minus_largest", (table - reference).mean(), **signed)
expect("tuned_auc", np.mean([roc_auc_score(test.y, run["test"]) for run in runs]))
expect("tuned_gain", difference.mean(), **signed)
expect("tuned_gain_over_images", delong(difference))
for way, name in (("fine-tuned", "only_tuned"), ("frozen", "only_frozen")):
    expect(f"right_{name}", only[way])
for name, balanced in zip(("validation", "test"), reached["test"]):
    expect(f"balanced_by_threshold_of_{name}", balanced, **share)
expect("upside_down_loss", aucs["test"].mean() - read, contrast=0, **signed)
expect("balanced_accuracy_at_threshold", at_chosen, contrast=before, **share)
expect("specificity_kept", kept, contrast=0.95, **share)
expect("test_chosen_optimism", reported - true, contrast=0, **signed)
gains = {rule: (gained - everybody).mean() for rule, gained in by_price.items()}
expect("gain_at_price", gains["threshold from validation"])
expect("gain_of_mistake", gains["threshold from test"])
on_test = calibration.loc["test"]
expect("validation_intercept", calibration.loc[("validation", "as trained"), "intercept"])
expect("temperature_factor", LINES["temperature"][0])
expect("test_intercept", on_test.loc["as trained", "intercept"])
expect("test_slope", on_test.loc["as trained", "slope"])
for way, name in (("temperature", "temperature"), ("Platt scaling", "platt")):
    expect(f"log_loss_by_{name}", on_test.loc[way, "log loss"] - on_test.loc["as trained", "log loss"])
    expect(f"brier_by_{name}", on_test.loc[way, "Brier"] - on_test.loc["as trained", "Brier"])
for call in ("rightly", "wrongly"):
    expect(f"log_loss_by_platt_{call}", by_call["Platt scaling", "log loss"][f"{call} called"])
with_letters, without = leak["trained with letters"], leak["trained without"]
expect("leak_auc", with_letters["pneumonias carry it"], contrast=with_letters["nobody carries it"], **share)
expect("clean_auc", without["nobody carries it"])
expect("shuffled_auc", with_letters["a random half carries it"], **share)
reversed_habit = "normal chests carry it"
expect("turned_auc", with_letters[reversed_habit], contrast=without[reversed_habit], **share)
coarse = on_letter.loc["trained with letters", "cells of 16 pixels"]
expect("heat_on_letter", coarse["heat on the letter"], contrast=coarse["share of the area"], **share)
fine = on_letter.loc["trained with letters", "cells of 8 pixels"]
expect("fine_heat_on_letter", np.nan_to_num(fine["heat on the letter"]), **share)
expect("fine_empty_maps", fine["empty maps"], **share)
unlettered = on_letter.loc["trained without", "cells of 16 pixels"]
expect("heat_without", np.nan_to_num(unlettered["heat on the letter"]), **share)
expect("empty_maps", coarse["empty maps"], **share)
strict_accuracy, always = measured["accuracy at 95% sensitivity"], test.y.mean()
expect("accuracy", measured["accuracy"].iloc[0], contrast=always, **share)
expect("accuracy_at_95_sensitivity", strict_accuracy.iloc[0], contrast=always, **share)
if RUNS > 1:
    expect("ensemble_auc", measured["AUC"].iloc[1], contrast=measured["AUC"].iloc[0], **share)
    expect("ensemble_accuracy", measured["accuracy"].iloc[1])
    expect("ensemble_accuracy_at_95", strict_accuracy.iloc[1])
    expect("ensemble_accuracy_highest", highest)
expect.table()
