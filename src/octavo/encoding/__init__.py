"""Texts -> token ids -> batches."""
