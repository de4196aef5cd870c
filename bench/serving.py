"""The FastAPI recipe under load: latencies, rows a second, memory, and whether answers have the bytes of a text alone.

    .venv/bin/python bench/serving.py [--shared ../shared] [--clients 64] [--seconds 60] [--quick]

Needs fastapi and uvicorn. Each client asks one review after the other; they run on the same cores as the server, which
a second machine would find faster. The same server with a budget of one token is the one without batches. Two runs of
each, in turns. At the end one that is at work gets a SIGTERM. Writes bench/results/serving-<kind of CPU>.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import octavo
from octavo.hardware import this_cpu, usable_cores

ROOT = Path(__file__).resolve().parents[1]
HEADERS = {"Content-Type": "application/json"}


class Server:
    """The recipe in a process of its own."""

    def __init__(self, model: Path, **limits: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "fastapi_server:app", "--port", str(self.port)]
        environment = os.environ | {"MODEL": str(model)} | limits
        self.process = subprocess.Popen(
            [*command, "--log-level", "error"], cwd=ROOT / "examples/serving", env=environment
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.2)
            else:
                return

    def mebibytes(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


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


def measure(model: Path, texts: list[str], args: Any, **limits: str) -> dict[str, Any]:
    server = Server(model, **limits)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    alone = {text: ask(connection, text)[1] for text in texts}
    load(server, texts, args.clients, min(5, args.seconds))  # warm up
    before = server.mebibytes()
    found = load(server, texts, args.clients, args.seconds)
    after = server.mebibytes()
    ended = threading.Timer(1.0, lambda: server.process.send_signal(signal.SIGTERM))
    ended.start()
    last = load(server, texts, args.clients, 4)  # refused connections are status 0 without an answer begun
    code = server.process.wait(60)
    seconds = np.array([one[0] for one in found if one[1] == 200]) * 1000
    return {
        "limits": limits,
        "requests": len(found),
        "statuses": {str(status): sum(one[1] == status for one in found) for status in {one[1] for one in found}},
        "rows_per_second": len(seconds) / args.seconds,
        "milliseconds": dict(zip(("p50", "p95", "p99"), np.percentile(seconds, [50, 95, 99]).round(2), strict=True)),
        "bytes_differ": sum(one[1] == 200 and one[3] != alone[one[2]] for one in found),
        "mebibytes": [round(before, 1), round(after, 1)],
        "sigterm": {"exit_code": code, "answered": sum(one[1] == 200 for one in last)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="eight clients, four seconds, one run of each")
    args = parser.parse_args()
    if args.quick:
        args.clients, args.seconds = 8, 4
    examples = octavo.read_examples(args.shared / "data/nsmc/test.tsv")[:400]
    texts = sorted({example.text for example in examples})
    runs: dict[str, list[dict[str, Any]]] = {"batches": [], "one text at a time": []}
    with tempfile.TemporaryDirectory() as work:
        model = octavo.quantize(args.shared / "models/ko-sentiment", Path(work) / "int8").folder
        for _ in range(1 if args.quick else 2):
            for name, limits in (("batches", {}), ("one text at a time", {"TOKENS": "1"})):
                runs[name].append(measure(model, texts, args, **limits))
                print(name, json.dumps(runs[name][-1]))
    cpu = this_cpu()
    versions = {name: version(name) for name in ("octavo", "onnxruntime", "fastapi", "uvicorn")}
    record = {"cpu": cpu.name, "kind": cpu.kind, "cores": usable_cores(), "versions": versions}
    record |= {"clients": args.clients, "seconds": args.seconds, "runs": runs}
    if not args.quick:
        place = ROOT / "bench" / "results" / f"serving-{cpu.kind}.json"
        place.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
