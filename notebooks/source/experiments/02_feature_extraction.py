# ---
# jupyter:
#   course:
#     title: Feature extraction
#     question: You have ten drawings of each kind. Can a network that only ever saw photographs sort them?
#     shows: "With ten drawings of each kind, frozen features of a network of photographs reach a balanced accuracy of {{frozen_10.mean:.2f}}, a tuned CNN from scratch {{scratch_10.mean:.2f}}. Computing features once trains a head {{cached_speedup.mean:.0f}} times faster. Another network's preprocessing costs top-1 {{own_preprocessing.mean:.2f}} → {{own_preprocessing.contrast:.2f}}."
#     results:
#       frozen_10: "balanced accuracy of frozen features, ten drawings of each kind (the same network with random weights)"
#       scratch_10: "a tuned CNN from scratch on the same drawings (chance)"
#       own_preprocessing: "top-1 on photographs with the network's own preprocessing (raw pixels)"
#       cached_speedup: "training a head on cached features, times faster"
#     goals:
#       - use a pretrained network as a fixed function from pictures to vectors, and put a small head on top;
#       - compute features once, cache them, and say what that saves;
#       - look into features with a linear probe, nearest neighbours and an embedding map;
#       - compare transfer with training from scratch fairly, over the size of the target data and several draws;
#       - recognise four common mistakes by the damage they do, and know when they do none that you can see.
#     prerequisites:
#       - notebook 01, or the ideas of domain, task, loss and gradient descent;
#       - Python with NumPy; no Keras beyond what notebook 01 shows.
#     recap:
#       - A frozen backbone is a function from pictures to vectors. The target task trains only a small head.
#       - "With ten drawings of each kind, frozen features of a network of photographs reached a balanced accuracy of {{frozen_10.mean:.2f}}; a CNN trained on the drawings alone, with its recipe chosen on validation, reached {{scratch_10.mean:.2f}}."
#       - Preprocessing belongs to the weights. Keep it, and the resizing, inside the model.
#       - "Frozen features never change, so compute them once: here training a head was {{cached_speedup.mean:.0f}} times faster."
#       - Cut stratified, choose on validation, and read the test part once, at the end.
#       - Not every mistake shows. A head trained on wrongly preprocessed features adapts to them and hides the error.
#     references: [donahue2014, razavian2014, yosinski2014, alain2017, kornblith2019, tan2019, liu2020, russakovsky2015, simonyan2015, he2016, szegedy2016, ioffe2015, jacob2018, cawley2010, vandermaaten2008, wattenberg2016, snell2017, openmoji]
# ---

# %% tags=["parameters"]
PROFILE = "default"  # smoke, default or full
SEED = 0
BACKBONE = "EfficientNetLite0"  # or a name of keras.applications, such as "ResNet50"

# %% [markdown]
# The profile decides how large the experiments are. `lesson` is small enough to follow live; `full` uses larger
# pictures, more draws and a wider search. Nothing else changes.

# %%
AUGMENTATIONS = ["none", "flip", "flip, shift, turn, zoom"]
SETTINGS = {
    "smoke": {
        "size": 32, "batch": 256, "shown": 5, "photos": 1, "sizes": (5,), "draws": 1, "map": "PCA",
        "digit_epochs": 1, "naive_epochs": 1, "head_epochs": 1, "others": 1, "small": 16,
        "updates": 8, "least_epochs": 0, "augmentations": ["none"], "widths_and_rates": [(8, 3e-3)],
    },
    "default": {
        "size": 128, "batch": 32, "shown": 8, "photos": 20, "sizes": (5, 10, 20, None), "draws": 3,
        "map": "t-SNE", "digit_epochs": 5, "naive_epochs": 1, "head_epochs": 30, "others": 4,
        "small": 32, "updates": 72, "least_epochs": 5, "augmentations": AUGMENTATIONS,
        "widths_and_rates": [(16, 3e-3)],
    },
    "full": {
        "size": 224, "batch": 32, "shown": 8, "photos": 20, "sizes": (5, 10, 20, None), "draws": 5,
        "map": "t-SNE", "digit_epochs": 5, "naive_epochs": 10, "head_epochs": 100, "others": 4,
        "small": 48, "updates": 200, "least_epochs": 20, "augmentations": AUGMENTATIONS,
        "widths_and_rates": [(16, 3e-3), (16, 1e-3)],
    },
}[PROFILE]  # fmt: skip
SIZE, BATCH = SETTINGS["size"], SETTINGS["batch"]  # side of a picture in pixels, pictures at a time

# %% [markdown]
# The bands of this notebook were measured with the default backbone. With another one, figures are printed uncompared.

# %%
if BACKBONE != "EfficientNetLite0":
    expect = Expectations("02_feature_extraction", f"{PROFILE} with {BACKBONE}")

# %% [markdown]
# The tools used throughout. Others are imported where they are first needed.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from course_utils.data import Samples, few_shot, load_openmoji, stratified_split
from course_utils.evaluation import ROLE_COLOURS, plot_images
from course_utils.models import extract_features, fold_batch_norm
from course_utils.zoo import load_backbone

# %% [markdown]
# Switches for speed and quiet. TensorFlow turns a function into a *graph* before it runs it; that pays when the
# function runs often, and so not in `smoke`.

# %%
import warnings

from threadpoolctl import threadpool_limits

limits = threadpool_limits(1, user_api="blas")  # small matrices: threads would only wait for each other
tf.get_logger().setLevel("ERROR")  # it takes the many small models of this notebook for a mistake
tf.config.run_functions_eagerly(PROFILE == "smoke")
warnings.filterwarnings("ignore", message="Even though the")  # tf.data says that it keeps its graphs

# %% [markdown]
# ## 1. The drawings, and three parts of them
#
# [OpenMoji](https://openmoji.org) is an open set of pictograms. We take eight kinds of them, from animals to
# vehicles. They are drawn with few colours and a black outline: no texture, no light, no background. A network
# trained on photographs has never met anything like them.
#
# Look at the table below the card. The kinds are not equally frequent. A model that always said "food" would be
# right more often than one time in eight. We therefore report **balanced accuracy**, the mean over the kinds of
# the share recognised. Guessing gives 1/8 = .125, whatever the frequencies.

# %%
drawings = load_openmoji(size=SIZE, seed=SEED)
drawings

# %%
class_names = drawings.class_names
shown = few_shot(drawings.train, per_class=SETTINGS["shown"], seed=SEED)
order = np.argsort(shown.y, kind="stable")
axes = plot_images(shown.x[order], columns=SETTINGS["shown"])
for row, name in zip(axes, class_names):
    row[0].set_title(name, loc="left")
plt.show()

# %% [markdown]
# *Drawings here and below: [OpenMoji](https://openmoji.org), licence
# [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/).*
#
# One row is one kind. Some rows hang together by colour and outline: the faces are yellow circles. Others hang together
# by meaning more than by looks: "sport and music" holds balls and bats, and also violins and drums, which do not show
# in this sample. That kind will be hard.
#
# The split has three parts, because there are three different uses for data:
#
# | part | used for | how often |
# |---|---|---|
# | train | fitting weights | all the time |
# | validation | every choice: regularisation, recipe, when to stop | as often as needed |
# | test | the final figure | once, at the end |
#
# A figure that helped to make a choice is too good afterwards, because the choice also picked its luck
# (Cawley & Talbot 2010). The parts are *stratified*: each holds every kind in the same proportion.

