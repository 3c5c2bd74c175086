"""What is printed and written says the same as the results."""

from __future__ import annotations

import io
import json
import math

from rich.console import Console

from benchmarks.measurement import Measurement, Run
from benchmarks.outcome import Outcome, Row
from benchmarks.report import amount, markdown, rows_table, target_row, targets_table
from benchmarks.targets import TargetResult, missing_result, target_of

REACHED = TargetResult(target_of("hop-memory"), (3.0, 4.0, 5.0), "9.00 - 5.00 ms")
MISSING = missing_result("identity-ray", "ended with exit code 1: a | b")


def outcome():
    empty = Measurement.of([Run(0.0, math.nan, math.nan, 0.0)])
    alive = Measurement.of([Run(100.0, 1.0, 2.0, 30.0, {"gateway": 60.0, "scheduler": 0.2})])
    rows = [Row("identity", "onnxmesh", 8, alive), Row("identity", "empty", 8, empty, curve=True)]
    return Outcome([REACHED, MISSING], rows, {"Ray Serve": "missing: no wheel"})


def test_target_row_has_a_cell_for_each_column():
    """Bounds with their sign, the median with its unit, the spread, and what was reached."""
    title, *words = target_row(REACHED)
    assert title == REACHED.target.title
    assert words == ["≤ 5.00 ms", "≤ 2.00 ms", "4.00 ms", "3.00 to 5.00", "9.00 - 5.00 ms", "floor"]


def test_target_row_without_a_floor():
    """It is informative only."""
    words = target_row(TargetResult(target_of("pipeline"), (0.7, 0.8, 0.9), "80 : 100 ms"))
    assert words[1:4] == ("", "≤ 0.67", "0.80")
    assert words[-1] == "told"


def test_target_row_of_a_missing_result_has_the_reason():
    """Its reason stands where the others say what they are made of."""
    assert target_row(MISSING)[3:] == ("—", "", MISSING.reason, "missing")


def test_markdown_is_one_table():
    """Every row has as many cells as the header, whatever a reason holds."""
    text = markdown([REACHED, MISSING], {"Ray Serve": "ray 2"}, {"cores": 2})
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {line.replace("\\|", "").count("|") for line in rows} == {8}
    assert "cores 2" in text
    assert "Ray Serve ray 2" in text


def test_outcome_document_is_json():
    """What is no number is null; results come in the order of the targets."""
    document = json.loads(json.dumps(outcome().document(), allow_nan=False))
    assert [result["key"] for result in document["figures"]] == ["identity-ray", "hop-memory"]
    assert document["figures"][0]["value"] is None
    assert document["figures"][1]["value"] == 4.0
    assert document["rows"][1]["measured"]["p50_ms"] is None
    assert document["rivals"] == {"Ray Serve": "missing: no wheel"}


def test_row_has_the_share_of_the_client():
    """Of the CPU of client and server together."""
    assert outcome().rows[0].client_share == 30.0 / 90.2


def test_tables_can_be_printed():
    """Both say what they know, also of a server that answered nothing."""
    console = Console(width=200, file=io.StringIO())
    with console.capture() as printed:
        console.print(targets_table([REACHED, MISSING]))
        console.print(rows_table(outcome().rows))
    text = printed.get()
    assert "gateway 60" in text
    assert "scheduler" not in text
    assert "missing" in text


def test_amounts_have_three_digits():
    """More digits than a measurement is worth are not shown."""
    assert [amount(value) for value in (0.123, 1.234, 12.34, 1234.5)] == ["0.12", "1.23", "12.3", "1,234"]
    assert amount(3.0, "ms") == "3.00 ms"
