"""The table of held stages."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.ids import Digest, StageKey
from services.worker.requests.stage_phase import StagePhase
from services.worker.stages.stage_table import StageTable

STAGE = StageKey("m/1/0")


def test_stage_table_refuses_impossible_transitions():
    """It raises instead of becoming inconsistent."""
    table = StageTable()
    with pytest.raises(RuntimeError, match="expected"):
        table.mark_evicting(STAGE)
    table.add_loading(STAGE, Digest("d"))
    with pytest.raises(RuntimeError, match="expected"):
        table.add_loading(STAGE, Digest("d"))
    with pytest.raises(RuntimeError, match="expected"):
        table.mark_evicting(STAGE)


async def test_stage_table_is_empty_once_the_last_stage_is_removed():
    """Only ready stages are reported to schedulers; runners include those being evicted."""
    table, runner = StageTable(), object()
    table.add_loading(StageKey("m/1/1"), Digest("e"))
    table.add_loading(STAGE, Digest("d"))
    assert (table.phase(STAGE), table.holding(), table.runners()) == (StagePhase.LOADING, [], [])
    table.mark_ready(STAGE, runner, 1.5)
    assert [(held.stage, held.digest, held.load_s) for held in table.holding()] == [(STAGE, "d", 1.5)]
    assert table.mark_evicting(STAGE) is runner
    assert (table.holding(), table.runners()) == ([], [runner])
    waiting = asyncio.ensure_future(table.wait_empty())
    await asyncio.sleep(0)
    assert not waiting.done()
    table.remove(StageKey("m/1/1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    table.remove(STAGE)
    await asyncio.wait_for(waiting, 300)
    assert STAGE not in table