# %% tags=["nbval-check-output"]
shares = drawings.counts() / drawings.counts().sum()
largest_difference = (shares.max(axis=1) - shares.min(axis=1)).max()
assert largest_difference < 0.02
print("Each kind has the same share of all three parts, to within 2 percentage points.")

# %% [markdown]
# ### Mistake: the tail of sorted data as validation
#
# Does stratifying matter? Many files are sorted by class. The 5,000 MNIST digits of this course are: first all
# zeros, then all ones, and so on. Keras' `fit(validation_split=0.2)` takes the **last** fifth of what it is given,
# before any shuffling. The documentation says so, but it is easy to overlook.
#
# We train the same softmax regression twice on the sorted file: once with `validation_split`, once with a stratified
# split made beforehand. Before you run it: what do you expect?

# %%
from sklearn.model_selection import train_test_split

from course_utils.data import load_mnist

mnist = load_mnist(seed=SEED)
digits = np.concatenate([mnist.train.x, mnist.validation.x, mnist.test.x]) / 255
digit_labels = np.concatenate([mnist.train.y, mnist.validation.y, mnist.test.y])
order = np.argsort(digit_labels, kind="stable")  # as in the published file
digits, digit_labels = digits[order].reshape(5000, 784).astype("float32"), digit_labels[order]


# %%
def regression_accuracy(x, y, **validation):
    """Train a softmax regression and return its last accuracy on the validation data."""
    inputs = keras.Input((784,))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(inputs))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    epochs = SETTINGS["digit_epochs"]
    history = model.fit(x, y, epochs=epochs, batch_size=2 * BATCH, verbose=0, **validation)
    return history.history["val_accuracy"][-1]


# %% [markdown]
# The same function, once with the last fifth and once with a stratified fifth to check on.

# %%
x_fit, x_check, y_fit, y_check = train_test_split(
    digits, digit_labels, test_size=0.2, stratify=digit_labels, random_state=SEED
)
tail_accuracy = regression_accuracy(digits, digit_labels, validation_split=0.2)
stratified_accuracy = regression_accuracy(x_fit, y_fit, validation_data=(x_check, y_check))

# %%
pd.DataFrame(
    {
        "digits in training": ["0 1 2 3 4 5 6 7", "0 1 2 3 4 5 6 7 8 9"],
        "digits in validation": [
            " ".join(map(str, np.unique(y))) for y in (digit_labels[-1000:], y_check)
        ],
        "validation accuracy": [tail_accuracy, stratified_accuracy],
    },
    index=["last fifth", "stratified"],
).round(3)

# %% tags=["nbval-check-output"]
expect("stratified_validation", stratified_accuracy, contrast=tail_accuracy)

# %% [markdown]
# The tail holds only eights and nines, which the model has never seen: it scores {{stratified_validation.contrast:.2f}}.
# The same model, same data, reaches {{stratified_validation.mean:.2f}} on a stratified part. Nothing crashed and
# nothing warned. Here the damage is so large that you would notice. With data that are only *partly* sorted, by
# date or by hospital, the figure is merely wrong.
#
# ### Labels: numbers or one-hot rows
#
# `drawings.train.y` holds class numbers, "sparse" labels. Many programs use one-hot rows instead. With the target
# $y$ one-hot and predicted probabilities $p$, the cross-entropy is
#
# $$-\sum_k y_k \log p_k = -\log p_{\text{true class}},$$
#
# because all other terms are multiplied by zero. So the two kinds of labels give the same loss and the same
# training, provided that the name of the loss fits the labels.

