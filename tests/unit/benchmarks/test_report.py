"""What is printed and written says the same as the figures."""

from __future__ import annotations

import io
import json
import math

from rich.console import Console

from benchmarks.figures import Figure, missing, target_of
from benchmarks.measurement import Measurement, Run
from benchmarks.outcome import Outcome, Row
from benchmarks.report import amount, figure_row, figures_table, markdown, rows_table

REACHED = Figure(target_of("hop-memory"), (3.0, 4.0, 5.0), "9.00 - 5.00 ms")
MISSING = missing("identity-ray", "ended with exit code 1: a | b")


def outcome():
    silent = Measurement.of([Run(0.0, math.nan, math.nan, 0.0)])
    alive = Measurement.of([Run(100.0, 1.0, 2.0, 30.0, {"gateway": 60.0, "scheduler": 0.2})])
    rows = [Row("identity", "onnxmesh", 8, alive), Row("identity", "silent", 8, silent, curve=True)]
    return Outcome([REACHED, MISSING], rows, {"Ray Serve": "missing: no wheel"})


def test_a_figure_in_words():
    """Bounds with their sign, the median with its unit, the spread, and what was reached."""
    title, *words = figure_row(REACHED)
    assert title == REACHED.target.title
    assert words == ["≤ 5.00 ms", "≤ 2.00 ms", "4.00 ms", "3.00 to 5.00", "9.00 - 5.00 ms", "floor"]


def test_a_figure_without_a_floor_names_none():
    """It only tells."""
    words = figure_row(Figure(target_of("pipeline"), (0.7, 0.8, 0.9), "80 : 100 ms"))
    assert words[1:4] == ("", "≤ 0.67", "0.80")
    assert words[-1] == "told"


def test_a_missing_figure_in_words():
    """Its reason stands where the others say what they are made of."""
    assert figure_row(MISSING)[3:] == ("—", "", MISSING.reason, "missing")


def test_markdown_is_one_table():
    """Every row has as many cells as the header, whatever a reason holds."""
    text = markdown([REACHED, MISSING], {"Ray Serve": "ray 2"}, {"cores": 2})
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {line.replace("\\|", "").count("|") for line in rows} == {8}
    assert "cores 2" in text
    assert "Ray Serve ray 2" in text


def test_the_document_is_json():
    """What is no number is null; figures come in the order of the targets."""
    document = json.loads(json.dumps(outcome().document(), allow_nan=False))
    assert [figure["key"] for figure in document["figures"]] == ["identity-ray", "hop-memory"]
    assert document["figures"][0]["value"] is None
    assert document["figures"][1]["value"] == 4.0
    assert document["rows"][1]["measured"]["p50_ms"] is None
    assert document["rivals"] == {"Ray Serve": "missing: no wheel"}


def test_the_clients_share():
    """Of the CPU of client and server together."""
    assert outcome().rows[0].client_share == 30.0 / 90.2


def test_tables_can_be_printed():
    """Both say what they know, also of a server that answered nothing."""
    console = Console(width=200, file=io.StringIO())
    with console.capture() as printed:
        console.print(figures_table([REACHED, MISSING]))
        console.print(rows_table(outcome().rows))
    text = printed.get()
    assert "gateway 60" in text
    assert "scheduler" not in text
    assert "missing" in text


def test_amounts_have_three_digits():
    """More digits than a measurement is worth are not shown."""
    assert [amount(value) for value in (0.123, 1.234, 12.34, 1234.5)] == ["0.12", "1.23", "12.3", "1,234"]
    assert amount(3.0, "ms") == "3.00 ms"
