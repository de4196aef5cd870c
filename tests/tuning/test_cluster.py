"""A search whose measurements a Ray cluster makes: which nodes take part, and that figures are those of one machine."""

import os
import random
import sys
from types import SimpleNamespace

import pytest

from octavo.checkpoint.source import Checkpoint, read_source
from octavo.data.examples import read_examples
from octavo.errors import HardwareError
from octavo.hardware import Cpu, find_target, this_cpu
from octavo.schema.recipe import Recipe
from octavo.schema.search import FLOAT, Candidate, Speed
from octavo.tasks import find_task
from octavo.tuning import cluster
from octavo.tuning.cluster import ClusterWorkshop, Measuring, Node, checkpoint_of, matching
from octavo.tuning.measuring import Settings, Workshop
from octavo.tuning.splits import split_examples

NEW = Cpu("a new one", "x86_64", frozenset({"avx2", "avx512_vnni"}), 8)
OLD = Cpu("an old one", "x86_64", frozenset({"avx2"}), 8)


def test_nodes_of_one_kind_and_with_enough_cpus_take_part():
    assert NEW.kind != OLD.kind
    known = [Node("a", 8, NEW), Node("b", 16, OLD), Node("c", 2, NEW), Node("d", 8, NEW)]
    assert [one.id for one in matching(known, NEW, 4)] == ["a", "d"]
    with pytest.raises(
        HardwareError, match=r"no node .* got: an old one \(avx2\) with 16; allowed: .*vnni.* with 4 CPUs"
    ):
        matching(known[1:2], NEW, 4)


def test_timings_take_the_largest_node_and_its_cpu_is_recorded():
    shop = object.__new__(ClusterWorkshop)
    shop.nodes = [Node("a", 8, NEW), Node("c", 16, Cpu("larger", "x86_64", NEW.features, 16)), Node("d", 8, NEW)]
    assert shop.timed_on.id == "c"
    assert shop.cpu.name == "larger"
    assert object.__new__(Workshop).cpu == this_cpu()


def test_paths_are_whole_for_other_processes(tmp_path, monkeypatch):
    (tmp_path / "모델").mkdir()
    monkeypatch.chdir(tmp_path)
    source = SimpleNamespace(asked=Checkpoint("모델", "fill-mask", tokenizer="모델"))
    assert checkpoint_of(source) == Checkpoint(tmp_path / "모델", "fill-mask", tokenizer=tmp_path / "모델")
    assert checkpoint_of(SimpleNamespace(asked=Checkpoint("klue/roberta-base"))).path == "klue/roberta-base"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ray on its own libraries
def test_figures_are_those_of_one_machine(checkpoint, sentences, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # by default it writes a token into the user's home
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    words, draw = sorted({word for text in sentences for word in text.split()}), random.Random(3)
    lines = [f"{' '.join(draw.sample(words, 6))}\t{n % 3}" for n in range(200)]
    (tmp_path / "문장.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n", encoding="utf-8")
    source = read_source(checkpoint("bert"))
    task = find_task(source.signature)
    splits = split_examples(read_examples(tmp_path / "문장.tsv", labels=("0", "1", "2")), 0, None)
    settings = Settings(find_target("any"), 1)
    candidates = [FLOAT, Candidate(Recipe(method="dynamic"))]

    class Quick(Measuring):
        """Timed rounds of a second."""

        def speeds(self, asked, split):
            from octavo.evaluation import benchmark

            benchmark.ROUNDS_SECONDS, benchmark.SINGLE_ROWS, benchmark.PAUSE = 1.0, 10, 0.0
            return super().speeds(asked, split)

    monkeypatch.setattr(cluster, "Measuring", Quick)
    alone, shop = Workshop(source, task, splits, settings), ClusterWorkshop(source, task, splits, settings, None, None)
    try:
        assert list(shop.qualities(candidates, "selection", 40)) == list(alone.qualities(candidates, "selection", 40))
        assert len(shop.actors) == shop.timed_on.cpus
        (speed,) = shop.speeds(candidates[1:], "selection")
        assert isinstance(speed, Speed), speed
        assert shop.actors == []
    finally:
        shop.close()
        alone.close()
