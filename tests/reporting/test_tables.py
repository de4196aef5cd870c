import dataclasses

import pytest

from octavo.artifact.folder import open_artifact
from octavo.metrics.estimates import Estimate, identical
from octavo.reporting.comparison_tables import (
    comparison_notes,
    headline,
    quality_cells,
    speed_cells,
    verdict_notes,
)
from octavo.reporting.languages import korean
from octavo.reporting.markdown import table
from octavo.reporting.page import report_html, report_markdown
from octavo.reporting.quantization_tables import part_cells, quantization_notes
from octavo.schema.budget import Budget
from octavo.schema.comparison import (
    Answer,
    Changed,
    ComparedRow,
    ComparisonRecord,
    Group,
    Latency,
    MachineLoad,
    McNemar,
    Origin,
)
from octavo.schema.layers import LayerResult

MIB = 2**20
ENGINE = ("onnxruntime", "the usual one")
BASELINE = ComparedRow(
    name="korean-nli",
    method="float",
    engine="torch",
    bytes=round(24.5 * MIB),
    smaller=1.0,
    seconds=12.0,
    speedup=identical(1.0),
    rows_per_second=28.33,
    rounds=5,
    spread=0.03,
    load_seconds=3.214,
    cold_start_seconds=3.3,
    peak_bytes=900 * MIB,
    latency_ms=Latency(p50=41.26, p95=55.04),
    quality={"accuracy": 0.51234, "macro_f1": 0.49876},
    differences={"accuracy": identical(), "macro_f1": identical()},
    fidelity={"agreement": 1.0, "kl": 0.0, "margin": 1.0},
    closeness={"agreement": identical(1.0)},
    batch_effect=1.2e-7,
    turns=((6.0, 6.1), (6.0, 5.9)),
    singles_ms=(40.0, 42.0),
)
CANDIDATE = ComparedRow(
    name="모델",
    method="dynamic",
    engine="onnxruntime",
    bytes=round(6.5 * MIB),
    smaller=24.5 / 6.5,
    seconds=4.0,
    speedup=Estimate(3.0, 2.8, 3.3, 2.9, 3.2, "bootstrap"),
    rows_per_second=1234.5,
    rounds=4,
    spread=0.31,
    load_seconds=0.126,
    cold_start_seconds=0.14,
    peak_bytes=120 * MIB,
    latency_ms=Latency(p50=9.95, p95=12.3),
    quality={"accuracy": 0.50, "macro_f1": 0.4999},
    differences={
        "accuracy": Estimate(0.50 - 0.51234, -0.021, -0.003, -0.019, -0.005, "score", 30),
        "macro_f1": Estimate(0.4999 - 0.49876, -0.01, 0.012, -0.008, 0.01, "bca", 30),
    },
    fidelity={"agreement": 0.98765, "kl": 0.000123, "margin": 0.987},
    closeness={"agreement": Estimate(0.98765, 0.981, 0.993, 0.982, 0.992, "score")},
    batch_effect=0.0234,
    turns=((2.0, 2.1), (2.0, 1.9)),
    singles_ms=(9.0, 11.0),
    text_rows_per_second=987.4,
    groups=(
        Group("class", "부정", 700, 0.5, 0.49, Estimate(-0.01, -0.02, 0.004, -0.019, 0.002, "score", 9)),
        Group("length", "5 to 12", 640, 0.53, 0.53, Estimate(0.0, -0.01, 0.01, -0.009, 0.009, "score", 2)),
    ),
    changed=(Changed(17, "영화가 <b>재미</b> | 없다", None, "부정", Answer("긍정", 0.51), Answer("부정", 0.52), 0.03),),
    mcnemar=McNemar(30, 14, 0.022),
    modelled=Estimate(-0.0081, -0.0132, -0.003, -0.0125, -0.0038, "modelled", 30),
    origin=Origin(
        sha256="ab" * 32,
        source="korean-nli",
        source_sha256="cd" * 32,
        target="avx2",
        recipe={"method": "dynamic"},
        layers={"encoder.layer.0.attention.self.query": 31.4, "classifier": 26.0},
    ),
)
COMPARISON = ComparisonRecord(
    task="text-classification",
    n=1340,
    texts=1340,
    truncated=0,
    tokens=45_678,
    tokenize_seconds=0.256,
    threads=2,
    cpu="AMD EPYC",
    cpu_kind="avx2",
    rows=(BASELINE, CANDIDATE),
)
UNSCORED = dataclasses.replace(
    COMPARISON,
    rows=tuple(dataclasses.replace(row, quality={}, differences={}) for row in (BASELINE, CANDIDATE)),
)


