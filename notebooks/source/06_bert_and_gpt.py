# ---
# jupyter:
#   course:
#     title: BERT and GPT
#     question: What do BERT and GPT know, and how do I make them mine?
#     minutes: {reading: 50, exercises: 40}
#     shows: "From 200 sentences of product reviews, a fine-tuned small BERT reaches an accuracy of {{tuned_accuracy.mean:.2f}} ± {{tuned_accuracy.half_width:.2f}} on test sentences, its frozen vectors {{frozen_accuracy.mean:.2f}} ± {{frozen_accuracy.half_width:.2f}}, word counts {{words_accuracy.mean:.2f}} ± {{words_accuracy.half_width:.2f}} (five runs). Padded more widely, {{found_last_position.mean:.0%}} of sentences still find themselves by the last position; by the last real token, all."
#     goals:
#       - fine-tune a BERT on your own sentences in 20 lines of Keras, save it, and use it elsewhere;
#       - say what a tokenizer, a mask and an attention map do, and compute attention by hand;
#       - let a GPT write, greedily or by sampling, and talk to an *Instruct* model in its own format;
#       - train a LoRA beside a GPT, measure what it gained, and keep it in a small file.
#     prerequisites:
#       - lesson 02 (frozen features and a head) and lesson 03 (fine-tuning);
#       - the words softmax and cross-entropy from lesson 01.
#     recap:
#       - "Tokenizer, mask and weights belong together. What makes one vector out of many must leave out the padding."
#       - "An encoder (BERT) sees both sides of a word. A decoder (GPT) sees only what stands before, so it can write."
#       - "With few sentences, compare three: word counts, frozen vectors with a linear head, fine-tuning."
#       - "An *Instruct* model wants its chat template. Temperature and top-p decide how much is left to chance."
#       - "LoRA trains two small matrices beside each frozen one. Take the last *real* token of a decoder, never the last position."
#     references: [vaswani2017, devlin2019, radford2018, wang2020, allal2025, hu2022, jain2019, hutto2014]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0
GIVEN = 200  # sentences to train on
TESTED = 300  # sentences to test on
PIECES = 32  # of a sentence that the encoder reads
RATE = 1e-4
EPOCHS = 2
WRITTEN = 32  # of these sentences that the decoder learns to write
LORA_RATE = 5e-3
TOKENS = 28  # of prompt and answer together

# %% [markdown]
# ## The whole thing first
#
# Two halves, each usable alone: an **encoder**, which reads (sections 1 to 3), and a **decoder**, which writes (4 to 7). For the second alone, run the imports.

# %%
import tempfile
from pathlib import Path

import keras
import keras_hub
import matplotlib.pyplot as plt
import numpy as np

from course_utils.data import fetch, load_sentiment

home = Path(tempfile.mkdtemp())  # temporary; for your own work choose a folder that lasts
reviews = load_sentiment("amazon", seed=SEED)
texts, labels = list(reviews.train.x[:GIVEN]), reviews.train.y[:GIVEN]
test_texts, test_labels = list(reviews.test.x[:TESTED]), reviews.test.y[:TESTED]

# %% [markdown]
# We train on 200 sentences of product reviews, each rated by some twenty people (Hutto & Gilbert 2014). The model is MiniLM (Wang et al. 2020), a small BERT with 22 million weights, trained further so that sentences of similar meaning get similar vectors.
#
# As in lesson 03, the head comes first: a logistic regression on the frozen vectors becomes the last layer. Then `fit` trains the network too, except its embeddings and lower three layers.

# %%
folder = str(fetch("minilm"))  # with internet: a preset such as "bert_base_en_uncased"
tokenizer = keras_hub.models.BertTokenizer.from_preset(folder, strip_accents=True)
preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=PIECES)
backbone = keras_hub.models.BertBackbone.from_preset(folder)
embeddings = [layer for layer in backbone.layers if "embedding" in layer.name]  # of words, positions, segments
for layer in [*embeddings, *backbone.transformer_layers[:3]]:
    layer.trainable = False
model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, dropout=0.1, preprocessor=preprocessor)


# %%
from sklearn.linear_model import LogisticRegression

head = LogisticRegression().fit(backbone.predict(preprocessor(texts), verbose=0)["pooled_output"], labels)
half = np.stack([-head.coef_[0], head.coef_[0]], axis=1) / 2  # one column for each class
model.output_dense.set_weights([half, np.append(-head.intercept_, head.intercept_) / 2])

