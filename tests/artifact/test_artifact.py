import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.artifact.compatibility import check_cpu
from octavo.artifact.folder import Artifact, open_artifact
from octavo.artifact.writing import check_free, replace_folder
from octavo.errors import ArtifactError, HardwareError, InputError
from octavo.hardware import Cpu
from octavo.inference.opening import verify
from octavo.schema.manifest import CARD, MANIFEST

DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
VNNI = Cpu("Xeon with VNNI", "x86_64", frozenset({"avx2", "avx512f", "avx512bw", "avx512_vnni"}), 4)
AVX_VNNI = Cpu("Core with AVX-VNNI", "x86_64", frozenset({"avx2", "avx_vnni"}), 4)
AVX2 = Cpu("EPYC without VNNI", "x86_64", frozenset({"avx2"}), 4)
OLD = Cpu("Core without AVX2", "x86_64", frozenset({"sse4_2"}), 4)
ARM = Cpu("Neoverse", "aarch64", frozenset({"asimddp"}), 4)


@pytest.fixture
def copy(demo_int8, tmp_path):
    """The folder of an artifact that may be damaged."""
    return Path(shutil.copytree(demo_int8, tmp_path / "copy"))


@pytest.fixture
def edit(copy):
    """A function that changes the manifest by a function."""

    def change(by):
        fields = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
        by(fields)
        (copy / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")
        return copy

    return change


def old_artifact(folder):
    """A folder that passes for an artifact where one is to be replaced."""
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("the old one", encoding="utf-8")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(folder):
    """The one line by which opening a folder fails."""
    with pytest.raises(ArtifactError) as caught:
        open_artifact(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)
    return str(caught.value)


class TestOpening:
    def test_what_is_in_it(self, demo_int8):
        artifact = open_artifact(str(demo_int8))
        assert artifact == Artifact(demo_int8, artifact.manifest)
        assert artifact.model_file == demo_int8 / "model.onnx"
        assert json.loads(artifact.tokenizer_json)["model"]["type"] == "WordPiece"
        signature = artifact.manifest.signature
        assert (signature.task, signature.max_length, signature.pad_token_id) == ("text-classification", 256, 0)
        assert signature.labels == ("entailment", "contradiction", "neutral")
        assert artifact.manifest.source.name == "korean-nli"
        assert artifact.manifest.source.dtype == "float32"

    def test_the_path_of_the_checkpoint_is_not_told(self, demo_int8):
        for name in (MANIFEST, CARD, "config.json"):
            assert str(DEMO.parent) not in (demo_int8 / name).read_text(encoding="utf-8")

    def test_the_source_is_known_by_its_weights_and_size(self, demo_int8):
        source = open_artifact(demo_int8).manifest.source
        assert source.sha256 == hashlib.sha256((DEMO / "model.safetensors").read_bytes()).hexdigest()
        used = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
        assert source.bytes == sum((DEMO / name).stat().st_size for name in used)

    def test_the_list_of_files_is_true(self, demo_int8):
        listed = open_artifact(demo_int8).manifest.files
        assert sorted([*listed, MANIFEST, CARD]) == names(demo_int8)
        for name, record in listed.items():
            content = (demo_int8 / name).read_bytes()
            assert (record.bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())

    def test_bytes_is_every_file_but_the_card(self, demo_int8, demo_float):
        for folder in (demo_int8, demo_float):
            expected = sum(path.stat().st_size for path in folder.iterdir() if path.name != "README.md")
            assert open_artifact(folder).bytes == expected

    def test_int8_is_about_a_quarter(self, demo_int8, demo_float):
        assert 0.24 < open_artifact(demo_int8).bytes / open_artifact(demo_float).bytes < 0.30

    def test_every_layer_is_accounted_for(self, demo_int8, demo_float):
        manifests = [open_artifact(folder).manifest for folder in (demo_int8, demo_float)]
        int8, float32 = (manifest.layers for manifest in manifests)
        assert [layer.path for layer in int8] == [layer.path for layer in float32]
        linear = {layer.path: layer.dtype for layer in int8 if layer.kind == "linear"}
        assert len(linear) == 4 * 6 + 2
        assert set(linear.values()) == {"int8"}
        assert {layer.dtype for layer in float32} == {"float32"}
        assert all(layer.bytes == 4 * layer.parameters for layer in float32)
        assert sum(layer.parameters for layer in int8) * 4 < (DEMO / "model.safetensors").stat().st_size

    def test_the_model_answers_within_tolerance_of_torch(self, demo_int8):
        export = open_artifact(demo_int8).manifest.export
        assert "1 x 256" in export.differences
        assert 0 <= max(export.differences.values()) < 1e-4

    def test_the_card_is_outside_the_hashes(self, copy):
        (copy / CARD).write_text("my own words", encoding="utf-8")
        verify(open_artifact(copy))
        (copy / CARD).unlink()
        verify(open_artifact(copy))

    def test_a_file_that_does_not_belong_to_it_does_not_matter(self, copy):
        before = open_artifact(copy).bytes
        (copy / "notes.txt").write_text("mine", encoding="utf-8")
        verify(open_artifact(copy))
        assert open_artifact(copy).bytes == before


class TestDamage:
    def test_no_such_folder(self, tmp_path):
        assert refused(tmp_path / "nothing") == f"no such folder; got: {tmp_path / 'nothing'}"

    def test_an_empty_folder(self, tmp_path):
        assert refused(tmp_path) == f"this is not an artifact of Octavo in {tmp_path}; got: no octavo.json"

    def test_a_checkpoint(self):
        assert "this is not an artifact" in refused(DEMO)

    def test_a_file(self, tmp_path):
        (tmp_path / "file").write_text("x", encoding="utf-8")
        assert "an artifact is a folder, and this is a file" in refused(tmp_path / "file")

    @pytest.mark.parametrize("version", [2, 0, "1", "new"])
    def test_an_unknown_schema_version(self, edit, version):
        folder = edit(lambda fields: fields.update(octavo=version))
        told = (
            f"unknown schema version in {folder / MANIFEST}; got: {version}; allowed: 1; next: install a newer octavo"
        )
        assert refused(folder) == told

    def test_no_schema_version(self, edit):
        assert "unknown schema version" in refused(edit(lambda fields: fields.update(octavo=None)))

    def test_a_newer_schema_is_told_before_what_else_it_changed(self, edit):
        def change(fields):
            fields["octavo"] = 2
            fields["new"] = fields.pop("recipe")

        assert "unknown schema version" in refused(edit(change))

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda fields: fields.update(colour="red"), "colour: Extra inputs are not permitted"),
            (lambda fields: fields["signature"].update(colour="red"), "signature.colour: Extra"),
            (lambda fields: fields["layers"][3].update(colour="red"), "layers.3.colour: Unexpected"),
            (lambda fields: fields["files"]["model.onnx"].update(colour="red"), "files.model.onnx.colour: Extra"),
            (lambda fields: fields.pop("signature"), "signature: Field required"),
            (lambda fields: fields.pop("files"), "files: Field required"),
            (lambda fields: fields["recipe"].update(method="magic"), "recipe.method"),
            (lambda fields: fields["signature"].update(max_length="long"), "signature.max_length"),
            (lambda fields: fields.update(layers=None), "layers: "),
        ],
    )
    def test_a_manifest_that_does_not_fit(self, edit, change, told):
        message = refused(edit(change))
        assert "octavo.json is not valid" in message
        assert told in message

    def test_a_target_that_does_not_exist(self, edit):
        folder = edit(lambda fields: fields.update(target="avx9"))
        with pytest.raises(InputError, match="avx9"):
            octavo.load(folder)

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"not JSON", b"[]", b"3", b"null", b"\xff\xfe\x00", b"\xb0\xa1", b"[" * 100_000]
    )
    def test_no_json(self, copy, content):
        (copy / MANIFEST).write_bytes(content)
        message = refused(copy)
        assert MANIFEST in message
        assert len(message) < 500

    def test_a_manifest_that_is_cut(self, copy):
        content = (copy / MANIFEST).read_bytes()
        (copy / MANIFEST).write_bytes(content[: len(content) // 2])
        assert "octavo.json is not valid" in refused(copy)

    @pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json", "tokenizer_config.json"])
    def test_a_missing_file(self, copy, name):
        size = (copy / name).stat().st_size
        (copy / name).unlink()
        message = refused(copy)
        assert (
            f"not complete in {copy / name}; got: no such file; allowed: {size} bytes; next: make it again" in message
        )

    def test_a_folder_in_place_of_a_file(self, copy):
        (copy / "model.onnx").unlink()
        (copy / "model.onnx").mkdir()
        assert "no such file" in refused(copy)

    @pytest.mark.parametrize("missing", [1, 1000])
    def test_a_file_that_is_cut(self, copy, missing):
        model = copy / "model.onnx"
        content = model.read_bytes()
        model.write_bytes(content[:-missing])
        assert f"got: {len(content) - missing} bytes; allowed: {len(content)} bytes" in refused(copy)

    def test_a_file_that_has_grown(self, copy):
        with (copy / "tokenizer.json").open("ab") as stream:
            stream.write(b" ")
        assert "the artifact is not complete" in refused(copy)


class TestVerifying:
    def test_what_was_written_is_what_is_there(self, demo_int8, demo_float):
        for folder in (demo_int8, demo_float):
            verify(open_artifact(folder))

    @pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json", "tokenizer_config.json"])
    @pytest.mark.parametrize("place", [0.0, 0.5, 0.9999])
    def test_a_changed_byte(self, copy, name, place):
        content = bytearray((copy / name).read_bytes())
        content[int(place * len(content))] ^= 1
        (copy / name).write_bytes(content)
        artifact = open_artifact(copy)  # the size has not changed
        with pytest.raises(ArtifactError, match=rf"a file of the artifact was changed in .*/{name}$"):
            verify(artifact)

    def test_other_answers_than_when_it_was_made(self, edit):
        def change(fields):
            fields["self_test"]["outputs"][1][2] += 0.5

        artifact = open_artifact(edit(change))
        with pytest.raises(
            ArtifactError, match=r"does not answer here as it did where it was made.*got: a deviation of 0\.5"
        ):
            verify(artifact)

    def test_answers_that_are_not_numbers(self, edit, monkeypatch):
        class Broken:
            name = "broken"

            def run(self, inputs):
                return np.full((5, 3), np.nan, np.float32)

        monkeypatch.setattr("octavo.inference.opening.find_engine", lambda name: lambda model, threads: Broken())
        with pytest.raises(ArtifactError, match="does not answer here as it did"):
            verify(open_artifact(edit(lambda fields: None)))

    def test_the_self_test_has_padding_and_both_segments(self, demo_int8):
        inputs = open_artifact(demo_int8).manifest.self_test.inputs
        assert set(inputs) == {"input_ids", "attention_mask", "token_type_ids"}
        assert {value for row in inputs["attention_mask"] for value in row} == {0, 1}
        assert {value for row in inputs["token_type_ids"] for value in row} == {0, 1}


class TestCpu:
    @pytest.fixture
    def manifest(self, demo_int8):
        """A function that gives the manifest for another target, as it would have been made for it."""
        made = open_artifact(demo_int8).manifest

        def change(target, *, exact):
            return made.model_copy(update={"target": target, "exact_u8s8": exact})

        return change

    @pytest.fixture
    def on(self, monkeypatch):
        return lambda cpu: monkeypatch.setattr("octavo.artifact.compatibility.this_cpu", lambda: cpu)

    @pytest.mark.parametrize("target", ["avx512_vnni", "avx_vnni", "arm64"])
    @pytest.mark.parametrize("cpu", [AVX2, OLD])
    def test_8_bit_weights_are_refused_where_their_products_saturate(self, manifest, on, cpu, target):
        on(cpu)
        with pytest.raises(HardwareError) as caught:
            check_cpu(manifest(target, exact=True), "onnxruntime")
        message = str(caught.value)
        assert message.startswith(f"made for {target}: ")
        assert "VNNI" in message
        assert cpu.name in message
        assert f"--target {cpu.kind}" in message
        assert len(message.splitlines()) == 1

    @pytest.mark.parametrize("target", ["avx512_vnni", "avx_vnni", "arm64"])
    @pytest.mark.parametrize("cpu", [VNNI, AVX_VNNI, ARM])
    def test_8_bit_weights_run_where_their_products_do_not_saturate(self, manifest, on, cpu, target):
        on(cpu)
        slower = cpu is AVX_VNNI and target == "avx512_vnni"
        assert (check_cpu(manifest(target, exact=True), "onnxruntime") is not None) is slower

    @pytest.mark.parametrize("cpu", [VNNI, AVX_VNNI, ARM])
    @pytest.mark.parametrize("target", ["avx2", "avx512"])
    def test_weights_that_cannot_saturate_get_a_note_where_finer_ones_would_do(self, manifest, on, cpu, target):
        on(cpu)
        note = check_cpu(manifest(target, exact=False), "onnxruntime")
        assert note == f"made for {target}, whose products saturate; this CPU ({cpu.kind}) could take finer weights"

    @pytest.mark.parametrize(("cpu", "target"), [(AVX2, "avx512"), (OLD, "avx2"), (OLD, "avx512")])
    def test_a_slower_cpu_gets_a_note(self, manifest, on, cpu, target):
        on(cpu)
        note = check_cpu(manifest(target, exact=False), "onnxruntime")
        assert note == f"made for {target}; this CPU ({cpu.kind}) has less and will be slower"

    @pytest.mark.parametrize("target", ["avx2", "any"])
    def test_weights_that_cannot_saturate_need_no_note_where_they_belong(self, manifest, on, target):
        on(AVX2)
        assert check_cpu(manifest(target, exact=False), "onnxruntime") is None

    @pytest.mark.parametrize("cpu", [VNNI, AVX_VNNI, ARM, AVX2, OLD])
    def test_for_any_cpu_there_is_nothing_to_say(self, manifest, on, cpu):
        on(cpu)
        assert check_cpu(manifest("any", exact=False), "onnxruntime") is None

    @pytest.mark.parametrize("cpu", [VNNI, AVX2, OLD, ARM])
    @pytest.mark.parametrize("target", ["avx2", "avx512_vnni"])
    def test_a_float_artifact_runs_everywhere_without_a_word(self, demo_float, on, cpu, target):
        on(cpu)
        manifest = open_artifact(demo_float).manifest
        assert not manifest.exact_u8s8
        assert check_cpu(manifest.model_copy(update={"target": target}), "onnxruntime") is None

    def test_loading_asks(self, edit, on):
        def change(fields):
            fields.update(target="avx512_vnni", exact_u8s8=True)

        folder = edit(change)
        on(AVX2)
        with pytest.raises(HardwareError, match="made for avx512_vnni"):
            octavo.load(folder)

    def test_loading_warns(self, edit, on):
        folder = edit(lambda fields: fields.update(target="avx2", exact_u8s8=False))
        on(VNNI)
        with pytest.warns(octavo.OctavoWarning, match=r"this CPU \(avx512_vnni\) could take finer weights"):
            octavo.load(folder)


class TestWriting:
    def test_it_is_there_when_all_went_well(self, tmp_path):
        output = tmp_path / "new" / "모델"
        with replace_folder(output, force=False) as aside:
            assert aside.parent.parent == output.parent
            assert not output.exists()
            (aside / "a").write_text("x", encoding="utf-8")
        assert names(tmp_path / "new") == ["모델"]
        assert names(output) == ["a"]

    @pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
    def test_its_modes_follow_the_umask(self, tmp_path, umask):
        before = os.umask(umask)
        try:
            with replace_folder(tmp_path / "out", force=False) as aside:
                (aside / "a").write_text("x", encoding="utf-8")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~umask
        assert stat.S_IMODE((tmp_path / "out" / "a").stat().st_mode) == 0o666 & ~umask

    @pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("force", [False, True])
    def test_an_interruption_leaves_nothing(self, tmp_path, kind, force):
        def write():
            with replace_folder(tmp_path / "out", force=force) as aside:
                (aside / "a").write_text("x", encoding="utf-8")
                (aside / "b").mkdir()
                raise kind

        with pytest.raises(kind):
            write()
        assert names(tmp_path) == []

    @pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
    def test_an_interruption_keeps_the_old_one(self, tmp_path, kind):
        output = old_artifact(tmp_path / "out")

        def write():
            with replace_folder(output, force=True) as aside:
                (aside / MANIFEST).write_text("the new one", encoding="utf-8")
                raise kind

        with pytest.raises(kind):
            write()
        assert names(tmp_path) == ["out"]
        assert (output / MANIFEST).read_text(encoding="utf-8") == "the old one"

    @pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
    def test_a_move_into_place_that_fails_keeps_the_old_one(self, tmp_path, monkeypatch, kind):
        output = old_artifact(tmp_path / "out")
        rename = Path.rename

        def fail_into_place(self, target):
            if Path(target) == output and MANIFEST in names(self) and "new" in (self / MANIFEST).read_text("utf-8"):
                raise kind
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", fail_into_place)
        with pytest.raises(kind), replace_folder(output, force=True) as aside:
            (aside / MANIFEST).write_text("the new one", encoding="utf-8")
        assert names(tmp_path) == ["out"]
        assert (output / MANIFEST).read_text(encoding="utf-8") == "the old one"

    def test_force_replaces_all_of_the_old_one(self, tmp_path):
        output = old_artifact(tmp_path / "out")
        with replace_folder(output, force=True) as aside:
            assert (output / MANIFEST).read_text(encoding="utf-8") == "the old one"
            (aside / MANIFEST).write_text("the new one", encoding="utf-8")
        assert names(tmp_path) == ["out"]
        assert names(output) == [MANIFEST]
        assert (output / MANIFEST).read_text(encoding="utf-8") == "the new one"

    def test_a_file_that_is_not_the_artifacts_is_never_deleted(self, tmp_path):
        output = old_artifact(tmp_path / "out")
        (output / "notes.md").write_text("x", encoding="utf-8")
        with (
            pytest.raises(ArtifactError, match=r"files that are not the artifact's.*notes\.md"),
            replace_folder(output, force=True),
        ):
            pytest.fail("nothing is to be written")
        assert (output / "notes.md").exists()

    def test_an_interruption_between_the_two_moves_brings_the_old_one_back(self, tmp_path, monkeypatch):
        output = old_artifact(tmp_path / "out")
        move = Path.rename

        def interrupted(self, target):
            if self.name == "ready" and target == output:
                assert not output.exists()
                raise KeyboardInterrupt
            return move(self, target)

        monkeypatch.setattr("octavo.artifact.writing.exchange", lambda one, other: False)

        monkeypatch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt), replace_folder(output, force=True) as aside:
            (aside / MANIFEST).write_text("the new one", encoding="utf-8")
        assert names(tmp_path) == ["out"]
        assert (output / MANIFEST).read_text(encoding="utf-8") == "the old one"

    def test_without_force_the_old_one_stays(self, tmp_path):
        output = old_artifact(tmp_path / "out")
        with (
            pytest.raises(ArtifactError, match=r"the output exists; got: .*/out; next: .*--force"),
            replace_folder(output, force=False),
        ):
            pytest.fail("nothing is to be written")
        assert names(tmp_path) == ["out"]
        assert (output / MANIFEST).read_text(encoding="utf-8") == "the old one"

    @pytest.mark.parametrize("force", [False, True])
    def test_a_folder_that_is_no_artifact_is_never_replaced(self, tmp_path, force):
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "thesis.tex").write_text("years of work", encoding="utf-8")
        with (
            pytest.raises(ArtifactError, match="not an artifact is in the way"),
            replace_folder(tmp_path / "thesis", force=force),
        ):
            pytest.fail("nothing is to be written")
        assert names(tmp_path / "thesis") == ["thesis.tex"]

    @pytest.mark.parametrize("force", [False, True])
    def test_a_file_is_never_replaced(self, tmp_path, force):
        (tmp_path / "thesis").write_text("years of work", encoding="utf-8")
        with pytest.raises(ArtifactError, match="not an artifact is in the way"):
            check_free(tmp_path / "thesis", force=force)

    @pytest.mark.parametrize("force", [False, True])
    def test_an_empty_folder_is_free(self, tmp_path, force):
        (tmp_path / "out").mkdir()
        with replace_folder(tmp_path / "out", force=force) as aside:
            (aside / "a").write_text("x", encoding="utf-8")
        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == ["a"]

    def test_an_empty_folder_stays_after_an_interruption(self, tmp_path):
        (tmp_path / "out").mkdir()
        with pytest.raises(ValueError, match="stop"), replace_folder(tmp_path / "out", force=False):
            raise ValueError("stop")
        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == []

    def test_the_current_folder_is_not_the_output(self, tmp_path, monkeypatch):
        (tmp_path / "out").mkdir()
        monkeypatch.chdir(tmp_path / "out")
        with pytest.raises(ArtifactError, match="cannot be written there"), replace_folder(Path(), force=False):
            pytest.fail("nothing is to be written")
        assert names(tmp_path) == ["out"]

    def test_quantize_asks_before_it_works(self, tmp_path):
        output = old_artifact(tmp_path / "out")
        with pytest.raises(ArtifactError, match="the output exists"):
            octavo.quantize(tmp_path / "no such checkpoint", output)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "x").touch()
        with pytest.raises(ArtifactError, match="in the way"):
            octavo.quantize(tmp_path / "no such checkpoint", tmp_path / "other", force=True)