def columns(cells):
    """Column name -> its values below the header."""
    assert {len(row) for row in cells} == {len(cells[0])}
    return {name: [row[index] for row in cells[1:]] for index, name in enumerate(cells[0])}


def test_a_comparison_is_told_in_its_units():
    assert columns(speed_cells(COMPARISON)) == {
        "model": ["korean-nli (float)", "모델 (dynamic)"],
        "engine": ["torch", "onnxruntime"],
        "MiB": ["24.5", "6.5"],
        "smaller": ["1.00x", "3.77x"],
        "seconds": ["12.00", "4.00"],
        "rows/s": ["28", "1,234"],
        "text to answer, rows/s": ["-", "987"],
        "faster": ["1.00x", "3.00x"],
        "1 row, ms p50 / p95": ["41.3 / 55.0", "9.9 / 12.3"],
        "load, s": ["3.21", "0.13"],
        "first answer, s": ["3.30", "0.14"],
        "peak MiB": ["900", "120"],
    }
    assert columns(quality_cells(COMPARISON)) == {
        "model": ["korean-nli (float)", "모델 (dynamic)"],
        "engine": ["torch", "onnxruntime"],
        "accuracy": ["51.23", "50.00"],
        "points (95 % interval)": ["+0.00", "-1.23 (-2.10 to -0.30)"],
        "macro-F1": ["49.88", "49.99"],
        "agreement": ["100.00%", "98.77%"],
        "KL x 1e5": ["0.0", "12.3"],
        "margin left": ["100.0%", "98.7%"],
        "batch effect": ["1e-07", "0.02"],
    }
    assert columns(speed_cells(COMPARISON, korean))["압축률"] == ["1.00배", "3.77배"]


def renamed(comparison, old, new):
    """The comparison with another score in the place of one."""
    rows = [
        dataclasses.replace(
            row,
            quality={new if name == old else name: value for name, value in row.quality.items()},
            differences={new if name == old else name: value for name, value in row.differences.items()},
        )
        for row in comparison.rows
    ]
    return dataclasses.replace(comparison, rows=tuple(rows))


def test_hundredths_of_a_correlation_are_no_percentage_points():
    found = renamed(COMPARISON, "accuracy", "spearman")
    assert "points (x 100) (95 % interval)" in quality_cells(found)[0]
    assert "차이(점(×100), 95% 신뢰구간)" in quality_cells(found, korean)[0]
    assert "%p" not in headline(found, korean)
    assert "%p" not in "".join(verdict_notes(found.under(Budget(max_drop=1)), korean))
    assert "%p" in headline(COMPARISON, korean)


def test_answers_that_are_no_numbers_are_told_and_fail():
    broken = dataclasses.replace(
        CANDIDATE, quality={}, differences={}, fidelity={}, closeness={}, batch_effect=None, mcnemar=None, not_finite=3
    )
    found = dataclasses.replace(COMPARISON, rows=(BASELINE, broken)).under(Budget(max_drop=1, max_size=0.5))
    assert found.verdict == "FAIL"
    assert columns(quality_cells(found))["accuracy"] == ["51.23", "-"]
    assert "  FAIL  answers with NaN or infinity at most 0: it is 3" in verdict_notes(found)
    assert "  PASS  size at most 50.0%: it is 26.5%" in verdict_notes(found)
    assert len(verdict_notes(found)) == 3
    assert headline(found).endswith("3 of its answers are NaN or infinity.")
    assert "모델 (dynamic): NaN or infinity in 3 answers" in comparison_notes(found)


def test_what_margins_tell_stands_beside_what_was_counted():
    told = "accuracy differs by -0.81 points (95 % interval -1.32 to -0.30); the counted difference decides"
    assert f"모델 (dynamic): by how far its logits moved, {told}" in comparison_notes(COMPARISON)
    assert "정확도 차이 -0.81%p(95% 신뢰구간 -1.32 ~ -0.30)" in "\n".join(comparison_notes(COMPARISON, korean))
    without = dataclasses.replace(COMPARISON, rows=(BASELINE, dataclasses.replace(CANDIDATE, modelled=None)))
    assert "logits" not in "\n".join(comparison_notes(without))
    for found in (COMPARISON, without):
        assert "at least -1.90 points" in "\n".join(verdict_notes(found.under(Budget(max_drop=2))))


BUSY = dataclasses.replace(COMPARISON, load=MachineLoad(True, waiting=0.31, idle=None, foreign=0.42, stolen=0.0))


def test_a_busy_machine_is_told_wherever_a_speed_is():
    assert columns(speed_cells(BUSY))["faster"] == ["1.00x", "3.00x, UNSURE"]
    note = (
        "machine busy: other processes took 42 % of the cores, other machines took 0 % of the cores, "
        "models waited for a core 31 % of their time; speeds are UNSURE, quality is not affected"
    )
    assert note in comparison_notes(BUSY)
    assert "3.00x as fast" in headline(COMPARISON)
    assert "3.00" not in headline(BUSY)
    assert "its speed is UNSURE, since the machine was busy" in headline(BUSY)
    found = BUSY.under(Budget(min_speedup=2, max_size=0.5))
    assert found.verdict == "UNSURE"
    assert headline(found).startswith("UNSURE: the machine was busy, so it is not decided whether the budget is kept")
    assert "  UNSURE  faster at least 2.00x: 3.00x was measured, but the machine was busy" in verdict_notes(found)
    assert "  PASS  size at most 50.0%: it is 26.5%" in verdict_notes(found)
    for text in (report_html(found), report_markdown(found)):
        assert text.count("UNSURE") >= 4
        assert "machine busy: other processes took 42 %" in text


def test_a_busy_machine_is_told_in_korean():
    found = BUSY.under(Budget(min_speedup=2))
    assert columns(speed_cells(found, korean))["속도 향상"] == ["1.00배", "3.00배, UNSURE"]
    assert any("다른 프로세스가 CPU의 42% 사용" in note for note in comparison_notes(found, korean))
    assert headline(found, korean).startswith("UNSURE: 측정 중 다른 작업이 있어")
    assert "속도 2.00배 이상: 측정값 3.00배, 측정 중 다른 작업이 있었음" in "\n".join(verdict_notes(found, korean))


def test_data_that_does_not_decide_is_told_apart_from_a_busy_machine():
    found = BUSY.under(Budget(min_speedup=2, max_drop=1.2))
    assert {check.verdict for check in found.rows[1].judgement.checks} == {"UNSURE"}
    assert headline(found).startswith("UNSURE: the data does not decide")


def test_a_load_that_is_not_known_is_said_and_a_quiet_one_is_not():
    for load, told in ((MachineLoad(None, idle=0.0), True), (MachineLoad(False, 0.0, 0.0, 0.0, 0.0), False)):
        found = dataclasses.replace(COMPARISON, load=load).under(Budget(min_speedup=2))
        assert any("is not known here" in note for note in comparison_notes(found)) is told
        assert found.verdict == "PASS"


def test_models_that_are_called_alike_are_told_apart_by_their_engines():
    other = dataclasses.replace(CANDIDATE, engine="openvino", spread=0.3)
    found = dataclasses.replace(COMPARISON, rows=(BASELINE, CANDIDATE, other))
    notes = "\n".join(comparison_notes(found))
    assert "모델 (dynamic), onnxruntime: 30 rows" in notes
    assert "모델 (dynamic), openvino (30 %)" in notes
    passed = headline(found.under(Budget(max_drop=5)))
    assert passed.startswith("PASS: the budget is kept by 모델 (dynamic), onnxruntime, 모델 (dynamic), openvino.")
    assert passed.count("its accuracy differs by") == 2