# %%
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(RATE), loss, metrics=["accuracy"])
_, head_alone = model.evaluate(test_texts, test_labels, verbose=0)
model.fit(texts, labels, batch_size=16, epochs=EPOCHS, verbose=0)
_, tuned = model.evaluate(test_texts, test_labels, verbose=0)
print(f"accuracy on test: before fit, with the head alone, {head_alone:.3f}; after fit {tuned:.3f}")

# %%
new = ["Stopped working after a week.", "The battery lasts for ages.", "Not bad at all.", "I would buy it again."]
new += ["It looks cheap, but it works.", "It looks good, but it broke."]
positive = np.array(keras.ops.softmax(model.predict(new, verbose=0)))[:, 1]
figure, ax = plt.subplots(figsize=(8, 3.2))
figure.set_label("Probability of the class positive for six new sentences.")
ax.bar_label(ax.barh(new, positive), fmt="%.2f", padding=4)
ax.invert_yaxis()
ax.set(xlim=(0, 1.1), xlabel="probability of positive")
plt.show()

# %% [markdown]
# Strings go in. Out come two **logits** for each sentence; the softmax makes probabilities of them. A sure answer may be wrong: look at "I would buy it again." KerasHub's `fit` does not shuffle the sentences: shuffle yours first.
#
# Accuracy on 300 test sentences is {{head_accuracy.mean:.2f}} ± {{head_accuracy.half_width:.2f}} before `fit` and {{tuned_accuracy.mean:.2f}} ± {{tuned_accuracy.half_width:.2f}} after, over five runs (runs share sentences, so intervals are a little too narrow). Taken within each run (*as pairs*), `fit` adds {{fit_gain.mean:+.3f}} ± {{fit_gain.half_width:.3f}}. This start is weak; section 3 has a stronger one. Always "positive" gives about 0.59.
#
# ## 1. From text to numbers
#
# **Predict.** Into how many pieces will "unwatchable" be cut? And what stands in a batch behind the end of a short sentence?
#
# <details><summary>Answer</summary>
#
# Three pieces: look at the second row. Behind the end stands `[PAD]`, padding: all rows of a batch have one length.
#
# </details>

# %%
bert = keras_hub.models.BertBackbone.from_preset(folder)  # as it was before our training
three = ["Wonderful.", "An unwatchable film.", "Not bad at all, I liked the ending!"]
arrays = preprocessor(three)
outputs = bert(arrays)
for name, array in (arrays | outputs).items():
    print(f"{name}: {array.shape}")

# %% tags=["fold"]
# Diagram: pieces, ids and mask of three sentences
figure, ax = plt.subplots(figsize=(14, 2.6))
figure.set_label("Three sentences as rows of pieces with their ids; padding is grey.")
for row in range(3):
    for at in range(12):
        number, real = int(arrays["token_ids"][row, at]), bool(arrays["padding_mask"][row, at])
        ax.add_patch(plt.Rectangle((at, -row), 0.94, 0.9, facecolor="#cfe3f2" if real else "0.8"))
        text = f"{tokenizer.id_to_token(number)}\n{number}\nmask {int(real)}"
        ax.text(at + 0.47, 0.45 - row, text, ha="center", va="center", fontsize=10)
ax.set(xlim=(0, 12), ylim=(-2.05, 1), xticks=[], yticks=[])
ax.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# A **tokenizer** cuts a text into **tokens**: words, or pieces of rare words. `##` marks a piece that continues a word. Each token has a number, its **id**. `[CLS]` and `[SEP]` stand around the sentence.
#
# The **mask** says which positions are real. BERT, pretrained to guess hidden words from both sides (Devlin et al. 2019), gives one vector of 384 numbers for each position (`sequence_output`), and one for the whole sentence (`pooled_output`), made from that of `[CLS]`. (`segment_ids` number the texts of a pair.) For this MiniLM the mean of the real positions is better: on films (experiment), a classifier on it reaches {{experiment.hub_mean.mean:.2f}} ± {{experiment.hub_mean.half_width:.2f}}, on the pooled output {{experiment.hub_pooled.mean:.2f}} ± {{experiment.hub_pooled.half_width:.2f}}.
#
# The tokenizer belongs to the weights. KerasHub keeps accents; these weights were trained without them, and "café" becomes `[UNK]`, unknown, without a warning. Hence `strip_accents=True` above (experiment: right and wrong vectors have a cosine of only {{experiment.accent_cosine.mean:.2f}}).
#
# ## 2. Attention, by hand
#
# In each layer, each position asks all positions and takes a mixture of what they offer (Vaswani et al. 2017). With queries $Q$, keys $K$ and values $V$, three linear functions of the vectors, and $d$ the length of a query:
#
# $$A = \operatorname{softmax}\left(\frac{QK^\top}{\sqrt d}\right), \qquad \text{output} = AV$$
#
# Row $i$ of $A$ says how much position $i$ takes from each position. A layer does this several times side by side, in **heads**; MiniLM has 12 in each of its 6 layers.
#
# **Predict.** Where must the mask come in, so that nobody takes anything from padding?
#
# <details><summary>Answer</summary>
#
# Before the softmax: what must not be seen gets the score $-\infty$, so its weight is 0.
#
# </details>

