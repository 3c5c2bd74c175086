"""Charts show each server as a line over its loads."""

from __future__ import annotations

import pytest

from benchmarks import charts
from benchmarks.measurement import Measurement, Run
from benchmarks.memory import chart as memory_chart
from benchmarks.memory.growth import Sample
from benchmarks.outcome import Outcome, Row
from benchmarks.targets import TargetResult, target_of


def results():
    def row(in_flight, *, curve):
        measured = Measurement.of([Run(100.0 * in_flight, 1.0, 2.0, 30.0, {"gateway": 60.0})])
        return Row("identity", "onnxmesh", in_flight, measured, curve)

    results = [
        TargetResult(target_of("identity-p50"), (1.5,)),
        TargetResult(target_of("identity-ray"), reason="no wheel"),
    ]
    rows = [row(8, curve=True), row(32, curve=False), row(1, curve=True)]
    return Outcome(results, rows).document()


def test_charts_order_the_points_of_a_curve_by_load():
    """Sides of results are no points of it."""
    curves = charts.curves_of(results()["rows"])
    assert [point["in_flight"] for point in curves["identity"]["onnxmesh"]] == [1, 8]


def test_charts_are_written_as_png_and_svg(tmp_path):
    """Latency against load, results against floor and goal; the same results give the same file."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    files = charts.draw(results(), tmp_path / "bench")
    assert [file.name for file in files] == [
        f"bench-{what}.{kind}" for what in ("latency", "figures") for kind in ("png", "svg")
    ]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    before = files[3].read_bytes()
    charts.draw(results(), tmp_path / "bench")
    assert files[3].read_bytes() == before


def test_charts_of_nothing_are_no_files(tmp_path):
    """A run without curves and results draws nothing."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert charts.draw(Outcome().document(), tmp_path / "bench") == []


def test_charts_of_memory_are_drawn(tmp_path):
    """A line for each process."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    samples = [Sample(float(at_s), {"gateway": 10**8}, {"gateway": 10**8}) for at_s in range(3)]
    files = memory_chart.draw(samples, tmp_path / "memory")
    assert [file.name for file in files] == ["memory.png", "memory.svg"]
