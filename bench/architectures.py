"""Which types of transformers become float graphs that answer as torch does: tried on tiny random models of each.

    .venv/bin/python bench/architectures.py [--only bert t5] [--rest] [--page]

Each type is made, saved, exported, and asked with texts of unlike lengths, together (padded) and one by one; torch is
asked with each text alone. Encoders: the mean of the token vectors; classifiers: their logits; models that write: the
same tokens as `generate` writes. Writes bench/results/architectures.json after each type, and then the tables in
docs/architectures.md; what was not tried in this run stays, unless other versions gave it. All takes about half an hour
of one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import octavo
from octavo.data.sentences import SENTENCES
from octavo.errors import OctavoError
from octavo.schema.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
DOCS, RESULTS = ROOT / "docs" / "architectures.md", ROOT / "bench" / "results" / "architectures.json"
START, END = "<!-- types: made by bench/architectures.py -->", "<!-- end of types -->"
ALLOWED, NEW, LIMIT = 1e-4, 8, 64
TEXTS = [SENTENCES[index] for index in (0, 4, 9, 5)] + ["안녕", " ".join(SENTENCES[1:3])]
SIZES = {
    **dict.fromkeys(
        ("hidden_size", "d_model", "dim", "emb_dim", "n_embd", "embedding_size", "input_embedding_size"), 32
    ),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "d_inner"), 64),
    **dict.fromkeys(("ffn_dim", "n_inner", "ffn_hidden_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads",), 2),
    **dict.fromkeys(("num_decoder_attention_heads",), 4),
    **dict.fromkeys(("head_dim", "d_kv", "d_head", "qk_rope_head_dim", "kv_channels"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), LIMIT + 2),
}
UNSET = {  # told by other settings
    "funnel": ("num_hidden_layers",),
    "prophetnet": ("num_hidden_layers",),
    "falcon": ("head_dim",),
    "xlnet": ("max_position_embeddings",),
}
CONFIG = {"bart": "BartConfig"}  # where AutoConfig's name is not the type's
MORE: dict[str, dict[str, Any]] = {
    "big_bird": {"attention_type": "original_full"},
    "convbert": {"conv_kernel_size": 5, "embedding_size": 32},
    "deberta-v2": {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]},
    "deberta": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "esm": {"position_embedding_type": "rotary", "mask_token_id": 4},
    "lilt": {"hidden_size": 48},
    "funnel": {"block_sizes": [1, 1], "d_head": 8},
    "gemma2": {"query_pre_attn_scalar": 8},
    "gemma3_text": {"query_pre_attn_scalar": 8, "sliding_window": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "gptj": {"rotary_dim": 4},
    "codegen": {"rotary_dim": 4},
    "led": {"attention_window": [8, 8], "max_encoder_position_embeddings": 66, "max_decoder_position_embeddings": 66},
    "longformer": {"attention_window": [8, 8]},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 16},
    "mobilebert": {"true_hidden_size": 32, "embedding_size": 32, "intra_bottleneck_size": 32},
    "modernbert": {"num_hidden_layers": 3, "local_attention": 16},
    "mistral": {"sliding_window": 16},
    "mixtral": {"num_local_experts": 4},
    "nystromformer": {"segment_means_seq_len": 8, "num_landmarks": 4},
    "opt": {"word_embed_proj_dim": 32},
    "phi": {"partial_rotary_factor": 0.5},
    "prophetnet": {"num_encoder_layers": 2},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "reformer": {"attn_layers": ["local", "local"], "axial_pos_embds": False, "attention_head_size": 8},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roc_bert": {"pronunciation_vocab_size": 50, "shape_vocab_size": 50},
    "roformer": {"embedding_size": 32},
    "xlnet": {"d_head": 8},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "cohere": {"logit_scale": 1.0},
    "bloom": {"hidden_size": 32},
}
ENCODERS = (
    "albert", "bart", "bert", "big_bird", "camembert", "canine", "convbert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "esm", "eurobert", "flaubert", "fnet", "funnel", "ibert", "jina_embeddings_v3",
    "layoutlm", "lilt", "longformer", "luke", "markuplm", "mbart", "megatron-bert", "mobilebert", "modernbert", "mpnet",
    "mra", "mt5", "nomic_bert", "nystromformer", "reformer", "rembert", "roberta", "roberta-prelayernorm", "roc_bert",
    "roformer", "squeezebert", "t5", "umt5", "xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xmod", "yoso",
)  # fmt: skip
CLASSIFIERS = ("bart", "mbart", "t5", "mt5", "gpt2", "llama", "qwen2", "qwen3", "mistral", "funnel", "fnet",
               "mobilebert", "convbert", "longformer", "xlnet")  # fmt: skip
CONTINUING = (
    "biogpt", "bloom", "codegen", "cohere", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode",
    "gpt_neo", "gpt_neox", "gptj", "granite", "llama", "mistral", "mixtral", "mpt", "olmo", "olmo2", "opt", "phi",
    "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3", "stablelm", "starcoder2", "xglm", "mamba", "openai-gpt",
)  # fmt: skip
ANSWERING = (
    "bart", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5", "m2m_100", "marian", "mbart", "mt5", "pegasus",
    "pegasus_x", "plbart", "prophetnet", "switch_transformers", "t5", "umt5",
)  # fmt: skip
HEADS = {
    "feature-extraction": ("AutoModel", ENCODERS),
    "text-classification": ("AutoModelForSequenceClassification", CLASSIFIERS),
    "text-generation": ("AutoModelForCausalLM", CONTINUING),
    "text2text-generation": ("AutoModelForSeq2SeqLM", ANSWERING),
}
SHORT = 16  # characters of a text that is gone on with: a token for each byte, and what is written, fit into LIMIT
ENCODED = {"t5", "mt5", "umt5"}  # whose vectors are those of the encoder, as sentence-transformers takes them
WAYS = ("padded", "single")


def tokenizer_of(task: str) -> Any:
    """Bytes in pairs, learnt from Octavo's sentences; texts between [CLS] and [SEP] where the model does not go on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=names, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if task != "text-generation":
        ends = [("<s>", 0), ("</s>", 2)]
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ends)
    kinds = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    special = dict(zip(kinds, names, strict=True)) | {"cls_token": "<s>", "sep_token": "</s>"}
    inputs = ["input_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=LIMIT, model_input_names=inputs, **special
    )


