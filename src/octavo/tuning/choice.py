"""The choice among candidates that were measured and timed: by the user's aim, and what nothing beats in everything."""

from collections.abc import Sequence
from dataclasses import dataclass

from octavo.schema.search import Aim, Candidate, Speed, Trial
from octavo.tuning.run import risk

TIE = 0.97  # of the best value: what comes so near is as good, and the safer quality decides


@dataclass(frozen=True)
class Timed:
    """A candidate with its trial on the most examples, and its speed."""

    candidate: Candidate
    trial: Trial
    speed: Speed

    @property
    def bytes(self) -> int:
        """Of the artifact."""
        return self.trial.quality.bytes if self.trial.quality else 0

    def gain(self, aim: Aim) -> float:
        """What the aim wants more of; a ratio to the float graph where it is not quality."""
        if aim == "speed":
            return self.speed.speedup.value
        if aim == "latency":
            return self.speed.float_p95_ms / self.speed.p95_ms
        return 1 / max(1, self.bytes)


def choose(timed: Sequence[Timed], aim: Aim) -> Timed:
    """The best by the aim; of those that are as good the one whose quality is the safest."""
    if aim == "quality":
        return min(timed, key=lambda option: (risk(option.trial), -option.gain("speed")))
    most = max(option.gain(aim) for option in timed)
    return min((option for option in timed if option.gain(aim) >= TIE * most), key=lambda option: risk(option.trial))


def pareto_front(timed: Sequence[Timed]) -> tuple[Candidate, ...]:
    """Those that no other one beats in speed, size and quality together; the fastest first."""

    def figures(point: Timed) -> tuple[float, float, float]:
        return point.gain("speed"), point.gain("size"), -risk(point.trial)

    def beaten(point: Timed) -> bool:
        own = figures(point)
        others = (figures(other) for other in timed if other is not point)
        return any(all(a >= b for a, b in zip(other, own, strict=True)) and other != own for other in others)

    front = [point for point in timed if not beaten(point)]
    return tuple(point.candidate for point in sorted(front, key=lambda point: -point.gain("speed")))


def worth_timing(trials: Sequence[Trial], each: int = 2) -> list[Candidate]:
    """Of candidates whose graphs differ in numbers only, and so are equally fast, the safest few.

    Of those with layers in float the ones with the fewest. Smoothing is no number only: a factor that cannot be folded
    is a multiplication.
    """
    groups: dict[tuple[object, ...], list[Trial]] = {}
    for trial in trials:
        recipe = trial.candidate.recipe
        numbers = (recipe.granularity, recipe.bits, recipe.products, recipe.storage, recipe.embedding, recipe.by_token)
        kind = (recipe.method, trial.candidate.engine, recipe.smoothing == "none", *numbers)
        groups.setdefault(kind, []).append(trial)
    chosen = [trial for group in groups.values() for trial in sorted(group, key=_rules_and_risk)[:each]]
    return [trial.candidate for trial in chosen]


def _rules_and_risk(trial: Trial) -> tuple[int, float]:
    floats = [rule for rule in trial.candidate.recipe.layers if rule.keep.startswith("float")]
    return len(floats), risk(trial)
