# ---
# jupyter:
#   course:
#     title: Text classification
#     question: How do I get from a spreadsheet of texts to a classifier that I trust?
#     minutes: {reading: 50, exercises: 40}
#     shows: "Sentences of product reviews, good or bad: word counts reach a balanced accuracy of {{counts_test.mean:.2f}} ± {{counts_test.half_width:.2f}}, a frozen sentence encoder {{frozen_test.mean:.2f}} ± {{frozen_test.half_width:.2f}}, a fine-tuned BERT {{tuned_test.mean:.2f}} ± {{tuned_test.half_width:.2f}} on test sentences of other reviews (five runs)."
#     goals:
#       - turn a CSV file into a text classifier in 25 lines, with a fine-tuned BERT;
#       - compare it with word counts, a frozen encoder and no labels at all;
#       - read its errors, test what it misses, and choose a threshold;
#       - hand it over to a colleague.
#     prerequisites:
#       - lesson 02 (frozen features and a head); helpful are lessons 03 and 06.
#     recap:
#       - "Split by document: sentences of one review stay together."
#       - "Word counts are the baseline. A frozen encoder beats them most when labels are few. Fine-tuning added {{test_tuned_minus_frozen.mean:.2f}} on test; on validation no gain is shown."
#       - "Balanced accuracy shows what accuracy hides, and minimal pairs what both hide."
#       - "Choose a threshold on validation, tell its recall and precision on test, and compare before you round."
#       - "On another domain a classifier loses on average. Measure it there first."
#     references: [hutto2014, salton1988, nadeau2003, devlin2019, reimers2019, kumar2022, ribeiro2020, blitzer2007]
# ---

# %% tags=["parameters"]
PROFILE = "default"
SEED = 0
DATA = ""  # your own CSV file, columns text, label and, best, document; empty: product reviews
ROWS = 0  # lines to read; 0: all
LENGTH = 32  # word pieces of a sentence; longer ones are cut off
TRAINED = 800  # sentences that train the BERT: 25 whole batches
RATE = 2e-4  # peak of its learning rate
EPOCHS = 2

# %% [markdown]
# ## The whole thing first
#
# A shop has 3,708 sentences of product reviews in a spreadsheet, each with a label and the number of its review. A new one arrives: praise or complaint?
#
# The classifier is a small **BERT** (Devlin et al. 2019), a network pretrained on much text. We *fine-tune* its upper half, at a rate that rises to 0.0002 and falls again (lesson 03). For your own file, set `DATA` in the folded cell *Parameters*.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from keras_hub import models as bert

from course_utils.data import stratified_split
from course_utils.data.assets import fetch
from course_utils.data.sentiment_csv import write_sentiment_csv

table = pd.read_csv(DATA or write_sentiment_csv("amazon", classes=3), dtype=str, nrows=ROWS or None)
documents = table.get("document", table["text"])  # what belongs together stays together
parts = [table.iloc[rows] for rows in stratified_split(table["label"], documents, SEED)]
train, validation, test = (part[part["label"] != "neutral"] for part in parts)

# %%
preset = str(fetch("minilm"))  # a folder; with internet also a name, such as "bert_small_en_uncased"
names = sorted(train["label"].unique())
tokenizer = bert.BertTokenizer.from_preset(preset, strip_accents=True)  # else "café" is unknown (lesson 06)
pack = bert.BertTextClassifierPreprocessor(tokenizer, sequence_length=LENGTH)
model = bert.BertTextClassifier.from_preset(preset, num_classes=len(names), activation="softmax", preprocessor=pack)
for layer in model.backbone.layers[:-4]:  # all but the upper three transformer layers and the pooler
    layer.trainable = False

