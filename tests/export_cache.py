"""Exports of the tests, kept on disk: one checkpoint is exported once for all tests, workers and runs.

A key holds all that decides an export: weights, config, signature, settings, versions, and the source of the rooms that
export. Where a test has replaced a function of these rooms, nothing is taken from here and nothing is kept.
"""

import contextlib
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
from transformers.exporters.exporter_onnx import OnnxExporter

import octavo
from octavo.exporting import cached, cached_proof, exporter, float_graphs, proof, reference
from octavo.graph.passes import order
from octavo.schema.manifest import ExportRecord, PassRecord

ROOMS = ("exporting", "graph", "engines", "encoding", "tasks", "checkpoint", "schema")
PACKAGES = ("torch", "transformers", "onnx-ir", "onnxscript", "onnxruntime", "numpy")
MODULES = (exporter, cached, proof, cached_proof, reference, order)
REAL = float_graphs.prove
ORIGINAL = [dict(vars(module)) for module in MODULES]
EXPORT = OnnxExporter.export


def code_hash():
    files = [file for room in ROOMS for file in sorted((Path(octavo.__file__).parent / room).rglob("*.py"))]
    digest = hashlib.sha256(" ".join(version(name) for name in PACKAGES).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def is_original():
    return OnnxExporter.export is EXPORT and all(
        known.get(name) is value
        for module, known in zip(MODULES, ORIGINAL, strict=True)
        for name, value in vars(module).items()
        if name != "__warningregistry__"
    )


class ExportCache:
    """`prove`, which looks into a folder first."""

    def __init__(self, folder):
        self.folder, self.code = folder, code_hash()

    def prove(self, source, model, recipe, say):
        if not is_original():
            return REAL(source, model, recipe, say)
        settings = recipe.model_dump_json(include={"opset", "optimize", "merge_qkv", "layers"})
        digest = hashlib.sha256(f"{self.code}{settings}{source.signature.model_dump_json()}".encode())
        for file in (*source.weights.files, source.folder / "config.json"):
            digest.update(file.read_bytes())
        place = self.folder / digest.hexdigest()
        if not place.exists():
            proved = REAL(source, model, recipe, say)
            self._keep(place, proved)
            return proved
        told = json.loads((place / "record.json").read_text(encoding="utf-8"))
        say.start(f"exporting (opset {told['record']['opset']})")
        if recipe.optimize:
            say.start("optimizing the graph")
        return proof.Proved(
            {name: ir.load(place / f"{name}.onnx") for name in told["graphs"]},
            ExportRecord.model_validate(told["record"]),
            tuple(PassRecord.model_validate(one) for one in told["passes"]),
        )

    def _keep(self, place, proved):
        aside = place.with_name(f"{place.name}.{os.getpid()}")
        aside.mkdir(parents=True)
        for name, graph in proved.graphs.items():
            ir.save(graph, aside / f"{name}.onnx")
        told = {
            "graphs": list(proved.graphs),
            "record": proved.record.model_dump(),
            "passes": [one.model_dump() for one in proved.passes],
        }
        (aside / "record.json").write_text(json.dumps(told), encoding="utf-8")
        with contextlib.suppress(OSError):  # another worker was faster
            aside.rename(place)
