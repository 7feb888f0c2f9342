# ---
# jupyter:
#   course:
#     title: BERT and GPT
#     question: >-
#       One family of networks reads a whole sentence at once, the other only ever guesses the next word. What can be
#       transferred from each?
#     shows: >-
#       A decoder finds sentences far less surprising (perplexity {{sense_perplexity.mean:.0f}}) than the same words
#       shuffled ({{sense_perplexity.contrast:.0f}}). LoRA trains {{lora_share.mean:.1%}} as many parameters as full
#       fine-tuning; with two hundred tweets neither was shown to improve on a frozen decoder. A small GPT built by
#       hand guesses the words of tweets with a perplexity of {{hand_transfer.mean:.0f}} when it has read other texts
#       before, and of {{hand_transfer.contrast:.0f}} from scratch.
#     results:
#       sense_perplexity: "perplexity of sentences (of their words shuffled)"
#       full_accuracy: "decoder fine-tuned in full, balanced accuracy"
#       lora_accuracy: "decoder with LoRA (no difference was shown)"
#       lora_share: "parameters that LoRA trains, as a share (full fine-tuning)"
#       hand_transfer: "perplexity on tweets of a GPT built by hand, pretrained (from scratch)"
#     goals:
#       - >-
#         read what a tokenizer makes of a text (tokens, mask, padding), and notice when it is not the one of the
#         weights;
#       - draw attention maps, and compute one by hand;
#       - use an encoder (BERT) and a decoder (GPT) as frozen features, and fine-tune their upper blocks;
#       - generate text, and measure the perplexity of a language model;
#       - compare LoRA with full fine-tuning in parameters, memory, seconds and accuracy;
#       - build a small GPT, test its causality, pretrain it and transfer it;
#       - use SavedModels of TensorFlow Hub in Keras 3, and see that they really train.
#     prerequisites:
#       - notebook 02 (frozen features and a head) and notebook 03 (fine-tuning);
#       - the softmax and the cross-entropy of notebook 01.
#     recap:
#       - >-
#         Tokenizer and weights belong together. With a tokenizer that keeps accents, the vector of a sentence with
#         accents has a cosine of only {{accent_cosine.mean:.2f}} with the right one.
#       - >-
#         An encoder sees both sides of a word, a decoder only what stands before. So in a decoder only the last real
#         token has read the whole text.
#       - >-
#         The last position may be padding. With the vectors from there, only {{padded_found.mean:.0%}} of the tweets
#         were nearest to themselves once the padding was wider.
#       - >-
#         LoRA trained {{lora_share.mean:.1%}} as many parameters as full fine-tuning. On so few tweets, neither was
#         shown to differ from the frozen decoder with a good head ({{lora_gain.mean:+.3f}} ±
#         {{lora_gain.half_width:.3f}} and {{full_gain.mean:+.3f}} ± {{full_gain.half_width:.3f}}).
#       - Change the last word and look at the positions before it. If one moves, the causal mask is missing.
#       - >-
#         Guessing the next word needs no labels. Trained on the same few tweets, a small GPT that had read other
#         domains had a perplexity of {{hand_transfer.mean:.0f}}, one from scratch {{hand_transfer.contrast:.0f}}.
#       - >-
#         Count the trainable parameters before you train, and compare the weights afterwards. A layer that trains
#         nothing gives no warning.
#     references: [
#       vaswani2017, devlin2019, radford2018, radford2019, allal2025, wang2020, reimers2019, sennrich2016, su2024,
#       hu2022, jain2019, cer2018, hutto2014
#     ]
# ---

# %% tags=["parameters"]
PROFILE = "default"  # smoke, default or full
SEED = 0
UPPER_BLOCKS = 3  # of the thirty blocks of SmolLM2: these are fine-tuned
GIVEN = 100  # labelled tweets of each class
TESTED = 200  # test tweets
FOLDS = 5  # of the cross-validation that chooses a head
EPOCHS = 2  # of fine-tuning
PROMPTS = 3  # beginnings of sentences, at most 3
NEW_TOKENS = 16  # that are generated
JUDGED = 24  # sentences whose perplexity is measured
WIDTH = 64  # of the GPT built by hand
WINDOWS = 0  # of text that it reads; 0: all
READING_EPOCHS = 2  # of its pretraining
SIZES = [50, 200]  # numbers of tweets that it adapts to
MAX_EPOCHS = 25  # of adapting it
TARGET_WINDOWS = 120  # of tweets, for validation and for the test
HUB_SENTENCES = 6000  # that the layers of section 8 are trained on
ASKED = 50  # tweets of exercise 2
EAGER = False  # True: no graphs where few batches do not pay for them
ONLINE = False  # True runs what needs the internet: GPT-2, BERT, the Universal Sentence Encoder

# %% [markdown]
# The tools used throughout. Others are imported where they are first needed.

# %%
import hashlib
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import keras_hub
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import tensorflow as tf
from keras import layers, ops
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from threadpoolctl import threadpool_limits

from course_utils.cache import cached
from course_utils.data import Samples, fetch, few_shot, load_sentiment
from course_utils.data.catalog import find_asset
from course_utils.errors import CourseError
from course_utils.evaluation import PALETTE, ROLE_COLOURS, show_source
from course_utils.models import HubLayer
from course_utils.text import load_minilm, load_smollm2, sentence_encoder, tokenize

limits = threadpool_limits(1, user_api="blas")  # threads would only wait for each other
tf.get_logger().setLevel("ERROR")  # it takes the many small graphs of this notebook for a mistake
tf.config.run_functions_eagerly(EAGER)
warnings.filterwarnings("ignore", message="Even though the")  # tf.data keeps its graphs

# %% [markdown]
# ## 1. From text to numbers
#
# Both families are Transformers (Vaswani et al. 2017). Both are pretrained on text without labels: a part of it is
# hidden, and they guess it. They differ in what they may look at.
#
# - An **encoder** such as BERT (Devlin et al. 2019) sees the whole sentence. Some words in it are masked, and it
#   guesses these from both sides.
# - A **decoder** such as GPT (Radford et al. 2018) sees only what stands before, and guesses the next word. So it can
#   write.
#
# We use one of each, both small enough for a laptop. MiniLM is a small BERT, distilled from a larger one (Wang et
# al. 2020) and then trained on pairs of sentences, as in Reimers & Gurevych (2019), to give good sentence vectors.
# SmolLM2 (Allal et al. 2025) is a GPT with 135 million weights; ours was later trained to follow instructions, too.
#
# Neither sees text. A tokenizer cuts a text into **tokens**, words or pieces of words, and each token has a number, its
# **id**. Each network sees the ids that *its own* tokenizer gives. Look at where the two cut.

# %%
bert_tokenizer, bert = load_minilm()
gpt_tokenizer, gpt = load_smollm2()


def names_of_tokens(tokenizer, ids):
    return [tokenizer.id_to_token(int(token_id)) for token_id in ids]


def cut_by_bert(text):
    return names_of_tokens(bert_tokenizer, tokenize(bert_tokenizer, [text])["token_ids"][0])


def cut_by_gpt(text):
    return [gpt_tokenizer.detokenize([int(token_id)]) for token_id in gpt_tokenizer(text)]


# %% tags=["nbval-check-output"]
for text in ["An unwatchable film.", "The café paid $19.99", "not bad at all :-)"]:
    print("BERT:", " | ".join(cut_by_bert(text)))
    print("GPT: ", " | ".join(cut_by_gpt(text)), "\n")

# %% [markdown]
# BERT's tokens are lower-case and without accents. `##` marks a token that continues a word, and `[CLS]` and
# `[SEP]` stand around each sentence. The tokens of GPT were found by merging frequent neighbours again and again
# (Sennrich, Haddow & Birch 2016), starting from single bytes (Radford et al. 2019). They keep capitals, accents and
# spaces: " film" with its space in front is one token. So nothing is unknown to it, and the text can be put
# together again exactly, as a model that writes needs.

