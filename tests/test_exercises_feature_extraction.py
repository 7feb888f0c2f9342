"""The checks of lesson 02 accept right answers and name each planted fault."""

import keras
import numpy as np
import pytest
from PIL import Image

from course_utils.exercises import feature_extraction as check
from course_utils.exercises.answers import ExerciseError


def extract(backbone, dataset):
    pairs = [(backbone(x, training=False), y) for x, y in dataset]
    return tuple(np.concatenate(part) for part in zip(*pairs, strict=True))


def test_a_right_extract_is_accepted(capsys):
    check.check_extract(extract)
    assert capsys.readouterr().out == "extract is right.\n"


@pytest.mark.parametrize(
    ("faulty", "sentence"),
    [
        (lambda b, d: extract(b, d)[0], "must return two things"),
        (lambda b, d: extract(b, d.take(2)), r"shape \(8, 2\)"),
        (lambda b, d: (extract(b, d)[0], extract(b, d)[1][:4]), r"labels of 10 images have the shape \(4,\)"),
        (lambda b, d: (b.predict(d, verbose=0), extract(b, d)[1]), "different images"),
        (lambda b, d: extract(lambda x, training: b(x, training=True), d), "Dropout"),
        (lambda b, d: [extract(b, d), extract(b, d)][1], "read 2 times"),
        (lambda b, d: None, "must return two things"),
        (lambda b, d: extract(b, d)[::-1], "are swapped"),
        (lambda b, d: (extract(b, d)[1],) * 2, r"features of 10 images have the shape \(10,\)"),
        (lambda b, d: (extract(b, d)[0],) * 2, r"labels of 10 images have the shape \(10, 2\)"),
        (lambda b, d: tuple(zip(*[(b(x, training=False), y) for x, y in d], strict=True)), "join its batches"),
        (lambda b, d: extract(lambda x, training: b(x / 255, training=training), d), "once and unchanged"),
    ],
)
def test_each_fault_of_extract_is_named(faulty, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_extract(faulty)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name in ("ant", "bee", "cow"):
        (tmp_path / name).mkdir()
        for i in range(4):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            pixels[:, :16] //= 4  # mirrored and moved images differ in their mean at the border
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def backbone():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((32, 32, 3)), *layers])


def build_with(
    cached=True,
    cached_late=False,
    augmented=True,
    renamed=False,
    frozen=True,
    wide=False,
    order=None,
    change=None,
    in_front=(),
):
    """Return a `build` that has the faults asked for."""

    def build(folder, backbone):
        options = {"image_size": (32, 32), "batch_size": 5, "verbose": False}
        dataset = keras.utils.image_dataset_from_directory(folder, class_names=order, **options)
        names = dataset.class_names[::-1] if renamed else dataset.class_names
        augment = keras.layers.RandomTranslation(0.2, 0.2, fill_mode="constant", fill_value=255.0)
        if cached:
            dataset = dataset.cache()
        if augmented:
            dataset = dataset.map(lambda x, y: (augment(x, training=True), y))
        if change:
            dataset = dataset.map(lambda x, y: (change(x), y))
        if cached_late:
            dataset = dataset.cache()
        backbone.trainable = not frozen
        head = [keras.layers.Dense(7)] if wide else []
        model = keras.Sequential([*in_front, backbone, *head, keras.layers.Dense(3, activation="softmax")])
        return dataset, model, names

    return build


def test_a_mended_pipeline_is_accepted(folder, backbone, capsys):
    backbone.trainable = False
    check.check_pipeline(build_with(), folder, backbone)
    assert capsys.readouterr().out == "The pipeline is mended.\n" and not backbone.trainable


def test_a_fault_that_unfreezes_the_backbone_does_not_outlive_the_check(folder, backbone):
    backbone.trainable = False
    with pytest.raises(ExerciseError):
        check.check_pipeline(build_with(frozen=False), folder, backbone)
    assert not backbone.trainable and not backbone.trainable_weights


def test_augmentation_may_be_a_layer_of_the_model(folder, backbone):
    moves = [keras.layers.RandomFlip(), keras.layers.RandomTranslation(0.2, 0.2)]
    check.check_pipeline(build_with(augmented=False, in_front=moves), folder, backbone)
    check.check_pipeline(build_with(augmented=False, in_front=[keras.Sequential(moves)]), folder, backbone)


def test_names_may_have_another_order_where_the_dataset_has_it_too(folder, backbone):
    check.check_pipeline(build_with(order=["cow", "ant", "bee"]), folder, backbone)
    with pytest.raises(ExerciseError, match="Class 0 is called 'bee', but its images lie in 'cow'"):
        check.check_pipeline(build_with(order=["cow", "ant", "bee"], renamed=True), folder, backbone)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"change": lambda x: x / 255}, "wants raw pixels"),
        ({"change": lambda x: x - 127}, "wants raw pixels"),
        ({"change": lambda x: x[..., ::-1]}, "wants raw pixels"),
        ({"change": lambda x: keras.applications.resnet50.preprocess_input(x)}, "wants raw pixels"),
        ({"in_front": [keras.layers.Rescaling(1 / 255)]}, "in front of the backbone"),
        ({"cached_late": True}, "exactly the same images"),
        ({"augmented": False}, "exactly the same images"),
        ({"augmented": False, "in_front": [keras.layers.ReLU()]}, "exactly the same images"),
        ({"cached": False}, "reads and decodes the files again"),
        ({"renamed": True}, "called 'cow', but its images lie in 'ant'"),
        ({"frozen": False}, "not frozen"),
        ({"wide": True}, "one Dense layer of 3 classes"),
    ],
)
def test_each_fault_of_a_pipeline_is_named(folder, backbone, fault, sentence):
    with pytest.raises(ExerciseError, match=sentence):
        check.check_pipeline(build_with(**fault), folder, backbone)


def test_predictions(folder, capsys):
    labels = np.repeat([0, 1, 2], 4)
    predicted = labels.copy()
    predicted[:2] = 1
    check.check_predictions(labels, predicted, folder)
    assert capsys.readouterr().out == "Balanced accuracy 0.83; guessing gives 0.333.\n"
    for wrong, sentence in [
        ((labels[:5], predicted[:5]), r"true has the shape \(5,\).* the folder has 12 images"),
        ((None, predicted), "still None"),
        ((np.zeros(12, int), predicted), "as many images of each class"),
        ((labels, predicted + 5), "from 0 to 2"),
        ((labels, np.roll(labels, 4)), "no better than guessing"),
    ]:
        with pytest.raises(ExerciseError, match=sentence):
            check.check_predictions(*wrong, folder)


def test_labels_of_another_pass_are_refused(folder):
    labels, refused = np.repeat([0, 1, 2], 4), 0
    for seed in range(20):
        try:
            check.check_predictions(np.random.default_rng(seed).permutation(labels), labels, folder)
        except ExerciseError:
            refused += 1
    assert refused >= 18