# %%
tokens = preprocessor(["The film was not good, but the music was."])
third = bert.transformer_layers[2]
x = keras.Model(bert.input, bert.transformer_layers[1].output)(tokens)  # what the third layer gets

attention = third._self_attention_layer
query, key = (
    keras.ops.einsum("bpm,mhd->bhpd", x, part.kernel) + part.bias[:, None]  # 12 heads, d = 32
    for part in (attention.query_dense, attention.key_dense)
)
scores = query @ keras.ops.swapaxes(key, -1, -2) / query.shape[-1] ** 0.5
scores = keras.ops.where(tokens["padding_mask"][:, None, None], scores, -np.inf)
by_hand = keras.ops.softmax(scores)[0]

# %% tags=["nbval-check-output"]
_, weights = third(x, tokens["padding_mask"], return_attention_scores=True)
real = int(np.sum(tokens["padding_mask"]))
gap = np.abs(by_hand - weights[0])[:, :real].max()
print("by hand as by the layer:", gap < 1e-5, "- heads, from, to:", by_hand.shape)

# %% tags=["fold"]
# Figure: two attention heads of the third layer
names = [tokenizer.id_to_token(int(i)) for i in tokens["token_ids"][0][:real]]
figure, axes = plt.subplots(1, 2, figsize=(13, 5.6))
figure.set_label("Two attention heads: in the left one, the row of 'not' is dark at 'good'.")
for ax, head in zip(axes, (1, 7)):
    ax.imshow(by_hand[head, :real, :real], cmap="Blues", vmin=0)
    ax.set_xticks(range(real), names, rotation=90)
    ax.set_yticks(range(real), names)
    ax.set(title=f"layer 3, head {head + 1}", xlabel="takes from", ylabel="position")
plt.show()

# %% [markdown]
# Read a row: the darker, the more it takes from that word. In the left head "not" takes nearly everything from "good"; in the right one every row takes most from `[CLS]`.
#
# We chose these two among 72. A map is no explanation: in recurrent classifiers, other weights often gave the same answer (Jain & Wallace 2019).
#
# ## 3. Frozen or fine-tuned?
#
# **Word counts** (TF-IDF) know no language. **Frozen vectors** are the mean over the real positions of the pretrained BERT. A **control** is the same network with random weights, frozen too. These three get a logistic regression, its penalty (`C`) chosen by cross-validation.
#
# **Predict.** With 200 sentences: which wins?
#
# <details><summary>Answer</summary>
#
# Frozen and fine-tuned, about equally. Accuracy over five runs: untrained {{untrained_accuracy.mean:.2f}} ± {{untrained_accuracy.half_width:.2f}}, word counts {{words_accuracy.mean:.2f}} ± {{words_accuracy.half_width:.2f}}, frozen {{frozen_accuracy.mean:.2f}} ± {{frozen_accuracy.half_width:.2f}}, fine-tuned {{tuned_accuracy.mean:.2f}} ± {{tuned_accuracy.half_width:.2f}}.
#
# </details>

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline


def encoder_of(bert):
    mask = keras.ops.cast(bert.input["padding_mask"], "bool")
    mean = keras.layers.GlobalAveragePooling1D()(bert.output["sequence_output"], mask=mask)
    return keras.Model(bert.input, mean)


encoder = encoder_of(bert)
control = encoder_of(keras_hub.models.BertBackbone.from_preset(folder, load_weights=False))


# %%
def vectors_of(some, encoder=encoder):
    return encoder.predict(preprocessor(list(some)), batch_size=50, verbose=0)


def linear():
    return GridSearchCV(LogisticRegression(max_iter=2000), {"C": np.logspace(-2, 4, 7)}, cv=5)


def score_of(encoder):
    return linear().fit(vectors_of(texts, encoder), labels).score(vectors_of(test_texts, encoder), test_labels)


frozen, untrained = score_of(encoder), score_of(control)
counts = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), linear()).fit(texts, labels)
words = counts.score(test_texts, test_labels)
print(f"untrained {untrained:.3f}, word counts {words:.3f}, frozen {frozen:.3f}, fine-tuned {tuned:.3f}")

