"""What the user brings: config, weights, tokenizer, pooling, generation config; read, and loaded in torch."""
