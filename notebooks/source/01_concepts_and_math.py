# ---
# jupyter:
#   course:
#     title: Concepts and mathematics
#     question: What is transferred, and when does it hurt?
#     minutes: {reading: 45, exercises: 40}
#     shows: "With one label of each class, a network that has learnt MNIST digits reads UCI digits with an accuracy of {{transfer.mean:.2f}} ± {{transfer.half_width:.2f}}; from scratch it is {{scratch.mean:.2f}} ± {{scratch.half_width:.2f}}, after inverted digits {{inverted.mean:.2f}} ± {{inverted.half_width:.2f}} (five runs)."
#     goals:
#       - carry a trained network over to another data set, and measure whether that helped;
#       - say what a domain and a task are, and what exactly is transferred;
#       - follow one forward and one backward pass by hand, and recognise a loss that is computed from the wrong thing;
#       - recognise negative transfer, and decide what to do by the number of labels and the distance of the source.
#     prerequisites:
#       - Python with NumPy;
#       - the chain rule, and the product of matrices.
#     recap:
#       - "A domain is a space of inputs and a distribution over it; a task is a space of labels and the rule from inputs to labels. Transfer uses one pair for another."
#       - "A network is y = L(M(x)): its parameters can be copied, its layers shared, its answers imitated."
#       - "Let the network end in logits, and say so: `from_logits=True`. A loss that stands still is the symptom of the mistake."
#       - "The help of a source shrinks with the number of labels. A source from another domain can harm."
#       - "Only the same network from scratch, on the same labels, tells whether transfer helped. Compare pairs, several times."
#     references: [pan2010, caruana1997, hinton2015, rumelhart1986, kingma2015, wang2019negative, alpaydin1998]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0
FOLDER = ""  # your own images, a subfolder for each class, for exercise 3; empty: pictograms
EPOCHS = 10  # over the 3,000 images of the source
STEPS = 100  # updates on the ten labelled images of the target

# %% [markdown]
# ## The whole thing first
#
# A small network learns 3,000 digits of MNIST. Then it gets *ten* images of another data set, one of each digit. The UCI digits (Alpaydin & Kaynak 1998)
# were written by other people and stored in 8 × 8 pixels. How many of them can it read?

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from course_utils.data import few_shot, load_mnist, load_uci_digits

mnist, uci = load_mnist(SEED), load_uci_digits(SEED)
shrink = keras.Sequential([keras.layers.CenterCrop(20, 20), keras.layers.Resizing(8, 8, antialias=True)])
source = shrink.predict(mnist.train.x, verbose=0)  # 28 × 28, cut and shrunk to 8 × 8
source_data = tf.data.Dataset.from_tensor_slices((source, mnist.train.y)).shuffle(3000).batch(32)
ten_images = tf.data.Dataset.from_tensors(tuple(few_shot(uci.train, 1, SEED))).repeat(STEPS)  # one batch


# %%
def build():
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Conv2D(16, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.Flatten()]
    layers += [keras.layers.Dense(64, activation="relu")]
    return keras.Sequential([keras.Sequential(layers, name="M"), keras.layers.Dense(10, name="L")])


# %%
def learn(model, data, epochs=1):
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.002), cross_entropy, metrics=["accuracy"])
    model.fit(data, epochs=epochs, verbose=0)
    return model


# %%
mnist_network = learn(build(), source_data, EPOCHS)
transferred = build()
transferred.set_weights(mnist_network.get_weights())  # the transfer
learn(transferred, ten_images)
from_scratch = learn(build(), ten_images)


# %%
def accuracy(model):
    return model.evaluate(*uci.validation, verbose=0)[1]  # 360 images


accuracies = {"from scratch": accuracy(from_scratch), "transfer": accuracy(transferred)}
said = [model.predict(uci.validation.x[:16], verbose=0).argmax(axis=1) for model in (from_scratch, transferred)]
figure, axes = plt.subplots(2, 8, figsize=(13, 5))
figure.set_label("16 UCI digits, each with its class and what the network from scratch and the transferred one say.")
for ax, image, label, scratch_says, transfer_says in zip(axes.flat, *uci.validation, *said):
    ax.imshow(image, cmap="gray")
    ax.set_title(f"class {label}\nscratch: {scratch_says}\ntransfer: {transfer_says}", fontsize=12)
    ax.axis("off")
figure.suptitle("Accuracy on 360 images: " + ", ".join(f"{name} {share:.2f}" for name, share in accuracies.items()))
plt.show()

