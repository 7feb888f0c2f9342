"""The folder that a project leaves is whole, and nothing earlier is lost; its program reads as the training did."""

import csv
import io
import os
import runpy
import subprocess
import sys
import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.linear_model import LogisticRegression

from course_utils.data import load_openmoji_folder, predict_images, predict_texts
from course_utils.data.photos import read_upright
from course_utils.data.project_folder import OF_THE_COURSE, earlier_projects, predict_program, project_folder
from course_utils.errors import CourseError
from course_utils.settings import ROOT


def make(out, card):
    with project_folder(out) as home:
        (home / "model_card.md").write_text(card)


def test_a_folder_appears_at_the_end_and_an_earlier_one_is_kept_beside_it(tmp_path, capsys):
    out = tmp_path / "new" / "deep" / "project"
    with project_folder(out) as home:
        (home / "model_card.md").write_text("first")
        assert not out.exists()
    make(out, "second")
    make(out, "third")
    assert capsys.readouterr().out == (
        "The earlier project is kept as project-1.\nThe earlier project is kept as project-2.\n"
    )
    with pytest.raises(ZeroDivisionError), project_folder(out) as home:
        (home / "model_card.md").write_text("fourth")
        raise ZeroDivisionError
    (out.parent / "project-10").mkdir()  # something else
    cards = {path.name: (path / "model_card.md").read_text() for path in [out, *earlier_projects(out)]}
    assert cards == {"project": "third", "project-1": "first", "project-2": "second"}
    assert list(earlier_projects(out)) == [out.parent / "project-1", out.parent / "project-2"]
    assert len(list(out.parent.iterdir())) == 4


def test_a_folder_may_have_spaces_and_two_hundred_characters(tmp_path):
    out = tmp_path / ("my own project " * 14)[:200]
    make(out, "first")
    make(out, "second")
    assert (out / "model_card.md").read_text() == "second" and len(earlier_projects(out)) == 1


def test_the_pictograms_of_the_course_are_made_anew_unless_a_file_was_added(tmp_path):
    out, card = tmp_path / "project", "# Model card: openmoji-objects-128\n\nIt gives images one of 8 classes"
    for _ in range(2):
        make(out, card)
        (out / "test.png").touch()
        for name in ("report.html", "report.ipynb", "predict.py", "pairs.csv", "model.keras"):
            (out / name).touch()
    assert earlier_projects(out) == []
    (out / "answers.csv").touch()
    make(out, card)
    assert [(path / "answers.csv").exists() for path in earlier_projects(out)] == [True]


def test_the_card_of_the_pictograms_is_known_by_its_beginning():
    source = (ROOT / "notebooks" / "source" / "10_your_project.py").read_text(encoding="utf-8")
    beginning, _, name = OF_THE_COURSE.strip().rpartition(" ")
    assert f'card = f"""{beginning} {{source}}\n' in source and load_openmoji_folder().name == name


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "1.jpg").write_text("sea")
    for out in ("holidays", "holidays/1.jpg"):
        with pytest.raises(CourseError, match="was not written by a project: let OUT name a new folder"):
            with project_folder(tmp_path / out):
                raise AssertionError("never begun")
    with pytest.raises(CourseError, match="cannot be written .*: let OUT name another folder"):
        with project_folder(tmp_path / "holidays" / "1.jpg" / "out"):
            raise AssertionError("never begun")
    assert (tmp_path / "holidays" / "1.jpg").read_text() == "sea"


def test_the_program_carries_its_classes():
    text = predict_program("images", CLASSES=["it's", "a\\b"], SIZE=64)
    assert "\nCLASSES = [\"it's\", 'a\\\\b']\n" in text and "\nSIZE = 64\n" in text
    assert "course_utils" not in text + predict_program("texts")
    with pytest.raises(CourseError, match="predict.py for texts has no constant SIZE"):
        predict_program("texts", SIZE=64)


@pytest.fixture
def odd_images(tmp_path):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize((80, 60), 3)
    photo.save(tmp_path / "plain.png")
    photo.save(tmp_path / "plain.jpg", quality=95)
    photo.convert("L").save(tmp_path / "grey.png")
    photo.resize((600, 400)).save(tmp_path / "wide.jpg", quality=95)
    photo.resize((33, 301)).save(tmp_path / "tall.jfif", "jpeg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", quality=95, exif=exif)
    photo.convert("P").save(tmp_path / "palette.gif")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    photo.save(tmp_path / "alpha.png")
    return sorted(tmp_path.iterdir())


