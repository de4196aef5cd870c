"""What a run that dies leaves, and what other processes do meanwhile: nothing is lost and nothing stays behind."""

import json
import os
import random
import signal
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from octavo.artifact import staging, writing
from octavo.artifact.occupied import require_artifact
from octavo.artifact.staging import repair, staging_folder
from octavo.artifact.writing import check_free, replace_folder
from octavo.errors import ArtifactError, OctavoWarning
from octavo.files import exchange, lock, whole_file
from octavo.schema.manifest import MANIFEST

PARTS = 20
KILLS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_staging import kill_again_and_again
print(json.dumps(kill_again_and_again(Path(sys.argv[2]), sys.argv[3])))
"""


def artifact(folder, words):
    """A folder that passes for an artifact where one is to be replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_text(words, encoding="utf-8")
    (folder / MANIFEST).write_text(json.dumps({"files": {"model.onnx": {}}}), encoding="utf-8")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def words_of(folder):
    return (folder / "model.onnx").read_text(encoding="utf-8")


@pytest.fixture(params=["exchange", "moves"])
def way(request, monkeypatch):
    """Each way to replace a folder: at once, or, where a system cannot, in two moves."""
    if request.param == "moves":
        monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    return request.param


def dead(place, **folders):
    """What a run that died left beside `place`: its staging folder, by what is in it."""
    box = place.with_name(f".{place.name}.octavo-12345678")
    box.mkdir()
    (box / "lock").touch()
    for name, words in folders.items():
        artifact(box / name, words)
    return box


def write_parts(folder, words):
    for part in range(PARTS):
        (folder / f"{part}.bin").write_text(words, encoding="utf-8")
    files = {f"{part}.bin": {} for part in range(PARTS)}
    (folder / MANIFEST).write_text(json.dumps({"files": files}), encoding="utf-8")


def replace_all_the_time(place, words, told):
    for turn in count():
        os.write(told, b".")
        with replace_folder(place, force=True) as new:
            write_parts(new, f"{words} {turn}")


def kill_again_and_again(place, way):
    """Kill processes that replace an artifact, at random moments; what was seen after each, and after the next run."""
    if way == "moves":
        writing.exchange = lambda one, other: False
    with replace_folder(place, force=False) as new:
        write_parts(new, "the first")
    dice, seen = random.Random(11), []
    for kill in range(30):
        hears, told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                replace_all_the_time(place, f"{kill}", told)
            finally:
                os._exit(1)
        os.close(told)
        for _ in range(dice.randint(2, 4)):  # however slow the machine is
            os.read(hears, 1)
        time.sleep(dice.uniform(0, 0.005))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(hears)
        missing, litter = not place.exists(), len(names(place.parent)) - place.exists()
        repair(place.parent)
        require_artifact(place, place)
        contents = {(place / f"{part}.bin").read_text(encoding="utf-8") for part in range(PARTS)}
        seen.append([missing, litter, names(place.parent), sorted(contents)])
    return seen


