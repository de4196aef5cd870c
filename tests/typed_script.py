"""What a user writes who checks it with mypy --strict: every public name, and no value that is Any unseen.

`test_typing` runs mypy on it; nothing runs the script. What a call of a predictor gives is the task's, and Any.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

import octavo


def make(folder: Path) -> octavo.Artifact:
    rule = octavo.LayerRule(match="*.dense", keep="float")
    recipe = octavo.Recipe(method="dynamic", layers=(rule,))
    checkpoint = octavo.Checkpoint("model", task="text-classification", labels=("함의", "모순"))
    graphs = octavo.export(checkpoint, recipe=recipe)
    octavo.export("model", token_embeddings=True)
    assert_type(graphs, octavo.FloatGraphs)
    trimmed: octavo.Trimmed = octavo.trim(checkpoint, "smaller", data=["rows.tsv"], coverage=0.9999)
    distilled: octavo.Distilled = octavo.distill(trimmed.folder, "fewer", data="rows.tsv", layers=6)
    octavo.quantize(distilled.folder, folder, method="dynamic")
    octavo.quantize(graphs, folder, recipe=recipe, calibration=octavo.DataFile("rows.tsv", limit=300))
    artifact = octavo.quantize("model", folder, method="static", calibrate="rows.tsv", target="any", force=True)
    assert_type(artifact, octavo.Artifact)
    assert_type(octavo.open_artifact(folder), octavo.Artifact)
    assert_type(artifact.bytes, int)
    assert_type(artifact.model_file, Path)
    assert_type(artifact.manifest.recipe, octavo.Recipe)
    assert_type(octavo.verify(artifact), float)
    assert_type(octavo.layout(artifact, "folder", program="tei"), Path)
    assert_type(octavo.push(artifact, "user/name", private=True), str)
    assert_type(artifact.push_to_hub("user/name", comparison="result.json"), str)
    return artifact


def ask(artifact: octavo.Artifact) -> list[dict[str, Any]]:
    predictor = octavo.load(artifact.folder, engine="auto", threads=2, verify=False, watch_ranges=True)
    assert_type(predictor, octavo.Predictor | octavo.Generator)
    assert_type(predictor.counts.rows, int)
    assert_type(predictor.signature.labels, tuple[str, ...])
    assert_type(predictor.verified, bool | None)
    assert_type(predictor.stream(["눈"], batch_size=8), Iterator[Any])
    assert_type(octavo.make_predict_fn(artifact, columns=("text", "text_pair"), threads=1), octavo.PredictFn)
    if isinstance(predictor, octavo.Generator):
        assert_type(predictor.pieces("눈이", max_new_tokens=8), Iterator[str])
        return list(predictor(["눈이"], return_full_text=False, temperature=0.7))
    assert_type(predictor.ranges_left.left if predictor.ranges_left else 0, int)
    outputs = predictor.logits(["눈", ("눈", "비")])
    assert_type(outputs, NDArray[np.float32] | list[NDArray[np.float32]])
    assert_type(predictor.rank("눈", ["눈이 온다", "비가 온다"], top_k=1), list[dict[str, Any]])
    vectors: NDArray[np.int8] = predictor.embed(["눈"], dimensions=64, precision="binary")
    assert vectors.shape == (1, 8)
    answers: list[dict[str, Any]] = predictor(["눈"], text_pair=["비"], batch_size=8, top_k=None)
    return answers


def find(folder: Path) -> octavo.Artifact | None:
    search = octavo.search("model", folder, data="rows.tsv", budget=octavo.Budget(max_drop=1.0), prefer="size")
    assert_type(search, octavo.Search)
    assert_type([trial.verdict for trial in search], list[Literal["PASS", "FAIL", "UNSURE"]])
    assert_type(search.run().chosen.recipe, octavo.Recipe)
    return search.artifact


def judge(artifact: octavo.Artifact) -> bool:
    data = octavo.DataFile("rows.tsv", encoding="cp949", columns={"text": "document"})
    comparison = octavo.compare("model", artifact.folder, data=data, limit=300, labels=["함의", "모순"])
    assert_type(comparison, octavo.Comparison)
    judged = comparison.under(octavo.Budget(max_drop=1.0, min_speedup=1.5))
    assert_type(judged, octavo.Comparison)
    assert_type(judged.verdict, Literal["PASS", "FAIL", "UNSURE"] | None)
    assert_type(judged.rows[1].quality, dict[str, float])
    assert_type([one.reason for one in judged.not_run], list[str])
    assert_type(judged.rows[1].speedup.value, float)
    octavo.report(judged, "report.html", language="ko")
    return judged.verdict == "PASS"


def look(path: Path) -> None:
    assert_type(octavo.inspect(path), octavo.Inspection)
    assert_type(octavo.inspect(path).bytes_by_part, dict[str, dict[str, int]])
    assert_type(octavo.doctor(), octavo.Diagnosis)
    assert_type(octavo.doctor().problems, tuple[str, ...])
    assert_type(octavo.read_examples(path), tuple[octavo.Example, ...])
    assert_type(octavo.predict(path, "in.jsonl", "out.jsonl").tokens, int)
    assert_type(octavo.__version__, str)


def explain(error: octavo.OctavoError | octavo.OctavoWarning) -> str:
    if isinstance(error, octavo.OctavoWarning):
        return str(error)
    assert_type(error.exit_code, int)
    of_the_user = (
        octavo.ArtifactError,
        octavo.CheckpointError,
        octavo.DataError,
        octavo.HardwareError,
        octavo.MissingExtraError,
        octavo.RecipeError,
    )
    assert_type(isinstance(error, octavo.InputError), bool)
    return "user" if isinstance(error, of_the_user) else "export" if isinstance(error, octavo.ExportError) else "run"


# What is wrong is found: mypy --strict reports a `type: ignore` that is not needed.
octavo.quantise("model")  # type: ignore[attr-defined]
octavo.quantize("model")  # type: ignore[call-arg]
octavo.compare("model", data="rows.tsv", limits=3)  # type: ignore[call-arg]
octavo.load("int8").run_all()  # type: ignore[union-attr]
octavo.Budget(max_drop="1")  # type: ignore[arg-type]
octavo.Recipe(method="dynamik")  # type: ignore[arg-type]