def test_new_files_are_read_as_the_training_read_them(odd_images, monkeypatch):
    monkeypatch.setattr(predict_images, "SIZE", 32)
    for file in odd_images:
        trained = read_upright(file).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(predict_images.read_with_pillow(file), np.asarray(trained)), file.name
        if file.name == "turned.jpg":
            assert trained.getpixel((5, 5)) != Image.open(file).resize((32, 32)).getpixel((5, 5))
            continue
        without = predict_images.read_with_tensorflow(file)
        apart = np.abs(without.astype(int) - np.asarray(trained)).max()  # two decoders round the colours of a JPEG
        assert without.dtype == np.uint8 and apart <= (file.suffix in (".jpg", ".jfif")), file.name


@pytest.mark.parametrize("order", ["<", ">"])
def test_without_pillow_a_turned_photo_is_refused_and_an_upright_one_read(tmp_path, monkeypatch, order):
    monkeypatch.setattr(predict_images, "SIZE", 32)
    for turn in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = turn
        exif.endian = order
        Image.new("RGB", (40, 30), "red").save(tmp_path / f"{turn}.jpg", exif=exif)
    assert predict_images.read_with_tensorflow(tmp_path / "1.jpg").shape == (32, 32, 3)
    with pytest.raises(ValueError, match="turned: pip install pillow"):
        predict_images.read_with_tensorflow(tmp_path / "6.jpg")


def answers(home, *arguments, **environment):
    command, variables = [sys.executable, home / "predict.py", *arguments], os.environ | environment
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=variables)
    assert done.returncode == 0, done.stderr[-2000:]
    return list(csv.reader(io.StringIO(done.stdout))), done.stderr


