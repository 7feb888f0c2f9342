"""Notebooks that never end, print without end or lose their kernel: told in a sentence, while the others go on."""

import json
import time

import psutil
from house import FIGURE, table_of

ENDLESS = "import time\nwhile True:\n    time.sleep(0.01)"
STUBBORN = """
import signal, subprocess, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["sleep", "600"])
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""
LINES = "for line in range(10**6):\n    print(f'{line:0100d}')"  # 100 MB
BLOCK = "print('x' * 10**8)"
SHOWN = "'y' * 10**8"
KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory is short"


def test_what_never_ends_is_stopped_with_its_kernel(house):
    house.notebook("01_endless", "print('before')", ENDLESS)
    house.notebook("02_stubborn", "print('before')", STUBBORN)
    code, output, errors = house.course("run", "--limit", "0.4")

    assert code == 1 and not errors.strip(), errors
    told = " ".join(output.split())
    assert told.count("The notebook was stopped after 0.4 minutes, 0.") == 2
    assert "01_endless failed in this cell: import time while True: time.sleep(0.01)" in told
    assert "`course run` allows more with --limit MINUTES, and asks for less with --profile smoke." in told
    house.wait_until_empty(seconds=2)  # also the process that the kernel had started
    assert "before" in (house.build / "01_endless.ipynb").read_text()  # what it had done is kept to look at


def test_endless_outputs_are_cut_and_a_lost_kernel_is_told(house):
    house.notebook("01_prints", LINES, BLOCK, SHOWN, "print('after')")
    house.notebook("02_killed", KILLED)
    house.notebook("03_good", FIGURE)
    process = house.start("run")
    largest = 0
    while process.poll() is None:
        largest = max([largest, *(memory(worker) for worker in house.processes())])
        time.sleep(0.2)
    output, errors = process.communicate()

    assert process.returncode == 1 and not errors.strip(), errors
    assert "02_killed failed in this cell:" in output and "os.kill(os.getpid()" in output
    assert "the kernel died in this cell; the system kills it when memory runs out" in " ".join(output.split())
    assert [row.split("│")[-2] for row in table_of(output)] == ["passed", "failed", "passed"]
    executed = json.loads((house.build / "01_prints.ipynb").read_text())
    for cell in executed["cells"][1:4]:
        assert "The output of this cell was cut after 4,000,000 characters." in str(cell["outputs"][-1])
    assert "".join(executed["cells"][4]["outputs"][0]["text"]) == "after\n"
    assert (house.build / "01_prints.ipynb").stat().st_size < 10e6
    print(f"the largest process took {largest / 2**20:.0f} MiB")
    assert largest < 2**30


def memory(process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has ended meanwhile
        return 0