# %% [markdown]
# As pairs over the five runs, frozen vectors are {{frozen_minus_words.mean:.2f}} ± {{frozen_minus_words.half_width:.2f}} ahead of word counts, and {{frozen_minus_untrained.mean:.2f}} ± {{frozen_minus_untrained.half_width:.2f}} ahead of the control: that is the pretraining. Fine-tuned minus frozen:
#
# | labels | sentences of | difference |
# |---|---|---|
# | 200 | product reviews, here | {{tuned_minus_frozen.mean:+.3f}} ± {{tuned_minus_frozen.half_width:.3f}} |
# | 400 | four domains ([experiment 08](experiments/08_text_classification.ipynb)) | {{experiments/08_text_classification.fine_tuning_inside.mean:+.3f}} ± {{experiments/08_text_classification.fine_tuning_inside.half_width:.3f}} |
# | 800 (frozen: some 1,770) | product reviews ([lesson 08](08_text_classification.ipynb)) | {{08_text_classification.test_tuned_minus_frozen.mean:+.3f}} ± {{08_text_classification.test_tuned_minus_frozen.half_width:.3f}} |
#
# The difference mixes two things: fine-tuned reads the pooled output, frozen the mean. The rows differ in more than labels: read no trend. The first interval contains zero; the last, corrected for shared sentences (lesson 08), does not.
#
# ## 4. A decoder guesses the next token
#
# A **decoder** such as GPT (Radford et al. 2018) sees only what stands before a position, and is trained to guess the next token. SmolLM2 (Allal et al. 2025) has 135 million weights in 30 layers, stored with some 4 bits a weight. Ours was also tuned to follow instructions (*Instruct*). It is built like Llama, hence `Llama3` below.

# %%
from course_utils.text import load_smollm2

gpt_tokenizer, gpt = load_smollm2()
pack = keras_hub.models.Llama3CausalLMPreprocessor(gpt_tokenizer, sequence_length=20, add_start_token=False)
lm = keras_hub.models.Llama3CausalLM(gpt, preprocessor=pack)