class TestExchange:
    def test_two_folders_change_places(self, tmp_path):
        one, other = artifact(tmp_path / "하나", "1"), artifact(tmp_path / "둘", "2")
        expected = ("2", "1") if exchange(one, other) else ("1", "2")
        assert (words_of(one), words_of(other)) == expected

    def test_what_is_not_there_cannot(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            exchange(artifact(tmp_path / "a", "1"), tmp_path / "b")


def write(place, *, force, meanwhile):
    """Replace what is at a place, and another process does something before the swap."""
    with replace_folder(place, force=force) as new:
        artifact(new, "mine")
        meanwhile()


class TestAnotherProcess:
    """It comes between the check and the swap."""

    def test_its_artifact_is_not_replaced_without_force(self, tmp_path, way):
        place = tmp_path / "out"
        with pytest.raises(ArtifactError, match="the output exists"):
            write(place, force=False, meanwhile=lambda: artifact(place, "another's"))
        assert words_of(place) == "another's"
        assert names(tmp_path) == ["out"]

    @pytest.mark.parametrize("force", [False, True])
    def test_what_is_no_artifact_is_never_replaced(self, tmp_path, way, force):
        place = tmp_path / "out"

        def thesis():
            place.mkdir()
            (place / "thesis.tex").write_text("years of work", encoding="utf-8")

        with pytest.raises(ArtifactError, match="in the way"):
            write(place, force=force, meanwhile=thesis)
        assert names(tmp_path) == ["out"]
        assert names(place) == ["thesis.tex"]

    @pytest.mark.parametrize("kind", ["file", "link", "dangling"])
    def test_a_file_or_link_stays(self, tmp_path, way, kind):
        place, elsewhere = tmp_path / "out", artifact(tmp_path / "elsewhere", "another's")
        links = {"link": elsewhere, "dangling": tmp_path / "nowhere"}
        comes = place.touch if kind == "file" else partial(place.symlink_to, links[kind])
        with pytest.raises(ArtifactError, match="in the way"):
            write(place, force=True, meanwhile=comes)
        assert place.is_symlink() == (kind != "file")
        assert words_of(elsewhere) == "another's"
        assert names(tmp_path) == ["elsewhere", "out"]

    def test_a_file_that_came_at_the_last_moment_is_kept(self, tmp_path, way, monkeypatch):
        """The old artifact is looked at again when nobody else can reach it."""
        place, check = artifact(tmp_path / "out", "old"), writing.require_free

        def late(found, *, force):
            check(found, force=force)
            (place / "notes.txt").write_text("mine", encoding="utf-8")

        with pytest.raises(ArtifactError, match=r"files that are not the artifact's.*/out: notes\.txt"):
            write(place, force=True, meanwhile=lambda: monkeypatch.setattr(writing, "require_free", late))
        assert names(tmp_path) == ["out"]
        assert names(place) == ["model.onnx", "notes.txt", MANIFEST]
        assert words_of(place) == "old"

    def test_two_that_replace_both_end_well(self, tmp_path, way):
        place = artifact(tmp_path / "out", "old")
        with replace_folder(place, force=True) as first:
            artifact(first, "first")
            with replace_folder(place, force=True) as second:
                artifact(second, "second")
            assert words_of(place) == "second"
        assert words_of(place) == "first"
        assert names(tmp_path) == ["out"]

    def test_a_run_that_lives_is_let_be(self, tmp_path):
        with replace_folder(tmp_path / "out", force=False) as new:
            before = names(tmp_path)
            repair(tmp_path)
            check_free(tmp_path / "other", force=False)
            assert names(tmp_path) == before
            artifact(new, "mine")
        assert names(tmp_path) == ["out"]


class TestDead:
    def test_a_half_written_artifact_is_cleared_by_any_later_run(self, tmp_path):
        dead(tmp_path / "out", new="half")
        with replace_folder(tmp_path / "other", force=False) as new:
            assert names(tmp_path) == [new.parent.name]
            artifact(new, "mine")
        assert names(tmp_path) == ["other"]

    @pytest.mark.parametrize("locked", [False, True])
    def test_one_that_died_before_it_wrote(self, tmp_path, locked):
        box = tmp_path / ".out.octavo-12345678"
        box.mkdir()
        if locked:
            (box / "lock").touch()
        repair(tmp_path)
        assert names(tmp_path) == []

    def test_an_artifact_that_was_moved_away_comes_back(self, tmp_path):
        dead(tmp_path / "모델", ready="new", old="old")
        with pytest.raises(ArtifactError, match="the output exists"):
            check_free(tmp_path / "모델", force=False)
        assert names(tmp_path) == ["모델"]
        assert words_of(tmp_path / "모델") == "old"

    @pytest.mark.parametrize("folders", [{"ready": "old"}, {"old": "old"}, {"new": "half"}])
    def test_after_the_swap_the_new_one_stays(self, tmp_path, folders):
        artifact(tmp_path / "out", "new")
        dead(tmp_path / "out", **folders)
        repair(tmp_path)
        assert names(tmp_path) == ["out"]
        assert words_of(tmp_path / "out") == "new"

    def test_what_is_no_artifact_is_kept_and_told(self, tmp_path):
        artifact(tmp_path / "out", "new")
        box = dead(tmp_path / "out", ready="old")
        (box / "ready" / "thesis.tex").write_text("years of work", encoding="utf-8")
        with pytest.warns(OctavoWarning, match=r"octavo-12345678/ready had the place of .*/out .*move it away"):
            repair(tmp_path)
        assert (box / "ready" / "thesis.tex").exists()

    def test_what_has_no_lock_is_let_be(self, tmp_path):
        box = dead(tmp_path / "out", new="whose?")
        (box / "lock").unlink()
        (tmp_path / ".out.octavo-file5678").touch()
        repair(tmp_path)
        assert names(tmp_path) == [box.name, ".out.octavo-file5678"]

    def test_without_locks_nothing_is_believed_dead(self, tmp_path, monkeypatch):
        monkeypatch.setattr(staging, "lock", lambda stream: None)
        with staging_folder(tmp_path / "out") as new:
            (new / "a").touch()
            monkeypatch.undo()
            repair(tmp_path)
            assert names(new) == ["a"]
        assert names(tmp_path) == []

    def test_a_run_that_is_taken_for_dead_before_its_lock_begins_again(self, tmp_path, monkeypatch):
        calls = []

        def late(stream):
            if not calls:
                calls.append(names(tmp_path))
                repair(tmp_path)
            return lock(stream)

        monkeypatch.setattr(staging, "lock", late)
        with staging_folder(tmp_path / "out") as new:
            assert names(tmp_path) == [new.parent.name] != calls[0]
        assert names(tmp_path) == []

    def test_a_file_of_a_dead_run_is_cleared_and_that_of_a_living_one_is_not(self, tmp_path):
        (tmp_path / ".out.html.octavo-12345678").write_text("half", encoding="utf-8")
        with whole_file(tmp_path / "out.html") as first:
            with whole_file(tmp_path / "out.html") as second:
                second.write("둘째")
            first.write("첫째")
        assert names(tmp_path) == ["out.html"]
        assert (tmp_path / "out.html").read_text(encoding="utf-8") == "첫째"


@pytest.mark.parametrize("way", ["exchange", "moves"])
def test_killed_at_any_moment_there_is_a_whole_artifact_and_then_no_litter(fresh, tmp_path, way):
    seen = json.loads(fresh(KILLS, Path(__file__).parent, tmp_path / "out", way))
    missing, litter, left, contents = zip(*seen, strict=True)
    assert set(map(tuple, left)) == {("out",)}
    assert set(map(len, contents)) == {1}, "an artifact that is half of one run and half of another"
    assert len({one for (one,) in contents}) > 5, "runs were killed before they wrote anything"
    assert sum(map(bool, litter)) > 5, "runs were never killed while they wrote"
    if way == "exchange" and exchange(artifact(tmp_path / "a", "1"), artifact(tmp_path / "b", "2")):
        assert not any(missing)
