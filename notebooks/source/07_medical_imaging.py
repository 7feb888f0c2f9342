# ---
# jupyter:
#   course:
#     title: Medical imaging
#     question: A network tells pneumonia from healthy lungs almost perfectly on validation. What will it do in the next hospital?
#     shows: "TODO"
#     goals:
#       - train a pretrained network on chest X-rays in two phases, with a deep head and augmentation that respects anatomy;
#       - measure the shift between validation and test, and say where it may come from;
#       - choose a threshold on validation, and report sensitivity, specificity and AUC with intervals;
#       - check whether probabilities mean what they say, and mend them with a temperature;
#       - draw Grad-CAM maps, and test whether they depend on the network at all;
#       - read a DICOM file, remove what identifies the patient, and find a leak.
#     prerequisites:
#       - notebooks 02 (frozen features) and 03 (fine-tuning);
#       - sensitivity, specificity and conditional probability.
#     recap:
#       - TODO
#     references: [kermany2018, yang2023, selvaraju2017, adebayo2018, guo2017, lin2017, zech2018, degrave2021, oakdenrayner2020, saerens2002, raghu2019, efron1993, fawcett2006, youden1950, prechelt1998, cawley2010, loshchilov2017, loshchilov2019, szegedy2016, srivastava2014, ioffe2015, huang2017, he2016, tan2019, liu2020, russakovsky2015, roberts2021]
# ---

# %% tags=["parameters"]
PROFILE = "lesson"  # smoke, lesson or full
SEED = 0
DATA = ""  # path of pneumoniamnist.npz; "phantom"; "" finds or downloads it
BACKBONE = "EfficientNetLite0"  # or a name of keras.applications, such as "DenseNet121" or "ResNet50"

# %% [markdown]
# `lesson` trains on a part of the pictures, at 64 pixels, once. `full` takes all of them at 96 pixels and repeats the
# training with five seeds.

# %%
SETTINGS = {
    "smoke": dict(
        size=32, pictures=160, tested=80, draws=2, lowest="block6", head_epochs=1, epochs=1, runs=1,
        views=1, changed=60, halves=5, bootstraps=20, mapped=4, inits=1,
    ),
    "lesson": dict(
        size=64, pictures=1000, tested=None, draws=5, lowest="block4", head_epochs=6, epochs=5, runs=1,
        views=2, changed=400, halves=200, bootstraps=1000, mapped=48, inits=2,
    ),
    "full": dict(
        size=96, pictures=None, tested=None, draws=10, lowest="stem", head_epochs=8, epochs=12, runs=5,
        views=8, changed=1000, halves=1000, bootstraps=5000, mapped=200, inits=5,
    ),
}[PROFILE]  # fmt: skip
SIZE = SETTINGS["size"]  # side of the pictures that the network sees, in pixels

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
from IPython.display import Markdown, display
from keras import layers
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from course_utils.data import Samples, draw_chest_phantoms, load_chest_xrays
from course_utils.evaluation import classification_metrics, plot_images, show_source
from course_utils.models import extract_features, for_cpu_training, load_backbone, unfreeze
from course_utils.settings import CourseError

limits = threadpool_limits(1, user_api="blas")  # small matrices: threads would only wait for each other
tf.get_logger().setLevel("ERROR")  # it takes the several models of this notebook for a mistake
tf.config.run_functions_eagerly(PROFILE == "smoke")  # so few steps do not pay for a graph


# %% [markdown]
# ## 1. The pictures
#
# PneumoniaMNIST (Yang et al. 2023) holds chest X-rays of children, 28 x 28 pixels, after Kermany et al. (2018). Each
# is labelled *normal* or *pneumonia*. The file has three official parts. We look for it where `DATA` says, then in the
# cache, then on the internet. Without it, the notebook goes on with **drawn** chests: the same code, other figures.


# %%
def find_pictures():
    """Return the chest pictures in three parts, and whether they are X-rays."""
    if DATA != "phantom":
        try:
            return load_chest_xrays(DATA or None), True
        except CourseError:
            if DATA:
                raise  # a file was named: do not go on without it
    return draw_chest_phantoms(), False


chests, real = find_pictures()
NOTES = {
    True: "**These are X-rays: PneumoniaMNIST.**",
    False: "**PneumoniaMNIST could not be had. These are no X-rays: the pictures are drawn by the course. "
    "The figures in the text hold for the X-rays, not for them.**",
}
display(Markdown(NOTES[real]))

# %% [markdown]
# The figures of the text were measured on the X-rays with the default network. Each other choice is compared with its own
# figures, or with none.

# %%
kind = PROFILE if real else f"{PROFILE}_phantom"
kind += "" if BACKBONE == "EfficientNetLite0" else f" with {BACKBONE}"
expect = Expectations("07_medical_imaging", kind)
chests

# %% [markdown]
# Look at the counts. Three of four pictures show pneumonia, in test fewer. A program that says "pneumonia" whatever it
# sees is right in most cases. So accuracy alone will not do, and we shall need names for the two ways of being right:
#
# - **sensitivity**: the share of pneumonias that are called pneumonia;
# - **specificity**: the share of normal chests that are called normal.