# %%
def next_tokens(text, count=6):
    ids = np.array([gpt_tokenizer(text)])
    logits = lm({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    p = np.array(keras.ops.softmax(logits[0, -1]))  # after the last token of the text
    return {repr(gpt_tokenizer.detokenize([int(i)])): p[i] for i in p.argsort()[::-1][:count]}


# %% [markdown]
# **Predict.** After which beginning is the model surest of the next token: "The capital of France is" or "The film was so bad that I"?
#
# <details><summary>Answer</summary>
#
# The first: only one answer is right. After the second, many words fit.
#
# </details>

# %% tags=["fold"]
# Figure: the most probable next tokens after two beginnings
beginnings = ["The capital of France is", "The film was so bad that I"]
guesses = [next_tokens(beginning) for beginning in beginnings]
figure, axes = plt.subplots(1, 2, figsize=(13, 3))
figure.set_label("Probabilities of the next token after two beginnings: sure of Paris, unsure of the other.")
for ax, beginning, guess in zip(axes, beginnings, guesses):
    ax.barh(list(guess), list(guess.values()))
    ax.invert_yaxis()
    ax.set(title=f"{beginning} …", xlabel="probability", xlim=(0, 1))
plt.show()

# %% [markdown]
# ## 5. Let it write
#
# `generate` guesses, appends, repeats. What to append is a choice:
#
# - **greedy**: always the most probable token;
# - **temperature** $T$: draw from $\operatorname{softmax}(z/T)$, with logits $z$; a small $T$ is nearly greedy;
# - **top-p**: draw only among the most probable tokens that together reach the probability $p$.
#
# Usually one writes `lm.compile(sampler="greedy")`. But after each `compile`, `generate` builds its graph anew, which is slow. With $p$ and $T$ as variables one graph serves all: at $p = 0$ only the most probable token remains.
#
# **Predict.** Three times the same beginning. Which of the settings below gives three times the same text? Which gives nonsense?
#
# <details><summary>Answer</summary>
#
# Greedy always gives the same. The last gives nonsense. It has both a high $T$ and no top-p: try one at a time.
#
# </details>

# %%
top_p, temperature = keras.Variable(0.0), keras.Variable(1.0)
sampler = keras_hub.samplers.TopPSampler(p=top_p, temperature=temperature, seed=SEED)
lm.compile(sampler=sampler)


def write(prompts, p=0.0, T=1.0):
    top_p.assign(p)
    temperature.assign(T)
    return lm.generate(prompts, max_length=TOKENS, strip_prompt=True)


for name, p, T in (("greedy", 0, 1), ("T = 0.7, top-p 0.9", 0.9, 0.7), ("T = 1.5", 1, 1.5)):
    for text in write(["My favourite film is"] * 3, p, T):
        print(f"{name:18} | … {' '.join(text.split())}")

# %% [markdown]
# ### Talk to it in its own format
#
# An *Instruct* model was tuned on conversations in one format, its **chat template**. SmolLM2's begins each turn with `<|im_start|>` and ends it with `<|im_end|>`, on which `generate` stops.
# `generate` always puts the first `<|im_start|>` in front (`add_start_token=False` counts in training only), so our template begins behind it. The original puts general instructions first (a *system* turn).

# %%
questions = ["What is the capital of France?", "Name three fruits.", "What is the opposite of hot?"]
chat = "user\n{}<|im_end|>\n<|im_start|>assistant\n"
with_template, without = write([chat.format(question) for question in questions]), write(questions)
for question, *answers in zip(questions, with_template, without):
    print(question, *(f"\n   {way}: {text!r}" for way, text in zip(("template", "without "), answers)))

# %% [markdown]
# Without the rest of the template the first answer is empty, the second names no fruit, the third is right. **The symptom:** empty answers, or beside the point. (`max_length` counts the prompt: answers break off.)
#
# ## 6. Two mistakes that everybody makes once
#
# ### No causal mask
#
# The **causal mask** hides later positions. Without it, a decoder can copy the next token instead of guessing. A test: change the *last* position, and look which outputs move.
#
# **Predict.** Eight positions, the last one changed. Which outputs may move?
#
# <details><summary>Answer</summary>
#
# Only the last one. If an earlier one moves, it has seen the future.
#
# </details>

# %% tags=["nbval-check-output"]
before = np.random.default_rng(SEED).normal(size=(1, 8, 16)).astype("float32")
after = before.copy()
after[:, -1] += 1
for causal in (True, False):
    attention = keras.layers.MultiHeadAttention(num_heads=2, key_dim=8)
    moves = attention(after, after, use_causal_mask=causal) - attention(before, before, use_causal_mask=causal)
    print(f"use_causal_mask={causal}:", (np.abs(moves).max(axis=-1)[0] > 1e-6).astype(int))

# %% [markdown]
# `False` is the default. **The symptom:** a training loss too good to be true.
#
# ### The last position, which may be padding
#
# To classify with a decoder, take the state of the last token: only this one has read everything. But `states[:, -1]` is the last *position*, which is padding for all but the longest text.
#
# **Predict.** The same 20 sentences, padded once to 20 and once to 40 positions. How many are the nearest neighbour of themselves, by the last position? And by the last real token?
#
# <details><summary>Answer</summary>
#
# By the last position {{found_last_position.mean:.0%}} ± {{found_last_position.half_width:.0%}} over five runs, where chance gives 5%. By the last real token, all.
#
# </details>

# %%
from sklearn.metrics.pairwise import cosine_similarity

ids = [gpt_tokenizer(text)[:18] for text in reviews.test.x[:20]]
rows, last = np.arange(20), np.array([len(row) - 1 for row in ids])
states = []
for width in (40, 20):
    tokens = keras.utils.pad_sequences(ids, maxlen=width, padding="post")
    states.append(np.array(gpt({"token_ids": tokens, "padding_mask": np.arange(width) <= last[:, None]})))
found = {}
for name, at in {"last position": -1, "last real token": last}.items():
    found[name] = np.mean(cosine_similarity(*(some[rows, at] for some in states)).argmax(axis=1) == rows)
    print(f"{name}: {found[name]:.0%} of the sentences find themselves")

# %% [markdown]
# **The symptom:** the vector of a text changes with the padding, so with its batch.
# A cure: `states[np.arange(n), mask.sum(axis=1) - 1]`, where padding comes behind; some libraries put it in front.
#
# ## 7. LoRA: a small file makes it yours
#
# Full fine-tuning moves all 135 million weights. **LoRA** (Hu et al. 2022) keeps each matrix $W$ and learns a product of two thin ones of **rank** $r$ beside it:
#
# $$W' = W + \frac{\alpha}{r} A B, \qquad A \in \mathbb R^{n \times r},\ B \in \mathbb R^{r \times m}$$
#
# $B$ starts at 0, so training starts at the pretrained model. By default KerasHub corrects the queries and values of attention, with the fixed factor $\alpha = r$.
#
# **Predict.** A query matrix is 576 × 576. How many numbers has LoRA of rank 8 for it, by the formula?
#
# <details><summary>Answer</summary>
#
# 8 · (576 + 576) = 9,216 instead of 331,776. But Keras keeps the kernel as (576, 9 heads, 64) and factors its *last* axis: $A$ is (576, 9, 8) and $B$ is (8, 64), so 41,984.
#
# </details>

# %% tags=["nbval-check-output"]
gpt.enable_lora(rank=8)
print(*(f"{variable.path.split('/', 1)[1]} {variable.shape}\n" for variable in gpt.trainable_variables[:4]), sep="")
trained = sum(int(np.prod(variable.shape)) for variable in gpt.trainable_variables)
print(f"trainable {trained:,}; all weights {gpt.count_params() - trained:,}")

# %% [markdown]
# 1.3% of the numbers. With a GPU, call `lm.compile(keras.optimizers.Adam(LORA_RATE))` and `lm.fit(texts)`; this rate was tried for three layers only. On a processor we train LoRA in the upper three layers; the lower 27 run once.
#
# **Perplexity** is the exponential of the mean of $-\log p$ over the real tokens: at 20 the model is as undecided as between 20 equally probable tokens. Use `weighted_metrics`: Keras' own loss is averaged over the padding too, so `exp(loss)` is too small.

# %%
lower = keras.Model(gpt.input, gpt.transformer_layers[-4].output)
states = hidden = keras.Input((None, 576))
mask = keras.Input((None,), dtype="int32")
for layer in gpt.transformer_layers[-3:]:
    states = layer(states, decoder_padding_mask=mask)
upper = keras.Model([hidden, mask], gpt.token_embedding(gpt.layer_norm(states), reverse=True))  # to logits


def for_upper(some, pack=pack):
    x, targets, real = pack(list(some))  # the targets are the next tokens
    return dict(x=[np.array(lower(x)), x["padding_mask"]], y=targets, sample_weight=real)


# %%
perplexity = keras_hub.metrics.Perplexity(from_logits=True)
next_token_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
upper.compile(keras.optimizers.Adam(LORA_RATE), next_token_loss, weighted_metrics=[perplexity], jit_compile=False)
no_end = keras_hub.models.Llama3CausalLMPreprocessor(gpt_tokenizer, 20, add_start_token=False, add_end_token=False)
held_out = {"other reviews": for_upper(test_texts[:16]), "without the end": for_upper(test_texts[:16], no_end)}
held_out["editorials, without the end"] = for_upper(load_sentiment("nyt", seed=SEED).test.x[:16], no_end)
before = {name: upper.evaluate(**one, verbose=0)[1] for name, one in held_out.items()}
upper.fit(**for_upper(texts[:WRITTEN]), batch_size=4, epochs=2, verbose=0)
corrected = {name: upper.evaluate(**one, verbose=0)[1] for name, one in held_out.items()}
for name in held_out:
    print(f"perplexity of 16 {name}: {before[name]:.0f} before, {corrected[name]:.0f} after")

# %% [markdown]
# Five runs: perplexity falls to {{lora_share.mean:.0%}} ± {{lora_share.half_width:.0%}} of what it was. But these reviews end with `<|im_end|>`, even those cut after 20 tokens. Without it: {{lora_share_without_end.mean:.0%}} ± {{lora_share_without_end.half_width:.0%}}, so a gain on the words is *not shown*. 32 sentences mainly taught where a text ends. Editorials stay at {{lora_share_on_editorials.mean:.0%}} ± {{lora_share_on_editorials.half_width:.0%}}. **Ask which tokens gained.**
#
# In the experiment, all weights of three layers learn from 200 tweets, without end tokens: the perplexity of others falls from {{experiment.style_perplexity.contrast:.0f}} to {{experiment.style_perplexity.mean:.0f}} ± {{experiment.style_perplexity.half_width:.0f}}. Without training, three tweets in the prompt give {{experiment.style_in_context.mean:.0f}} ± {{experiment.style_in_context.half_width:.0f}}. Try the prompt first.
#
# **Predict.** The weights fill 538 MB in 32 bits. How large is the file of the correction?
#
# <details><summary>Answer</summary>
#
# 1.7 million numbers of 4 bytes: about 7 MB, of which we trained a tenth.
#
# </details>

# %%
gpt.save_lora_weights(home / "mine.lora.h5")
for B in (variable for variable in gpt.trainable_variables if "lora_kernel_b" in variable.path):
    B.assign(keras.ops.zeros_like(B))
print(f"perplexity with B = 0: {upper.evaluate(**held_out['other reviews'], verbose=0)[1]:.0f}")
gpt.load_lora_weights(home / "mine.lora.h5")
again = upper.evaluate(**held_out["other reviews"], verbose=0)[1]
print(f"loaded from {(home / 'mine.lora.h5').stat().st_size / 1e6:.1f} MB: {again:.0f}")

# %% [markdown]
# Before you let it write again, call `lm.compile(sampler=sampler)`: the old graph of `generate` knows nothing of LoRA.
#
# ## 8. What the experiments say

# %% tags=["fold"]
# Figure: accuracy of encoder and decoder, frozen and tuned, from the experiment
from course_utils.evaluation import plot_measured

names = ["bert_frozen", "bert_fine_tuned", "gpt_frozen", "lora_accuracy", "full_accuracy"]
ticks = ["MiniLM\nfrozen", "MiniLM\nfine-tuned", "SmolLM2\nfrozen", "SmolLM2\nLoRA", "SmolLM2\nall weights"]
ax = plot_measured("experiments/06_bert_and_gpt", {"balanced accuracy": names}, ticks)
ax.lines[0].set_linestyle("none")
ax.get_legend().remove()
ax.set(ylabel="balanced accuracy on test", ylim=(0.8, 1))
ax.figure.set_label("Five ways to classify tweets with 200 labels, with their intervals.")
plt.show()

# %% [markdown]
# Is a tweet positive or negative? 200 labels, 200 test tweets; two of six layers train in MiniLM, three of 30 in SmolLM2. As pairs, LoRA changes the balanced accuracy of the frozen decoder by {{experiment.lora_gain.mean:+.3f}} ±
# {{experiment.lora_gain.half_width:.3f}}, all weights by {{experiment.full_gain.mean:+.3f}} ± {{experiment.full_gain.half_width:.3f}}. A **null result**: no way of training was shown to help. (No word counts here.)
#
# The [experiment](experiments/06_bert_and_gpt.ipynb) also predicts mean ratings (root mean squared error: fine-tuned {{experiment.rating_error_tuned.mean:.2f}}, frozen {{experiment.rating_error.mean:.2f}}, no difference shown; TF-IDF of characters {{experiment.rating_error_characters.mean:.2f}}) and trains BERT in TensorFlow Hub's form: Keras 3 refuses `hub.KerasLayer`, our `HubLayer` trains.
#
# ## Your turn
#
# ### Exercise 1 (implement): attention with its masks
#
# Write `attend` for one head. `real` is `False` where a position is padding: nobody may take anything from there. With `causal=True`, the same holds for later positions. `np.tri(n, dtype=bool)` is `True` on and below the diagonal.

# %% tags=["exercise"]
from course_utils.exercises import bert_and_gpt as check


def attend(query, key, value, real, causal):
    """Return softmax(QKᵀ/√d)·V, shape (positions, d), with the masks."""
    ...  # your code


# check.check_attend(attend)


# %% tags=["solution", "nbval-check-output"]
def attend_solution(query, key, value, real, causal):
    scores = query @ key.T / np.sqrt(query.shape[-1])
    seen = real & np.tri(len(real), dtype=bool) if causal else real
    return np.array(keras.ops.softmax(np.where(seen, scores, -np.inf))) @ value


check.check_attend(attend_solution)

# %% [markdown] tags=["solution"]
# Hidden scores of 0 would keep weight: $e^0 = 1$.

# %% [markdown]
# ### Exercise 2 (debug): four faults
#
# A colleague's `ready` returns a classifier and a function for the probability of class 1. It runs. But only the first words of a review matter, the loss jumps about, accuracy stays at chance level, and some "probabilities" are negative. Mend it.


# %% tags=["exercise"]
def ready(backbone, tokenizer):
    pack = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=pack)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, lambda texts: model.predict(texts, verbose=0)[:, 1]


# check.check_ready(ready)


# %% tags=["solution", "nbval-check-output"]
def ready_solution(backbone, tokenizer):
    pack = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=64)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=pack)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-5), loss, metrics=["accuracy"])
    return model, lambda texts: keras.ops.softmax(model.predict(texts, verbose=0))[:, 1]