# %%
given = train[:TRAINED]  # they are shuffled
steps = EPOCHS * len(given) // 32
rate = keras.optimizers.schedules.CosineDecay(0.0, steps * 9 // 10, warmup_target=RATE, warmup_steps=steps // 10)
model.compile(keras.optimizers.AdamW(rate), "sparse_categorical_crossentropy")
model.fit(given["text"].tolist(), given["label"].map(names.index), epochs=EPOCHS, verbose=0)
new = ["It stopped working after two days.", "Setup took five minutes, and the sound is superb."]
pd.DataFrame(model.predict(new, verbose=0), index=new, columns=names).round(2)

# %%
from sklearn.metrics import ConfusionMatrixDisplay

p = model.predict(validation["text"].tolist(), verbose=0)
said = np.array(names)[p.argmax(axis=1)]
shown = ConfusionMatrixDisplay.from_predictions(validation["label"], said, cmap="Blues", colorbar=False)
shown.ax_.set_title(f"{len(said)} validation sentences, {np.mean(said == validation['label']):.2f} right")
shown.figure_.set_label("Confusion matrix: most sentences lie on the diagonal, where label and answer agree.")
plt.show()

# %% [markdown]
# Each row of this **confusion matrix** is a label, each column an answer; the diagonal is right. `fit` and `predict` take plain strings. The preprocessor cuts them into pieces of words, puts `[CLS]` in front and pads to 32 (lesson 06); longer sentences lose their end.
#
# **Quoted numbers** are means of five runs of this notebook, each with another split; "±" is the 95% interval of that mean. A single run may lie outside.
#
# **These intervals are too narrow**: the splits share sentences. The correction of Nadeau & Bengio (2003), $\sqrt{1 + 5\,n_\text{test}/n_\text{train}}$, makes them 1.6 times as wide (BERT, with 800 sentences: 2.2 times). If an interval *so corrected* contains zero, we call the difference **not shown**.
#
# *Data: Hutto & Gilbert (2014). About twenty people rated each sentence from −4 to 4: positive is above 0.5, negative below −0.5. Neutral ones wait until section 6.*
#
# ## 1. Look, then split by document

# %% tags=["nbval-check-output"]
everything = pd.concat([train, validation, test])
look = everything[["label"]].assign(words=everything["text"].str.split().str.len())
look["pieces"] = [len(pieces) for pieces in pack.tokenizer(everything["text"].tolist())]
look["cut off"] = look["pieces"] > LENGTH - 2  # [CLS] and [SEP] take two places
look["repeated"] = everything["text"].duplicated()
print(f"{documents.nunique()} documents, {documents[everything.index].nunique()} without the neutral sentences")
look.groupby("label").agg({"words": ["size", "median"], "cut off": "mean", "repeated": "sum"}).round(3)

# %% [markdown]
# **Are classes equally frequent?** Not here: always saying "positive" is right for {{majority.mean:.0%}} of the validation sentences. So we report **balanced accuracy**, the
# mean over the classes of the share recognised: such an answer gets 0.5. **Is much cut off?** Nearly one sentence in five loses its end. **What belongs together?** Sentences of one review share a product, an author and a mood. All reviews are about five products (Hutto & Gilbert), so our test measures new reviews, not new products.

# %% tags=["fold"]
# Diagram: a split by row and a split by document
figure, axes = plt.subplots(1, 2, figsize=(12, 2.7))
figure.set_label("By row, training and test sentences are mixed within each review; by document, each review is whole.")
colours = {"training": "#cfe3f2", "test": "#fbdcb8"}
for ax, title in zip(axes, ("by row: sentences of one review on both sides", "by document: reviews stay whole")):
    for review in range(8):
        for sentence in range(5):
            mixed = (3 * review + 2 * sentence) % 5 == 0
            part = "test" if (mixed if title.startswith("by row") else review in (2, 6)) else "training"
            ax.bar(review, 0.8, 0.8, sentence, color=colours[part], edgecolor="0.3", label=part)
    ax.set(title=title, xticks=range(8), xticklabels=[f"review {k + 1}" for k in range(8)], yticks=[])
    ax.tick_params(length=0, labelsize=10)
    ax.spines[:].set_visible(False)
handles = dict(zip(*reversed(axes[1].get_legend_handles_labels())))
figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.12), fontsize=12)
plt.show()

# %% [markdown]
# ### The mistake: a split by row
#
# This "classifier" reads *no word*. It answers with the label most frequent among the training sentences of the same review.
#
# **Predict.** What is its balanced accuracy when rows are split? And when documents are?
#
# <details><summary>Answer</summary>
#
# By row {{memory_by_row.mean:.2f}} ± {{memory_by_row.half_width:.2f}}: a review is mostly praise or mostly complaint. By document 0.5: it has met none of the reviews, and always says the same.
#
# </details>

# %% tags=["nbval-check-output"]
from sklearn.metrics import balanced_accuracy_score


def memory(seen, asked):
    usual = seen.groupby(documents)["label"].agg(lambda labels: labels.mode()[0])
    return documents[asked.index].map(usual).fillna(seen["label"].mode()[0])


remembered = {}
for split, groups in {"by row": None, "by document": documents[everything.index]}.items():
    fitted, _, held_out = stratified_split(everything["label"], groups, SEED)
    asked = everything.iloc[held_out]
    remembered[split] = balanced_accuracy_score(asked["label"], memory(everything.iloc[fitted], asked))
pd.Series(remembered, name="balanced accuracy of the memory").round(3).to_frame()

# %% [markdown]
# A split by row leaks. Do classifiers that *read* gain by it? Word counts and a frozen encoder got {{experiment.leak.mean:+.3f}} ± {{experiment.leak.half_width:.3f}} (experiment, two domains). Corrected, this contains zero: not shown. A split by document costs nothing. Our
# `stratified_split` (60% training, 20% validation, 20% test) uses scikit-learn's `StratifiedGroupKFold`.
#
# **The symptom:** results that fall when the classifier meets new authors, products or months.
#
# ## 2. Four ways, from no labels to all weights

# %% tags=["fold"]
# Diagram: what each way learns from the labels
figure, ax = plt.subplots(figsize=(13, 3.4))
figure.set_label("Word counts learn every word from the labels; with a frozen encoder only a head is fitted; "
                 "fine-tuning changes the upper half of BERT, and the head; zero-shot fits nothing.")  # fmt: skip
blue, orange, grey = "#cfe3f2", "#fbdcb8", "0.95"
ways = {"word counts": ([("counts", grey)], ("logistic regression", orange)),
        "frozen encoder": ([("BERT → mean vector", blue)], ("logistic regression", orange)),
        "fine-tuned": ([("BERT, lower half", blue), ("upper half → [CLS]", orange)], ("softmax", orange)),
        "zero-shot": ([("BERT → mean vector", blue)], ("nearest label name", blue))}  # fmt: skip
for row, (way, (body, head)) in enumerate(ways.items()):
    width = 4.4 / len(body)
    boxes = [(0, 0.7, "text", grey), *((1.2 + width * k, width, *one) for k, one in enumerate(body)), (6.1, 2.2, *head)]
    for left, wide, text, colour in boxes:
        ax.barh(-row, wide, 0.6, left, color=colour, edgecolor="0.5")
        ax.text(left + wide / 2, -row, text, ha="center", va="center", fontsize=12)
    for start, end in ((0.7, 1.2), (5.6, 6.1)):
        ax.annotate("", (end, -row), (start, -row), arrowprops={"arrowstyle": "->", "color": "0.3", "shrinkA": 0})
    ax.text(-0.15, -row, way, ha="right", va="center", fontsize=12, fontweight="bold")
