"""`course run`, killed or interrupted at any moment and called again, ends as if nothing had happened."""

import json
import os
import random
import signal
import time
from contextlib import suppress

import nbformat
import psutil
from house import FIGURE, table_of

KILLS = 20
NAMES = ["01_one", "02_two", "03_three", "04_four"]
FILES = {".lock", *(f"{name}.{kind}" for name in NAMES for kind in ("ipynb", "json"))}


def test_twenty_kills_change_nothing(house):
    for number, name in enumerate(NAMES):
        house.notebook(name, f"import time\ntime.sleep({number / 2})", FIGURE, "sum(range(10**6))")
    wanted, seconds = undisturbed(house)
    outputs = outputs_of(house)
    draw, kills, ends = random.Random(0), 0, 0
    clear(house)
    while kills < KILLS:
        process = house.start("run")
        at_work(house, process)
        time.sleep(draw.uniform(0, seconds))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        house.wait_until_empty()  # neither a worker nor a kernel outlives the run
        output, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors  # no run fails by itself
        check_no_half_file(house)
        if process.returncode == 0:
            ends += 1
            assert table_of(output) == wanted
            clear(house)
    final, _ = undisturbed(house)
    assert final == wanted and outputs_of(house) == outputs
    assert {path.name for path in house.build.iterdir()} == FILES
    print(f"{kills} kills, {ends + 1} runs that came to their end")


def test_ctrl_c_ends_in_one_sentence_and_leaves_nothing(house):
    """As on a terminal: the signal goes to the whole group of processes; and once where the first kernel starts."""
    for name in NAMES:
        house.notebook(name, FIGURE, "import time\ntime.sleep(60)")
    for sign in (house.build / ".lock").exists, lambda: one_starts(house, "run.one"), lambda: half_done(house):
        process = house.start("run", before=["setsid"])
        (house.build / ".lock").unlink(missing_ok=True)
        while not sign():
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in output
        assert errors.strip() == "Interrupted: what is finished is kept, and the same command goes on from there."
        house.wait_until_empty()
        assert [path.name for path in house.build.iterdir()] == [".lock"]
        assert list((house.folder / "tmp").iterdir()) == []


def one_starts(house, words: str) -> bool:
    """Tell whether a process with these words in its command line is there."""
    with suppress(psutil.Error):
        return any(words in " ".join(process.cmdline()) for process in house.processes())
    return False


def half_done(house) -> bool:
    """Tell whether a notebook has come to its second cell."""
    return any("figure" in path.read_text() for path in (house.folder / "tmp").glob("tmp*/records.jsonl"))


def undisturbed(house) -> tuple[list[str], float]:
    """Run to the end; return the table, and the seconds that it took from the first sign of work."""
    process = house.start("run")
    begun = at_work(house, process)
    output, errors = process.communicate(timeout=600)
    seconds = time.monotonic() - begun
    assert process.returncode == 0 and not errors.strip(), errors
    house.wait_until_empty()
    return table_of(output), seconds


def at_work(house, process) -> float:
    """Wait for the first sign of work after the start of Python; return when it was."""
    (house.build / ".lock").unlink(missing_ok=True)
    while process.poll() is None and not (house.build / ".lock").exists():
        time.sleep(0.02)
    return time.monotonic()


def clear(house):
    for path in house.build.iterdir():
        path.unlink()


def check_no_half_file(house):
    """Whatever has its own name in ``build/`` is whole, and each record stands beside its notebook."""
    for path in house.build.glob("*.ipynb"):
        executed = nbformat.read(path, as_version=4)
        nbformat.validate(executed)
        assert "half of it" in str(executed.cells) and executed.metadata.papermill.exception is None
    for path in house.build.glob("*.json"):
        assert json.loads(path.read_text())["status"] == "passed" and path.with_suffix(".ipynb").exists()


def outputs_of(house) -> dict[str, str]:
    """Return what the executed notebooks show."""
    read = {name: nbformat.read(house.build / f"{name}.ipynb", as_version=4) for name in NAMES}
    return {name: str([cell.outputs for cell in executed.cells]) for name, executed in read.items()}
