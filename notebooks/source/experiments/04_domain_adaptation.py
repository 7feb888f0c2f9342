# ---
# jupyter:
#   course:
#     title: Domain adaptation
#     question: >-
#       The labels belong to one domain, the work is in another. What can be learnt from images without labels?
#     shows: >-
#       Digits on paper to digits on photographs, trained without one label of the photographs: a network reaches
#       {{pseudo_photos.contrast:.2f}} unadapted and {{pseudo_photos.mean:.2f}} after self-training,
#       {{gap_pseudo.mean:.0%}} of the way to training on target labels. CORAL, MMD and DANN were not shown to add
#       anything to a control whose BatchNormalization merely sees both domains ({{penalty_gain.mean:+.4f}} ±
#       {{penalty_gain.half_width:.4f}} of accuracy). On text, adaptation hardly changes anything:
#       {{bound_text.contrast:.2f}} without it, {{adapted_text.mean:.2f}} with it, {{adapted_text.contrast:.2f}} with
#       target labels.
#     results:
#       pseudo_photos: "MNIST to MNIST-M, balanced accuracy after self-training (source only)"
#       gap_pseudo: "share of the gap closed by self-training (by AdaBN)"
#       bound_photos: "trained on target labels (source only)"
#       penalty_gain: "what CORAL, MMD and DANN add to mixed batches of weight 0 (nothing was shown)"
#       adapted_text: "text, adapted (trained on target labels)"
#     goals:
#       - say what domain adaptation assumes, and measure how far apart two domains are;
#       - >-
#         derive and use AdaBN, CORAL, MMD, adversarial training with gradient reversal, and pseudo-labels, as Keras 3
#         models that train with `fit` and can be saved;
#       - >-
#         compare them fairly, over tasks and seeds, between a model without adaptation and one trained on target
#         labels;
#       - choose hyperparameters without target labels, and know what the other way would flatter;
#       - recognise three mistakes that nothing warns of.
#     prerequisites:
#       - notebook 03 (training a network, BatchNormalization, augmentation);
#       - notebook 08 helps with the sentence vectors, but is not needed.
#     recap:
#       - >-
#         Statistics of the target (AdaBN) need no training and no labels. On photographs they lift accuracy from
#         {{adabn_photos.contrast:.2f}} to {{adabn_photos.mean:.2f}}. Try them first.
#       - >-
#         CORAL, MMD and a domain adversary are one model with three penalties. Each makes the domains alike in
#         another sense, and none of them knows whether class lies on class.
#       - >-
#         On photographs self-training closed {{gap_pseudo.mean:.0%}} of the gap, AdaBN {{gap_pseudo.contrast:.0%}}.
#         The three penalties differ from a control of weight 0, whose BatchNormalization sees both domains, by
#         {{penalty_gain.mean:+.4f}} ± {{penalty_gain.half_width:.4f}} of accuracy, which is not to be told from zero.
#         Never credit a penalty without that control.
#       - >-
#         On tasks where the domains differ in more than style, or a frozen encoder has already brought them together,
#         little is gained, and something may be lost. Always run the model without adaptation beside it.
#       - >-
#         Without target labels, choices need a criterion that does without them. A weight chosen on target labels
#         flatters its method. So does everything else that is settled in sight of test figures, and here that was all
#         but the weights.
#       - >-
#         Before believing an adaptation, check its gradient, its weight, and that scrambled target labels change
#         nothing.
#     references: [
#       pan2010, bendavid2007, bendavid2010, ganin2015, ganin2016, li2016, sun2016, gretton2012, long2015dan,
#       lee2013, zou2018, french2018, zhong2010, tzeng2017, wang2021tent, zhao2019, arbelaez2011, lecun1998,
#       alpaydin1998, hull1994, hutto2014, wang2020, blitzer2007, alain2017, vandermaaten2008, wattenberg2016,
#       gulrajani2021
#     ]
# ---

# %% tags=["parameters"]
PROFILE = "default"  # smoke, default or full
SEED = 0
DRAWS = 3  # repetitions, each with its own cut of the data and initial weights
DIGITS = 3000  # training images of each domain, at most
SENTENCES = 1100  # training sentences of each domain, at most
BATCH = 64
SOURCE_EPOCHS = 3  # on MNIST, before adaptation begins
PHOTO_EPOCHS = 3  # of adaptation on MNIST-M
SMALL_EPOCHS = 6  # on the small tasks, before adaptation and of adaptation
ROUNDS = 2  # of self-training
CHOICE_TASKS = 2  # small tasks on which the weight of a penalty is chosen
WEIGHTS_TRIED = 3  # for each penalty
SHOWN = 250  # images of each domain on a map
MAP = "t-SNE"  # or PCA
USPS = ""  # path of an .npz file of USPS, if you have one (section 11)

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers, ops
from sklearn.metrics import balanced_accuracy_score

from course_utils.data import Samples, load_mnist, load_mnist_m, load_sentiment, load_uci_digits
from course_utils.evaluation import ROLE_COLOURS, plot_images, show_source

SEEDS = [100 * SEED + draw for draw in range(DRAWS)]

# %% [markdown]
# The networks here are small, so one thread each is enough, and independent methods train side by side.

# %%
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits

tf.config.threading.set_intra_op_parallelism_threads(1)
limits = threadpool_limits(1, user_api="blas")
tf.get_logger().setLevel("ERROR")  # it takes the several models of this notebook for a mistake

# %% [markdown]
# ## 1. The question
#
# In the language of notebook 01: source and target have the same task, ten digits or two sentiments, but inputs of
# different distributions. Of the source we have labels. Of the target we have inputs, and not one label. This is
# *unsupervised domain adaptation*; in notebook 01, after Pan & Yang (2010), the setting was called *transductive*.
#
# It is an everyday situation. The labels come from last year, another hospital, a simulator, another product, and
# labelling anew costs more than anyone will pay. Unlabelled inputs of the target cost nothing: they are what the model
# is going to be used on.
#
# Is it possible at all? For two classes, Ben-David et al. (2010, after a first version in 2007) bound the error
# $\varepsilon_T$ of a classifier $h$ on the target by three terms:
#
# $$\varepsilon_T(h) \;\le\; \varepsilon_S(h) \;+\; \tfrac12\, d(S, T)
# \;+\; \min_{h'} \left[\varepsilon_S(h') + \varepsilon_T(h')\right].$$
#
# The error on the source we can minimise. The distance $d$ is that *seen by classifiers of this kind*: take two of
# them, see how much more often they disagree in one domain than in the other, and double the largest difference that
# any two reach. We can reduce it by learning features in which the domains look alike. The last term is the error, in
# both domains together, of the best single classifier for the two. Without target labels it cannot be measured, and it
# may grow unseen while the distance shrinks: features can be made alike with the eights of one domain on top of the
# threes of the other (Zhao et al. 2019). That is how adaptation fails. Keep it in mind when you read the tables.
#
# ## 2. Six tasks
#
# **MNIST → MNIST-M** is the classic. Each digit of the target is blended with a random patch of a photograph,
# $|\text{patch} - \text{digit}|$ (Ganin et al. 2016). The paper took the photographs of BSDS500 (Arbeláez et al. 2011);
# ours are 29 that installed packages carry. Every photograph is cut into three stripes, one for each set,
# so that no pixel of a photograph is in training *and* in test.

# %%
from course_utils.data.mnist_m import blend

show_source(blend)

# %%
mnist, photos = load_mnist(SEED), load_mnist_m(SEED)
shown = np.concatenate([np.repeat(mnist.train.x[:10], 3, axis=-1), photos.train.x[:20]])
plot_images(shown, columns=10)
plt.gcf().set_label("MNIST digits above, MNIST-M digits, blended with photographs, below")
plt.show()

# %% [markdown]
# The first row is the source, the other two are the target. You read most of them at once. Look at how dark and bright
# change roles: on a dark patch the digit is bright, on a bright one it is dark, and within one digit it can change
# in the middle of a stroke.
#
# As in the paper, both domains show the same handwriting, in different orders. There are 3,000 training digits
# in each. The paper had some 60,000 in each.
#
# **MNIST → UCI** and **UCI → MNIST** lead from one collection of real handwriting to another (LeCun et al. 1998;
# Alpaydin & Kaynak 1998), at 8 by 8 pixels. MNIST is brought to that size from its inner 20 by 20 pixels.


