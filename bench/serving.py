"""The recipes for servers under load: latencies, rows a second, memory, whether answers have the bytes of a text alone.

    .venv/bin/python bench/serving.py [--shared ../shared] [--clients 64] [--seconds 60] [--only fastapi others]

Needs fastapi, uvicorn and psutil; `others`, which are Ray Serve and LitServe with one run each, `ray[serve]` and
litserve. Each client asks one review after the other; they run on the same cores as the server, which a second machine
would find faster. FastAPI with a budget of one token is the one without batches; it serves the stock tool's file too,
quantize_dynamic of the float artifact's graph. Two runs of each, in turns. At the end one that is at work gets a
SIGTERM. Writes bench/results/serving-<kind of CPU>.json; with --quick all is short, and nothing is written.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import octavo
from dynamic import stock
from machine import machine, results_file
from octavo.files import sha256_of
from octavo.hardware import this_cpu

ROOT = Path(__file__).resolve().parents[1]
HEADERS = {"Content-Type": "application/json"}
PACKAGES = ("fastapi", "uvicorn", "ray", "litserve")
PARTS = 4  # of a run, between which the memory is read


RAY = """
import sys, time, ray
from ray import serve
from ray_serve_server import build
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
serve.run(build({"model": sys.argv[1]}))
time.sleep(3600)
"""
COMMANDS = {
    "fastapi": ["-m", "uvicorn", "fastapi_server:app", "--log-level", "error", "--port", "PORT"],
    "Ray Serve": ["-c", RAY, "MODEL", "PORT"],
    "LitServe": ["litserve_server.py", "PORT"],
}


class Server:
    """A recipe in processes of its own."""

    def __init__(self, model: Path, recipe: str, **limits: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [{"PORT": str(self.port), "MODEL": str(model)}.get(word, word) for word in COMMANDS[recipe]]
        place = ROOT / "examples/serving"
        path = os.pathsep.join([str(place), *filter(None, sys.path)])
        environment = os.environ | {"MODEL": str(model), "PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"} | limits
        self.process = subprocess.Popen(
            [sys.executable, *words], cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not self.is_up():
            if self.process.poll() is not None:
                raise SystemExit(f"{recipe} ended as it began")
            time.sleep(0.2)

    def is_up(self) -> bool:
        """Whether a model answers there: nothing asked is an error of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("POST", "/predict", b"{}", HEADERS)
            return connection.getresponse().status in {422, 500}
        except (OSError, http.client.HTTPException):
            return False

    def mebibytes(self) -> float:
        """Resident memory, of its children too."""
        kin = [psutil.Process(self.process.pid)]
        kin += kin[0].children(recursive=True)
        return float(sum(one.memory_info().rss for one in kin)) / 2**20


def ask(connection: http.client.HTTPConnection, text: str) -> tuple[int, bytes]:
    connection.request("POST", "/predict", json.dumps({"inputs": text}).encode(), HEADERS)
    answer = connection.getresponse()
    return answer.status, answer.read()


def load(server: Server, texts: list[str], clients: int, seconds: float) -> list[tuple[float, int, str, bytes]]:
    """What each request took, its status, its text and its answer."""
    found: list[tuple[float, int, str, bytes]] = []
    end = time.monotonic() + seconds

    def client(seed: int) -> None:
        draw, connection = random.Random(seed), http.client.HTTPConnection("127.0.0.1", server.port)
        time.sleep(draw.random())  # they do not come in step
        while time.monotonic() < end:
            text, start = draw.choice(texts), time.perf_counter()
            try:
                status, body = ask(connection, text)
            except (OSError, http.client.HTTPException):
                found.append((0.0, 0, text, b""))
                return
            found.append((time.perf_counter() - start, status, text, body))

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return found


