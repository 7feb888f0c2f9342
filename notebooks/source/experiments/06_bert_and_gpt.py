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
#       fine-tuning; with two hundred tweets neither was shown to improve on a frozen decoder. Two hundred tweets lower
#       its perplexity on others from {{style_perplexity.contrast:.0f}} to {{style_perplexity.mean:.0f}}. A small GPT built by
#       hand guesses the words of tweets with a perplexity of {{hand_transfer.mean:.0f}} when it has read other texts
#       before, and of {{hand_transfer.contrast:.0f}} from scratch.
#     results:
#       sense_perplexity: "perplexity of sentences (of their words shuffled)"
#       rating_error: "error of predicted ratings, frozen BERT (always the mean rating)"
#       style_perplexity: "perplexity on tweets of a decoder tuned on others (before)"
#       mean_at_24: "decoder, mean over the real tokens at block 24, balanced accuracy (guessing)"
#       full_accuracy: "decoder fine-tuned in full, balanced accuracy"
#       lora_accuracy: "decoder with LoRA (no difference was shown)"
#       lora_share: "parameters that LoRA trains, as a share (full fine-tuning)"
#       hub_change: "change of an encoder from TensorFlow Hub that trains, as a share (without tracked variables)"
#       hand_transfer: "perplexity on tweets of a GPT built by hand, pretrained (from scratch)"
#     goals:
#       - >-
#         read what a tokenizer makes of a text (tokens, mask, padding), and notice when it is not the one of the
#         weights;
#       - draw attention maps, and compute one by hand;
#       - use an encoder (BERT) and a decoder (GPT) as frozen features, and fine-tune their upper blocks;
#       - generate text, and measure the perplexity of a language model;
#       - find the block and the pooling from which a decoder classifies best, and teach it a style;
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
#         A SavedModel of TensorFlow Hub trains in Keras 3 if a layer tracks its variables; `hub.KerasLayer` is refused.
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
RATED = 300  # tweets to learn ratings from
LABELS = [25, 100]  # labelled tweets of each class, for LoRA; GIVEN at most
RANKS = [8]  # of LoRA
STYLE_EPOCHS = 1  # of learning how tweets are written
HELD_OUT = 40  # test tweets whose perplexity is measured
HUB_SENTENCES = 200  # that the classifier on TensorFlow Hub's interface is trained on
ASKED = 50  # tweets that are classified by a question
EAGER = False  # True: no graphs where few batches do not pay for them
ONLINE = False  # True runs what needs the internet: GPT-2, BERT, the Universal Sentence Encoder

# %% [markdown]
# The tools used throughout. Others are imported where they are first needed.

# %%
import time
import warnings

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

from course_utils.data import Samples, fetch, few_shot, load_sentiment
from course_utils.data.catalog import find_asset
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
accented = ["The café was lovely.", "A naïve cliché.", "My fiancé loved the soufflé!", "Déjà vu, again."]
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
# The task of this section, and of 5 and 7: is a tweet positive or negative (Hutto & Gilbert 2014)? We take short
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
def probe_on(vectors, targets):
    """Fit a logistic regression to vectors of length one; choose C by cross-validation."""
    logistic = LogisticRegression(class_weight="balanced", max_iter=1000)
    grid, folds = {"logisticregression__C": [1, 10, 100]}, FOLDS
    pipeline = make_pipeline(Normalizer(), logistic)
    search = GridSearchCV(pipeline, grid, scoring="balanced_accuracy", cv=folds)
    return search.fit(vectors, targets).best_estimator_


def accuracy_of(positive):
    return balanced_accuracy_score(tested.y, np.ravel(positive) > 0.5)


bert_tokens = [tokenize(bert_tokenizer, samples.x, LONGEST) for samples in (given, tested)]
bert_vectors = [np.array(encoder(tokens, training=False)) for tokens in bert_tokens]
bert_probe = probe_on(bert_vectors[0], given.y)
accuracies = {"BERT, frozen": accuracy_of(bert_probe.predict(bert_vectors[1]))}

# %% [markdown]
# Fine-tuned: the two upper blocks (a **block** is a whole layer of a Transformer) train along, with a small
# learning rate that first rises and then falls. The lower blocks stay frozen. So we send each tweet through them
# once, and keep what comes out. The head starts as the logistic regression. The same function will serve the
# decoder, so it takes the width and what to do with the states.


# %%
def upper_classifier(width, vector_of, activation="sigmoid"):
    """Return a model from the states below to the probability of "positive", or to a number."""
    inputs = {
        "hidden": keras.Input((None, width), name="hidden"),
        "padding_mask": keras.Input((None,), dtype="int32", name="padding_mask"),
    }
    vector = vector_of(inputs["hidden"], inputs["padding_mask"])
    vector = layers.Dropout(0.1)(layers.UnitNormalization(name="vector")(vector))
    return keras.Model(inputs, layers.Dense(1, activation=activation, name="head")(vector))


def upper_bert(hidden, padding_mask):
    for layer in bert.transformer_layers[-2:]:
        hidden = layer(hidden, padding_mask=padding_mask)
    return layers.GlobalAveragePooling1D()(hidden, mask=ops.cast(padding_mask, "bool"))