# %%
def as_colour(samples):
    """Return images of three channels from -1 to 1."""
    x = samples.x if samples.x.shape[-1] == 3 else np.repeat(samples.x, 3, axis=-1)
    return Samples(x.astype("float32") / 127.5 - 1, samples.y)


def as_8_by_8(samples):
    """Return images of 8 by 8 pixels as 64 values from 0 to 1."""
    inner = samples.x[:, 4:24, 4:24] if samples.x.shape[1] == 28 else samples.x
    small = tf.image.resize(inner, (8, 8), antialias=True)
    return Samples(small.numpy().reshape(-1, 64) / 255, samples.y)


# %% [markdown]
# **Three text tasks**: the sentiment of sentences (Hutto & Gilbert 2014), learnt in one domain and wanted in another.
# The domains are film reviews, tweets, product reviews (`amazon`) and newspaper editorials (`nyt`). Sentences become
# vectors of the frozen MiniLM (Wang et al. 2020) of notebook 08, computed once and kept on disk. The first time, that
# takes half a minute. Sentences of one review or editorial stay in one set: `load_sentiment` splits by document, and we
# keep its split.

# %%
from course_utils.text import load_minilm, sentence_vectors


def sets_of(domain):
    """Return the first sentences of the training, validation and test set."""
    split = load_sentiment(domain, seed=0)  # one cut for every SEED: so the cache holds
    train, third = SENTENCES, SENTENCES // 3
    sizes = ((split.train, train), (split.validation, third), (split.test, third))
    return [Samples(*(array[:size] for array in samples)) for samples, size in sizes]


tokenizer, encoder = load_minilm()
vectors = {}
for domain in ("movie", "tweets", "amazon", "nyt"):
    sets = sets_of(domain)
    found = sentence_vectors(tokenizer, encoder, np.concatenate([samples.x for samples in sets]))
    ends = np.cumsum([len(samples.y) for samples in sets])
    vectors[domain] = [Samples(x, y) for x, (_, y) in zip(np.split(found, ends), sets)]

# %% [markdown]
# The domains differ in their class shares, too:

# %%
positive = {domain: sets[0].y.mean() for domain, sets in vectors.items()}
pd.Series(positive, name="positive sentences, share").round(2).to_frame().T

# %% [markdown]
# ### What may be seen
#
# A task has four sets. The labels of `target` are there for one purpose: to train the *upper bound*, the model that
# someone with target labels would have. No adaptation may touch them, and we shall check that none does. There is no
# validation set of the target: without labels there is nothing to validate on. Both held-out sets are its test set.

# %%
from typing import NamedTuple


class Task(NamedTuple):
    source: Samples  # trains, with labels
    check: Samples  # more of the source, for choices
    target: Samples  # trains, inputs only
    test: Samples  # of the target


