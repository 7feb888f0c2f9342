# ---
# jupyter:
#   course:
#     title: Feature extraction, measured
#     question: How much do photographs teach about pictograms, against the strongest simple rivals?
#     shows: "With ten pictograms of each class, frozen features reach a balanced accuracy of {{transfer_10.mean:.2f}} ± {{transfer_10.half_width:.2f}}, a CNN trained from scratch at the same resolution {{scratch_10.mean:.2f}} ± {{scratch_10.half_width:.2f}}, nearest neighbours on pixels {{neighbour_10.mean:.2f}} ± {{neighbour_10.half_width:.2f}}. Raw pixels instead of the network's own preprocessing cost top-1 {{own_preprocessing.mean:.2f}} → {{own_preprocessing.contrast:.2f}}."
#     results:
#       transfer_10: "balanced accuracy on test of frozen features, ten images of each class"
#       gain_10: "paired gain over a CNN from scratch, ten images of each class (0)"
#       gain_all: "paired gain over a CNN from scratch, all training images (0)"
#       own_preprocessing: "top-1 on photographs with the network's own preprocessing (raw pixels)"
#       cached_speedup: "training a head on cached features, times less processor time (1)"
#     goals:
#       - check each figure that the lesson quotes, and change what it depends on;
#       - see four mistakes measured, and three that cost nothing that can be seen.
#     prerequisites:
#       - lesson 02.
#     references: [donahue2014, razavian2014, yosinski2014, alain2017, kornblith2019, tan2019, liu2020, russakovsky2015, simonyan2015, he2016, szegedy2016, ioffe2015, jacob2018, cawley2010, nadeau2003, snell2017, openmoji]
# ---

# %% tags=["parameters"]
PROFILE = "default"  # smoke, default or full
SEED = 0
BACKBONE = "EfficientNetLite0"  # with internet also "ResNet50" and others
SIZE = 96  # height and width of the images in pixels, for all methods
SIZES = [5, 10, 20, 0]  # training images per class; 0 stands for all
EPOCHS = 10  # of a head on frozen features
UPDATES = 400  # of the network from scratch, with ten images a class
WIDTH = 16  # filters of its first layer

# %%
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from course_utils.data import Samples, few_shot, load_openmoji
from course_utils.models import extract_features, fold_batch_norm
from course_utils.zoo import load_backbone

tf.get_logger().setLevel("ERROR")  # it takes many small models for a mistake

# %% [markdown]
# ## 1. The data: three parts, stratified
#
# [OpenMoji](https://openmoji.org) pictograms of eight classes. The split is stratified: each part holds each class in the same proportion.
# Training images fit weights. Validation images serve all choices, and all sections up to the last. Test images are read once, in section 7,
# because a figure that helped to make a choice is too good afterwards (Cawley & Talbot 2010).
#
# Classes are not equally frequent, so every figure is the **balanced accuracy**: the mean over the classes of the share recognised. The chance level is 1/8 = 0.125.

# %%
data = load_openmoji(size=SIZE, seed=SEED)
class_names = data.class_names
data

# %%
shown = few_shot(data.train, per_class=5, seed=SEED)
figure, axes = plt.subplots(5, 8, figsize=(11, 6.4))
figure.set_label("Five training images of each of the eight classes.")
for column, k in zip(axes.T, range(8)):
    column[0].set_title(class_names[k], fontsize=11, loc="center")
    for ax, image in zip(column, shown.x[shown.y == k]):
        ax.imshow(image)
        ax.axis("off")
plt.show()

# %% [markdown]
# *Pictograms here and below: [OpenMoji](https://openmoji.org), [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/).*
#
# ### Mistake: the tail of sorted data as validation
#
# `fit(validation_split=0.2)` takes the *last* fifth of its arrays, before any shuffling. The 5,000 MNIST digits of the course are sorted by class, as
# many files are. The same softmax regression, once with the tail and once with a stratified fifth:

# %%
from sklearn.model_selection import train_test_split

from course_utils.data import load_mnist