# %% tags=["nbval-check-output"]
labels = drawings.train.y
one_hot = keras.utils.to_categorical(labels, num_classes=len(class_names))
probabilities = np.random.default_rng(SEED).dirichlet(np.ones(len(class_names)), size=len(labels))
sparse_loss = np.asarray(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
one_hot_loss = np.asarray(keras.losses.categorical_crossentropy(one_hot, probabilities))
assert np.allclose(sparse_loss, one_hot_loss, atol=1e-6)
print("labels", labels.shape[1:], "and", one_hot.shape[1:], "per picture: the same loss to 1e-6")

# %% [markdown]
# Use class numbers as long as each picture has exactly one class. One-hot rows are needed once a target is spread
# over classes, as with label smoothing or mixing two pictures.
#
# ### Your own pictures
#
# Your pictures probably lie in a directory with one subfolder for each class. We write a few drawings into such a
# tree and load it in two ways: with the course's `load_image_folder`, which returns the same three stratified parts
# as above, and with Keras' own `image_dataset_from_directory`, which streams batches and so also handles
# collections that do not fit into memory.

# %%
import tempfile
from pathlib import Path

from PIL import Image

directory = tempfile.TemporaryDirectory()
root = Path(directory.name) / "pictures"
for name, picture in zip([class_names[k] for k in shown.y], shown.x):
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{len(list(folder.iterdir()))}.png")

# %% [markdown]
# First the course's loader. How many of the pictures come into each part?

# %% tags=["nbval-check-output"]
from course_utils.data import load_image_folder

mine = load_image_folder(root, size=SIZE, seed=SEED)
print("train, validation, test:", [len(part.y) for part in (mine.train, mine.validation, mine.test)])
print("classes in alphabetical order:", ", ".join(mine.class_names))

# %% [markdown]
# Then Keras' own, on the same tree. Do both see the same pixels?

# %% tags=["nbval-check-output"]
stream = keras.utils.image_dataset_from_directory(
    root, image_size=(SIZE, SIZE), batch_size=None, shuffle=False, verbose=False
)
streamed = np.stack([picture for picture, _ in stream.as_numpy_iterator()])
loaded = np.concatenate([mine.train.x, mine.validation.x, mine.test.x])
assert tuple(stream.class_names) == mine.class_names
assert sorted(p.tobytes() for p in streamed.astype("uint8")) == sorted(p.tobytes() for p in loaded)
print("both return the same", len(streamed), "pictures, as", streamed.dtype, "and", loaded.dtype)
directory.cleanup()

# %% [markdown]
# Two details to remember. Class numbers follow the alphabetical order of folder names, so store the names beside
# a trained model. And `image_dataset_from_directory(validation_split=...)` shuffles, but does not stratify: with
# ten pictures of a kind, a part may easily get none of them.

# %% [markdown]
# ## 2. A pretrained network is a function
#
# The backbone of this notebook is EfficientNet-Lite0 (Tan & Le 2019; Liu 2020), trained on the 1.3 million
# photographs of ImageNet (Russakovsky et al. 2015). It maps a picture to 1,000 probabilities, one for each kind of
# thing in ImageNet. First we look at it doing what it was trained for, on a few of the 20 labelled photos that the
# course carries.

# %%
import keras_hub

from course_utils.data import load_imagenet_photos

classifier = load_backbone(BACKBONE, include_top=True)
photos, photo_labels = load_imagenet_photos(size=classifier.input_shape[1])
photos, photo_labels = photos[: SETTINGS["photos"]], photo_labels[: SETTINGS["photos"]]

# %% [markdown]
# `decode_imagenet_predictions` finds the name of the most probable of the 1,000 kinds.

# %%
probabilities = classifier(photos[:8], training=False)
guesses = [top[0] for top in keras_hub.utils.decode_imagenet_predictions(probabilities, top=1)]
plot_images(photos[:8], [f"{name.replace('_', ' ')} {share:.2f}" for name, share in guesses], columns=4)
plt.show()

# %% [markdown]
# The names are ImageNet's own, some of them odd; the number is the probability. One of these eight is wrong: the blue
# car is no convertible. Over all photos we count in a moment.
#
# Now take the network apart. Its last layer is a softmax regression on 1,280 numbers. Everything before it turns a
# picture into these 1,280 numbers, the **features**. In the notation of notebook 01, $h = M(x)$ is the backbone and
# $y = L(h)$ the head. The head knows the kinds of ImageNet and is of no use to us. The backbone may be: to tell a
# thousand kinds of things apart it had to learn edges, colours, parts and shapes (Donahue et al. 2014; Razavian et
# al. 2014; Yosinski et al. 2014).

# %% tags=["nbval-check-output"]
backbone = load_backbone(BACKBONE, input_size=SIZE)
backbone.trainable = False
assert not backbone.trainable_weights
print("frozen:", len(backbone.trainable_weights), "trainable weights")
first_layers = ", ".join(layer.name for layer in backbone.layers[:2])
print(
    "from raw pixels of", backbone.input_shape[-1], "channels to vectors; first layers:", first_layers
)

# %% [markdown]
# Two things to notice. The backbone has no trainable weights: whatever we train behind it, it stays the same
# function. And its first layer is called `preprocessing`: this backbone takes **raw pixels** from 0 to 255 and brings
# them to the range that its weights expect. Every backbone of this course does.
#
# ### Mistake: the preprocessing of another network
#
# Each family of networks was trained with its own preprocessing, and it is part of what the weights mean:
#
# | style | what it does | used by, for example |
# |---|---|---|
# | "tf" | $x / 127.5 - 1$ | InceptionV3, MobileNetV2 |
# | "torch" | $(x / 255 - \text{mean}) / \text{standard deviation}$ per channel | DenseNet |
# | "caffe" | blue, green, red; minus the mean of ImageNet | VGG16, ResNet50 |
# | own | $(x - 127) / 128$ | EfficientNet-Lite |
#
# To feed the network what we like, we cut off its preprocessing: a functional model may start at any tensor.
# The last row of the experiment is the most common mistake of all: the network keeps its own preprocessing, and a
# division by 255 that was right for another model stands in front of it.


# %%
def without_preprocessing(model):
    """Split a model in two: its preprocessing, and all that comes after it."""
    after = model.get_layer("preprocessing").output
    return keras.Model(model.input, after), keras.Model(after, model.output)


# %% [markdown]
# Eight ways to prepare the same photos.

# %%
own, rest = without_preprocessing(classifier)
pixels = photos.astype("float32")
prepare = keras.applications.imagenet_utils.preprocess_input
prepared = {
    "own preprocessing": own(pixels),
    "tf style": prepare(pixels.copy(), mode="tf"),
    "torch style": prepare(pixels.copy(), mode="torch"),
    "1/255 only": pixels / 255,
    "caffe style": prepare(pixels.copy(), mode="caffe"),
    "raw pixels": pixels,
    "1/255 twice": pixels / 255 / 255,
    "1/255, then own": own(pixels / 255),
}

# %%
inputs = np.concatenate(list(prepared.values()))
guessed = rest.predict(inputs, verbose=0).argmax(axis=1).reshape(len(prepared), -1)
top1 = {name: np.mean(classes == photo_labels) for name, classes in zip(prepared, guessed)}
pd.DataFrame({"top-1 on 20 photos": top1}).round(2)

# %% tags=["nbval-check-output"]
expect("own_preprocessing", top1["own preprocessing"], contrast=top1["raw pixels"])
assert top1["1/255, then own"] <= 0.1

# %% [markdown]
# Read the table with care: there are 20 photos, so one photo is .05, and rows that differ by one or two photos do
# not differ. What stands out is large. With its own preprocessing the network names {{own_preprocessing.mean:.2f}} of the
# photos. With raw pixels it names {{own_preprocessing.contrast:.2f}}, and with a division too many none or hardly any. Caffe
# style loses more than half.
#
# And the other styles? "tf" is nearly the same function as the own preprocessing. "torch" and a single division
# by 255 give numbers of about the right size, between -3 and 3, and the network hardly notices. That is a **null
# result**, and worth knowing: a wrong preprocessing may pass unseen for a long time. (These figures hold for
# EfficientNet-Lite0. Another backbone has another table.)
#
# The course's functions refuse what can be recognised from the numbers alone: negative values, and a largest value of
# at most 1.

# %% tags=["nbval-check-output"]
from course_utils.errors import CourseError

try:
    extract_features(backbone, drawings.train.x / 255)
except CourseError as error:
    print(error)

# %% [markdown]
# ## 3. What do the features know about drawings?
#
# Now the drawings. `extract_features` sends each picture through the frozen backbone once and keeps the vectors on
# disk. We also prepare two controls. The **pixels** of the drawings, made small, tell what is possible without a network.
# The **random backbone** has the same architecture with random weights: it tells how much is due to the
# architecture alone.
#
# All pictures go through at once, which is convenient and harmless: no vector depends on another picture or on a
# label. The vectors of the test part are not touched before section 6.


# %%
def joined(split):
    """Return all samples of a split, its parts one behind the other."""
    parts = zip(split.train, split.validation, split.test)
    return Samples(*(np.concatenate(arrays) for arrays in parts))


# %%
pictures, y = joined(drawings)
random_backbone = load_backbone(BACKBONE, input_size=SIZE, weights=None)
vectors = {
    "pixels": tf.image.resize(pictures, (32, 32), antialias=True).numpy().reshape(len(y), -1),
    "random weights": extract_features(random_backbone, pictures, BATCH),
    "ImageNet": extract_features(backbone, pictures, BATCH),
}
pd.DataFrame({"shape": {name: str(array.shape) for name, array in vectors.items()}})

# %% [markdown]
# The vectors of training and validation part, by name.

# %%
first, second = np.cumsum([len(drawings.train.y), len(drawings.validation.y)])
train = {name: Samples(array[:first], y[:first]) for name, array in vectors.items()}
validation = {name: Samples(array[first:second], y[first:second]) for name, array in vectors.items()}

# %% [markdown]
# ### A map
#
# A map shows which drawings lie close together. t-SNE (van der Maaten & Hinton 2008) places the vectors in the plane so
# that neighbours stay neighbours. It has never seen the labels; we only use them to colour the points. Look for colours
# that hold together.

# %%
from course_utils.evaluation import plot_embedding

figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6))
plot_embedding(*train["pixels"], class_names, method=SETTINGS["map"], seed=SEED, ax=left)
plot_embedding(*train["ImageNet"], class_names, method=SETTINGS["map"], seed=SEED, ax=right)
left.set_title("Pixels")
right.set_title("Features of the frozen backbone")
left.get_legend().remove()
plt.show()

