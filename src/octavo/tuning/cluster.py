"""What measures for a search on a Ray cluster: the answers of several candidates at once, each with CPUs of its own.

Figures are of a kind of CPU, so that only nodes of this process's kind take part. Timings take a whole node, always the
same, one at a time, while nothing else of the search runs on the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from octavo.checkpoint.source import Checkpoint, Source, read_source
from octavo.errors import CheckpointError, HardwareError, OctavoError
from octavo.hardware import Cpu, this_cpu
from octavo.progress import Progress
from octavo.ray.cluster import connected, node
from octavo.schema.search import Candidate, Quality, Speed, Split
from octavo.tasks.task import Task
from octavo.tuning.measuring import Settings, Workshop
from octavo.tuning.splits import Splits


@dataclass(frozen=True)
class Node:
    """A node of the cluster: its id, its CPUs as Ray counts them, and what they are."""

    id: str
    cpus: int
    cpu: Cpu


class Measuring:
    """An actor: a workshop of its own, which reads the checkpoint from the path that all nodes have."""

    def __init__(
        self, checkpoint: Checkpoint, sha256: str, task: Task[Any], splits: Splits, settings: Settings
    ) -> None:
        """Remember what to read: what is wrong with it is told by the first measurement."""
        self._given = checkpoint, sha256, task, splits, settings
        self._shop: Workshop | None = None

    def quality(self, candidate: Candidate, split: Split, rows: int) -> Quality | str:
        """See `Workshop.qualities`."""
        return next(self._workshop().qualities([candidate], split, rows))

    def speeds(self, candidates: Sequence[Candidate], split: Split) -> list[Speed | str]:
        """See `Workshop.speeds`."""
        return self._workshop().speeds(candidates, split)

    def _workshop(self) -> Workshop:
        if self._shop is None:
            checkpoint, sha256, task, splits, settings = self._given
            source = read_source(checkpoint)
            if source.sha256 != sha256:
                raise CheckpointError("another checkpoint is there", where=f"{checkpoint.path} on the node {node()}")
            self._shop = Workshop(source, task, splits, settings)
        return self._shop


def checkpoint_of(source: Source) -> Checkpoint:
    """What was asked for, with whole paths."""
    asked = source.asked
    names = ("path", "tokenizer", "target_tokenizer")
    paths = {name: Path(path) for name in names if (path := getattr(asked, name)) is not None}
    whole: dict[str, Any] = {name: path.resolve() for name, path in paths.items() if path.exists()}
    return replace(asked, **whole)


class ClusterWorkshop(Workshop):
    """A workshop that lets a cluster measure, and builds here what is written at the end.

    `actors` are those that answer at the moment; none while speeds are measured.
    """

    def __init__(
        self,
        source: Source,
        task: Task[Any],
        splits: Splits,
        settings: Settings,
        progress: Progress | None,
        address: str | None,
    ) -> None:
        """Connect, and see which nodes take part.

        Raises:
            HardwareError: none is of this CPU's kind and has as many CPUs as threads are asked for.
        """
        super().__init__(source, task, splits, settings, progress)
        self._unbound = task
        self._stack, self.actors = ExitStack(), list[Any]()
        self._stack.enter_context(connected(address))
        try:
            self.nodes = matching(nodes(), this_cpu(), settings.threads)
        except OctavoError:
            self._stack.close()
            raise

    @property
    def timed_on(self) -> Node:
        """The node that timings take: the one with most CPUs."""
        return max(self.nodes, key=lambda member: (member.cpus, member.id))

    @property
    def cpu(self) -> Cpu:
        """The CPU that timings are of."""
        return self.timed_on.cpu

    def close(self) -> None:
        """Remove what was built, and let the cluster go."""
        super().close()
        self._release()
        self._stack.close()

    def qualities(self, candidates: Sequence[Candidate], split: Split, rows: int) -> Iterator[Quality | str]:
        """Of each candidate what it answers to the first `rows` examples, several at once."""
        from ray.util import ActorPool

        if not self.actors:
            threads = self.settings.threads
            places = [place for place in self.nodes for _ in range(place.cpus // threads)]
            self.actors = [self._actor(place, threads) for place in places]
        pool = ActorPool(self.actors)
        for candidate in candidates:
            pool.submit(lambda actor, asked: actor.quality.remote(asked, split, rows), candidate)
        while pool.has_next():
            yield told(pool.get_next)

    def speeds(self, candidates: Sequence[Candidate], split: Split) -> list[Speed | str]:
        """The speeds of candidates and the float graph, in turns, on a node that does nothing else."""
        import ray

        self._release()
        actor = self._actor(self.timed_on, self.timed_on.cpus)
        try:
            speeds: list[Speed | str] = told(lambda: ray.get(actor.speeds.remote(list(candidates), split)))
            return speeds
        finally:
            ray.kill(actor)

    def _actor(self, where: Node, cpus: int) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        pinned = NodeAffinitySchedulingStrategy(where.id, soft=False)
        settings = replace(self.settings, jobs=1)
        remote = ray.remote(Measuring).options(num_cpus=cpus, scheduling_strategy=pinned)
        return remote.remote(checkpoint_of(self.source), self.source.sha256, self._unbound, self.splits, settings)

    def _release(self) -> None:
        import ray

        for actor in self.actors:
            ray.kill(actor)
        self.actors = []


def _cpu_of_node() -> Cpu:
    return this_cpu()


def nodes() -> list[Node]:
    """The nodes of the cluster that have CPUs."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [entry for entry in ray.nodes() if entry["Alive"] and entry["Resources"].get("CPU", 0) >= 1]
    remote = ray.remote(_cpu_of_node)
    pinned = [NodeAffinitySchedulingStrategy(entry["NodeID"], soft=False) for entry in alive]
    cpus = ray.get([remote.options(num_cpus=0, scheduling_strategy=where).remote() for where in pinned])
    return [Node(entry["NodeID"], int(entry["Resources"]["CPU"]), cpu) for entry, cpu in zip(alive, cpus, strict=True)]


def matching(known: Sequence[Node], own: Cpu, threads: int) -> list[Node]:
    """The nodes that take part.

    Raises:
        HardwareError: none does; the message tells what there is.
    """
    fitting = [member for member in known if member.cpu.kind == own.kind and member.cpus >= threads]
    if not fitting:
        got = ", ".join(f"{member.cpu.name} ({member.cpu.kind}) with {member.cpus}" for member in known) or "none"
        allowed = f"{own.kind}, as where the search was started, with {threads} CPUs"
        raise HardwareError("no node of the cluster can measure for this search", got=got, allowed=allowed)
    return fitting


def told(ask: Any) -> Any:
    """What an actor gives.

    Raises:
        OctavoError: of the kind that it met.
    """
    import ray

    try:
        return ask()
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OctavoError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        then = "the same command takes the study up"
        raise OctavoError("an actor or a node was lost", got=str(error).partition("\n")[0], then=then) from None
