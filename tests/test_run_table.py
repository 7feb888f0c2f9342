"""What a run shows at its end: figures beside their bands, what failed, where notebooks wrote."""

from rich.text import Text

from course_tools.run.table import result_table, written_folders


def result(name, status="passed", records=(), seconds=90.0, **more):
    return {"name": name, "status": status, "seconds": seconds, "records": list(records)} | more


def figure(name, value, low, high):
    return {"name": name, "value": value, "low": low, "high": high}


def test_each_notebook_has_a_row_with_its_figures_and_their_bands():
    records = [
        figure("accuracy", 0.61234, 0.581, 0.66),
        figure("speed", 12.34, 3, None),
        figure("size", 7.5, None, None),
    ]
    table = result_table(
        [result("01_a", records=records), result("02_b", "failed", seconds=3.0), result("03_c", reused=True)]
    )
    rows = [list(column.cells) for column in table.columns]
    assert rows[:2] == [["01_a", "02_b", "03_c"], ["1.5", "0.1", "1.5"]]
    assert rows[2] == ["accuracy 0.612 (0.581 to 0.66)\nspeed 12.3 (at least 3)\nsize 7.5 (no band)", "", ""]
    states = [Text.from_markup(cell) for cell in rows[3]]
    assert [state.plain for state in states] == ["passed", "failed", "passed (unchanged)"]
    assert [state.spans[0].style for state in states] == ["green", "red", "green"]
    assert [column.justify for column in table.columns] == ["left", "right", "left", "left"]


def test_a_folder_that_a_notebook_wrote_is_named_with_what_is_kept_of_earlier_runs(tmp_path):
    for name in ("out", "out-1", "out-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_card.md").touch()
    results = [
        result("01_a"),
        result("10_b", folder=str(tmp_path / "out")),
        result("11_c", folder=str(tmp_path / "new")),
    ]
    assert written_folders(results) == [
        f"10_b wrote {tmp_path / 'out'}; earlier ones are kept: out-1, out-2",
        f"11_c wrote {tmp_path / 'new'}",
    ]