# %% [markdown]
# In pixel space only the faces form a group: yellow circles are alike pixel by pixel. In feature space animals,
# buildings and vehicles gather too, although the network was never shown a pictogram and no label was used. Food, and
# sport and music, stay scattered: what unites them is meaning, not looks. Distances between the groups, and their
# sizes, mean little in such a map (Wattenberg, Viégas & Johnson 2016). To measure, we need something else.
#
# ### Nearest neighbours
#
# For each drawing, which other training drawing is nearest to it? We compare directions: vectors are brought to length
# one first, so that the Euclidean distance depends only on the angle between them. The figure shows the first training
# drawing of each kind (no picking) with its three nearest, by pixels and by features. A blue frame marks the same kind.


# %%
from sklearn.neighbors import NearestNeighbors


def nearest_neighbours(vectors, count):
    directions = Normalizer().fit_transform(vectors)
    _, found = NearestNeighbors(n_neighbors=count + 1).fit(directions).kneighbors(directions)
    return found[:, 1:]  # the nearest of all is the drawing itself


neighbours = {name: nearest_neighbours(samples.x, count=3) for name, samples in train.items()}
y_train = drawings.train.y

# %% [markdown]
# The rows of the figure: a drawing, three neighbours by pixels, three by features.


# %%
def frame_of(ax):
    """Return a blue frame around a picture."""
    colour = ROLE_COLOURS["transfer"]
    return plt.Rectangle(
        (0, 0), 1, 1, transform=ax.transAxes, fill=False, linewidth=3, edgecolor=colour
    )


queries = [np.flatnonzero(y_train == kind)[0] for kind in range(len(class_names))][: SETTINGS["shown"]]
rows = [(i, *neighbours["pixels"][i], *neighbours["ImageNet"][i]) for i in queries]
picked = np.concatenate(rows)
axes = plot_images(drawings.train.x[picked], columns=7)
for ax, index, query in zip(axes.flat, picked, np.repeat(queries, 7)):
    if index != query and y_train[index] == y_train[query]:
        ax.add_patch(frame_of(ax))
for column, title in {0: "drawing", 2: "nearest by pixels", 5: "nearest by features"}.items():
    axes[0, column].set_title(title, loc="center")
plt.show()

# %% [markdown]
# And over all training drawings:

# %%
same_kind = {
    name: balanced_accuracy_score(y_train, y_train[found[:, 0]]) for name, found in neighbours.items()
}
pd.DataFrame({"nearest neighbour is of the same kind": same_kind}).round(3)

# %% tags=["nbval-check-output"]
expect("neighbours_by_features", same_kind["ImageNet"], contrast=same_kind["random weights"])
expect("neighbours_by_pixels", same_kind["pixels"], contrast=1 / 8)

# %% [markdown]
# Pixels find drawings of the same colour in the same place. Features, too, go by shape and colour (look at the flute
# and the rocket), but in any place; they find the same kind more often, though far from always. Over all training
# drawings, the nearest neighbour by features is of the same kind for {{neighbours_by_features.mean:.2f}} (mean over
# kinds), by pixels for {{neighbours_by_pixels.mean:.2f}}. With random weights it is
# {{neighbours_by_features.contrast:.2f}}: such features are *worse* than the pixels they were made of.
#
# ### A linear probe
#
# The standard question to a representation is: can a *linear* classifier read the answer from it (Alain & Bengio
# 2017)? We use logistic regression. The vectors are brought to length one, because with 1,280 numbers and a few
# drawings the length is mostly noise. The strength of the regularisation, $C$, is chosen on the validation part.


# %%
from sklearn.linear_model import LogisticRegression


def logistic_regression(C):
    return make_pipeline(Normalizer(), LogisticRegression(C=C, max_iter=1000, class_weight="balanced"))


def fit_probe(train, validation):
    """Fit logistic regressions of several strengths and return the one that is best on validation."""
    probes = [logistic_regression(C).fit(*train) for C in (0.1, 1, 10, 100)]
    return max(probes, key=lambda probe: accuracy_of(probe, validation))


def accuracy_of(probe, samples):
    return balanced_accuracy_score(samples.y, probe.predict(samples.x))


# %%
probes = {name: fit_probe(train[name], validation[name]) for name in train}
probed = {name: accuracy_of(probe, validation[name]) for name, probe in probes.items()}
strengths = {name: probe[-1].C for name, probe in probes.items()}
pd.DataFrame({"C": strengths, "balanced accuracy, validation": probed}).round(3)

# %% tags=["nbval-check-output"]
expect("probe", probed["ImageNet"], contrast=probed["random weights"])

# %% [markdown]
# A linear head on the frozen features reaches {{probe.mean:.2f}} on validation. The same architecture with random
# weights reaches {{probe.contrast:.2f}}. So it is the *weights*, learned on photographs, that carry over to drawings,
# not the shape of the network. (Both figures are a little too good: $C$ was chosen on these very drawings. Section 6
# tests on others.)
#
# ## 4. Compute once
#
# A frozen backbone gives the same vector for the same picture, in every epoch. So there is no reason to run it
# more than once. And while it only runs forward, it can be made faster without changing what it computes.
#
# ### Folding BatchNorm into the convolutions
#
# After training, BatchNormalization (Ioffe & Szegedy 2015) is a fixed affine map of each channel: it holds a mean
# $\mu$ and a variance $\sigma^2$ that no longer move. Behind a convolution $w * x + b$ it gives
#
# $$\gamma \, \frac{(w * x + b) - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
# \;=\; \underbrace{\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\, w}_{w'} * x \;+\;
# \underbrace{\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\,(b - \mu) + \beta}_{b'}.$$
#
# This is a convolution again, with other weights. One layer does the work of two (Jacob et al. 2018), and the large
# array between them is neither written nor read. `extract_features` does this before it runs a network:

# %%
from course_utils.evaluation import show_source

show_source(fold_batch_norm)

# %% [markdown]
# Both networks as graphs, a way to run one over many pictures, and a clock.


# %%
import time


def compiled(model):
    """Return the model as one TensorFlow graph, after a first run that builds it."""
    run = tf.function(
        lambda x: model(x, training=False), input_signature=[tf.TensorSpec(model.input_shape)]
    )
    run(np.zeros((BATCH, *model.input_shape[1:]), "float32"))
    return run


def one_pass(run, pictures):
    starts = range(0, len(pictures), BATCH)
    return np.concatenate([run(pictures[i : i + BATCH]).numpy() for i in starts])


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# %%
own, unfolded = without_preprocessing(backbone)
folded = fold_batch_norm(unfolded)
run_unfolded, run_folded = compiled(unfolded), compiled(folded)
prepared = own(pictures).numpy()

