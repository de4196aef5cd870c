"""The study: every measurement on disk before the next one begins, and found again by a search that is taken up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from octavo.errors import InputError
from octavo.files import lock
from octavo.schema.search import Candidate, Identity, Outcome, Split, Trial, line_of, read_study

WORDS = {  # of what a study is of, and cannot be of something else
    "source_sha256": "another model",
    "answers_sha256": "another tokenizer, config or labels",
    "data_sha256": "other data",
    "reading": "data that is read otherwise",
    "task": "another task",
    "seed": "another seed",
    "target": "another target",
    "versions": "other versions",
    "splits": "other splits",
}


class Study:
    """Trials by what they measure; with a `path` each is a line there as soon as it is known."""

    def __init__(self, identity: Identity | None = None, path: Path | None = None) -> None:
        """Open or begin a study.

        Raises:
            InputError: the file is of something else, or another search is writing it.
            DataError: it is no study.
        """
        self._known: dict[tuple[str, Split, int, bool], Trial] = {}
        self._stream: IO[bytes] | None = None
        if path is not None:
            assert identity is not None
            self._open(path, identity)

    def _open(self, path: Path, identity: Identity) -> None:
        if not path.parent.is_dir() or (path.exists() and not path.is_file()):
            raise InputError("a study cannot be written there", got=path, then="name a file in a folder that is there")
        self._stream = stream = path.open("ab")
        try:
            self._take_up(stream, path, identity)
        except BaseException:
            self.close()
            raise

    def _take_up(self, stream: IO[bytes], path: Path, identity: Identity) -> None:
        if lock(stream) is False:
            raise InputError("another search is writing this study", got=path, then="wait for it, or name another")
        if line_of(identity).encode().startswith(path.read_bytes()):  # new, or killed in its first line
            stream.truncate(0)
            self._write(identity)
            return
        record = read_study(path)
        require_same(record.identity, identity, record.trials, path)
        stream.truncate(record.length)
        if (record.identity.budget, record.identity.aim) != (identity.budget, identity.aim):
            self._write(identity)
        for trial in record.trials:
            self._remember(trial)

    @property
    def trials(self) -> list[Trial]:
        """All of them, in the order in which they were measured."""
        return list(self._known.values())

    def find(self, candidate: Candidate, split: Split, rows: int, *, timed: bool = False) -> Trial | None:
        """The trial that measured this, if there is one."""
        return self._known.get((candidate.key, split, rows, timed))

    def append(self, *trials: Trial) -> None:
        """Keep trials: in one write, and on the disk when this returns."""
        for trial in trials:
            self._remember(trial)
        self._write(*trials)

    def end(self, outcome: Outcome) -> None:
        """Keep how the search ended."""
        self._write(outcome)

    def close(self) -> None:
        """Close the file; another search may take it up."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _remember(self, trial: Trial) -> None:
        self._known[trial.measures] = trial

    def _write(self, *records: Identity | Trial | Outcome) -> None:
        if self._stream is not None:
            self._stream.write("".join(map(line_of, records)).encode())
            self._stream.flush()
            os.fsync(self._stream.fileno())


def require_same(old: Identity, new: Identity, trials: Sequence[Trial], path: Path) -> None:
    """See that measurements of a study are ones of this search too.

    Budget and aim may change: what was measured stays true. Quality is that of a kind of CPU and is taken over to
    another machine of that kind; speeds are not.

    Raises:
        InputError: they are not.
    """
    then = "name another study with --study, or remove this one"
    for name, words in WORDS.items():
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            got, allowed = (str(value)[:60] if name != "splits" else None for value in (now, before))
            raise InputError(f"the study is of {words}", where=path, got=got, allowed=allowed, then=then)
    timed = any(trial.speed for trial in trials)
    if old.machine.kind != new.machine.kind or (timed and old.machine != new.machine):
        machines = [
            f"{machine.cpu} ({machine.kind}), {machine.threads} threads" for machine in (new.machine, old.machine)
        ]
        other = old.machine.kind != new.machine.kind
        what = "the study is of another kind of CPU" if other else "the study has speeds of another machine"
        raise InputError(what, where=path, got=machines[0], allowed=machines[1], then=then)
