"""The process of one row of a comparison: it loads one model and runs the batches that it is asked for.

It reads one JSON request a line and answers with one: `{"run": [batch numbers], "keep": file or null}` runs batches and
answers with the seconds of each, and the CPU time of all; `{"single": [[batch, row], ...]}` runs these rows alone,
without their padding; `{"texts": n}` answers with the seconds from the first n texts to their answers, read ahead as
`octavo.predict` reads; `{"usage": true}` asks what the process took since it started. While it waits it uses no CPU.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from octavo.checkpoint.source import Checkpoint
from octavo.encoding.batching import Encoded
from octavo.encoding.tokenizing import Asked, Row, keep_tokenizers_to
from octavo.engines import Session, run_batches, runs_torch
from octavo.errors import OctavoError
from octavo.evaluation.machine_load import queue_seconds
from octavo.evaluation.writers import AnsweringSession, ScoringSession
from octavo.inference.ahead import ahead
from octavo.inference.generator import Generator
from octavo.inference.opening import load, open_session
from octavo.inference.predictor import ROWS_AT_ONCE, Predictor
from octavo.schema.signature import Signature
from octavo.tasks import find_task


def open_contender(spec: dict[str, Any], signature: Signature) -> Session:
    """The session of a contender; of a model that writes one that scores windows of texts, or answers texts."""
    settings = signature.task, spec["tokenizer"], (), spec["target_tokenizer"], tuple(spec["ignore_weights"])
    checkpoint = Checkpoint(spec["path"], *settings)
    engine, threads, task = spec["engine"], spec["threads"], find_task(signature)
    if not task.writes:
        return open_session(checkpoint, engine, threads, signature=signature, home=Path(spec["home"]))
    generator = load(checkpoint if runs_torch(engine) else checkpoint.path, engine=engine, threads=threads)
    assert isinstance(generator, Generator)
    return ScoringSession(generator.session, signature.max_length) if task.continues else AnsweringSession(generator)


def main() -> None:
    """Serve the requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    spec = json.loads(sys.stdin.readline())
    try:
        signature = Signature.model_validate(spec["signature"])
        session, predictor = open_contender(spec, signature), None
        keep_tokenizers_to(spec["threads"])
        with np.load(spec["batches"], allow_pickle=False) as stored:  # read batch by batch: it may be large
            print(json.dumps({"ready": True}), file=answers, flush=True)
            for line in sys.stdin:
                request = json.loads(line)
                if "texts" in request:
                    if predictor is None:
                        texts = json.loads(Path(spec["texts"]).read_text(encoding="utf-8"))
                        predictor = Predictor(session, texts["tokenizer_json"], signature)
                    answer = {"seconds": answer_texts(predictor, texts["rows"][: request["texts"]])}
                else:
                    answer = _serve(session, stored, signature.input_names, request)
                print(json.dumps(answer), file=answers, flush=True)
    except OctavoError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}), file=answers, flush=True)


def answer_texts(predictor: Predictor, rows: Sequence[Row]) -> float:
    """Answer rows as a predictor does, but for parsing them; the seconds that it took."""
    task, tokenizer, start = predictor.task, predictor.tokenizer, time.perf_counter()
    if rows and isinstance(rows[0][1], list):  # queries with their passages; or texts with their choices
        task = task.ranking() or task

    def windows() -> Iterator[tuple[Sequence[Row], list[Encoded]]]:
        for first in range(0, len(rows), ROWS_AT_ONCE):
            window = rows[first : first + ROWS_AT_ONCE]
            yield window, task.encode(tokenizer, window)

    for window, encoded in ahead(windows()):
        answers = task.read(predictor.run(encoded), Asked(window, encoded, tokenizer))
        if not task.fills:  # of a text without a mask the comparison hides a token, and `predict` does not
            task.decode(answers)
    return time.perf_counter() - start


def _serve(session: Session, stored: Any, names: Sequence[str], request: dict[str, Any]) -> dict[str, Any]:
    if "peak" in request:
        return {"peak": peak_bytes()}
    if "usage" in request:
        return {"all_cpu": time.process_time(), "waited": queue_seconds()}
    if "single" in request:
        numbers = [index for index, _ in request["single"]]
        inputs = [_single_row(stored, names, index, row) for index, row in request["single"]]
    else:
        numbers = request["run"]
        inputs = [{name: stored[f"{name}/{index}"] for name in names} for index in numbers]
    cpu = 0.0
    if session.streams > 1 and "run" in request:  # several at once: only their sum can be measured
        start, before = time.perf_counter(), time.process_time()
        outputs = run_batches(session, inputs)
        cpu = time.process_time() - before
        seconds = [(time.perf_counter() - start) / len(inputs)] * len(inputs)
    else:
        seconds, outputs = [], []
        scoring = session if isinstance(session, ScoringSession) else None  # its own arithmetic is not the model's time
        for batch in inputs:
            before, start = time.process_time(), time.perf_counter()
            output = scoring.logits(batch) if scoring else session.run(batch)
            seconds.append(time.perf_counter() - start)
            cpu += time.process_time() - before
            outputs.append(scoring.score(batch, output) if scoring else output)
    if request.get("keep"):
        kept: dict[str, Any] = dict(zip(map(str, numbers), outputs, strict=True))
        np.savez(request["keep"], **kept)  # Any: the stub takes `**` for allow_pickle
    return {"seconds": seconds, "cpu": cpu}


def peak_bytes() -> int:
    """The most memory that this process held; what it inherited from its parent is not in Linux's VmHWM."""
    status = Path("/proc/self/status")
    text = status.read_text(encoding="ascii", errors="replace") if status.exists() else ""
    if match := re.search(r"VmHWM:\s+(\d+) kB", text):
        return 1024 * int(match[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _single_row(stored: Any, names: Sequence[str], index: int, row: int) -> dict[str, Any]:
    """One row of a batch, without its padding."""
    length = int(stored[f"attention_mask/{index}"][row].sum())
    return {name: stored[f"{name}/{index}"][row : row + 1, :length] for name in names}


if __name__ == "__main__":
    main()
