import json

import pytest
from pydantic import ValidationError

from octavo.errors import InputError
from octavo.schema.signature import SYNONYMS, TASK_NAMES, Signature, task_name

FIELDS = {
    "task": "text-classification",
    "input_names": ["input_ids", "attention_mask"],
    "output_names": ["logits"],
    "max_length": 128,
    "pad_token_id": 1,
    "unk_token_id": 3,
    "labels": ["긍정", "부정"],
    "problem_type": "single_label_classification",
}


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_name_of_the_hub_stays(name):
    assert task_name(name) == name


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("sequence-classification", "text-classification"),
        ("sentiment-analysis", "text-classification"),
        ("default", "feature-extraction"),
        ("ner", "token-classification"),
        ("causal-lm", "text-generation"),
    ],
)
def test_an_old_name_of_an_export_becomes_the_hubs(old, name):
    assert task_name(old) == name


def test_every_synonym_leads_to_a_task():
    assert set(SYNONYMS.values()) <= set(TASK_NAMES)
    assert not set(SYNONYMS) & set(TASK_NAMES)


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"got: text-clasification; .*did you mean 'text-classification'"):
        task_name("text-clasification")


def test_an_unknown_task_far_from_all_gets_the_list():
    with pytest.raises(InputError) as caught:
        task_name("zzz")
    assert all(name in str(caught.value) for name in TASK_NAMES)
    assert "did you mean" not in str(caught.value)


def test_json_reads_back_equal():
    signature = Signature.model_validate_json(json.dumps(FIELDS))
    assert Signature.model_validate_json(signature.model_dump_json()) == signature
    assert signature.labels == ("긍정", "부정")


def test_what_may_be_left_out():
    needed = {key: FIELDS[key] for key in ("task", "input_names", "output_names", "max_length", "pad_token_id")}
    signature = Signature.model_validate(needed)
    assert (signature.unk_token_id, signature.labels, signature.problem_type) == (None, (), None)
    for key in needed:
        with pytest.raises(ValidationError, match=key):
            Signature.model_validate({name: value for name, value in needed.items() if name != key})


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="max_lenght"):
        Signature.model_validate(FIELDS | {"max_lenght": 12})


def test_it_does_not_change():
    signature = Signature.model_validate(FIELDS)
    with pytest.raises(ValidationError, match="frozen"):
        signature.max_length = 512
