import json
from contextlib import suppress

import pytest

from octavo.checkpoint.paths import kind_of
from octavo.errors import InputError
from octavo.shrinking.work_folder import LOCK, work_folder


def begun(output, settings):
    """The folder of a training that was interrupted when it had learnt something."""
    with suppress(KeyboardInterrupt), work_folder(output, settings) as folder:
        (folder / "checkpoint-4").mkdir()
        raise KeyboardInterrupt
    return folder


def test_a_work_folder_is_no_artifact(tmp_path):
    with work_folder(tmp_path / "out", {"seed": 0}) as folder:
        assert kind_of(folder) == "checkpoint"  # as anything else
    folder = begun(tmp_path / "out", {"seed": 0})
    assert kind_of(folder) == "checkpoint"
    (folder / "checkpoint-4" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="a Trainer's folder of checkpoints"):
        kind_of(folder)


def test_a_run_that_was_begun_under_the_former_name_goes_on(tmp_path):
    folder = begun(tmp_path / "out", {"seed": 0, "layers": [0, 2]})
    (folder / "training.json").rename(folder / "octavo.json")
    with pytest.raises(InputError, match=r"other settings was begun in .*got: seed 1; allowed: seed 0"):
        begun(tmp_path / "out", {"seed": 1, "layers": [0, 2]})
    (folder / "training.json").rename(folder / "octavo.json")
    assert kind_of(folder) == "artifact"  # by its name, which is why it has another now
    with work_folder(tmp_path / "out", {"seed": 0, "layers": [0, 2]}):
        assert kind_of(folder) == "checkpoint"
        assert (folder / "checkpoint-4").is_dir()
        assert json.loads((folder / "training.json").read_text(encoding="utf-8")) == {"seed": 0, "layers": [0, 2]}
        assert {file.name for file in folder.iterdir()} == {LOCK, "training.json", "checkpoint-4"}
    assert not folder.exists()
