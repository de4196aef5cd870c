"""Models that write, tiny and random, of every family: the same for all tests, so that each is exported once."""

CONTINUING = ("gpt2", "llama")


def make_tokenizer(vocabulary, merges):
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


def make_model(family, tokenizer):
    import torch
    import transformers

    size = {"vocab_size": len(tokenizer), "pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0}
    start = {"decoder_start_token_id": 1}
    if family == "gpt2":
        config = transformers.GPT2Config(n_embd=48, n_layer=2, n_head=4, n_positions=64, **size)
    elif family == "llama":
        width = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 1, "num_attention_heads": 4}
        config = transformers.LlamaConfig(num_key_value_heads=2, max_position_embeddings=64, **width, **size)
    elif family == "t5":
        config = transformers.T5Config(d_model=48, d_kv=12, d_ff=80, num_layers=2, num_heads=4, **size, **start)
    else:
        width = {"d_model": 48, "max_position_embeddings": 64}
        for side in ("encoder", "decoder"):
            width |= {f"{side}_layers": 1, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 80}
        make = transformers.BartConfig if family == "bart" else transformers.MarianConfig
        config = make(forced_eos_token_id=None, **width, **size, **start)
    torch.manual_seed(7)
    loader = transformers.AutoModelForCausalLM if family in CONTINUING else transformers.AutoModelForSeq2SeqLM
    model = loader.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name and parameter.ndim > 1:
            parameter.data = 0.25 * torch.randn(parameter.shape)
            if family == "t5" and name.endswith(".q.weight"):  # T5 has the division of other models' products in there
                parameter.data /= config.d_kv**0.5
    return model


def write_tiny(family, folder, vocabulary, merges):
    """Write a checkpoint of the family to a folder; its model and tokenizer."""
    tokenizer = make_tokenizer(vocabulary, merges)
    model = make_model(family, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer
