# ---
# jupyter:
#   course:
#     title: Your project
#     question: Here are my own images, or my own texts. What can transfer learning do with them, and may I trust it?
#     minutes: {reading: 55, "own data": 60}
#     shows: "A tool for your own folder or CSV file: it looks for copies and leaks, splits, compares, tests once and writes a model that runs without the course. On 573 pictograms it reaches a balanced accuracy of {{test_balanced_accuracy.mean:.2f}} ± {{test_balanced_accuracy.half_width:.2f}} on test images (five runs), the stronger of two simple rivals on pixels {{test_rival.mean:.2f}} ± {{test_rival.half_width:.2f}}."
#     goals:
#       - run the whole course on a folder of your own images, or on a CSV file of your own texts;
#       - find copies, near copies and leaks before they flatter your figures;
#       - hand over a model, a model card and a program that classifies new files.
#     prerequisites:
#       - lessons 02 and 03 for images, lesson 08 for texts;
#       - "at least two classes, and better 30 examples of each; 5 is the least."
#     recap:
#       - Look before you train. Copies in two parts, and facts beside the content that tell the class, make figures too good.
#       - Keep together what belongs together, then split. A split that was given stays as it is.
#       - Simple rivals first. A network has to beat them on validation samples.
#       - Choose on validation. Test once, the chosen one and its rival, and give the interval.
#       - Read the errors. Then hand over the model with its preprocessing, its classes and its limits.
#     references: [mitchell2019, kapoor2023, kornblith2019, reimers2019, salton1988]
#     course-data-references: [openmoji]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0
DATA = ""  # a folder of images, or a CSV file of texts; empty: pictograms
TEXT = ""  # column of the texts in a CSV file; empty: it is guessed
LABEL = ""  # column of the labels
GROUP = ""  # column of what belongs together; for images "name": file names up to the last _ or -
SIZE = 96  # height and width of the images in pixels
MINUTES = 5.0  # for training networks; what does not fit is left out
EPOCHS = 4
OUT = "../build/project"  # the folder that is written

# %% [markdown]
# ## The whole thing first
#
# Write the path of your data into `DATA`, in the folded cell above, and run all cells. Or let the command line do it:
#
# ```bash
# course run 10 -p DATA ~/my_images
# course run 10 -p DATA reviews.csv -p OUT ~/reviews_project
# ```
#
# | `DATA` | looks like |
# |---|---|
# | a folder of images | `my_images/cat/1.jpg`, `my_images/dog/7.webp`; any size and format, also phone photos |
# | a folder that is split | `train/cat/…`, `test/cat/…`, perhaps `val/cat/…` |
# | a CSV file | a column of texts and a column of labels; perhaps one that says what belongs together, or the part |
#
# The result is the folder `OUT`, by default `build/project` of the course. An earlier result is kept beside it as `project-1`, `project-2` and so on. Nothing of your data is changed. Resized copies of the images stay in the course's cache on this machine.

# %% [markdown] tags=["course-data"]
# Without `DATA`, this page works on 573 pictograms of eight classes, and figures in the text are of these. In the report that `course run` writes of your own data, such sentences are left out.
#
# *Pictograms: [OpenMoji](https://openmoji.org), [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/).*

# %%
from pathlib import Path
from textwrap import fill

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf

from course_utils.data import load_openmoji_folder
from course_utils.data.project import look_at

data = DATA or load_openmoji_folder()
project = look_at(data, SIZE, TEXT, LABEL, GROUP, SEED)

# %% tags=["nbval-check-output"]
print(project)

# %% tags=["nbval-check-output"]
parts, names, is_images = project.parts, project.class_names, project.kind == "images"
counts = pd.DataFrame({part: table["label"].value_counts() for part, table in parts.items()})
counts

# %%
short = {name: name if len(name) <= 24 else f"{name[:13]}…{name[-10:]}" for name in names}  # as figures show them
short = {name: shown.replace("$", r"\$") for name, shown in short.items()}
size = (9, 1.2 + 0.34 * min(len(names), 20))
shown = counts.rename(index=short).head(20)
ax = shown.plot.barh(stacked=True, legend=False, figsize=size, ylabel="", xlabel=project.kind)
ax.figure.legend(loc="outside upper center", ncols=3)
ax.figure.set_label("Samples of each class in the three parts, at most twenty classes.")
ax.invert_yaxis()
figures = {"classes": ax.figure}
plt.show()

# %% tags=["fold"]
# Three images of each class
if is_images:
    columns = min(8, len(names))
    figures["examples"], axes = plt.subplots(3, columns, figsize=(1.63 * columns, 5.2), squeeze=False)
    figures["examples"].set_label("Three images of each class, at most eight classes.")
    for column, name in zip(axes.T, names):
        column[0].set_title(fill(short[name], 13), fontsize=12)
        for ax, x in zip(column, parts["train"].loc[parts["train"]["label"] == name, "x"]):
            ax.imshow(plt.imread(x))
    for ax in axes.flat:
        ax.axis("off")
    plt.show()

# %% tags=["fold"]
# Diagram: from a folder to a model
figure, ax = plt.subplots(figsize=(13, 1.6))
figure.set_label("Look, split, simple rivals, networks, choose on validation, test once, hand over.")
steps = ["look", "split", "simple\nrivals", "networks", "choose on\nvalidation", "test\nonce", "hand\nover"]
for x, step in enumerate(steps):
    colour = "#fbdcb8" if x in (2, 3) else "#cfe3f2"
    ax.text(x, 0, step, ha="center", va="center", fontsize=13, bbox={"boxstyle": "round,pad=0.6", "facecolor": colour})
    ax.text(x + 0.5, 0, "→" if x < 6 else "", fontsize=20, ha="center", va="center")
ax.set(xlim=(-0.5, 6.5), ylim=(-1, 1))
ax.axis("off")
plt.show()

# %% [markdown]
# ## 1. What the look has found
#
# Read the list above before anything else. It decides whether your figures will be true. It names the first pairs of each kind; all of them come into `pairs.csv`. What was looked for and not found is told as well.
#
# - **Copies** are left out. A file that is there with two labels is used with neither.
# - **Near copies** (the same photo smaller, darker or saved anew; a text with a word changed) stay together in one part. In a split that was given, pairs in two parts are told as a *leak* (Kapoor & Narayanan 2023).
# - **Groups** stay together too: subfolders of a class, or a column such as `document`, `author` or `patient`. `GROUP` names another one.
# - **A leak?** A small decision tree is asked to tell the class from what is *beside* the content: width, height and format of a file, length and capitals of a text. If it can, a network can too, and will look clever for the wrong reason. Typical: one class was photographed with another camera.
# - **Rare classes** with fewer than five samples cannot be split into three parts, and are left out.
#
# Our measure of near copies compares images made 16 pixels wide. So two *different* images, such as two drawn faces, can count as near copies. Look at some pairs by eye. Keeping them together in one part makes no figure too good.
#
# A split that you bring (`train`, `test`) stays as it is. Else 60% of the samples train, 20% choose, 20% test.
#
# ## 2. Simple rivals
#
# **Balanced accuracy** is the mean over the classes of the share recognised. Always saying the most frequent class gets one divided by the number of classes.
#
# An image network has two rivals, both on the pixels of images made 16 pixels wide: **nearest neighbours** and **logistic regression**. The rival of a text network is **word counts** (TF-IDF, Salton & Buckley 1988). Validation chooses how many neighbours, and how freely a regression fits.

# %%
import warnings

from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

y = {part: table["y"].to_numpy() for part, table in parts.items()}
bars = "auto" if len(y["train"]) > 2000 else 0  # many samples: Keras shows how far it is
usual = DummyClassifier(strategy="most_frequent").fit(y["train"], y["train"])
rivals, models = {"most frequent class": (usual, y)}, {}  # each with what it reads of each part


# %%
def stream(part, size=SIZE, **options):  # images from disk, never all in memory
    options |= {"image_size": (size, size), "interpolation": "area", "verbose": False}
    return keras.utils.image_dataset_from_directory(project.folder / part, **options)


# %%
def best_of(candidates, x):  # by validation, also of one that has not quite converged
    with warnings.catch_warnings(action="ignore"):
        fitted = [one.fit(x["train"], y["train"]) for one in candidates]
    return max(fitted, key=lambda one: balanced_accuracy_score(y["validation"], one.predict(x["validation"])))


def best_head(x, strengths):
    return best_of([LogisticRegression(C=C, class_weight="balanced", max_iter=1000) for C in strengths], x)


# %%
def in_keras(head):  # the same function as a layer, so that one file holds everything
    kernel, bias = head.coef_.T, head.intercept_
    if len(names) == 2:  # scikit-learn keeps one column for two classes
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.hstack([-bias, bias]) / 2
    layer = keras.layers.Dense(len(names), activation="softmax")
    layer.build((None, len(kernel)))
    layer.set_weights([kernel, bias])
    return layer


# %%
if is_images:
    pixels = {part: np.concatenate([*stream(part, 16, shuffle=False, labels=None)]) for part in parts}
    pixels = {part: images.reshape(len(images), -1) / 255 for part, images in pixels.items()}
    nearest = best_of([KNeighborsClassifier(k) for k in (1, 3, 5, 9, 15) if k <= len(y["train"])], pixels)
    linear = best_head(pixels, (0.001, 0.01, 0.1, 1))
    rivals |= {"nearest neighbours on pixels": (nearest, pixels), "logistic regression on pixels": (linear, pixels)}
    print(f"Validation chose k = {nearest.n_neighbors} neighbours, and C = {linear.C} for the regression.")

# %% tags=["fold"]
# For texts: word counts, as a model of Keras
if not is_images:
    import scipy.sparse

    texts = {part: tf.constant(table["x"].tolist()) for part, table in parts.items()}
    words = keras.layers.TextVectorization(20_000, ngrams=2, output_mode="tf_idf")
    words.adapt(texts["train"], batch_size=256)
    given = keras.Input((), dtype="string")
    known = words(given)[:, 1:]  # the first counts what training does not have: among few texts it outweighs the rest
    vectors = keras.layers.UnitNormalization()(known)
    count = keras.Model(given, vectors)
    counted = {}
    for part in parts:
        batches = tf.data.Dataset.from_tensor_slices(texts[part]).batch(256)
        counted[part] = scipy.sparse.vstack([scipy.sparse.csr_array(count(batch).numpy()) for batch in batches])
    head = best_head(counted, (1, 10, 100))
    rivals["word counts"] = head, counted
    models["word counts"] = keras.Model(given, in_keras(head)(vectors), name="word_counts"), texts

# %% [markdown]
# ## 3. The frozen network
#
# As in lessons 02 and 08: a pretrained network that is not changed, and a head that is fitted on its features. Images go through EfficientNet-Lite0 (Kornblith et al. 2019 compare such networks), texts through MiniLM (Reimers & Gurevych 2019). The features are computed once: 1,280 numbers an image, 384 a text.

# %%
if is_images:
    from course_utils.zoo import load_backbone

    encoder = load_backbone(input_size=SIZE)
    inputs = {part: stream(part, shuffle=False, labels=None) for part in parts}
    x = {part: encoder.predict(inputs[part], verbose=bars) for part in ("train", "validation")}
    head = best_head(x, (0.01, 0.1, 1))
    resize = [keras.Input((None, None, 3)), keras.layers.Resizing(SIZE, SIZE)]
    models["frozen"] = keras.Sequential([*resize, encoder, in_keras(head)], name="frozen"), inputs

# %% tags=["fold"]
# For texts: MiniLM, the mean over the real word pieces
if not is_images:
    from keras_hub import models as bert

    from course_utils.data.assets import fetch

    preset = str(fetch("minilm"))
    tokenizer = bert.BertTokenizer.from_preset(preset, strip_accents=True)  # else "café" is unknown (lesson 06)
    pieces = [len(tokenizer(text)) + 2 for text in parts["train"]["x"][:1000]]
    LENGTH = int(np.clip(8 * np.ceil(np.quantile(pieces, 0.95) / 8), 16, 256))  # longer texts lose their end
    pack = bert.BertTextClassifierPreprocessor(tokenizer, sequence_length=LENGTH)
    inputs = {part: pack(table["x"].tolist()) for part, table in parts.items()}

    def text_encoder():
        network = bert.BertBackbone.from_preset(preset)
        real = keras.ops.cast(network.input["padding_mask"], "bool")
        mean = keras.layers.GlobalAveragePooling1D()(network.output["sequence_output"], mask=real)
        return network, keras.layers.UnitNormalization()(mean)

    encoder, vectors = text_encoder()
    encode = keras.Model(encoder.input, vectors)
    x = {part: encode.predict(inputs[part], verbose=bars) for part in ("train", "validation")}
    head = best_head(x, (1, 10, 100))
    models["frozen"] = keras.Model(encoder.input, in_keras(head)(vectors), name="frozen"), inputs

# %% [markdown]
# ## 4. Does training more pay?
#
# **Fine-tuning** lets the network itself learn, at a small rate with warm-up, and BatchNorm stays frozen (lesson 03). For images a **small network from scratch** runs beside it: on images that look unlike photographs it can win.
#
# Both cost time. So the first six steps are timed. What does not fit into `MINUTES` is left out, and said.

# %%
import time

left = 60 * MINUTES  # seconds
frequent = np.bincount(y["train"])
weights = dict(enumerate(len(y["train"]) / (len(names) * frequent)))  # rare classes count more


# %%
def train_in_time(model, data, rate, epochs):
    steps, ends = epochs * len(data), []
    warm = max(1, steps // 10)
    peak = keras.optimizers.schedules.CosineDecay(0.0, steps - warm + 1, warmup_target=rate, warmup_steps=warm)
    model.compile(keras.optimizers.Adam(peak), "sparse_categorical_crossentropy")
    clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: ends.append(time.perf_counter()))
    model.fit(data.take(6), class_weight=weights, callbacks=[clock], verbose=0)  # the first step builds the graph
    needed = steps * np.diff(ends).mean() if len(ends) > 1 else 0
    if needed > left:
        print(f"{model.name}: left out, it needs about {needed:.0f} s and has {max(left, 0):.0f} s")
        return False
    model.fit(data, epochs=epochs, class_weight=weights, verbose=2 if bars else 0)
    return True


# %%
if is_images:
    backbone, train = load_backbone(input_size=SIZE), stream("train", seed=SEED)
    for layer in backbone.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    tuned = keras.Sequential([*resize, backbone, in_keras(head)], name="fine_tuned")
    tries = {"fine-tuned": (tuned, 1e-3, EPOCHS)}  # model, peak of the rate, epochs

# %%
if is_images:
    small = [*resize, keras.layers.Rescaling(1 / 127.5, -1)]
    for filters in (32, 64, 128, 128):
        small += [keras.layers.Conv2D(filters, 3, strides=2, padding="same")]
        small += [keras.layers.BatchNormalization(), keras.layers.ReLU()]
    small += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(len(names), activation="softmax")]
    tries["from scratch"] = keras.Sequential(small, name="from_scratch"), 3e-3, 5 * EPOCHS

# %% tags=["fold"]
# For texts: the upper half of MiniLM learns
if not is_images:
    backbone, vectors = text_encoder()
    for layer in backbone.layers[:-4]:  # all but the upper three transformer layers and the pooler
        layer.trainable = False
    tuned = keras.Model(backbone.input, in_keras(head)(vectors), name="fine_tuned")
    train = tf.data.Dataset.from_tensor_slices((inputs["train"], y["train"]))
    train = train.shuffle(10_000, seed=SEED).batch(32)
    tries = {"fine-tuned": (tuned, 2e-4, EPOCHS // 2 or 1)}

# %%
for way, (model, rate, epochs) in tries.items():
    start = time.perf_counter()
    fits = train_in_time(model, train, rate, epochs)
    left -= time.perf_counter() - start
    if fits:
        models[way] = model, inputs

# %% [markdown]
# ## 5. Choose on validation
#
# The network with the best balanced accuracy on *validation* samples is chosen. The test samples have no say.

# %%
says = {way: model.predict(read["validation"]) for way, (model, read) in rivals.items()}
for way, (model, read) in models.items():
    says[way] = model.predict(read["validation"], verbose=0).argmax(axis=1)
score = {way: balanced_accuracy_score(y["validation"], answer) for way, answer in says.items()}
chosen = max(models, key=score.get)
simple = max((way for way in rivals if way != chosen), key=score.get)
print(f"chosen: {chosen}; its strongest simple rival: {simple}")
if score[simple] > score[chosen]:
    print("But the rival is ahead of every network on validation. Section 6 says how far on test.")
pd.Series(score, name="balanced accuracy on validation").round(3).to_frame()

# %% [markdown] tags=["course-data"]
# On the pictograms, over five runs: frozen {{validation_frozen.mean:.2f}} ± {{validation_frozen.half_width:.2f}}, fine-tuned {{validation_tuned.mean:.2f}} ± {{validation_tuned.half_width:.2f}}, from scratch {{validation_scratch.mean:.2f}} ± {{validation_scratch.half_width:.2f}}; on pixels, nearest neighbours {{validation_neighbours.mean:.2f}} ± {{validation_neighbours.half_width:.2f}} and logistic regression {{validation_linear.mean:.2f}} ± {{validation_linear.half_width:.2f}}. "±" is the half-width of the 95% interval of the mean of five splits.

# %% [markdown]
# The best of several is a little too good on the samples that chose it; so:
#
# ## 6. Test once
#
# Two ways are read on test, and no other: the chosen one and its strongest simple rival. Who sees all of them on test chooses there, whether he wants to or not.
#
# The interval says how far the figure could be off had *other test samples* been drawn (bootstrap). Whole groups are drawn, since samples of one group resemble each other. It says nothing about other training data, nor about data from elsewhere.

# %%
group, groups = pd.factorize(parts["test"]["group"])
drawn = np.random.default_rng(SEED).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), 2000)[:, group]
of_class = np.eye(len(names))[y["test"]]


def interval(right):  # right: for each test sample 1, 0, or a difference of two such
    with np.errstate(invalid="ignore"):  # a class that was not drawn
        recall = drawn @ (of_class * right[:, None]) / (drawn @ of_class)
    return np.nanquantile(np.nanmean(recall, axis=1), [0.025, 0.975])


# %%
(model, read), (rival, features) = models[chosen], rivals[simple]
answers = model.predict(read["test"], verbose=0)
said = answers.argmax(axis=1)
tests = {chosen: said, simple: rival.predict(features["test"])}
right = {way: (answer == y["test"]).astype(float) for way, answer in tests.items()}
rows = {way: [np.mean([r[y["test"] == k].mean() for k in range(len(names))]), *interval(r)] for way, r in right.items()}
tested = pd.DataFrame(rows, index=["balanced accuracy on test", "from", "to"]).T
gain = [tested.iloc[:, 0][chosen] - tested.iloc[:, 0][simple], *interval(right[chosen] - right[simple])]
verdict = "no difference was shown" if gain[1] <= 0 <= gain[2] else "a difference was shown"
print("{} minus {}: {:+.3f} ({:+.3f} to {:+.3f}); {}".format(chosen, simple, *gain, verdict))
faultless = ""
if right[chosen].all():  # then a bootstrap has no width
    faultless = f"No error on test, but up to {min(1, 3 / len(groups)):.0%} are not ruled out (rule of three)."
    print(faultless)
tested.round(3)

# %% tags=["fold"]
# Figure: each way on validation, two of them on test
figures["test"], ax = plt.subplots(figsize=(9, 0.5 * len(score) + 1.4))
figures["test"].set_label("Balanced accuracy of each way on validation; of two also on test, with its 95% interval.")
ax.plot(list(score.values()), range(len(score)), "X", color="C1", label="validation")
for way, (value, low, high) in tested.iterrows():
    label = "test, 95% interval" if way == chosen else None
    error = [[value - low], [high - value]]
    ax.errorbar(value, list(score).index(way) + 0.2, xerr=error, fmt="o", color="C0", capsize=4, label=label)
ax.set_yticks(range(len(score)), [f"{way} (chosen)" if way == chosen else way for way in score])
ax.axvline(1 / len(names), color="0.4", linestyle=":", label="chance level")
ax.set(xlim=(0, 1.02), xlabel="balanced accuracy")
ax.figure.legend(loc="outside upper center", ncols=3)
ax.invert_yaxis()
plt.show()

# %% [markdown] tags=["course-data"]
# Over five runs the chosen network reaches {{test_balanced_accuracy.mean:.2f}} ± {{test_balanced_accuracy.half_width:.2f}} on test pictograms, its strongest simple rival {{test_rival.mean:.2f}} ± {{test_rival.half_width:.2f}}. The difference, on the same splits, is {{test_gain.mean:+.2f}} ± {{test_gain.half_width:.2f}}.

# %% [markdown]
# Look at the rival before you praise a network.
#
# ## 7. Read the errors
#
# In the figure, the colour of a field is its *share of the row*, so that rare classes are seen as well as frequent ones. The numbers count test samples.

# %%
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

if len(names) <= 40:
    figures["confusion"], ax = plt.subplots(figsize=(3 + 0.55 * min(len(names), 20),) * 2)
    figures["confusion"].set_label("Confusion matrix on test: rows are labels, columns answers; coloured by row.")
    options = {"labels": range(len(names)), "display_labels": short.values(), "xticks_rotation": "vertical", "ax": ax}
    options |= {"cmap": "Blues", "colorbar": False, "im_kw": {"vmin": 0, "vmax": 1}, "normalize": "true"}
    shown = ConfusionMatrixDisplay.from_predictions(y["test"], said, **options)
    for text, count in zip(shown.text_.flat, confusion_matrix(y["test"], said, labels=range(len(names))).flat):
        text.set_text(count if count and len(names) <= 20 else "")  # more do not fit
    ax.set(xlabel="answer", ylabel="label")
    plt.show()

# %%
wrong = parts["test"].assign(answer=np.array(names)[said], probability=answers.max(axis=1).round(2))
wrong = wrong[said != y["test"]].nlargest(6, "probability")
pd.options.display.max_colwidth = 500  # longer texts are cut
wrong[["file" if is_images else "x", "label", "answer", "probability"]]

# %% tags=["fold"]
# Figure: these errors as images
if is_images and len(wrong):
    figures["errors"], axes = plt.subplots(1, 6, figsize=(13, 3.2))
    figures["errors"].set_label("Six errors on test that the network is most sure of.")
    for ax, row in zip(axes, [*wrong.itertuples()] + [None] * 6):
        if row:
            ax.imshow(plt.imread(row.x))
            title = fill(short[row.answer], 18), f"{row.probability:.0%}", fill(f"({short[row.label]})", 18)
            ax.set_title("\n".join(title), fontsize=12)
        ax.axis("off")
    plt.show()

# %% [markdown]
# Each title is the answer, its probability and, in brackets, the label. With some errors you may side with the network: then the label is wrong, and mending labels is the cheapest way to a better model. Look for a pattern, and test it (minimal pairs, lesson 08).
#
# ## Take it home
#
# One folder, `OUT`, holds all: the model with its preprocessing, a **model card** (Mitchell et al. 2019), `pairs.csv`, and `predict.py`, which classifies new files. `course run` puts this page beside them, as notebook and as HTML.

# %% tags=["fold"]
# The model card
import platform
from datetime import date

import sklearn

figure_of = "\n".join(f"![{figure.get_label()}]({name}.png)\n" for name, figure in figures.items())
recalls = pd.Series({name: right[chosen][y["test"] == k].mean() for k, name in enumerate(names)}).nsmallest(10)
network = "EfficientNet-Lite0, ImageNet" if is_images else "MiniLM-L6, English"
network = {"from scratch": "small CNN", "word counts": "TF-IDF, regression"}.get(chosen, network)
needs = "keras tensorflow pillow" if is_images else "keras tensorflow"
needs += " keras-hub" if not is_images and chosen != "word counts" else ""
libraries = {"Keras": keras, "TensorFlow": tf, "scikit-learn": sklearn, "NumPy": np, "pandas": pd}
versions = ", ".join(f"{library} {module.__version__}" for library, module in libraries.items())
source = Path(data).expanduser().resolve().name
fewest = counts["test"].idxmin()
seen = f"An image is stretched to {SIZE} × {SIZE} pixels; what is smaller than that is lost."
if not is_images:
    seen = f"MiniLM knows English, and reads the first {LENGTH} word pieces." if chosen != "word counts" else ""
card = f"""# Model card: {source}

It gives {project.kind} one of {len(names)} classes: {", ".join(names)}.

- **Made:** {date.today()}, seed {SEED}; Python {platform.python_version()}, {versions}.
- **Model:** {chosen} ({network}).
- **Data:** the {"folder" if is_images else "file"} {source}, {counts.sum().sum()} {project.kind} used.
- **Split:** {project.findings[-1].removeprefix("Split, ")}
- **Balanced accuracy on test:** {rows[chosen][0]:.3f}, 95% interval {rows[chosen][1]:.3f} to {rows[chosen][2]:.3f}.
- **Minus {simple}:** {gain[0]:+.3f}, 95% interval {gain[1]:+.3f} to {gain[2]:+.3f}; {verdict}.
- **Chosen on:** {len(y["validation"])} validation samples, where it has {score[chosen]:.3f}.

## Limits

- It always names one of its classes, also for what is none of them.
- It was measured on {len(said)} test samples from the same source as its training data. Elsewhere, measure first.
- {fewest} has {counts["test"][fewest]} test samples: its share recognised says little if they are few.
- The intervals are about other test samples, not about other training data.
- It is not for decisions about people without a human. {seen} {faultless}

## Samples of each class

{counts.to_html()}

## Every way on validation; the chosen one and its rival on test

{pd.DataFrame({"validation": score}).join(tested).round(3).to_html(na_rep="")}

## Share recognised of each class, the lowest first

{recalls.round(2).rename("share").to_frame().to_html()}

## What the look at the data found

{project}

## Use

`pip install {needs}`, then `python predict.py {"NEW_IMAGES/" if is_images else "NEW.csv"} > answers.csv`

{figure_of}"""

