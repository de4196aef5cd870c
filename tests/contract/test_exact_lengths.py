"""FNet, whose answers padding changes in torch too: every text is answered as it is alone, in any company."""

import numpy as np
import pytest
import torch
import transformers

import octavo


@pytest.fixture(scope="module")
def fnet(tmp_path_factory, tiny_parts):
    """A tiny random FNet for classification, and its model in torch."""
    folder = tmp_path_factory.mktemp("fnet")
    words = tiny_parts.word_pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "max_position_embeddings": 48}
    torch.manual_seed(1)
    model = transformers.FNetForSequenceClassification(
        transformers.FNetConfig(vocab_size=len(words), pad_token_id=0, num_labels=3, **size)
    ).eval()
    for name, parameter in model.named_parameters():
        parameter.data.normal_(1 if "LayerNorm.weight" in name else 0, 0.3)
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer = transformers.BertTokenizer(vocab=words, strip_accents=False, model_max_length=48)
    tokenizer.save_pretrained(folder)
    return folder, model, tokenizer


def test_texts_of_one_length_run_together_and_no_text_is_padded(fnet, tmp_path, sentences):
    folder, model, tokenizer = fnet
    artifact = octavo.quantize(folder, tmp_path / "float", recipe="float")
    assert artifact.manifest.signature.exact_lengths
    assert "3 x 9" in artifact.manifest.export.differences
    with torch.no_grad():
        alone = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in sentences]
        padded = model(**tokenizer(list(sentences), padding=True, return_tensors="pt")).logits.numpy()
    expected = np.array(alone)
    assert len({len(ids) for ids in tokenizer(list(sentences))["input_ids"]}) > 2
    assert np.abs(padded - expected).max() > 1e-2  # so it is in torch
    for opened in (artifact.folder, folder):
        assert np.abs(octavo.load(opened).logits(sentences) - expected).max() < 1e-4
    with pytest.raises(octavo.InputError, match="pads texts to one length, which changes this model's answers"):
        octavo.layout(artifact.folder, tmp_path / "layout", program="tei")