# %% [markdown]
# Both networks saw the same ten labels, equally often. Only their first weights differ. Over five runs, each with other labels and other initial weights, transfer
# reaches {{transfer.mean:.2f}} ± {{transfer.half_width:.2f}} and scratch {{scratch.mean:.2f}} ± {{scratch.half_width:.2f}}; the gain, compared in pairs, is
# {{gain.mean:.2f}} ± {{gain.half_width:.2f}}. ("±" is half the width of the 95% confidence interval of the mean.)
#
# Accuracies on UCI digits are measured on its 360 **validation** images, if nothing else is said. The **test** images wait for the end.
#
# ## 1. Domain and task
#
# Pan & Yang (2010) gave the words that are used since.
#
# - A **domain** $D = \{\mathcal X, P(X)\}$ is a space of inputs and a distribution over it: how images look.
# - A **task** $T = \{\mathcal Y, P(Y \mid X)\}$ is a space of labels and the rule from inputs to labels: what we want to know of an image.
# - **Transfer learning** uses a source ($D_S$, $T_S$) to learn better in a target ($D_T$, $T_T$), where the domains or the tasks differ.
#
# **Predict.** Above MNIST, below UCI. Which of $\mathcal X$, $P(X)$, $\mathcal Y$ differ, once MNIST is shrunk? How well will the MNIST network read UCI digits *without a single label*?

# %%
digits = {"MNIST": (source.astype("uint8"), mnist.train.y), "UCI": uci.train}
figure, axes = plt.subplots(2, 10, figsize=(10, 2.2))
figure.set_label("The digits 0 to 9 of MNIST above and of UCI below, both in 8 by 8 pixels.")
for row, (images, labels) in zip(axes, digits.values()):
    for digit, ax in enumerate(row):
        ax.imshow(images[labels == digit][0], cmap="gray")
        ax.axis("off")
plt.show()

# %%
at_home = mnist_network.evaluate(shrink.predict(mnist.validation.x, verbose=0), mnist.validation.y, verbose=0)[1]
accuracies["MNIST network as it is"] = accuracy(mnist_network)
print(f"MNIST network, accuracy on 1,000 MNIST images {at_home:.2f}, on 360 UCI images", end=" ")
print(f"{accuracies['MNIST network as it is']:.2f}")

# %% [markdown]
# The labels are the same, 0 to 9. The input space was not, 784 pixels against 64; shrinking made it so. What is left is $P(X)$: other hands, and another way to make pixels. Five runs:
# {{at_home.mean:.2f}} ± {{at_home.half_width:.2f}} at home, {{direct.mean:.2f}} ± {{direct.half_width:.2f}} abroad.
#
# ## 2. What is transferred?
#
# Nearly all deep transfer cuts a network in two, $h = M(x)$ and $y = L(h)$. $M$, the **feature extractor** or backbone, turns an image into a vector of features. $L$, the **head**, turns features into the answer of one task. Here $M$ has two *convolutions* (small filters that slide over the image), a *max pooling* (the largest value of each 2 × 2 block) and a dense layer; $L$ is one dense layer.
# Three things can be carried over.

# %% tags=["fold"]
# Diagram: three ways to transfer
figure, axes = plt.subplots(1, 3, figsize=(13, 3.5))
figure.set_label("Parameter transfer copies weights from source to target. Structure transfer shares one M between two "
                 "heads. Knowledge transfer lets a student imitate the answers of a teacher.")  # fmt: skip
blue, orange = "#cfe3f2", "#fbdcb8"
ways_of = {
    "Parameters: copy": [
        ("source  M", 0, 1, blue),
        ("L", 1, 1, blue),
        ("target  M", 0, 0, orange),
        ("L", 1, 0, orange),
    ],
    "Structure: share": [("one M", 0, 0.5, orange), ("L source", 1, 1, orange), ("L target", 1, 0, orange)],
    "Knowledge: imitate": [("teacher  M", 0, 1, blue), ("L", 1, 1, blue), ("student", 0.5, 0, orange)],
}
flow = [((0.36, 1), (0.78, 1)), ((0.36, 0), (0.78, 0))]  # from M to L
arrows = [[((0, 0.72), (0, 0.28)), ((1, 0.72), (1, 0.28)), *flow],
          [((0.28, 0.62), (0.64, 0.93)), ((0.28, 0.38), (0.64, 0.07))],
          [((1, 0.72), (0.66, 0.22)), flow[0]]]  # fmt: skip
words = [("weights", 0.5, 0.5), ("trained on both", 0.1, 0.02), ("softened answers", 0.28, 0.5)]
for ax, (title, boxes), lines, (text, x, y) in zip(axes, ways_of.items(), arrows, words):
    for name, left, height, colour in boxes:
        box = {"boxstyle": "round,pad=0.7", "facecolor": colour, "edgecolor": "0.3"}
        ax.text(left, height, name, ha="center", va="center", fontsize=13, bbox=box)
    for start, end in lines:
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "0.2", "linewidth": 1.8})
    ax.text(x, y, text, ha="center", va="center", fontsize=12, style="italic")
    ax.set(title=title, xlim=(-0.5, 1.4), ylim=(-0.35, 1.35))
    ax.axis("off")