# %% tags=["nbval-check-output"]
sample = prepared[:64]
assert np.abs(one_pass(run_folded, sample) - one_pass(run_unfolded, sample)).max() < 1e-4
assert np.abs(one_pass(run_folded, sample) - vectors["ImageNet"][:64]).max() < 1e-3
print("folded, unfolded and extract_features agree")
for name, model in {"unfolded": unfolded, "folded": folded}.items():
    kinds = [type(layer).__name__ for layer in model.layers]
    print(f"{name}: {kinds.count('BatchNormalization')} BatchNormalization layers")

# %% [markdown]
# The same function. Is it faster? We time both in turn, several times, and take the fastest run of each: other
# programs on the machine can only make a run slower.

# %%
times = [
    (seconds(lambda: one_pass(run_unfolded, sample)), seconds(lambda: one_pass(run_folded, sample)))
    for _ in range(3)
]
unfolded_time, folded_time = np.min(times, axis=0)
ratio = unfolded_time / folded_time
print(f"unfolded {unfolded_time:.2f} s, folded {folded_time:.2f} s: {ratio:.1f} times")

# %% [markdown]
# How much it saves depends on the machine and on what else it does, so no claim of this course rests on that ratio. A
# convolution is cheap per number; moving numbers through memory is not, and folding saves a trip through it. (Folding is for inference only: while BatchNorm still learns, there is nothing fixed to fold.)
#
# ### Mistake: the base is run again in every epoch
#
# Many tutorials put backbone and head into one model, freeze the backbone and call `fit`. That is correct, and
# wasteful: `fit` runs the frozen backbone on every picture in every epoch. We train the same head both ways. Each
# model is first fitted for a moment, so that the clock does not measure the building of graphs. For the same reason all
# batches have one size: a last, smaller batch would need a graph of its own.


# %%
def new_head(width=backbone.output_shape[-1]):
    inputs = keras.Input((width,), name="features")
    directions = layers.UnitNormalization()(inputs)
    return keras.Model(
        inputs, layers.Dense(len(class_names), activation="softmax")(directions), name="head"
    )


def ready(model, x):
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:BATCH], y_train[:BATCH], batch_size=BATCH, verbose=0)
    return model


# %%
pixels_in = keras.Input(backbone.input_shape[1:])
naive = ready(keras.Model(pixels_in, new_head()(backbone(pixels_in, training=False))), drawings.train.x)
head = ready(new_head(), train["ImageNet"].x)

# %% [markdown]
# Over 20 epochs, the naive way costs 20 passes of the backbone. Every epoch does the same work, so one is timed
# (ten in `full`) and multiplied by 20. The cached way costs **one** pass plus 20 epochs of the head alone, all of them
# timed. (The features on disk are not used here: the pass is really made.)

# %%
EPOCHS, measured = 20, SETTINGS["naive_epochs"]
whole = len(y_train) // BATCH * BATCH  # as many drawings as fill all batches
few, labels, few_vectors = drawings.train.x[:whole], y_train[:whole], train["ImageNet"].x[:whole]
options = {"batch_size": BATCH, "verbose": 0}
naive_epoch = seconds(lambda: naive.fit(few, labels, epochs=measured, **options)) / measured
pass_once = seconds(lambda: one_pass(run_folded, own(few).numpy()))
head_epochs = seconds(lambda: head.fit(few_vectors, labels, epochs=EPOCHS, **options))

# %%
pd.DataFrame(
    {"backbone": ["in every epoch", f"{pass_once:.1f} s, once"],
     "one epoch": [f"{naive_epoch:.2f} s", f"{head_epochs / EPOCHS:.3f} s"],
     f"{EPOCHS} epochs": [f"{EPOCHS * naive_epoch:.1f} s", f"{pass_once + head_epochs:.1f} s"]},
    index=["naive", "cached"],
)  # fmt: skip

# %% tags=["nbval-check-output"]
expect("cached_speedup", EPOCHS * naive_epoch / (pass_once + head_epochs), contrast=1, timing=True)

# %% [markdown]
# The cached way was {{cached_speedup.mean:.0f}} times faster on average over repetitions (± {{cached_speedup.std:.0f}}:
# clocks on a shared machine are restless). A part of that is the folding, the rest is not doing the same work in every
# epoch, and that part grows with the number of epochs. It grows once more when you try several heads: the second head
# needs no pass at all. Exactly this makes the experiments below possible in a lecture. The price: pictures cannot be
# augmented anew in each epoch, because the features are of the pictures as they were. Notebook 03 pays the full price,
# and shows what it buys.
#
# ## 5. The head
#
# Logistic regression and a `Dense` layer with softmax are the same function; they differ in how they are fitted.
# Here the head is trained in Keras on the cached features, with a validation curve to see when it has learnt enough.


# %%
def rarity(labels):
    """Return a weight for each class, so that all classes count alike."""
    return dict(enumerate(len(labels) / (len(class_names) * np.bincount(labels))))


# %%
from course_utils.evaluation import plot_history

keras.utils.set_random_seed(SEED)
head = new_head()
adam = keras.optimizers.AdamW(0.03, weight_decay=1e-3)
head.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
history = head.fit(
    *train["ImageNet"], validation_data=validation["ImageNet"],
    epochs=SETTINGS["head_epochs"], batch_size=2 * BATCH, class_weight=rarity(y_train), verbose=0,
)  # fmt: skip
plot_history(history)
plt.show()

# %%
head_probabilities = head.predict(validation["ImageNet"].x, verbose=0)
head_accuracy = balanced_accuracy_score(validation["ImageNet"].y, head_probabilities.argmax(axis=1))
print(f"balanced accuracy: {head_accuracy:.3f}, logistic regression {probed['ImageNet']:.3f}")

# %% tags=["nbval-check-output"]
expect("keras_head", head_accuracy, contrast=probed["random weights"])

# %% [markdown]
# Both heads find about the same balanced accuracy: {{keras_head.mean:.2f}} in Keras, {{probe.mean:.2f}} by logistic
# regression. (The curves show plain accuracy, which the frequent kinds lift.) The training accuracy goes to one: 1,280
# numbers are enough to tell a few hundred drawings apart by heart. The validation accuracy does not suffer: it becomes
# flat, and the validation loss with it.
#
# ### A mistake that does not show
#
# Does the wrong preprocessing of section 2 hurt here too? We send the drawings through the backbone with two of the bad
# ones, and fit a new head on what comes out.

# %%
seen = pictures[:second].astype("float32")  # training and validation parts
wrong_ways = {"raw pixels": seen, "1/255, then own": own(seen / 255).numpy()}

with_new_head = {"own preprocessing": probed["ImageNet"]}
for name, x in wrong_ways.items():
    features = one_pass(run_folded, x)
    fit_on, choose_on = Samples(features[:first], y[:first]), Samples(features[first:], y[first:second])
    with_new_head[name] = accuracy_of(fit_probe(fit_on, choose_on), choose_on)
pd.DataFrame({"new head on drawings": with_new_head, "old head on photos": top1}).dropna().round(3)

# %% tags=["nbval-check-output"]
expect("new_head_after_raw_pixels", with_new_head["raw pixels"], contrast=top1["raw pixels"])