def make(kind: str, task: str, folder: Path) -> None:
    """A tiny random checkpoint of a type, for a task."""
    tokenizer = tokenizer_of(task)
    blank = transformers.AutoConfig.for_model(kind)
    size = {"vocab_size": len(tokenizer), "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "num_labels": 3}
    if hasattr(blank, "src_vocab_size"):
        size |= {"src_vocab_size": len(tokenizer), "tgt_vocab_size": len(tokenizer), "langs": ["en", "ko"]}
    if task == "text2text-generation" or blank.is_encoder_decoder:
        size |= {"decoder_start_token_id": 1, "forced_eos_token_id": None, "forced_bos_token_id": None}
    known = {name: value for name, value in SIZES.items() if hasattr(blank, name)}
    for name in UNSET.get(kind, ()):
        known.pop(name, None)
    config = transformers.AutoConfig.for_model(kind, **{**known, **size, **MORE.get(kind, {})})
    config.architectures = []  # of some types it chooses between classes
    torch.manual_seed(7)
    model = getattr(transformers, HEADS[task][0]).from_config(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "norm" not in name.lower():
            parameter.data = 0.2 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def asked(task: str) -> list[str]:
    return [text[:SHORT] for text in TEXTS] if task == "text-generation" else TEXTS


def by_torch(folder: Path, task: str) -> list[Any]:
    """What transformers answers to each text alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, HEADS[task][0]).from_pretrained(folder).eval()
    if task == "feature-extraction" and model.config.model_type in ENCODED:
        model = model.get_encoder()
    answers = []
    for text in asked(task):
        inputs = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            if "generation" in task:
                ids = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)[0].tolist()
                start = inputs["input_ids"].shape[1] if task == "text-generation" else 1
                answers.append(tokenizer.decode(ids[start:], skip_special_tokens=True))
            elif task == "feature-extraction":
                answers.append(model(**inputs)[0][0].mean(0).numpy())
            else:
                answers.append(model(**inputs).logits[0].numpy())
    return answers


def tried(kind: str, task: str, work: Path) -> dict[str, Any]:
    """What became of a type: the largest differences, padded and single, or why it is refused."""
    folder, began = work / f"{kind}-{task}", time.perf_counter()
    try:
        make(kind, task, folder)
        expected = by_torch(folder, task)
    except Exception as error:  # whatever transformers raises
        reason = " ".join(str(error).split())[:200]
        return {"result": "not tried", "reason": f"transformers does not run it: {type(error).__name__}: {reason}"}
    try:
        artifact = octavo.quantize(folder, folder / "out", recipe=Recipe(method="float"))
        predictor: Any = octavo.load(artifact.folder)
        given = asked(task)
        if "generation" in task:
            found = [predictor(given, max_new_tokens=NEW), [predictor(text, max_new_tokens=NEW) for text in given]]
            texts = [[one[0] if isinstance(one, list) else one for one in way] for way in found]
            start = [text if task == "text-generation" else "" for text in given]
            written = [
                [one["generated_text"].removeprefix(text) for one, text in zip(way, start, strict=True)]
                for way in texts
            ]
            far = [float("inf") if way != expected else 0.0 for way in written]
        else:
            ways = [list(predictor.logits(TEXTS)), [predictor.logits([text])[0] for text in TEXTS]]
            far = [max(float(np.abs(a - b).max()) for a, b in zip(way, expected, strict=True)) for way in ways]
    except OctavoError as error:
        return {
            "result": "refused",
            "reason": str(error).replace(f" in {folder}", ""),
            "seconds": time.perf_counter() - began,
        }
    except Exception as error:  # a bug, and the sweep goes on
        return {"result": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    allowed = ALLOWED * max(1.0, *(float(np.abs(one).max()) for one in expected if not isinstance(one, str)), 1.0)
    exact = getattr(predictor.signature, "exact_lengths", False)
    result = {"padded": far[0], "single": far[1], "exact_lengths": exact, "seconds": time.perf_counter() - began}
    return {"result": "yes" if max(far) <= allowed else "wrong"} | result


def page(results: dict[str, Any]) -> str:
    """The tables of the document, one for each task; why not stands below."""
    parts, reasons = [], list[str]()
    for task in HEADS:
        lines = [f"### As float, {task}", "", "| type | float artifact | padded | single |", "|---|---|---:|---:|"]
        for row in (one for one in results["rows"] if one["task"] == task):
            said, far = row["result"], ["", ""]
            if why := row.get("reason"):
                reasons += [why] * (why not in reasons)
                said = f"{said} ({1 + reasons.index(why)})"
            elif "generation" in task:
                said = "the same tokens" if said == "yes" else "other tokens"
            else:
                said, far = said + ", at exact lengths" * row["exact_lengths"], [f"{row[way]:.1e}" for way in WAYS]
            lines.append(f"| {row['type']} | {said} | {' | '.join(far)} |")
        if len(lines) > 4:
            parts.append("\n".join(lines))
    notes = [f"({number}) {why}" for number, why in enumerate(reasons, start=1)]
    packages = ", ".join(f"{name} {number}" for name, number in results["packages"].items())
    return "\n\n".join([*parts, *notes, f"{len(results['rows'])} tried, with {packages}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="types")
    parser.add_argument("--rest", action="store_true", help="only what has no result of these versions yet")
    parser.add_argument("--page", action="store_true", help="write the table from the results that are there")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    packages = {name: version(name) for name in ("torch", "transformers", "onnxruntime")}
    rows = {(row["type"], row["task"]): row for row in known.get("rows", []) if known["packages"] == packages}
    for kind, task in [(kind, task) for task, (_, kinds) in HEADS.items() for kind in kinds]:
        if args.page or (args.only and kind not in args.only) or (args.rest and (kind, task) in rows):
            continue
        with tempfile.TemporaryDirectory() as work:
            row = {"type": kind, "task": task} | tried(kind, task, Path(work))
        print({name: f"{value:.2g}" if isinstance(value, float) else value for name, value in row.items()}, flush=True)
        rows[kind, task] = row
        told = [rows[kind, task] for task, (_, kinds) in HEADS.items() for kind in kinds if (kind, task) in rows]
        RESULTS.write_text(json.dumps({"packages": packages, "rows": told}, indent=1) + "\n", encoding="utf-8")
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(START)
    text = page(json.loads(RESULTS.read_text(encoding="utf-8")))
    DOCS.write_text(f"{before}{START}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