def test_times_of_one_round_are_no_median():
    once = dataclasses.replace(COMPARISON, rows=tuple(dataclasses.replace(row, rounds=1) for row in COMPARISON.rows))
    assert "interleaved, timed once" in "\n".join(comparison_notes(once))


def test_without_labels_there_is_no_column_of_scores():
    without, scored = (columns(quality_cells(comparison)) for comparison in (UNSCORED, COMPARISON))
    assert set(scored) - set(without) == {"accuracy", "points (95 % interval)", "macro-F1"}
    assert without == {name: scored[name] for name in without}


def test_verdicts_are_told_with_their_reasons():
    budget = Budget(max_drop=1.5, min_speedup=3, max_size=0.3, min_agreement=0.995, min_cosine=0.9)
    assert verdict_notes(COMPARISON) == []
    between = "at least -1.90 points and at most -0.50 points with 95 % confidence each"  # as the table's sign
    needed = {check.name: check.rows_needed for check in COMPARISON.under(budget).rows[1].judgement.checks}
    assert verdict_notes(COMPARISON.under(budget)) == [
        "FAIL  모델 (dynamic), onnxruntime",
        (
            f"  UNSURE  drop at most 1.50 points (below 0: it fell): -1.23 points, {between}; "
            f"about {needed['max_drop']:,} rows would decide"
        ),
        "  UNSURE  faster at least 3.00x: 3.00x, at least 2.90x and at most 3.20x with 95 % confidence each",
        "  PASS  size at most 30.0%: it is 26.5%",
        "  FAIL  agreement at least 99.50%: 98.77%, with 95 % confidence at most 99.20%",
        "  FAIL  cosine at least 0.9000: nothing to decide it on, this needs a sentence embedder",
    ]


def test_the_first_sentence_is_the_verdict_or_what_is_gained_for_what():
    gain = "모델 (dynamic) has 26.5% of the baseline's size and is 3.00x as fast"
    scored = f"{gain}; its accuracy differs by -1.23 points (95 % interval -2.10 to -0.30)."
    assert headline(COMPARISON) == scored
    assert headline(COMPARISON.under(Budget(max_size=0.2))) == f"FAIL: the budget is broken by 모델 (dynamic). {scored}"
    assert headline(COMPARISON.under(Budget(max_drop=5))) == f"PASS: the budget is kept by 모델 (dynamic). {scored}"
    assert headline(COMPARISON.under(Budget(max_drop=1.5))).startswith("UNSURE: the data does not decide whether")
    assert headline(UNSCORED) == f"{gain}; agreement with it is 98.77%, of labels nothing is known."
    assert headline(dataclasses.replace(COMPARISON, rows=(BASELINE,))).startswith("One model alone: korean-nli (float)")


@pytest.mark.parametrize("comparison", [COMPARISON, UNSCORED])
def test_markdown_has_the_cells(comparison):
    cells = quality_cells(comparison)
    lines = table(cells).splitlines()
    assert len(lines) == len(cells) + 1
    assert lines[1] == "|" + "---|" * len(cells[0])
    read = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    assert read == cells


def test_a_name_with_a_bar_does_not_make_a_cell_more():
    renamed = dataclasses.replace(COMPARISON, rows=(dataclasses.replace(BASELINE, name="a|b"),))
    header, _, row = table(quality_cells(renamed)).splitlines()
    assert row.replace("\\|", "").count("|") == header.count("|")


def test_the_notes_of_a_comparison():
    text = "\n".join(comparison_notes(COMPARISON))
    for told in ("1,340 rows", "45,678 tokens", "0.26 s", "2 threads", "AMD EPYC (avx2)", "median of 4 rounds"):
        assert told in text
    assert "모델 (dynamic): 30 rows that only the baseline has right, 14 that only this one has" in text
    assert "McNemar's exact p 0.022" in text
    assert "cut at the limit" not in text
    cut = "\n".join(comparison_notes(dataclasses.replace(COMPARISON, truncated=1200)))
    assert "1,200 rows cut at the limit" in cut