# %%
def fine_tune(model, inputs, targets, rate, head, loss="binary_crossentropy"):
    """Train from the weights of a fitted head; return the seconds and the loss of the last epoch."""
    model.get_layer("head").set_weights(head)
    steps = EPOCHS * -(-len(targets) // 16)
    warm_up = dict(warmup_target=rate, warmup_steps=steps // 8)
    rates = keras.optimizers.schedules.CosineDecay(0.0, steps, **warm_up)
    model.compile(keras.optimizers.AdamW(rates, weight_decay=0.01), loss)
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    keras.utils.set_random_seed(SEED)
    options = dict(batch_size=16, epochs=EPOCHS, verbose=0, callbacks=[clock])
    history = model.fit(inputs, targets, **options).history
    return ends[-1] - ends[-2], history["loss"][-1]


def head_of(probe):
    return probe[-1].coef_.T, probe[-1].intercept_


# %%
lower_bert = keras.Model(bert.input, bert.transformer_layers[-3].output)
pretrained_bert = bert.get_weights()


def below_bert(tokens):
    hidden = lower_bert.predict(tokens, verbose=0)
    return {"hidden": hidden, "padding_mask": tokens["padding_mask"]}


bert_inputs = [below_bert(tokens) for tokens in bert_tokens]
tuned_bert = upper_classifier(384, upper_bert)
fine_tune(tuned_bert, bert_inputs[0], given.y, 2e-4, head_of(bert_probe))
accuracies["BERT, fine-tuned"] = accuracy_of(tuned_bert(bert_inputs[1], training=False))
expect("bert_frozen", accuracies["BERT, frozen"], contrast=0.5, limits=(0, 1))
expect("bert_fine_tuned", accuracies["BERT, fine-tuned"], limits=(0, 1))
pd.Series(accuracies, name="balanced accuracy").round(3).to_frame()

# %% [markdown]
# Over repetitions with other tweets, frozen vectors of BERT reach {{bert_frozen.mean:.2f}} on average, the fine-tuned
# upper blocks {{bert_fine_tuned.mean:.2f}}. Both meet the same tweets in a repetition, so luck with the tweets (SD
# {{bert_frozen.std:.2f}} and {{bert_fine_tuned.std:.2f}}) is common to them and mostly cancels in the difference. But
# a difference as small as this one is a handful of test tweets: nothing was shown for either. Section 7 compares in
# this way, within each repetition.
#
# ### From classes to a number
#
# The labels were made from the mean of some twenty ratings, from -4 to 4. Nothing forces us to cut them into classes.
# With one output, no activation and the mean squared error, the same network predicts the rating itself, of neutral
# tweets too. Its rivals are ridge regressions: on TF-IDF of words and pairs of words, on that of two to five characters
# within a word, and on frozen vectors. Each chooses its strength by leaving out one training tweet at a time. The head
# starts as the last of these.

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split

from course_utils.data.sentiment_ratings import load_ratings

rated, unseen, rating, true_rating = train_test_split(
    *load_ratings("tweets"), train_size=RATED, test_size=RATED, random_state=SEED
)
alphas = np.logspace(-3, 3, 13)
counters = {
    "word counts": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
    "character counts": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
}
predicted = {"mean rating": np.full(len(unseen), rating.mean())}
for name, counter in counters.items():
    ridge = RidgeCV(alphas).fit(counter.fit_transform(rated), rating)
    predicted[name] = ridge.predict(counter.transform(unseen))

# %%
rated_inputs = [below_bert(tokenize(bert_tokenizer, texts, 40)) for texts in (rated, unseen)]
bert.set_weights(pretrained_bert)
tuned_bert = upper_classifier(384, upper_bert, activation=None)
frozen = keras.Model(tuned_bert.input, tuned_bert.get_layer("vector").output)
frozen_vectors = [frozen.predict(inputs, verbose=0) for inputs in rated_inputs]
ridge = RidgeCV(alphas).fit(frozen_vectors[0], rating)
predicted["BERT, frozen"] = ridge.predict(frozen_vectors[1])
fine_tune(tuned_bert, rated_inputs[0], rating, 2e-4, (ridge.coef_[:, None], np.atleast_1d(ridge.intercept_)), "mse")
predicted["BERT, fine-tuned"] = tuned_bert.predict(rated_inputs[1], verbose=0)[:, 0]
bert.set_weights(pretrained_bert)
errors = {name: np.sqrt(np.mean((guess - true_rating) ** 2)) for name, guess in predicted.items()}
expect("rating_error", errors["BERT, frozen"], contrast=errors["mean rating"])
expect("rating_error_words", errors["word counts"])
expect("rating_error_characters", errors["character counts"])
expect("rating_error_tuned", errors["BERT, fine-tuned"])
expect("rating_gain", errors["BERT, frozen"] - errors["BERT, fine-tuned"])
pd.Series(errors, name="root mean squared error").round(3).to_frame()

# %% [markdown]
# In points of the scale, always saying the mean is wrong by {{rating_error.contrast:.2f}}, word counts by
# {{rating_error_words.mean:.2f}} ± {{rating_error_words.half_width:.2f}}, character counts by
# {{rating_error_characters.mean:.2f}} ± {{rating_error_characters.half_width:.2f}}, frozen vectors by
# {{rating_error.mean:.2f}} ± {{rating_error.half_width:.2f}}, the fine-tuned network by
# {{rating_error_tuned.mean:.2f}} ± {{rating_error_tuned.half_width:.2f}}. Within a repetition, fine-tuning lowers the
# error of the frozen vectors by {{rating_gain.mean:.3f}} ± {{rating_gain.half_width:.3f}}.
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


def upper_of(decoder):
    """Return the upper blocks as a model from the states below to the last ones."""
    inputs = {
        "hidden": keras.Input((None, 576), name="hidden"),
        "padding_mask": keras.Input((None,), dtype="int32", name="padding_mask"),
    }
    states = inputs["hidden"]
    for layer in decoder.transformer_layers[-UPPER_BLOCKS:]:
        states = layer(states, decoder_padding_mask=inputs["padding_mask"])
    return keras.Model(inputs, decoder.layer_norm(states))


upper = upper_of(gpt)


# %%
def as_graph(model):
    """Return the model as one graph for batches of any length."""
    shapes = {}
    for name, one in model.input.items():
        shapes[name] = tf.TensorSpec((None, None, *one.shape[2:]), one.dtype)
    graph = tf.function(lambda batch: model(batch, training=False), [shapes], autograph=False)
    return lambda batch: graph(keras.tree.map_structure(ops.convert_to_tensor, batch))


run_lower, run_upper = as_graph(lower), as_graph(upper)


def gpt_tokens(texts, longest=None, before=()):
    ids = [[*before, *gpt_tokenizer(text)[:longest]] for text in texts]
    mask = keras.utils.pad_sequences([np.ones_like(row) for row in ids], padding="post")
    return {"token_ids": keras.utils.pad_sequences(ids, padding="post"), "padding_mask": mask}


def logits_of(tokens, run=run_upper):
    """Return the logits of every next token, shape (n, positions, vocabulary)."""
    states = run({"hidden": run_lower(tokens), "padding_mask": tokens["padding_mask"]})
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
def generate(prompt, new, temperature=0, run=run_upper):
    ids = [int(token_id) for token_id in gpt_tokenizer(prompt)]
    random = np.random.default_rng(SEED)
    for _ in range(new):
        batch = np.array([ids], dtype="int32")
        logits = logits_of({"token_ids": batch, "padding_mask": np.ones_like(batch)}, run)[0, -1]
        # The largest of z/T plus Gumbel noise is a draw from softmax(z/T); without noise it is the greedy choice.
        best = int((logits + temperature * random.gumbel(size=logits.shape)).argmax())
        if best == gpt_tokenizer.end_token_id:
            break
        ids.append(best)
    return gpt_tokenizer.detokenize(ids)


print(generate("Transfer learning means", NEW_TOKENS))

# %% [markdown]
# Fluent, on the subject, and in circles: greedy decoding likes to repeat itself. (Lesson 06 draws instead, and so does
# section 6.) A model of this size is not a source of facts. Our loop computes the whole text anew for each token.
# `keras_hub.models.Llama3CausalLM` keeps keys and values of earlier positions instead; that pays for longer texts.
#
# ### Perplexity
#
# How well does it guess on text it did not write? The mean of $-\log p(\text{token} \mid \text{all before})$ is the
# cross-entropy of notebook 01. Its exponential is the **perplexity**: a perplexity of 20 means that the model is as
# undecided as if it had to choose between 20 equally probable tokens. We judge newspaper sentences, and the same
# sentences with their words shuffled.


# %%
def surprise(tokens, first, run):
    """Return the sum of -log p over the real tokens from a position on, and their count."""
    logits, targets = logits_of(tokens, run)[:, first - 1 : -1], tokens["token_ids"][:, first:]
    real = tokens["padding_mask"][:, first:]
    losses = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return float((losses * real).numpy().sum()), real.sum()


def perplexity(texts, before=(), run=run_upper):
    batches = [texts[start : start + 10] for start in range(0, len(texts), 10)]
    sums = [surprise(gpt_tokens(batch, 40, before), len(before) + 1, run) for batch in batches]
    return np.exp(sum(total for total, _ in sums) / sum(count for _, count in sums))


# %%
editorials = load_sentiment("nyt", seed=100 * SEED).test.x
judged = [text for text in editorials if 60 < len(text) < 130][:JUDGED]
random = np.random.default_rng(SEED)
shuffled = [" ".join(random.permutation(text.split())) for text in judged]
sense, nonsense = perplexity(judged), perplexity(shuffled)
print(f"perplexity of the sentences: {sense:.0f}, for example {judged[0]!r}")
print(f"of the same, shuffled: {nonsense:.0f}, for example {shuffled[0]!r}")
expect("sense_perplexity", sense, contrast=nonsense)

# %% [markdown]
# The same words: a perplexity of {{sense_perplexity.mean:.0f}} in order, {{sense_perplexity.contrast:.0f}} in
# disorder. A bag of words could not tell the two apart. Perplexities can be compared only between models with the
# same tokens, on the same text.
#
# ## 5. Classifying with a decoder
#
# For a sentence vector we averaged over BERT's positions. In a decoder, most positions have not read the sentence:
# the first knows one token, the second two. Only the **last real** token has read everything. Can we check that?
# Change the last word, and see which states move.

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
# sentence. We take a tweet alone, and the same tweet padded to 40 positions. From lower blocks we keep, on the way,
# the last real token and the mean over the real ones. (`cached` keeps an array on disk under a key, which names the
# model, the blocks and the tokens: other texts are computed anew.)

# %%
POOLED = [6, 12, 18, 24]
kept = [gpt.transformer_layers[block - 1].output for block in (*POOLED, CUT)]
run_blocks = as_graph(keras.Model(gpt.input, kept))


def last_real(states, padding_mask):
    last = ops.sum(padding_mask, axis=1) - 1
    return ops.take_along_axis(states, last[:, None, None], axis=1)[:, 0]


def mean_of_real(states, padding_mask):
    return layers.GlobalAveragePooling1D()(states, mask=ops.cast(padding_mask, "bool"))


def last_position(states, padding_mask):
    return states[:, -1]


# %%
import hashlib

from course_utils.cache import cached


def padded_tokens(texts, positions):
    tokens = gpt_tokens(texts, LONGEST)
    return {name: np.pad(a, ((0, 0), (0, positions - a.shape[1]))) for name, a in tokens.items()}


def states_and_pooled(batch):
    *blocks, hidden = run_blocks(batch)
    picked = [pick(states, batch["padding_mask"]) for states in blocks for pick in (last_real, mean_of_real)]
    return np.concatenate([hidden, np.stack(picked, axis=1)], axis=1)


def states_below(texts, positions):
    """Return the states that the upper blocks get and their mask; and two vectors from each of some lower blocks."""
    tokens = padded_tokens(texts, positions)
    digest = hashlib.sha256(f"smollm2 2 {POOLED} {CUT} {positions}".encode() + tokens["token_ids"].tobytes())

    def compute():
        batches = range(0, len(texts), 25)
        rows = [{name: a[i : i + 25] for name, a in tokens.items()} for i in batches]
        return np.concatenate([states_and_pooled(batch) for batch in rows])

    hidden, pooled = np.split(cached(digest.hexdigest(), len(texts), compute), [positions], axis=1)
    return {"hidden": hidden, "padding_mask": tokens["padding_mask"]}, pooled


def cut_off(states, positions):
    return {name: array[:, :positions] for name, array in states.items()}


# %% [markdown]
# No position changes those before it, as we just saw. So one pass at 40 positions serves for all widths up to 40. We
# compare two widths: 20, the longest of these tweets, and 40.

# %%
below, pooled = {}, {}
for name, samples, positions in (("given", given, LONGEST), ("tested", tested, 40)):
    below[name], pooled[name] = states_below(samples.x, positions)
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
    probe = probe_on(train, given.y)
    nearest = (Normalizer().transform(wide) @ Normalizer().transform(narrow).T).argmax(axis=1)
    found = np.mean(nearest == np.arange(len(nearest)))
    answers = [accuracy_of(probe.predict(vectors)) for vectors in (narrow, wide)]
    rows[name] = [cosines(narrow, wide).mean(), found, *answers]
columns = ["cosine", "finds itself", "accuracy, 20 positions", "accuracy, 40 positions"]
pooling = pd.DataFrame(rows, index=columns).T
right, wrong = pooling.loc["last real token"], pooling.loc["last position"]
assert right["cosine"] > 0.9999, "the vector must not depend on the padding"
angles = np.degrees(np.arccos(np.minimum(pooling["cosine"], 1)))
expect("padded_angle", angles["last position"], contrast=angles["last real token"])
expect("padded_found", wrong["finds itself"], contrast=right["finds itself"], limits=(0, 1))
expect("gpt_frozen", right["accuracy, 20 positions"], contrast=0.5, limits=(0, 1))
pooling.round(3)

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
# ### From which block?
#
# The top of a decoder is made to guess the next token, and perhaps a lower block has more to say about the whole. We
# classify by the vectors of five blocks, from the last real token and from the mean over the real tokens. So far each
# vector was scaled to length one. Beside that stands the other usual way: each of the 576 features is standardised over
# the training tweets.

# %%
from sklearn.preprocessing import StandardScaler

standardised = GridSearchCV(
    make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)),
    {"logisticregression__C": np.logspace(-3, 0, 4)},
    scoring="balanced_accuracy",
    cv=FOLDS,
)
by_block = {}
for number, block in enumerate([*POOLED, 30]):
    for at, (name, pick) in enumerate((("last real token", last_real), ("mean", mean_of_real))):
        if block == 30:
            train, test = (np.array(pick(*pair)) for pair in zip(states_at_widths[:2], masks))
        else:
            train, test = (pooled[part][:, 2 * number + at] for part in ("given", "tested"))
        by_block[f"{name}, length one", block] = accuracy_of(probe_on(train, given.y).predict(test))
        by_block[f"{name}, standardised", block] = accuracy_of(standardised.fit(train, given.y).predict(test))