# %% tags=["nbval-check-output"]
text = "Déjà vu at the café, twice :-)"
assert gpt_tokenizer.detokenize([int(token_id) for token_id in gpt_tokenizer(text)]) == text
print("tokens in the vocabulary: BERT", f"{bert_tokenizer.vocabulary_size():,};", end=" ")
print("GPT", f"{gpt_tokenizer.vocabulary_size():,}")

# %% [markdown]
# ### Padding and its mask
#
# A batch is one array, so shorter sentences are filled up. The **mask** says which positions are real. Here are the ids
# that go into BERT, with grey for padding.

# %%
sentences = ["Wonderful.", "An unwatchable film.", "Not bad at all, the ending was lovely!"]
tokens = tokenize(bert_tokenizer, sentences)
labels = []
for ids in tokens["token_ids"]:
    names = names_of_tokens(bert_tokenizer, ids)
    labels.append([f"{name}\n{token_id}" for name, token_id in zip(names, ids)])
figure, ax = plt.subplots(figsize=(14, 2.4))
sns.heatmap(
    tokens["padding_mask"], annot=np.array(labels), fmt="", cbar=False, linewidths=2, ax=ax,
    vmin=-4, vmax=1, cmap="Greys_r", annot_kws={"fontsize": 10, "color": "black"},
)  # fmt: skip
ax.set(xlabel="position", ylabel="sentence")
figure.set_label("Tokens and ids of three sentences, a row each; padding is grey")
plt.show()

# %% [markdown]
# Every step behind this array must respect the mask: the attention, and whatever makes one vector out of many. Does
# the vector of "Wonderful." depend on the company it keeps? It must not.

# %% tags=["nbval-check-output"]
encoder = sentence_encoder(bert)  # the mean over the real tokens
alone = np.array(encoder(tokenize(bert_tokenizer, sentences[:1])))[0]
in_company = np.array(encoder(tokens))[0]
assert np.allclose(alone, in_company, atol=1e-5), "the mean must ignore the padding"
print("alone or in company: the same vector to 0.00001")

# %% [markdown]
# Notebook 08 shows what a plain mean over all positions does to these vectors, and what padding costs in time. There,
# batches hold sentences of like length.
#
# ### Mistake: the tokenizer of another model
#
# The files of MiniLM say that the text is to be lower-cased. They do not say that accents are to be stripped,
# because for the original library this follows. KerasHub, reading the same files, keeps them, and nobody is warned.
# Look at what becomes of a sentence, and then at the cosine between its right and its wrong vector.

# %%
keeps_accents = keras_hub.models.BertTokenizer.from_preset(str(fetch("minilm")))
accented = [
    "The café was lovely.",
    "A naïve cliché.",
    "My fiancé loved the soufflé!",
    "Déjà vu, again.",
]
for name, some_tokenizer in (("stripped", bert_tokenizer), ("kept", keeps_accents)):
    ids = tokenize(some_tokenizer, accented[2:3])["token_ids"][0]
    print(f"{name:9s}", " ".join(names_of_tokens(some_tokenizer, ids)))


# %%
def cosines(first, second):
    first, second = Normalizer().fit_transform(first), Normalizer().fit_transform(second)
    return (first * second).sum(axis=1)


right, wrong = (encoder(tokenize(one, accented)) for one in (bert_tokenizer, keeps_accents))
plain = encoder(tokenize(keeps_accents, ["The film was lovely.", "A poor plot."]))
plain_right = encoder(tokenize(bert_tokenizer, ["The film was lovely.", "A poor plot."]))
print("without accents:", cosines(plain, plain_right).round(3))
print("with accents:   ", cosines(right, wrong).round(3))

# %%
assert np.allclose(plain, plain_right, atol=1e-5)
unharmed = cosines(plain, plain_right).mean()
expect("accent_cosine", cosines(right, wrong).mean(), contrast=unharmed)

# %% [markdown]
# With its accent, a word is not in the vocabulary and becomes `[UNK]`, unknown. On plain English both tokenizers
# agree, so a quick test finds nothing. On the sentences with accents the mean cosine between the right vector and
# the wrong one is {{accent_cosine.mean:.2f}}. Compare a tokenizer with the original on difficult text, not on
# "hello world".
#
# ## 2. Attention
#
# Each position has a vector, its **state**, which changes from layer to layer. In each layer, every position looks at
# all positions and takes a mixture of what it finds. It does so several times side by side, in several **heads**. For
# one head, with queries $Q$, keys $K$ and values $V$, three linear functions of the states, and $d$ the length of a
# query,
#
# $$A = \operatorname{softmax}\left(\frac{QK^\top}{\sqrt d}\right), \qquad \text{output} = AV .$$
#
# Row $i$ of $A$ says how much of each position goes into position $i$; it sums to one. A mask does its work here:
# before the softmax, it sets what must not be seen to $-\infty$. That is padding, and in a decoder also every later
# position.
#
# We compute $A$ for all heads of one layer with nothing but this formula, and compare with what the layer itself
# reports. (A single sentence has no padding, so the mask hides nothing.)

# %%
text = "The film was not good, but the music was."
tokens = tokenize(bert_tokenizer, [text])
embeddings = keras.Model(bert.input, bert.get_layer("embeddings_layer_norm").output)
states = [embeddings(tokens)]
maps = []
for layer in bert.transformer_layers:
    options = dict(padding_mask=tokens["padding_mask"], return_attention_scores=True)
    state, scores = layer(states[-1], **options)
    states.append(state)
    maps.append(np.array(scores)[0])  # heads, from, to


# %% tags=["nbval-check-output"]
def attention_by_hand(layer, x):
    """Return softmax(QKᵀ/√d) for each head, with the weights of a layer of BERT."""
    pairs = ((weight.path.split("self_attention_layer/")[-1], weight) for weight in layer.weights)
    weights = {name: weight.numpy() for name, weight in pairs}
    query = np.einsum("pm,mhd->hpd", x, weights["query/kernel"]) + weights["query/bias"][:, None]
    key = np.einsum("pm,mhd->hpd", x, weights["key/kernel"]) + weights["key/bias"][:, None]
    scores = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


by_hand = attention_by_hand(bert.transformer_layers[3], np.array(states[3])[0])
assert np.allclose(by_hand, maps[3], atol=1e-5)
print("heads, positions, positions:", by_hand.shape, "- by hand as by the layer, to 0.00001")

# %% [markdown]
# Now look at some heads. A dark cell: the word of that row takes much from the word of that column. (Each map has a
# scale of its own, from 0 to the weight in its title.)

# %%
names = cut_by_bert(text)
figure, axes = plt.subplots(1, 3, figsize=(16, 5.2), sharey=True)
for ax, (layer, head) in zip(axes, [(0, 4), (2, 1), (5, 0)]):
    options = dict(cmap="Blues", vmin=0, square=True, cbar=False)
    sns.heatmap(maps[layer][head], ax=ax, xticklabels=names, yticklabels=names, **options)
    ax.set_title(f"layer {layer + 1}, head {head + 1}, up to {maps[layer][head].max():.2f}")
    ax.tick_params(axis="x", rotation=90, length=0)
    ax.tick_params(axis="y", rotation=0, length=0)
figure.set_label("Attention maps of three heads over the words of one sentence")
plt.show()

# %% [markdown]
# The head on the left spreads its weight over many positions, mostly near ones and `[CLS]`. In the middle, "not" takes
# nearly everything from "good", and each "the" looks at its noun. On the right, most rows take the most from `[CLS]`.
# All cells may be filled, above the diagonal too: an encoder reads in both directions.
#
# Maps like these invite stories, and we chose three heads out of 72. An attention weight is not an explanation: in
# the recurrent classifiers of Jain & Wallace (2019), quite other weights often gave the same answer.
#
# ## 3. The encoder, frozen and fine-tuned
#
# The task of this section, and of 5 and 6: is a tweet positive or negative (Hutto & Gilbert 2014)? We take short
# tweets and few labels, a hundred of each class, and measure the balanced accuracy, where guessing
# gives .5. Notebook 08 does this at length, over four domains and several draws. Here we want to see the two
# families side by side, on the same tweets.

