"""A checkpoint to a smaller checkpoint: rows of the vocabulary that texts do not use, or layers, are left out."""