legend = "orange: learns from the labels\nblue: as it was pretrained\ngrey: neither"
ax.text(8.6, -1.5, legend, va="center", fontsize=12)
ax.set(xlim=(-1.8, 11.2), ylim=(-3.4, 0.4))
ax.axis("off")
plt.show()

# %% [markdown]
# **Word counts** (TF-IDF, Salton & Buckley 1988): a column for each word and pair of words, rare ones weighted more, then logistic regression. `C` says how freely it fits.
#
# **Frozen encoder**: our BERT is MiniLM, trained so that sentences of similar meaning get similar vectors (Reimers & Gurevych 2019). The vector is the mean over the *real* pieces, without the padding. `sentence_vectors` computes it once. In plain Keras, for 32 pieces:
#
# ```python
# real = keras.ops.cast(backbone.input["padding_mask"], "bool")
# mean = keras.layers.GlobalAveragePooling1D()(backbone.output["sequence_output"], mask=real)
# vectors = keras.Model(backbone.input, mean).predict(pack(texts))
# ```
#
# **Zero-shot**: no labels to learn from. We encode the *names* of the labels, and take the one whose vector points most in the direction of the sentence's. Only a test needs labels: 100 tell an accuracy of 0.8 to ± 0.08. If the accuracy is good enough, label no more.
#
# **Predict.** Order the four ways by balanced accuracy.
#
# <details><summary>Answer</summary>
#
# From low to high: zero-shot, word counts, frozen encoder, fine-tuned. The last step is not shown here.
#
# </details>

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer


def regression(C=1, weight="balanced"):
    return make_pipeline(Normalizer(), LogisticRegression(C=C, class_weight=weight, max_iter=1000))


def counts(C=10):
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(words, regression(C))


def best(make, x, x_validation):
    models = [make(C).fit(x, train["label"]) for C in (0.3, 1, 10)]
    return max(models, key=lambda one: balanced_accuracy_score(validation["label"], one.predict(x_validation)))


by_counts = best(counts, train["text"], validation["text"])

# %%
from sklearn.metrics.pairwise import cosine_similarity

from course_utils.text import sentence_vectors

backbone = bert.BertBackbone.from_preset(preset)  # a second copy: the first one was fine-tuned
vectors = sentence_vectors(pack.tokenizer, backbone, table["text"])  # kept on disk
x, x_validation, x_test = (vectors[part.index] for part in (train, validation, test))
by_vectors = best(regression, x, x_validation)
named = cosine_similarity(vectors, sentence_vectors(pack.tokenizer, backbone, names)).argmax(axis=1)
zero_shot = np.array(names)[named]  # of each row of the table
answers = {"zero-shot": zero_shot[validation.index], "word counts": by_counts.predict(validation["text"])}
answers |= {"frozen encoder": by_vectors.predict(x_validation), "fine-tuned": said}
score = {way: balanced_accuracy_score(validation["label"], answer) for way, answer in answers.items()}
pd.Series(score, name="balanced accuracy on validation").round(3).to_frame()

# %% [markdown]
# | five runs, validation | balanced accuracy |
# |---|---|
# | zero-shot | {{zero_shot_validation.mean:.3f}} ± {{zero_shot_validation.half_width:.3f}} |
# | word counts | {{counts_validation.mean:.3f}} ± {{counts_validation.half_width:.3f}} |
# | frozen encoder | {{frozen_validation.mean:.3f}} ± {{frozen_validation.half_width:.3f}} |
# | fine-tuned | {{tuned_validation.mean:.3f}} ± {{tuned_validation.half_width:.3f}} |
#
# As pairs: frozen minus word counts {{frozen_minus_counts.mean:+.3f}} ± {{frozen_minus_counts.half_width:.3f}}, above zero when corrected, too. Fine-tuned minus frozen {{tuned_minus_frozen.mean:+.3f}} ±
# {{tuned_minus_frozen.half_width:.3f}}: not shown.
#
# Frozen and fine-tuned differ in more than one thing: all sentences or 800, up to 256 pieces or 32, mean vector or that of `[CLS]`, class weights (section 6) or none. And these sentences chose the `C` of the middle two, which flatters them a little.
#
# A GPT can be *asked* (lesson 06): which word is likelier, "positive" or "negative"? In the [experiment](experiments/08_text_classification.ipynb), over four domains:
#
# | way | balanced accuracy |
# |---|---|
# | SmolLM2, chat template | {{experiment.chat_zero.mean:.2f}} ± {{experiment.chat_zero.half_width:.2f}} |
# | the same, threshold set on texts like "N/A" | {{experiment.chat_calibrated.mean:.2f}} ± {{experiment.chat_calibrated.half_width:.2f}} |
# | plain text, best threshold (assumes equal classes) | {{experiment.plain_median.mean:.2f}} ± {{experiment.plain_median.half_width:.2f}} |
# | label names, threshold set likewise | {{experiment.names_calibrated.mean:.2f}} ± {{experiment.names_calibrated.half_width:.2f}} |
# | frozen encoder, 50 labels | {{experiment.frozen_25.mean:.2f}} |
#
# Labelled sentences chose the wording, and a whole validation set the encoder's `C`.
#
# ## 3. How many labels are enough?
#
# **Predict.** Which is better: the frozen encoder with 100 labels, or word counts with all?
#
# <details><summary>Answer</summary>
#
# About equal: {{frozen_100.mean:.2f}} ± {{frozen_100.half_width:.2f}} and {{counts_all.mean:.2f}} ± {{counts_all.half_width:.2f}}.
#
# </details>

