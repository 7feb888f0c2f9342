"""The processes of one run end together, and no others; their memory is counted as one."""

import os
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from course_tools.run import family
from course_tools.run.family import MARK, end_family, resident_gigabytes

NAP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def start():
    """Return a function that starts a command in the family of a file; what is left is killed after the test."""
    started = []

    def begin(records, *command):
        started.append(subprocess.Popen(command, env=os.environ | {MARK: records}, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_the_processes_of_a_file_are_killed_and_those_of_another_live(start):
    ours, ours_too, other = start("a.jsonl", *NAP), start("a.jsonl", *NAP), start("b.jsonl", *NAP)
    end_family("a.jsonl")
    assert [psutil.pid_exists(process.pid) for process in (ours, ours_too, other)] == [False, False, True]


def test_the_process_that_ends_a_family_is_spared(start):
    command = "from course_tools.run.family import end_family\nend_family('a.jsonl')\nprint('at its end')"
    assert start("a.jsonl", sys.executable, "-c", command).communicate(timeout=60)[0] == "at its end\n"


class Process:
    """Stands for a process of the family, or for one that is closed to us or has just ended."""

    def __init__(self, error=None, size=0):
        self.pid, self.error, self.size, self.killed = -1, error, size, 0

    def environ(self):
        return {MARK: "a.jsonl"}

    def kill(self):
        self.killed += 1
        if self.error:
            raise self.error

    def memory_info(self):
        if self.error:
            raise self.error
        return SimpleNamespace(rss=self.size)


def test_a_process_that_has_just_ended_keeps_no_other_alive(monkeypatch):
    ended, alive, waited = Process(psutil.NoSuchProcess(1)), Process(), []
    rounds = [[ended, alive], [alive], [], [alive]]  # what the first started meanwhile is found in the second
    monkeypatch.setattr(family.psutil, "process_iter", lambda: rounds.pop(0))
    monkeypatch.setattr(family.psutil, "wait_procs", lambda processes, timeout: waited.append(list(processes)))
    end_family("a.jsonl")
    assert (ended.killed, alive.killed, len(rounds)) == (1, 2, 1) and waited == [[ended, alive], [alive]]


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), PermissionError(), psutil.ZombieProcess(1)])
def test_a_process_that_is_closed_to_us_is_none_of_the_family(monkeypatch, error):
    closed, alive = Process(), Process()
    closed.environ = lambda: (_ for _ in ()).throw(error)
    rounds = [[closed, alive], []]
    monkeypatch.setattr(family.psutil, "process_iter", lambda: rounds.pop(0))
    monkeypatch.setattr(family.psutil, "wait_procs", lambda processes, timeout: None)
    end_family("a.jsonl")
    assert (closed.killed, alive.killed) == (0, 1)


def test_memory_is_that_of_all_below_the_runner_without_those_that_ended():
    below = [Process(size=1_500_000_000), Process(psutil.NoSuchProcess(1)), Process(size=250_000_000)]
    runner = SimpleNamespace(children=lambda recursive=False: below if recursive else below[:1])
    assert resident_gigabytes(runner) == 1.75
    gone = SimpleNamespace(children=lambda recursive: (_ for _ in ()).throw(psutil.NoSuchProcess(1)))
    assert resident_gigabytes(gone) == 0
