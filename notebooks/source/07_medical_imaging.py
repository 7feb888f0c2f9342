# ---
# jupyter:
#   course:
#     title: Medical imaging
#     question: Its sensitivity was 0.95 on validation. Would you use it?
#     minutes: {reading: 50, exercises: 40}
#     shows: "A threshold chosen for a sensitivity of 0.95 on validation, and the specificity that it has on synthetic chests of another hospital: {{second.mean:+.2f}} ± {{second.half_width:.2f}} against the first (five runs, {{scatter.mean:+.2f}} ± {{scatter.half_width:.2f}} from scatter alone). On real X-rays, a specificity set to 0.95 came out as {{experiment.specificity_kept.mean:.2f}} ± {{experiment.specificity_kept.half_width:.2f}}."
#     goals:
#       - fine-tune a network on chest X-rays in two phases, and report it as a reviewer expects;
#       - choose a threshold on validation, and give intervals on test;
#       - test a suspected cause of a shift, calibrate probabilities, and weigh errors by their cost;
#       - hand over a model with its threshold and card, and read DICOM files.
#     prerequisites:
#       - lesson 03 (fine-tuning);
#       - conditional probability.
#     recap:
#       - "Ask first who set the labels, how patients were split, and whether the test images come from elsewhere."
#       - "Accuracy hides the smaller class. Give sensitivity, specificity and AUC, each with an interval over images."
#       - "Threshold and calibration are chosen on validation. Chosen on test, they flatter."
#       - "A suspected cause of a shift is tested by changing that one thing and scoring again."
#       - "A map is no explanation before it was compared with that of random weights, and with the true place where it is known."
#     references: [kermany2018, yang2023, tejani2024, collins2024, vickers2006, guo2017, selvaraju2017, adebayo2018]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0
XRAYS = ""  # path of pneumoniamnist.npz; empty: that of the variable COURSE_PNEUMONIA_MNIST, else phantoms
SIZE = 64  # height and width of the images in pixels, as the network sees them
IMAGES = 1000  # to train
EPOCHS = 3  # of phase two
PRICE = 10  # false alarms that are as bad as one missed pneumonia

# %% [markdown]
# ## The whole thing first
#
# Does a chest X-ray show pneumonia? PneumoniaMNIST (Yang et al. 2023) holds 5,856 small X-rays of children. No Python package carries them: [download the
# file](https://zenodo.org/records/10519652/files/pneumoniamnist.npz) (4 MB) and put its path into `XRAYS`. Without it the lesson takes **phantoms**: synthetic chests, drawn by a program as in two hospitals, one to train and
# one to test. Their figures say nothing about patients.

# %%
import os

import keras
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

from course_utils.data import load_chest_xrays, phantom
from course_utils.zoo import load_backbone

real = bool(XRAYS or os.environ.get("COURSE_PNEUMONIA_MNIST"))
chests = load_chest_xrays(XRAYS or None) if real else phantom.draw_chest_phantoms()
validation, test = chests.validation, chests.test
rows = np.random.default_rng(SEED).permutation(len(chests.train.y))[:IMAGES]
x, y = chests.train.x[rows], chests.train.y[rows]  # 0 normal, 1 pneumonia

