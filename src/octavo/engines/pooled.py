"""A session whose answer is one vector for a text: pooled batch by batch, so that token vectors are never kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavo.engines import Session
from octavo.engines.masked import MaskedSession
from octavo.pooling import Dense, embed, read_dense
from octavo.signature import Pooling, Signature


class PooledSession:
    """Another session with pooling, and what else sentence-transformers does to a vector, behind it."""

    def __init__(self, session: Session, pooling: Pooling, dense: Mapping[str, Dense]) -> None:
        """Take the session that runs the encoder."""
        self.name, self.threads, self.streams = session.name, session.threads, session.streams
        self.model = getattr(session, "model", None)  # the torch module, where there is one
        self._session, self._pooling, self._dense = session, pooling, dense

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns [batch, dimension], which a graph may give itself."""
        found = self._session.run(inputs)
        return found if found.ndim == 2 else embed(found, inputs["attention_mask"], self._pooling, self._dense)


def pooled(session: Session, signature: Signature, folder: Path) -> Session:
    """The session itself, or reduced to what its task answers with: one vector, or what stands at the masks.

    Weights of Dense steps are in `folder`.
    """
    if signature.mask_token_id is not None:
        return MaskedSession(session, signature.mask_token_id)
    if signature.pooling is None:
        return session
    return PooledSession(session, signature.pooling, read_dense(folder, signature.pooling))
