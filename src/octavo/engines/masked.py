"""A session whose answers are those at the masks: reduced batch by batch, since each is as wide as the vocabulary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octavo.engines import Session


class MaskedSession:
    """Another session of which only the masked positions are kept."""

    def __init__(self, session: Session, mask_token_id: int) -> None:
        """Take the session that runs the model."""
        self.name, self.threads, self.streams = session.name, session.threads, session.streams
        self._session, self._mask = session, mask_token_id
        self.model = getattr(session, "model", None)

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns [batch, most masks of a row, vocabulary], 0 behind."""
        logits, masked = self._session.run(inputs), inputs["input_ids"] == self._mask
        counts = masked.sum(axis=1)
        found = np.zeros((len(logits), max(1, int(counts.max())), logits.shape[-1]), np.float32)
        for row, count in enumerate(counts.tolist()):
            found[row, :count] = logits[row, masked[row]]
        return found
