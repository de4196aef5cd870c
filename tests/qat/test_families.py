"""A prepared model, saved and quantized: the int8 graph answers what the model did, in every family."""

import pytest
import torch
import transformers

from octavo import qat
from octavo.checkpoint.model import load_model
from octavo.checkpoint.ranges import read_ranges
from octavo.checkpoint.source import read_source
from octavo.exporting.float_graphs import export_source
from octavo.hardware import find_target
from octavo.methods import Context
from octavo.methods.qat import quantize_learnt
from octavo.pipeline.calibration import sentence_batches
from octavo.progress import Silent
from octavo.qat.proof import ALLOWED, require_agreement
from octavo.schema.recipe import Recipe

FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "albert")
OTHERS = {"mpnet": "MPNet", "deberta": "DebertaV2"}
RECIPE = Recipe(method="qat")


@pytest.fixture(scope="module")
def other(tmp_path_factory, tiny_parts):
    """A function of a further family: the folder of a tiny random checkpoint."""

    def make(family):
        special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
        limit = {"model_max_length": 64, "do_lower_case": True, "strip_accents": False}
        tokenizer = transformers.BertTokenizer(vocab=tiny_parts.word_pieces(*special), **limit)
        settings = {"vocab_size": len(tokenizer), "pad_token_id": 1, "hidden_size": 32, "intermediate_size": 64}
        settings |= {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 66, "num_labels": 3}
        if family == "deberta":
            settings |= {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
            settings |= {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}
        name = OTHERS[family]
        torch.manual_seed(4)
        model = getattr(transformers, f"{name}ForSequenceClassification")(
            getattr(transformers, f"{name}Config")(**settings)
        )
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in parameter_name.lower():
                parameter.data = torch.randn(parameter.shape) * 0.15
        folder = tmp_path_factory.mktemp("others") / family
        transformers.logging.disable_progress_bar()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize(
    ("family", "bits"), [*((name, 8) for name in (*FAMILIES, *OTHERS)), ("bert", 4), ("albert", 4)]
)
def test_the_graph_answers_what_the_prepared_model_answers(family, bits, checkpoint, other, tmp_path):
    source = read_source(other(family) if family in OTHERS else checkpoint(family))
    batches = sentence_batches(source.tokenizer.json, source.signature)
    model = qat.prepare(load_model(source), batches[:1], RECIPE, bits=bits)
    model.quantization_ranges.inputs[0].moved.data += 0.01
    for steps in model.quantization_ranges.steps if bits == 4 else ():
        if steps.moved is not None:
            steps.moved.data -= 0.01
    qat.save(model, tmp_path / "trained", transformers.AutoTokenizer.from_pretrained(source.folder))
    trained = read_source(tmp_path / "trained")
    ranges = read_ranges(trained)
    floats = export_source(trained, RECIPE, Silent())
    result = quantize_learnt(floats.graphs["model"], RECIPE, Context(find_target("any"), ranges=ranges))
    assert require_agreement(floats.model, result.model, ranges) <= ALLOWED / 10
    rounded = {layer.path for layer in result.layers if layer.dtype in {"int8", "int4"}}
    assert {path for one in ranges.inputs for path in one.layers} | {*ranges.embeddings} == rounded
    assert {layer.weight_bits for layer in result.layers if layer.part in {"attention", "feed-forward"}} == {bits}
    assert {layer.weight_bits for layer in result.layers if layer.part == "head"} == {8}
