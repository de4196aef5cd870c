"""Seconds per token of text generation: torch's `generate` against artifacts, on a random model of GPT-2's size.

    .venv/bin/python bench/generation.py [--rounds 5] [--new 64] [--prompt 32] [--only torch float int8 int4 dynamic]

Each contender runs in a process of its own and in turns with the others. Writes
bench/results/generation-<kind of CPU>.json and the table of docs/generation.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from machine import THREADS, machine, results_file
from publish import publish

REST = 0.3  # seconds between two turns, for threads of the last one to fall asleep
RECIPES = {
    "float": {"method": "float"},
    "int8": {"method": "weight-only"},
    "int4": {"method": "weight-only", "bits": 4},
    "dynamic": {"method": "dynamic"},
}


def make_checkpoint(folder: Path) -> None:
    """GPT-2 as small as it comes, with random weights; its tokenizer knows bytes only."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=1024).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(bos_token_id=0, eos_token_id=None)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)


def serve(path: Path, new: int, prompt: int) -> None:
    """Load a contender; for each line of standard input write `new` tokens and answer with the seconds and the ids."""
    ids = np.random.default_rng(0).integers(0, 256, (1, prompt))
    if (path / "octavo.json").exists():
        import octavo
        from octavo.generation.loop import write
        from octavo.schema.signature import Generation, GenerationConfig

        writer = octavo.load(path, threads=THREADS).session
        model = Generation(sampling=GenerationConfig(max_new_tokens=new))

        def run():
            steps = writer.begin(ids, np.ones_like(ids))
            return [token for (token,) in write(steps, ids.tolist(), model)]
    else:
        import torch
        import transformers

        torch.set_num_threads(THREADS)
        model = transformers.GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()
        inputs = torch.from_numpy(ids)
        mask = torch.ones_like(inputs)

        def run():
            with torch.inference_mode():
                found = model.generate(inputs, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0)
            return found[0, prompt:].tolist()

    for _ in sys.stdin:
        start = time.perf_counter()
        found = run()
        print(json.dumps({"seconds": time.perf_counter() - start, "ids": found}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--only", nargs="*", default=["torch", *RECIPES])
    parser.add_argument("--serve", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="Where checkpoint and artifacts stay; what is there is not made again."
    )
    parser.add_argument("--output", type=Path, default=results_file("generation"))
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.new, asked.prompt)
        return
    import octavo
    from octavo.schema.recipe import Recipe

    with tempfile.TemporaryDirectory() as place:
        folder = asked.keep or Path(place)
        if not (folder / "torch").exists():
            make_checkpoint(folder / "torch")
        paths, sizes, exported = {}, {}, None
        for name in asked.only:
            paths[name] = folder / name
            if name in RECIPES and not paths[name].exists():
                print(f"quantizing: {name}", file=sys.stderr, flush=True)
                exported = exported or octavo.export(folder / "torch")
                octavo.quantize(exported, paths[name], recipe=Recipe(**RECIPES[name]))
            sizes[name] = sum(file.stat().st_size for file in paths[name].iterdir())
        del exported  # gigabytes that are not needed any more
        command = [sys.executable, __file__, "--new", str(asked.new), "--prompt", str(asked.prompt), "--serve"]
        processes = {
            name: subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for name, path in paths.items()
        }
        seconds, written = {name: [] for name in paths}, {}
        for number in range(asked.rounds + 1):
            for name, process in processes.items():
                process.stdin.write("\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
                if number:  # the first is a warm-up
                    seconds[name].append(answer["seconds"])
                written[name] = answer["ids"]
                time.sleep(REST)
        for process in processes.values():
            process.stdin.close()
            process.wait()
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    first = asked.only[0]
    rows = {
        name: {
            "ms_per_token": 1000 * middle[name] / asked.new,
            "speedup": middle[first] / middle[name],
            "bytes": sizes[name],
            "same_tokens": sum(a == b for a, b in zip(written[first], written[name], strict=True)),
            "seconds": seconds[name],
        }
        for name in paths
    }
    found = {
        "model": "GPT-2 small (124 M parameters), random weights",
        "new_tokens": asked.new,
        "prompt_tokens": asked.prompt,
        "batch": 1,
        "machine": machine("torch", "transformers", "numpy"),
        "rows": rows,
    }
    asked.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    publish()
    for name, row in rows.items():
        size = row["bytes"] / 2**20
        print(
            f"{name:8} {row['ms_per_token']:7.1f} ms/token {row['speedup']:5.2f}x {size:7.1f} MiB {row['same_tokens']}"
        )


if __name__ == "__main__":
    main()