# %% tags=["nbval-check-output"]
NORMAL, PNEUMONIA = 0, 1
assert chests.class_names[NORMAL] == "normal" and chests.class_names[PNEUMONIA] == "pneumonia"
shares = {part: getattr(chests, part).y.mean() for part in ("train", "validation", "test")}
assert all(share > 0.5 for share in shares.values())
assert shares["test"] < shares["train"] - 0.05
print("Class 1 is pneumonia: the larger class in each part, but less so in test.")

# %%
shown = [np.flatnonzero(chests.train.y == label)[:8] for label in (NORMAL, PNEUMONIA)]
axes = plot_images(chests.train.x[np.concatenate(shown)], columns=8)
axes[0, 0].set_title("normal", loc="left")
axes[1, 0].set_title("pneumonia", loc="left")
plt.show()

# %% [markdown]
# Air is dark, bone and fluid are bright. In the upper row the lungs are two dark fields with the heart between them. In
# the lower row they are veiled, in places or all over. At this size nobody could make a diagnosis; the original pictures
# have a million pixels or more.
#
# What the file does not tell matters as much. There are **no patient numbers**, no age, no sex, no hospital, no date.
# Several pictures may belong to one child. Keep that in mind for sections 3 and 8.
#
# `lesson` trains on a part of the training pictures. Validation and test are used whole.

# %%
random = np.random.default_rng(SEED)
chosen = random.permutation(len(chests.train.y))[: SETTINGS["pictures"]]
train = Samples(chests.train.x[chosen], chests.train.y[chosen])
validation, test = (
    Samples(part.x[: SETTINGS["tested"]], part.y[: SETTINGS["tested"]])
    for part in (chests.validation, chests.test)
)
print(f"trains on {len(train.y)} of {len(chests.train.y)} pictures")

# %% [markdown]
# ## 2. It looks solved
#
# The plan of notebook 02: run the pictures once through a frozen network of photographs (EfficientNet-Lite0; Tan & Le
# 2019, Liu 2020), and fit a logistic regression on the features. The regularisation is strong, because there are 1,280
# features. To see how much depends on the training pictures, we fit several times, each time to another half of them.

# %%
backbone = load_backbone(BACKBONE, input_size=SIZE)
features = {
    name: extract_features(backbone, part.x)
    for name, part in (("train", train), ("validation", validation), ("test", test))
}


# %%
def fit_probe(x, y):
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.003, tol=0.01)).fit(x, y)