# %%
def four_fifths(samples, seed):
    rows = np.random.default_rng(seed).permutation(len(samples.y))[: len(samples.y) * 4 // 5]
    return Samples(samples.x[rows], samples.y[rows])


def merged(*sets):
    return Samples(*(np.concatenate(arrays) for arrays in zip(*sets)))


def task_of(source, target):
    """Return the task of two domains, each given as training, validation and test set."""
    train, check, _ = source
    return Task(train, check, target[0], merged(target[1], target[2]))


# %%
def shortened(split):
    sets = (split.train, split.validation, split.test)
    return [Samples(*(array[:DIGITS] for array in samples)) for samples in sets]


# %% [markdown]
# All six, for each seed. The images are split anew. The sentences keep their split, so that no document is divided, and
# each seed draws four fifths of each set. (The draws of different seeds overlap, so the intervals of the text tasks
# will be somewhat too narrow.) The table counts the samples:


# %%
def tasks_for(seed):
    mnist, uci = shortened(load_mnist(seed)), shortened(load_uci_digits(seed))
    photos = [as_colour(samples) for samples in shortened(load_mnist_m(seed))]
    colour = [as_colour(samples) for samples in mnist]
    mnist = [as_8_by_8(samples) for samples in mnist]
    uci = [as_8_by_8(samples) for samples in uci]
    text = {name: [four_fifths(one, seed) for one in sets] for name, sets in vectors.items()}
    return {
        "MNIST → MNIST-M": task_of(colour, photos),
        "MNIST → UCI": task_of(mnist, uci),
        "UCI → MNIST": task_of(uci, mnist),
        "movie → tweets": task_of(text["movie"], text["tweets"]),
        "tweets → amazon": task_of(text["tweets"], text["amazon"]),
        "amazon → nyt": task_of(text["amazon"], text["nyt"]),
    }


# %%
tasks = {seed: tasks_for(seed) for seed in SEEDS}
TASKS = list(tasks[SEEDS[0]])
PHOTOS, SMALL = TASKS[0], TASKS[1:]
TEXT = TASKS[3:]
ORDER = [SMALL[1], SMALL[2], SMALL[0], SMALL[3], SMALL[4]]  # first one of digits, one of text
sizes = {}
for name, task in tasks[SEEDS[0]].items():
    sizes[name] = {role: len(samples.y) for role, samples in task._asdict().items()}
pd.DataFrame(sizes).T

# %% [markdown]
# There is much less of UCI than of MNIST, and the text tasks are smaller still: expect wide intervals there.
#
# ## 3. One model
#
# Every method of this notebook is a network in two pieces: an *extractor* from inputs to 64 features, and a linear
# *head* from features to classes. For MNIST-M the extractor is close to the small network of the paper: half as many
# filters, one dense layer in place of two, and BatchNormalization. For the small tasks it is one dense layer, with
# BatchNormalization too.


# %%
def norm_relu(x):
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def image_extractor():
    x = inputs = keras.Input((28, 28, 3))
    for filters in (16, 24):
        x = layers.Conv2D(filters, 5, use_bias=False)(x)
        x = norm_relu(layers.MaxPooling2D()(x))
    return keras.Model(inputs, norm_relu(layers.Dense(64, use_bias=False)(layers.Flatten()(x))))


def dense_extractor(width):
    inputs = keras.Input((width,))
    return keras.Model(inputs, norm_relu(layers.Dense(64, use_bias=False)(inputs)))


# %% [markdown]
# Training takes two streams at once: labelled inputs of the source, and inputs of the target. The penalty, a layer,
# compares the features of the two and returns a number. It joins the loss with a weight $w$:
#
# $$\mathcal L = \text{cross-entropy}\left(y_S, \text{head}(f(x_S))\right)
# \;+\; w \cdot \text{penalty}\left(f(x_S), f(x_T)\right).$$

# %%
from course_utils.adaptation import AdaptedClassifier, unlabelled_target

show_source(AdaptedClassifier.call, unlabelled_target)

# %% [markdown]
# Two details. The target comes in as an array of inputs, so there is nowhere to put a label. And both domains pass the
# extractor as *one* batch. If each had its own, BatchNormalization would standardise them apart, in training but not in
# use: features would agree in training and drift apart afterwards.
#
# One batch has a side effect, which section 9 needs: BatchNormalization collects statistics of *both* domains, whatever
# the penalty does.
#
# With `fit` in hand, the simplest method is no method.


# %%
from course_utils.adaptation import Coral, DomainAdversary, MaximumMeanDiscrepancy, ReversalSchedule


def new_pieces(task):
    width = task.source.x.shape[1:]
    extractor = image_extractor() if len(width) == 3 else dense_extractor(*width)
    head = layers.Dense(int(task.source.y.max()) + 1)
    head.build((None, 64))
    return extractor, head


# %%
def new_model(task, penalty=None):
    model = AdaptedClassifier(*new_pieces(task), penalty)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(1e-3 if task.source.x.ndim == 4 else 2e-3)
    by_batch = isinstance(penalty, DomainAdversary)  # its schedule wants every batch
    model.compile(optimizer, loss, steps_per_execution=1 if by_batch else 8)
    model({"source": task.source.x[:2], "target": task.target.x[:2]})  # makes what is not there yet
    model.optimizer.build(model.trainable_variables)
    return model


def outputs(model, x):
    """Call a model on 500 inputs at a time; for small models that is quicker than `predict`."""
    return np.concatenate([model(x[i : i + 500], training=False) for i in range(0, len(x), 500)])


def predicted(model, x):
    return outputs(model, x).argmax(axis=1)


def accuracy(model, samples):
    return balanced_accuracy_score(samples.y, predicted(model, samples.x))


# %% [markdown]
# Between two batches `fit` works in Python, and networks as small as these feel it. `steps_per_execution` gives
# TensorFlow eight batches at a time.
#
# Making and tracing a model takes longer than training it. So we make each once, remember its variables (weights,
# moments of Adam, random state), and put these back before a new run.


# %%
def variables_of(model):
    return [*model.variables, *model.optimizer.variables]


def weights_of(model):
    return model.extractor.get_weights(), model.head.get_weights()


# %%
class Restarted:
    """A model that begins every run with given weights, and with optimiser and penalty as new."""

    def __init__(self, task, penalty=None):
        self.model = new_model(task, penalty)
        self.start = [variable.numpy() for variable in variables_of(self.model)]

    def __call__(self, weights, weight=0.0):
        """Return the model with these weights, and this factor of the penalty."""
        for variable, value in zip(variables_of(self.model), self.start):
            variable.assign(value)
        self.model.extractor.set_weights(weights[0])
        self.model.head.set_weights(weights[1])
        self.model.weight.assign(weight)
        return self.model


# %% [markdown]
# Now one function trains them all. The schedule of the adversary follows in section 6.

# %%
PENALTIES = {"CORAL": Coral, "MMD": MaximumMeanDiscrepancy, "DANN": DomainAdversary}
models = {}  # by shape of the inputs and use


def trained(task, use, weights, weight=0.0, epochs=1, seed=0):
    key = (task.source.x.shape[1:], use)
    if key not in models:
        penalty = PENALTIES[use]() if use in PENALTIES else None
        models[key] = Restarted(task, penalty)
    model = models[key](weights, weight)
    callbacks = [ReversalSchedule(model.penalty.reversal)] if use == "DANN" else []
    data = unlabelled_target(task.source, task.target.x, BATCH, seed)
    model.fit(data, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)
    return model


# %% [markdown]
# All methods of a seed begin with the same network: one trained on the source for a while. Adaptation is continued
# training. That saves time, and it makes the comparison tighter. The model without adaptation continues on the source
# alone, as long as the models with a penalty do.

# %%
RUNS = [(name, seed) for seed in SEEDS for name in TASKS]


def epochs_of(name):
    return PHOTO_EPOCHS if name == PHOTOS else SMALL_EPOCHS


fresh, begin = {}, {}  # weights of extractor and head by task and seed
for name, seed in RUNS:
    keras.utils.set_random_seed(seed)
    fresh[name, seed] = [piece.get_weights() for piece in new_pieces(tasks[seed][name])]


def train_first(names):
    for name, seed in [run for run in RUNS if run[0] in names]:
        epochs = SOURCE_EPOCHS if name == PHOTOS else SMALL_EPOCHS
        task, start = tasks[seed][name], fresh[name, seed]
        model = trained(task, "source only", start, epochs=epochs, seed=seed)
        begin[name, seed] = weights_of(model)


with ThreadPoolExecutor(2) as pool:
    list(pool.map(train_first, [[PHOTOS], [name for name in TASKS if name != PHOTOS]]))

# %% [markdown]
# How bad is it? The two ends of the scale, on all tasks:

# %%
finished = {}  # weights by task, seed and method


def train_rest(method):
    """Continue training on the source, or on the labels of the target."""
    for name, seed in RUNS:
        task = tasks[seed][name]
        task = task._replace(source=task.target) if method == "trained on target" else task
        model = trained(task, method, begin[name, seed], epochs=epochs_of(name), seed=seed)
        finished[name, seed, method] = weights_of(model), accuracy(model, task.test)


with ThreadPoolExecutor(2) as pool:
    list(pool.map(train_rest, ["source only", "trained on target"]))


# %%
def accuracies():
    rows = [(*key, score) for key, (_, score) in finished.items()]
    return pd.DataFrame(rows, columns=["task", "seed", "method", "accuracy"])


def means(table):
    frame = table.groupby(["method", "task"], sort=False)["accuracy"].mean().unstack()
    return frame.reindex(columns=TASKS)


means(accuracies()).round(3)

# %%
ends = means(accuracies())
bound, source_only = ends.loc["trained on target"], ends.loc["source only"]
expect("bound_photos", bound[PHOTOS], contrast=source_only[PHOTOS], limits=(0, 1))
expect("bound_text", bound[TEXT].mean(), contrast=source_only[TEXT].mean(), limits=(0, 1))

# %% [markdown]
# On photographs the network trained on paper falls to {{bound_photos.contrast:.2f}}; with target labels the same
# network has {{bound_photos.mean:.2f}}. Between these two lies what adaptation can win. (The paper's network starts
# at .52 without adaptation. Ours has BatchNormalization, theirs has none; we did not try ours without. So a good deal
# of this gap may be of our own making.) On text the gap is much smaller: {{bound_text.contrast:.2f}} to
# {{bound_text.mean:.2f}}, on the mean of the three tasks. A possible reason, which we did not test: the frozen
# encoder was trained on a billion pairs of sentences of all sorts.
#
# (Figures are balanced accuracies, the mean recall of the classes, because more tweets are positive than negative.)
#
# ## 4. AdaBN: other statistics, no training
#
# BatchNormalization keeps a mean and a variance for each channel, collected on the training data, and standardises with
# them in use. On photographs these are simply wrong: other brightness, other contrast. Li et al. (2016) replace them by
# the statistics of target inputs. No weight changes.
#
# Batch number $k$, counted from 0, enters the moving mean with momentum $k/(k+1)$:
#
# $$m_{k+1} = \frac{k}{k+1}\, m_k + \frac{1}{k+1}\, b_k ,$$
#
# which is the plain mean over all batches. (The variance becomes the mean of the variances *within* batches, which is
# a little less than that of all inputs together.)

# %%
from course_utils.adaptation import adapt_batch_norm

show_source(adapt_batch_norm)

# %% [markdown]
# First a check on numbers that we know: after the call, the layer must hold the mean of its inputs.

# %% tags=["nbval-check-output"]
known = np.random.default_rng(SEED).normal(3, 2, size=(600, 5)).astype("float32")
probe = keras.Sequential([keras.Input((5,)), layers.BatchNormalization()])
adapt_batch_norm(probe, known, batch_size=100)
assert np.allclose(probe.layers[0].moving_mean, known.mean(axis=0), atol=1e-5)
print("The moving mean is the mean of the target, to 1e-5.")


# %%
def model_with(weights, task):
    return models[task.source.x.shape[1:], "source only"](weights)


for name, seed in RUNS:
    task = tasks[seed][name]
    model = model_with(finished[name, seed, "source only"][0], task)
    adapt_batch_norm(model.extractor, task.target.x, batch_size=2 * BATCH)
    finished[name, seed, "AdaBN"] = weights_of(model), accuracy(model, task.test)
(means(accuracies()).loc["AdaBN"] - source_only).round(3).to_frame("gain by AdaBN").T

# %%
adabn = means(accuracies()).loc["AdaBN"]
expect("adabn_photos", adabn[PHOTOS], contrast=source_only[PHOTOS], limits=(0, 1))

# %% [markdown]
# One pass forward over the target lifts the photographs from {{adabn_photos.contrast:.2f}} to
# {{adabn_photos.mean:.2f}}. Where the domains differ in style, as there, that is the first thing to try. The small
# digits gain as well. On text the changes are small and of either sign; section 9 asks whether they are more than
# chance.
#
# ## 5. CORAL and MMD: make the features alike
#
# ### CORAL
#
# AdaBN aligns each channel by itself. Deep CORAL (Sun & Saenko 2016) trains the extractor so that all *covariances*
# of the features agree. With $d$ features and covariance matrices $C_S$, $C_T$ in a batch,
#
# $$\text{CORAL} = \frac{1}{4 d^2} \lVert C_S - C_T \rVert_F^2 .$$

# %%
show_source(Coral)

# %% [markdown]
# The factor looks like a detail, but the weight $w$ is chosen relative to it. With $1/d$ instead of $1/(4d^2)$, at 64
# features the penalty is 256 times larger. Published code has several versions. So compare with NumPy:

# %% tags=["nbval-check-output"]
random = np.random.default_rng(SEED)
a = random.normal(size=(50, 6)).astype("float32")
b = (random.normal(size=(50, 6)) @ random.normal(size=(6, 6))).astype("float32")
by_numpy = np.sum((np.cov(a.T) - np.cov(b.T)) ** 2) / (4 * 6**2)
assert np.isclose(Coral()(a, b), by_numpy, rtol=1e-4)
assert np.isclose(Coral()(a, a), 0)
print("CORAL agrees with NumPy, and is 0 for equal features.")

# %% [markdown]
# ### MMD
#
# Two distributions can have equal means and covariances and still differ. The *maximum mean discrepancy* (Gretton et
# al. 2012) maps features into a space of functions and takes the distance of the two means there. With a kernel such as
# the Gaussian this mean determines the whole distribution. The map is never computed. With the kernel $k$,
#
# $$\text{MMD}^2 = \mathbb E\, k(s, s') + \mathbb E\, k(t, t') - 2\, \mathbb E\, k(s, t),$$
#
# where $s, s'$ are two source features drawn independently, and $t, t'$ two target features: how alike are two of the
# same domain, compared with two of different domains? In a batch we take all pairs of two *different* images; then
# the estimate is right on average, and can be a little below 0. Deep adaptation networks (Long et al. 2015) use a sum
# of Gaussian kernels of several widths, because in a small sample one width sees mainly differences of about its own
# size. Our widths are multiples of the mean squared distance in the batch, with equal shares. (The paper also learns
# the shares, and penalises several layers.)

# %%
show_source(MaximumMeanDiscrepancy)

# %% [markdown]
# Check: two samples of one distribution give about 0, shifted ones more. What does CORAL say of a mere shift?

# %% tags=["nbval-check-output"]
mmd, coral = MaximumMeanDiscrepancy(), Coral()
draws = [random.normal(size=(2, 200, 8)).astype("float32") for _ in range(20)]
same = np.mean([mmd(s, t) for s, t in draws])
shifted = np.mean([mmd(s, t + 0.5) for s, t in draws])
blind = max(abs(float(coral(s, s + 0.5))) for s, _ in draws)
assert abs(same) < 0.005 < 0.02 < shifted and blind < 1e-6
print("MMD sees the shift. CORAL does not: covariances ignore the mean.")

# %% [markdown]
# ## 6. DANN: an adversary
#
# Instead of choosing a distance, one can learn it. A *domain classifier* tries to tell from the features which domain
# an input is from; the extractor tries to prevent it (Ganin & Lempitsky 2015; Ganin et al. 2016). If even the best
# classifier of its kind fails, the domains are alike as far as such classifiers see. That is close to the distance of
# section 1, which asks what *pairs* of classifiers see.
#
# Two players with opposite aims usually need two optimisers. The *gradient reversal layer* makes do with one. On the
# way forward it is the identity. On the way back it multiplies the gradient by $-\lambda$. So the classifier above it
# descends its loss while the extractor below it climbs the same loss.
#
# It can be written without a custom gradient. With $\text{stop}(x)$, which has the value of $x$ and the derivative 0:
#
# $$R(x) = x + (1 + \lambda)\left(\text{stop}(x) - x\right).$$
#
# The bracket is zero, so $R(x) = x$. The derivative is $1 - (1 + \lambda) = -\lambda$.

# %%
from course_utils.adaptation import GradientReversal

show_source(GradientReversal.call, DomainAdversary.call, ReversalSchedule.on_train_batch_begin)

# %% [markdown]
# A sign is easy to get wrong, and a wrong one still trains. So we test the layer against *finite differences*: move
# each input a little and see how the output really changes. What comes back through the layer must be $-\lambda$
# times that.

# %% tags=["nbval-check-output"]
x = tf.constant(random.normal(size=5))
for strength in (0.0, 0.3, 1.0):
    reversal = GradientReversal(strength, dtype="float64")
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(tf.sin(reversal(x)))
    units = tf.eye(5, dtype="float64")
    moved = [tf.reduce_sum(tf.sin(reversal(x + 1e-6 * unit))) for unit in units]
    differences = (tf.stack(moved) - value) / 1e-6
    assert np.array_equal(reversal(x), x), "forward must be the identity"
    assert np.allclose(tape.gradient(value, x), -strength * differences, atol=1e-5), "-λ times"
    print(f"λ = {strength}: forward identity, backward -{strength} times the finite differences")

# %% [markdown]
# At first the domain classifier knows nothing, and its gradient is noise. So $\lambda$ rises during training, by the
# published schedule $\lambda = 2/(1 + e^{-10p}) - 1$, where $p$ goes from 0 to 1. The constant factor in front of the
# penalty is our weight $w$. The domain classifier hardly notices $w$, because Adam divides by the size of the
# gradient. The extractor follows the sum of two gradients, and there $w$ sets the balance of domains and labels.
#
# ### Mistake: flipped labels in place of reversal
#
# Popular code replaces the layer by a trick: it trains everything, with one optimiser, to predict the *wrong* domain.
# That seems to be the opposite of predicting the right one. It is not. With flipped labels, a domain classifier whose
# last layer has the weights $-v$ has exactly the loss that it has with the weights $v$ and the right labels. Up to that
# sign it is the game without reversal: both players work *together* to tell the domains apart. First the gradients, on
# features of two domains: for reversal with the classifier as it is, for flipped labels with the classifier that they
# lead to, whose last layer is negated (`sign=-1`). Which of the two tricks turns them around?


# %%
def feature_gradient(adversary, source, target, reverse, flip, sign=1):
    """Return the gradient that the features get from the domain classifier."""
    hidden, last = adversary.classifier.layers
    features = tf.constant(np.concatenate([source, target]))
    domain = np.repeat([[float(flip)], [1 - float(flip)]], [len(source), len(target)], axis=0)
    with tf.GradientTape() as tape:
        tape.watch(features)
        x = adversary.reversal(features) if reverse else features
        logits = sign * last(hidden(x))
        loss = ops.mean(ops.binary_crossentropy(domain.astype("float32"), logits, from_logits=True))
    return tape.gradient(loss, features).numpy().ravel()


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


# %% tags=["nbval-check-output"]
adversary = DomainAdversary()
adversary(a, b)
plain = feature_gradient(adversary, a, b, reverse=False, flip=False)
reversed_ = feature_gradient(adversary, a, b, reverse=True, flip=False)
flipped = feature_gradient(adversary, a, b, reverse=False, flip=True, sign=-1)
print(f"reversal against no reversal:     cosine {cosine(reversed_, plain):+.3f}")
print(f"flipped labels against no reversal: cosine {cosine(flipped, plain):+.3f}")
assert cosine(reversed_, plain) < -0.999 and cosine(flipped, plain) > 0.999

# %% [markdown]
# Reversal turns the gradient around. Flipped labels leave it as it was, once the classifier has followed them to $-v$:
# the +1.000 is the identity above, in numbers. With the weights still at $v$ (try `sign=1`) flipped labels do turn the
# gradient. But classifier and extractor train on the same labels, so the classifier changes its sign, and then the game
# is the one without reversal.
#
# Now train both, from UCI to MNIST, with weight 1. We look at the domain classifier's own accuracy on the true domains,
# and at a *probe* (Alain & Bengio 2017): a new linear classifier, fitted on the finished features and judged on
# features that it was not fitted on.

# %%
from course_utils.adaptation import domain_accuracy

show_source(domain_accuracy)


# %%
class FlippedAdversary(DomainAdversary):
    def call(self, source, target):
        logits = self.classifier(ops.concatenate([source, target]))  # no reversal
        is_target = ops.concatenate([ops.ones_like(source[:, :1]), ops.zeros_like(target[:, :1])])
        return ops.mean(ops.binary_crossentropy(is_target, logits, from_logits=True))


def features_of(model, task):
    return [outputs(model.extractor, x) for x in (task.check.x, task.test.x)]


def says_right(model, features):
    logits = [np.array(model.penalty.classifier(one)).ravel() for one in features]
    return (np.mean(logits[0] < 0) + np.mean(logits[1] > 0)) / 2


# %%
name, seed = "UCI → MNIST", SEEDS[0]
task, weights = tasks[seed][name], begin["UCI → MNIST", SEEDS[0]]
PENALTIES["flipped"] = FlippedAdversary
domains = {}
uses = {"source only": "no adversary", "DANN": "reversal", "flipped": "flipped labels"}
for use, label in uses.items():
    model = trained(task, use, weights, weight=1.0, epochs=2 * SMALL_EPOCHS, seed=seed)
    features = features_of(model, task)
    own = says_right(model, features) if model.penalty else np.nan
    domains[label] = own, domain_accuracy(*features), accuracy(model, task.test)
columns = ["domain classifier", "probe of the domain", "accuracy on the target"]
pd.DataFrame(domains, index=columns).T.round(3)

# %%
own, by_probe, _ = domains["flipped labels"]
expect("flip_own", own, contrast=by_probe, limits=(0, 1))
expect("reversal_own", domains["reversal"][0], contrast=own, limits=(0, 1))
expect("reversal_probe", domains["reversal"][1], contrast=0.5, limits=(0, 1))

# %% [markdown]
# With flipped labels the domain classifier has an accuracy of {{flip_own.mean:.2f}}, which looks like a triumph of
# confusion. It is the opposite: who is nearly *always* wrong knows the answer, and the probe names the domain with an
# accuracy of {{flip_own.contrast:.2f}}. With reversal the classifier is at {{reversal_own.mean:.2f}}. There, look for
# .5, not for 0.
#
# But look at the probe after reversal as well: {{reversal_probe.mean:.2f}}, about as much as without any adversary. The
# domain classifier is much less sure than it was, and yet a fresh one finds the domain at once. "The domain classifier
# is confused" says something about that classifier. Whether the domains are alike, ask a probe.
#
# The last column does not give the mistake away: flipped labels need not score worse than reversal. (It is one run, and
# the first row is no fair baseline: its BatchNormalization has not seen the target. Section 9 has the control.) A wrong
# adversary survives in code because its accuracy looks no different. Its gradient does.
#
# ADDA (Tzeng et al. 2017) does flip labels, and rightly so: there the domain classifier has its own optimiser and the
# right labels, and only the target's extractor is trained on flipped ones. As in a GAN, where one network forges and
# another detects, that gives the extractor a stronger gradient than reversal while the classifier still wins easily.
#
# ### Mistake: a λ that nothing uses
#
# `fit` turns the training step into a graph, once. A Python number that it meets becomes a constant of the graph. If
# $\lambda$ is an attribute, `layer.strength = 0.3`, the schedule changes the attribute and the graph keeps its zero.
# Training runs, $\lambda$ is logged as it rises, and nothing adapts. In our layer $\lambda$ is a *variable*.


# %%
class NumberReversal(layers.Layer):
    strength = 0.0  # a Python number

    def call(self, x):
        return x + (1.0 + self.strength) * (ops.stop_gradient(x) - x)


@tf.function
def traced_gradient(layer, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(layer(x))
    return tape.gradient(value, x)


# %% tags=["nbval-check-output"]
number, variable = NumberReversal(), GradientReversal(0.0)
for strength in (0.0, 0.3, 1.0):
    number.strength = strength
    variable.strength.assign(strength)
    got = [float(traced_gradient(layer, tf.ones(1))[0]) for layer in (number, variable)]
    print(f"λ = {strength}: the gradient times {got[0]:+.1f} (number), {got[1]:+.1f} (variable)")
    assert np.isclose(got[1], -strength) and got[0] == 0

# %% [markdown]
# The test to remember: train twice with different weights of the penalty. If the results agree to the last digit, it
# is not used. Exercise 1 does it.
#
# ## 7. Pseudo-labels
#
# The last method needs no penalty. A model labels the target itself; its most confident labels, of which one hopes that
# they are right more often than the rest, join the training data, and the next round begins (Lee 2013). Three things
# hold back errors that would feed themselves. A share of *each* predicted class is kept (Zou et al. 2018), because a
# common threshold would drop the hard digits. Training sees augmented images, while the labels came from clean ones:
# the model must give a shifted and turned digit the label of the straight one. (Agreement under augmentation is the
# idea of French, Mackiewicz & Fisher 2018, who average weights besides.) And after each round the statistics of
# BatchNormalization are taken anew, from clean target images, because training has mixed in the source and the
# augmentation.
#
# Shifts and small turns leave any digit what it is. Another augmentation might help more: inverting half of the source
# images would hand over the very difference between MNIST and MNIST-M. But then it would be *us* who adapt, having
# looked at the target. We want to see what the methods do.

# %%
from course_utils.adaptation import confident

show_source(confident)


# %%
shift = layers.RandomTranslation(0.08, 0.08, fill_mode="nearest", seed=0)
turn = layers.RandomRotation((-0.03, 0.03), fill_mode="nearest", seed=0)


def augmented(inputs, y):
    """Shift and turn images in training; the statistics of AdaBN come from clean ones."""
    x = inputs["source"]
    x = turn(shift(x, training=True), training=True) if len(x.shape) == 4 else x
    return inputs | {"source": x}, y


# %%
def self_trained(task, use, weights, epochs, seed):
    """Begin with AdaBN; then label, train, and take the statistics anew, for some rounds."""
    model = trained(task, use, weights, epochs=0)
    adapt_batch_norm(model.extractor, task.target.x, batch_size=2 * BATCH)
    for share in np.linspace(0.5, 0.8, ROUNDS):
        rows, labels = confident(outputs(model, task.target.x), share)
        both = merged(task.source, Samples(task.target.x[rows], labels[rows]))
        data = unlabelled_target(both, task.target.x, BATCH, seed).map(augmented)
        model.fit(data, epochs=epochs, shuffle=False, verbose=0)
        adapt_batch_norm(model.extractor, task.target.x, batch_size=2 * BATCH)
    return model


# %% [markdown]
# Self-training can begin from any model that is right often enough. Ours begins from the source model, with AdaBN.
#
# ## 8. Choosing without target labels
#
# How large should the weight of a penalty be? Usual advice is to try some and take the best on validation. But the
# validation labels would have to be target labels, and if we had any, we would train on them.
#
# *Reverse validation* (Zhong et al. 2010; used for DANN by its authors) does without. Train with a weight and let the
# model label the target. Then go back: with these labels, treat the target as the source, adapt *to* the source by
# the same method and weight, and score on the source, where true labels are known. Labels full of errors cannot teach
# the way back.


# %%
def reverse_accuracy(task, use, weights, weight, labels, seed):
    back = Task(Samples(task.target.x, labels), task.check, task.source, task.check)
    model = trained(back, use, weights, weight, SMALL_EPOCHS, seed)
    return accuracy(model, task.check)


# %% [markdown]
# We try three weights for each penalty on small tasks (in `default` one of digits and one of text, in `full` all
# five), and take for each penalty *one* weight: the one with the highest mean of reverse validation. It is then used
# on all tasks, MNIST-M too.

# %%
WEIGHTS = {"CORAL": (3.0, 30.0, 100.0), "MMD": (0.3, 1.0, 3.0), "DANN": (0.1, 0.3, 1.0)}
CHOICES = [(name, SEEDS[0]) for name in ORDER[:CHOICE_TASKS]]


# %%
from itertools import product


def tried(use):
    rows = []
    for run, weight in product(CHOICES, WEIGHTS[use][:WEIGHTS_TRIED]):
        name, seed = run
        task = tasks[seed][name]
        model = trained(task, use, begin[run], weight, epochs_of(name), seed)
        score, labels = accuracy(model, task.test), predicted(model, task.target.x)
        back = reverse_accuracy(task, use, fresh[run], weight, labels, seed)
        rows.append((use, name, seed, weight, back, score))
    return rows


# %% [markdown]
# The models are made one after the other, so that their random start does not depend on which thread comes first.
# Beside the three penalties stands a **control**: the same batches of both domains, with a penalty of weight 0. Its
# labels come from the source alone, but its BatchNormalization sees both domains. What the control gains, no penalty
# has earned.

# %%
PENALTIES["mixed batches"] = Coral  # with weight 0: any penalty would do
USES = ["mixed batches", *WEIGHTS]
keras.utils.set_random_seed(SEED)
for use, name in product(USES, (PHOTOS, SMALL[0], TEXT[0])):
    trained(tasks[SEEDS[0]][name], use, begin[name, SEEDS[0]], epochs=0)

# %%
with ThreadPoolExecutor(2) as pool:
    rows = [row for rows in pool.map(tried, WEIGHTS) for row in rows]
tries = pd.DataFrame(rows, columns=["method", "task", "seed", "weight", "reverse", "target"])

# %%
by_weight = tries.groupby(["method", "weight"], sort=False)[["reverse", "target"]].mean()
CHOSEN = {use: by_weight.loc[use, "reverse"].idxmax() for use in WEIGHTS} | {"mixed batches": 0.0}
print("chosen:", ", ".join(f"{use} {CHOSEN[use]:g}" for use in WEIGHTS))
by_weight.round(3)

# %% [markdown]
# The left column chooses, the right one only shows what we could not know. Within a method the rows are often so close
# that another `SEED` chooses another weight. And the chosen weights lie at the end of their three: the best may lie
# outside, and a fair comparison would try further.
#
# ### Mistake: choosing on target labels
#
# Many published comparisons choose, for each task, what is best *on the labelled target*. How much does that flatter?
# For each task we compare the accuracy of the method and weight that reverse validation chooses with that of the best
# in hindsight.

# %%
by_run = tries.groupby("task", sort=False)
honest = tries.loc[by_run["reverse"].idxmax()].set_index("task")
hindsight = tries.loc[by_run["target"].idxmax()].set_index("task")
columns = ["method", "weight", "target"]
pd.concat({"reverse validation": honest[columns], "hindsight": hindsight[columns]}, axis=1).round(3)

# %%
expect("hindsight", hindsight["target"].mean(), limits=(0, 1))
expect("flattery", (hindsight["target"] - honest["target"]).mean(), limits=(0, 1))

# %% [markdown]
# Hindsight adds {{flattery.mean:.3f}} ± {{flattery.half_width:.3f}} on average, with as few as nine candidates. It
# cannot subtract: the best is never below the chosen. That gain is not there for anyone who has no labels. Compare it
# with what the methods gain on text in the next section: {{gain_text.mean:+.3f}} on average. (Gulrajani & Lopez-Paz
# 2021 found, for a related problem, that with honest selection most advantages of methods over each other
# disappeared.)
#
# Be as critical of reverse validation. It notices only errors that do not cancel on the way back. If all threes become
# eights and all eights threes, the way back can exchange them again, and the score is perfect.
#
# ## 9. Results


# %%
def adapt(use):
    for name, seed in RUNS:
        task = tasks[seed][name]
        model = trained(task, use, begin[name, seed], CHOSEN[use], epochs_of(name), seed)
        finished[name, seed, use] = weights_of(model), accuracy(model, task.test)
        if (name, seed) == (PHOTOS, SEEDS[0]):
            histories[use] = model.history.history


def self_train():
    for name, seed in RUNS:
        task, start = tasks[seed][name], finished[name, seed, "source only"][0]
        model = self_trained(task, "pseudo-labels", start, epochs=2, seed=seed)
        finished[name, seed, "pseudo-labels"] = weights_of(model), accuracy(model, task.test)


# %%
histories = {}
with ThreadPoolExecutor(2) as pool:
    jobs = [pool.submit(self_train), *(pool.submit(adapt, use) for use in USES)]
    for job in jobs:
        job.result()

# %% [markdown]
# Mean accuracy and 95% interval over the seeds; no result is anybody's best seed.

# %%
from course_utils.evaluation import confidence_interval, mean_plus_minus

METHODS = ["source only", "AdaBN", *USES, "pseudo-labels", "trained on target"]
results = accuracies()
by_method = dict(index="method", columns="task", values="accuracy", aggfunc=mean_plus_minus)
results.pivot_table(**by_method).reindex(index=METHODS, columns=TASKS)

# %%
import seaborn as sns

colours = dict.fromkeys(METHODS, ROLE_COLOURS["transfer"])
colours |= dict.fromkeys(["source only", "mixed batches"], ROLE_COLOURS["reference"])
colours["trained on target"] = ROLE_COLOURS["upper bound"]
figure, axes = plt.subplots(2, 3, figsize=(14, 7.5), sharey=True)
for ax, name in zip(axes.flat, TASKS):
    rows = results[results["task"] == name]
    sns.pointplot(
        rows, x="accuracy", y="method", hue="method", palette=colours,
        order=METHODS, hue_order=METHODS, linestyle="none", legend=False, ax=ax,
        errorbar=confidence_interval,
    )  # fmt: skip
    ax.axvline(source_only[name], color=ROLE_COLOURS["reference"], linestyle=":", linewidth=1.5)
    ax.set(title=name, xlabel="", ylabel="")
figure.supxlabel("balanced accuracy on the target")
figure.set_label("Accuracy of eight methods with intervals, on six tasks")
plt.show()

# %% [markdown]
# The dotted line is the model without adaptation; a mean to the left of it is below that model. Grey are the models
# without any adaptation and the control, green is the one with target labels. Mind the axes: those of the text tasks
# show a much smaller range. (Three seeds make wide intervals. They show how far a mean can be trusted, not whether two
# methods differ on the same seed.) Now the **share of the gap closed**, 0 for that model and 1 for the one trained on
# target labels. (On a task with a small gap this share is a small number divided by a small number, so read it beside
# the accuracies.)

# %%
from course_utils.adaptation import gap_closed

average = means(results).reindex(METHODS)
share = average.apply(gap_closed, axis=1, args=(source_only, bound))
share.iloc[1:-1].round(2)

# %%
pseudo = average.loc["pseudo-labels", PHOTOS]
expect("pseudo_photos", pseudo, contrast=source_only[PHOTOS], limits=(0, 1))
expect("gap_pseudo", share.loc["pseudo-labels", PHOTOS], contrast=share.loc["AdaBN", PHOTOS])
expect("gap_mixed", share.loc["mixed batches", PHOTOS], contrast=0)
for use, name in {"CORAL": "gap_coral", "MMD": "gap_mmd", "DANN": "gap_adversary"}.items():
    expect(name, share.loc[use, PHOTOS])
penalised = average.loc[list(WEIGHTS), PHOTOS].mean()
expect("penalty_gain", penalised - average.loc["mixed batches", PHOTOS], limits=(-1, 1))

# %% tags=["nbval-check-output"]
text = average[TEXT].mean(axis=1)
adapted = METHODS[1:-1]
expect("adapted_text", text[adapted].mean(), contrast=text["trained on target"], limits=(0, 1))
expect("gain_text", text[adapted].mean() - text["source only"], limits=(-1, 1))
digits = average[SMALL[:2]].mean(axis=1)
expect("adapted_digits", digits["pseudo-labels"], contrast=digits["source only"], limits=(0, 1))
hurts = (average.loc[adapted, TEXT] < source_only[TEXT]).to_numpy().sum()
assert hurts > 0 or PROFILE == "smoke", "on text, adaptation should hurt somewhere"
print("Of the eighteen means on text, some lie below the model without adaptation.")

# %% [markdown]
# **Photographs.** Every method ends above the model without adaptation, which has {{pseudo_photos.contrast:.2f}}.
# AdaBN closes {{gap_pseudo.contrast:.0%}} of the gap, CORAL {{gap_coral.mean:.0%}} (± {{gap_coral.half_width:.0%}}),
# MMD {{gap_mmd.mean:.0%}} (± {{gap_mmd.half_width:.0%}}), DANN {{gap_adversary.mean:.0%}} (±
# {{gap_adversary.half_width:.0%}}), and self-training with pseudo-labels, which begins with AdaBN,
# {{gap_pseudo.mean:.0%}}, with an accuracy of {{pseudo_photos.mean:.2f}}. For orientation: the DANN paper reports .52
# without, .77 with DANN and .96 with target labels, by our measure 56% of the gap. **We did not reproduce that.**
# Ours has the small weight that reverse validation chose and some 140 steps; the paper had many more steps, twenty
# times as many digits, no BatchNormalization, and other photographs. Which of these matters, we did not test. So
# nothing here speaks against DANN as a method.
#
# Two things to notice. First, the control. Batches of both domains with weight 0 close {{gap_mixed.mean:.0%}} of the
# gap, without any penalty: the BatchNormalization in them has seen the target. On the mean of the three, the
# penalties add {{penalty_gain.mean:+.4f}} ± {{penalty_gain.half_width:.4f}} of accuracy to that: nothing was shown.
# Whoever compares DANN only with training on the source counts this effect to DANN, if there is BatchNormalization in
# the network. (The weights were chosen elsewhere and without target labels; others, picked in hindsight, may do
# better.)
#
# Second, self-training gains most. But the comparison is not even: it trains for more than twice as many steps as the
# penalties, and with augmentation. No control has both and no pseudo-labels, so the table does not say what the
# pseudo-labels alone bring.
#
# **A reservation**, for it concerns every comparison of this kind. The weights were chosen without target labels. All
# the rest was not. Network, epochs, rounds, shares, augmentation, the weights to try, and where self-training takes
# its statistics were settled in trials in which we saw the accuracies on test images; the last of these choices alone
# raised self-training clearly. This favours self-training, the row that wins. So the figures on photographs are too
# good, and nobody can say by how much. A clean figure needs a target that was not used in any choice.
#
# **Small digits.** On the mean of both directions, self-training brings {{adapted_digits.contrast:.2f}} to
# {{adapted_digits.mean:.2f}}. More than half of that is already there with AdaBN, and the way to the last row of the
# table remains long. One difference between these domains is the crop: each UCI digit was stretched to fill its
# field, a MNIST digit keeps its shape within 20 by 20 pixels. A better crop needs no adaptation; we did not try one
# here.
#
# **Text.** Five methods and the control on three tasks: on average {{adapted_text.mean:.2f}}, where
# {{bound_text.contrast:.2f}} was reached without any and {{adapted_text.contrast:.2f}} with target labels. Many of
# the eighteen means lie *below* the model without adaptation. Look at the intervals: most of these differences, up or
# down, mean nothing. One possible reason, which we did not test: the class shares differ between these domains
# (section 2). Whoever makes the features alike as a whole must then move some positive sentences of one domain onto
# negative ones of the other (Zhao et al. 2019).
#
# So there is no best method. There is a table to make for your own task, with the model without adaptation in its
# first row.

# %% [markdown]
# ### Check: no label of the target was used
#
# A leak is easily made: a variable of the wrong name, a "validation" set, a normalisation by class. A simple check
# finds any that goes through the training: scramble the labels of the target's training set and train again, here for
# one epoch on one task. Not one prediction may change. (The leak of the reservation above it cannot find. That one goes
# through the eyes of the author.)

# %% tags=["nbval-check-output"]
name, seed = "UCI → MNIST", SEEDS[0]
task = tasks[seed][name]
scrambled = task._replace(target=task.target._replace(y=random.permutation(task.target.y)))
start = begin[name, seed]
for use in WEIGHTS:
    models_of = (trained(one, use, start, CHOSEN[use], 1, seed) for one in (task, scrambled))
    first, second = [predicted(model, task.test.x) for model in models_of]
    assert np.array_equal(first, second), f"{use} has seen labels of the target"
print("CORAL, MMD and DANN predict the same after the target labels are scrambled.")

# %% tags=["nbval-check-output"]
models_of = (self_trained(one, "pseudo-labels", start, 1, seed) for one in (task, scrambled))
first, second = [predicted(model, task.test.x) for model in models_of]
assert np.array_equal(first, second), "self-training has seen labels of the target"
print("So does self-training.")

# %% [markdown]
# ## 10. Looking inside
#
# ### Is the adversary at work?
#
# Over the epochs of one run on photographs: $\lambda$ as the schedule sets it, the loss of the source's labels
# together with the weighted penalty, and the penalty itself, here the loss of the domain classifier. Guessing costs
# it $\log 2 = .69$. Below that it tells the domains apart. Above it, it is worse than a guess: the features move away
# faster than it can follow.

# %%
history = pd.DataFrame(histories["DANN"])
figure, axes = plt.subplots(1, 3, figsize=(14, 3.8))
titles = {"reversal": "λ", "loss": "Whole loss", "penalty": "Loss of the domain classifier"}
for ax, (column, title) in zip(axes, titles.items()):
    ax.plot(history.index + 1, history[column], marker="o")
    ax.set(title=title, xlabel="epoch", xticks=history.index + 1)
axes[2].axhline(np.log(2), color=ROLE_COLOURS["reference"], linestyle=":")
figure.set_label("λ, whole loss and loss of the domain classifier of DANN, by epoch")
plt.show()

# %% [markdown]
# In a run this short the schedule brings $\lambda$ close to 1 within the first epoch. The right panel is the one to
# watch, and it may swing to either side of the line. As section 6 showed, even a loss at $\log 2$ would not mean that
# the domains are alike. So we measure it.
#
# ### How far apart are the domains?
#
# The *proxy A-distance* (Ben-David et al. 2007) turns the error $e$ of a domain probe into a distance: $2(1 - 2e)$,
# from 0 (cannot tell) to 2 (always can). It stands in for the distance $d$ of section 1, as a linear classifier sees
# it. Do the methods with the smallest distance have the highest accuracy?

# %%
from course_utils.adaptation import proxy_a_distance


def features_by(method, run):
    task = tasks[run[1]][run[0]]
    return features_of(model_with(finished[(*run, method)][0], task), task)


distances = {}
for method in METHODS:
    pairs = [features_by(method, (PHOTOS, seed)) for seed in SEEDS]
    distances[method] = np.mean([proxy_a_distance(*pair) for pair in pairs])
pd.DataFrame({"proxy A-distance": distances, "accuracy": average[PHOTOS]}).round(3)

# %% tags=["nbval-check-output"]
expect("distance_before", distances["source only"], limits=(0, 2))
nearer = distances["MMD"] < distances["source only"] - 0.2
assert nearer or PROFILE == "smoke", "MMD should bring the domains nearer to each other"
print("MMD brings the domains nearer to each other.")
expect("distance_dann", distances["DANN"], limits=(0, 2))

# %% [markdown]
# On the whole they do, but not where it matters. MMD brings the distance down from {{distance_before.mean:.2f}},
# further than training on target labels does, and its accuracy is only middling. AdaBN leaves the distance about where
# it was, and wins much. After our DANN a fresh probe finds the domain about as easily as before
# ({{distance_dann.mean:.2f}} ± {{distance_dann.half_width:.2f}}): with this weight and so few steps it fails at its own
# aim. A small distance
# helps only if class comes to lie on class: that is the third term of the bound. Compare the maps.
#
# ### Maps of the features
#
# Features of the source (grey) and of the target (blue), each drawn as its digit and placed in the plane by t-SNE so
# that neighbours stay neighbours; t-SNE is by van der Maaten & Hinton (2008); sizes of groups and distances between
# them mean little (Wattenberg, Viégas & Johnson 2016). What would a perfect adaptation look like?

# %%
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE


def plane_of(features):
    if MAP == "PCA":
        return PCA(2).fit_transform(features)
    return TSNE(random_state=SEED).fit_transform(features)


# %%
def draw_map(method, ax):
    n, run = SHOWN, (PHOTOS, SEEDS[0])
    task = tasks[run[1]][run[0]]
    plane = plane_of(np.concatenate([features[:n] for features in features_by(method, run)]))
    n = len(plane) // 2
    domains = ((plane[:n], task.check.y[:n], "reference"), (plane[n:], task.test.y[:n], "transfer"))
    for (points, labels, role), digit in product(domains, range(10)):
        style = dict(marker=f"${digit}$", s=50, linewidth=0.3, color=ROLE_COLOURS[role])
        ax.scatter(*points[labels == digit].T, **style)
    ax.set(title=method[0].upper() + method[1:], xticks=[], yticks=[])


# %%
figure, axes = plt.subplots(1, 3, figsize=(15, 5.2))
for ax, method in zip(axes, ("source only", "DANN", "pseudo-labels")):
    draw_map(method, ax)
figure.set_label("Maps of features, source grey, target blue: three methods")
plt.show()

# %% [markdown]
# Without adaptation the source falls into ten groups, and most of the target lies in one heap beside them, the digits
# mixed. After DANN there is still such a heap. Self-training knows nothing of distances, yet it draws blue digits
# towards the grey ones of their class, because it works on the classes. In the middle some remain, of all classes. A
# perfect adaptation would show ten groups, each of one digit, grey and blue mixed.
#
# ## 11. Using it
#
# ### Save and load
#
# The adapted model is one Keras model. Saved, it holds extractor, head and penalty, and predicts on plain inputs.

# %% tags=["nbval-check-output"]
import tempfile
from pathlib import Path

task = tasks[SEEDS[0]]["UCI → MNIST"]
model = trained(task, "DANN", begin["UCI → MNIST", SEEDS[0]], CHOSEN["DANN"], 1)
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "adapted.keras")
    loaded = keras.models.load_model(Path(folder) / "adapted.keras")
images = task.test.x[:5]
assert np.array_equal(model(images), loaded(images))
print("The loaded model gives the same logits.")

# %% [markdown]
# ### What is refused

# %% tags=["nbval-check-output"]
from course_utils.errors import CourseError

for source, target in ((task.source, task.target), (task.source, tasks[SEEDS[0]][PHOTOS].target.x)):
    try:
        unlabelled_target(source, target)
    except CourseError as error:
        print(error, end="\n\n")

# %% [markdown]
# ### USPS
#
# The other classic pair is MNIST and USPS (Hull 1994). The file does not travel with any package. If you have one, an
# `.npz` with `x_train`, `y_train`, `x_test` and `y_test`, give its path as the parameter `USPS`.

# %%
if USPS:
    from course_utils.data import load_usps

    usps = load_usps(USPS, seed=SEED)
    sets = [as_8_by_8(samples) for samples in (usps.train, usps.validation, usps.test)]
    source = [as_8_by_8(samples) for samples in shortened(load_mnist(SEED))]
    usps_task = task_of(source, sets)
    keras.utils.set_random_seed(SEED)
    start = [piece.get_weights() for piece in new_pieces(usps_task)]
    for use in ("source only", *WEIGHTS):
        model = trained(usps_task, use, start, CHOSEN.get(use, 0), 3 * SMALL_EPOCHS)
        print(f"MNIST → USPS, {use}: {accuracy(model, usps_task.test):.3f}")

# %% [markdown]
# ### Beyond this notebook
#
# - **A target that changes.** Here the target was there as a whole. Online adaptation meets it in a stream. AdaBN works
#   there already, with a moving mean; TENT (Wang et al. 2021) also trains scale and shift of the BatchNormalization by
#   making predictions on each batch more certain, and so adapts while it is used.
# - **Unsupervised or not?** If a few target labels can be had, fine-tuning on them (notebook 03) is the rival to
#   measure first.
# - **Sentiment** was an early home of adaptation (Blitzer, Dredze & Pereira 2007), with word counts as features. With a
#   frozen encoder the gap was small before adaptation began.
#
# ## Exercises
#
# ### Exercise 1: is the weight used?
#
# Train MMD twice on `UCI → MNIST` for one epoch, from the same start and with the same seed, with weights 0 and 3.
# Put the largest difference between the weights of the two extractors into `difference`. What would it be if the
# penalty were computed and never joined the loss?
#
# *Hint:* `trained(...)` returns the same model each time; `weights_of` copies.

# %% tags=["exercise"]
difference = None

# %% tags=["solution", "nbval-check-output"]
task, start = tasks[SEEDS[0]]["UCI → MNIST"], begin["UCI → MNIST", SEEDS[0]]
both = [weights_of(trained(task, "MMD", start, weight, 1, SEED))[0] for weight in (0.0, 3.0)]
again = weights_of(trained(task, "MMD", start, 3.0, 1, SEED))[0]
difference = max(np.abs(x - y).max() for x, y in zip(*both))
assert difference > 1e-4, "the weight is not used"
assert max(np.abs(x - y).max() for x, y in zip(again, both[1])) == 0
print("another weight: other features; the same weight: the same features")

# %% [markdown] tags=["solution"]
# It would be exactly zero. The second check matters as much: without it, the difference could be mere chance of the
# training.

# %% [markdown]
# ### Exercise 2: aligned, and useless
#
# An extractor that gives the same features for every input has a proxy A-distance of 0. Two domains can also be
# aligned *class on wrong class*. Build features of two domains, source and target, with two classes each (say at -2
# and +2 on the first axis, with noise), such that a domain probe cannot tell the domains apart and a classifier
# fitted on the source is nearly always wrong on the target. Put them into `source_features, target_features` and
# labels into `source_labels, target_labels`.
#
# *Hint:* the domain probe sees features and no labels. `random.normal(size=(1000, 5))` is the noise.

# %% tags=["exercise"]
source_features = target_features = source_labels = target_labels = None

# %% tags=["solution", "nbval-check-output"]
from sklearn.linear_model import LogisticRegression

sides = np.repeat([0, 1], 500)
source_features, target_features = (random.normal(size=(1000, 5)) for _ in range(2))
for features in (source_features, target_features):
    features[:, 0] += 4 * sides - 2
source_labels, target_labels = sides, 1 - sides
head = LogisticRegression().fit(source_features, source_labels)
assert abs(domain_accuracy(source_features, target_features) - 0.5) < 0.08
assert head.score(target_features, target_labels) < 0.1
print("the domains cannot be told apart, and nearly every prediction is wrong")

# %% [markdown] tags=["solution"]
# This is the third term of the bound: no single classifier is good on both. No penalty on the distance can see it, and
# neither can reverse validation, for which all is well on the way back. In practice a good start helps, from which most
# classes find their partner; hence adaptation from a trained source model, and a $\lambda$ that begins at 0.

# %% [markdown]
# ### Exercise 3: how much unlabelled target?
#
# AdaBN needs target inputs. How many? Take the source model of the first seed on photographs, adapt it with 64, 256 and
# 1,024 target images in batches of 64, and put the accuracies into `by_size`.
#
# *Hint:* `model_with(...)` puts the weights back each time; `adapt_batch_norm` changes the extractor in place.

# %% tags=["exercise"]
by_size = None

# %% tags=["solution"]
run = (PHOTOS, SEEDS[0])
task, by_size = tasks[SEEDS[0]][PHOTOS], {"none": finished[(*run, "source only")][1]}
for size in (64, 256, 1024) if PROFILE != "smoke" else (16, 32):
    model = model_with(finished[(*run, "source only")][0], task)
    adapt_batch_norm(model.extractor, task.target.x[:size], batch_size=min(64, size))
    by_size[size] = accuracy(model, task.test)
pd.Series(by_size, name="accuracy").round(3).to_frame()

# %% [markdown] tags=["solution"]
# A single batch of 64 gives nearly all of it. In a convolution the statistics of a channel are means over all positions
# of all images, thousands of numbers even for few images. (The layer behind the dense one has only as many as there
# are images.) That is why AdaBN also works on a stream.

# %% tags=["headline"]
expect.table()