plt.show()

# %% [markdown]
# **Parameters.** We copied the weights of $M$ and $L$. Usually the target has other classes, and only $M$ can be copied. The head starts at random.
#
# **Predict.** Where will "only M" end: near scratch, or near the transfer of both?

# %%
only_m = build()
only_m.get_layer("M").set_weights(mnist_network.get_layer("M").get_weights())
accuracies["only M copied"] = accuracy(learn(only_m, ten_images))

# %% [markdown]
# In the middle of the two: see the table below.
#
# **Structure.** Source and target share layers and are trained at once, each with its own head: *multi-task learning* (Caruana 1997). Calling one $M$ twice makes both heads use the same weights.

# %%
M = build().get_layer("M")
images = {name: keras.Input((8, 8, 1), name=name) for name in ("mnist", "uci")}
heads = {name: keras.layers.Dense(10, name=f"L_{name}")(M(x)) for name, x in images.items()}
shared = keras.Model(images, heads)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
shared.compile(keras.optimizers.Adam(0.002), {name: loss for name in images})

# %%
both = tf.data.Dataset.zip(source_data.repeat(3), ten_images.repeat())  # ends with the source: 282 batches
named = both.map(lambda s, t: ({"mnist": s[0], "uci": t[0]}, {"mnist": s[1], "uci": t[1]}))
shared.fit(named, verbose=0)
uci_network = keras.Sequential([M, shared.get_layer("L_uci")])
uci_network.compile("sgd", loss, metrics=["accuracy"])  # only to evaluate
accuracies["shared M, two heads"] = accuracy(uci_network)

# %% [markdown]
# **Knowledge.** A *student* imitates the answers of a *teacher* (Hinton et al. 2015: *distillation*). No label is needed, so it can use all 1,077 training images. Both outputs are divided by a temperature $\tau$ before the
# softmax, so that the student also sees which wrong classes the teacher found likely. The softened gradients are smaller by about $1/\tau^2$, so the loss is multiplied by $\tau^2$. Here the student is an eighth of the teacher's size.


# %%
def build_student():
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(24, activation="relu"), keras.layers.Dense(10)])


student, kl = build_student(), keras.losses.KLDivergence()
softened = keras.distillation.LogitsDistillation(temperature=2.0, loss=kl)  # both sides, times 2²
lesson = keras.distillation.Distiller(transferred, student, softened, student_loss_weight=0.0)
lesson.compile(keras.optimizers.Adam(0.002), loss)  # Keras asks for a loss of labels; its weight is 0
lesson.fit(uci.train.x, epochs=EPOCHS, verbose=0)
student.compile("sgd", loss, metrics=["accuracy"])
accuracies["student, taught"] = accuracy(student)
accuracies["student, ten labels"] = accuracy(learn(build_student(), ten_images))

# %% tags=["fold"]
# Figure: accuracy of all ways, this run
figure, ax = plt.subplots(figsize=(9, 4))
figure.set_label("Accuracy of seven ways to use the source, beside the network and the student without it.")
ordered = dict(sorted(accuracies.items(), key=lambda item: item[1]))
colours = ["C1" if name in ("from scratch", "student, ten labels") else "C0" for name in ordered]
ax.bar_label(ax.barh(list(ordered), list(ordered.values()), color=colours), fmt="%.2f", padding=4)
ax.set(xlim=(0, 1), xlabel="accuracy on 360 validation images (orange: no source)")
plt.show()

