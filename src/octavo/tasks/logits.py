"""Logits as the scores that Hugging Face gives."""

import numpy as np
from numpy.typing import NDArray

from octavo.encoding.batching import FloatArray
from octavo.metrics.scores import softmax
from octavo.schema.signature import Signature


def scores(logits: FloatArray, signature: Signature, function: str | None = None) -> NDArray[np.float64]:
    """Logits [rows, labels] as the scores that Hugging Face gives: unchanged for regression, sigmoid for one output or
    several labels at once, softmax otherwise; or by one of `FUNCTIONS`.

    In float64, where sigmoids become 1 above 36, and not above 17 as in float32.
    """  # noqa: D205 - one sentence
    problem, wide = signature.problem_type, np.asarray(logits, np.float64)
    if function is None:
        single = problem == "multi_label_classification" or wide.shape[1] == 1
        function = "none" if problem == "regression" else "sigmoid" if single else "softmax"
    if function != "sigmoid":
        return softmax(wide) if function == "softmax" else wide
    small = np.exp(-np.abs(wide))  # 1 / (1 + exp(-x)), written so that it neither overflows nor cancels
    return np.asarray(np.where(wide < 0, small, 1.0) / (1 + small), np.float64)