# %%
augment = keras.Sequential(  # as chests vary: off centre, leaning, nearer; never upside down
    [keras.layers.RandomTranslation(0.05, 0.05), keras.layers.RandomRotation(0.02), keras.layers.RandomZoom(0.08)]
)
backbone = load_backbone(input_size=SIZE)
backbone.trainable = False
pixels = keras.Input((28, 28, 1))
large = keras.layers.Resizing(SIZE, SIZE)(augment(pixels))
body = keras.Model(pixels, backbone(keras.layers.Concatenate()([large] * 3)))  # gray to three channels
head = keras.Sequential([keras.Input(body.output_shape[1:]), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
model = keras.Model(pixels, head(body.output))  # its output is a logit


# %%
def fit(model, x, rate, epochs):
    model.compile(keras.optimizers.Adam(rate), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(x, y, epochs=epochs, verbose=0)


fit(head, body.predict(x, verbose=0), rate=0.003, epochs=10)  # phase one
backbone.trainable = True
for layer in backbone.layers:
    layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
steps = EPOCHS * -(-len(y) // 32)
fit(model, x, keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=3e-4, warmup_steps=steps // 5), EPOCHS)

# %%
import pandas as pd
from sklearn.metrics import roc_auc_score

parts = {"validation": validation, "test": test}
logits = {name: model.predict(part.x, verbose=0)[:, 0] for name, part in parts.items()}
scores = {name: expit(z) for name, z in logits.items()}  # probability of pneumonia
auc = {name: roc_auc_score(part.y, scores[name]) for name, part in parts.items()}
print(f"{chests.card.title}. AUC: validation {auc['validation']:.3f}, test {auc['test']:.3f}")

# %%
figure, axes = plt.subplots(1, 6, figsize=(12, 2.8))
figure.set_label("Six chests of the test set, each with its class and the score, the probability of pneumonia.")
for ax, i in zip(axes, np.random.default_rng(SEED).choice(len(test.y), 6, replace=False)):
    ax.imshow(test.x[i], cmap="gray")
    ax.set_title(f"{chests.class_names[test.y[i]]}\nscore {scores['test'][i]:.2f}", fontsize=12)
    ax.axis("off")
plt.show()

# %% [markdown]
# Phase one fits a head on cached features. Phase two trains everything but BatchNorm, on augmented images.
#
# The **AUC** is the probability that a random pneumonia has a higher score than a random normal chest. 0.5 is chance level.
#
# ## 1. Where do the labels come from?
#
# The **reference standard** is what counts as the truth. Two physicians graded each X-ray; for the test set, and only there, a third one checked
# the grades (Kermany et al. 2018). Of a phantom the class is known.

# %% tags=["fold"]
# Diagram: two sources, three sets
figure, ax = plt.subplots(figsize=(9, 3))
figure.set_label("The first source is cut into training, which fits the weights, and validation, which chooses; the "
                 "second source is the test set, which reports once. Each box has its number of images.")  # fmt: skip
sources = ("training folder\ngraded by two", "test folder\ngraded by three") if real else ("hospital 1", "hospital 2")
sizes = [f"{len(labels):,} images, {np.sum(labels == 0)} normal" for labels in (y, validation.y, test.y)]
boxes = [(0, 1.2, sources[0], "#cfe3f2"), (0, 0, sources[1], "#fbdcb8")]
boxes += [(1.6, 1.6, f"training: {sizes[0]}\nfits the weights", "#cfe3f2")]
boxes += [(1.6, 0.8, f"validation: {sizes[1]}\nchooses", "#cfe3f2")]
for left, height, text, colour in [*boxes, (1.6, 0, f"test: {sizes[2]}\nreports, once", "#fbdcb8")]:
    box = {"boxstyle": "round,pad=0.5", "facecolor": colour}
    ax.text(left, height, text, ha="center", va="center", bbox=box, fontsize=12)
for start, end in ((1.2, 1.6), (1.2, 0.8), (0, 0)):
    ax.annotate("", (0.95, end), (0.36, start), arrowprops={"arrowstyle": "->", "lw": 1.5, "color": "0.3"})
ax.set(xlim=(-0.4, 2.3), ylim=(-0.35, 1.95))
ax.axis("off")
plt.show()

# %% [markdown]
# Several images can show one child. **Split by patient**, or the network meets the same child in training and validation. PneumoniaMNIST has no patient numbers, so nobody can check its split.
#
# ### The mistake: accuracy on imbalanced data
#
# **Predict.** A program says "pneumonia" to every chest. What are its accuracy, its sensitivity (share of pneumonias found) and its specificity (share of normal chests left alone)?
#
# <details><summary>Answer</summary>
#
# The accuracy is the share of pneumonias, the sensitivity 1, the specificity 0.
#
# </details>

# %%
from sklearn.metrics import accuracy_score, recall_score


def rates(labels, called):
    sensitivity, specificity = (recall_score(labels, called, pos_label=label) for label in (1, 0))
    return {"accuracy": accuracy_score(labels, called), "sensitivity": sensitivity, "specificity": specificity}


table = {f"always pneumonia, {name}": rates(part.y, np.ones_like(part.y)) for name, part in parts.items()}
table |= {f"network at 0.5, {name}": rates(part.y, scores[name] >= 0.5) for name, part in parts.items()}
pd.DataFrame(table).T.round(3)

# %% [markdown]
# **The symptom:** an accuracy near the share of the larger class. That share is larger on validation than on test, so the two accuracies cannot be compared.
#
# ### The baseline: a frozen network
#
# What would the features give without phase two? Logistic regression on them, its `C` chosen by cross-validation:

# %%
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

plain, resize = load_backbone(input_size=SIZE), keras.layers.Resizing(SIZE, SIZE)  # the weights as they came
known, unknown = (plain.predict(np.repeat(resize(part), 3, axis=-1), verbose=0) for part in (x, test.x))

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
search = GridSearchCV(probe, {"logisticregression__C": np.logspace(-5, 0, 6)}, scoring="roc_auc").fit(known, y)
frozen = roc_auc_score(test.y, search.decision_function(unknown))
print(f"AUC on test: frozen {frozen:.3f}, fine-tuned {auc['test']:.3f}")

# %% [markdown]
# Phase two adds {{gain_over_frozen.mean:.3f}} ± {{gain_over_frozen.half_width:.3f}} (phantoms, five runs, pairs).
#
# ## 2. A threshold, from validation only
#
# The clinic demands a sensitivity of 0.95. We take the highest threshold that has it on validation.
#
# **Predict.** On test, will the sensitivity still be 0.95? And the specificity?
#
# <details><summary>Answer</summary>
#
# Neither is promised. Other images have other scores. Section 3 says how large a difference must be to be seen.
#
# </details>

# %%
from sklearn.metrics import roc_curve


def threshold_for(labels, scores, sensitivity=0.95):
    _, reached, thresholds = roc_curve(labels, scores, drop_intermediate=False)  # else some thresholds are left out
    return thresholds[np.argmax(reached >= sensitivity)]


threshold = threshold_for(validation.y, scores["validation"])
at = {name: rates(part.y, scores[name] >= threshold) for name, part in parts.items()}
pd.DataFrame(at).T.round(3)

# %% tags=["fold"]
# Figure: scores by class, ROC and precision-recall curves, with the threshold
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, precision_score

figure, axes = plt.subplots(2, 2, figsize=(12, 8.4), height_ratios=[2, 3])
figure.set_label(
    "Above, scores on validation and test: most normal chests lie near 0, most pneumonias near 1, the threshold "
    "left of the middle. Below, ROC and precision-recall curves: both rise steeply, test runs a little inside "
    "validation."
)
for ax, (name, part) in zip(axes[0], parts.items()):
    for label, text in enumerate(chests.class_names):
        ax.hist(scores[name][part.y == label], np.linspace(0, 1, 26), alpha=0.6, label=text)
    ax.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    ax.set(title=f"Scores, {name}", xlabel="score", ylabel="images", yscale="log")
axes[0, 1].legend(loc="upper center")
left, right = axes[1]
for (name, part), marker, colour in zip(parts.items(), "os", ("C2", "C4")):
    style = {"name": name, "curve_kwargs": {"color": colour}}
    RocCurveDisplay.from_predictions(part.y, scores[name], ax=left, **style)
    PrecisionRecallDisplay.from_predictions(part.y, scores[name], ax=right, **style)
    found, precise = at[name]["sensitivity"], precision_score(part.y, scores[name] >= threshold)
    left.plot(1 - at[name]["specificity"], found, marker, color=colour, ms=11, mec="black", zorder=5)
    right.plot(found, precise, marker, color=colour, ms=11, mec="black", zorder=5)
left.set(title="ROC", xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 0.5), ylim=(0.5, 1.01))
right.set(title="Precision and recall", xlabel="recall (sensitivity)", ylabel="precision")
right.set(xlim=(0.5, 1.01), ylim=(0.5, 1.01))
plt.show()

# %% [markdown]
# Over five runs on the phantoms, the specificity is {{validation_specificity.mean:.2f}} ± {{validation_specificity.half_width:.2f}} on validation and
# {{test_specificity.mean:.2f}} ± {{test_specificity.half_width:.2f}} on test. This "±" covers the seeds only: all runs score the same few normal chests.
#
# On the X-rays, a threshold with a *specificity* of 0.95 on validation has one of
# {{experiment.specificity_kept.mean:.2f}} ± {{experiment.specificity_kept.half_width:.2f}} on test ([experiment](experiments/07_medical_imaging.ipynb), frozen features).
#
# ### The mistake: the threshold from test
#
# **Predict.** Cut the test set in halves. Choose the threshold with the best balanced accuracy (mean of sensitivity and specificity) on one half, and report both. Which half looks better?
#
# <details><summary>Answer</summary>
#
# The half on which it was chosen: the threshold also fits the accidents of these images.
#
# </details>

# %%
from sklearn.metrics import balanced_accuracy_score

random, pairs = np.random.default_rng(SEED), []
for _ in range(200):
    one, other = np.array_split(random.permutation(len(test.y)), 2)
    false_alarms, found, cuts = roc_curve(test.y[one], scores["test"][one])
    best = cuts[np.argmax(found - false_alarms)]
    pairs.append([balanced_accuracy_score(test.y[half], scores["test"][half] >= best) for half in (one, other)])
chosen, new = np.mean(pairs, axis=0)
print(f"balanced accuracy: {chosen:.3f} where the threshold was chosen, {new:.3f} on the other half")

# %% [markdown]
# The half that chose looks better by {{chosen_on_test.mean:.3f}} ± {{chosen_on_test.half_width:.3f}} in five runs on the phantoms. **The symptom:** a paper that does not say where its threshold comes from.
#
# ## 3. How far off could the figures be?
#
# Other children would have given other figures. The **bootstrap** imitates that: draw the images again, with replacement and within each class, and compute the figure anew, 300 times. The middle 95% are the interval. The threshold stays fixed; that it was chosen on few images is not counted.
#
# **Predict.** On test the specificity is a few hundredths lower. Will the interval of the difference leave out 0, so that it was shown?
#
# <details><summary>Answer</summary>
#
# No. Over five runs on the phantoms, the specificity is {{fell.mean:.3f}} lower on test, but over images one run's interval reaches {{apart.mean:.3f}} to either side: 78 and 150 normal chests are too few. Of the AUC the two are {{auc_fell.mean:.3f}} and {{auc_apart.mean:.3f}}: look where your interval ends.
#
# </details>

# %%
from sklearn.utils import resample

state = np.random.RandomState(SEED)


def drawn_again(metric, *arrays, times=300):  # the labels come first
    return np.array([metric(*resample(*arrays, stratify=arrays[0], random_state=state)) for _ in range(times)])


# %%
draws = {}
for name, part in parts.items():
    draws["AUC", name] = drawn_again(roc_auc_score, part.y, scores[name])
    for label, rate in enumerate(("specificity", "sensitivity")):
        called = scores[name][part.y == label] >= threshold
        draws[rate, name] = drawn_again(lambda labels, c: np.mean(c == labels), np.full(len(called), label), called)
for rate in ("AUC", "sensitivity", "specificity"):
    draws[rate, "validation − test"] = draws[rate, "validation"] - draws[rate, "test"]
pd.DataFrame(draws).quantile([0.025, 0.5, 0.975]).T.round(3)

# %% [markdown]
# This is the spread over *images*, for one network. Another spread is that over *seeds*: other training images and random numbers, the same test set. Five seeds give specificities with an SD of
# {{test_specificity.std:.3f}}, and AUCs with an SD of {{test_auc.std:.3f}}. Neither contains the other; report both.
#
# If several images show one child, draw *children*, or the intervals are too narrow.
#
# ## 4. What can make a test set different?
#
# How the images were taken; who checked the labels; children in both training and validation; the share of ill children, which moves accuracy and precision, not the ROC curve. To learn which, change one thing and score again. Phantoms allow that: we draw 1,000 new chests, and take *the same* ones with the first machine, with one property of the second, and with all of them. **Scatter** is stray radiation that lowers the contrast; the *collimator* leaves black borders.
#
# **Predict.** Which property costs most specificity?
#
# <details><summary>Answer</summary>
#
# Five runs on the phantoms: scatter {{scatter.mean:+z.3f}} ± {{scatter.half_width:.3f}}, zoom {{zoom.mean:+z.3f}} ± {{zoom.half_width:.3f}}, contrast {{contrast.mean:+z.3f}} ± {{contrast.half_width:.3f}}; the table has the rest.
#
# </details>

# %%
first, second = (hospital._replace(ill=0.5) for hospital in (phantom.FIRST, phantom.SECOND))
hospitals = {"first hospital": first, "second hospital": second}
for one in ("brightness", "contrast", "scatter", "noise", "zoom", "collimated"):
    hospitals[f"first, but {one}"] = first._replace(**{one: getattr(second, one)})
taken = {name: phantom.draw_chests(1000, hospital, SEED)[0] for name, hospital in hospitals.items()}
if real:  # of an X-ray only the gray values can be changed afterwards
    taken = {f"gray × {k}": validation._replace(x=np.minimum(k * validation.x, 255)) for k in (1, 0.9, 1.1)}

# %%
right, changed = [], {}
for name, part in taken.items():
    right.append(expit(model.predict(part.x[part.y == 0], verbose=0)[:, 0]) < threshold)  # normal, left alone
    pairs = right[-1].astype(float) - right[0]  # the same chest, taken in two ways
    change, spread = pairs.mean(), 1.96 * pairs.std() / len(pairs) ** 0.5
    changed[name] = {"specificity": right[-1].mean(), "change": change, "±": spread}
pd.DataFrame(changed).T.round(3)

# %% [markdown]
# With all properties of the second hospital the specificity changes by {{second.mean:+.3f}} ± {{second.half_width:.3f}} (five runs, each with new chests). A property whose interval leaves out 0 *is* a cause here, for nothing else was changed.
#
# Of an X-ray only the gray values can be changed afterwards. There, bright normal chests had {{experiment.specificity_lost_in_bright.mean:.2f}} ± {{experiment.specificity_lost_in_bright.half_width:.2f}} less specificity than dark ones. Darkening them did not help: it changed the specificity by {{experiment.bright_darkened.mean:+.2f}} ± {{experiment.bright_darkened.half_width:.2f}} ([experiment](experiments/07_medical_imaging.ipynb), frozen features, five runs). So brightness is not the reason.
#
# ## 5. Do the probabilities mean what they say?
#
# Of all chests with a score of 0.8, eight in ten should show pneumonia. Then the network is **calibrated**. Two repairs: a **temperature** $T$ multiplies all logits by one factor, $1/T$ (Guo et al. 2017). **Platt scaling**, logistic regression on the logit, also adds a number. Both are fitted on validation.
#
# - Factor above 1: the scores were underconfident; below 1: overconfident. Addend above 0: they were too low.
# - **Brier score**: the mean squared error of the probabilities. The **log loss** punishes confident errors much harder.
#
# **Predict.** Where both are fitted, Platt scaling never has the larger log loss. Why not? And how can we choose?
#
# <details><summary>Answer</summary>
#
# With an addend of 0 it is a temperature. So compare them by *cross-validation* within validation.
#
# </details>

# %%
from sklearn.metrics import brier_score_loss, log_loss

z = logits["validation"][:, None]
ways, losses = {"as trained": (1, 0)}, {"as trained": log_loss(validation.y, scores["validation"])}
for way, addend in (("temperature", False), ("Platt scaling", True)):
    line = LogisticRegression(C=np.inf, fit_intercept=addend).fit(z, validation.y)
    ways[way] = float(line.coef_[0, 0]), float(line.intercept_[0])  # factor, addend
    losses[way] = -cross_val_score(line, z, validation.y, cv=10, scoring="neg_log_loss").mean()
shipped = min(losses, key=losses.get)

# %% tags=["fold"]
# Table: the three ways on validation, where they were fitted, and on test
table = {}
for way, (factor, addend) in ways.items():
    p = expit(factor * logits["test"] + addend)
    table[way] = {"factor": factor, "addend": addend, "log loss, validation": losses[way]}
    table[way] |= {"log loss, test": log_loss(test.y, p), "Brier score, test": brier_score_loss(test.y, p)}
print("shipped:", shipped)
pd.DataFrame(table).T.round(3)

# %% tags=["fold"]
# Figure: reliability curves with 95% intervals
from scipy.stats import binomtest

figure, axes = plt.subplots(1, 2, figsize=(12, 4.6), sharey=True)
figure.set_label(
    "Share of pneumonias over the median score of five groups, on a logit axis, with intervals. As trained, the middle "
    "groups hold more pneumonias than their score says; Platt scaling brings validation to the dotted line."
)
line = np.linspace(0.001, 0.9999, 500)
for ax, (name, part) in zip(axes, parts.items()):
    for way, marker in (("as trained", "o"), ("Platt scaling", "s")):
        p = expit(ways[way][0] * logits[name] + ways[way][1])
        groups = np.array_split(np.argsort(p), 5)
        share = np.array([part.y[group].mean() for group in groups])
        found = [binomtest(int(part.y[g].sum()), len(g)).proportion_ci(method="wilson") for g in groups]
        low, high = np.array(found).T
        spread = np.maximum([share - low, high - share], 0)
        ax.errorbar([np.median(p[g]) for g in groups], share, spread, fmt=marker, capsize=3, label=way)
    ax.plot(line, line, color="0.5", linestyle=":")
    ax.set(title=name.capitalize(), xlabel="median score of the group", xscale="logit", xlim=(0.003, 0.9999))
axes[0].set_ylabel("share of pneumonias")
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# Validation chose, test judges. Over five runs on the phantoms, the log loss on test changes by
# {{log_loss_by_temperature.mean:+z.3f}} ± {{log_loss_by_temperature.half_width:.3f}} with the temperature, and by {{log_loss_by_platt.mean:+z.3f}} ± {{log_loss_by_platt.half_width:.3f}} with Platt scaling. Why the scores as trained are shifted, we did not test.
#
# ## 6. What is it worth?
#
# Ask the clinic: how many false alarms are as bad as one missed pneumonia? With `PRICE` alarms, treat when the probability is above $p_t = 1 / (1 + \text{PRICE})$. The **net benefit** (Vickers & Elkin 2006) counts pneumonias found, minus false
# alarms at that price, per image:
#
# $$\frac{\text{found}}{n} - \frac{\text{false alarms}}{n} \cdot \frac{p_t}{1 - p_t}.$$
#
# **Predict.** Which rival must the network beat, when a missed pneumonia is very costly?
#
# <details><summary>Answer</summary>
#
# "Treat everybody", which misses nobody. When alarms are costly, the rival is "treat nobody", with a net benefit of 0.
#
# </details>


# %%
def net_benefit(labels, called, p_t):
    found, alarms = np.mean(called & (labels == 1)), np.mean(called & (labels == 0))
    return found - alarms * p_t / (1 - p_t)


calibrated = {name: expit(ways[shipped][0] * logit + ways[shipped][1]) for name, logit in logits.items()}
wanted = 1 / (1 + PRICE)
rules = {f"p > {wanted:.2f}": calibrated["test"] >= wanted, "threshold of section 2": scores["test"] >= threshold}
benefit = {}
for rule, called in (rules | {"treat everybody": test.y >= 0}).items():
    gains = drawn_again(lambda t, c: net_benefit(t, c, wanted) - net_benefit(t, t >= 0, wanted), test.y, called)
    low, high = np.quantile(gains, [0.025, 0.975])
    benefit[rule] = {"net benefit": net_benefit(test.y, called, wanted), "gain, 2.5%": low, "gain, 97.5%": high}
pd.DataFrame(benefit).T.round(4)

# %% tags=["fold"]
# Figure: decision curve
figure, ax = plt.subplots(figsize=(9, 4.2))
figure.set_label(
    "Net benefit over the threshold probability: the network lies above treating nobody throughout, and above treating "
    "everybody except at small probabilities, where its band reaches that line."
)
grid = np.linspace(0.02, 0.9, 60)
curves = {"network": calibrated["test"], "treat everybody": np.ones(len(test.y))}
for (text, p), style in zip(curves.items(), ("-", "--")):
    ax.plot(grid, [net_benefit(test.y, p >= p_t, p_t) for p_t in grid], style, label=text)
again = drawn_again(lambda t, p: [net_benefit(t, p >= p_t, p_t) for p_t in grid], test.y, calibrated["test"])
ax.fill_between(grid, *np.quantile(again, [0.025, 0.975], axis=0), alpha=0.25, label="95% over images")
ax.axhline(0, color="0.5", linestyle=":", label="treat nobody")
ax.axvline(wanted, color="0.4", linewidth=1, label=f"price {PRICE}: $p_t$ = {wanted:.2f}")
ax.set(ylim=(-0.1, 0.7), xlabel="threshold probability $p_t$", ylabel="net benefit on test")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# At a price of 10 the network beats "treat everybody" by {{gain_at_price.mean:.3f}} ± {{gain_at_price.half_width:.3f}} over the seeds, and ± {{gain_over_images.mean:.3f}} over the images (phantoms, five runs).
#
# Two rules now stand side by side. A clinic that demands a sensitivity takes section 2's threshold; one that names a price takes $p_t$, and needs calibrated probabilities. Ours demanded 0.95, so the card ships the first. The table's second row shows its worth at this price.
#
# ## 7. Where does it look?
#
# **Grad-CAM** (Selvaraju et al. 2017) weights the channels of a layer by the mean gradient of the logit, adds them up, and cuts off what is negative. Here a map has 4 × 4 cells. Any network gives maps, so we compare with random weights in all layers, head included (Adebayo et al. 2018). Of phantoms we also know where the opacity is.
#
# **Predict.** In how many pneumonias does *nothing* raise the score, so that the map is empty?
#
# <details><summary>Answer</summary>
#
# On the phantoms in {{empty_maps.mean:.0%}} (five runs). With random weights in {{empty_random.mean:.0%}}: of some random networks all maps are empty.
#
# </details>

# %%
from course_utils.models import grad_cam

reader = keras.Model(backbone.input, head(backbone.output))
cells = [each.name for each in reader.layers if each.output.shape[1:3] == (SIZE // 16, SIZE // 16)][-1]
known_ill, opaque = phantom.draw_chests(32, second._replace(ill=1), SEED)
ill = test.x[test.y == 1][:32] if real else known_ill.x
images = np.repeat(resize(ill), 3, axis=-1)
maps = {"network": grad_cam(reader, images, cells), "10% darker": grad_cam(reader, 0.9 * images, cells)}
for k in (1, 2, 3):  # the same layers, random weights
    maps[f"random weights {k}"] = grad_cam(keras.models.clone_model(reader), images, cells)

# %% tags=["fold"]
# Table: empty maps, rank correlation with the network's maps, heat on the opacity; figure: six of each
from scipy.stats import spearmanr

sanity = {}
for name, heat in (maps | {"flat": np.ones_like(maps["network"])}).items():
    shown = heat.any(axis=(1, 2)) & maps["network"].any(axis=(1, 2)) & (np.ptp(heat, axis=(1, 2)) > 0)
    correlations = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps["network"][shown], heat[shown])]
    sanity[name] = {
        "empty maps": np.mean(~heat.any(axis=(1, 2))),
        "correlation": np.mean(correlations) if correlations else np.nan,
    }
    if not real and heat.any():  # each cell's heat, spread over its 7 × 7 pixels
        pixels = np.kron(heat, np.ones((28 // heat.shape[1],) * 2))
        sanity[name]["heat on the opacity"] = (pixels * (opaque > 0.3)).sum() / pixels.sum()
print(pd.DataFrame(sanity).T.to_string(float_format="{:.2f}".format, na_rep="–"))

with_maps = next((name for name in maps if name.startswith("random") and maps[name].any()), "random weights 1")
figure, axes = plt.subplots(2, 6, figsize=(12, 4.2))
figure.set_label(
    "Six pneumonias with their Grad-CAM maps of 4 by 4 cells, the network above, random weights below; red lines are "
    "the borders of the opacities, where known. The hottest cells often lie at the chest wall, beside the red lines."
)
for row, name in zip(axes, ("network", with_maps)):
    for k, ax in enumerate(row):
        ax.imshow(ill[k], cmap="gray", vmin=0, vmax=255)
        heat = maps[name][k]
        ax.imshow(heat, cmap="viridis", alpha=0.6 * heat, vmin=0, vmax=1, extent=(-0.5, 27.5, 27.5, -0.5))
        if not real:
            ax.contour(opaque[k], [0.3], colors="red", linewidths=1)
        ax.axis("off")
    row[0].set_title(name, loc="left", fontsize=12)
figure.colorbar(plt.cm.ScalarMappable(cmap="viridis"), ax=axes, label="share of the map's maximum", shrink=0.8)
plt.show()

# %% [markdown]
# Over five runs on the phantoms, the maps of darkened images correlate with those of the images at {{darker_maps.mean:.2f}} ± {{darker_maps.half_width:.2f}}, the maps of random weights at {{random_maps.mean:+z.2f}} ± {{random_maps.half_width:.2f}} (empty ones left out). So maps depend on the weights. That is a low bar.
#
# Do they show the place? {{heat_on_opacity.mean:.0%}} ± {{heat_on_opacity.half_width:.1%}} of the heat lies on the opacity; of a flat map it would be {{heat_if_flat.mean:.0%}}. In the figure, the hottest cells often lie at borders and arms.
#
# ## 8. What the experiments say

# %% tags=["fold"]
# Figure: a burnt-in letter, from the experiment
from course_utils.evaluation import read_bands

measured = read_bands()["experiments/07_medical_imaging"]["default"]["bands"]
clean, leak, turned = (measured[name] for name in ("clean_auc", "leak_auc", "turned_auc"))
figure, ax = plt.subplots(figsize=(9, 3.6))
figure.set_label(
    "AUC of a classifier that has learnt a letter: near 1 with it, below that of a clean training without it, at "
    "chance level when reversed."
)
texts = ["never a letter", "pneumonias carry\nthe letter", "no letters\n(lowest to highest)", "normal chests\ncarry it"]
lower = [clean.half_width, leak.half_width, leak.contrast - leak.contrast_low, turned.half_width]
upper = [clean.half_width, leak.half_width, leak.contrast_high - leak.contrast, turned.half_width]
heights = [clean.mean, leak.mean, leak.contrast, turned.mean]
ax.bar(texts, heights, yerr=[lower, upper], capsize=5, color=["0.75", "C0", "0.5", "C3"])
ax.axhline(0.5, color="0.3", linestyle=":")
ax.set(ylim=(0, 1.05), ylabel="AUC on test, mean ± 95%")
plt.show()

# %% [markdown]
# On the X-rays, a letter was burnt into the corner of all training pneumonias. Where the habit is the same, the AUC is {{experiment.leak_auc.mean:.3f}}; without letters {{experiment.leak_auc.contrast:.2f}}, against {{experiment.clean_auc.mean:.2f}} after a clean training; reversed {{experiment.turned_auc.mean:.2f}} ± {{experiment.turned_auc.half_width:.2f}} (five runs). A validation set from the same hospital cannot find such a leak ([experiment](experiments/07_medical_imaging.ipynb)).
#
# ## 9. From the hospital: DICOM
#
# Hospitals keep DICOM files: 12 or 16 bits per pixel. The **modality rescale** turns stored values into measured ones: slope × stored + intercept, in CT Hounsfield units (air −1000, water 0). Then a **window**, a centre and a width, chooses what lies between black and white.
#
# **Predict.** pydicom carries a small slice of CT. Its intercept is −1024. What does a window for soft tissue (centre 40, width 400) show if the rescale is forgotten?
#
# <details><summary>Answer</summary>
#
# Almost only white: all values are 1024 too high, so most lie above the window.
#
# </details>

# %%
from pydicom import examples

from course_utils.data import dicom

record = examples.ct
hounsfield = record.RescaleSlope * record.pixel_array + record.RescaleIntercept
slices = {"rescale forgotten": record.pixel_array, "rescaled": hounsfield}
slices = {title: 255 * np.clip((values - (40 - 200)) / 400, 0, 1) for title, values in slices.items()}
print("difference to read_dicom:", np.ptp(slices["rescaled"] - dicom.read_dicom(record, window=(40, 400))).round(1))

# %% tags=["fold"]
# Figure: a slice of CT, with and without the rescale
figure, axes = plt.subplots(1, 2, figsize=(7, 3.6))
figure.set_label("A slice of CT: almost all white without the rescale, tissue and bone with it.")
for ax, (title, image) in zip(axes, slices.items()):
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_title(title, fontsize=12)
    ax.axis("off")
plt.show()

# %% [markdown]
# `read_dicom` also inverts `MONOCHROME1`, where the largest value is *black*. `deidentify` keeps a short list of elements and drops the rest. The patient's number becomes a **pseudonym**, so that one can still split by patient.
#
# ## Your turn
#
# ### Exercise 1 (implement): few false alarms
#
# Write `at_specificity`: the *lowest* score of validation that, as threshold, has at least the wanted specificity there. Return it, and its sensitivity and specificity on *test*. A score at or above the threshold is called ill.

# %% tags=["exercise"]
from course_utils.exercises import medical_imaging as check


def at_specificity(y_val, p_val, y_test, p_test, specificity):
    """Return threshold, sensitivity on test, specificity on test."""
    ...  # your code


# check.check_at_specificity(at_specificity)


# %% tags=["solution", "nbval-check-output"]
def at_specificity_solution(y_val, p_val, y_test, p_test, specificity):
    false_alarms, _, cuts = roc_curve(y_val, p_val, drop_intermediate=False)
    lowest = cuts[np.flatnonzero(1 - false_alarms >= specificity)[-1]]
    on_test = rates(y_test, p_test >= lowest)
    return lowest, on_test["sensitivity"], on_test["specificity"]


check.check_at_specificity(at_specificity_solution)

# %% [markdown]
# ### Exercise 2 (debug): four faults
#
# A colleague's `report` gets labels and scores of validation and test, and the patient of each test image. The sensitivity moves with the share of pneumonias, the AUC is lower than scikit-learn's, the interval is too narrow, and the threshold fits the test set suspiciously well. Mend it.


# %% tags=["exercise"]
def report(y_val, p_val, y_test, p_test, patients):
    false_alarms, found, cuts = roc_curve(y_test, p_test)
    threshold = cuts[np.argmax(found - false_alarms)]  # best balanced accuracy
    called = (p_test >= threshold).astype(int)
    sensitivity = np.mean(y_test[called == 1])
    random, aucs = np.random.default_rng(0), []
    for _ in range(500):
        rows = random.integers(0, len(y_test), len(y_test))
        aucs.append(roc_auc_score(y_test[rows], called[rows]))
    auc, interval = roc_auc_score(y_test, called), np.percentile(aucs, [2.5, 97.5])
    return {"threshold": threshold, "sensitivity": sensitivity, "AUC": auc, "interval": interval}


# check.check_report(report)


# %% tags=["solution", "nbval-check-output"]
def report_solution(y_val, p_val, y_test, p_test, patients):
    false_alarms, found, cuts = roc_curve(y_val, p_val)
    threshold = cuts[np.argmax(found - false_alarms)]
    sensitivity = np.mean(p_test[y_test == 1] >= threshold)
    random, aucs = np.random.default_rng(0), []
    images_of = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    for _ in range(500):
        rows = np.concatenate([images_of[k] for k in random.integers(0, len(images_of), len(images_of))])
        aucs.append(roc_auc_score(y_test[rows], p_test[rows]))
    auc, interval = roc_auc_score(y_test, p_test), np.percentile(aucs, [2.5, 97.5])
    return {"threshold": threshold, "sensitivity": sensitivity, "AUC": auc, "interval": interval}


check.check_report(report_solution)

# %% [markdown] tags=["solution"]
# The threshold came from test. The share of alarms that are right is the precision. An AUC of decisions knows one threshold only. And the bootstrap drew images instead of patients.

# %% [markdown]
# ### Exercise 3 (your own data)
#
# `my_file` is a file like PneumoniaMNIST: 28 × 28 gray images with labels 0 and 1, in three sets. Without a file, take other phantoms of the same two hospitals. Give the scores of both sets, and the highest threshold with a sensitivity of 0.95 on *your* validation images.

# %% tags=["exercise"]
my_file = ""
mine = load_chest_xrays(my_file) if my_file else phantom.draw_chest_phantoms(seed=1)
my_scores, my_threshold = None, None  # {"validation": …, "test": …}; chosen on mine.validation

# check.check_own_place(my_scores, my_threshold, mine)

# %% tags=["solution"]
my_parts = {"validation": mine.validation, "test": mine.test}
my_scores = {name: expit(model.predict(part.x, verbose=0)[:, 0]) for name, part in my_parts.items()}
my_threshold = threshold_for(mine.validation.y, my_scores["validation"])
own_auc = check.check_own_place(my_scores, my_threshold, mine)

# %% [markdown]
# ## Take it home
#
# One file holds preprocessing, weights and calibration: a square gray image of any size goes in, a probability comes out. It is first shrunk to 28 pixels, as in training. A small JSON holds threshold and model card. A *fresh process* reads both, and scores the test image nearest to the threshold, where an error of the hand-over would show. (The folded cell explains its rescale and window.)

# %%
import json
import tempfile
from pathlib import Path

home = Path(tempfile.mkdtemp())  # temporary; for your own work choose a folder that lasts
layers = [keras.Input((None, None, 1)), keras.layers.Resizing(28, 28, antialias=True), model]
product = keras.Sequential([*layers, keras.layers.Rescaling(*ways[shipped]), keras.layers.Activation("sigmoid")])
final = threshold_for(validation.y, calibrated["validation"])
card = {"classes": chests.class_names, "threshold": float(final), "threshold chosen": "0.95 sensitive on validation",
        "calibration": shipped, "trained on": f"{len(y)} images of {chests.card.title}", "test images": len(test.y),
        "on test": {name: round(float(value), 3) for name, value in rates(test.y, calibrated["test"] >= final).items()},
        "not for": "diagnosis; adults; other questions; another hospital without a study there"}  # fmt: skip
(home / "card.json").write_text(json.dumps(card, indent=2))
product.save(home / "model.keras")

# %% tags=["fold", "nbval-check-output"]
# A test image near the threshold, as PNG, and as DICOM of an invented child, de-identified
from PIL import Image

near = np.argmin(np.abs(calibrated["test"] - final))
Image.fromarray(test.x[near, :, :, 0]).save(home / "chest.png")
# any record serves as a form; its pixels are replaced
record.PatientName, record.PatientID, record.Modality = "Doe^Jane", "12345", "CR"
# Stored is 375 + 10 × gray, which fits into 12 bits. The intercept makes it -125 + 10 × gray, from -125 to 2425.
# DICOM's window of centre c and width w goes from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2: here just that.
record.RescaleIntercept, record.WindowCenter, record.WindowWidth = -500, 1150.5, 2551
record.set_pixel_data(375 + 10 * test.x[near, :, :, 0].astype("uint16"), "MONOCHROME2", bits_stored=12)
clean_record = dicom.deidentify(record, key=b"stays in the hospital")
clean_record.save_as(home / "chest.dcm", enforce_file_format=True)
print("name kept:", "PatientName" in clean_record, "– pseudonym:", clean_record.PatientID)

# %%
import subprocess
import sys

program = """
import json, keras
from course_utils.data.dicom import read_dicom
model, card = keras.saving.load_model("model.keras"), json.load(open("card.json"))
png = keras.utils.img_to_array(keras.utils.load_img("chest.png", color_mode="grayscale"))
for name, image in {"PNG": png, "DICOM": read_dicom("chest.dcm")[:, :, None]}.items():
    p = float(model.predict(image[None].astype("float32"), verbose=0)[0, 0])
    print(f"{name}: {card['classes'][p >= card['threshold']]}, probability {p:.3f}")
"""
run = subprocess.run([sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=True)
print(run.stdout + f"notebook: probability {calibrated['test'][near]:.3f}, threshold {final:.3f}")

# %% [markdown]
# ### A checklist, filled
#
# Journals ask for CLAIM (Tejani et al. 2024) or TRIPOD+AI (Collins et al. 2024). Some of their items, for PneumoniaMNIST:
#
# | item | this study | missing |
# |---|---|---|
# | source | one hospital, children of 1 to 5 years | dates, exclusions |
# | reference standard | two graders; a third for test | their agreement |
# | split | 9 to 1 at random; a test folder | patients |
# | threshold | on validation, rule stated | the clinic's price |
# | performance | intervals, calibration, net benefit | intervals over patients |
# | fairness | – | age, sex, machine |
# | external validation | – | another hospital |
#
# Would you use it? Not with the last two lines empty.
#
# ## Quiz
#
# **1.** A paper reports a specificity of 0.95 "at the optimal threshold of the test set". What do you expect in your clinic?
#
# <details><summary>Answer</summary>
#
# Probably less. The threshold was chosen on the images that are reported, so it also fits their accidents. Your images may shift it either way.
#
# </details>
#
# **2.** AUC on validation 0.99, on test 0.93 (0.90 to 0.95). Was the network overfitted to validation?
#
# <details><summary>Answer</summary>
#
# If nothing was tuned on validation, no: the test set differs, in images, labels or patients. Test such causes one by one. More seeds would not tell.
#
# </details>
#
# **3.** After Platt scaling the AUC is the same to all digits. A bug?
#
# <details><summary>Answer</summary>
#
# No. A positive factor and an addend keep the order of logits, and the AUC depends on the order alone. Log loss, Brier score and the threshold's value change.
#
# </details>
#
# **4.** The map glows over the lung. May you write that the network recognised the consolidation?
#
# <details><summary>Answer</summary>
#
# No. It says where activations raise the score, not what they found. Compare with random weights, count empty maps, and test where the place is known, as in section 7.
#
# </details>
#
# **Where to go next.** The [experiment](experiments/07_medical_imaging.ipynb) measures what this lesson only names.

# %% tags=["headline"]
if real:  # X-rays have bands of their own
    from course_utils.evaluation import Expectations

    expect = Expectations("07_medical_imaging", f"{PROFILE}_xrays")
share, difference = {"limits": (0, 1)}, {"limits": (-1, 1)}
expect("validation_auc", auc["validation"], contrast=0.5, **share)
expect("test_auc", auc["test"], contrast=0.5, **share)
for name in parts:
    expect(f"{name}_sensitivity", at[name]["sensitivity"], **share)
    expect(f"{name}_specificity", at[name]["specificity"], **share)
expect("gain_over_frozen", auc["test"] - frozen, **difference)
expect("chosen_on_test", chosen - new, **difference)
for rate, prefix in (("specificity", ""), ("AUC", "auc_")):
    low, high = np.quantile(draws[rate, "validation − test"], [0.025, 0.975])
    expect(f"{prefix}apart", (high - low) / 2, **share)
expect("fell", at["validation"]["specificity"] - at["test"]["specificity"], **difference)
expect("auc_fell", auc["validation"] - auc["test"], **difference)
if not real:
    for name in ("brightness", "contrast", "scatter", "noise", "zoom", "collimated"):
        expect(name, changed[f"first, but {name}"]["change"], **difference)
    expect("second", changed["second hospital"]["change"], **difference)
    on_opacity = {name: row.get("heat on the opacity") for name, row in sanity.items()}
    expect("heat_on_opacity", on_opacity["network"], **share)
    expect("heat_if_flat", on_opacity["flat"], **share)
for way, name in (("temperature", "temperature"), ("Platt scaling", "platt")):
    expect(f"log_loss_by_{name}", table[way]["log loss, test"] - table["as trained"]["log loss, test"])
by_price = benefit[f"p > {wanted:.2f}"]
expect("gain_at_price", by_price["net benefit"] - benefit["treat everybody"]["net benefit"])
expect("gain_over_images", (by_price["gain, 97.5%"] - by_price["gain, 2.5%"]) / 2)
expect("darker_maps", sanity["10% darker"]["correlation"], **difference)
of_random = pd.DataFrame(sanity)[[f"random weights {k}" for k in (1, 2, 3)]].T.mean()  # leaves out what has no map
expect("random_maps", np.nan_to_num(of_random["correlation"]), **difference)
expect("empty_random", of_random["empty maps"], **share)
expect("empty_maps", sanity["network"]["empty maps"], **share)
expect("own_auc", own_auc, contrast=0.5, **share)
expect.table()
