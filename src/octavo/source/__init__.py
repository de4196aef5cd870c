"""`octavo.source`, as it was before the rooms were drawn: code that imports `Checkpoint` from here goes on to work."""

from octavo.checkpoint.source import Checkpoint

__all__ = ["Checkpoint"]
