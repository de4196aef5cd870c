"""Nothing is opened that the artifact does not list, lies elsewhere, or was changed."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import octavo
from octavo.artifact.external import external_locations
from octavo.artifact.folder import open_artifact
from octavo.errors import ArtifactError, InputError
from octavo.inference import opening
from octavo.schema.manifest import MANIFEST

TEXT = "아이들이 공원에서 놀고 있다."


@pytest.fixture
def copy(made_before, tmp_path):
    return Path(shutil.copytree(made_before, tmp_path / "모델"))


def edit(folder, by):
    fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    by(fields)
    (folder / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")


def record(file):
    content = file.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def flip(file, place=0.5):
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)


def listed_anew(folder, *names):
    edit(folder, lambda fields: fields["files"].update({name: record(folder / name) for name in names}))


class TestHashes:
    @pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json", "tokenizer_config.json"])
    def test_a_changed_file_is_never_run(self, copy, name, monkeypatch):
        flip(copy / name)
        monkeypatch.setattr(opening, "open_artifact_model", lambda *_: pytest.fail("it ran"))
        with pytest.raises(ArtifactError, match=rf"a file of the artifact was changed in .*/{name}$"):
            octavo.load(copy)

    def test_a_weight_that_the_self_test_cannot_see(self, copy):
        """The row of a word that is in none of its texts."""
        model = onnx.load(copy / "model.onnx")
        table = next(one for one in model.graph.initializer if len(one.dims) == 2 and "word_embeddings" in one.name)
        seen = {token for row in open_artifact(copy).manifest.self_test.inputs["input_ids"] for token in row}
        unseen = next(row for row in range(5, table.dims[0]) if row not in seen)
        rows = numpy_helper.to_array(table).copy()
        rows[unseen] = -rows[unseen] - 1 if rows.dtype == np.int8 else -rows[unseen]
        table.raw_data = rows.tobytes()
        (copy / "model.onnx").write_bytes(model.SerializeToString())
        octavo.load(copy, verify=False)
        with pytest.raises(ArtifactError, match="was changed"):
            octavo.load(copy)

    def test_predict_and_compare_check_too(self, copy, tmp_path):
        flip(copy / "tokenizer_config.json")
        rows = tmp_path / "rows.jsonl"
        rows.write_text(json.dumps({"text": TEXT}), encoding="utf-8")
        with pytest.raises(ArtifactError, match="was changed"):
            octavo.predict(copy, rows, tmp_path / "out.jsonl")
        with pytest.raises(ArtifactError, match="was changed"):
            octavo.compare(copy, [copy], data=rows)
        assert octavo.predict(copy, rows, tmp_path / "out.jsonl", verify=False).rows == 1

    def test_the_predictor_says_whether_it_was_checked(self, copy):
        checked, taken = octavo.load(copy, threads=1), octavo.load(copy, threads=1, verify=False)
        assert (checked.verified, taken.verified) == (True, False)
        assert repr(checked) == "<Predictor of text-classification on onnxruntime, 1 threads, verified=True>"
        assert checked(TEXT) == taken(TEXT)

    def test_what_has_no_hash_is_named(self, copy):
        (copy / "1_Pooling").mkdir()
        (copy / "1_Pooling" / "notes.txt").touch()
        assert open_artifact(copy).unlisted == ["1_Pooling/notes.txt", "README.md", MANIFEST]


class TestSelfTest:
    """It runs wherever CPU, engine, its version or the threads are others than those that recorded it."""

    @pytest.fixture
    def ran(self, copy, monkeypatch):
        """A function that changes the manifest of an artifact made here, loads it, and tells whether its test ran."""
        octavo.load(copy)  # made elsewhere, or not known by how many threads: it passes
        runs, check = [], opening.check_self_test

        def spied(test, session, where):
            runs.append(session.threads)
            return check(test, session, where)

        monkeypatch.setattr(opening, "check_self_test", spied)

        def here(fields):
            from octavo.hardware import installed_packages, this_cpu

            fields["host"].update(cpu=this_cpu().name, kind=this_cpu().kind, packages=installed_packages())
            fields["self_test"]["threads"] = 1

        def load(by=lambda fields: None, threads=1):
            edit(copy, here)
            edit(copy, by)
            runs.clear()
            octavo.load(copy, threads=threads)
            return bool(runs)

        return load

    def test_where_nothing_differs_it_does_not_run(self, ran):
        assert not ran()

    def test_another_cpu_kind_version_or_number_of_threads(self, ran):
        assert ran(lambda fields: fields["host"].update(cpu="another"))
        assert ran(lambda fields: fields["host"].update(kind="avx2" if fields["host"]["kind"] != "avx2" else "avx512"))
        assert ran(lambda fields: fields["host"]["packages"].update(onnxruntime="1.0"))
        assert ran(lambda fields: fields["self_test"].update(threads=2))
        assert ran(lambda fields: fields["self_test"].pop("threads"))


class TestPaths:
    @pytest.mark.parametrize(
        "name",
        ["/etc/hostname", "../모델/model.onnx", "a/../model.onnx", "./model.onnx", "", ".", "..", "a//b", "a/",
         "C:\\model.onnx", "C:model.onnx", "a\\b", "model.onnx\0", "한" * 100],
    )  # fmt: skip
    @pytest.mark.parametrize("where", ["files", "components"])
    def test_a_name_stays_in_the_folder(self, copy, name, where):
        def change(fields):
            fields["files"][name] = fields["files"]["model.onnx"]
            if where == "components":
                fields["components"]["model"] = name

        edit(copy, change)
        with pytest.raises(ArtifactError, match=r"octavo\.json is not valid .*(the path|the name) of a file"):
            open_artifact(copy)

    def test_a_model_must_be_listed(self, copy):
        edit(copy, lambda fields: fields["files"].pop("model.onnx"))
        with pytest.raises(ArtifactError, match=r"does not list is to be opened in .*octavo\.json; got: model\.onnx"):
            open_artifact(copy)

    def test_a_tokenizer_must_be_listed(self, copy):
        edit(copy, lambda fields: fields["files"].pop("tokenizer.json"))
        with pytest.raises(ArtifactError, match=r"got: tokenizer\.json"):
            open_artifact(copy)

    @pytest.mark.parametrize("folder", ["2_Dense", "../2_Dense", "/2_Dense"])
    def test_weights_of_a_dense_layer_must_be_listed(self, copy, folder):
        pooling = {"modes": ["mean"], "dimension": 4, "steps": [{"kind": "dense", "folder": folder}]}
        edit(copy, lambda fields: fields["signature"].update(task="feature-extraction", pooling=pooling))
        with pytest.raises(ArtifactError, match=rf"got: {folder}/model\.safetensors"):
            open_artifact(copy)

    def test_components_are_needed(self, copy):
        edit(copy, lambda fields: fields.update(components={}))
        with pytest.raises(ArtifactError, match=r"octavo\.json is not valid .*components"):
            open_artifact(copy)

    @pytest.mark.parametrize("name", ["model.onnx", MANIFEST])
    def test_a_link_out_is_refused(self, copy, tmp_path, name):
        (copy / name).rename(tmp_path / "outside")
        (copy / name).symlink_to(tmp_path / "outside")
        with pytest.raises(ArtifactError, match=rf"leads out of it in .*{name}; got: .*/outside; next: put the file"):
            open_artifact(copy)

    def test_a_folder_that_is_a_link_out_is_refused(self, copy, tmp_path):
        (tmp_path / "outside").mkdir()
        shutil.copy(copy / "model.onnx", tmp_path / "outside")
        (copy / "onnx").symlink_to(tmp_path / "outside")
        listed_anew(copy, "onnx/model.onnx")
        with pytest.raises(ArtifactError, match="leads out of it"):
            open_artifact(copy)

    def test_links_inside_and_to_the_whole_folder_are_fine(self, copy, tmp_path):
        """As Kubernetes mounts them: every file a link to one in a folder beside it."""
        (copy / "..data").mkdir()
        for name in ("model.onnx", MANIFEST):
            (copy / name).rename(copy / "..data" / name)
            (copy / name).symlink_to(Path("..data", name))
        (tmp_path / "link").symlink_to(copy)
        assert octavo.load(tmp_path / "link")(TEXT)

    @pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
    def test_what_is_no_file_is_never_opened(self, copy, kind):
        (copy / "tokenizer.json").unlink()
        if kind == "pipe":
            os.mkfifo(copy / "tokenizer.json")
        else:
            (copy / "tokenizer.json").symlink_to("/dev/zero" if kind == "device" else "tokenizer.json")
        with pytest.raises(ArtifactError, match=r"not complete in .*tokenizer\.json; got: no such file"):
            open_artifact(copy)

    @pytest.mark.parametrize("below", ["", "int8"])
    def test_a_snapshot_of_the_hub_opens(self, made_before, tmp_path, below):
        """The cache of huggingface_hub: `snapshots/<commit>/` holds links to `blobs/`."""
        snapshot = tmp_path / "models--me--모델" / "snapshots" / "0123abcd"
        blobs, folder = snapshot.parents[1] / "blobs", snapshot / below
        blobs.mkdir(parents=True)
        folder.mkdir(parents=True)
        for file in made_before.iterdir():
            blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.copy(file, blob)
            (folder / file.name).symlink_to(os.path.relpath(blob, folder))
        assert octavo.load(folder)(TEXT)
        flip((folder / "model.onnx").resolve())
        with pytest.raises(ArtifactError, match="was changed"):
            octavo.load(folder)
        (folder / "model.onnx").unlink()
        (folder / "model.onnx").symlink_to(made_before / "model.onnx")
        with pytest.raises(ArtifactError, match="leads out of it"):
            octavo.load(folder)


def external(name, location):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


class TestExternalData:
    def test_it_is_found_wherever_a_tensor_may_be(self, tmp_path):
        constant = helper.make_node("Constant", [], ["c"], value=external("c", "상수"))
        sparse = helper.make_sparse_tensor(external("v", "sparse"), external("i", "indices"), [4])
        inner = helper.make_graph([constant], "inner", [], [], [external("in", "inner")])
        several = [external("1", "one"), external("2", "two")]
        nodes = [
            helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner),
            helper.make_node("Own", ["x"], ["z"], domain="own", several=several),
            helper.make_node("Constant", [], ["s"], sparse_value=sparse),
        ]
        whole = numpy_helper.from_array(np.arange(5000, dtype=np.float32), "inside")
        graph = helper.make_graph(nodes, "g", [], [], [external("w", "weights/w.bin"), whole])
        function = helper.make_function(
            "own", "F", [], ["f"], [helper.make_node("Constant", [], ["f"], value=external("f", "function"))], []
        )
        model = helper.make_model(graph, functions=[function], doc_string="location: ../no")
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        expected = {"상수", "sparse", "indices", "inner", "one", "two", "weights/w.bin", "function"}
        assert external_locations(tmp_path / "model.onnx") == expected

    def test_a_model_without_has_none(self, made_before):
        assert external_locations(made_before / "model.onnx") == set()

    @pytest.mark.parametrize(
        "content", [b"", b"\xff" * 40, b"\x3a\xff\xff\xff\x7fabc", b"not ONNX at all", b"\x3b", bytes(9)]
    )
    def test_other_bytes_are_one_line(self, tmp_path, content):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"this is not an ONNX model in .*/model\.onnx"):
            external_locations(tmp_path / "model.onnx")

    @pytest.fixture
    def split(self, copy):
        """An artifact whose weights are in a file of their own, as those of large models are."""
        model = onnx.load(copy / "model.onnx")
        settings = {"save_as_external_data": True, "location": "model.onnx.data", "size_threshold": 1024}
        onnx.save(model, copy / "model.onnx", **settings)  # small tensors tell shapes, and stay
        listed_anew(copy, "model.onnx", "model.onnx.data")
        return copy

    def test_listed_weights_are_opened(self, split, made_before):
        assert external_locations(split / "model.onnx") == {"model.onnx.data"}
        assert octavo.load(split)(TEXT)[0]["label"] == octavo.load(made_before)(TEXT)[0]["label"]

    def test_changed_weights_are_not(self, split):
        flip(split / "model.onnx.data")
        with pytest.raises(ArtifactError, match=r"was changed in .*model\.onnx\.data"):
            octavo.load(split)

    @pytest.mark.parametrize("verify", [True, False])
    @pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/weights.bin", "*/_ORT_MEM_ADDR_/*"])
    def test_weights_that_are_not_listed_are_never_opened(self, split, location, verify):
        model = onnx.load(split / "model.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        for place in (split, split.parent):
            shutil.copy(split / "model.onnx.data", place / "weights.bin")
        (split / "model.onnx").write_bytes(model.SerializeToString())
        listed_anew(split, "model.onnx")
        with pytest.raises(ArtifactError, match=r"does not list is to be opened in .*model\.onnx; got: "):
            octavo.load(split, verify=verify)


def test_a_file_that_the_manifest_calls_larger_than_it_is(copy):
    edit(copy, lambda fields: fields["files"]["model.onnx"].update(bytes=2**62))
    with pytest.raises(InputError, match="not complete"):
        open_artifact(copy)
