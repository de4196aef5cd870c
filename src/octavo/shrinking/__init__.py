"""A checkpoint to a smaller checkpoint: rows of the vocabulary that texts of a user do not use are left out."""