# %% [markdown]
# One run is shown; five runs say:
#
# | ten labels, and | accuracy |
# |---|---|
# | from scratch: nothing else | {{scratch.mean:.2f}} ± {{scratch.half_width:.2f}} |
# | transfer: $M$ and $L$ copied | {{transfer.mean:.2f}} ± {{transfer.half_width:.2f}} |
# | only $M$ copied | {{only_m.mean:.2f}} ± {{only_m.half_width:.2f}} |
# | $M$ shared, two heads | {{shared.mean:.2f}} ± {{shared.half_width:.2f}} |
# | student, taught by the network with $M$ and $L$ copied | {{student.mean:.2f}} ± {{student.half_width:.2f}} |
# | the same student without a teacher | {{student_alone.mean:.2f}} ± {{student_alone.half_width:.2f}} |
# | no training on UCI: the MNIST network as it is | {{direct.mean:.2f}} ± {{direct.half_width:.2f}} |
# | nearest of the ten labelled images, by pixels | {{neighbour.mean:.2f}} ± {{neighbour.half_width:.2f}} |
#
# Copying $L$ too raises the accuracy by {{head.mean:+.2f}} ± {{head.half_width:.2f}} (pairs); the experiment, with five draws in each run, finds {{experiment.head_gain.mean:+.2f}} ± {{experiment.head_gain.half_width:.2f}}. The head, too, carries knowledge: the names of the classes. That is only possible with the same classes.
#
# ## 3. One forward and one backward pass
#
# What does `fit` do in one step? With $h = \max(0, xW_1 + b_1)$, logits $z = hW_2 + b_2$, $p = \mathrm{softmax}(z)$ and the cross-entropy $\ell$, the mean of $-\log p$ of the true class, the chain rule is read backwards:
#
# $$\frac{\partial \ell}{\partial z} = \frac{p - y}{n}, \qquad \frac{\partial \ell}{\partial W_2} = h^\top \frac{\partial \ell}{\partial z}, \qquad
# \frac{\partial \ell}{\partial h} = \frac{\partial \ell}{\partial z} W_2^\top, \qquad \frac{\partial \ell}{\partial W_1} = x^\top \Big(\frac{\partial \ell}{\partial h} \odot [h > 0]\Big).$$
#
# This is *backpropagation* (Rumelhart et al. 1986). Here it is on the ten images, beside `GradientTape`, which records a forward pass and plays it backwards.

# %%
x, labels = few_shot(uci.train, 1, SEED)
x, y = x.reshape(10, 64) / 255.0, np.eye(10)[labels]
hidden = keras.layers.Dense(16, activation="relu")
small = keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(10)])
W1, b1, W2, b2 = small.get_weights()
h = np.maximum(0, x @ W1 + b1)  # forward
z = h @ W2 + b2
p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
dz = (p - y) / len(x)  # backward
by_hand = {"W2": h.T @ dz, "W1": x.T @ (dz @ W2.T * (h > 0))}

# %% tags=["nbval-check-output"]
with tf.GradientTape() as tape:
    value = keras.ops.mean(keras.losses.categorical_crossentropy(y, small(x), from_logits=True))
weights = {"W2": small.layers[-1].kernel.value, "W1": hidden.kernel.value}
for name, gradient in tape.gradient(value, weights).items():
    print(f"gradient of {name} agrees to 1e-6: {np.allclose(gradient, by_hand[name], atol=1e-6)}")

# %% [markdown]
# Two things to see. The gradient at the logits is *prediction minus truth*. And in `dz @ W2.T` the head's weights decide what $M$ is told: one reason why lesson 03 fits the head before it unfreezes $M$.
#
# ### The mistake: a loss from the wrong thing
#
# Our networks end in **logits**, plain numbers. The loss must know: `from_logits=True`. Two mistakes are made every day. *Forgotten*: the network ends in logits, but the loss takes them for
# probabilities. *Twice*: the network ends in a softmax, and the loss applies another one.
#
# **Predict.** Which one still learns? (All 1,077 labelled images, the small student network, ten epochs.)

# %%
end = [keras.layers.Softmax(), keras.layers.Reshape((10,))]  # Reshape hides the softmax from Keras
endings = {"right": ([], loss), "forgotten": ([], "sparse_categorical_crossentropy"), "twice": (end, loss)}
curves = {}
for name, (more, its_loss) in endings.items():
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential([*build_student().layers, *more])
    model.compile(keras.optimizers.Adam(0.002), its_loss, metrics=["accuracy"])
    curves[name] = model.fit(*uci.train, epochs=10, verbose=0).history

# %% tags=["fold"]
# Figure: loss and accuracy of the three networks
figure, axes = plt.subplots(1, 2, figsize=(12, 3.8))
figure.set_label(
    "Right: the loss falls to near 0. Twice: it stays above 1.46. Forgotten: loss and accuracy stand still."
)
for name, line in zip(curves, ("-", ":", "--")):
    for ax, what in zip(axes, ("loss", "accuracy")):
        ax.plot(range(1, 11), curves[name][what], line, label=name)
        ax.set(xlabel="epoch", ylabel=f"training {what}")
axes[0].axhline(np.log(np.e + 9) - 1, color="0.5", linewidth=1, label="1.46")
axes[0].set_ylim(0, 3)
axes[0].legend()
plt.show()

