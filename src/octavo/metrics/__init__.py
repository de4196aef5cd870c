"""Scores, and how sure their differences are: numpy and nothing else."""
