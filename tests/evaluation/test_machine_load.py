import os
import time
from pathlib import Path

import pytest

from octavo.evaluation import benchmark, machine_load
from octavo.evaluation.comparison import DataFile, compare
from octavo.evaluation.machine_load import Cores, Usage, queue_seconds, read_cores, worst_load
from octavo.schema.budget import Budget
from octavo.schema.comparison import MachineLoad

PAIRS = Path(__file__).parents[2] / "examples" / "korean-nli" / "pairs.tsv"
STAT = """cpu  900 0 100 99900 0 0 0 0 0 0
cpu0 100 20 30 800 7 3 4 36 0 0
cpu1 200 0 50 700 0 0 0 50 0 0
cpu2 500 0 0 500 0 0 0 0 0 0
intr 12345 0 0
"""
START = Usage(wall=2.0, cpu=2.0, all_cpu=5.0, waited=1.0)
QUIET = Usage(wall=12.0, cpu=12.0, all_cpu=15.0, waited=1.0)


def load(foreign=0.0, stolen=0.0, waited=0.0, idle=0.0):
    """Of a model that ran for 10 of 20 seconds of two cores, with so much of the rest."""
    cores = Cores(100.0, 50.0, 3.0), Cores(140.0, 50.0 + 11.0 + 40 * foreign, 3.0 + 40 * stolen)
    end = Usage(12.0, 12.0 - 10 * idle, 15.0, 1.0 + 10 * waited / (1 - waited))
    return machine_load.machine_load(cores, 11.0, (START, end))


@pytest.fixture
def proc(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    (tmp_path / "stat").write_text(STAT)
    return tmp_path


def test_the_cores_that_may_be_used_are_counted(proc):
    """/proc/stat is in hundredths of a second: user, nice, system, idle, iowait, irq, softirq, steal."""
    found = read_cores(proc)
    assert found.ran == pytest.approx(1.57 + 2.5)
    assert found.stolen == pytest.approx(0.86)
    assert found.total == pytest.approx(10.0 + 10.0)


@pytest.mark.parametrize("text", ["", "cpu0 1 2\n", "cpu7 1 2 3 4 5 6 7 8\n", "cpu0 a b c d e f g h\n"])
def test_counts_that_cannot_be_read_are_not_guessed(proc, text):
    (proc / "stat").write_text(text)
    assert read_cores(proc) is None
    assert read_cores(proc / "nowhere") is None
    assert queue_seconds(proc) is None


def test_waiting_is_that_of_all_threads(tmp_path):
    for thread, waited in (("11", 250_000_000), ("12", 1_500_000_000)):
        (tmp_path / "self" / "task" / thread).mkdir(parents=True)
        (tmp_path / "self" / "task" / thread / "schedstat").write_text(f"7 {waited} 3\n")
    assert queue_seconds(tmp_path) == 1.75


def test_what_this_process_ran_is_in_the_counts_of_the_machine():
    """The real ones: a second of our own time is a second of the cores', so it can be taken off."""
    before, own = read_cores(), time.process_time()
    while time.process_time() - own < 0.5:
        pass
    after = read_cores()
    assert after.ran - before.ran > 0.4
    assert after.total > before.total


def test_own_work_is_not_foreign():
    found = load()
    assert found == MachineLoad(busy=False, waiting=0.0, idle=0.0, foreign=0.0, stolen=0.0)
    cores = Cores(100.0, 50.0, 3.0), Cores(140.0, 61.0, 3.0)
    assert machine_load.machine_load(cores, 0.0, (START, QUIET)).foreign == pytest.approx(11 / 40)


@pytest.mark.parametrize(
    ("name", "share", "limit"),
    [
        ("foreign", "foreign", "MOST_FOREIGN"),
        ("stolen", "stolen", "MOST_STOLEN"),
        ("waited", "waiting", "MOST_WAITING"),
        ("idle", "idle", "MOST_IDLE"),
    ],
)
def test_each_limit_decides(monkeypatch, name, share, limit):
    most = getattr(machine_load, limit)
    for given, busy in ((0.9 * most, False), (1.1 * most, True)):
        found = load(**{name: given})
        assert getattr(found, share) == pytest.approx(given)
        assert found.busy is busy
    monkeypatch.setattr(machine_load, limit, 2 * most)
    assert load(**{name: 1.1 * most}).busy is False


def test_too_little_time_says_nothing(monkeypatch):
    cores = Cores(100.0, 50.0, 3.0), Cores(100.4, 50.4, 3.0)
    assert machine_load.machine_load(cores, 0.0, (START, QUIET)) == MachineLoad(False, 0.0, 0.0)
    monkeypatch.setattr(machine_load, "FEWEST_SECONDS", 0.3)
    assert machine_load.machine_load(cores, 0.0, (START, QUIET)).busy is True


def test_where_nothing_is_counted_it_is_not_known():
    begin, end = Usage(2.0, 2.0, 5.0, None), Usage(12.0, 12.0, 15.0, None)
    assert machine_load.machine_load((None, None), 11.0, (begin, end)) == MachineLoad(None, idle=0.0)
    slow = Usage(12.0, 9.0, 15.0, None)
    assert machine_load.machine_load((None, None), 11.0, (begin, slow)).busy is True, "CPU time is known everywhere"
    assert machine_load.machine_load((None, None), 11.0, (begin, slow), on_cpu=False) == MachineLoad(None)


def test_a_thread_that_ended_is_no_negative_waiting():
    end = Usage(12.0, 12.0, 15.0, 0.2)
    assert machine_load.machine_load((None, None), 0.0, (START, end)) == MachineLoad(False, 0.0, 0.0)


def test_the_load_of_a_comparison_is_that_of_its_worst_model():
    quiet, unknown = MachineLoad(False, 0.01, 0.0, 0.02, 0.0), MachineLoad(None, idle=0.1)
    assert worst_load([quiet, MachineLoad(True, 0.3, None, 0.02, 0.0)]) == MachineLoad(True, 0.3, 0.0, 0.02, 0.0)
    assert worst_load([quiet, unknown]) == MachineLoad(None, 0.01, 0.1, 0.02, 0.0)
    assert worst_load([quiet, quiet]) == quiet
    assert worst_load([]) == MachineLoad(None)


def test_a_comparison_on_a_busy_machine_decides_quality_and_no_speed(monkeypatch, demo_float, demo_int8):
    asked = []

    def busy(cores, own, usage, *, on_cpu):
        asked.append((cores, own, usage, on_cpu))
        return MachineLoad(True, waiting=0.4)

    monkeypatch.setattr(benchmark, "machine_load", busy)
    found = compare(demo_float, [demo_int8], data=DataFile(PAIRS, limit=40, max_length=16), threads=1)
    assert found.load == MachineLoad(True, waiting=0.4)
    for limit in (0.01, 1000.0):
        judged = found.under(Budget(min_speedup=limit, max_drop=60.0))
        checks = {check.name: check.verdict for check in judged.rows[1].judgement.checks}
        assert checks == {"min_speedup": "UNSURE", "max_drop": "PASS"}
        assert judged.to_dict()["verdict"] == "UNSURE"
    assert len(asked) == 2
    for (before, after), own, (begin, end), on_cpu in asked:
        assert on_cpu
        assert 0 < end.cpu - begin.cpu <= end.all_cpu - begin.all_cpu < own
        assert end.wall > begin.wall
        assert own < 1.2 * (after.ran - before.ran) + 0.2, "the machine ran at least what Octavo ran"