def end(server: Server, texts: list[str], clients: int) -> dict[str, int]:
    """What became of requests, each of a connection of its own, around a SIGTERM; and the exit code."""
    counts, stop = collections.Counter[str](), threading.Event()

    def client(seed: int) -> None:
        draw = random.Random(seed)
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            try:
                connection.connect()
            except OSError:
                counts["refused"] += 1
                return
            try:
                counts[str(ask(connection, draw.choice(texts))[0])] += 1
            except (OSError, http.client.HTTPException) as error:
                counts[type(error).__name__] += 1
            connection.close()

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    [thread.start() for thread in threads]
    time.sleep(2)
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(60)
    stop.set()
    [thread.join() for thread in threads]
    return {"exit_code": code} | counts


def stock_artifact(plain: Path, folder: Path) -> Path:
    """The float artifact with the stock tool's file in the place of its graph."""
    shutil.copytree(plain, folder)
    file = stock(plain / "model.onnx", folder.with_name("stock-file"), reduce_range=this_cpu().saturates) / "model.onnx"
    shutil.copy(file, folder / "model.onnx")
    manifest = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    manifest["files"]["model.onnx"] |= {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    (folder / "octavo.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    return folder


def measure(model: Path, texts: list[str], args: Any, recipe: str, **limits: str) -> dict[str, Any]:
    server = Server(model, recipe, **limits)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    alone = {text: ask(connection, text)[1] for text in texts}
    load(server, texts, args.clients, min(5, args.seconds))  # warm up
    found, memory = list[tuple[float, int, str, bytes]](), [server.mebibytes()]
    for _ in range(PARTS):
        found += load(server, texts, args.clients, args.seconds / PARTS)
        memory.append(server.mebibytes())
    ended = end(server, texts, args.clients) if recipe == "fastapi" else None
    if ended is None:
        kin = psutil.Process(server.process.pid).children(recursive=True)
        server.process.terminate()
        server.process.wait(60)
        [one.kill() for one in psutil.wait_procs(kin, 10)[1]]  # LitServe leaves its workers
    seconds = np.array([one[0] for one in found if one[1] == 200]) * 1000
    return {
        "limits": limits,
        "requests": len(found),
        "statuses": {str(status): sum(one[1] == status for one in found) for status in {one[1] for one in found}},
        "rows_per_second": len(seconds) / args.seconds,
        "milliseconds": dict(zip(("p50", "p95", "p99"), np.percentile(seconds, [50, 95, 99]).round(2), strict=True)),
        "bytes_differ": sum(one[1] == 200 and one[3] != alone[one[2]] for one in found),
        "mebibytes": [round(one, 1) for one in memory],
        "sigterm": ended,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", nargs="*", choices=("fastapi", "others"), default=["fastapi", "others"])
    parser.add_argument("--quick", action="store_true", help="eight clients, four seconds, one run of each")
    args = parser.parse_args()
    if args.quick:
        args.clients, args.seconds = 8, 4
    examples = octavo.read_examples(args.shared / "data/nsmc/test.tsv")[:400]
    texts = sorted({example.text for example in examples})
    place = results_file("serving")
    before = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    alike = before.get("clients") == args.clients and before.get("seconds") == args.seconds
    runs = before["runs"] if alike and before["machine"]["cpu"] == this_cpu().name else {}
    with tempfile.TemporaryDirectory() as work:
        exported = octavo.export(args.shared / "models/ko-sentiment")
        model = octavo.quantize(exported, Path(work) / "int8").folder
        plain = octavo.quantize(exported, Path(work) / "float", recipe=octavo.Recipe(method="float")).folder
        other = stock_artifact(plain, Path(work) / "stock")
        alone = ("one text at a time", model, "fastapi", {"TOKENS": "1"})
        ways = [("batches", model, "fastapi", {}), alone, ("stock, batches", other, "fastapi", {})]
        ways = ways * (1 if args.quick else 2) if "fastapi" in args.only else []
        ways += [(name, model, name, {}) for name in ("Ray Serve", "LitServe") if "others" in args.only]
        runs |= {name: [] for name, *_ in ways}
        for name, served, recipe, limits in ways:
            runs[name].append(measure(served, texts, args, recipe, **limits))
            print(name, json.dumps(runs[name][-1]), flush=True)
    record = {
        "machine": machine(*PACKAGES, threads=None),
        "clients": args.clients,
        "seconds": args.seconds,
        "runs": runs,
    }
    if not args.quick:
        place.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
