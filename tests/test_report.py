import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_utils.errors import CourseError
from course_utils.evaluation import report
from course_utils.evaluation.metrics import classification_metrics
from course_utils.evaluation.report import evaluate

LABELS = np.array([0, 0, 0, 1, 1])
SIGMOID = np.array([[0.1], [0.2], [0.6], [0.7], [0.9]])
FOUR = np.array([[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]])


def test_binary_report():
    evaluation = evaluate(LABELS, SIGMOID, ["healthy", "ill"])
    assert evaluation.metrics == classification_metrics(LABELS, SIGMOID)
    assert list(evaluation.figures) == ["confusion_matrix", "curves"]
    matrix, (roc, precision_recall) = (evaluation.figures[name].axes for name in evaluation.figures)
    assert [text.get_text() for text in matrix[0].texts] == ["2", "1", "0", "2"]
    assert [tick.get_text() for tick in matrix[0].get_yticklabels()] == ["healthy", "ill"]
    assert "AUC = 1.00" in roc.get_legend().texts[0].get_text()
    assert "AP = 1.00" in precision_recall.get_legend().texts[0].get_text()
    assert all("Chance level" in axes.get_legend().texts[1].get_text() for axes in (roc, precision_recall))
    table = evaluation.table
    assert list(table.index) == ["healthy", "ill"]
    assert list(table.columns) == ["precision", "recall", "f1-score", "support"]
    assert table.loc["ill"].tolist() == pytest.approx([2 / 3, 1, 0.8, 2])


def test_multi_class_report_marks_the_class_without_samples(recwarn):
    evaluation = evaluate([0, 0, 1, 1], FOUR)
    assert list(evaluation.figures) == ["confusion_matrix"]
    assert list(evaluation.table.index) == ["class 0", "class 1", "class 2", "class 3"]
    assert evaluation.table["recall"].tolist() == pytest.approx([1, 0.5, np.nan, np.nan], nan_ok=True)
    assert evaluation.table["support"].tolist() == [2, 2, 0, 0]
    assert not recwarn.list


@pytest.mark.parametrize(("classes", "rotation"), [(3, 0), (4, 90)])
def test_more_than_three_names_stand_upright(classes, rotation):
    matrix = evaluate(np.arange(classes), np.eye(classes)).figures["confusion_matrix"].axes[0]
    assert {label.get_rotation() for label in matrix.get_xticklabels()} == {rotation}


def test_figures_tell_what_they_show_and_have_no_scale_of_colours():
    figures = evaluate(LABELS, SIGMOID).figures
    assert figures["confusion_matrix"].get_label().startswith("Confusion matrix: number of samples")
    assert "ROC" in figures["curves"].get_label()
    (matrix,) = figures["confusion_matrix"].axes
    colours = matrix.images[0].get_cmap()
    assert sum(colours(1.0)[:3]) < sum(colours(0.0)[:3])  # many samples are dark
    assert all(figure.get_layout_engine() for figure in figures.values())


def test_a_matrix_of_more_classes_takes_more_room():
    two, four = (evaluate(range(n), np.eye(n)).figures["confusion_matrix"].get_size_inches() for n in (2, 4))
    assert (four > two).all() and two[0] > two[1] > 4


def test_a_threshold_counts_in_table_matrix_and_metrics():
    for threshold, found in ((0.65, ["3", "0", "0", "2"]), (0.7, ["3", "0", "1", "1"]), (0.6, ["3", "0", "0", "2"])):
        evaluation = evaluate(LABELS, SIGMOID, threshold=threshold)
        (matrix,) = evaluation.figures["confusion_matrix"].axes
        assert [text.get_text() for text in matrix.texts] == found
        sensitivity = evaluation.metrics["sensitivity"]
        assert evaluation.table.loc["class 1", "recall"] == sensitivity == int(found[3]) / 2


def test_table_agrees_with_the_macro_metrics():
    evaluation = evaluate(LABELS, SIGMOID)
    assert evaluation.table["f1-score"].mean() == pytest.approx(evaluation.metrics["macro_f1"])
    assert evaluation.table["recall"].tolist() == pytest.approx(
        [evaluation.metrics["specificity"], evaluation.metrics["sensitivity"]]
    )


def test_everything_is_shown_once(monkeypatch):
    shown = []
    monkeypatch.setattr(report, "display", shown.append)
    evaluation = evaluate(LABELS, SIGMOID)
    # A figure that pyplot knows would be shown once more at the end of the cell.
    assert plt.get_fignums() == []
    assert shown == []
    evaluation._ipython_display_()
    assert len(shown) == 4
    assert [item for item in shown if isinstance(item, Figure)] == list(evaluation.figures.values())
    summary, table = shown[:2]
    assert "balanced accuracy" in summary and summary.loc["all", "sensitivity"] == 1
    assert table.loc["class 0", "recall"] == 0.667 and summary.loc["all", "specificity"] == 0.667  # three digits


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((LABELS, SIGMOID, ["one"]), "accepted are 2 names"),
        ((LABELS, SIGMOID, ["a", "b", "c"]), "accepted are 2 names"),
        ((LABELS[:3], SIGMOID), "3 labels"),
        ((LABELS, SIGMOID * 10), "outside"),
        ((np.eye(2, dtype=int)[LABELS], SIGMOID), "one-hot"),
    ],
)
def test_refused(arguments, sentence):
    with pytest.raises(CourseError, match=sentence):
        evaluate(*arguments)