expect("mean_at_24", by_block["mean, standardised", 24], contrast=0.5, limits=(0, 1))
expect("mean_at_24_gain", by_block["mean, standardised", 24] - right["accuracy, 20 positions"], limits=(-1, 1))
scaled = by_block["mean, standardised", 24] - by_block["mean, length one", 24]
expect("mean_at_24_standardised", scaled, limits=(-1, 1))
pd.Series(by_block).unstack().rename_axis(columns="block").round(3)

# %% [markdown]
# The mean at block 24, which was best on films when we tried it first, reaches {{mean_at_24.mean:.2f}} ±
# {{mean_at_24.half_width:.2f}} if its features are standardised. Within a repetition, that is
# {{mean_at_24_gain.mean:+.3f}} ± {{mean_at_24_gain.half_width:.3f}} beside the last real token at the top. What mattered
# was the scaling: for the mean at this block, standardising changes the accuracy by
# {{mean_at_24_standardised.mean:+.3f}} ± {{mean_at_24_standardised.half_width:.3f}}. (We did not test why.)
#
# ### No training at all
#
# A language model can classify without a single label: write the tweet into a text whose next word gives the answer,
# and compare the logits of " good" and " bad". The threshold is zero, or the median of all differences.

# %%
template = 'Someone wrote: "{}" The feeling of this message is'
good, bad = (int(gpt_tokenizer(word)[0]) for word in (" good", " bad"))
asked = Samples(*(array[:ASKED] for array in tested))
differences = []
for start in range(0, len(asked.x), 10):
    tokens = gpt_tokens([template.format(text) for text in asked.x[start : start + 10]])
    ends = last_real(logits_of(tokens), tokens["padding_mask"]).numpy()
    differences += list(ends[:, good] - ends[:, bad])
