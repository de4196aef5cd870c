"""Data of other classes than the model's: by names and by ids, one line with both sets, and no work."""

import pytest

import octavo
from octavo.errors import DataError

LABELS = ("entailment", "contradiction", "neutral")


def write(path, labels):
    rows = [f"{number}번째 영화는 재미있었다\t{label}" for number, label in enumerate(labels)]
    path.write_text("\n".join(["document\tlabel", *rows]) + "\n", encoding="utf-8")
    return path


def test_ids_of_two_classes_and_a_model_of_three(tmp_path):
    file = octavo.DataFile(write(tmp_path / "nsmc.tsv", [0, 1] * 30))
    with pytest.raises(DataError, match="hardly those of this model") as caught:
        file.read(LABELS)
    (line,) = str(caught.value).splitlines()
    assert "got: 0, 1 in the file; allowed: entailment, contradiction, neutral of the model" in line
    assert "--labels" in line
    assert str(file.path) in line


@pytest.mark.parametrize("labels", [[0, 1, 2] * 20, [0, 2] * 30, [1, 2] * 30, [0] * 60, [0, 1] * 10, ["0", "-"] * 30])
def test_what_may_be_the_models(tmp_path, labels):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of rows without a label
        found = octavo.DataFile(write(tmp_path / "data.tsv", labels)).read(LABELS)
    assert {one.label for one in found} == {int(label) for label in labels if label != "-"}


def test_names_of_the_model_are_no_ids(tmp_path):
    file = octavo.DataFile(write(tmp_path / "data.tsv", ["0", "1"] * 30))
    assert [one.label for one in file.read(("0", "1", "2"))] == [0, 1] * 30


def test_who_names_the_labels_is_believed(tmp_path):
    path = write(tmp_path / "data.tsv", [0, 1] * 30)
    assert len(octavo.DataFile(path, labels_told=True).read(LABELS)) == 60
    assert len(octavo.read_examples(path, labels=LABELS)) == 60


def test_more_names_than_the_model_has_are_not_a_matter_of_names(tmp_path):
    file = octavo.DataFile(write(tmp_path / "data.tsv", ["기쁨", "슬픔", "분노", "놀람"] * 3))
    with pytest.raises(DataError, match=r"기쁨.*entailment, contradiction, neutral.*the file has 4"):
        file.read(LABELS)


def test_compare_hands_its_labels_on(demo_float, tmp_path):
    data = write(tmp_path / "data.tsv", [0, 1] * 30)
    with pytest.raises(DataError, match="hardly those of this model"):
        octavo.compare(demo_float, data=data)
    with pytest.raises(octavo.InputError, match="labels are several names"):
        octavo.compare(demo_float, data=data, labels="entailment")
    with pytest.raises(octavo.InputError, match="given twice"):
        octavo.compare(octavo.Checkpoint(demo_float, labels=LABELS), data=data, labels=LABELS)