@pytest.mark.slow
def test_the_program_classifies_a_folder_of_images(odd_images, tmp_path):
    with project_folder(tmp_path / "out") as home:
        layers = [keras.layers.Resizing(8, 8), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
        model = keras.Sequential([keras.Input((None, None, 3)), *layers])
        model.save(home / "model.keras")
        (home / "predict.py").write_text(predict_program("images", CLASSES=["é", "猫"], SIZE=32), encoding="utf-8")
        (home / "model_card.md").write_text("")
    (odd_images[0].parent / "notes.txt").write_text("no image")
    rows, told = answers(tmp_path / "out", *odd_images, odd_images[0].parent / "notes.txt")
    assert rows[0] == ["file", "class", "é", "猫"] and [row[0] for row in rows[1:]] == list(map(str, odd_images))
    pixels = np.stack([np.asarray(read_upright(f).resize((32, 32), Image.Resampling.BILINEAR)) for f in odd_images])
    expected = model.predict(pixels.astype("float32"), verbose=0)
    assert np.abs(np.array([row[2:] for row in rows[1:]], float) - expected).max() < 1e-3
    assert "notes.txt cannot be read" in told
    for console in ({"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        assert answers(tmp_path / "out", *odd_images, **console)[0] == rows


@pytest.mark.slow
def test_the_program_classifies_a_table_of_texts(tmp_path):
    words = keras.layers.TextVectorization(vocabulary=["good", "bad"], output_mode="count")
    with project_folder(tmp_path / "out") as home:
        model = keras.Sequential(
            [keras.Input((), dtype="string"), words, keras.layers.Rescaling(1.0), keras.layers.Softmax()]
        )
        model.save(home / "model.keras")
        program = predict_program("texts", CLASSES=["?", "喜", "悲"], COLUMN="review")
        (home / "predict.py").write_text(program, encoding="utf-8")
        (home / "model_card.md").write_text("")
    (tmp_path / "new.csv").write_text('review,other\n"good, good\ngood",1\n bad ,2\n,3\n', encoding="utf-8-sig")
    for console in ({}, {"PYTHONIOENCODING": "latin-1"}):
        rows, _ = answers(tmp_path / "out", tmp_path / "new.csv", **console)
        assert [row[:2] for row in rows] == [["row", "class"], ["1", "喜"], ["2", "悲"], ["3", "?"]]
    with pytest.raises(AssertionError, match="has no column 'text'"):
        answers(tmp_path / "out", tmp_path / "new.csv", "text")


@pytest.mark.parametrize(("mode", "read"), [("I;16", True), ("I", False), ("F", False)])
def test_of_sixteen_bits_a_channel_the_upper_eight_are_read_and_more_are_refused(tmp_path, monkeypatch, mode, read):
    monkeypatch.setattr(predict_images, "SIZE", 4)
    levels = np.full((4, 4), 0x12FF, {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
    Image.fromarray(levels).save(tmp_path / "scan.tiff")
    if read:
        assert (predict_images.read_with_pillow(tmp_path / "scan.tiff") == 0x12).all()
    else:
        with pytest.raises(ValueError, match="more than 16 bits a channel"):
            predict_images.read_with_pillow(tmp_path / "scan.tiff")


class Loaded:
    """Stands for the saved network: the probability of the second class is a share of what it is given."""

    def __init__(self, monkeypatch, program, share):
        self.batches, self.share = [], share
        monkeypatch.setattr(program.keras.saving, "load_model", self.load)
        monkeypatch.setattr(program, "CLASSES", ["no", "yes"])
        monkeypatch.setattr(program, "BATCH", 2)

    def load(self, path, compile):
        assert path.name == "model.keras" and not compile
        return self

    def predict(self, batch, verbose):
        assert verbose == 0
        pieces = batch["token_ids"] if isinstance(batch, dict) else batch
        self.batches.append(np.shape(pieces))
        share = np.array([self.share(x) for x in np.asarray(pieces)])
        return np.stack([1 - share, share], axis=1)


@pytest.mark.parametrize("pillow", [True, False])
def test_each_file_of_a_folder_has_a_row_in_order_whatever_lies_between(tmp_path, monkeypatch, capsys, pillow):
    loaded = Loaded(monkeypatch, predict_images, lambda image: image.mean() / 255)
    monkeypatch.setattr(predict_images, "SIZE", 3)
    if not pillow:
        monkeypatch.setattr(predict_images, "Image", None)
    (tmp_path / "b").mkdir()
    levels = {"a.png": 51, "b/c.png": 204, "d.png": 102, "e.png": 255, "f.png": 0}
    for name, level in levels.items():
        Image.new("RGB", (5, 4), (level,) * 3).save(tmp_path / name)
    for name in ("a1.txt", "a2.txt", "a3.txt", ".hidden.png"):
        (tmp_path / name).write_text("no image")
    predict_images.main([str(tmp_path), str(tmp_path / "a.png")])
    said = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(said.out)))
    assert rows[0] == ["file", "class", "no", "yes"]
    assert {images for images, *_ in loaded.batches} == {1, 2}
    assert {shape[1:] for shape in loaded.batches} == {(3, 3, 3)}
    assert rows[1:] == [
        [str(tmp_path / name), "yes" if level > 127 else "no", f"{1 - level / 255:.4f}", f"{level / 255:.4f}"]
        for name, level in [*levels.items(), ("a.png", 51)]
    ]
    assert [line.partition(" cannot be read: ")[0] for line in said.err.splitlines() if "cannot" in line] == [
        str(tmp_path / f"a{number}.txt") for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_each_text_of_a_table_has_a_row_with_its_number(tmp_path, monkeypatch, capsys, mark):
    loaded = Loaded(monkeypatch, predict_texts, lambda text: len(text) / 8)
    lines = [mark + "note,text", "1,good film", '2,"two\n lines"', "3,", "4", "5,ten"]
    (tmp_path / "new.csv").write_text("\n".join(lines), encoding="utf-8")
    predict_texts.main(tmp_path / "new.csv", "text")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["row", "class", "no", "yes"] and loaded.batches == [(2,), (2,), (1,)]
    shares = [len(text) / 8 for text in ("good film", "two lines", "", "", "ten")]  # blanks are one
    assert rows[1:] == [
        [str(row), "yes" if share > 0.5 else "no", f"{1 - share:.4f}", f"{share:.4f}"]
        for row, share in enumerate(shares, 1)
    ]
    with pytest.raises(SystemExit, match=r"new.csv has no column 'title'; it has \['note', 'text'\]"):
        predict_texts.main(tmp_path / "new.csv", "title")


def test_a_vocabulary_beside_the_program_makes_pieces_of_the_texts(tmp_path, monkeypatch, capsys):
    loaded = Loaded(monkeypatch, predict_texts, lambda pieces: pieces[1] / 8)
    monkeypatch.setattr(predict_texts, "__file__", str(tmp_path / "predict.py"))
    monkeypatch.setattr(predict_texts, "LENGTH", 5)
    (tmp_path / "vocabulary.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nfilm\n")
    (tmp_path / "new.csv").write_text("text\nGood film\n" + "film " * 40_000)
    predict_texts.main(tmp_path / "new.csv", "text")
    assert capsys.readouterr().out.splitlines()[1:] == ["1,yes,0.3750,0.6250", "2,yes,0.2500,0.7500"]
    assert loaded.batches == [(2, 5)]


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that runs a program as a script on a console of Latin letters, and gives what it wrote."""
    model = SimpleNamespace(predict=lambda batch, verbose: np.tile(np.float32([0.25, 0.75]), (len(batch), 1)))
    monkeypatch.setattr(keras.saving, "load_model", lambda path, compile: model)

    def run(kind, *words, **constants):
        (tmp_path / "predict.py").write_text(predict_program(kind, **constants), encoding="utf-8")
        console = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", newline="\r\n")  # as Windows ends its lines
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["predict.py", *map(str, words)])
            patch.setattr(sys, "stdout", console)
            runpy.run_path(str(tmp_path / "predict.py"), run_name="__main__")
        console.flush()
        return console.buffer.getvalue()

    return run


def test_as_a_script_a_program_writes_utf_8_and_ends_each_line_once_on_any_console(program, tmp_path):
    (tmp_path / "new.csv").write_text("review,text\ngood,bad\n", encoding="utf-8")
    Image.new("L", (2, 2)).save(tmp_path / "猫.png")
    names = ["é", "猫\udcff"]  # half a character has no bytes in UTF-8
    written = program("texts", tmp_path / "new.csv", CLASSES=names, COLUMN="review")
    table = "row,class,é,猫\\udcff\r\n1,猫\\udcff,0.2500,0.7500\r\n"
    assert written.decode("utf-8") == table
    assert program("texts", tmp_path / "new.csv", "text", CLASSES=names).decode("utf-8") == table  # another column
    written = program("images", tmp_path / "猫.png", CLASSES=names, SIZE=2).decode("utf-8")
    assert written == f"file,class,é,猫\\udcff\r\n{tmp_path / '猫.png'},猫\\udcff,0.2500,0.7500\r\n"


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_a_program_without_words_tells_how_it_is_called(program, kind):
    with pytest.raises(SystemExit, match="python predict.py "):
        program(kind, CLASSES=["a", "b"])


def test_predict_refuses_what_holds_no_image(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="There is no file in "):
        predict_images.main([str(tmp_path)])
    monkeypatch.setattr(predict_images.keras.saving, "load_model", lambda *_, **__: None)
    with pytest.raises(SystemExit, match="No file could be read as an image"):
        predict_images.main([str(tmp_path / "nowhere")])
    assert "cannot be read" in capsys.readouterr().err


CELLS = ("def best_of(", "def in_keras(", "# For texts: word counts, as a model of Keras")


def test_words_that_training_does_not_have_leave_the_others_their_weight(tmp_path):
    """Of names, say, most words are new; the first place of the counts is for all of these together."""
    random = np.random.default_rng(0)
    names = ["good", "poor"]
    x = [("excellent " if i % 2 == 0 else "") + " ".join(map(str, random.integers(9**9, size=6))) for i in range(100)]
    table = pd.DataFrame({"x": x, "y": np.arange(100) % 2})
    parts = {"train": table[:60], "validation": table[60:80], "test": table[80:]}
    space = {"is_images": False, "names": names, "parts": parts, "rivals": {}, "models": {}, "np": np, "keras": keras}
    space |= {"tf": tf, "warnings": warnings, "LogisticRegression": LogisticRegression}
    space |= {"y": {part: rows["y"].to_numpy() for part, rows in parts.items()}}
    space["balanced_accuracy_score"] = lambda label, answer: (label == answer).mean()
    source = (ROOT / "notebooks" / "source" / "10_your_project.py").read_text(encoding="utf-8")
    for begin in CELLS:
        exec(begin + source.partition(begin)[2].partition("\n# %%")[0], space)
    head, counted = space["rivals"]["word counts"]
    assert (head.predict(counted["test"]) == parts["test"]["y"]).all()
    model, texts = space["models"]["word counts"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False).predict(texts["test"], verbose=0)
    assert np.abs(loaded - head.predict_proba(counted["test"])).max() < 1e-5
