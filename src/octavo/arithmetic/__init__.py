"""The arithmetic of quantization, in numpy and nothing else."""
