"""A process for one contender of bench/engines.py: it loads a model, and runs and times what it is told to.

It reads one JSON request a line and answers with one line. It idles between requests.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np


class Torch:
    """A checkpoint in torch: fp32, bf16, or dynamic int8 (torch.ao)."""

    streams = 1

    def __init__(self, path, dtype, threads):
        import torch
        from transformers import AutoModel, AutoModelForSequenceClassification

        torch.set_num_threads(threads)
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
        head = any("Classification" in name for name in config["architectures"])
        kind = AutoModelForSequenceClassification if head else AutoModel
        model = kind.from_pretrained(path, dtype=torch.bfloat16 if dtype == "bf16" else torch.float32).eval()
        if dtype == "int8":
            model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
        self._torch, self._model = torch, model

    def run(self, inputs):
        with self._torch.inference_mode():
            found = self._model(**{name: self._torch.from_numpy(array) for name, array in inputs.items()})[0]
        return found.float().numpy()


def load(spec):
    if spec["engine"].startswith("torch"):
        return Torch(spec["path"], spec["engine"].partition(":")[2] or "fp32", spec["threads"])
    from octavo.engines import find_engine

    return find_engine(spec["engine"])(Path(spec["path"]), spec["threads"])


def main():
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spec = json.loads(sys.stdin.readline())
    start = time.perf_counter()
    session = load(spec)
    print(json.dumps({"load_seconds": time.perf_counter() - start}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        with np.load(request["inputs"], allow_pickle=False) as stored:
            batches = [{name: stored[f"{name}/{index}"] for name in spec["inputs"]} for index in request["run"]]
        seconds, outputs = [], []
        for batch in batches:
            start = time.perf_counter()
            found = session.run(batch)
            seconds.append(time.perf_counter() - start)
            outputs.append(found)
        if request.get("keep"):
            np.savez(request["keep"], **{str(index): found for index, found in enumerate(outputs)})
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak": peak}), file=answers, flush=True)


if __name__ == "__main__":
    main()