# %% [markdown]
# On raw pixels the *old* head was destroyed: {{new_head_after_raw_pixels.contrast:.2f}} of the photos. A *new* head, fitted on
# the features of raw pixels, still reaches {{new_head_after_raw_pixels.mean:.2f}}, close to the {{probe.mean:.2f}} of the
# right preprocessing. It adapts to the distorted features and hides the mistake. Only the division too many,
# which makes all pictures nearly black, costs clearly more. So a decent accuracy does not prove that the
# preprocessing is right. Check it where the answer is known: on a few labelled photos with the old head.
#
# ### Mistake: Flatten instead of pooling
#
# Before the last step, the backbone holds a small map: for each place in the picture a vector. *Global average pooling*
# takes the mean over the places. Older tutorials use `Flatten` instead and follow it by a wide `Dense` layer, as VGG16
# itself did. What does it cost? A `Dense` layer from $m$ to $n$ numbers has $mn + n$ parameters, so the shape of the
# map tells it.


# %%
def head_parameters(numbers, width, classes=len(class_names)):
    return (numbers * width + width) + (width * classes + classes)


shapes = {"VGG16": (7, 7, 512), "EfficientNetLite0": (7, 7, 1280),
          "ResNet50": (7, 7, 2048), "InceptionV3": (8, 8, 2048)}  # fmt: skip
numbers = pd.DataFrame(
    {name: {"Flatten": np.prod(shape), "pooling": shape[-1]} for name, shape in shapes.items()}
).T
counts = pd.DataFrame(
    {
        f"{way}, Dense({width})": head_parameters(numbers[way], width)
        for way in numbers
        for width in (256, 1024)
    }
)
(counts / 1e6).round(2).rename_axis("millions of parameters")


# %% tags=["nbval-check-output"]
def dense_head(first_layer):
    return keras.Sequential(
        [keras.Input(shapes["VGG16"]), first_layer, layers.Dense(256), layers.Dense(8)]
    )


flat = dense_head(layers.Flatten()).count_params()
pooled = dense_head(layers.GlobalAveragePooling2D()).count_params()
assert flat == counts.loc["VGG16", "Flatten, Dense(256)"]
assert pooled == counts.loc["VGG16", "pooling, Dense(256)"]
print(f"VGG16: {flat:,} parameters behind Flatten, {pooled:,} behind pooling")

# %% [markdown]
# Behind `Flatten` every place has weights of its own. A violin at the top left must be learnt apart from a violin in
# the middle, from ten drawings. Behind pooling the place is gone, and so are 98% of the parameters. All backbones of
# this course end with pooling.

# %% [markdown]
# ## 6. How many drawings are enough?
#
# Now to the question of this notebook. We compare three methods on the same drawings:
#
# - **transfer**: frozen backbone and logistic regression;
# - **random weights**: the same with a random backbone, the control;
# - **scratch**: a convolutional network trained on the drawings alone.
#
# A comparison is only as good as its baseline. The network from scratch gets an honest chance: a small
# architecture made for little data (four blocks, BatchNorm, max pooling), weight decay, dropout, a learning rate that
# decays to zero, weights for rare classes, and a choice of augmentation. It sees the drawings at 32 pixels, because
# with these it trains in seconds. In `full` it sees 48 pixels, trains longer, and the choice is wider.

# %%
SMALL = SETTINGS["small"]


def augmentations(kind):
    """Return fresh layers for one kind of augmentation."""
    paper = dict(fill_mode="constant", fill_value=255.0)  # the paper around a drawing is white
    flip = layers.RandomFlip("horizontal")
    move = [
        layers.RandomTranslation(0.1, 0.1, **paper),
        layers.RandomRotation(0.05, **paper),
        layers.RandomZoom(0.2, **paper),
    ]
    return {"none": [], "flip": [flip], "flip, shift, turn, zoom": [flip, *move]}[kind]


# %% [markdown]
# The network itself, small and up to date.


# %%
def small_cnn(augmentation, width):
    x = inputs = keras.Input((SMALL, SMALL, 3))
    for layer in augmentations(augmentation):
        x = layer(x)
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    for filters in (width, 2 * width, 4 * width, 8 * width):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(len(class_names), activation="softmax")(x))
    model.compile(keras.optimizers.AdamW(weight_decay=1e-3), "sparse_categorical_crossentropy")
    return model


# %% [markdown]
# Every training starts from new random weights and an empty optimiser. The compiled model itself is used again, because
# building its graph would take longer than the training. The learning rate falls along a cosine, in eight stages.


# %%
def start_anew(model, seed):
    """Give a compiled model new random weights and an empty optimiser."""
    keras.utils.set_random_seed(seed)
    model.set_weights(keras.models.clone_model(model).get_weights())
    for variable in model.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))