# %% [markdown]
# Training accuracy after ten epochs, five runs: {{right.mean:.2f}} ± {{right.half_width:.2f}} when it is right, {{twice.mean:.2f}} ± {{twice.half_width:.2f}} when twice, and anything between {{right.contrast_low:.2f}} and {{right.contrast_high:.2f}} when forgotten. *Forgotten*: numbers outside 0 to 1 are
# clipped, and a clipped number has no gradient. **The symptom:** an odd first loss (here beyond the figure), then it stands still. *Twice* does learn, only worse: its loss ends at {{twice_loss.mean:.2f}} ± {{twice_loss.half_width:.2f}}, that of the right network at {{twice_loss.contrast:.2f}}.
# **The symptom:** with ten classes the loss never falls below 1.46 (grey line): a perfect answer reaches the second softmax as one 1 and nine 0s, and costs $\ln(e + 9) - 1$.
#
# ## 4. What an optimiser does
#
# The gradient says which way is down. The **optimiser** says how far to step. Here is a narrow valley: across it the loss curves 25 times as much as along it. Three optimisers of Keras walk in it.
#
# **Predict.** Gradient descent, momentum, Adam: which path is the most direct, and which ones overshoot?

# %%
walkers = {"gradient descent": keras.optimizers.SGD(0.07), "Adam": keras.optimizers.Adam(0.2)}
walkers["momentum"] = keras.optimizers.SGD(0.02, momentum=0.9)
curvature, paths = np.array([1, 25], "float32"), {}
for name, optimizer in walkers.items():
    w, paths[name] = keras.Variable([-4.0, 1.5]), [[-4.0, 1.5]]
    for _ in range(40):
        optimizer.apply([w * curvature], [w])  # the gradient of the loss w² · curvature / 2
        paths[name].append(w.numpy())

# %% tags=["fold"]
# Figure: the paths
figure, axes = plt.subplots(1, 3, figsize=(13, 3.5), sharey=True)
figure.set_label("Gradient descent zigzags, momentum swings past the minimum, Adam takes the most direct way.")
a, b = np.meshgrid(np.linspace(-5, 3, 60), np.linspace(-2, 2, 60))
for ax, (name, path), colour in zip(axes, paths.items(), ("C0", "C1", "C2")):
    ax.contour(a, b, (a**2 + 25 * b**2) / 2, np.geomspace(0.2, 60, 9), colors="0.75", linewidths=0.8)
    ax.plot(*np.transpose(path), marker="o", markersize=4, color=colour)
    ax.plot(0, 0, "k*", markersize=14)
    ax.set(title=name, xlabel="first weight")
axes[0].set_ylabel("second weight")
plt.show()

# %% [markdown]
# Each has 40 steps to the star. *Gradient descent* has one rate for both directions, and the steep one bounds it: it zigzags, then creeps. *Momentum* remembers its last step, so it travels, and swings. *Adam* takes the most direct path. It overshoots as well, and has not settled after 40 steps. Adam (Kingma & Ba 2015) divides each gradient by the
# size that it lately had. So in its first steps every weight moves by about one learning rate, *however small its gradient is*. A small gradient does not protect a pretrained weight; a small rate does.
# Six optimisers, six activations and three losses are written by hand and checked against Keras in the [experiment](experiments/01_concepts_and_math.ipynb).
#
# ## 5. When does it hurt?
#
# Scans are often dark on light. We train a second source on the same 3,000 digits, *inverted*. Nothing else differs.
#
# **Predict.** It gets the ten labelled UCI images. Will it end above or below the network from scratch?

# %%
inverted_data = source_data.map(lambda images, labels: (255 - images, labels))
inverted_network = learn(build(), inverted_data, EPOCHS)
unmended = build()
unmended.set_weights(inverted_network.get_weights())
learn(unmended, ten_images)
mended = keras.Sequential([keras.layers.Rescaling(-1, offset=255), build()])  # inverts the target
mended.build((None, 8, 8, 1))
mended.set_weights(inverted_network.get_weights())
learn(mended, ten_images);

# %%
sources = {"inverted": unmended, "none": from_scratch, "inverted, pixels mended": mended, "MNIST": transferred}
heights = [accuracy(model) for model in sources.values()]
inverted_mnist = 255 - shrink.predict(mnist.validation.x, verbose=0)
inverted_at_home = inverted_network.evaluate(inverted_mnist, mnist.validation.y, verbose=0)[1]
inverted_direct = accuracy(inverted_network)
figure, ax = plt.subplots(figsize=(9, 3.6))
figure.set_label("Accuracy with ten labels: lowest after the inverted source, then scratch, then the mended and MNIST.")
bars = ax.bar(list(sources), heights, color=["C3", "C1", "C0", "C0"])
ax.bar_label(bars, fmt="%.2f")
ax.set(ylim=(0, 1), ylabel="accuracy on 360 images", xlabel="source")
plt.show()