# %%
sizes = [size for size in (50, 100, 200, 400, 800) if size < len(train)] + [len(train)]
ways = {"frozen encoder": (regression, x, x_validation), "word counts": (counts, train["text"], validation["text"])}
curves = {way: [] for way in ways}
for way, (make, x_fit, x_asked) in ways.items():
    for size in sizes:
        fitted = make().fit(x_fit[:size], train["label"][:size])
        curves[way].append(balanced_accuracy_score(validation["label"], fitted.predict(x_asked)))

# %% tags=["fold"]
# Figure: balanced accuracy over the number of labels
figure, ax = plt.subplots(figsize=(8.5, 4.2))
told = [f"{way} {values[0]:.2f} with {sizes[0]}, {values[-1]:.2f} with all" for way, values in curves.items()]
figure.set_label(f"Balanced accuracy over the number of labels, one run: {'; '.join(told)}.")
for (way, values), marker in zip(curves.items(), "os"):
    ax.plot(sizes, values, marker=marker, label=way)
ax.axhline(score["zero-shot"], color="0.4", linestyle=":", label="zero-shot")
ax.set(xscale="log", xlabel="labelled sentences", ylabel="balanced accuracy on validation", title="this run")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# *One* run: a single dip means nothing. (`C` is not chosen here: 1 for vectors, 10 for counts.)
#
# **Enough** is where the curve of *your* data stops rising. Over five runs, the last step, from 800 labels to all, brought word counts {{counts_doubling.mean:+.3f}} ± {{counts_doubling.half_width:.3f}}, the encoder {{frozen_doubling.mean:+.3f}} ± {{frozen_doubling.half_width:.3f}}. Corrected for 800 sentences, both contain zero: a gain is not shown, and not excluded.
#
# ## 4. What does it get wrong?
#
# **Precision**: the share of sentences given a label that really have it. **Recall**: the share of a class that is found. **F1**: their harmonic mean. *Macro* averages count all classes alike.
#
# Then *read* the errors of which the model is most sure.

# %%
from sklearn.metrics import classification_report

print(classification_report(validation["label"], said, digits=2))
errors = validation.assign(answer=said, probability=p.max(axis=1).round(2))
errors = errors[errors["answer"] != errors["label"]].nlargest(5, "probability")
pd.options.display.max_colwidth = None  # whole sentences
errors[["text", "label", "answer", "probability"]]

# %% [markdown]
# The list gives *ideas* about causes. Does the model miss the "no"? **Minimal pairs**, sentences that differ in one thing only, test an idea (behavioural testing, Ribeiro et al. 2020).
#
# **Predict.** Which of the three classifiers tells "I had problems with it." from "I had **no** problems with it."?
#
# <details><summary>Answer</summary>
#
# The fine-tuned one. The frozen encoder told apart no pair with "no" in any run; word counts are at chance.
#
# </details>

# %%
bad = ["I had problems with it.", "There is a problem with it.", "It gave me trouble.", "It has flaws.",
       "It is not a good camera.", "It does not work.", "I do not recommend it.", "It is not worth it."]  # fmt: skip
good = ["I had no problems with it.", "There is no problem with it.", "It gave me no trouble.", "It has no flaws.",
        "It is a good camera.", "It works.", "I recommend it.", "It is worth it."]  # fmt: skip
pairs = bad + good
p_good = {"word counts": by_counts.predict_proba(pairs), "fine-tuned": model.predict(pairs, verbose=0)}
pair_vectors = sentence_vectors(pack.tokenizer, backbone, pairs)
p_good["frozen encoder"] = by_vectors.predict_proba(pair_vectors)
told_apart = {way: (found[:8, -1] < 0.5) & (found[8:, -1] > 0.5) for way, found in p_good.items()}
cosine = cosine_similarity(pair_vectors[:8], pair_vectors[8:]).diagonal().round(2)
pd.DataFrame({"bad": bad, "good": good, "cosine of their frozen vectors": cosine})

# %% tags=["fold"]
# Figure: the pairs, by three classifiers
figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), sharey=True)
told = ", ".join(f"{way} {right.sum()}" for way, right in told_apart.items())
figure.set_label(f"Eight pairs: the probability of positive for the bad and the good sentence; told apart: {told}.")
for ax, way in zip(axes, ("word counts", "frozen encoder", "fine-tuned")):
    found = p_good[way][:, -1]
    ax.hlines(range(8), found[:8], found[8:], color="0.6")
    ax.plot(found[:8], range(8), "X", color="C3", markersize=9, label="bad")
    ax.plot(found[8:], range(8), "o", color="C0", markersize=9, label="good")
    ax.axvline(0.5, color="0.4", linestyle=":")
    ax.set(title=f"{way}: {told_apart[way].sum()} of 8", xlim=(-0.04, 1.04), xlabel=f"probability of {names[-1]}")
axes[0].set_yticks(range(8), good, fontsize=12)
axes[0].invert_yaxis()
axes[2].legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# *Told apart*: the cross is left of 0.5, the dot right of it. A coin does it in 25% of pairs.
#
# | five runs, told apart | eight pairs | four with "no" |
# |---|---|---|
# | word counts | {{pairs_counts.mean:.0%}} ± {{pairs_counts.half_width:.0%}} | {{no_counts.mean:.0%}} ± {{no_counts.half_width:.0%}} |
# | frozen encoder | {{pairs_frozen.mean:.0%}} ± {{pairs_frozen.half_width:.0%}} | {{no_frozen.mean:.0%}} in each run |
# | fine-tuned | {{pairs_tuned.mean:.0%}} ± {{pairs_tuned.half_width:.0%}} | {{no_tuned.mean:.0%}} ± {{no_tuned.half_width:.0%}} |
#
# Does a "no" hardly move a frozen vector, as is often said? By the cosines, "no flaws" hardly does; "no problem" does as much as "does not work". We did not test why the head misses both.
#
# "±" covers the runs, not other pairs. Write ten pairs for what matters to *you*.
#
# ## 5. A threshold for what you need
#
# ### The mistake: numbers that hide a class
#
# **Predict.** A model with two softmax columns *always* says "positive". What do Keras' `Precision()` and `Recall()` show?
#
# <details><summary>Answer</summary>
#
# Both show the accuracy. Keras counts both columns together: each sentence is one hit, or one miss and one false alarm.
#
# </details>

