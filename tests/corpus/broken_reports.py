"""Comparisons as JSON that are broken."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import damage
from cases import DEEP, MANY_DIGITS, Case, edit_json, generator

ENDINGS = ("html", "md", "json")
Change = Callable[[dict[str, Any]], object]


def cases() -> Iterator[Case]:
    yield from _files()
    yield from _texts()
    yield from _fields()
    yield from _drawn()


def _reporting(change: Change, ending: str, folder: Path, base: Path) -> list[object]:
    path = folder / "result.json"
    path.write_bytes((base / "result.json").read_bytes())
    edit_json(path, change)
    return ["report", path, "-o", folder / f"out.{ending}", "--lang", "ko" if ending == "md" else "en"]


def _files() -> Iterator[Case]:
    for harm in (*damage.BYTES, *damage.THINGS):
        name = harm.__name__.replace("_", " ")

        def make(folder: Path, base: Path, harm: damage.Damage = harm) -> list[object]:
            path = folder / "result.json"
            path.write_bytes((base / "result.json").read_bytes())
            harm(path, generator(harm.__name__))
            return ["report", path, "-o", folder / "out.html"]

        either = harm is damage.turn_bit
        why = "a letter or digit that changed is another comparison" if either else ""
        yield Case("report", f"result.json, {name}", make, "result", "either" if either else "refused", why, fixed=True)


def _texts() -> Iterator[Case]:
    texts = {
        "a list": "[]",
        "null": "null",
        "another object": '{"format": "x"}',
        "a format alone": '{"format": "octavo-comparison-1"}',
        "nested 100,000 deep": DEEP,
        "5,000 digits": f'{{"format": {MANY_DIGITS}}}',
        "half of a surrogate pair": '{"format": "\\ud800"}',
        "an escape": '{"format": "\\u001b[31m"}',
    }
    for name, text in texts.items():

        def make(folder: Path, base: Path, text: str = text) -> list[object]:
            (folder / "result.json").write_text(text, encoding="utf-8")
            return ["report", folder / "result.json", "-o", folder / "out.html"]

        yield Case("report", name, make, "result", fixed=name != "an escape")


def _fields() -> Iterator[Case]:
    def row(field: str, value: Any, index: int = 1) -> Change:
        return lambda found: found["rows"][index].__setitem__(field, value)

    estimate = {"value": 0.0, "low": 0.0, "high": 0.0, "lower": 0.0, "upper": 0.0, "method": "score", "changed": None}
    check = {"name": "max_drop", "limit": 1.0, "value": 0.0, "lower": 0.0, "upper": 0.0, "verdict": "PASS"}
    changes: dict[str, tuple[Change, str]] = {
        "no rows": (lambda found: found.update(rows=[]), "rows"),
        "a score that does not exist": (lambda f: [r["quality"].update(magic=1.0) for r in f["rows"]], "magic"),
        "a likeness that does not exist": (lambda f: [r["fidelity"].update(magic=1.0) for r in f["rows"]], "magic"),
        "a closeness that does not exist": (
            lambda f: [r.update(closeness={"magic": estimate}, quality={}, differences={}) for r in f["rows"]], "magic"),
        "no closeness": (
            lambda f: [r.update(closeness={}, quality={}, differences={}) for r in f["rows"]], "closeness"),
        "no differences": (row("differences", {}), "differences"),
        "a check that does not exist": (
            row("judgement", {"verdict": "PASS", "checks": [check | {"name": "magic"}]}), "magic"),
        "a verdict that does not exist": (row("judgement", {"verdict": "MAYBE", "checks": []}), "verdict"),
        "a group of an unknown kind": (lambda f: f["rows"][1]["groups"][0].update(kind="magic"), "magic|kind"),
        "a speed of NaN": (lambda f: f["rows"][1]["speedup"].update(value=float("nan")), "speedup"),
        "an infinite score": (lambda f: f["rows"][1]["quality"].update(accuracy=float("inf")), "accuracy"),
        "1e999 in a score": (lambda f: f["rows"][1]["differences"]["accuracy"].update(low=-1e999), "accuracy"),
        "a speed of 0": (lambda f: f["rows"][1]["speedup"].update(low=0.0), "speedup"),
        "a size of 0": (row("smaller", 0.0), "smaller"),
        "no texts": (lambda f: f.update(texts=0), "texts"),
        "texts below 0": (lambda f: f.update(texts=-1), "texts"),
        "no seconds": (row("seconds", 0.0, 0), "seconds"),
        "no latencies": (row("singles_ms", []), "singles_ms"),
        "no turns": (row("turns", []), ""),
        "10^400 bytes": (row("bytes", 10**400), "bytes"),
        "10^400 milliseconds": (row("singles_ms", [10**400]), "singles_ms"),
        "10^400 rows": (lambda f: f.update(n=10**400), "n"),
        "a layer error of NaN": (lambda f: f["rows"][1]["origin"]["layers"].update(x=float("nan")), "layers"),
        "a layer error that is text": (lambda f: f["rows"][1]["origin"]["layers"].update(x="가"), "layers"),
        "a recipe nested 900 deep": (
            lambda f: f["rows"][1]["origin"].update(recipe={"a": json.loads("[" * 900 + "]" * 900)}), "result"),
        "an unknown field": (lambda f: f.update(colour="red"), "colour"),
        "another format": (lambda f: f.update(format="octavo-comparison-99"), "format|comparison"),
        "a budget of nothing": (lambda f: f["budget"].update(dict.fromkeys(f["budget"])), "budget"),
        "a budget out of range": (lambda f: f["budget"].update(max_drop=-5.0), "max_drop|budget"),
        "an interval the wrong way round": (
            lambda f: f["rows"][1]["differences"]["accuracy"].update(low=0.5, high=-0.5), "accuracy|differences"),
    }  # fmt: skip
    taken = {
        "no turns": "no report shows them", "an unknown field": "a field of a later version is left out",
    }  # fmt: skip
    for name, (change, says) in changes.items():
        for ending in ENDINGS:
            why = taken.get(name, "")
            make = partial(_reporting, change, ending)
            yield Case("report", f"{name} ({ending})", make, says or "result", "either" if why else "refused", why,
                       fixed=ending == "html" or "exist" in name)  # fmt: skip


def _drawn() -> Iterator[Case]:
    """A field that is lost, or has a value of another type, at drawn places."""
    draw = generator("reports")
    fields = ("task", "n", "texts", "truncated", "tokens", "tokenize_seconds", "threads", "cpu", "cpu_kind", "rows")
    inner = ("name", "method", "engine", "bytes", "smaller", "seconds", "speedup", "rows_per_second", "rounds",
             "spread", "load_seconds", "cold_start_seconds", "peak_bytes", "latency_ms", "quality", "differences",
             "fidelity", "closeness", "batch_effect", "turns", "singles_ms")  # fmt: skip
    wrong: tuple[Any, ...] = ([], {}, "가", [[1]], {"가": [1]})
    for field in fields:
        yield Case("report", f"no {field}", partial(_reporting, lambda f, field=field: f.pop(field), "html"), field)
        value = draw.choice([bad for bad in wrong if not (field in ("task", "cpu", "cpu_kind") and bad == "가")
                             and not (field == "rows" and bad == [])])  # fmt: skip
        change = partial(lambda value, field, f: f.update({field: value}), value, field)
        yield Case("report", f"{field} is {value!r}", partial(_reporting, change, "html"), field)
    for field in inner:
        lost = partial(lambda field, f: f["rows"][1].pop(field), field)
        yield Case("report", f"a row without {field}", partial(_reporting, lost, "html"), field)
        whole = field in {"name", "method", "engine"}
        mapping = field in {"quality", "differences", "fidelity", "closeness"}
        fit = [bad for bad in wrong if not (whole and bad == "가") and not (mapping and bad == {})
               and not (field in {"turns", "singles_ms"} and bad in ([], [[1]]))]  # fmt: skip
        value = draw.choice(fit)
        change = partial(lambda value, field, f: f["rows"][1].update({field: value}), value, field)
        yield Case("report", f"a row's {field} is {value!r}", partial(_reporting, change, "html"), field)