# %%
from course_utils.data.project_folder import predict_program, project_folder

constants = {"CLASSES": names} | ({"SIZE": SIZE} if is_images else {"COLUMN": project.column, "LENGTH": LENGTH})
with project_folder(OUT) as home:  # it appears whole or not at all
    model.save(home / "model.keras")
    (home / "predict.py").write_text(predict_program(project.kind, **constants), encoding="utf-8")
    (home / "model_card.md").write_text(card, encoding="utf-8")
    project.pairs.head(10_000).to_csv(home / "pairs.csv", index=False)
    for name, figure in figures.items():
        figure.savefig(home / f"{name}.png", dpi=100, bbox_inches="tight")
    if not is_images and chosen != "word counts":
        tokenizer.save_assets(str(home))

# %% [markdown]
# Does it say the same in a *fresh process*, from the original files?

# %%
import io
import subprocess
import sys

some = parts["test"]
if is_images:  # names with line breaks, or in no known encoding, are shown otherwise
    some = some[[(Path(data).expanduser() / file).is_file() for file in some["file"]]]
some = some.sample(min(20, len(some)), random_state=SEED)

# %%
if is_images:
    new = [Path(data).expanduser() / file for file in some["file"]]
else:
    new = [Path(OUT).expanduser() / "new.csv"]
    some[["x"]].set_axis([project.column], axis=1).to_csv(new[0], index=False)
command = [sys.executable, Path(OUT).expanduser() / "predict.py", *new]
done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)

# %% tags=["nbval-check-output"]
fresh = pd.read_csv(io.StringIO(done.stdout), dtype=str, keep_default_na=False).to_numpy()
agree = fresh[:, 1] == np.array(names)[said[some.index]]
difference = np.abs(fresh[:, 2:].astype(float) - answers[some.index]).max()
assert difference < 0.05, "predict.py answers otherwise than this page"
print(f"{agree.sum()} of {len(some)} answers agree; the probabilities differ by less than {max(0.001, difference):.3f}")

# %% [markdown]
# `predict.py` needs Keras with TensorFlow, not this course. (For images it likes Pillow: without it, it reads JPEG, PNG, GIF and BMP only. A BERT needs KerasHub.)
#
# ### Hand it in
#
# For a class, the folder is the project. The [rubric](../docs/teaching.md#a-project-and-how-to-grade-it) gives 100 points. The page above does the work of about half of them. The other half is yours:
#
# - **Data.** Which of the findings did you check by eye? What belongs together that no name tells?
# - **Measurement.** `course sweep 10 -p SEED 0..4 -p DATA …` runs five splits, each with a folder of its own, and prints the mean of `own_balanced_accuracy` and `own_gain` with its 95% interval.
# - **Labels saved.** Train on a half and a quarter of the samples. Where does the curve stop rising?
# - **Honesty.** Say what you tried and did not keep. Name a cause only where you changed that one thing.
#
# **Where to go next.** The network is ahead of nothing simple? Read lesson 03 on images unlike photographs, lesson 05 on other networks, lesson 08 on what texts hide. Different data tomorrow? Lesson 04.

# %% tags=["headline"]
if not DATA and "fine-tuned" in models:  # what is compared holds for the pictograms
    share = {"limits": (0, 1)}
    told = {"frozen": "frozen", "fine-tuned": "tuned", "from scratch": "scratch"}
    told |= {"nearest neighbours on pixels": "neighbours", "logistic regression on pixels": "linear"}
    for way, name in told.items():
        expect(f"validation_{name}", score[way], **share)
    expect("test_rival", rows[simple][0], **share)
    expect("test_gain", gain[0], limits=(-1, 1))
    expect("test_balanced_accuracy", rows[chosen][0], contrast=1 / len(names), **share)
if DATA:
    expect("own_balanced_accuracy", rows[chosen][0], limits=(0, 1))
    expect("own_gain", gain[0], limits=(-1, 1))
expect.table()