# %% tags=["nbval-check-output"]
one_hot = keras.utils.to_categorical(validation["label"].map(names.index), len(names))
always = np.eye(len(names))[np.full(len(one_hot), one_hot.sum(axis=0).argmax())]
rare = int(one_hot.sum(axis=0).argmin())
metric = keras.metrics
metrics = [metric.CategoricalAccuracy(), metric.Precision(), metric.Recall(), metric.Recall(class_id=rare)]
shown = ["accuracy", "Precision()", "Recall()", f"Recall(class_id={rare})"]
pd.Series([float(one(one_hot, always)) for one in metrics], shown, name="always the same class").round(3).to_frame()

# %% [markdown]
# **The symptom:** with two columns, precision, recall and accuracy are equal to the last digit. Name the class: `Recall(class_id=0)`.
#
# ### The right way
#
# The shop wants to *miss few complaints*: a recall of 0.95 for negative sentences. So an alarm is raised when the probability of "negative" reaches a **threshold**, the highest that finds enough *validation* sentences.

# %%
from sklearn.metrics import precision_recall_curve, precision_score, recall_score

is_bad = validation["label"] == names[0]
precision, recall, thresholds = precision_recall_curve(is_bad, p[:, 0])
threshold = thresholds[recall[:-1] >= 0.95].max()
p_test = model.predict(test["text"].tolist(), verbose=0)
truth, reached = test["label"] == names[0], []
for at in (0.5, threshold):
    alarm = p_test[:, 0] >= at
    reached.append((recall_score(truth, alarm), precision_score(truth, alarm)))

# %% tags=["fold"]
# Figure: precision over recall, and two thresholds
figure, ax = plt.subplots(figsize=(6.5, 4.2))
told = [f"{found:.2f} and {right:.2f} at {at:.3f}" for at, (found, right) in zip((0.5, threshold), reached)]
figure.set_label(f"Precision falls as recall rises. On test sentences, recall and precision are {', '.join(told)}.")
ax.plot(recall, precision, label="validation")
for at, (found, right), marker in zip((0.5, threshold), reached, "so"):
    label = f"threshold {at:.3f}, on test: recall {found:.2f}, precision {right:.2f}"
    ax.plot(found, right, marker, color="C3", markersize=9, label=label)
ax.axvline(0.95, color="0.4", linestyle=":")
ax.set(xlabel=f"recall of {names[0]}", ylabel="precision", xlim=(0.3, 1.01), ylim=(0, 1.02))
ax.legend(loc="lower left", fontsize=11)
plt.show()

# %% [markdown]
# In use, neutral sentences arrive too; this test has none.
#
# Over five runs, the threshold for 0.95 found {{recall_at_threshold.mean:.3f}} ± {{recall_at_threshold.half_width:.3f}} of the test complaints, that of 0.5 only {{recall_at_half.mean:.3f}} ± {{recall_at_half.half_width:.3f}}. Precision fell from {{precision_at_half.mean:.2f}} ± {{precision_at_half.half_width:.2f}} to {{precision_at_threshold.mean:.2f}} ± {{precision_at_threshold.half_width:.2f}}. A threshold chosen on
# few complaints has an error of its own, so ask for a little more than you need. It belongs to these weights alone. Whether 5% of the sentences with a score of 0.05 are complaints was not checked (*calibration*, lesson 07).
#
# ## 6. Three classes, and class weights
#
# The neutral sentences come back; they are the rarest class.
#
# `class_weight="balanced"` lets an error on a rare class count more, as balanced accuracy does. So look at the price, in plain accuracy and F1.
#
# **Predict.** What happens to the recall of neutral, and to the accuracy?
#
# <details><summary>Answer</summary>
#
# The recall rises by {{neutral_gain.mean:.2f}} ± {{neutral_gain.half_width:.2f}}. The accuracy falls, which only the experiment shows.
#
# </details>

# %%
three, _, three_test = parts
guesses, weighing, rarest = {}, {}, three["label"].value_counts().idxmin()
for weight in (None, "balanced"):
    head = regression(weight=weight).fit(vectors[three.index], three["label"])
    guesses[weight] = head.predict(vectors[three_test.index])
    report = classification_report(three_test["label"], guesses[weight], output_dict=True)
    recalls = report[rarest]["recall"], report[names[-1]]["recall"]
    weighing[weight] = report["accuracy"], report["macro avg"]["f1-score"], *recalls
shown = pd.DataFrame(weighing.values(), ["no weights", "balanced"]).T
shown.index = ["accuracy", "macro F1", f"recall of {rarest}", f"recall of {names[-1]}"]
shown.assign(change=shown["balanced"] - shown["no weights"]).round(3)