# %%
LONGEST = 20  # tokens of either tokenizer; longer tweets are left out
tweets = load_sentiment("tweets", seed=100 * SEED)


def short_ones(samples):
    """Return the tweets that are short for both tokenizers."""
    by_bert = tokenize(bert_tokenizer, samples.x)["padding_mask"].sum(axis=1)
    by_gpt = np.array([len(gpt_tokenizer(text)) for text in samples.x])
    short = np.maximum(by_bert, by_gpt) <= LONGEST
    return Samples(samples.x[short], samples.y[short])


given = few_shot(short_ones(Samples(tweets.train.x[:1200], tweets.train.y[:1200])), GIVEN, SEED)
tested = short_ones(tweets.test)
tested = Samples(*(array[:TESTED] for array in tested))


# %% tags=["nbval-check-output"]
def in_common(first, second):
    """Return the share of the second sentences that are among the first."""
    return np.isin(second.x, first.x).mean()


assert in_common(given, tested) < 0.02, "a model would be tested on what it was trained on"
print("No more than 2% of the test tweets are among those given.")

# %% [markdown]
# Frozen: one vector a sentence, and a logistic regression on it.


# %%
def probe_on(vectors):
    """Fit a logistic regression to vectors of length one; choose C by cross-validation."""
    logistic = LogisticRegression(class_weight="balanced", max_iter=1000)
    grid, folds = {"logisticregression__C": [1, 10, 100]}, FOLDS
    pipeline = make_pipeline(Normalizer(), logistic)
    search = GridSearchCV(pipeline, grid, scoring="balanced_accuracy", cv=folds)
    return search.fit(vectors, given.y).best_estimator_


def accuracy_of(positive):
    return balanced_accuracy_score(tested.y, np.ravel(positive) > 0.5)


bert_tokens = [tokenize(bert_tokenizer, samples.x, LONGEST) for samples in (given, tested)]
bert_vectors = [np.array(encoder(tokens, training=False)) for tokens in bert_tokens]
bert_probe = probe_on(bert_vectors[0])
accuracies = {"BERT, frozen": accuracy_of(bert_probe.predict(bert_vectors[1]))}

# %% [markdown]
# Fine-tuned: the two upper blocks (a **block** is a whole layer of a Transformer) train along, with a small
# learning rate that first rises and then falls. The lower blocks stay frozen. So we send each tweet through them
# once, and keep what comes out. The head starts as the logistic regression. The same function will serve the
# decoder, so it takes the width and what to do with the states.


# %%
def upper_classifier(width, vector_of):
    """Return a model from the states below to the probability of "positive", and its inputs."""
    inputs = {
        "hidden": keras.Input((None, width), name="hidden"),
        "padding_mask": keras.Input((None,), dtype="int32", name="padding_mask"),
    }
    vector = layers.UnitNormalization()(vector_of(inputs["hidden"], inputs["padding_mask"]))
    vector = layers.Dropout(0.1)(vector)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="head")(vector))


def upper_bert(hidden, padding_mask):
    for layer in bert.transformer_layers[-2:]:
        hidden = layer(hidden, padding_mask=padding_mask)
    return layers.GlobalAveragePooling1D()(hidden, mask=ops.cast(padding_mask, "bool"))


