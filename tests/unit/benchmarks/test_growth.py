"""Memory late in a run is held against memory after one minute."""

from __future__ import annotations

import pytest

from benchmarks.memory.growth import Sample, growth_result, growths


def samples(seconds, size_at):
    return [
        Sample(float(at_s), {"gateway": size_at(at_s), "worker-0": 1000}, {"gateway": 500, "worker-0": 500})
        for at_s in range(seconds + 1)
    ]


def test_growth_is_late_by_early():
    """A process that grows by a byte a second has grown by as much between the middles of the windows."""
    gateway, worker = growths(samples(120, lambda at_s: 1000 + at_s))
    assert (gateway.early_rss, gateway.late_rss) == (1060, 1105)
    assert gateway.rss == 1105 / 1060
    assert (gateway.pss, worker.rss, worker.pss) == (1.0, 1.0, 1.0)


def test_growth_ignores_what_is_held_every_other_second():
    """A request that comes and goes counts by how long it is there, early and late."""
    gateway, _ = growths(samples(120, lambda at_s: 1000 + 500 * (at_s % 2)))
    assert gateway.rss == pytest.approx(1.0, abs=0.02)


def test_growth_result_is_that_of_the_process_that_grew_most():
    """The others stand beside it."""
    result = growth_result(growths(samples(120, lambda at_s: 1000 if at_s < 90 else 2000)))
    assert result.value == 2.0
    assert result.verdict == "below"
    assert result.sides == "gateway 2.000, worker-0 1.000"


def test_growth_needs_samples_around_one_minute():
    """The error has its length."""
    with pytest.raises(ValueError, match="around 60 s, the last is at 30 s"):
        growths(samples(30, lambda at_s: 1000))