check.check_ready(ready_solution)

# %% [markdown] tags=["solution"]
# `"sparse_categorical_crossentropy"` as a string expects probabilities.

# %% [markdown]
# ### Exercise 3 (your own data): do vectors beat word counts?
#
# Put the path of a CSV file into `my_file`, with columns `text` and `label`, 400 texts or more, and classes of similar size. Fit two new classifiers, on frozen vectors and on word counts, both on the first 200 texts of `mine.train`; predict `my_test`.
# You can use `linear()` and `vectors_of(texts)`, which reads only 32 positions of a text.

# %% tags=["exercise"]
from course_utils.data import load_text_csv

my_file = ""
mine = load_text_csv(my_file) if my_file else load_sentiment("movie", seed=SEED)
my_test, my_true = mine.test.x[:200], mine.test.y[:200]
predicted = by_words = None  # class numbers for my_test

# check.check_own_texts(predicted, by_words, my_true)

# %% tags=["solution"]
my_texts, my_labels = mine.train.x[:200], mine.train.y[:200]
predicted = linear().fit(vectors_of(my_texts), my_labels).predict(vectors_of(my_test))
my_counts = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), linear())
own_gain = check.check_own_texts(predicted, my_counts.fit(my_texts, my_labels).predict(my_test), my_true)