# %%
def fine_tune(model, inputs, rate, probe):
    """Train from the head of a probe; return the seconds and the loss of the last epoch."""
    model.get_layer("head").set_weights([probe[-1].coef_.T, probe[-1].intercept_])
    steps = EPOCHS * -(-len(given.y) // 16)
    warm_up = dict(warmup_target=rate, warmup_steps=steps // 8)
    rates = keras.optimizers.schedules.CosineDecay(0.0, steps, **warm_up)
    model.compile(keras.optimizers.AdamW(rates, weight_decay=0.01), "binary_crossentropy")
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    keras.utils.set_random_seed(SEED)
    options = dict(batch_size=16, epochs=EPOCHS, verbose=0, callbacks=[clock])
    history = model.fit(inputs, given.y, **options).history
    return ends[-1] - ends[-2], history["loss"][-1]


# %%
below = keras.Model(bert.input, bert.transformer_layers[-3].output)
bert_inputs = [
    {"hidden": np.array(below(tokens, training=False)), "padding_mask": tokens["padding_mask"]}
    for tokens in bert_tokens
]
tuned_bert = upper_classifier(384, upper_bert)
fine_tune(tuned_bert, bert_inputs[0], 2e-4, bert_probe)
accuracies["BERT, fine-tuned"] = accuracy_of(tuned_bert(bert_inputs[1], training=False))
pd.Series(accuracies, name="balanced accuracy").round(3).to_frame()

# %%
expect("bert_frozen", accuracies["BERT, frozen"], contrast=0.5, limits=(0, 1))
expect("bert_fine_tuned", accuracies["BERT, fine-tuned"], limits=(0, 1))

# %% [markdown]
# Over repetitions with other tweets, frozen vectors of BERT reach {{bert_frozen.mean:.2f}} on average, the fine-tuned
# upper blocks {{bert_fine_tuned.mean:.2f}}. Both meet the same tweets in a repetition, so luck with the tweets (SD
# {{bert_frozen.std:.2f}} and {{bert_fine_tuned.std:.2f}}) is common to them and mostly cancels in the difference. But
# a difference as small as this one is a handful of test tweets: nothing was shown for either. Section 6 compares in
# this way, within each repetition.
#
# ## 4. A decoder guesses the next word
#
# SmolLM2 comes as a file for quantised inference, with 4 bits a weight, and a scale and an offset for each block of
# 32 weights. `load_smollm2` turns it into weights of Keras. There is one trap on the way,
# visible in `in_keras_order`. A decoder tells positions apart by *rotating* pairs of features of queries and keys (Su
# et al. 2024), and the file keeps these pairs in another order than Keras. Loaded as they are, all shapes fit, and no
# error would tell that pairs are rotated which do not belong together.

# %%
from course_utils.text.smollm2 import in_keras_order

show_source(in_keras_order)

# %% [markdown]
# What a decoder gives out for a position is a **logit** for each token of the vocabulary: the product of the last
# state of the position with the embedding of the token, its vector in the very first table. That table is used twice,
# the second time backwards. A softmax turns logits into probabilities of the next token. The tests of this course
# compare the logits with those of the original library on PyTorch: they agree to 0.0002.
#
# The decoder runs often below. We cut it in two, lower and upper blocks, and make a graph of each.

# %%
CUT = len(gpt.transformer_layers) - UPPER_BLOCKS
lower = keras.Model(gpt.input, gpt.transformer_layers[CUT - 1].output)
inputs = {
    "hidden": keras.Input((None, 576), name="hidden"),
    "padding_mask": keras.Input((None,), dtype="int32", name="padding_mask"),
}
states = inputs["hidden"]
for layer in gpt.transformer_layers[CUT:]:
    states = layer(states, decoder_padding_mask=inputs["padding_mask"])
upper = keras.Model(inputs, gpt.layer_norm(states))


# %%
def as_graph(model):
    """Return the model as one graph for batches of any length."""
    shapes = {}
    for name, one in model.input.items():
        shapes[name] = tf.TensorSpec((None, None, *one.shape[2:]), one.dtype)
    graph = tf.function(lambda batch: model(batch, training=False), [shapes], autograph=False)
    return lambda batch: graph(keras.tree.map_structure(ops.convert_to_tensor, batch))


run_lower, run_upper = as_graph(lower), as_graph(upper)


# %%
def gpt_tokens(texts, longest=None):
    ids = [gpt_tokenizer(text)[:longest] for text in texts]
    mask = keras.utils.pad_sequences([np.ones_like(row) for row in ids], padding="post")
    return {"token_ids": keras.utils.pad_sequences(ids, padding="post"), "padding_mask": mask}


def logits_of(tokens):
    """Return the logits of every next token, shape (n, positions, vocabulary)."""
    states = run_upper({"hidden": run_lower(tokens), "padding_mask": tokens["padding_mask"]})
    return np.array(gpt.token_embedding(states, reverse=True))


# %%
def next_tokens(text, count=8):
    probabilities = np.array(ops.softmax(logits_of(gpt_tokens([text]))[0, -1]))
    best = np.argsort(-probabilities)[:count]
    return {gpt_tokenizer.detokenize([int(i)]): float(probabilities[i]) for i in best}


# %% [markdown]
# Give it the beginning of a sentence. Which tokens does it expect next, and how sure is it? (The quotation marks show
# where a token begins with a space.)

# %%
prompts = ["The capital of France is", "I would not recommend this", "The film was so bad that I"]
prompts = prompts[:PROMPTS]
figure, axes = plt.subplots(1, len(prompts), figsize=(15, 3.6), squeeze=False, sharex=True)
for ax, prompt in zip(axes[0], prompts):
    guesses = next_tokens(prompt)
    ax.barh([repr(token) for token in guesses], guesses.values(), color=PALETTE[0])
    ax.invert_yaxis()
    ax.set(title=f"{prompt} ...", xlabel="probability")
figure.set_label("Probabilities of the eight likeliest next tokens after each prompt")
plt.show()

# %%
paris = next_tokens("The capital of France is")
disorder = next_tokens("France the capital is of")
expect("paris", paris[" Paris"], contrast=disorder.get(" Paris", 0), limits=(0, 1))

# %% [markdown]
# The right answer gets a probability of {{paris.mean:.2f}}. After the same words in disorder, "France the capital
# is of", it is not among the eight best. Nobody set it to learn geography: whoever wants to guess the next word
# well must pick up some of what the texts are about. Where many words fit, as in the other two, no token gets much.
#
# ### Generating
#
# Guess, append, repeat. Greedy decoding always appends the most probable token. Generation stops at the end token or
# after a number of tokens.


# %%
def generate(prompt, new):
    ids = [int(token_id) for token_id in gpt_tokenizer(prompt)]
    for _ in range(new):
        batch = np.array([ids], dtype="int32")
        logits = logits_of({"token_ids": batch, "padding_mask": np.ones_like(batch)})
        best = int(logits[0, -1].argmax())
        if best == gpt_tokenizer.end_token_id:
            break
        ids.append(best)
    return gpt_tokenizer.detokenize(ids)


print(generate("Transfer learning means", NEW_TOKENS))

# %% [markdown]
# Fluent, on the subject, and in circles: greedy decoding likes to repeat itself (exercise 1 looks at the
# alternative). A model of this size is not a source of facts. Our loop computes the whole text anew for each token.
# `keras_hub.models.Llama3CausalLM` keeps keys and values of earlier positions instead; that pays for longer texts.
#
# ### Perplexity
#
# How well does it guess on text it did not write? The mean of $-\log p(\text{token} \mid \text{all before})$ is the
# cross-entropy of notebook 01. Its exponential is the **perplexity**: a perplexity of 20 means that the model is as
# undecided as if it had to choose between 20 equally probable tokens. We judge newspaper sentences, and the same
# sentences with their words shuffled.


# %%
def surprise(tokens):
    """Return the sum of -log p over all real tokens but the first, and their count."""
    logits, targets = logits_of(tokens)[:, :-1], tokens["token_ids"][:, 1:]
    real = tokens["padding_mask"][:, 1:]
    losses = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return float((losses * real).numpy().sum()), real.sum()


def perplexity(texts):
    batches = [texts[start : start + 10] for start in range(0, len(texts), 10)]
    sums = [surprise(gpt_tokens(batch, 40)) for batch in batches]
    return np.exp(sum(total for total, _ in sums) / sum(count for _, count in sums))


# %%
editorials = load_sentiment("nyt", seed=100 * SEED).test.x
judged = [text for text in editorials if 60 < len(text) < 130][:JUDGED]
random = np.random.default_rng(SEED)
shuffled = [" ".join(random.permutation(text.split())) for text in judged]
sense, nonsense = perplexity(judged), perplexity(shuffled)
print(f"perplexity of the sentences: {sense:.0f}, for example {judged[0]!r}")
print(f"of the same, shuffled: {nonsense:.0f}, for example {shuffled[0]!r}")

# %%
expect("sense_perplexity", sense, contrast=nonsense)

# %% [markdown]
# The same words: a perplexity of {{sense_perplexity.mean:.0f}} in order, {{sense_perplexity.contrast:.0f}} in
# disorder. A bag of words could not tell the two apart. Perplexities can be compared only between models with the
# same tokens, on the same text.
#
# ## 5. Classifying with a decoder
#
# For a sentence vector we averaged over BERT's positions. In a decoder, most positions have not read the sentence:
# the first knows one token, the second two. Only the **last real** token has read everything. (A mean over the real
# tokens is another choice; we did not try it.) Can we check that? Change the last word, and see which states move.

# %% tags=["nbval-check-output"]
endings = gpt_tokens(["The film was really very good", "The film was really very bad"])
first, second = run_lower(endings).numpy()
moved = np.abs(first - second).max(axis=-1) > 1e-3 * np.abs(first).max(axis=-1)
print("which positions move:", moved.astype(int).tolist())
assert moved.tolist() == [False] * 5 + [True], "a position has seen what comes after it"

# %% [markdown]
# ### Mistake: the last position, which may be padding
#
# `states[:, -1]` is the last *position*. In a batch padded on the right it belongs to padding for all but the longest
# sentence. We take a tweet alone, and the same tweet padded to 40 positions. (`cached` keeps an array on disk under a
# key, which names the model, the cut and the tokens: other texts are computed anew.)

# %%
PADDED = 40


def padded_tokens(texts):
    tokens = gpt_tokens(texts, LONGEST)
    return {name: np.pad(a, ((0, 0), (0, PADDED - a.shape[1]))) for name, a in tokens.items()}


def states_below(texts):
    """Return the states of the lower blocks and the mask, padded to 40 positions; computed once."""
    tokens = padded_tokens(texts)
    digest = hashlib.sha256(f"smollm2 1, below {CUT}".encode() + tokens["token_ids"].tobytes())

    def compute():
        batches = range(0, len(texts), 25)
        rows = [{name: a[i : i + 25] for name, a in tokens.items()} for i in batches]
        return np.concatenate([run_lower(batch) for batch in rows])

    return {
        "hidden": cached(digest.hexdigest(), len(texts), compute),
        "padding_mask": tokens["padding_mask"],
    }


def cut_off(states, positions):
    return {name: array[:, :positions] for name, array in states.items()}


# %% [markdown]
# No position changes those before it, as we just saw. So one pass at 40 positions serves for all widths up to 40. We
# compare two widths: 20, the longest of these tweets, and 40.


# %%
def last_real(states, padding_mask):
    last = ops.sum(padding_mask, axis=1) - 1
    return ops.take_along_axis(states, last[:, None, None], axis=1)[:, 0]


def last_position(states, padding_mask):
    return states[:, -1]


below = {"given": states_below(given.x), "tested": states_below(tested.x)}
widths = (("given", 20), ("tested", 20), ("tested", 40))
at_widths = [cut_off(below[name], width) for name, width in widths]
masks = [states["padding_mask"] for states in at_widths]
states_at_widths = [run_upper(states) for states in at_widths]

# %% [markdown]
# For each way of picking a vector: how near is a tweet to itself at the other width? Is it, of all tweets, the nearest?
# And what does a classifier make of it that was trained at width 20?

# %%
rows = {}
for name, pick in (("last real token", last_real), ("last position", last_position)):
    train, narrow, wide = (np.array(pick(*pair)) for pair in zip(states_at_widths, masks))
    probe = probe_on(train)
    nearest = (Normalizer().transform(wide) @ Normalizer().transform(narrow).T).argmax(axis=1)
    found = np.mean(nearest == np.arange(len(nearest)))
    answers = [accuracy_of(probe.predict(vectors)) for vectors in (narrow, wide)]
    rows[name] = [cosines(narrow, wide).mean(), found, *answers]
    if pick is last_real:
        gpt_probe = probe
columns = ["cosine", "finds itself", "accuracy, 20 positions", "accuracy, 40 positions"]
pooling = pd.DataFrame(rows, index=columns).T
pooling.round(3)

# %%
right, wrong = pooling.loc["last real token"], pooling.loc["last position"]
assert right["cosine"] > 0.9999, "the vector must not depend on the padding"
angles = np.degrees(np.arccos(np.minimum(pooling["cosine"], 1)))
expect("padded_angle", angles["last position"], contrast=angles["last real token"])
expect("padded_found", wrong["finds itself"], contrast=right["finds itself"], limits=(0, 1))
expect("gpt_frozen", right["accuracy, 20 positions"], contrast=0.5, limits=(0, 1))

# %% [markdown]
# At the last real token, the padding makes no difference. At the last position, the vector of a tweet turns by
# {{padded_angle.mean:.0f}} degrees when the padding gets wider. That looks harmless, but other tweets are often
# nearer: only {{padded_found.mean:.0%}} of the tweets are nearest to themselves. The state at a padded position is
# not empty. It has looked at the tweet from its own distance, but a classifier finds little in it: in the last two
# columns it is not far from guessing. No error says why. And in practice the longest sentence of a batch decides on
# the width.
#
# Frozen, the decoder reaches {{gpt_frozen.mean:.2f}}, the encoder {{bert_frozen.mean:.2f}}, on the same tweets: about
# as good, with a sixth of the weights. (MiniLM was trained to put whole sentences into vectors.)
#
# ## 6. LoRA against full fine-tuning
#
# Full fine-tuning moves every weight of a matrix $W$. LoRA (Hu et al. 2022) keeps $W$ and learns a correction
# beside it, the product of a tall and a flat matrix. Their common side is the *rank* $r$, and $\alpha$ is a fixed
# factor:
#
# $$W' = W + \frac{\alpha}{r} A B, \qquad A \in \mathbb R^{n \times r},\; B \in \mathbb R^{r \times m},\; r \ll n, m .$$
#
# $B$ starts at zero, so training starts at the pretrained model. We train the upper blocks both ways, above the same
# cached states; the head starts as the logistic regression. Three of thirty blocks train, in `full` ten.
#
# A training step keeps, beyond the weights, a gradient and two moments of Adam for each weight that trains. We
# count those bytes. (The weights themselves and the states that the backward pass needs come on top, in both
# cases.)


# %%
def upper_gpt(hidden, padding_mask):
    return last_real(upper({"hidden": hidden, "padding_mask": padding_mask}), padding_mask)


def parameters_in(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


accuracies["GPT, frozen"] = right["accuracy, 20 positions"]
tuned_gpt = upper_classifier(576, upper_gpt)


# %%
def tune_gpt(name, rate):
    """Fine-tune the decoder; return what was trained, what it cost, and what came of it."""
    seconds, loss = fine_tune(tuned_gpt, cut_off(below["given"], LONGEST), rate, gpt_probe)
    accuracies[name] = accuracy_of(tuned_gpt(cut_off(below["tested"], LONGEST), training=False))
    trained = parameters_in(tuned_gpt.trainable_variables)
    of_training = trained + parameters_in(tuned_gpt.optimizer.variables)
    return {
        "trainable": trained,
        "MB for training": 4 * of_training / 1e6,
        "seconds an epoch": seconds,
        "training loss": loss,
        "balanced accuracy": accuracies[name],
    }


# %% [markdown]
# First all weights of the upper blocks. Afterwards they are set back.

# %%
gpt.trainable = True
pretrained = upper.get_weights()
tuning = {"GPT, full": tune_gpt("GPT, full", rate=1e-4)}
upper.set_weights(pretrained)

# %% [markdown]
# Then LoRA of rank 8 on queries and values, the matrices that the paper chose. Keras has it built in. For a whole
# network, `gpt.enable_lora(8)` is one line, and `save_lora_weights` keeps the small matrices alone. We train the upper
# blocks only, so we enable it layer by layer and freeze everything else. So few parameters, with $B$ at zero to begin
# with, take a much larger learning rate.
#
# It is not quite the formula above. Keras gives each head an $A$ of its own, and all heads of a layer share $B$. That
# trains more parameters than the formula, and the update of a whole query matrix can have a rank of up to 72, 8 for
# each of its nine heads.

# %%
gpt.trainable = False
for block in gpt.transformer_layers[CUT:]:
    block.trainable = True
    for layer in block._flatten_layers(include_self=False):  # Keras has no public list of them
        layer.trainable = layer.name in ("query", "value")
        if layer.name in ("query", "value"):
            layer.enable_lora(rank=8)
tuning["GPT, LoRA"] = tune_gpt("GPT, LoRA", rate=5e-3)

# %%
predicted = gpt_probe.predict_proba(np.array(last_real(states_at_widths[0], masks[0])))[:, 1]
frozen_loss = keras.losses.binary_crossentropy(given.y, predicted).numpy()
tuning["GPT, frozen"] = {
    "trainable": 577, "training loss": frozen_loss, "balanced accuracy": accuracies["GPT, frozen"]
}  # fmt: skip
table = pd.DataFrame(tuning).T
table.astype({"trainable": int}).round(
    {"MB for training": 1, "seconds an epoch": 1, "training loss": 3, "balanced accuracy": 3}
)

# %% tags=["nbval-check-output"]
full, lora, frozen = (table.loc[f"GPT, {name}"] for name in ("full", "LoRA", "frozen"))
by_formula = UPPER_BLOCKS * 8 * ((576 + 9 * 64) + (576 + 3 * 64)) + 577  # and the head
print(f"LoRA trains {int(lora['trainable']):,} parameters, by the formula {by_formula:,},")
print(f"full fine-tuning {int(full['trainable']):,}.")
small = [variable for variable in upper.variables if "lora_kernel_b" in variable.path]
assert len(small) == 2 * UPPER_BLOCKS
assert all(np.abs(b).max() > 0 for b in small), "LoRA did not train"
expect("lora_share", lora["trainable"] / full["trainable"], contrast=1, limits=(0, 1))
for name, row in (("full", full), ("lora", lora)):
    expect(f"{name}_accuracy", row["balanced accuracy"], limits=(0, 1))
    gain = row["balanced accuracy"] - frozen["balanced accuracy"]
    expect(f"{name}_gain", gain, limits=(-1, 1))

# %%
pd.Series(accuracies, name="balanced accuracy").round(3).to_frame()

# %% [markdown]
# Look at the training loss first: the 577 parameters of the head alone bring it down about as far as the two others.
# (Those are means over the last epoch, with dropout.) Little is left to learn from these tweets. On other tweets, full
# fine-tuning reaches {{full_accuracy.mean:.2f}} on average over repetitions, LoRA {{lora_accuracy.mean:.2f}}, the
# frozen decoder {{gpt_frozen.mean:.2f}}. Within a repetition full fine-tuning changes the accuracy by
# {{full_gain.mean:+.3f}} ± {{full_gain.half_width:.3f}} and LoRA by {{lora_gain.mean:+.3f}} ±
# {{lora_gain.half_width:.3f}}. So no difference was shown. That is no proof that the three are equal: two hundred
# tweets and 26 steps are little to train on. With more tweets, blocks and steps it may come out otherwise: run the
# profile `full`.
#
# What differs is the price. LoRA trains {{lora_share.mean:.1%}} as many parameters, and what we counted of the memory
# shrinks as much. In time the difference is smaller: with LoRA, too, the tweets go up through the blocks and the error
# comes down again; only the gradients of most weights are spared. (The table has the seconds of one epoch; on a shared
# computer they are too noisy to say more.) And each further task needs only its own small $A$ and $B$, not its own
# network.
#
# For GPT-2 with all of its layers and rank 4, [an example of
# keras.io](https://keras.io/examples/nlp/parameter_efficient_finetuning_of_gpt2_with_lora/) counts 147,456 trainable
# parameters and measures about 35% less memory on the GPU, weights and states included.

# %% [markdown]
# ## 7. A GPT by hand
#
# SmolLM2 read two trillion tokens. The idea fits on one screen. Words become vectors, plus a vector for the
# position. Then come blocks of attention and a small network, each *added* to what was there. At the end stands a
# guess for the next word, which we attach later.


# %%
WORDS, POSITIONS = 2000, 24


def gpt_by_hand(causal=True, blocks=2, heads=4):
    words = keras.Input((None,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(WORDS, POSITIONS, WIDTH)(words)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(heads, WIDTH // heads)(y, y, use_causal_mask=causal)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, activation="gelu")(y))
    return keras.Model(words, layers.LayerNormalization()(x))


body = gpt_by_hand()
print(f"{body.count_params():,} weights")

# %% [markdown]
# ### Mistake: no causal mask
#
# One argument makes it a GPT: `use_causal_mask`. Without it each position sees the word that it is to guess, so the
# model can copy instead of guessing, and its training loss means nothing. A test finds it in a second: change the
# last word, and look at all other positions.


# %%
def leak(model):
    """Return how far states before the last position move when only the last word changes."""
    words = np.random.default_rng(SEED).integers(2, WORDS, size=(8, POSITIONS))
    changed = words.copy()
    changed[:, -1] = (changed[:, -1] + 1) % WORDS
    before, after = np.array(model(words)), np.array(model(changed))
    return np.abs(before - after)[:, :-1].max()


without_mask = gpt_by_hand(causal=False)
leaks = {"causal": leak(body), "no mask": leak(without_mask)}
pd.Series(leaks, name="earlier states move by").to_frame()

# %% tags=["nbval-check-output"]
assert leak(body) < 1e-5, "a position sees what comes after it"
assert leak(without_mask) > 1e-3
print("With the mask, no position before the last one moves. Without it, they do.")

# %% [markdown]
# ### Pretraining
#
# The source task needs no labels. We take the training sentences of three domains, film reviews, product reviews and
# editorials, as one stream of words cut into windows. Words are lower-case, without punctuation. The vocabulary is
# the 2,000 most frequent ones; the others become `[UNK]`. The target domain will be tweets. None of them may be in
# the stream.

# %%
SOURCES = ("movie", "amazon", "nyt")
read = np.concatenate([load_sentiment(name, seed=100 * SEED).train.x for name in SOURCES])
all_tweets = np.concatenate([tweets.train.x, tweets.validation.x, tweets.test.x])
read = read[~np.isin(read, all_tweets)]  # chance repetitions, such as "wonderful."
read = np.random.default_rng(SEED).permutation(read)
vectorise = layers.TextVectorization(WORDS)
vectorise.adapt(read)

# %% tags=["nbval-check-output"]
assert not set(read) & set(all_tweets), "the model would read what it is tested on"
print("No tweet is among the sentences that are read.")


# %%
def windows_of(texts):
    """Return one stream of words, 0 after each sentence, cut into windows of 25."""
    rows = vectorise(texts).numpy()
    stream = np.concatenate([np.append(row[row > 0], 0) for row in rows])
    count = len(stream) // (POSITIONS + 1)
    return stream[: count * (POSITIONS + 1)].reshape(count, POSITIONS + 1)


source = windows_of(read)[: WINDOWS or None]
words = np.array(vectorise.get_vocabulary())
print(f"{len(read):,} sentences, {source.size:,} words, {len(source):,} windows; the first:")
print(" ".join(words[source[0]]))

# %% [markdown]
# Each word of a window but the last is an input, each but the first a target. One pass through the network trains all
# 24 guesses of a window at once. That is possible only because no position sees the next.

# %%
guesses = layers.Dense(WORDS, use_bias=False, name="guesses")(body.output)
hand_gpt = keras.Model(body.input, guesses)
fresh = hand_gpt.get_weights()
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
hand_gpt.compile(keras.optimizers.AdamW(3e-3, weight_decay=0.01), cross_entropy)
hand_gpt.optimizer.build(hand_gpt.trainable_variables)
resting = [variable.numpy() for variable in hand_gpt.optimizer.variables]

# %%
keras.utils.set_random_seed(SEED)
start = time.perf_counter()
options = dict(batch_size=64, epochs=READING_EPOCHS, verbose=0)
history = hand_gpt.fit(source[:, :-1], source[:, 1:], **options).history
pretrained = hand_gpt.get_weights()
print(f"{time.perf_counter() - start:.0f} s; loss of each epoch:", np.round(history["loss"], 2))

# %%
for beginning in ("the film is", "i would not"):
    ids = vectorise([beginning]).numpy()[0]
    for _ in range(8):
        logits = hand_gpt(ids[None], training=False).numpy()[0, -1]
        logits[:2] = -np.inf  # neither the end of the sentence nor [UNK]
        ids = np.append(ids, logits.argmax())
    print(" ".join(words[ids]))

# %% [markdown]
# It has learnt which words often follow which, and little more: it goes round in circles.
#
# ### Transfer
#
# Now the target: guess the words of tweets, of which there are few. We train on them from the pretrained weights,
# and from the fresh ones that the pretraining began with ("scratch"). Both stop when the validation tweets stop
# getting better, so scratch may take more epochs; look at the last column. Beside them stand the pretrained model
# as it is ("not adapted"), and guessing by frequency, counted in the source and those tweets together.


# %%
def perplexity_of(model_weights, windows):
    hand_gpt.set_weights(model_weights)
    return np.exp(hand_gpt.evaluate(windows[:, :-1], windows[:, 1:], batch_size=128, verbose=0))


def adapt(begin, windows, seed):
    """Train until validation stops improving; return the perplexity on the test, and the epochs."""
    hand_gpt.set_weights(begin)
    for variable, value in zip(hand_gpt.optimizer.variables, resting):
        variable.assign(value)
    keras.utils.set_random_seed(seed)
    patience = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    history = hand_gpt.fit(
        windows[:, :-1], windows[:, 1:], batch_size=8, epochs=MAX_EPOCHS, verbose=0,
        validation_data=(target["validation"][:, :-1], target["validation"][:, 1:]),
        validation_batch_size=128, callbacks=[patience],
    )  # fmt: skip
    return perplexity_of(hand_gpt.get_weights(), target["test"]), len(history.epoch)


# %%
target = {}
for name in ("validation", "test"):
    target[name] = windows_of(getattr(tweets, name).x)[:TARGET_WINDOWS]
rows = []
for size in SIZES:
    random = np.random.default_rng(100 * SEED + size)
    few = windows_of(random.choice(tweets.train.x, size, replace=False))
    counts = np.bincount(np.append(source, few), minlength=WORDS) + 1
    by_frequency = np.exp(-np.log(counts / counts.sum())[target["test"]].mean())
    rows.append((size, "frequency", by_frequency, 0))
    rows.append((size, "not adapted", perplexity_of(pretrained, target["test"]), 0))
    rows.append((size, "scratch", *adapt(fresh, few, SEED)))
    rows.append((size, "pretrained", *adapt(pretrained, few, SEED)))
hand = pd.DataFrame(rows, columns=["tweets", "method", "perplexity", "epochs"])
hand.round({"perplexity": 0})

# %%
colours = {
    "frequency": ROLE_COLOURS["reference"], "scratch": ROLE_COLOURS["scratch"],
    "not adapted": PALETTE[9], "pretrained": ROLE_COLOURS["transfer"],
}  # fmt: skip
figure, ax = plt.subplots(figsize=(8, 3.8))
by_method = dict(hue="method", palette=colours, hue_order=colours)
sns.barplot(hand, x="tweets", y="perplexity", ax=ax, **by_method)
ax.set(xlabel="tweets to adapt to", ylabel="perplexity on other tweets")
ax.legend(title=None, loc="center left", bbox_to_anchor=(1, 0.5))
figure.set_label("Perplexity on tweets by method and number: lowest after pretraining")
plt.show()

# %%
most = hand[hand["tweets"] == SIZES[-1]].set_index("method")["perplexity"]
expect("hand_perplexity", most["not adapted"])
expect("hand_gain", most["frequency"] / most["not adapted"], contrast=1)
expect("hand_transfer", most["pretrained"], contrast=most["scratch"])

# %% [markdown]
# Without a single tweet, the little GPT has a perplexity of {{hand_perplexity.mean:.0f}} on them; that of guessing
# by frequency is {{hand_gain.mean:.2f}} times as high. With the largest number of tweets above it reaches
# {{hand_transfer.mean:.0f}} after pretraining. From scratch it stays at {{hand_transfer.contrast:.0f}}, here
# about where the frequencies are. What helped is text of other domains, without labels: fewer than ten thousand
# sentences of it. Now imagine two trillion tokens.
#
# These perplexities are low for another reason, too: many words of a tweet are `[UNK]`, which is easily guessed.
# They cannot be compared with those of SmolLM2.

# %% [markdown]
# ## 8. Models from TensorFlow Hub
#
# Many pretrained encoders, BERT and the Universal Sentence Encoder among them, are published on TensorFlow Hub as
# **SavedModels**: a program and its variables in one folder, which runs without the code that made it. Many text
# models give a dictionary: `pooled_output` is one vector for each sentence, `sequence_output` one for each token.
#
# To look inside we need no download. We make such a SavedModel from what we have: the words that MiniLM knows as a
# whole, each with the first 32 values of its vector. It takes strings, and gives the vectors of the words and
# their mean. It knows nothing of order or context. For this section that is enough.


# %%
class WordVectors(tf.train.Checkpoint):
    def __init__(self, words, vectors):
        super().__init__()
        rows = tf.lookup.KeyValueTensorInitializer(words, tf.range(len(words), dtype=tf.int64))
        self.rows = tf.lookup.StaticHashTable(rows, default_value=len(words))  # others: last row
        self.table = tf.Variable(np.pad(vectors, ((0, 1), (0, 0))), name="table")
        self.variables = self.trainable_variables = [self.table]  # what the interface asks for

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        words = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(texts), "[^a-z]+", " "))
        vectors = tf.gather(self.table, self.rows.lookup(words)).to_tensor()  # 0 for padding
        count = tf.cast(tf.maximum(words.row_lengths(), 1), "float32")
        return {
            "pooled_output": tf.reduce_sum(vectors, 1) / count[:, None],
            "sequence_output": vectors,
        }


# %% tags=["nbval-check-output"]
vocabulary = np.array(bert_tokenizer.get_vocabulary())
is_word = np.array([token.isascii() and token.isalpha() for token in vocabulary])
vectors = bert.token_embedding.embeddings.numpy()[is_word, :32]
folder = TemporaryDirectory()  # goes with the kernel
handle = Path(folder.name) / "word_vectors"
tf.saved_model.save(WordVectors(vocabulary[is_word], vectors / vectors.std()), handle)
files = sorted(path.name for path in handle.iterdir())
print(f"{is_word.sum():,} words; in the folder: {', '.join(files)}")

# %% [markdown]
# ### The layer that many tutorials use
#
# `hub.KerasLayer` was written for Keras 2. What does Keras 3 say to it?

# %% tags=["nbval-check-output"]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package warns of its own age
    import tensorflow_hub as hub

sentence = keras.Input((), dtype="string")
of_keras_2 = hub.KerasLayer(str(handle), output_key="pooled_output", trainable=True)
refused = []
for use in (lambda: keras.Sequential([sentence, of_keras_2]), lambda: of_keras_2(sentence)):
    try:
        use()
    except (TypeError, ValueError) as error:
        refused.append(error)
        print(f"{type(error).__name__}: {str(error).splitlines()[0].split(' Received')[0]}")
assert len(refused) == 2

# %% [markdown]
# To Keras 3 it is no layer at all. `Sequential` says so; a functional model calls it as any function, and it fails on
# the symbolic input.
#
# ### The layer that one writes instead
#
# "Then I write my own: load it, call it." Five lines, and they run.


# %%
class Untracked(keras.layers.Layer):
    def __init__(self, handle):
        super().__init__()
        self.saved_model = tf.saved_model.load(handle)

    def call(self, sentences):
        return self.saved_model(sentences)["pooled_output"]


# %% [markdown]
# Do they train, too? Keras collects the weights of a layer among variables of its own class, `keras.Variable`. Those of
# the SavedModel are of class `tf.Variable`. The course's `HubLayer` wraps each in a `keras.Variable` that shares its
# memory. That is the line to look for.

# %%
show_source(HubLayer.__init__, HubLayer.call)

# %% [markdown]
# We put one output neuron on each layer and train both on real sentences about films, with the same seed and the same
# settings. A frozen `HubLayer` is the control. Look at the number of parameters that train, and at how far the table of
# word vectors moves: the length of its change over its own length.

# %%
films = load_sentiment("movie", seed=SEED)
train_x, test_x = (tf.constant(samples.x.tolist()) for samples in (films.train, films.test))
some = slice(HUB_SENTENCES)


def classifier_on(layer):
    keras.utils.set_random_seed(SEED)
    sentence = keras.Input((), dtype="string")
    model = keras.Model(sentence, keras.layers.Dense(1, activation="sigmoid")(layer(sentence)))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model


# %%
def train_on(layer):
    model, table = classifier_on(layer), layer.saved_model.variables[0]
    before = table.numpy()
    model.fit(train_x[some], films.train.y[some], batch_size=64, epochs=3, verbose=0)
    return model, {
        "trainable parameters": sum(weight.numpy().size for weight in model.trainable_weights),
        "change of the table": np.linalg.norm(table.numpy() - before) / np.linalg.norm(before),
        "test accuracy": model.evaluate(test_x, films.test.y, batch_size=512, verbose=0)[1],
    }


# %%
hub_layers = {
    "untracked": Untracked(handle),
    "HubLayer, frozen": HubLayer(handle, "pooled_output"),
    "HubLayer, trainable": HubLayer(handle, "pooled_output", trainable=True),
}
hub_runs = {name: train_on(layer) for name, layer in hub_layers.items()}
hub_table = pd.DataFrame({name: row for name, (_, row) in hub_runs.items()}).T
hub_table.astype({"trainable parameters": int}).round(3)

# %%
untracked, frozen, trained = hub_table.to_dict("records")
assert untracked["change of the table"] == frozen["change of the table"] == 0
for column, name in (("change of the table", "hub_change"), ("test accuracy", "hub_accuracy")):
    expect(name, trained[column], contrast=untracked[column], limits=(0, 1))

# %% [markdown]
# The variables of `HubLayer` move by {{hub_change.mean:.0%}} of their length, and the test accuracy is
# {{hub_accuracy.mean:.2f}}. The naive layer asked for the same training and got none: its table did not move at all,
# and the head alone reaches {{hub_accuracy.contrast:.2f}}. It is the frozen layer under another name, and no error
# and no warning says so. Two habits find this mistake at once: read the number of trainable parameters in
# `model.summary()`, and compare the weights before and after the first epoch.
#
# `trainable` has a trap of its own, and `HubLayer.__init__` sets it last for that reason: a model asks each variable
# whether it trains, and variables made in `__init__` after `super().__init__(trainable=False)` do not hear of it.
#
# ### Saved and loaded
#
# What is not tracked is not saved either. The trained weights of `HubLayer` are in the `.keras` file. The program is
# not: the file keeps the handle, and the SavedModel must still be there.

# %% tags=["nbval-check-output"]
model, _ = hub_runs["HubLayer, trainable"]
model.save(handle.with_name("films.keras"))
again = keras.saving.load_model(handle.with_name("films.keras"))
answers, answers_again = (m.predict(test_x[:500], verbose=0) for m in (model, again))
assert np.array_equal(answers, answers_again)
moved = again.layers[1].weights[0].numpy() != tf.saved_model.load(handle).table.numpy()
print("the same answers after loading:", np.array_equal(answers, answers_again))
print("and the weights are not those of the SavedModel:", moved.any())

# %% [markdown]
# An output that the SavedModel does not have is refused, with those that it has. (The error begins with the handle,
# which here is a temporary folder; we leave it out.)

# %% tags=["nbval-check-output"]
try:
    HubLayer(handle, "sentence_output")
except CourseError as error:
    print(str(error).removeprefix(f"{handle} "))

# %% [markdown]
# ### The real ones
#
# With internet the same layer takes the addresses of TensorFlow Hub (they lead to Kaggle, where its models have moved).
# The Universal Sentence Encoder (Cer et al. 2018) takes strings. BERT (Devlin et al. 2019) takes token ids, under
# names of its own. MiniLM has the vocabulary of BERT, so our tokenizer serves. Set `ONLINE = True` to download both
# (more than a gigabyte).

# %%
handles = {name: find_asset(name).handle for name in ("universal_sentence_encoder", "bert_tfhub")}
for name, address in handles.items():
    print(f"{name}: {address}")
if ONLINE:
    print(HubLayer(handles["universal_sentence_encoder"])(test_x[:3]).shape)
    tokens = tokenize(bert_tokenizer, films.test.x[:3])
    names = dict(token_ids="word_ids", padding_mask="mask", segment_ids="type_ids")
    inputs = {f"input_{names[key]}": array for key, array in tokens.items()}
    print(HubLayer(handles["bert_tfhub"], "pooled_output")(inputs).shape)

# %% [markdown]
# ## 9. GPT-2 by preset
#
# KerasHub publishes many decoders under names, *presets*. With internet, GPT-2 (Radford et al. 2019) is one line, and
# what we did with SmolLM2 works with it too: tokens, states, logits by the embeddings read backwards.

# %%
preset = find_asset("gpt2").handle
print("preset:", preset)
if ONLINE:
    gpt2_tokenizer = keras_hub.models.GPT2Tokenizer.from_preset(preset)
    gpt2 = keras_hub.models.GPT2Backbone.from_preset(preset)
    ids = np.array([gpt2_tokenizer("The capital of France is")])
    states = gpt2({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    logits = np.array(gpt2.token_embedding(states, reverse=True))[0, -1]
    best = np.argsort(-logits)[:5]
    print([gpt2_tokenizer.detokenize([int(token_id)]) for token_id in best])

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: temperature
#
# Greedy decoding always writes the same. Sampling draws the next token from $\operatorname{softmax}(z / T)$, with
# logits $z$ and a *temperature* $T$. Write `probabilities_at(logits, temperature)`. Then compute the entropy
# $-\sum p \log p$ of the next token after "I think the film" for $T$ = 0.5, 1 and 2, and put the three into
# `entropies`. Before you run it: at which temperature is the model the least decided?
#
# *Hint:* `logits_of(gpt_tokens([prompt]))[0, -1]` are the logits of the token after a prompt. `ops.softmax` does
# the rest. A probability may be 0 in the computer, and 0 · log 0 counts as 0: add something tiny inside the
# logarithm.


# %% tags=["exercise"]
def probabilities_at(logits, temperature):
    return None


probabilities = {temperature: probabilities_at(None, temperature) for temperature in (0.5, 1, 2)}
entropies = None


# %% tags=["solution"]
def probabilities_at(logits, temperature):
    return np.array(ops.softmax(logits / temperature)).astype("float64")


logits = logits_of(gpt_tokens(["I think the film"]))[0, -1]
entropies = []
for temperature in (0.5, 1, 2):
    probabilities = probabilities_at(logits, temperature)
    entropies.append(-(probabilities * np.log(probabilities + 1e-30)).sum())

# %% tags=["solution"]
assert entropies[0] < entropies[1] < entropies[2]
expect("entropy", entropies[0], contrast=entropies[2])

# %% [markdown] tags=["solution"]
# At $T = 0.5$ the entropy is {{entropy.mean:.1f}}, at 2 it is {{entropy.contrast:.1f}}; the largest possible value
# is $\log 49152 \approx 10.8$, where every token is equally probable. So a low temperature comes near to greedy
# decoding, a high one near to drawing from the vocabulary blindly. To sample, draw with
# `np.random.default_rng().choice(len(p), p=p / p.sum())`.

# %% [markdown]
# ### Exercise 2: no training at all
#
# A language model can classify without a single label: write the tweet into a text whose next word gives the
# answer, and compare two probabilities. Use the template below. For each tweet compute the logit of " good" minus
# that of " bad", and put the differences into `differences`. Which threshold would you take, zero or their median,
# and what does each of the two assume? (`logits_of` is still the pretrained decoder: its graph was made before LoRA
# came. With `EAGER = True` there are no graphs.)
#
# *Hint:* `gpt_tokenizer(" good")` is a single token. The logits that count are those of the last real token of each
# text. Some ten tweets at a time keep the memory small.

# %% tags=["exercise"]
template = 'Someone wrote: "{}" The feeling of this message is'
asked = Samples(*(array[:ASKED] for array in tested))
differences = None

# %% tags=["solution"]
good, bad = (int(gpt_tokenizer(word)[0]) for word in (" good", " bad"))
differences = []
for start in range(0, len(asked.x), 10):
    tokens = gpt_tokens([template.format(text) for text in asked.x[start : start + 10]])
    logits = logits_of(tokens)
    last = tokens["padding_mask"].sum(axis=1) - 1
    ends = logits[np.arange(len(last)), last]
    differences += list(ends[:, good] - ends[:, bad])

# %% tags=["solution"]
differences = np.array(differences)
at_zero = balanced_accuracy_score(asked.y, differences > 0)
at_median = balanced_accuracy_score(asked.y, differences > np.median(differences))
print(f"at zero {at_zero:.2f}, at the median {at_median:.2f}; positive {asked.y.mean():.2f}")

# %% tags=["solution"]
expect("prompted", at_median, contrast=0.5, limits=(0, 1))
expect("prompted_at_zero", at_zero, limits=(0, 1))

# %% [markdown] tags=["solution"]
# With zero as threshold, {{prompted_at_zero.mean:.2f}} ± {{prompted_at_zero.half_width:.2f}}; with the median,
# {{prompted.mean:.2f}} ± {{prompted.half_width:.2f}}: no difference was shown. Without one label of ours, both come
# near to the frozen features with their labels ({{gpt_frozen.mean:.2f}}).
#
# The median calls half of the tweets positive, so it assumes classes of equal size. More than six tweets in ten are
# positive, so with the median even a perfect order must call some of them negative. Zero assumes that the model, before
# it reads the tweet, likes both words equally well. That depends on the template: try another one, and see whether zero
# still serves.

# %% [markdown]
# ### Exercise 3: count and merge
#
# How many parameters does LoRA of rank 8 train for the queries of one block, and for its values? Their kernels have
# the shapes (576, 9, 64) and (576, 3, 64): inputs, heads, features. (Three heads of queries share one of keys and
# one of values here.) In Keras, $A$ replaces the **last** axis of the kernel by the rank, and $B$ has the shape
# (rank, last axis). Put the two numbers into `counted`. After training, $A B$ can be added to $W$ for good, so that
# LoRA costs nothing in use. Compute the merged kernel of the layer below, and put it into `merged`.
#
# *Hint:* `layer.lora_kernel_a`, `layer.lora_kernel_b`; `np.tensordot(a, b, axes=1)`. The kernel without LoRA is
# `layer._kernel`. Keras sets $\alpha = r$.

# %% tags=["exercise"]
layer = gpt.transformer_layers[-1]._self_attention_layer._query_dense
counted, merged = None, None

# %% tags=["solution", "nbval-check-output"]
counted = [576 * heads * 8 + 8 * 64 for heads in (9, 3)]
a, b = layer.lora_kernel_a.numpy(), layer.lora_kernel_b.numpy()
merged = layer._kernel.numpy() + np.tensordot(a, b, axes=1)
assert counted[0] == a.size + b.size and np.abs(b).max() > 0
assert np.allclose(merged, layer.kernel, atol=1e-6)
print(f"queries {counted[0]:,}, values {counted[1]:,}; kernel {merged.size:,}")

# %% [markdown] tags=["solution"]
# Keras gives each head an $A$ of its own, and all heads share $B$. As one matrix of 576 × 576, as in the paper, the
# queries would need only 8 · (576 + 576) = 9,216 numbers. So the counts of two libraries with the same rank may
# differ by a factor of more than four: ask what was factored before you compare.

# %% tags=["headline"]
expect.table()