differences = np.array(differences)
at_zero, at_median = (
    balanced_accuracy_score(asked.y, differences > threshold) for threshold in (0, np.median(differences))
)
print(f"at zero {at_zero:.2f}, at the median {at_median:.2f}; positive {asked.y.mean():.2f}")
expect("prompted", at_median, contrast=0.5, limits=(0, 1))
expect("prompted_at_zero", at_zero, limits=(0, 1))

# %% [markdown]
# At zero, {{prompted_at_zero.mean:.2f}} ± {{prompted_at_zero.half_width:.2f}}; at the median, {{prompted.mean:.2f}} ±
# {{prompted.half_width:.2f}}: no difference was shown. Without one label, both come near to the frozen features with
# their labels ({{gpt_frozen.mean:.2f}}). The median assumes classes of equal size, and more than six tweets in ten are
# positive. Zero assumes that the model, before it reads the tweet, likes both words equally well, which depends on the
# template.
#
# ## 6. Tuning a style
#
# The same states can train the decoder to do what it was made for: to guess the next token, now of tweets. The upper
# blocks train along on the tweets of section 3, without their labels. The state at a position guesses the token after
# it. `weighted_metrics` counts each guess with the mask, so `Perplexity` is that of section 4, which we check.


# %%
def copy_of_upper():
    """Return a decoder of the upper blocks alone, with weights of its own; it needs no table of words."""
    copy = type(gpt).from_config(gpt.get_config() | {"num_layers": UPPER_BLOCKS, "vocabulary_size": 1})
    blocks = zip([*copy.transformer_layers, copy.layer_norm], [*gpt.transformer_layers[CUT:], gpt.layer_norm])
    for mine, pretrained in blocks:
        mine.set_weights(pretrained.get_weights())
    return copy