def train_from_scratch(model, samples, rate, seed, stages=8):
    start_anew(model, seed)
    updates = max(SETTINGS["updates"], SETTINGS["least_epochs"] * len(samples.y) // 16)
    drawn = tf.data.Dataset.from_tensor_slices(tuple(samples)).shuffle(len(samples.y), seed=seed)
    fall = [rate * (1 + np.cos(np.pi * stage / stages)) / 2 for stage in range(stages)]
    model.fit(
        drawn.repeat().batch(16), epochs=stages, steps_per_epoch=updates // stages, shuffle=False,
        callbacks=[keras.callbacks.LearningRateScheduler(lambda stage: fall[stage])],
        class_weight=rarity(samples.y), verbose=0,
    )  # fmt: skip
    return model


def cnn_accuracy(model, samples):
    return balanced_accuracy_score(samples.y, model(samples.x, training=False).numpy().argmax(axis=1))


# %% [markdown]
# The recipe is chosen at ten drawings of each kind, on the validation part.

# %%
small = load_openmoji(size=SMALL, seed=SEED)
ten = few_shot(small.train, per_class=SETTINGS["sizes"][:2][-1], seed=SEED)
recipes = [
    (augmentation, *width_and_rate)
    for augmentation in SETTINGS["augmentations"]
    for width_and_rate in SETTINGS["widths_and_rates"]
]
choice = pd.DataFrame(recipes, columns=["augmentation", "width", "rate"])

# %% [markdown]
# One network for each recipe, trained and measured. Which augmentation would you bet on?

# %%
networks = [small_cnn(recipe.augmentation, recipe.width) for recipe in choice.itertuples()]
choice["validation"] = [
    cnn_accuracy(train_from_scratch(network, ten, rate, SEED), small.validation)
    for network, rate in zip(networks, choice["rate"])
]
best = choice["validation"].argmax()
choice.round(3)

# %% [markdown]
# Now the curves. A single run could be lucky, both in the drawings it was given and in those it was tested on. So each
# draw cuts all drawings anew, takes 5, 10 or 20 of each kind from the training part (and, last, all of it), fits the
# three methods on the same drawings and tests them on the same ones: all that were neither given nor used to choose
# $C$. Nothing is chosen from these figures. (The recipe of the network from scratch is kept. It was chosen on drawings
# that other draws test on; if that helps anyone, it helps the baseline.)


# %%
def probe_score(train, validation, test, seed):
    return accuracy_of(fit_probe(train, validation), test)


def scratch_score(train, validation, test, seed):
    return cnn_accuracy(train_from_scratch(networks[best], train, choice["rate"][best], seed), test)


methods = {
    "transfer": (vectors["ImageNet"], probe_score),
    "random weights": (vectors["random weights"], probe_score),
    "scratch": (joined(small).x, scratch_score),  # the same drawings in the same order
}


# %%
def run_draw(seed, size):
    """Yield the balanced accuracy of each method on one draw of `size` drawings of each kind."""
    fit_part, choose_part, _ = stratified_split(y, seed=seed)
    given = few_shot(Samples(fit_part, y[fit_part]), size, seed).x if size else fit_part
    unseen = np.setdiff1d(np.arange(len(y)), [*given, *choose_part])
    for name, (x, score) in methods.items():
        parts = (Samples(x[part], y[part]) for part in (given, choose_part, unseen))
        yield size or "all", round(len(given) / len(class_names)), name, score(*parts, seed)


# %%
draws = [100 * SEED + 1 + draw for draw in range(SETTINGS["draws"])]
rows = [row for seed in draws for size in SETTINGS["sizes"] for row in run_draw(seed, size)]
curves = pd.DataFrame(rows, columns=["size", "drawings per kind", "method", "balanced accuracy"])

# %% tags=["readme-image"]
from course_utils.evaluation import plot_learning_curves

ax = plot_learning_curves(curves, x="drawings per kind", y="balanced accuracy", hue="method")
ax.axhline(1 / 8, color="0.4", linestyle=":")
ax.text(5, 1 / 8 + 0.01, "guessing")
ax.set_ylim(0, 0.85)
ticks = curves["drawings per kind"].unique()
ax.set_xticks(ticks, [*ticks[:-1], f"all: {ticks[-1]}\non average"])
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
means = curves.pivot_table(index="size", columns="method", values="balanced accuracy", sort=False)
means.round(3)

# %% tags=["nbval-check-output"]
for size, mean in means.iterrows():
    expect(f"frozen_{size}", mean["transfer"], contrast=mean["random weights"])
    expect(f"scratch_{size}", mean["scratch"], contrast=1 / 8)
gain = means["transfer"] - means["scratch"]
expect("gain_10", gain[10] if 10 in gain else gain.iloc[0])
expect("gain_over_sizes", gain.mean(), contrast=0)

# %% [markdown]
# **Yes, it can.** With ten drawings of each kind, a network that only ever saw photographs sorts the unseen drawings with
# a balanced accuracy of {{frozen_10.mean:.2f}}; guessing gives .125. The network from scratch reaches
# {{scratch_10.mean:.2f}} on the same drawings. The gain is {{gain_10.mean:.2f}}, with a standard deviation of
# {{gain_10.std:.2f}} over repetitions of this whole experiment.
#
# Read the curves in the other direction, too. From {{frozen_5.mean:.2f}} with five drawings, transfer climbs to
# {{frozen_all.mean:.2f}} with all; scratch climbs from {{scratch_5.mean:.2f}} to {{scratch_all.mean:.2f}}. Over the
# four sizes the gain is {{gain_over_sizes.mean:.2f}} on average. The baseline is short of data, and of more than that:
# it sees smaller pictures, trains briefly, and does not choose anything on further drawings in each draw, as transfer
# does with its $C$. The gap is that of two practical recipes, not of the pretraining alone.
#
# Two honest remarks. With all drawings the random backbone stays at {{frozen_all.contrast:.2f}}, far behind the small
# network that *learns* its features. And look back at the table of recipes: the baseline got the one that served it best
# on validation in so short a training, and on all drawings `lesson` gives it five epochs. More of them would bring its
# last point nearer: `full` gives it twenty, and larger pictures to both, and makes the choice anew.

# %% [markdown]
# ## 7. One model, from pixels to kinds
#
# The head lives on cached features; a user has pictures. The final model puts everything into one functional graph:
# resizing, preprocessing (inside the backbone), backbone, head. Whoever loads the file cannot forget a step or
# use another one. The input has no fixed height and width, so pictures of any size are taken.

# %%
inputs = keras.Input((None, None, 3), name="pixels")
resized = layers.Resizing(SIZE, SIZE, name="resize")(inputs)
model = keras.Model(inputs, head(backbone(resized)), name="sorts_drawings")
model.summary()

# %% tags=["nbval-check-output"]
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "sorts_drawings.keras")
    reloaded = keras.saving.load_model(Path(folder) / "sorts_drawings.keras")
larger = photos[:4].astype("float32")
assert np.allclose(model(larger).numpy(), reloaded(larger).numpy(), atol=1e-5)
print("saved and reloaded: the same probabilities, also for pictures of another size")

# %% [markdown]
# The head was trained on cached vectors. Does the whole model give the same answers from raw pixels?

# %% tags=["nbval-check-output"]
from_pixels = reloaded.predict(drawings.validation.x, BATCH, verbose=0)
assert np.allclose(from_pixels, head_probabilities, atol=1e-3)
print("from raw pixels as from cached features: the same probabilities")

# %% [markdown]
# ### The test part, once
#
# All choices are made: backbone, size, head, number of epochs. In this notebook none of them looked at the test
# part. One thing no split can undo: what a notebook *offers* to choose from (unit length, the grid of $C$, a small CNN
# with max pooling) was settled beforehand by trials on other cuts of these same drawings. All methods profit from
# that, and all figures are a little too good for it. Only new drawings would be free of it. Now, once, the test part.

# %%
from course_utils.evaluation import evaluate

test_probabilities = reloaded.predict(drawings.test.x, BATCH, verbose=0)
result = evaluate(drawings.test.y, test_probabilities, class_names)
result

# %% tags=["nbval-check-output"]
expect("test_balanced_accuracy", result.metrics["balanced_accuracy"], contrast=1 / 8)

# %% [markdown]
# The balanced accuracy on the test part, {{test_balanced_accuracy.mean:.2f}} on average over repetitions with other
# splits, fits what the curves promised for all drawings. One split alone is not that precise: a rare kind has seven or
# eight test drawings, so one drawing more or less moves its recall by more than .1. The standard deviation between
# splits is {{test_balanced_accuracy.std:.2f}}.
#
# Figures say how often; pictures say what. We look at the mistakes that the model was most sure of.

# %%
predicted = test_probabilities.argmax(axis=1)
wrong = np.flatnonzero(predicted != drawings.test.y)
surest = wrong[np.argsort(-test_probabilities[wrong].max(axis=1))][:12]
titles = [f"{class_names[drawings.test.y[i]]}\nnot {class_names[predicted[i]]}" for i in surest]
plot_images(drawings.test.x[surest], titles, columns=6)
plt.show()