def layer(path, **changes):
    made = {
        "path": path,
        "kind": "linear",
        "part": "attention",
        "dtype": "int8",
        "reason": "one scale per output channel",
        "parameters": MIB,
        "bytes": MIB + MIB // 4,
        "weight_bits": 8,
        "activation": "tensor",
        "error_db": 40.0,
    }
    return LayerResult(**(made | changes))


KEPT = {
    "dtype": "float32",
    "reason": "kept by the rule 'b*'",
    "bytes": 4 * MIB,
    "weight_bits": None,
    "activation": None,
    "error_db": None,
}


def test_layers_are_summed_by_part_and_storage():
    layers = [
        layer("a", error_db=41.26),
        layer("b", **KEPT),
        layer("c", error_db=38.04, weight_bits=8),
        layer("d", part="head", weight_bits=7),
        layer("e", part="head", weight_bits=7, error_db=35.0),
    ]
    cells = part_cells(layers)
    assert columns(cells) == {
        "part": ["attention", "attention", "head"],
        "stored as": ["int8", "float32", "int8 (7 of 8 bits used)"],
        "layers": ["2", "1", "2"],
        "float MiB": ["8.00", "4.00", "8.00"],
        "MiB": ["2.50", "4.00", "2.50"],
        "weight error, dB": ["38.0 to 41.3", "", "35.0 to 40.0"],
    }


def test_the_parts_of_the_demo_are_all_of_it(demo_int8, demo_float):
    for folder in (demo_int8, demo_float):
        manifest = open_artifact(folder).manifest
        found = columns(part_cells(manifest.layers))
        assert sum(map(int, found["layers"])) == len(manifest.layers)
        assert sum(map(float, found["MiB"])) == pytest.approx(
            sum(layer.bytes for layer in manifest.layers) / MIB, abs=0.005 * len(found["MiB"])
        )
        assert sum(map(float, found["float MiB"])) == pytest.approx(
            sum(layer.parameters for layer in manifest.layers) * 4 / MIB, abs=0.005 * len(found["MiB"])
        )


def test_size_method_and_target_are_told(made_before):
    artifact = open_artifact(made_before)
    manifest = artifact.manifest
    text = "\n".join(quantization_notes(manifest, artifact.bytes, artifact.chosen_engine))
    share = 100 * artifact.bytes / manifest.source.bytes
    assert f"{artifact.bytes / MIB:.1f} MiB of {manifest.source.bytes / MIB:.1f} ({share:.1f} %" in text
    assert "stored as float32" in text
    assert f"method dynamic, target {manifest.target}, opset {manifest.export.opset}" in text


def test_nothing_stayed_float(made_before):
    manifest = open_artifact(made_before).manifest
    notes = quantization_notes(manifest.model_copy(update={"layers": (layer("a"), layer("b"))}), MIB, ENGINE)
    assert [note for note in notes if "layers" in note] == [
        "all 2 layers are int8; biases and normalizations stay float"
    ]


def test_what_stayed_float_is_told_with_its_reason(made_before):
    manifest = open_artifact(made_before).manifest
    layers = [
        layer("a"),
        *(layer(f"b{number}", **KEPT) for number in range(4)),
        layer("c", **KEPT | {"reason": "its weight has values that are not finite"}),
    ]
    changed = manifest.model_copy(update={"layers": tuple(layers)})
    notes = quantization_notes(changed, 5 * MIB, ENGINE)
    assert "4 of 6 layers stayed float, kept by the rule 'b*': b0, b1, b2, ..." in notes
    assert "1 of 6 layers stayed float, its weight has values that are not finite: c" in notes
    assert not [note for note in notes if note.startswith("all ")]


def test_why_the_opset_is_not_the_newest_is_told(made_before):
    manifest = open_artifact(made_before).manifest
    reason = "opset 23 did not work: it differs"
    export = manifest.export.model_copy(update={"opset": 20, "note": reason})
    notes = quantization_notes(manifest.model_copy(update={"export": export}), MIB, ENGINE)
    assert reason in notes
    assert any("opset 20" in note for note in notes)