# %% [markdown]
# ## Take it home
#
# A `.keras` file holds tokenizer, network and head: strings in, logits out. It would also hold the state of Adam, two numbers for each trained weight. `model.compile()` without arguments forgets it. To read it, a fresh process must `import keras_hub`.

# %%
import json
import subprocess
import sys

card = {"classes": ["negative", "positive"], "input": "an English sentence; 30 word pieces are read",
        "backbone": "MiniLM-L6, fine-tuned above its third layer", "trained on": f"{GIVEN} sentences of reviews",
        "accuracy on test": round(tuned, 2), "not for": "neutral sentences, other languages"}  # fmt: skip
(home / "card.json").write_text(json.dumps(card, indent=2))
model.compile()
model.save(home / "model.keras")

# %%
program = """
import json, sys, keras, keras_hub
model, card = keras.saving.load_model(sys.argv[1]), json.load(open(sys.argv[2]))
tokens = model.preprocessor(open(sys.argv[3]).read().splitlines())
for p in keras.ops.softmax(model(tokens)):
    print(card["classes"][int(keras.ops.argmax(p))], f"{p[1]:.3f}")
"""
(home / "new.txt").write_text("\n".join(new))
files = [home / "model.keras", home / "card.json", home / "new.txt"]
finished = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, check=True)
print(finished.stdout)
loaded = [float(line.split()[1]) for line in finished.stdout.splitlines()]
assert np.allclose(loaded, positive, atol=0.01), "the loaded model answers otherwise"

