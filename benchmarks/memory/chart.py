"""Memory over time, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts import prepare, saved
from benchmarks.memory.growth import EARLY_S, Sample
from onnxmesh.pictures.colours import INK, KINDS, LINES


def draw(samples: Sequence[Sample], stem: Path) -> list[Path]:
    """Draws RSS (whole lines) and PSS (dotted) of each process; returns the files.

    Raises:
        ChartsMissing: matplotlib is not installed.
    """
    prepare()
    from matplotlib.figure import Figure  # noqa: PLC0415 - only after `prepare`

    chart = Figure(figsize=(9, 4.5), layout="constrained")
    panel = chart.subplots()
    times = [sample.at_s / 60 for sample in samples]
    for place, name in enumerate(samples[0].rss):
        colour = KINDS[place % len(KINDS)]
        panel.plot(times, [sample.rss[name] / 2**20 for sample in samples], color=colour, label=name)
        panel.plot(times, [sample.pss[name] / 2**20 for sample in samples], color=colour, linestyle=":")
    panel.axvline(EARLY_S / 60, color=INK, linewidth=0.8, linestyle="--")
    panel.set(xlabel="minutes of mixed load", ylabel="RSS, dotted PSS: MiB", ylim=(0, None))
    panel.grid(color=LINES, linewidth=0.5, alpha=0.5)
    panel.legend(fontsize=8)
    return saved(chart, stem)