# %% [markdown]
# Each title gives the true kind first. Many of these mistakes make sense, if you look at the drawing and forget its
# meaning: something round and yellow is called a face, something red or orange is called food. A person knows that a
# drum is music. The network has seen neither the word nor the sound; it goes by shape and colour.
#
# ## 8. Another backbone, by name
#
# `BACKBONE` at the top is a parameter. With an internet connection the same cells run with any name of
# `keras.applications`, such as VGG16 (Simonyan & Zisserman 2015), ResNet50 (He et al. 2016) or InceptionV3 (Szegedy
# et al. 2016). Each brings its own preprocessing as its first layer. Here we build three of them without weights, which
# needs no download, to see what would change.

# %%
names = ["EfficientNetLite0", "VGG16", "ResNet50", "InceptionV3"]
built = {name: load_backbone(name, weights=None) for name in names[: SETTINGS["others"]]}
facts = [
    (f"{model.input_shape[1]} px", model.output_shape[-1], f"{model.count_params() / 1e6:.1f} M")
    for model in built.values()
]
pd.DataFrame(facts, index=list(built), columns=["trained at", "features", "parameters"])

# %% [markdown]
# From a terminal: `course run 02 -p BACKBONE ResNet50`. The figures quoted in the text hold for EfficientNet-Lite0;
# with another name the cells print other ones. A better ImageNet classifier is usually, though not always, a better
# source of features (Kornblith, Shlens & Le 2019). Notebook 05 compares many, also by time.
#
# ## Exercises
#
# ### Exercise 1: the mean of each kind
#
# The simplest head has no training at all. Take the features of the drawings in `ten_train` (ten of each kind),
# bring them to length one, and compute the mean of each kind. Assign each validation drawing to the kind whose mean has
# the largest dot product with it. Put your predictions into `assigned`. How far is it behind the logistic
# regression?
#
# *Hint:* `Normalizer().fit_transform(...)`, and `np.stack([... for k in range(8)])`.

# %% tags=["exercise"]
ten_train = few_shot(train["ImageNet"], per_class=10, seed=SEED)
assigned = None  # your predictions for validation["ImageNet"].x, shape (n,)

# %% tags=["solution"]
directions = Normalizer().fit_transform(ten_train.x)
kind_means = np.stack([directions[ten_train.y == k].mean(axis=0) for k in range(len(class_names))])
assigned = (Normalizer().fit_transform(validation["ImageNet"].x) @ kind_means.T).argmax(axis=1)

# %% tags=["solution"]
by_means = balanced_accuracy_score(validation["ImageNet"].y, assigned)
by_probe = accuracy_of(fit_probe(ten_train, validation["ImageNet"]), validation["ImageNet"])
print(f"kind means {by_means:.2f}, logistic regression {by_probe:.2f}")

# %% tags=["solution", "nbval-check-output"]
assert by_means > by_probe - 0.15, "kind means should come close to the logistic regression"
expect("kind_means", by_means, contrast=1 / 8)

# %% [markdown] tags=["solution"]
# The means reach {{kind_means.mean:.2f}}. That is less than .15 behind the logistic regression, or the check would have
# stopped, though nothing was fitted. With few drawings a head can be very simple when the features are good. This idea,
# with features trained for it, is a prototypical network (Snell et al. 2017).

# %% [markdown]
# ### Exercise 2: fold by hand
#
# Below are a convolution and a BatchNormalization as they stand in the stem of the backbone, with statistics as after
# training. Compute the kernel and bias of the one convolution that replaces both, with the formula of section 4,
# and put them into `kernel` and `bias`.
#
# *Hint:* the last axis of a convolution's kernel counts its filters, so a vector of one number per filter multiplies
# it by broadcasting. `norm.get_weights()` gives $\gamma$, $\beta$, mean and variance; `norm.epsilon` is the $\epsilon$.

# %% tags=["exercise"]
random = np.random.default_rng(SEED)
convolution = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)
norm = layers.BatchNormalization(epsilon=1e-3)
pixels = random.normal(size=(2, 96, 96, 3)).astype("float32")
norm(convolution(pixels))
scales, variances = random.uniform(0.5, 2, 32), random.uniform(1e-3, 1, 32)
norm.set_weights([scales, *random.normal(size=(2, 32)), variances])
kernel, bias = None, None  # your solution

# %% tags=["solution", "nbval-check-output"]
gamma, beta, mean, variance = norm.get_weights()
scale = gamma / np.sqrt(variance + norm.epsilon)
kernel = convolution.get_weights()[0] * scale
bias = beta - mean * scale

one = np.asarray(keras.ops.conv(pixels, kernel, strides=2, padding="same")) + bias
both = np.asarray(norm(convolution(pixels), training=False))
assert np.abs(one - both).max() < 1e-4, "one convolution should do the work of both layers"
print("largest difference below 1e-4")

# %% [markdown] tags=["solution"]
# The convolution has no bias of its own, so $b = 0$ in the formula. Forgetting $\epsilon$, or dividing by the variance
# instead of its square root, fails the assertion at once.

# %% [markdown]
# ### Exercise 3: a split that lies
#
# A colleague reports the accuracy of a nearest-neighbour classifier on drawings. To have more data she first added a
# mirrored copy of every drawing, and then split at random. Measure what she would report (`leaky`), and
# what she should report (`honest`): split first, mirror only the training part.
# Use the features of the frozen backbone.
#
# *Hint:* `x[:, :, ::-1]` mirrors; `sklearn.neighbors.KNeighborsClassifier(1)`. Why features, and not pixels? Pixel by
# pixel, a drawing and its mirror image are far apart.

# %% tags=["exercise"]
originals = train["ImageNet"].x
mirrored = extract_features(backbone, drawings.train.x[:, :, ::-1], BATCH)
leaky = honest = None


# %% tags=["solution"]
from sklearn.neighbors import KNeighborsClassifier


def one_neighbour(x_fit, y_fit, x_check, y_check):
    model = make_pipeline(Normalizer(), KNeighborsClassifier(1)).fit(x_fit, y_fit)
    return balanced_accuracy_score(y_check, model.predict(x_check))


both, both_labels = np.concatenate([originals, mirrored]), np.concatenate([y_train, y_train])
x_fit, x_check, y_fit, y_check = train_test_split(
    both, both_labels, test_size=0.3, stratify=both_labels, random_state=SEED
)
leaky = one_neighbour(x_fit, y_fit, x_check, y_check)

# %% tags=["solution"]
kept, held_out = train_test_split(
    np.arange(len(y_train)), test_size=0.3, stratify=y_train, random_state=SEED
)
fit_on = np.concatenate([originals[kept], mirrored[kept]])
honest = one_neighbour(fit_on, np.tile(y_train[kept], 2), originals[held_out], y_train[held_out])
print(f"leaky {leaky:.2f}, honest {honest:.2f}")

# %% tags=["solution", "nbval-check-output"]
assert leaky > honest + 0.1, "copies on both sides of the split should flatter the figure"
expect("split_after_copying", leaky, contrast=honest)

# %% [markdown] tags=["solution"]
# The leaky split reports {{split_after_copying.mean:.2f}}, the honest one {{split_after_copying.contrast:.2f}}. In
# most cases the mirrored twin of a test drawing lies in the training part. Split first; copy, augment, normalise
# and choose afterwards. With real data the twins are harder to see: two photos of one patient, two sentences of one review.
