"""Reviews through a local Ray: rows a second by CPUs and rows of a block, and a job that loses an actor and a node.

    .venv/bin/python bench/scale.py [--shared ../shared] [--rows 200000] [--quick]

Needs `ray[data]`, pyarrow and psutil. The same rows go through one and two processes of `octavo predict` with a thread
each, and through `octavo predict --ray` on a cluster of one and of two nodes of one CPU (its head has none). At the end
an actor is killed when a fifth of the parts is there, and a node is taken away at two fifths: every row has to be there
once, with the answer of `octavo predict`. Processes of the cluster are watched: their memory every second. Writes
bench/results/scale-<kind of CPU>.json; half an hour on two quiet cores. --quick takes 4,000 rows, some minutes, and
writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
import ray
from ray.cluster_utils import Cluster

import octavo
import octavo.ray
from machine import machine, results_file

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = (2048, 8192)  # rows; 8192 is the default


def write_rows(shared: Path, place: Path, rows: int) -> Path:
    """Reviews as JSON lines, each with its number, again from the first where there are not as many."""
    names = ("train_60k.tsv", "test.tsv")
    texts = [one.text for name in names for one in octavo.read_examples(shared / "data/nsmc" / name)]
    with place.open("w", encoding="utf-8") as stream:
        for number in range(rows):
            line = {"id": number, "text": texts[number % len(texts)]}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    return place


def halves(file: Path) -> list[Path]:
    """The lines of a file in two files, in turns."""
    places = [file.with_name(f"half-{part}.jsonl") for part in (0, 1)]
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for part, place in enumerate(places):
        place.write_text("".join(lines[part::2]), encoding="utf-8")
    return places


def predict(model: Path, files: list[Path], work: Path) -> float:
    """Seconds of processes of `octavo predict`, one for each file, with one thread each."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "octavo", "predict", model, file, "-o", work / f"{file.stem}.answers.jsonl"],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        for file in files
    ]
    assert [one.wait() for one in running] == [0] * len(files)
    return time.perf_counter() - start


def actors(nodes: list[Any]) -> list[psutil.Process]:
    """The processes of the actors that work on nodes of this script's cluster."""
    raylets = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes]
    workers = [one for raylet in raylets for one in raylet.children(recursive=True)]
    return [one for one in workers if "BlockPredictor" in " ".join(one.cmdline())]


class Watch:
    """Looks at a job every second: the memory of its actors, and what is to happen when so many parts are there."""

    def __init__(self, cluster: Cluster, nodes: list[Any], output: Path, events: dict[int, Callable[[], None]]) -> None:
        self.cluster, self.nodes, self.output, self.events = cluster, nodes, output, events
        self.mebibytes: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(1.0):
            try:
                self.mebibytes.append(sum(one.memory_info().rss for one in actors(self.nodes)) / 2**20)
            except psutil.Error:
                continue
            there = len(list(self.output.glob("part-*")))
            for number in [number for number in self.events if number <= there]:
                with contextlib.suppress(psutil.Error, IndexError):  # none at this moment: again in a second
                    self.events[number]()
                    del self.events[number]


def on_ray(model: Path, file: Path, output: Path, cpus: int, *, block: int, loses: bool = False) -> dict[str, Any]:
    """A job on a cluster of so many nodes of one CPU."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(cpus)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    blocks = -(-sum(1 for _ in file.open("rb")) // block)
    happened: dict[str, int] = {}

    def kill() -> None:
        actors(nodes)[0].kill()
        happened["actor_killed_at_part"] = len(list(output.glob("part-*")))

    def remove() -> None:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        happened["node_removed_at_part"] = len(list(output.glob("part-*")))

    try:
        with Watch(cluster, nodes, output, {blocks // 5: kill, 2 * blocks // 5: remove} if loses else {}) as watch:
            start = time.perf_counter()
            done = octavo.ray.predict_files(model, [file], output, block_rows=block)
            seconds = time.perf_counter() - start
    finally:
        ray.shutdown()
        cluster.shutdown()
    quarter = max(1, len(watch.mebibytes) // 4)
    flat = [
        round(max(part), 1) for part in (watch.mebibytes[quarter : 2 * quarter], watch.mebibytes[-quarter:]) if part
    ]
    assert len(happened) == (2 if loses else 0), f"the job was over before it lost anything: {happened}"
    return {
        "cpus": cpus,
        "block_rows": block,
        "rows": done.rows,
        "seconds": seconds,
        "mebibytes_in_the_second_and_the_last_quarter": flat,
        **happened,
    }


def compare(alone: Path, output: Path) -> dict[str, int]:
    """How many rows of a job are missing, there twice, or other than those of `octavo predict`."""
    expected = [json.loads(line) for line in alone.read_text(encoding="utf-8").splitlines()]
    parts = sorted(output.glob("part-*"))
    found = [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    by_id = {row["id"]: row for row in found}
    differ = sum(by_id.get(row["id"]) != row | {"error": None} for row in expected)
    return {"rows": len(found), "twice": len(found) - len(by_id), "missing_or_different": differ}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--quick", action="store_true", help="4,000 rows, two sizes of blocks")
    args = parser.parse_args()
    rows, blocks = (4000, (200, 1000)) if args.quick else (args.rows, BLOCKS)
    usual = 200 if args.quick else 8192
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}  # the second as --ray has it
    os.environ.pop("OMP_NUM_THREADS", None)
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as box:
        work = Path(box)
        model = octavo.quantize(args.shared / "models/ko-sentiment", work / "int8").folder
        file = write_rows(args.shared, work / "reviews.jsonl", rows)
        parts = halves(file)
        seconds = {"1": [predict(model, [file], work)], "2": [predict(model, parts, work)]}
        print("seconds of octavo predict, by processes:", seconds, flush=True)
        alone = work / "reviews.answers.jsonl"
        jobs = [(2, usual)] + [(1, block) for block in blocks] + [(2, usual)]
        record["ray"] = []
        for number, (cpus, block) in enumerate(jobs):
            output = work / f"job-{number}"
            found = on_ray(model, file, output, cpus, block=block) | compare(alone, output)
            found["rows_per_second"] = found["rows"] / found["seconds"]
            record["ray"].append(found)
            print(json.dumps(found), flush=True)
        seconds["2"].append(predict(model, parts, work))  # before and after, as a machine is not the same for an hour
        record["predict_processes"] = {count: rows * len(each) / sum(each) for count, each in seconds.items()}
        print("rows a second of octavo predict, by processes:", record["predict_processes"], seconds, flush=True)
        found = on_ray(model, file, work / "lost", 2, block=usual, loses=True)
        record["lost"] = found | compare(alone, work / "lost")
        print(json.dumps(record["lost"]), flush=True)
    both = [job["rows_per_second"] for job in record["ray"] if job["cpus"] == 2]  # before and after, too
    record["share_of_two_processes"] = sum(both) / len(both) / record["predict_processes"]["2"]
    print("of two processes:", record["share_of_two_processes"])
    record |= {"machine": machine("ray", "pyarrow", threads=None), "row_count": rows}
    if not args.quick:
        place = results_file("scale")
        place.write_text(json.dumps({"scale": record}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