def guesses_in(states, texts):
    """Return states, the token after each, and where there is one: what `fit` and `evaluate` take."""
    ids = padded_tokens(texts, LONGEST)["token_ids"]
    return cut_off(states, LONGEST - 1), ids[:, 1:], states["padding_mask"][:, 1:LONGEST]


rows = np.flatnonzero(~np.isin(tested.x, given.x))[:HELD_OUT]
held_out = list(tested.x[rows])

# %%
styled = upper_of(copy_of_upper())
gpt.token_embedding.trainable = False  # it serves twice, as the first and as the last layer
writer = keras.Model(styled.input, gpt.token_embedding(styled.output, reverse=True))
writer.compile(
    keras.optimizers.Adam(1e-4),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    weighted_metrics=[keras_hub.metrics.Perplexity(from_logits=True)],
)
*asked_for, weights = guesses_in({name: a[rows] for name, a in below["tested"].items()}, held_out)
judge = dict(sample_weight=weights, batch_size=10, verbose=0, return_dict=True)
before, by_hand = writer.evaluate(*asked_for, **judge), perplexity(held_out)
assert np.isclose(before["perplexity"], by_hand, rtol=0.01), "the metric is not the perplexity of section 4"
print(f"exp(loss), over padding too: {np.exp(before['loss']):.0f}; perplexity {before['perplexity']:.0f}")