def drawn_half(draw):
    """Return the positions of a random half of the training pictures."""
    return np.random.default_rng([SEED, draw]).permutation(len(train.y))[: len(train.y) // 2]


DRAWS = range(SETTINGS["draws"])
probes = [fit_probe(features["train"][half], train.y[half]) for half in map(drawn_half, DRAWS)]
probe_scores = {
    name: [probe.predict_proba(features[name])[:, PNEUMONIA] for probe in probes]
    for name in ("validation", "test")
}

# %%
PARTS = {"validation": validation, "test": test}
LABELS = {name: part.y for name, part in PARTS.items()}
columns = ["roc_auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"]
rows = {
    name: pd.DataFrame([classification_metrics(LABELS[name], p) for p in scores])[columns].mean()
    for name, scores in probe_scores.items()
}
frozen = pd.DataFrame(rows).T.rename(columns=lambda name: name.replace("_", " "))
frozen["always pneumonia"] = [LABELS[name].mean() for name in frozen.index]
frozen.round(3)

# %% tags=["nbval-check-output"]
expect("frozen_auc_gap", frozen["roc auc"]["validation"] - frozen["roc auc"]["test"], contrast=0)
expect(
    "frozen_specificity", frozen["specificity"]["test"], contrast=frozen["specificity"]["validation"]
)

# %% [markdown]
# TODO prose.
#
# ## 3. Why is the test part different?
#
# TODO prose.

# %%
from sklearn.model_selection import cross_val_predict


def told_apart(one, other):
    """Return the AUC at which a cross-validated probe tells two sets of features apart."""
    x = np.concatenate([one, other])
    source = np.repeat([0, 1], [len(one), len(other)])
    scores = cross_val_predict(fit_probe(x, source), x, source, cv=3, method="decision_function")
    return roc_auc_score(source, scores)


# %%
def of_class(name, label):
    labels = {"train": train.y, **LABELS}[name]
    return features[name][labels == label]


apart = pd.DataFrame(
    {
        f"{one} from {other}": [
            told_apart(of_class(one, label), of_class(other, label)) for label in (NORMAL, PNEUMONIA)
        ]
        for one, other in (("validation", "train"), ("test", "train"), ("test", "validation"))
    },
    index=chests.class_names,
)
apart.round(3)

# %% tags=["nbval-check-output"]
expect("test_from_train", apart["test from train"].mean(), contrast=apart["validation from train"].mean())

# %% [markdown]
# TODO prose.
#
# ## 4. Imbalance: weights, focal loss, or nothing
#
# TODO prose.


# %%
def deep_head(width):
    """Return dropout, dense, BatchNormalization, dropout: from features to a logit."""
    inputs = keras.Input((width,), name="features")
    x = layers.Dropout(0.3)(inputs)
    x = layers.Dense(64, use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Dropout(0.3)(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(1, name="logit")(x), name="head")


# %%
def balanced_weights(y):
    """Return class weights that give both classes the same total, and the average picture a weight of 1."""
    counts = np.bincount(y, minlength=2)
    return {label: len(y) / (2 * counts[label]) for label in (NORMAL, PNEUMONIA)}


weights = balanced_weights(train.y)
print({chests.class_names[label]: round(weight, 2) for label, weight in weights.items()})

# %%
cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
focal_loss = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
WAYS = {
    "nothing": (cross_entropy, None),
    "class weights": (cross_entropy, weights),
    "focal loss": (focal_loss, None),
    "weights by name": (cross_entropy, dict(zip(chests.class_names, weights.values()))),
}
WIDTH = backbone.output_shape[-1]  # features of a picture


def compiled_head(loss):
    """Return a head to train, and the state in which its optimiser begins."""
    head = deep_head(WIDTH)
    head.compile(keras.optimizers.AdamW(1e-3), loss)
    head.optimizer.build(head.trainable_variables)
    return head, [variable.numpy() for variable in head.optimizer.variables]


def train_head(head, optimizer_state, class_weight, draw):
    """Train anew on one half of the training pictures; return probabilities of validation and test."""
    keras.utils.set_random_seed(1000 * SEED + draw)
    begin = [variable.numpy() for variable in deep_head(WIDTH).variables]
    for variable, value in zip(head.variables + head.optimizer.variables, begin + optimizer_state):
        variable.assign(value)
    x, y = features["train"][drawn_half(draw)], train.y[drawn_half(draw)]
    head.fit(x, y, 64, epochs=SETTINGS["head_epochs"], class_weight=class_weight, verbose=0)
    return {name: expit(np.asarray(head(features[name]))[:, 0]) for name in LABELS}


# %%
from course_utils.evaluation import choose_threshold

rows = []
for way, (loss, class_weight) in WAYS.items():
    head, optimizer_state = compiled_head(loss)
    for draw in list(DRAWS)[:3]:
        scores = train_head(head, optimizer_state, class_weight, draw)
        threshold = choose_threshold(validation.y, scores["validation"])
        at_half = classification_metrics(test.y, scores["test"])
        chosen_well = classification_metrics(test.y, scores["test"], threshold)
        rows.append(
            {
                "way": way, "AUC": at_half["roc_auc"], "threshold": threshold,
                "specificity at 0.5": at_half["specificity"],
                "balanced accuracy at 0.5": at_half["balanced_accuracy"],
                "at the threshold": chosen_well["balanced_accuracy"],
            }
        )  # fmt: skip
imbalance = pd.DataFrame(rows).groupby("way", sort=False).mean()
imbalance.round(3)

# %% tags=["nbval-check-output"]
totals = [weights[label] * (train.y == label).sum() for label in weights]
assert np.isclose(*totals), "weights should give both classes the same total"
at_half = imbalance["specificity at 0.5"]
expect("specificity_weighted", at_half["class weights"], contrast=at_half["nothing"])
expect("auc_gained_by_weights", imbalance["AUC"]["class weights"] - imbalance["AUC"]["nothing"])

# %% tags=["nbval-check-output"]
assert np.isclose(at_half["weights by name"], at_half["nothing"])
print("Class weights under the names of the classes have no effect, and nothing warns.")

# %% [markdown]
# TODO prose.
#
# ## 5. Augmentation that respects anatomy
#
# TODO prose.

# %%
enlarge = keras.Sequential([layers.Resizing(SIZE, SIZE)], name="enlarge")
augment = keras.Sequential(
    [
        layers.RandomTranslation(0.05, 0.05, fill_mode="nearest"),
        layers.RandomRotation(0.02, fill_mode="nearest"),  # a share of a full turn: 7 degrees
        layers.RandomZoom((-0.08, 0.08), fill_mode="nearest"),
        layers.RandomContrast(0.1, value_range=(0, 255)),
        layers.RandomBrightness(0.05, value_range=(0, 255)),
    ],
    name="augment",
)
CHANGES = {
    "shift, turn, zoom, exposure": lambda x: np.asarray(augment(enlarge(x), training=True)),
    "left-right flip": lambda x: x[:, :, ::-1],
    "upside-down flip": lambda x: x[:, ::-1],
}

# %%
pair = np.stack([train.x[train.y == label][0] for label in (NORMAL, PNEUMONIA)])
versions = [pair, *(np.asarray(change(pair)).astype("uint8") for change in CHANGES.values())]
pictures = [version[row] for row in (NORMAL, PNEUMONIA) for version in versions]
plot_images(pictures, ["as it is", *CHANGES, *[""] * 4], columns=4)
plt.show()

# %% [markdown]
# TODO

# %%
keras.utils.set_random_seed(SEED)
few = Samples(train.x[: SETTINGS["changed"]], train.y[: SETTINGS["changed"]])
plain = {"train": features["train"][: len(few.y)], "test": features["test"]}


def cost_of_mixing(changed, draw):
    """Return how much AUC a probe loses when half of its training pictures are changed."""
    random = np.random.default_rng([SEED, draw])
    some = random.permutation(len(few.y))[: 5 * len(few.y) // 8]
    mixed = np.where(random.random(len(some))[:, None] < 0.5, changed[some], plain["train"][some])
    probes = [fit_probe(x, few.y[some]) for x in (plain["train"][some], mixed)]
    aucs = [roc_auc_score(test.y, probe.decision_function(plain["test"])) for probe in probes]
    return aucs[0] - aucs[1]


def reading(test_features):
    """Return the mean AUC of the probes of section 2 on these features of the test part."""
    return np.mean([roc_auc_score(test.y, probe.decision_function(test_features)) for probe in probes])


# %%
rows = {"none": (reading(features["test"]), 0.0)}
for name, change in CHANGES.items():
    changed_train, changed_test = (
        extract_features(backbone, np.array(change(x), np.float32)) for x in (few.x, test.x)
    )
    costs = [cost_of_mixing(changed_train, draw) for draw in range(2 * SETTINGS["draws"])]
    rows[name] = (reading(changed_test), np.mean(costs))
changes = pd.DataFrame(rows, index=["AUC on changed test pictures", "AUC lost by training on them"]).T
changes.round(3)

# %% tags=["nbval-check-output"]
upside_down, gentle = changes.loc["upside-down flip"], changes.loc["shift, turn, zoom, exposure"]
readable = "AUC on changed test pictures"
expect("upside_down_auc", upside_down[readable], contrast=gentle[readable])
if real:
    expect("flip_cost", upside_down.iloc[1], contrast=gentle.iloc[1])

# %% [markdown]
# TODO prose
#
# ## 6. Training in two phases
#
# TODO

# %%
unfreeze(backbone, SETTINGS["lowest"])
network_body = for_cpu_training(backbone)  # the same layers, with faster gradients
pretrained = network_body.get_weights()
smoothed = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)


def compiled(model, rate, steps):
    """Compile with AdamW: a rate that warms up, then falls along half a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 5, warmup_target=rate, warmup_steps=max(1, steps // 5)
    )
    auc = keras.metrics.AUC(from_logits=True, name="AUC")
    model.compile(keras.optimizers.AdamW(schedule), smoothed, metrics=[auc])
    return model


def steps_of(epochs, batch):
    return epochs * -(-len(train.y) // batch)


# %%
def first_phase(seed):
    """Return a deep head, trained on the cached features of the frozen backbone."""
    keras.utils.set_random_seed(seed)
    head = compiled(deep_head(WIDTH), 1e-3, steps_of(SETTINGS["head_epochs"], 32))
    head.fit(
        features["train"], train.y, 32, epochs=SETTINGS["head_epochs"], class_weight=weights, verbose=0
    )
    return head


# %%
def second_phase(head, folder):
    """Train the upper part of the backbone and the head together; return network, model and history."""
    network_body.set_weights(pretrained)
    for layer in head.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    network = keras.Model(network_body.input, head(network_body.output), name="network")
    inputs = keras.Input(train.x.shape[1:], name="pixels")
    grey = augment(enlarge(inputs))
    colours = layers.Concatenate()([grey] * 3)
    model = keras.Model(inputs, network(colours), name="reads_chests")
    compiled(model, 3e-4, steps_of(SETTINGS["epochs"], 32))
    best = dict(monitor="val_AUC", mode="max")
    callbacks = [
        keras.callbacks.EarlyStopping(**best, patience=4, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(Path(folder) / "best.keras", **best, save_best_only=True),
    ]
    history = model.fit(
        *train, 32, epochs=SETTINGS["epochs"], class_weight=weights, validation_data=validation,
        callbacks=callbacks, verbose=0,
    )  # fmt: skip
    return network, model, history


# %%
def in_colours(x):
    return np.repeat(np.asarray(x), 3, axis=-1)


def probabilities(network, x):
    """Return P(pneumonia): the mean logit over the picture and some augmented views of it."""
    large = enlarge(x.astype("float32"))
    views = [large, *(augment(large, training=True) for _ in range(SETTINGS["views"] - 1))]
    logits = [network.predict(in_colours(view), 128, verbose=0)[:, 0] for view in views]
    return expit(np.mean(logits, axis=0))


# %%
runs, head_aucs = [], []
with tempfile.TemporaryDirectory() as folder:
    for run in range(SETTINGS["runs"]):
        head = first_phase(100 * SEED + run)
        head_aucs.append(roc_auc_score(test.y, np.asarray(head(features["test"]))[:, 0]))
        network, model, history = second_phase(head, folder)
        runs.append({name: probabilities(network, part.x) for name, part in PARTS.items()})
    best_size = (Path(folder) / "best.keras").stat().st_size

# %%
from course_utils.evaluation import plot_history

plot_history(history)
plt.show()

# %%
tuned = pd.DataFrame(
    {
        "frozen features, linear": frozen["roc auc"],
        "fine-tuned": {name: np.mean([roc_auc_score(LABELS[name], run[name]) for run in runs]) for name in LABELS},
    }
).T
tuned.round(3)

# %% tags=["nbval-check-output"]
expect("tuned_auc", tuned["test"]["fine-tuned"], contrast=frozen["roc auc"]["test"])

# %% [markdown]
# TODO
#
# ## 7. A threshold, from validation only

# %%
from course_utils.evaluation import plot_precision_recall, plot_roc

scores = runs[0]
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.4))
for name, y in LABELS.items():
    plot_roc(y, scores[name], label=name, ax=left)
    plot_precision_recall(y, scores[name], label=name, ax=right)
plt.show()

# %%
from course_utils.evaluation import sensitivity_at_specificity, threshold_at_specificity

show_source(choose_threshold)

# %%
thresholds = {
    "0.5": 0.5,
    "best balanced accuracy": choose_threshold(validation.y, scores["validation"]),
    "best accuracy": choose_threshold(validation.y, scores["validation"], "accuracy"),
    "95% specificity": threshold_at_specificity(validation.y, scores["validation"], 0.95),
}
shown = ["accuracy", "balanced_accuracy", "sensitivity", "specificity"]
rows = {
    (name, part): {"threshold": t, **{k: classification_metrics(LABELS[part], scores[part], t)[k] for k in shown}}
    for name, t in thresholds.items()
    for part in LABELS
}
pd.DataFrame(rows).T.rename(columns=lambda name: name.replace("_", " ")).round(3)

# %%
def with_thresholds(pairs):
    """Return the mean balanced accuracy on test at 0.5, and at the threshold chosen on validation."""
    chosen = [
        (0.5, choose_threshold(validation.y, on_validation)) for on_validation, _ in pairs
    ]
    return np.mean(
        [
            [classification_metrics(test.y, on_test, t)["balanced_accuracy"] for t in both]
            for both, (_, on_test) in zip(chosen, pairs)
        ],
        axis=0,
    )


at_half, at_chosen = with_thresholds(list(zip(*probe_scores.values())))

# %% tags=["nbval-check-output"]
expect("accuracy_at_threshold", at_chosen, contrast=at_half)
read_off = np.mean([sensitivity_at_specificity(test.y, run["test"], 0.95) for run in runs])
expect("sensitivity_at_95", read_off)

# %%
def optimism(random):
    """Choose on one half of the test part; return balanced accuracy there, and on the other half."""
    order = random.permutation(len(test.y))
    one, other = np.array_split(order, 2)
    threshold = choose_threshold(test.y[one], scores["test"][one])
    return [
        balanced_accuracy_score(test.y[half], scores["test"][half] > threshold) for half in (one, other)
    ]


random = np.random.default_rng(SEED)
reported, true = np.mean([optimism(random) for _ in range(SETTINGS["halves"])], axis=0)
print(f"reported {reported:.3f}, true {true:.3f}")

# %% tags=["nbval-check-output"]
expect("test_chosen_optimism", reported - true, contrast=0)

# %% [markdown]
# TODO
#
# ## 8. How far could the figures be off?

# %%
from course_utils.evaluation import bootstrap_interval

THRESHOLD = thresholds["best balanced accuracy"]
METRICS = {
    "AUC": roc_auc_score,
    "accuracy": lambda y, p: np.mean((p > THRESHOLD) == y),
    "sensitivity": lambda y, p: np.mean(p[y == PNEUMONIA] > THRESHOLD),
    "specificity": lambda y, p: np.mean(p[y == NORMAL] <= THRESHOLD),
}


def with_interval(metric, y, p):
    low, high = bootstrap_interval(metric, y, p, repeats=SETTINGS["bootstraps"], seed=SEED)
    return {"measured": metric(y, p), "low": low, "high": high}


intervals = pd.DataFrame(
    {name: with_interval(metric, test.y, scores["test"]) for name, metric in METRICS.items()}
).T
intervals.round(3)

# %%
copies = np.tile(np.arange(len(test.y)), 3)
tripled = with_interval(METRICS["accuracy"], test.y[copies], scores["test"][copies])
width = intervals.loc["accuracy", "high"] - intervals.loc["accuracy", "low"]
shrunk = (tripled["high"] - tripled["low"]) / width

# %% tags=["nbval-check-output"]
assert (intervals["low"] < intervals["measured"]).all() and (intervals["measured"] < intervals["high"]).all()
expect("interval_of_copies", shrunk, contrast=1)

# %% [markdown]
# TODO
#
# ## 9. Do the probabilities mean what they say?

# %%
from course_utils.evaluation import calibration_error, fit_temperature, plot_reliability, with_temperature

temperature = fit_temperature(validation.y, scores["validation"])
calibrated = {name: with_temperature(p, temperature) for name, p in scores.items()}
figure, axes = plt.subplots(1, 2, figsize=(12, 5.4))
for ax, (name, y) in zip(axes, LABELS.items()):
    plot_reliability(y, scores[name], label="as trained", ax=ax)
    plot_reliability(y, calibrated[name], label=f"T = {temperature:.2f}", ax=ax)
    ax.set_title(name.capitalize())
plt.show()

# %%
rows = {
    (name, title): {"log loss": log_loss(y, p[name]), "calibration error": calibration_error(y, p[name])}
    for name, y in LABELS.items()
    for title, p in (("as trained", scores), ("with temperature", calibrated))
}
calibration = pd.DataFrame(rows).T
calibration.round(3)

# %% tags=["nbval-check-output"]
losses = calibration["log loss"]
assert losses["validation", "with temperature"] <= losses["validation", "as trained"] + 1e-6
aucs = [roc_auc_score(test.y, p["test"]) for p in (scores, calibrated)]
assert np.isclose(*aucs), "a temperature keeps the order of the scores"
print("On validation the log loss falls; the AUC stays as it is.")
expect("validation_log_loss", losses["validation", "with temperature"], contrast=losses["validation", "as trained"])
if real:
    expect("test_log_loss", losses["test", "with temperature"], contrast=losses["validation", "with temperature"])

# %% [markdown]
# TODO
#
# ## 10. Look at the errors

# %%
from course_utils.evaluation import evaluate

evaluate(test.y, scores["test"], chests.class_names, threshold=THRESHOLD)

# %%
called = scores["test"] > THRESHOLD
missed = np.flatnonzero(~called & (test.y == PNEUMONIA))
alarms = np.flatnonzero(called & (test.y == NORMAL))
missed = missed[np.argsort(scores["test"][missed])][:6]
alarms = alarms[np.argsort(-scores["test"][alarms])][:6]
worst = np.concatenate([missed, alarms])
titles = [f"{'pneumonia' if test.y[i] else 'normal'}, {scores['test'][i]:.2f}" for i in worst]
plot_images(test.x[worst], titles, columns=6)
plt.show()

# %%
from scipy.stats import binomtest


def by_group(group):
    """Return sensitivity and specificity with Wilson intervals for each group of test pictures."""
    for name, members in group.items():
        for label, title in ((PNEUMONIA, "sensitivity"), (NORMAL, "specificity")):
            right = (called == test.y)[members & (test.y == label)]
            low, high = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
            yield {"group": name, "rate": title, "share": right.mean(), "low": low, "high": high, "n": len(right)}


brightness = test.x.mean(axis=(1, 2, 3))
third = np.searchsorted(np.quantile(brightness, [1 / 3, 2 / 3]), brightness)
groups = pd.DataFrame(by_group({n: third == k for k, n in enumerate(("dark", "medium", "bright"))}))
groups.round(3)

# %%
ax = plt.subplots(figsize=(7.5, 4))[1]
for shift, (rate, rows) in zip((-0.06, 0.06), groups.groupby("rate", sort=False)):
    spread = [rows["share"] - rows["low"], rows["high"] - rows["share"]]
    ax.errorbar(np.arange(3) + shift, rows["share"], spread, fmt="o", capsize=4, label=rate)
ax.set_xticks(range(3), ["dark", "medium", "bright"])
ax.set(title="By brightness of the picture", xlabel="third of the test pictures", ylabel="share that is right")
ax.set(ylim=(0, 1.02), xlim=(-0.4, 2.4))
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# TODO
#
# ## 11. Grad-CAM, and whether to believe it

# %%
from course_utils.models import grad_cam

show_source(grad_cam)


# %%
def last_layer_at(stride):
    """Return the name of the last layer whose cells are `stride` pixels wide."""
    side = SIZE // stride
    return [each.name for each in network.layers if each.output.shape[1:3] == (side, side)][-1]


FINE, COARSE = last_layer_at(8), last_layer_at(16)
ill = np.flatnonzero(test.y == PNEUMONIA)
looked_at = ill[np.argsort(-scores["test"][ill])][: SETTINGS["mapped"]]
pictures = in_colours(enlarge(test.x[looked_at].astype("float32")))
maps = {"fine": grad_cam(network, pictures, FINE), "coarse": grad_cam(network, pictures, COARSE)}


# %%
def overlay(ax, picture, heat):
    """Draw a map over a picture; cells are smoothed to the eye, not made finer."""
    side = picture.shape[0]
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
    ax.imshow(heat, cmap="inferno", alpha=0.45, extent=(-0.5, side - 0.5, side - 0.5, -0.5), interpolation="bilinear")
    ax.set_axis_off()


figure, axes = plt.subplots(3, 6, figsize=(12, 6.2))
for column in range(6):
    picture = test.x[looked_at[column % len(looked_at)], :, :, 0]
    axes[0, column].imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes[0, column].set_axis_off()
    for row, kind in enumerate(maps, start=1):
        overlay(axes[row, column], picture, maps[kind][column % len(looked_at)])
for ax, title in zip(axes[:, 0], ("X-ray" if real else "phantom", "cells of 8 pixels", "cells of 16 pixels")):
    ax.set_title(title, loc="left", fontsize=12)
plt.show()

# %%
from scipy.stats import spearmanr


def rank_correlation(ones, others):
    """Return the mean rank correlation of two sets of maps; a map without any spread counts as 0."""
    pairs = zip(ones.reshape(len(ones), -1), others.reshape(len(others), -1))
    return np.mean([spearmanr(a, b).statistic if a.std() and b.std() else 0.0 for a, b in pairs])


def randomise(model, share, seed):
    """Return a copy whose upper layers, this share of those with weights, have random weights."""
    keras.utils.set_random_seed(seed)
    copy = keras.models.clone_model(model)
    kept = [layer for layer in model.layers if layer.weights]
    for layer in kept[: round((1 - share) * len(kept))]:
        copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


# %%
rows = []
for share in (0.02, 0.25, 0.5, 1.0):
    for init in range(SETTINGS["inits"]):
        destroyed = randomise(network, share, 100 * SEED + init)
        for kind, layer in (("fine", FINE), ("coarse", COARSE)):
            agreement = rank_correlation(maps[kind], grad_cam(destroyed, pictures, layer))
            rows.append({"randomised": share, "cells": kind, "agreement": agreement})
darker = {"fine": grad_cam(network, 0.9 * pictures, FINE), "coarse": grad_cam(network, 0.9 * pictures, COARSE)}
control = {kind: rank_correlation(maps[kind], darker[kind]) for kind in maps}
sanity = pd.DataFrame(rows).pivot_table(index="randomised", columns="cells", values="agreement")
sanity.loc[0.0] = control
sanity.sort_index()[["fine", "coarse"]].round(2)

# %% tags=["nbval-check-output"]
expect("maps_of_random_network", sanity.loc[1.0].mean(), contrast=sanity.loc[0.0].mean())


# %%
def covered(hottest):
    """Cover the hottest or the coldest quarter of each map's cells with the mean of the picture."""
    order = np.argsort(maps["fine"].reshape(len(pictures), -1), axis=1)
    cells = order.shape[1] // 4
    mask = np.zeros(order.shape, bool)
    np.put_along_axis(mask, order[:, -cells:] if hottest else order[:, :cells], True, axis=1)
    side = maps["fine"].shape[1]
    mask = mask.reshape(-1, side, side, 1).repeat(SIZE // side, axis=1).repeat(SIZE // side, axis=2)
    return np.where(mask, pictures.mean(axis=(1, 2, 3), keepdims=True), pictures)


logits = [network.predict(x, 128, verbose=0).mean() for x in (pictures, covered(True), covered(False))]
print("mean logit: untouched {:.2f}, hottest covered {:.2f}, coldest covered {:.2f}".format(*logits))

# %% tags=["nbval-check-output"]
expect("hottest_counts_more", logits[2] - logits[1], contrast=0)

# %% [markdown]
# TODO
#
# ## 12. DICOM

# %%
import io

import pydicom
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid


def as_dicom(picture):
    """Return a DICOM file in memory: 12 bits a pixel, and an invented patient."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    record = pydicom.Dataset()
    record.file_meta = meta
    record.SOPClassUID, record.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    record.PatientName, record.PatientID, record.PatientBirthDate = "Doe^Jane", "12345", "20190401"
    record.InstitutionName, record.StudyDate, record.Modality = "St. Elsewhere", "20240229", "CR"
    record.private_block(0x0099, "EXAMPLE", create=True).add_new(1, "LO", "Jane Doe, ward 3")
    record.WindowCenter, record.WindowWidth = 2048, 4096
    values = 600 + 10 * picture[:, :, 0].astype("uint16")
    record.set_pixel_data(values, "MONOCHROME2", bits_stored=12)
    file = io.BytesIO()
    record.save_as(file, enforce_file_format=True)
    return file


file = as_dicom(test.x[0])
file.seek(0)
record = pydicom.dcmread(file)
record


# %%
def window(values, centre, width):
    """Map stored values to 0-255: below the window black, above it white (DICOM PS3.3, C.11.2.1.2)."""
    shade = (values.astype(float) - (centre - 0.5)) / (width - 1) + 0.5
    return (255 * np.clip(shade, 0, 1)).round().astype("uint8")


WINDOWS = {"whole range": (2048, 4096), "fits the picture": (1800, 2400), "lungs": (1300, 1200), "bone": (2500, 900)}
plot_images([window(record.pixel_array, *w) for w in WINDOWS.values()], list(WINDOWS), columns=4)
plt.show()

# %% tags=["nbval-check-output"]
record.WindowCenter, record.WindowWidth = WINDOWS["fits the picture"]
by_pydicom = pydicom.pixels.apply_windowing(record.pixel_array, record) / 4095 * 255
ours = window(record.pixel_array, *WINDOWS["fits the picture"])
assert np.abs(by_pydicom - ours).max() <= 1
print("our window agrees with pydicom's to one shade of grey")

# %%
KEPT = {
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PhotometricInterpretation", "PixelData", "WindowCenter", "WindowWidth", "Modality", "SOPClassUID",
}  # fmt: skip


def without_identity(record):
    """Return a copy that keeps only the listed elements, under a new number."""
    clean = pydicom.Dataset()
    clean.file_meta = pydicom.dataset.FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = record.file_meta.TransferSyntaxUID
    clean.update({element.tag: element for element in record if element.keyword in KEPT})
    clean.SOPInstanceUID = generate_uid()
    clean.PatientIdentityRemoved = "YES"
    return clean


# %% tags=["nbval-check-output"]
clean = without_identity(record)
written = io.BytesIO()
clean.save_as(written, enforce_file_format=True)
assert b"Doe" in file.getvalue() and b"Doe" not in written.getvalue()
assert np.array_equal(clean.pixel_array, record.pixel_array)
print("no name left in the file, and the same pixels")

# %% [markdown]
# ### Mistake: text in the picture

# %%
LETTER = np.array([[1, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]])


def marked(x):
    """Return the pictures with a white P, for "portable", in the upper right corner."""
    x = x.copy()
    x[:, 1:6, 23:27, 0] = np.maximum(x[:, 1:6, 23:27, 0], 255 * LETTER)
    return x


plot_images(marked(test.x[:8]), columns=8)
plt.show()

# %%
with_mark = {name: extract_features(backbone, marked(part.x)) for name, part in (("train", train), ("test", test))}
ill_train, ill_test = train.y[:, None] == PNEUMONIA, test.y[:, None] == PNEUMONIA
leaky = fit_probe(np.where(ill_train, with_mark["train"], features["train"]), train.y)
honest = fit_probe(features["train"], train.y)
hospitals = {
    "pneumonias marked, as in training": np.where(ill_test, with_mark["test"], features["test"]),
    "no marks": features["test"],
    "normal chests marked": np.where(ill_test, features["test"], with_mark["test"]),
}
leak = pd.DataFrame(
    {
        title: [roc_auc_score(test.y, probe.decision_function(x)) for probe in (leaky, honest)]
        for title, x in hospitals.items()
    },
    index=["trained with marks", "trained without"],
).T
leak.round(3)

# %% tags=["nbval-check-output"]
with_marks = leak["trained with marks"]
expect("leak_auc", with_marks.iloc[0], contrast=with_marks["no marks"])
expect("leak_turned_auc", with_marks["normal chests marked"], contrast=leak["trained without"].iloc[2])

# %% [markdown]
# TODO
#
# ## 13. Beside published figures

# %%
accuracy = np.mean([np.mean((run["test"] > choose_threshold(validation.y, run["validation"], "accuracy")) == test.y) for run in runs])
auc = np.mean([roc_auc_score(test.y, run["test"]) for run in runs])
published = pd.DataFrame(
    [
        ("ResNet-18, 28 px", 0.944, 0.854, "all", "Yang et al. 2023"),
        ("ResNet-50, 224 px", 0.962, 0.884, "all", "Yang et al. 2023"),
        ("Google AutoML Vision, 28 px", 0.991, 0.946, "all", "Yang et al. 2023"),
        (f"this notebook, {SIZE} px", auc, accuracy, f"{len(train.y)} pictures", f"mean of {len(runs)}"),
    ],
    columns=["network", "AUC", "accuracy", "trained on", "source"],
).set_index("network")
published.round(3)

# %% [markdown]
# TODO
#
# ## Exercises
#
# ### Exercise 1: in a screening
#
# TODO

# %% tags=["exercise"]
sensitivity, specificity, prevalence = 0.95, 0.90, 0.02
predictive_value = None

# %% tags=["solution", "nbval-check-output"]
true_alarms = sensitivity * prevalence
false_alarms = (1 - specificity) * (1 - prevalence)
predictive_value = true_alarms / (true_alarms + false_alarms)
assert np.isclose(predictive_value, 0.1624, atol=1e-4)
print(f"{predictive_value:.0%} of the alarms are pneumonias")

# %% [markdown]
# ### Exercise 2: miss no more than one in twenty
#
# TODO

# %% tags=["exercise"]
triage = None

# %% tags=["solution", "nbval-check-output"]
triage = 1 - threshold_at_specificity(1 - validation.y, 1 - scores["validation"], 0.95)
found = scores["validation"][validation.y == PNEUMONIA] > triage
assert 0.95 <= found.mean() < 0.97
print("on validation, at least 95% of the pneumonias lie above the threshold")

# %% [markdown]
# ### Exercise 3: cover the corner
#
# TODO

# %% tags=["exercise"]
covered_auc = None


# %% tags=["solution"]
def cornerless(x):
    x = x.copy()
    x[:, 1:6, 23:27] = 0
    return x


without_corner = {name: extract_features(backbone, cornerless(part.x)) for name, part in (("train", train), ("test", test))}
covered_auc = roc_auc_score(test.y, fit_probe(without_corner["train"], train.y).decision_function(without_corner["test"]))

# %% tags=["solution", "nbval-check-output"]
expect("auc_corner_covered", covered_auc, contrast=with_marks["no marks"])