# %% tags=["fold"]
# Figure: three classes without and with class weights
figure, axes = plt.subplots(1, 2, figsize=(12, 4.4))
told = [f"recall of {rarest} {found:.2f}, of {names[-1]} {usual:.2f}" for *_, found, usual in weighing.values()]
figure.set_label(f"Two confusion matrices in shares of each label. Without weights: {told[0]}; with: {told[1]}.")
for ax, (weight, guess) in zip(axes, guesses.items()):
    options = {"normalize": "true", "values_format": ".2f", "cmap": "Blues", "colorbar": False}
    ConfusionMatrixDisplay.from_predictions(three_test["label"], guess, ax=ax, **options)
    accuracy, f1, *_ = weighing[weight]
    ax.set_title(f"class_weight={weight!r}\naccuracy {accuracy:.2f}, macro F1 {f1:.2f}")
plt.show()

# %% [markdown]
# | with weights − without, test | five runs | corrected |
# |---|---|---|
# | recall of neutral | {{neutral_gain.mean:+.3f}} ± {{neutral_gain.half_width:.3f}} | a gain |
# | accuracy | {{weights_accuracy.mean:+.3f}} ± {{weights_accuracy.half_width:.3f}} | not shown |
# | macro F1 | {{weights_f1.mean:+.3f}} ± {{weights_f1.half_width:.3f}} | not shown |
#
# Weights move the borders between classes: in this run, the recall of positive falls.
#
# In the [experiment](experiments/08_text_classification.ipynb), whose runs average five splits, accuracy changes by {{experiment.weights_cost_accuracy.mean:+.3f}} ± {{experiment.weights_cost_accuracy.half_width:.3f}}, balanced accuracy by {{experiment.macro_recall_gain.mean:+.3f}} ± {{experiment.macro_recall_gain.half_width:.3f}}. Corrected (factor 3.1), the loss stands; the gain is not shown.
#
# ## 7. What the experiments say

# %% tags=["fold"]
# Figure: labels and domains, from the experiment
from course_utils.evaluation import read_bands

measured = read_bands()["experiments/08_text_classification"]["default"]["bands"]
figure, axes = plt.subplots(1, 2, figsize=(14, 4.8), width_ratios=[2, 3])
points = [measured[f"frozen_{size}"] for size in (25, 100, 400)]
for way, field, marker in (("frozen encoder", "mean", "o"), ("word counts", "contrast", "s")):
    axes[0].plot([getattr(one, field) for one in points], marker=marker, markersize=10, label=way)
axes[0].axhline(0.5, color="0.4", linestyle=":")
axes[0].set(xlabel="sentences of each class", ylabel="balanced accuracy on test", ylim=(0.45, 0.9))
axes[0].set_title("four domains; all five runs lie behind the markers", fontsize=12)
axes[0].set_xticks(range(3), [25, 100, 400])
axes[0].legend(loc="upper left", fontsize=11)
home, away, lost = (measured[name] for name in ("frozen_inside", "frozen_across", "words_lost"))
# Of the encoder only both ends are stored. Their half-widths together are no less than that of their difference.
differences = {"word counts:\nother domain − own": (-lost.mean, lost.half_width)}
differences["frozen encoder:\nother domain − own"] = away.mean - home.mean, home.half_width + away.half_width
for name, text in {"fine_tuning_inside": "fine-tuned − frozen:\nown domain",
                   "fine_tuning_across": "fine-tuned − frozen:\nother domain",
                   "gain_of_three": "frozen, other domain:\nfrom three − from one"}.items():  # fmt: skip
    differences[text] = measured[name].mean, measured[name].half_width
middles, widths = zip(*differences.values())
axes[1].barh(list(differences), middles, xerr=widths, color="0.8", edgecolor="0.3", capsize=4)
axes[1].axvline(0, color="0.2")
axes[1].invert_yaxis()
axes[1].set(xlim=(-0.15, 0.15), xlabel="difference in balanced accuracy, mean ± 95%, not corrected")
told = "; ".join(f"{text} {middle:+.2f}".replace("\n", " ") for text, (middle, _) in differences.items())
levels = ", ".join(f"{one.mean:.2f} and {one.contrast:.2f}" for one in points)
figure.set_label(f"Left: frozen vectors above word counts, 25, 100 and 400 of each class: {levels}. Right: {told}.")
plt.show()

# %% [markdown]
# The [experiment](experiments/08_text_classification.ipynb) trains on one of four domains (films, tweets, products, editorials), 200 sentences of each class, and tests on another. Word counts lose {{experiment.words_lost.mean:.2f}} ± {{experiment.words_lost.half_width:.2f}} and fall to {{experiment.frozen_across.contrast:.2f}}, not far above chance level. The frozen encoder falls from {{experiment.frozen_inside.mean:.2f}} ± {{experiment.frozen_inside.half_width:.2f}} to
# {{experiment.frozen_across.mean:.2f}} ± {{experiment.frozen_across.half_width:.2f}}, and leads in all 12 pairs of domains in each run. Their losses were not compared in pairs. Blitzer et al. (2007) measured such losses between products.
#
# Fine-tuning, here of two layers from a fitted head, gained {{experiment.fine_tuning_inside.mean:+.3f}} ± {{experiment.fine_tuning_inside.half_width:.3f}} at home and {{experiment.fine_tuning_across.mean:+.3f}} ± {{experiment.fine_tuning_across.half_width:.3f}} elsewhere. Kumar et al. (2022) show when that goes wrong.
#
# Corrected (factor 3.7 for the loss, whose runs average five draws; 1.9 for fine-tuning), the loss and the gain at home stand. Elsewhere zero is only just excluded. For three domains against one we know no factor.
#
# ## Your turn
#
# ### Exercise 1 (implement): a threshold that finds enough
#
# `threshold_for` gets labels (1: the class you must find, 0: the others), scores and a recall. Without `precision_recall_curve`, it returns the *highest* threshold at which `scores >= threshold` finds at least this share of class 1.

# %% tags=["exercise"]
from course_utils.exercises import text_classification as check


