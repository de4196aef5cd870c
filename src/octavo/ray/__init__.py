"""Artifacts in Ray Data: a class that each actor opens for itself, and answers blocks of rows with; and whole files."""

from octavo.ray.job import predict_files
from octavo.ray.predictor import Predictor, put

__all__ = ["Predictor", "predict_files", "put"]
