"""A process of its own for one row of a comparison: it loads one model, and runs the batches that it is told to.

It reads one JSON request a line and answers with one: `{"run": [batch numbers], "keep": file or null}` runs batches and
answers with the seconds of each; `{"single": [[batch, row], ...]}` runs these rows alone, without their padding.
While it waits it uses no CPU.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from octavo.engines import Session


def open_contender(spec: dict[str, Any]) -> Session:
    """The session of a contender: an artifact's model file in an engine, or a checkpoint in torch."""
    if spec["engine"] == "torch":
        from octavo.source import Checkpoint, load_model, read_source

        model = load_model(read_source(Checkpoint(spec["path"], spec["task"], spec["tokenizer"])))
        from octavo.engines.torch import TorchSession

        return TorchSession(model, spec["threads"])
    from octavo.engines import find_engine

    path = Path(spec["path"])
    session: Session = find_engine(spec["engine"])(path if path.is_file() else path / "model.onnx", spec["threads"])
    return session


def main() -> None:
    """Serve the requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    spec = json.loads(sys.stdin.readline())
    from octavo.errors import OctavoError

    try:
        session = open_contender(spec)
        with np.load(spec["batches"], allow_pickle=False) as stored:  # read batch by batch: it may be large
            print(json.dumps({"ready": True}), file=answers, flush=True)
            for line in sys.stdin:
                print(json.dumps(_serve(session, stored, spec["inputs"], json.loads(line))), file=answers, flush=True)
    except OctavoError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}), file=answers, flush=True)


def _serve(session: Session, stored: Any, names: list[str], request: dict[str, Any]) -> dict[str, Any]:
    single = "single" in request
    seconds, outputs = [], {}
    for chosen in request["single" if single else "run"]:
        index = chosen[0] if single else chosen
        inputs = {name: stored[f"{name}/{index}"] for name in names}
        if single:
            row = chosen[1]
            length = int(inputs["attention_mask"][row].sum())
            inputs = {name: array[row : row + 1, :length] for name, array in inputs.items()}
        start = time.perf_counter()
        found = session.run(inputs)
        seconds.append(time.perf_counter() - start)
        outputs[str(index)] = found
    if request.get("keep"):
        np.savez(request["keep"], **outputs)  # type: ignore[arg-type]  # the stub takes `**` for allow_pickle
    return {"seconds": seconds}


if __name__ == "__main__":
    main()