def threshold_for(labels, scores, recall):
    """Return the highest threshold with at least this recall of class 1."""
    ...  # your code


# check.check_threshold_for(threshold_for)


# %% tags=["solution", "nbval-check-output"]
def threshold_for_solution(labels, scores, recall):
    found = np.sort(np.asarray(scores)[np.asarray(labels) == 1])[::-1]  # the surest first
    needed = int(np.ceil(recall * len(found) - 1e-9))  # 0.07 * 100 is a little more than 7 for a computer
    return found[needed - 1]


check.check_threshold_for(threshold_for_solution)

# %% [markdown] tags=["solution"]
# Only the scores of class 1 matter. `np.quantile` interpolates, and may find one too few; with `method="lower"` it finds enough, but its threshold is often not the highest.

# %% [markdown]
# ### Exercise 2 (debug): four faults
#
# A colleague's `score_model` gets a table (columns text, label, document) and a model with one **sigmoid** output: `model.predict(texts)` returns one column, the probability of "positive". It should fit on about four fifths of the *documents*
# and return the balanced accuracy on the others. It runs, but every model gets the same score. Once that is mended, learning by heart gets 1.00, and always saying "positive" much more than 0.5.

# %% tags=["exercise"]
from sklearn.model_selection import train_test_split


def score_model(table, model):
    train, test = train_test_split(table, test_size=0.2, random_state=0)
    model.fit(table["text"].tolist(), (table["label"] == "positive").to_numpy())
    answers = model.predict(test["text"].tolist()).argmax(axis=1)
    return np.mean(answers == (test["label"] == "positive"))


# check.check_score_model(score_model)

# %% tags=["solution", "nbval-check-output"]
from sklearn.model_selection import GroupShuffleSplit


def score_model_solution(table, model):
    split = GroupShuffleSplit(1, test_size=0.2, random_state=0).split(table, groups=table["document"])
    train, test = (table.iloc[rows] for rows in next(split))
    model.fit(train["text"].tolist(), (train["label"] == "positive").to_numpy())
    answers = model.predict(test["text"].tolist())[:, 0] > 0.5
    return balanced_accuracy_score(test["label"] == "positive", answers)


check.check_score_model(score_model_solution)

# %% [markdown] tags=["solution"]
# `argmax` over one column is always 0. The model was fitted on the whole table, test part included. Rows were split, not documents. And plain accuracy rewards the frequent class.

# %% [markdown]
# ### Exercise 3 (your own data)
#
# Put the path of your CSV file into `my_file`; as it stands, it takes 600 snippets of film reviews. Fit a classifier of your choice and word counts on the training part, and let both predict the test part. Which one wins? (The two classes are about equal, so plain accuracy will do.)

# %% tags=["exercise"]
my_file = write_sentiment_csv("movie")  # or the path of your own
mine = pd.read_csv(my_file).sample(frac=1, random_state=SEED)[:600]  # of your own take all
my_train, my_validation, my_test = (
    mine.iloc[rows] for rows in stratified_split(mine["label"], mine.get("document", mine["text"]), SEED)
)
my_answers, my_counts = None, None  # labels predicted for the sentences of my_test, in their order

# check.check_own_texts(my_test["label"], my_answers, my_counts)

# %% tags=["solution"]
x_mine, x_asked = (sentence_vectors(pack.tokenizer, backbone, part["text"]) for part in (my_train, my_test))
my_answers = regression().fit(x_mine, my_train["label"]).predict(x_asked)
my_counts = counts().fit(my_train["text"], my_train["label"]).predict(my_test["text"])
own_gain = check.check_own_texts(my_test["label"], my_answers, my_counts)

# %% [markdown] tags=["solution"]
# Over five runs, frozen encoder minus word counts is {{own_gain.mean:+.2f}} ± {{own_gain.half_width:.2f}}. (Runs draw 600 of 10,043 snippets and share few: no correction is due.)

# %% [markdown]
# ## Take it home
#
# Validation chose `C` and the threshold; rate, epochs, layers and the 800 sentences were set by hand, without a search here. Now the test sentences, once for each way. (Sections 5 and 6 showed test numbers, too; they chose nothing.)

# %%
answers = {"zero-shot": zero_shot[test.index], "word counts": by_counts.predict(test["text"])}
answers |= {"frozen encoder": by_vectors.predict(x_test), "fine-tuned": np.array(names)[p_test.argmax(axis=1)]}
on_test = {way: balanced_accuracy_score(test["label"], answer) for way, answer in answers.items()}
pd.Series(on_test, name="balanced accuracy on test").round(3).to_frame()

# %% [markdown]
# Over five runs: zero-shot {{zero_shot_test.mean:.2f}} ± {{zero_shot_test.half_width:.2f}}, word counts {{counts_test.mean:.2f}} ± {{counts_test.half_width:.2f}}, frozen {{frozen_test.mean:.2f}} ± {{frozen_test.half_width:.2f}}, fine-tuned {{tuned_test.mean:.2f}} ± {{tuned_test.half_width:.2f}}. As pairs, fine-tuned minus frozen is
# {{test_tuned_minus_frozen.mean:+.3f}} ± {{test_tuned_minus_frozen.half_width:.3f}}, also when corrected a gain.
#
# `save_to_preset` writes weights, tokenizer and preprocessing into a folder. A **model card** joins them, and a program that classifies a file. It compares with the threshold *before* it rounds: a score just below must not raise the alarm.

# %%
import json
import tempfile
from pathlib import Path