# %% [markdown]
# Five runs: {{inverted.mean:.2f}} ± {{inverted.half_width:.2f}} after the inverted source, {{scratch.mean:.2f}} ± {{scratch.half_width:.2f}} without a source; the paired difference is {{harm.mean:.2f}} ± {{harm.half_width:.2f}}. Ten images drawn once a run are too few to be sure: the interval contains zero. The
# experiment draws five times in each run and finds {{experiment.negative_gain_10.mean:.2f}} ± {{experiment.negative_gain_10.half_width:.2f}}. This is **negative transfer**: the
# target would have been better off without the source. Wang et al. (2019) define it by this comparison. The inverted network reads *its own* validation digits with {{inverted_at_home.mean:.2f}} ± {{inverted_at_home.half_width:.2f}}, so its own accuracy gives no warning. Used on UCI as it is, it reaches {{direct.contrast:.2f}}: a hint. The proof is the control from scratch.
#
# The remedy is one layer. With inverted pixels the same source gives {{mended.mean:.2f}} ± {{mended.half_width:.2f}}. Before you transfer, bring the domains together: orientation, crop, colours, scale.
#
# ## 6. What the experiment says

# %% tags=["fold"]
# Figure: gains and losses, from the experiment
from course_utils.evaluation import read_bands

bands = read_bands()["experiments/01_concepts_and_math"]["default"]["bands"]
names = {
    "gain_10": "MNIST → UCI, 10 labels, against scratch",
    "gain_200": "the same, 200 labels",
    "reverse_gain_10": "UCI → MNIST, 10 labels, against scratch",
    "negative_gain_10": "inverted MNIST → UCI, 10 labels, against scratch",
    "head_gain": "M and L copied, against M alone",
    "renamed_gain": "classes renamed: M frozen, against M and L",
    "taught_gain": "student with teacher, against without",
    "turns_first": "a task without labels first, against without",
}
figure, ax = plt.subplots(figsize=(11, 4.6))
figure.set_label(
    "Eight paired gains with intervals: most are positive; 200 labels near zero; the inverted source negative."
)
for row, name in enumerate(reversed(names)):
    band = bands[name]
    ax.errorbar(band.mean, row, xerr=band.half_width, fmt="o", capsize=4, color="C3" if band.mean < -0.1 else "C0")
ax.axvline(0, color="0.4", linestyle=":")
ax.set_yticks(range(len(names)), list(names.values())[::-1], fontsize=12)
ax.set(xlabel="difference in validation accuracy, mean of 5 runs ± 95%")
ax.grid(axis="x", alpha=0.4)
plt.show()

# %% [markdown]
# With 10 labels MNIST adds {{experiment.gain_10.mean:.2f}} ± {{experiment.gain_10.half_width:.2f}}; with 200 labels, 20 of each class, {{experiment.gain_200.mean:.3f}} ± {{experiment.gain_200.half_width:.3f}}: **where labels are plenty, this transfer does not help.** (For other images 20 of each class are few: lesson 02.)
#
# *Renamed*: in the source a 3 was called 4, and so on. Then copying $L$ harms: with $M$ alone the network is better. A task without labels before MNIST, guessing the quarter turns of an image, was not shown to help: a null result.
#
# ## 7. What should I do?
#
# Two questions decide: how many labels do you have, and how far is the source from your target? If the classes are the same, section 1 shows how to ask the second: try the source network as it is on some labelled target images.
#
# | | source **near** the target | source **far** from the target |
# |---|---|---|
# | **no labels** | bring the domains together, then [adapt without labels (04)](04_domain_adaptation.ipynb) | label some: nothing else tells you whether it works |
# | **few labels** (1 to 50 a class) | [freeze M, train L (02)](02_feature_extraction.ipynb) | [freeze M, train L (02)](02_feature_extraction.ipynb), beside a small network from scratch |
# | **many labels** | [fine-tune everything (03)](03_fine_tuning.ipynb) | [fine-tune everything, or train from scratch (03)](03_fine_tuning.ipynb): measure both |
#
# Which network to begin with: [05](05_pretrained_zoo.ipynb). Texts: [06](06_bert_and_gpt.ipynb) and [08](08_text_classification.ipynb). Medical images: [07](07_medical_imaging.ipynb). Rates and sizes: [09](09_optuna_tuning.ipynb).
# (To *freeze* $M$ means: its weights are not trained.) The numbers of labels are a rule of thumb. In every box the control is the same: from scratch, on the same labels.

# %% [markdown]
# ## Your turn
#
# ### Exercise 1 (implement): carry M to other classes
#
# Write `carry`. It gets a network as `build` makes it. It returns a new one with *copied* weights of M and a fresh head for `classes` classes that gives logits. All of it trains; the source must stay as it is.

# %% tags=["exercise"]
from course_utils.exercises import concepts_and_math as check


def carry(source_network, classes):
    """Return a network with the weights of M and a new head."""
    ...  # your code


