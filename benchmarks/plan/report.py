"""Tables of `make bench-plan`."""

from __future__ import annotations

from rich.table import Table

from benchmarks.plan.big_model import NUM_STAGES, BigCut
from benchmarks.plan.every_cut import EveryCut
from benchmarks.plan.predictions import Prediction


def cuts_table(name: str, every: EveryCut) -> Table:
    """One row for each cut that matters."""
    title = f"{name} in two stages on two one-thread processes: all {every.num_cuts} cuts measured"
    table = Table("cut", title=title)
    for column in ("at node", "predicted ms", "stage 0 ms", "stage 1 ms", "slower ms", "of best"):
        table.add_column(column, justify="right")
    best = every.cuts[0].period_s
    for cut in every.cuts:
        predicted = "" if cut.predicted_s is None else f"{cut.predicted_s * 1e3:.2f}"
        figures = [f"{stage * 1e3:.2f}" for stage in (*cut.stages_s, cut.period_s)]
        table.add_row(cut.what, str(cut.position), predicted, *figures, f"{cut.period_s / best:.3f}")
    return table


def predictions_table(found: list[Prediction]) -> Table:
    """One row for each stage."""
    table = Table("model", "stage", title="predicted against measured, each stage alone on the machine")
    for column in (
        "measured ms",
        "from profile",
        "off",
        "from estimates",
        "off",
        "memory MB",
        "predicted",
        "off",
    ):
        table.add_column(column, justify="right")
    for each in found:
        table.add_row(
            each.model,
            f"{each.stage} of {each.num_stages}",
            f"{each.measured_s * 1e3:.2f}",
            f"{each.from_profile_s * 1e3:.2f}",
            f"{each.from_profile_s / each.measured_s - 1:+.0%}",
            f"{each.from_estimates_s * 1e3:.2f}",
            f"{each.from_estimates_s / each.measured_s - 1:+.0%}",
            f"{each.measured_bytes / 1e6:.0f}",
            f"{each.predicted_bytes / 1e6:.0f}",
            f"{each.predicted_bytes / each.measured_bytes - 1:+.0%}",
        )
    return table


def big_table(cuts: list[BigCut]) -> Table:
    """One row for each mode."""
    table = Table("cut", title=f"onnxmesh split --stages {NUM_STAGES}")
    for column in ("weights MB", "seconds", "peak memory MB"):
        table.add_column(column, justify="right")
    for each in cuts:
        table.add_row(
            each.what,
            f"{each.weight_bytes / 1e6:,.0f}",
            f"{each.seconds:.1f}",
            f"{each.peak_bytes / 1e6:.0f}",
        )
    return table
