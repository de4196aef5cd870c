"""Artifacts in Ray Data: a class that each actor opens for itself, and answers blocks of rows with."""

from octavo.ray.predictor import Predictor, put

__all__ = ["Predictor", "put"]