# %% [markdown]
# ## Quiz
#
# **1.** The vector of a sentence changes when a longer sentence joins its batch. What is wrong?
#
# <details><summary>Answer</summary>
#
# Something reads padding: a mean over all positions, the last position of a decoder, or attention without its mask.
#
# </details>
#
# **2.** Which of the two can fill a gap in the middle of a sentence from both sides, and which can continue a sentence?
#
# <details><summary>Answer</summary>
#
# The encoder fills gaps: it sees both sides. The decoder continues: each position saw only what stands before.
#
# </details>
#
# **3.** Your chat model gives empty answers, or answers beside the point. Do you lower the temperature, train it longer, or look at the prompt?
#
# <details><summary>Answer</summary>
#
# Look at the prompt first: is it in the template? Our answers without it were greedy already.
#
# </details>
#
# **4.** LoRA of rank 8 trains 1.7 million numbers. Does each training step cost 1% of a full one?
#
# <details><summary>Answer</summary>
#
# No. The forward and the backward pass still go through all layers. What shrinks is the memory for gradients and Adam's state, and the file.
#
# </details>
#
# **Where to go next.** Lesson 08: a text classifier that you can trust, from a spreadsheet.

# %% tags=["headline"]
share = dict(limits=(0, 1))
expect("head_accuracy", head_alone, **share)
expect("tuned_accuracy", tuned, **share)
expect("fit_gain", tuned - head_alone)
expect("untrained_accuracy", untrained, **share)
expect("words_accuracy", words, **share)
expect("frozen_accuracy", frozen, **share)
expect("frozen_minus_words", frozen - words)
expect("frozen_minus_untrained", frozen - untrained)
expect("tuned_minus_frozen", tuned - frozen)
expect("lora_before", before["other reviews"])
expect("lora_perplexity", corrected["other reviews"])
assert np.isclose(again, corrected["other reviews"], rtol=1e-3), "the file of LoRA holds another correction"
shares = [corrected[name] / before[name] for name in held_out]
expect("lora_share", shares[0], contrast=1)
expect("lora_share_without_end", shares[1])
expect("lora_share_on_editorials", shares[2])
expect("found_last_real", found["last real token"], contrast=found["last position"], limits=(0, 1))
expect("found_last_position", found["last position"], limits=(0, 1))
expect("own_gain", own_gain)
expect.table()