# %%
run_styled = as_graph(styled)
keras.utils.set_random_seed(SEED)
*learnt, weights = guesses_in(below["given"], given.x)
writer.fit(*learnt, sample_weight=weights, batch_size=8, epochs=STYLE_EPOCHS, verbose=0)
after = writer.evaluate(*asked_for, **judge)["perplexity"]
examples = gpt_tokenizer("\n".join(given.x[:3]) + "\n")
style = pd.DataFrame(
    {
        "pretrained": {"alone": by_hand, "three tweets before": perplexity(held_out, examples), "editorials": sense},
        "tuned": {
            "alone": after,
            "three tweets before": perplexity(held_out, examples, run_styled),
            "editorials": perplexity(judged, run=run_styled),
        },
    }
).T
style.round(0)

# %%
for beginning in ("I just", "My phone"):
    for name, run in (("before", run_upper), ("after", run_styled)):
        print(f"{name:7}", repr(generate(beginning, NEW_TOKENS, 0.7, run)))
expect("style_perplexity", after, contrast=by_hand)
for name, row in (("style_in_context", "pretrained"), ("style_both", "tuned")):
    expect(name, style.loc[row, "three tweets before"])
expect("style_on_editorials", style.loc["tuned", "editorials"] / sense)

# %% [markdown]
# On tweets that it has not seen, the perplexity falls from {{style_perplexity.contrast:.0f}} to
# {{style_perplexity.mean:.0f}} ± {{style_perplexity.half_width:.0f}}. But the strongest rival needs no training: with the
# same three tweets in front of each, the pretrained decoder has {{style_in_context.mean:.0f}} ±
# {{style_in_context.half_width:.0f}}, the tuned one {{style_both.mean:.0f}} ± {{style_both.half_width:.0f}}. On editorials,
# the perplexity of the tuned decoder is {{style_on_editorials.mean:.2f}} ± {{style_on_editorials.half_width:.2f}} times
# what it was. The samples are one draw each, with the same random numbers before and after.
#
# ## 7. LoRA against full fine-tuning
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
def parameters_in(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


def decoder_classifier(rank):
    """Return a classifier on a copy of the upper blocks, of which all train, or LoRA of this rank; and the copy."""
    decoder = copy_of_upper()
    if rank:
        decoder.enable_lora(rank)
    blocks = upper_of(decoder)

    def vector_of(hidden, padding_mask):
        return last_real(blocks({"hidden": hidden, "padding_mask": padding_mask}), padding_mask)

    return upper_classifier(576, vector_of), decoder


# %% [markdown]
# `enable_lora` freezes a decoder and puts LoRA beside its queries and values, which the paper chose;
# `save_lora_weights` keeps the small matrices alone. So few parameters, with $B$ at zero to begin with, take a much
# larger learning rate.
#
# It is not quite the formula above. Keras gives each head an $A$ of its own, and all heads of a layer share $B$. That
# trains more parameters than the formula, and the update of a whole query matrix can have a rank of up to 72, 8 for
# each of its nine heads.


# %%
def compare_with(labels):
    """Yield a row for each way of using so many labelled tweets of each class."""
    chosen = few_shot(Samples(np.arange(len(given.y)), given.y), labels, SEED).x
    few = {name: array[chosen] for name, array in cut_off(below["given"], LONGEST).items()}
    vectors, targets = vectors_of_given[chosen], given.y[chosen]
    probe = probe_on(vectors, targets)
    frozen = accuracy_of(probe.predict(vectors_of_tested))
    start = keras.losses.binary_crossentropy(targets, probe.predict_proba(vectors)[:, 1]).numpy()
    yield dict(labels=2 * labels, way="frozen", trainable=577, loss=start, accuracy=frozen, gain=0)
    for rank in (None, *RANKS):
        model, decoder = decoder_classifier(rank)
        rate = 5e-3 if rank else 1e-4
        seconds, loss = fine_tune(model, few, targets, rate, head_of(probe))
        accuracy = accuracy_of(model.predict(cut_off(below["tested"], LONGEST), verbose=0))
        small = [b for b in decoder.variables if "lora_kernel_b" in b.path]
        assert len(small) == 2 * UPPER_BLOCKS * bool(rank), "LoRA is not where it was asked for"
        assert all(ops.max(ops.abs(b)) > 0 for b in small), "LoRA did not train"
        trained = parameters_in(model.trainable_variables)
        yield {
            "labels": 2 * labels, "way": f"LoRA, rank {rank}" if rank else "full", "trainable": trained,
            "MB for training": 4 * (trained + parameters_in(model.optimizer.variables)) / 1e6,
            "seconds an epoch": seconds, "loss": loss, "accuracy": accuracy, "gain": accuracy - frozen,
        }  # fmt: skip


# %%
vectors_of_given, vectors_of_tested = (np.array(last_real(*pair)) for pair in zip(states_at_widths[:2], masks))
tuning = pd.DataFrame([row for labels in LABELS for row in compare_with(labels)])
tuning.round({"MB for training": 1, "seconds an epoch": 1, "loss": 3, "accuracy": 3, "gain": 3})

# %% tags=["nbval-check-output"]
few, most = (tuning[tuning["labels"] == 2 * labels].set_index("way") for labels in (LABELS[0], LABELS[-1]))
full, lora = most.loc["full"], most.loc["LoRA, rank 8"]
by_formula = UPPER_BLOCKS * 8 * ((576 + 9 * 64) + (576 + 3 * 64)) + 577  # and the head
print(f"LoRA trains {int(lora['trainable']):,} parameters, by the formula {by_formula:,},")
print(f"full fine-tuning {int(full['trainable']):,}.")
expect("lora_share", lora["trainable"] / full["trainable"], contrast=1, limits=(0, 1))
for name, way in (("full", "full"), ("lora", "LoRA, rank 8")):
    expect(f"{name}_accuracy", most.loc[way, "accuracy"], limits=(0, 1))
    expect(f"{name}_gain", most.loc[way, "gain"], limits=(-1, 1))
    expect(f"{name}_gain_few", few.loc[way, "gain"], limits=(-1, 1))

# %% [markdown]
# With {{full_accuracy.mean:.2f}} and {{lora_accuracy.mean:.2f}} on average over repetitions, full fine-tuning and LoRA
# end where the frozen decoder is ({{gpt_frozen.mean:.2f}}). Within a repetition, full fine-tuning changes the accuracy
# by {{full_gain.mean:+.3f}} ± {{full_gain.half_width:.3f}} and LoRA by {{lora_gain.mean:+.3f}} ±
# {{lora_gain.half_width:.3f}}; with the smaller number of tweets it is {{full_gain_few.mean:+.3f}} ±
# {{full_gain_few.half_width:.3f}} and {{lora_gain_few.mean:+.3f}} ± {{lora_gain_few.half_width:.3f}}. No gain was
# shown for three blocks and some 26 steps; the intervals say how firm that is. The profile `full` trains ten blocks, for
# longer, on more tweets, and at three ranks.
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
# ## 8. A GPT by hand
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

# %% [markdown]
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
# ## 9. Models from TensorFlow Hub
#
# Many pretrained encoders are published on TensorFlow Hub as **SavedModels**: a program and its variables in one
# folder, which runs without the code that made it. Those of BERT come in twos. The preprocessing turns strings into
# `input_word_ids`, `input_mask` and `input_type_ids`; the encoder turns these into `pooled_output`, one vector for each
# sentence, and `sequence_output`, one for each token.
#
# We write MiniLM in this form, so that everything below runs here for real. With internet, set `ONLINE = True`: the
# same code then takes Google's BERT (Devlin et al. 2019), more than 400 MB; and the Universal Sentence Encoder (Cer et
# al. 2018) answers, which takes strings without any preprocessing. (The preprocessing needs `tensorflow_text`, which is
# not made for Windows: there, this section stops with a sentence that says so.)

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

from course_utils.text.hub_export import export_bert

folder = TemporaryDirectory()  # goes with the kernel
handles = export_bert(bert_tokenizer, bert, folder.name, sequence_length=LONGEST)
if ONLINE:
    handles = [find_asset(name).handle for name in ("bert_tfhub_preprocessing", "bert_tfhub")]
    print(HubLayer(find_asset("universal_sentence_encoder").handle)(tf.constant(sentences)).shape)
preprocessing = HubLayer(handles[0])
for name, array in preprocessing(tf.constant(sentences[:1])).items():
    print(f"{name:15}", array[0, :8].numpy())

# %% tags=["nbval-check-output"]
hub_outputs = HubLayer(handles[1])(preprocessing(tf.constant(sentences)))
for name, expected in bert(tokenize(bert_tokenizer, sentences, LONGEST)).items():
    found = hub_outputs[name] if name == "pooled_output" else hub_outputs[name][:, : expected.shape[1]]
    if not ONLINE:
        assert np.allclose(found, expected, atol=1e-4), f"{name} is not that of the backbone"
print("the SavedModels give the vectors of the backbone to 0.0001")

# %% [markdown]
# ### The layer that many tutorials use
#
# `hub.KerasLayer` was written for Keras 2. What does Keras 3 say to it?

# %% tags=["nbval-check-output"]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package warns of its own age
    import tensorflow_hub as hub

sentence = keras.Input((), dtype="string")
of_keras_2 = hub.KerasLayer(handles[0])
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

    def call(self, pieces):
        return self.saved_model(pieces)


# %% [markdown]
# Do they train, too? Keras collects the weights of a layer among variables of its own class, `keras.Variable`. Those of
# the SavedModel are of class `tf.Variable`. The course's `HubLayer` wraps each in a `keras.Variable` that shares its
# memory. That is the line to look for.

# %%
show_source(HubLayer.__init__, HubLayer.call)

# %% [markdown]
# This is the classifier of the popular tutorials: strings, preprocessing, encoder, dropout, one output. We train it with
# either layer on the same sentences about films, from the same seed. Beside both stand logistic regressions on
# outputs of the encoder as it was. Look at the number of parameters that train, and at how far the variables of
# the encoder move: the length of their change over their own length.

# %%
films = load_sentiment("movie", seed=SEED)
some = few_shot(films.train, HUB_SENTENCES // 2, SEED)
train_x, test_x = (tf.constant(list(texts)) for texts in (some.x, films.test.x[:TESTED]))
test_y = films.test.y[:TESTED]


def classifier_on(encoder):
    keras.utils.set_random_seed(SEED)
    text = keras.Input((), dtype="string", name="text")
    vector = encoder(preprocessing(text))["pooled_output"]
    vector = layers.Dropout(0.1)(vector)
    model = keras.Model(text, layers.Dense(1, activation="sigmoid")(vector))
    model.compile(keras.optimizers.Adam(1e-4), "binary_crossentropy", metrics=["accuracy"])
    return model


# %%
def train_on(encoder):
    model, variables = classifier_on(encoder), encoder.saved_model.trainable_variables
    before = np.concatenate([np.ravel(variable) for variable in variables])
    model.fit(train_x, some.y, batch_size=16, epochs=2, verbose=0)
    moved = np.concatenate([np.ravel(variable) for variable in variables]) - before
    return model, {
        "trainable parameters": parameters_in(model.trainable_variables),
        "change of the encoder": np.linalg.norm(moved) / np.linalg.norm(before),
        "test accuracy": model.evaluate(test_x, test_y, batch_size=50, verbose=0)[1],
    }


# %%
encoder = HubLayer(handles[1], trainable=True)
frozen = {"pooled output": [], "mean of real tokens": []}
for texts in (train_x, test_x):
    pieces = preprocessing(texts)
    outputs = encoder(pieces)
    frozen["pooled output"].append(outputs["pooled_output"].numpy())
    frozen["mean of real tokens"].append(mean_of_real(outputs["sequence_output"], pieces["input_mask"]).numpy())
_, untracked = train_on(Untracked(handles[1]))
model, trained = train_on(encoder)
rows = {"untracked": untracked, "HubLayer": trained}
for name, (of_train, of_test) in frozen.items():
    answers = probe_on(of_train, some.y).predict(of_test)
    rows[f"frozen, {name}"] = {"trainable parameters": 385, "test accuracy": np.mean(answers == test_y)}

# %%
assert untracked["change of the encoder"] == 0, "the naive layer trains after all"
expect("hub_change", trained["change of the encoder"], contrast=untracked["change of the encoder"], limits=(0, 1))
hub_accuracies = {name: row["test accuracy"] for name, row in rows.items()}
for name, row in zip(("hub_untracked", "hub_accuracy", "hub_pooled", "hub_mean"), hub_accuracies.values()):
    expect(name, row, limits=(0, 1))
expect("hub_gain", trained["test accuracy"] - hub_accuracies["frozen, mean of real tokens"], limits=(-1, 1))
pd.DataFrame(rows).T.astype({"trainable parameters": int}).round(4)

# %% [markdown]
# The variables of `HubLayer` move by {{hub_change.mean:.1%}} of their length, and the test accuracy is
# {{hub_accuracy.mean:.2f}} ± {{hub_accuracy.half_width:.2f}}. The naive layer asked for the same training and got none:
# its encoder did not move at all, and the head alone, in as few steps, reaches {{hub_untracked.mean:.2f}} ±
# {{hub_untracked.half_width:.2f}}. No error and no warning says so.
#
# A logistic regression on frozen pooled outputs reaches {{hub_pooled.mean:.2f}} ± {{hub_pooled.half_width:.2f}}; on the
# mean of `sequence_output` over the real tokens, for which MiniLM was trained, {{hub_mean.mean:.2f}} ±
# {{hub_mean.half_width:.2f}}. Within a repetition, the trained classifier of the tutorials differs from the latter by
# {{hub_gain.mean:+.3f}} ± {{hub_gain.half_width:.3f}}.
#
# Two habits find the mistake at once: read the number of trainable parameters in `model.summary()`, and compare the
# weights before and after the first epoch. `trainable` has a trap of its own, and `HubLayer.__init__` sets it last for
# that reason: a model asks each variable whether it trains, and variables made in `__init__` after
# `super().__init__(trainable=False)` do not hear of it.
#
# ### Saved and loaded
#
# What is not tracked is not saved either. The trained weights of `HubLayer` are in the `.keras` file. The program is
# not: the file keeps the handles, and the SavedModels must still be there. (A model that was never compiled is saved
# without the state of Adam.)

# %% tags=["nbval-check-output"]
keras.Model(model.input, model.output).save(Path(folder.name) / "films.keras")
again = keras.saving.load_model(Path(folder.name) / "films.keras")
assert np.allclose(again(test_x[:20]), model(test_x[:20]), atol=1e-5), "a weight was not saved"
print("the same answers after loading, strings in, probabilities out")

# %% [markdown]
# ## 10. GPT-2 by preset
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

# %% tags=["headline"]
expect.table()