# check.check_carry(carry)


# %% tags=["solution", "nbval-check-output"]
def carry_solution(source_network, classes):
    old = source_network.get_layer("M")
    new = keras.models.clone_model(old)  # the same layers with new weights
    new.set_weights(old.get_weights())
    return keras.Sequential([new, keras.layers.Dense(classes)])


check.check_carry(carry_solution)

# %% [markdown] tags=["solution"]
# `clone_model` copies the structure, not the weights. Without it both networks would share one M.

# %% [markdown]
# ### Exercise 2 (debug): four faults
#
# The target is now a stack of scans, dark ink on white paper, 0–255. The source is our MNIST network: light on dark, with `Rescaling(1 / 255)` as its first layer, ending in logits. A colleague prepares it for `fit`. It runs, but transfer is no better than scratch, all images
# look black to the network, and the loss stands still. Mend `make_ready`.


# %% tags=["exercise"]
def make_ready(source_network):
    """Return a compiled network that takes scans as they come, before its training on them."""
    network = keras.models.clone_model(source_network)
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), network])
    model.compile(keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy")
    return model


# check.check_make_ready(make_ready)


# %% tags=["solution", "nbval-check-output"]
def make_ready_solution(source_network):
    network = keras.models.clone_model(source_network)
    network.set_weights(source_network.get_weights())
    model = keras.Sequential([keras.layers.Rescaling(-1, offset=255), network])
    model.compile(keras.optimizers.Adam(0.002), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


check.check_make_ready(make_ready_solution)

# %% [markdown] tags=["solution"]
# The clone had no weights of the source. The pixels were divided by 255 twice, which is why all images looked black, and they were not inverted. And the loss took logits for probabilities.

# %% [markdown]
# ### Exercise 3 (your own data): does it help you?
#
# Write the path of a folder of your own images into `my_folder`. It has one subfolder for each class, with at least 12 images; 30 are better. Does a network that knows digits learn them better? In each of five draws take five training images of each class, train two networks on them, one carried
# and one from scratch, and note both accuracies on the validation images. Without images of your own, take pictograms of animals, food, vehicles …
#
# `image_dataset_from_directory(…, color_mode="grayscale", image_size=(8, 8))` reads the images, `few_shot` draws, `carry(build(), classes)` is the network from scratch.

# %% tags=["exercise"]
from course_utils.data import load_openmoji_folder, split_image_folder

my_folder = FOLDER or load_openmoji_folder()
mine = split_image_folder(my_folder, per_class=10, seed=SEED)
carried, alone = [], []  # five accuracies each, on all images in mine / "validation"

# check.check_pairs(carried, alone, mine / "validation")

# %% tags=["solution"]
gray = {"color_mode": "grayscale", "image_size": (8, 8), "verbose": False}
my_train, my_validation = (
    keras.utils.image_dataset_from_directory(mine / part, **gray) for part in ("train", "validation")
)
classes = len(my_train.class_names)
everything = tuple(np.concatenate(part) for part in zip(*my_train))
with_source, without = [], []
for draw in range(5):
    five = tf.data.Dataset.from_tensors(tuple(few_shot(everything, 5, draw))).repeat(STEPS)
    for start, notes in ((mnist_network, with_source), (build(), without)):
        network = learn(carry_solution(start, classes), five)
        notes.append(network.evaluate(my_validation, verbose=0)[1])
own_gain = check.check_pairs(with_source, without, mine / "validation")

# %% [markdown] tags=["solution"]
# On the pictograms the gain is {{own_gain.mean:+.3f}} ± {{own_gain.half_width:.3f}} over five runs of this lesson. The draws of one run share images, so its interval is too narrow.

# %% [markdown]
# ## Take it home
#
# All choices are made. Now the **test** images, once, for the network that we keep and for its control.

# %%
kept = {"transfer": transferred, "scratch": from_scratch}
test = {name: model.evaluate(*uci.test, verbose=0)[1] for name, model in kept.items()}
print(f"accuracy on {len(uci.test.y)} test images: transfer {test['transfer']:.2f}, scratch {test['scratch']:.2f}")

# %% [markdown]
# Five runs: {{test_transfer.mean:.2f}} ± {{test_transfer.half_width:.2f}} with transfer, {{test_scratch.mean:.2f}} ± {{test_scratch.half_width:.2f}} from scratch.
#
# The model is saved with resizing and softmax inside: any grayscale image in, probabilities out. Beside it lies a **model card**.

# %%
import json
import tempfile
from pathlib import Path

home = Path(tempfile.mkdtemp())  # temporary; for your own work choose a folder that lasts
resize = [keras.Input((None, None, 1)), keras.layers.Resizing(8, 8, antialias=True)]
product = keras.Sequential([*resize, transferred, keras.layers.Softmax()])
product.save(home / "model.keras")
card = {"classes": uci.class_names, "input": "grayscale digit, 0-255, light on dark, filling the field",
        "trained on": "3,000 MNIST digits, then 10 UCI digits", "accuracy on UCI test": round(test["transfer"], 2),
        "not for": "anything but a single digit: it always names one"}  # fmt: skip
(home / "card.json").write_text(json.dumps(card, indent=2));
# %%
import subprocess
import sys

from PIL import Image

Image.fromarray(uci.test.x[0, ..., 0]).resize((160, 160)).save(home / "new.png")
program = """
import json, sys, keras
model, card = keras.saving.load_model(sys.argv[1]), json.load(open(sys.argv[2]))
image = keras.utils.img_to_array(keras.utils.load_img(sys.argv[3], color_mode="grayscale"))
p = model.predict(image[None], verbose=0)[0]
print(card["classes"][p.argmax()], f"with probability {p.max():.2f}")
"""
command = [sys.executable, "-c", program, home / "model.keras", home / "card.json", home / "new.png"]
answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
print(f"A file of class {uci.test.y[0]} is called {answer}")

# %% [markdown]
# ## Quiz
#
# **1.** A network trained on photographs of cars shall sort X-ray images into two classes. What differs, the domain, the task, or both? What can be copied?
#
# <details><summary>Answer</summary>
#
# Both: the images look different, and the labels are others. Only $M$ can be copied, since $L$ has the wrong classes.
#
# </details>
#
# **2.** Ten classes, and the training loss stands at 1.5 while the accuracy still rises. What do you look at first?
#
# <details><summary>Answer</summary>
#
# Softmax twice. With a small learning rate the loss would go on falling; with a forgotten `from_logits=True` the accuracy would stand, too.
#
# </details>
#
# **3.** Your source reaches 0.99 on its own test images, and 0.55 on the target after training with your labels. Is this negative transfer?
#
# <details><summary>Answer</summary>
#
# You cannot know. The accuracy on the source says nothing about it. Train the same network from scratch on the same labels: if it is better, it is negative transfer.
#
# </details>
#
# **4.** A student is trained with the teacher at $\tau = 2$ and itself at $\tau = 1$. What is wrong?
#
# <details><summary>Answer</summary>
#
# It learns to give softened answers without being softened: its probabilities will be too even. Use the same $\tau$ on both sides, and none afterwards.
#
# </details>
#
# **5.** Transfer 0.83, scratch 0.80, one run each, 360 images. Does the source help?
#
# <details><summary>Answer</summary>
#
# Not known: other labels or initial weights can change as much. Repeat with several draws and compare pairs. More validation images alone do not show the spread between draws.
#
# </details>
#
# **Where to go next.** [Lesson 02](02_feature_extraction.ipynb) carries a network that saw 1.3 million photographs. [Where to go on](../docs/reading.md) names applications, books and courses; the [questions and answers](../docs/faq.md) answer what most beginners ask.

# %% tags=["headline"]
from sklearn.neighbors import KNeighborsClassifier

share = {"limits": (0, 1)}
scratch, nearest = accuracies["from scratch"], KNeighborsClassifier(1).fit(x, labels)
paired = {"limits": (-1, 1)}
expect("transfer", accuracies["transfer"], **share)
expect("scratch", scratch, **share)
expect("gain", accuracies["transfer"] - scratch, **paired)
expect("at_home", at_home, **share)
expect("inverted_at_home", inverted_at_home, **share)
expect("direct", accuracies["MNIST network as it is"], contrast=inverted_direct, **share)
expect("only_m", accuracies["only M copied"], **share)
expect("head", accuracies["transfer"] - accuracies["only M copied"], **paired)
expect("shared", accuracies["shared M, two heads"], **share)
expect("student", accuracies["student, taught"], **share)
expect("student_alone", accuracies["student, ten labels"], **share)
expect("neighbour", nearest.score(uci.validation.x.reshape(-1, 64) / 255, uci.validation.y), **share)
expect("inverted", heights[0], **share)
expect("harm", heights[0] - scratch, **paired)
expect("mended", heights[2], **share)
expect("right", curves["right"]["accuracy"][-1], contrast=curves["forgotten"]["accuracy"][-1], **share)
expect("twice", curves["twice"]["accuracy"][-1], **share)
expect("twice_loss", curves["twice"]["loss"][-1], contrast=curves["right"]["loss"][-1])
expect("test_transfer", test["transfer"], **share)
expect("test_scratch", test["scratch"], **share)
if not FOLDER:
    expect("own_gain", own_gain, **paired)
expect.table()