home = Path(tempfile.mkdtemp())  # temporary; for your own work choose a folder that lasts
card = {"classes": names, "threshold": float(threshold), "input": "one English sentence about a product",
        "cut off after": f"{LENGTH} pieces of words", "date": str(pd.Timestamp.now().date()),
        "encoder": "sentence-transformers/all-MiniLM-L6-v2, Apache-2.0, upper half fine-tuned",
        "trained on": f"{len(given)} sentences, split by document (Hutto & Gilbert 2014, product reviews)",
        "balanced accuracy on test": round(on_test["fine-tuned"], 2),
        "at the threshold, on test": dict(zip(("recall", "precision"), np.round(reached[1], 2).tolist())),
        "not for": "neutral sentences (none were in training or test), other domains"}  # fmt: skip
(home / "card.json").write_text(json.dumps(card, indent=2))
model.save_to_preset(str(home / "model"))

# %%
program = """
import json, sys, keras_hub, pandas as pd
home, source, target = sys.argv[1:]
model, card = keras_hub.models.BertTextClassifier.from_preset(home + "/model"), json.load(open(home + "/card.json"))
table = pd.read_csv(source)
scores = model.predict(table["text"].tolist(), verbose=0)
table[card["classes"]] = scores.round(3)
table["alarm"] = scores[:, 0] >= card["threshold"]
table.to_csv(target, index=False)
"""
(home / "classify.py").write_text(program)
print(f"threshold {card['threshold']:.4f}")

# %% [markdown]
# A *fresh process* knows nothing of this notebook. It gets our two sentences, and the four test sentences nearest to the threshold.

# %%
import subprocess
import sys

away = np.abs(p_test[:, 0] - threshold)
near = np.where(away > 1e-5, away, 1).argsort()[:4]  # any nearer could change sides by rounding
pd.DataFrame({"text": [*new, *test["text"].iloc[near]]}).to_csv(home / "new.csv", index=False)
command = [sys.executable, home / "classify.py", home, home / "new.csv", home / "answers.csv"]
done = subprocess.run(command, capture_output=True, text=True)
assert done.returncode == 0, done.stderr  # what went wrong over there
handed_over = pd.read_csv(home / "answers.csv")
assert handed_over["alarm"].tolist()[2:] == (p_test[near, 0] >= threshold).tolist(), "other alarms than here"
handed_over

# %% [markdown]
# ## Quiz
#
# **1.** A classifier of support tickets has 0.97 on a test set of random rows. In the next month it has 0.81. What do you look at first?
#
# <details><summary>Answer</summary>
#
# At the split: tickets of one customer, or copies, may lie on both sides. Then at what changed in that month.
#
# </details>
#
# **2.** You move the threshold until recall *on the test sentences* is 0.95, and report 0.95. What is wrong?
#
# <details><summary>Answer</summary>
#
# The test has chosen, so it no longer measures. Choose on validation, then report what the test says, be it 0.93.
#
# </details>
#
# **3.** You have 80 labelled sentences. Where do you begin?
#
# <details><summary>Answer</summary>
#
# With zero-shot and a frozen encoder: both take seconds. Word counts need more labels. Fine-tuning is possible, but 20 test sentences tell an accuracy of 0.8 only to ± 0.18: too little to see whether it paid.
#
# </details>
#
# **4.** The F1 is 0.90. A user writes: "it takes 'no issues' for a complaint." Is she wrong?
#
# <details><summary>Answer</summary>
#
# No. Both can be true, as few sentences contain it. Count on minimal pairs, and train on such sentences if it matters.
#
# </details>
#
# **Where to go next.** Lesson 06 opens the BERT. Lesson 04 adapts to a new domain.

# %% tags=["headline"]
share, difference = {"limits": (0, 1)}, {"limits": (-1, 1)}
if not DATA and not ROWS:  # what is compared holds for the product reviews
    expect("majority", (validation["label"] == names[-1]).mean(), **share)
    expect("memory_by_row", remembered["by row"], contrast=remembered["by document"], **share)
    short = {"zero-shot": "zero_shot", "word counts": "counts", "frozen encoder": "frozen", "fine-tuned": "tuned"}
    for way, name in short.items():
        expect(f"{name}_validation", score[way], **share)
    expect("zero_shot_test", on_test["zero-shot"], **share)
    expect("counts_test", on_test["word counts"], contrast=0.5, **share)
    expect("frozen_test", on_test["frozen encoder"], contrast=on_test["zero-shot"], **share)
    expect("tuned_test", on_test["fine-tuned"], contrast=on_test["zero-shot"], **share)
    expect("frozen_minus_counts", score["frozen encoder"] - score["word counts"], **difference)
    expect("tuned_minus_frozen", score["fine-tuned"] - score["frozen encoder"], **difference)
    expect("test_tuned_minus_frozen", on_test["fine-tuned"] - on_test["frozen encoder"], **difference)
    expect("frozen_100", curves["frozen encoder"][1], **share)
    expect("counts_all", curves["word counts"][-1], **share)
    expect("frozen_doubling", curves["frozen encoder"][-1] - curves["frozen encoder"][-2], **difference)
    expect("counts_doubling", curves["word counts"][-1] - curves["word counts"][-2], **difference)
    for way, told in told_apart.items():
        expect(f"pairs_{short[way]}", told.mean(), **share)
        expect(f"no_{short[way]}", told[:4].mean(), **share)
    expect("recall_at_half", reached[0][0], **share)
    expect("recall_at_threshold", reached[1][0], **share)
    expect("precision_at_half", reached[0][1], **share)
    expect("precision_at_threshold", reached[1][1], **share)
    for position, name in enumerate(("weights_accuracy", "weights_f1", "neutral_gain")):
        expect(name, weighing["balanced"][position] - weighing[None][position], **difference)
    expect("own_gain", own_gain, **difference)
expect.table()