mnist = load_mnist(seed=SEED)
digits = (
    np.concatenate([mnist.train.x, mnist.validation.x, mnist.test.x]).reshape(5000, 784)
    / 255
)
digit_labels = np.concatenate([mnist.train.y, mnist.validation.y, mnist.test.y])
order = np.argsort(digit_labels, kind="stable")  # as in the published file
digits, digit_labels = digits[order].astype("float32"), digit_labels[order]


def regression_accuracy(x, y, **validation):
    """Train a softmax regression and return its last accuracy on validation data."""
    model = keras.Sequential(
        [keras.Input((784,)), layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.fit(x, y, epochs=5, batch_size=64, verbose=0, **validation).history[
        "val_accuracy"
    ][-1]


# %%
x_fit, x_check, y_fit, y_check = train_test_split(
    digits, digit_labels, test_size=0.2, stratify=digit_labels, random_state=SEED
)
tail_accuracy = regression_accuracy(digits, digit_labels, validation_split=0.2)
stratified_accuracy = regression_accuracy(
    x_fit, y_fit, validation_data=(x_check, y_check)
)
print(f"last fifth {tail_accuracy:.3f}, stratified {stratified_accuracy:.3f}")

# %% [markdown]
# The tail holds eights and nines only, which the model has never seen. Nothing warned. With data that are only *partly* sorted, by date or by
# hospital, the figure is not absurd but wrong.
#
# ### Labels: numbers or one-hot rows
#
# With one-hot $y$ and probabilities $p$, the cross-entropy $-\sum_k y_k \log p_k$ is $-\log p_{\text{true class}}$: the same loss as with class numbers, as long as the name
# of the loss fits the labels. One-hot rows are needed once a target is spread over classes, as with label smoothing.

# %% tags=["nbval-check-output"]
one_hot = keras.utils.to_categorical(data.train.y, num_classes=8)
guess = np.random.default_rng(SEED).dirichlet(np.ones(8), size=len(one_hot))
sparse_loss = np.asarray(
    keras.losses.sparse_categorical_crossentropy(data.train.y, guess)
)
assert np.allclose(
    sparse_loss,
    np.asarray(keras.losses.categorical_crossentropy(one_hot, guess)),
    atol=1e-6,
)
print("sparse and one-hot labels give the same loss")

# %% [markdown]
# ## 2. Preprocessing
#
# The pretrained network with its head of 1,000 classes, on 20 labelled photographs. Its preprocessing is its first layer; cut off, it can be replaced.
#
# | style | what it does | used by, for example |
# |---|---|---|
# | tf | $x / 127.5 - 1$ | InceptionV3, MobileNetV2 |
# | torch | $(x / 255 - \text{mean}) / \text{standard deviation}$ per channel | DenseNet |
# | caffe | blue, green, red; minus the mean of ImageNet | VGG16, ResNet50 |
# | own | $(x - 127) / 128$ | EfficientNet-Lite |

# %%
from course_utils.data import load_imagenet_photos


def without_preprocessing(model):
    """Split a model in two: its preprocessing, and all that comes after it."""
    after = model.get_layer("preprocessing").output
    return keras.Model(model.input, after), keras.Model(after, model.output)


classifier = load_backbone(BACKBONE, include_top=True)
photos, photo_labels = load_imagenet_photos(size=classifier.input_shape[1])
own, rest = without_preprocessing(classifier)
pixels, prepare = (
    photos.astype("float32"),
    keras.applications.imagenet_utils.preprocess_input,
)
ways = {
    "own": own(pixels),
    "tf style": prepare(pixels.copy(), mode="tf"),
    "torch style": prepare(pixels.copy(), mode="torch"),
    "1/255 only": pixels / 255,
    "caffe style": prepare(pixels.copy(), mode="caffe"),
    "raw pixels": pixels,
    "1/255, then own": own(pixels / 255),
}

# %%
guessed = {way: rest.predict(x, verbose=0).argmax(axis=1) for way, x in ways.items()}
top1 = {way: np.mean(named == photo_labels) for way, named in guessed.items()}
pd.DataFrame({"top-1 on 20 photographs": top1}).round(2)

# %% [markdown]
# One photograph is 0.05, so rows that differ by one or two do not differ. Raw pixels, and a division too many, leave next to nothing. Caffe style loses more than half. Three styles change nothing
# that 20 photographs can show: a **null result**. Their numbers have the size that the weights know. Another backbone has another table.
#
# Which photographs does the network miss with its own preprocessing?

# %%
import keras_hub

wrong = np.flatnonzero(guessed["own"] != photo_labels)
probabilities = np.asarray(rest(own(pixels[wrong])))
names = [
    top[0] for top in keras_hub.utils.decode_imagenet_predictions(probabilities, top=1)
]
truths = [
    top[0]
    for top in keras_hub.utils.decode_imagenet_predictions(
        np.eye(1000)[photo_labels[wrong]], top=1
    )
]
figure, axes = plt.subplots(1, max(len(wrong), 2), figsize=(11, 3.4))
figure.set_label(
    "Photographs that the network names wrongly, with true and predicted class."
)
for ax in axes:
    ax.axis("off")
for ax, i, (name, share), (truth, _) in zip(axes, wrong, names, truths):
    ax.imshow(photos[i])
    ax.set_title(f"{truth}\nnot {name} ({share:.2f})".replace("_", " "), fontsize=11)
plt.show()

# %% [markdown]
# ### A new head hides the mistake
#
# Now pictograms, and a *new* head, fitted on the features of wrongly prepared images. The head is a logistic regression on vectors of length one, the
# **linear probe** of Alain & Bengio (2017); its strength $C$ is chosen on validation, so all figures here are a little too good, and alike.

# %%
from sklearn.linear_model import LogisticRegression

backbone = load_backbone(BACKBONE, input_size=SIZE)
backbone.trainable = False
own_small, after = without_preprocessing(backbone)
run = fold_batch_norm(after)


def logistic_regression(C):
    return make_pipeline(
        Normalizer(), LogisticRegression(C=C, max_iter=1000, class_weight="balanced")
    )


def accuracy_of(probe, samples):
    return balanced_accuracy_score(samples.y, probe.predict(samples.x))


def fit_probe(train, validation):
    """Return the best on validation of logistic regressions of several strengths."""
    probes = [logistic_regression(C).fit(*train) for C in (0.1, 1, 10, 100)]
    return max(probes, key=lambda probe: accuracy_of(probe, validation))


# %%
random_backbone = load_backbone(BACKBONE, input_size=SIZE, weights=None)
stride = max(1, SIZE // 32)


def represent(images):
    """Return three representations of images; section 3 needs all of them."""
    return {
        "pixels": images[:, ::stride, ::stride].reshape(len(images), -1) / 255,
        "random weights": extract_features(random_backbone, images),
        "ImageNet": extract_features(backbone, images),
    }


def samples_of(part, vectors):
    return {name: Samples(x, part.y) for name, x in vectors.items()}


train = samples_of(data.train, represent(data.train.x))
validation = samples_of(data.validation, represent(data.validation.x))

# %%
new_head = {
    "own": accuracy_of(
        fit_probe(train["ImageNet"], validation["ImageNet"]), validation["ImageNet"]
    )
}
for way, prepared in {
    "raw pixels": lambda x: x,
    "1/255, then own": lambda x: own_small(x / 255),
}.items():
    parts = [
        Samples(run.predict(prepared(part.x.astype("float32")), verbose=0), part.y)
        for part in (data.train, data.validation)
    ]
    new_head[way] = accuracy_of(fit_probe(*parts), parts[1])
pd.DataFrame(
    {"new head, pictograms": new_head, "old head, photographs": top1}
).dropna().round(3)

# %% [markdown]
# Over five runs: own {{new_head_own.mean:.2f}} ± {{new_head_own.half_width:.2f}}, raw pixels {{new_head_raw.mean:.2f}} ± {{new_head_raw.half_width:.2f}},
# a division too many {{new_head_dark.mean:.2f}} ± {{new_head_dark.half_width:.2f}}. The new head adapts to what it is given. A decent
# accuracy does not prove that the preprocessing is right.
#
# ## 3. What do the features know?
#
# Three representations of the same images: pixels made small, features of the network with random weights, features with ImageNet weights. For each validation
# image: is the nearest *training* image, by angle, of the same class? And how well does a linear probe read the class?

# %%
from sklearn.neighbors import KNeighborsClassifier

neighbour = make_pipeline(Normalizer(), KNeighborsClassifier(1))
same_class = {
    name: accuracy_of(neighbour.fit(*train[name]), validation[name]) for name in train
}
probed = {
    name: accuracy_of(fit_probe(train[name], validation[name]), validation[name])
    for name in train
}
pd.DataFrame({"nearest neighbour": same_class, "linear probe": probed}).round(3)

# %% [markdown]
# Over five runs the linear probe reads the class from ImageNet features with {{probe.mean:.2f}} ± {{probe.half_width:.2f}}, from features of random weights with
# {{probe_random.mean:.2f}} ± {{probe_random.half_width:.2f}}. So the *weights*, learned on photographs, carry over to drawings (Yosinski et al. 2014), not the shape of the network. Nearest
# neighbours on random features find the class less often ({{neighbour_random.mean:.2f}}) than those on pixels ({{neighbour_pixels.mean:.2f}}).
#
# ## 4. Compute once
#
# ### Folding BatchNorm into the convolutions
#
# After training, BatchNormalization (Ioffe & Szegedy 2015) is a fixed affine map of each channel. Behind a convolution $w * x + b$ it gives
#
# $$\gamma \, \frac{(w * x + b) - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
# \;=\; \underbrace{\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\, w}_{w'} * x \;+\;
# \underbrace{\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\,(b - \mu) + \beta}_{b'},$$
#
# a convolution again, with other weights (Jacob et al. 2018). `extract_features` folds a network before it runs it.

# %% tags=["nbval-check-output"]
sample = own_small(data.train.x[:64].astype("float32"))
assert (
    np.abs(
        np.asarray(run(sample, training=False))
        - np.asarray(after(sample, training=False))
    ).max()
    < 1e-3
)
for name, model in {"as trained": after, "folded": run}.items():
    norms = [one for one in model.layers if isinstance(one, layers.BatchNormalization)]
    print(f"{name}: {len(norms)} BatchNormalization layers")

# %% [markdown]
# ### The backbone in every epoch, or once
#
# Backbone and head in one model, trained with `fit`, run the frozen backbone on every image in every epoch. One epoch of that way is timed and multiplied by `EPOCHS`; the
# cached way is one pass and `EPOCHS` epochs of the head, all timed. Both models are fitted for a moment first, so that the building of graphs is not measured.


# %%
def new_head_of(width):
    model = keras.Sequential(
        [keras.Input((width,)), layers.Dense(8, activation="softmax")]
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def cpu_seconds(work):
    """Return the processor time of all threads: other programs do not lengthen it."""
    start = time.process_time()
    work()
    return time.process_time() - start


# %%
width = backbone.output_shape[-1]
whole = (
    len(data.train.y) // 32 * 32
)  # full batches only: a last, smaller one would need a graph of its own
x, y, vectors = data.train.x[:whole], data.train.y[:whole], train["ImageNet"].x[:whole]
naive, head = (
    keras.Sequential([backbone, layers.Dense(8, activation="softmax")]),
    new_head_of(width),
)
naive.compile(
    keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
)
naive.fit(x[:32], y[:32], verbose=0)
head.fit(vectors[:32], y[:32], verbose=0)
backbone.predict(x[:32], verbose=0);

# %%
in_every_epoch = EPOCHS * cpu_seconds(lambda: naive.fit(x, y, verbose=0))
one_pass = cpu_seconds(lambda: backbone.predict(x, verbose=0))
head_alone = cpu_seconds(lambda: head.fit(vectors, y, epochs=EPOCHS, verbose=0))
cached_speedup = in_every_epoch / (one_pass + head_alone)
print(f"{EPOCHS} epochs, backbone in every epoch: {in_every_epoch:.1f} s")
print(f"one pass {one_pass:.1f} s + head {head_alone:.1f} s: {cached_speedup:.1f} times")

# %% [markdown]
# Over five runs the cached way took {{cached_speedup.mean:.1f}} ± {{cached_speedup.half_width:.1f}} times less processor time. The ratio grows with the number of epochs and with each further head.
#
# ## 5. The head: pooled or flattened
#
# Before its last step the backbone holds a small map: for each place in the image a vector. *Global average pooling* takes the mean over the places. Older tutorials use `Flatten` and keep
# the places. Here both heads are **trained**, with the same optimiser, epochs and seed, and compared as pairs.

# %%
map_backbone = keras.Model(backbone.input, backbone.get_layer("pool").input)
flat = {
    name: map_backbone.predict(part.x, verbose=0).reshape(len(part.y), -1)
    for name, part in {"train": data.train, "validation": data.validation}.items()
}


def head_accuracy(x_train, x_validation, seed):
    """Train a head; return its balanced accuracy on validation and its weights."""
    keras.utils.set_random_seed(seed)
    head = new_head_of(x_train.shape[1])
    weights = dict(
        enumerate(len(data.train.y) / (8 * np.bincount(data.train.y)))
    )  # rare classes count as much
    head.fit(x_train, data.train.y, epochs=EPOCHS, class_weight=weights, verbose=0)
    named = head.predict(x_validation, verbose=0).argmax(axis=1)
    return balanced_accuracy_score(data.validation.y, named), head.count_params()


# %%
pooled, pooled_weights = head_accuracy(
    train["ImageNet"].x, validation["ImageNet"].x, SEED
)
flattened, flat_weights = head_accuracy(flat["train"], flat["validation"], SEED)
facts = {
    "balanced accuracy": [pooled, flattened],
    "weights": [pooled_weights, flat_weights],
}
pd.DataFrame(facts, index=["pooled", "flattened"]).round(3)

# %% [markdown]
# Over five runs, each with another split, flattened minus pooled is {{flatten_loss.mean:+.3f}} ± {{flatten_loss.half_width:.3f}}: no difference that we can see, for {{flatten_weights.mean:.0f}} times the
# weights. On VGG16 at 224 pixels, with a hidden layer of 256, it is 6.4 million weights against 0.13 million.
#
# ## 6. Augmentation and the cache
#
# Ten images of each class. A head sees `EPOCHS` epochs of features: of the images as they are (none); of a fresh augmented copy in each epoch (fresh); of *one* augmented copy in all
# epochs, which is what `cache` behind the augmentation gives (late cache). Everything else is the same.

# %%
paper = {
    "fill_mode": "constant",
    "fill_value": 255.0,
}  # the paper around a drawing is white
moves = [
    layers.RandomTranslation(0.1, 0.1, **paper),
    layers.RandomRotation(0.05, **paper),
    layers.RandomZoom(0.2, **paper),
]
augment = keras.Sequential([layers.RandomFlip("horizontal"), *moves])

ten = few_shot(data.train, min(10, np.bincount(data.train.y).min()), seed=SEED)
copies = [
    np.asarray(augment(ten.x.astype("float32"), training=True)).clip(0, 255)
    for _ in range(EPOCHS)
]
fresh = [run.predict(np.asarray(own_small(copy)), verbose=0) for copy in copies]
plain = extract_features(backbone, ten.x)
epochs_of = {"none": [plain] * EPOCHS, "fresh": fresh, "late cache": fresh[:1] * EPOCHS}

# %%
augmented = {}
for name, epochs in epochs_of.items():
    keras.utils.set_random_seed(SEED)
    head = new_head_of(width)
    labels = np.tile(ten.y, EPOCHS)
    history = head.fit(
        np.concatenate(epochs), labels, batch_size=16, shuffle=False, verbose=0
    )
    named = head.predict(validation["ImageNet"].x, verbose=0).argmax(axis=1)
    augmented[name] = balanced_accuracy_score(data.validation.y, named)
pd.DataFrame({"balanced accuracy, validation": augmented}).round(3)

# %% [markdown]
# Over five runs: none {{augmented_none.mean:.2f}} ± {{augmented_none.half_width:.2f}}, fresh {{augmented_fresh.mean:.2f}} ± {{augmented_fresh.half_width:.2f}}, late cache
# {{augmented_frozen.mean:.2f}} ± {{augmented_frozen.half_width:.2f}}. Paired, fresh copies differ from none by {{augmentation_gain.mean:+.3f}} ± {{augmentation_gain.half_width:.3f}}, and the late cache from
# fresh copies by {{late_cache_loss.mean:+.3f}} ± {{late_cache_loss.half_width:.3f}}. Both intervals contain zero: with a frozen backbone and this head, neither the gain of augmentation nor the loss by the
# late cache shows in five runs. A **null result**; what the late cache does to the *images* is certain, and the lesson shows it.
#
# ## 7. How many labels are enough?
#
# Four methods, each at several numbers of training images, all on the same images of the same size.
#
# - **transfer**: frozen ImageNet features, logistic regression;
# - **random**: the same with random weights, the control;
# - **scratch**: a convolutional network trained on these images alone;
# - **neighbour**: the nearest training image by pixels.
#
# The rival from scratch is made for little data: four blocks with BatchNorm and max pooling, dropout, AdamW, a rate that falls along a cosine, class weights, augmentation.
#
# Its recipe (width, rate, augmentation) and its budget (80 epochs with five or ten images a class, 40 with more) were settled beforehand on the validation images of two splits. It sees the same images as the
# head on the backbone, in the same 96 pixels: 40, 80, 160 or all 344 of them. Validation images choose $C$ for the probes, and the best of eight moments for the network from scratch.

# %%
def small_cnn():
    x = inputs = keras.Input((SIZE, SIZE, 3))
    for move in (layers.RandomFlip("horizontal"), *moves):
        x = move(x)
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    for block, filters in enumerate((WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH)):
        strides = 1 if block else 2
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(8, activation="softmax")(x))


# %%
def train_from_scratch(samples, seed):
    """Return the network at the best of eight moments by validation accuracy."""
    keras.utils.set_random_seed(seed)
    model = small_cnn()
    epochs = 80 if len(samples.y) < 100 else 40
    updates = max(8, UPDATES * epochs * len(samples.y) // (80 * 80))
    rate = keras.optimizers.schedules.CosineDecay(3e-3, updates)
    adam = keras.optimizers.AdamW(rate, weight_decay=1e-3)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    stream = tf.data.Dataset.from_tensor_slices(tuple(samples))
    stream = stream.shuffle(len(samples.y), seed=seed).repeat().batch(16)
    best = keras.callbacks.EarlyStopping(
        "val_accuracy", patience=8, restore_best_weights=True
    )
    weights = dict(enumerate(len(samples.y) / (8 * np.bincount(samples.y))))
    model.fit(
        stream, epochs=8, steps_per_epoch=updates // 8, class_weight=weights,
        validation_data=tuple(data.validation), callbacks=[best], verbose=0,
    )  # fmt: skip
    return model


# %% [markdown]
# ### The test images, once
#
# Up to here no test image was read. One thing no split can undo: what this notebook *offers* to choose from was settled by trials on splits of the same pictograms. All methods profit from
# that. Only new pictograms would be free of it.

# %%
test = samples_of(data.test, represent(data.test.x))
indices = Samples(np.arange(len(data.train.y)), data.train.y)
predicted = {}
for size in SIZES:
    given = few_shot(indices, size, SEED).x if size else indices.x
    few = {
        name: Samples(samples.x[given], samples.y[given])
        for name, samples in train.items()
    }
    label = size or "all"
    for method, name in {"transfer": "ImageNet", "random": "random weights"}.items():
        predicted[label, method] = fit_probe(few[name], validation[name]).predict(
            test[name].x
        )
    predicted[label, "neighbour"] = neighbour.fit(*few["pixels"]).predict(
        test["pixels"].x
    )
    scratch = train_from_scratch(
        Samples(data.train.x[given], data.train.y[given]), SEED
    )
    predicted[label, "scratch"] = scratch.predict(data.test.x, verbose=0).argmax(axis=1)

# %%
scores = {
    key: balanced_accuracy_score(data.test.y, named) for key, named in predicted.items()
}
curves = pd.Series(scores).unstack(sort=False)
ax = curves.plot(marker="o", figsize=(8.5, 4.4), rot=0, ylim=(0, 0.85))
ax.axhline(1 / 8, color="0.4", linestyle=":", label="chance level")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
ax.set(
    xlabel="training images per class",
    ylabel="balanced accuracy on test",
    title="One run",
)
ax.set_xticks(range(len(curves)), [str(label) for label in curves.index])
ax.figure.set_label(
    "Balanced accuracy on test over training images per class, four methods, one run. "
    "The CNN from scratch had the same images; its budget was settled on validation."
)
plt.show()

# %% [markdown]
# One test part has 115 images; a rare class has seven or eight, so one image moves its recall by more than 0.1. How certain is one run? The gain of transfer over each rival, on the *same* test
# images, with a 95% interval from resampling these images within each class:

# %%
random = np.random.default_rng(SEED)


def gain_over(rival, label):
    """Return the paired gain of transfer on test, and its 95% bootstrap interval."""
    hits = [predicted[label, name] == data.test.y for name in ("transfer", rival)]
    gains = hits[0].astype(float) - hits[1]
    of_class = [gains[data.test.y == k] for k in range(8)]
    draws = [random.choice(one, (2000, len(one))).mean(axis=1) for one in of_class]
    low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
    return scores[label, "transfer"] - scores[label, rival], low, high


# %%
figure, ax = plt.subplots(figsize=(8.5, 4.2))
figure.set_label(
    "Paired gains of transfer over three rivals with 95% bootstrap intervals, one run."
)
for shift, rival in enumerate(["scratch", "neighbour", "random"]):
    gain, low, high = np.array([gain_over(rival, label) for label in curves.index]).T
    x, interval = np.arange(len(gain)) + 0.08 * shift, [gain - low, high - gain]
    ax.errorbar(x, gain, interval, fmt="o", capsize=3, label=rival)
ax.axhline(0, color="0.4", linestyle=":")
ax.set_xticks(range(len(curves)), [str(label) for label in curves.index])
ax.set(
    xlabel="training images per class",
    ylabel="gain of transfer",
    title="Gain over each rival, pairs of one run",
)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Five runs, each with another split, draw and seed: balanced accuracy on test, mean ± half-width of the 95% interval.
#
# | images per class | transfer | scratch | neighbour | random | transfer − scratch (paired) |
# |---|---|---|---|---|---|
# | 5 | {{transfer_5.mean:.2f}} ± {{transfer_5.half_width:.2f}} | {{scratch_5.mean:.2f}} ± {{scratch_5.half_width:.2f}} | {{neighbour_5.mean:.2f}} ± {{neighbour_5.half_width:.2f}} | {{random_5.mean:.2f}} ± {{random_5.half_width:.2f}} | {{gain_5.mean:+.2f}} ± {{gain_5.half_width:.2f}} |
# | 10 | {{transfer_10.mean:.2f}} ± {{transfer_10.half_width:.2f}} | {{scratch_10.mean:.2f}} ± {{scratch_10.half_width:.2f}} | {{neighbour_10.mean:.2f}} ± {{neighbour_10.half_width:.2f}} | {{random_10.mean:.2f}} ± {{random_10.half_width:.2f}} | {{gain_10.mean:+.2f}} ± {{gain_10.half_width:.2f}} |
# | 20 | {{transfer_20.mean:.2f}} ± {{transfer_20.half_width:.2f}} | {{scratch_20.mean:.2f}} ± {{scratch_20.half_width:.2f}} | {{neighbour_20.mean:.2f}} ± {{neighbour_20.half_width:.2f}} | {{random_20.mean:.2f}} ± {{random_20.half_width:.2f}} | {{gain_20.mean:+.2f}} ± {{gain_20.half_width:.2f}} |
# | all | {{transfer_all.mean:.2f}} ± {{transfer_all.half_width:.2f}} | {{scratch_all.mean:.2f}} ± {{scratch_all.half_width:.2f}} | {{neighbour_all.mean:.2f}} ± {{neighbour_all.half_width:.2f}} | {{random_all.mean:.2f}} ± {{random_all.half_width:.2f}} | {{gain_all.mean:+.2f}} ± {{gain_all.half_width:.2f}} |
#
# A single run does not separate transfer from scratch: with ten images a class, the paired difference scatters between runs with an SD of {{gain_10.std:.2f}}. So the notebook holds no run to a band here. The claim
# rests on the mean of the paired differences.
#
# ### Runs that share images
#
# The interval in the table takes the five runs as independent. They are not: all are splits of the same 573 pictograms. Nadeau & Bengio (2003) correct the interval of $n$ such runs:
#
# $$\bar d \;\pm\; t_{n-1,\,0.975}\; s\, \sqrt{\frac{1}{n} + \frac{n_\text{test}}{n_\text{train}}}$$
#
# Here $\bar d$ is the mean of the paired differences and $s$ their SD. The formula was made for training sets that are drawn once from the data. With ten images a class it leaves two readings of $n_\text{train}$: the images
# that a run *draws from* (344), or those that it *uses* (80). The second is the stricter one.

# %%
from course_utils.evaluation import read_bands

measured = read_bands()["experiments/02_feature_extraction"]["default"]["bands"]
pool, n_test = len(data.train.y), len(data.test.y)
rows = {}
for name, used in {"gain_10": 80, "gain_all": pool}.items():
    gain = measured[name]
    n = len(gain.seeds)
    wider = {of: np.sqrt(1 + n * n_test / of) for of in (pool, used)}  # than with 1 / n alone
    rows[name] = {
        "mean": gain.mean,
        "± independent": gain.half_width,
        "± corrected, drawn from": gain.half_width * wider[pool],
        "± corrected, used": gain.half_width * wider[used],
    }
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# With all training images, the lead of transfer stands: the corrected interval lies above zero. With ten images a class the mean lead is larger, but less certain: one reading of the formula leaves an interval
# that only just excludes zero, the stricter one an interval that contains it. Both describe other splits of these pictograms, not other pictograms.
#
# What is confused with what? The test images again, by the head on all training images; each row sums to one.

# %%
from sklearn.metrics import ConfusionMatrixDisplay

label = curves.index[-1]
figure, ax = plt.subplots(figsize=(8, 6.4))
figure.set_label("Confusion matrix on test, rows sum to one.")
ConfusionMatrixDisplay.from_predictions(
    data.test.y, predicted[label, "transfer"], labels=range(8), display_labels=class_names, ax=ax,
    normalize="true", values_format=".2f", xticks_rotation="vertical", cmap="Blues", colorbar=False,
    text_kw={"fontsize": 11},
)  # fmt: skip
ax.set_title("Share of each true class (rows sum to 1)")
plt.show()

# %% [markdown]
# ## 8. Other backbones
#
# `BACKBONE` is a parameter. With internet it takes VGG16 (Simonyan & Zisserman 2015), ResNet50 (He et al. 2016), InceptionV3 (Szegedy et al. 2016) and others: `course sweep 02 --experiments -p BACKBONE
# EfficientNetLite0,EfficientNetLite2` compares two, `course run 02 --experiments -p BACKBONE ResNet50` runs one. Figures in the text hold for EfficientNet-Lite0 (Tan & Le 2019; Liu 2020).

# %% tags=["headline"]
if BACKBONE != "EfficientNetLite0":  # the figures of another network are kept, not compared
    expect = type(expect)(expect.notebook, f"{PROFILE} with {BACKBONE}")
expect("stratified_validation", stratified_accuracy, contrast=tail_accuracy)
expect("own_preprocessing", top1["own"], contrast=top1["raw pixels"], limits=(0, 1))
for name, way in {"own": "own", "raw": "raw pixels", "dark": "1/255, then own"}.items():
    expect(f"new_head_{name}", new_head[way])
expect("neighbour_features", same_class["ImageNet"])
expect("neighbour_pixels", same_class["pixels"])
expect("neighbour_random", same_class["random weights"])
expect("probe", probed["ImageNet"])
expect("probe_random", probed["random weights"])
expect("cached_speedup", cached_speedup, contrast=1, timing=True)
expect("flatten_loss", flattened - pooled)
expect("flatten_weights", flat_weights / pooled_weights)
for name, way in {"none": "none", "fresh": "fresh", "frozen": "late cache"}.items():
    expect(f"augmented_{name}", augmented[way])
expect("augmentation_gain", augmented["fresh"] - augmented["none"])
expect("late_cache_loss", augmented["late cache"] - augmented["fresh"])
for (label, method), score in scores.items():  # one run does not separate transfer from scratch
    expect(f"{method}_{label}", score, limits=(0, 1))
for label in curves.index:
    expect(f"gain_{label}", scores[label, "transfer"] - scores[label, "scratch"])
expect.table()
