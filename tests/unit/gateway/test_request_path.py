"""The layers of the request path, in their order."""

from __future__ import annotations

import pytest

from onnxmesh.errors import DeadlineExceeded
from onnxmesh.routing.table.table import EMPTY_TABLE
from onnxmesh.routing.table.table_difference import difference
from services.gateway.batching.micro_batch_runner import MicroBatchRunner
from services.gateway.batching.request_coalescer import RequestCoalescer
from services.gateway.dispatch.deadline_guard import DeadlineGuard
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.request_path import RequestPath
from tests.unit.gateway.dispatch_bench import Bench


def layers(layer):
    """The classes of a layer and of those below it."""
    found = [type(layer)]
    for name in ("_layer", "_dispatcher"):
        if hasattr(layer, name) and not isinstance(layer, Dispatcher):
            found += layers(getattr(layer, name))
    return found


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("coalesce", [True, False])
def test_request_path_has_the_layers_that_are_enabled(split, coalesce):
    """Coalesce, deadline, split, dispatch; a request that is alone is not coalesced."""
    bench = Bench("a")
    path = RequestPath(bench.dispatcher, bench.router, split=split, coalesce=coalesce)
    alone = [DeadlineGuard, *([MicroBatchRunner] if split else []), Dispatcher]
    assert layers(path.alone) == alone
    assert layers(path.entry) == [*([RequestCoalescer] if coalesce else []), *alone]


async def test_request_path_raises_at_the_deadline_of_a_request():
    """Through each of the gateway's entries."""
    bench = Bench("a")
    bench.routes("a")
    path = RequestPath(bench.dispatcher, bench.router, split=True, coalesce=True, clock=bench.clock)
    request = bench.new_request()
    bench.clock.now_s += 60.0
    for layer in (path.alone, path.entry):
        with pytest.raises(DeadlineExceeded):
            await layer.infer(request)


def test_update_reaches_every_layer():
    """Streams are kept to the workers of the table; what was measured of removed models is removed."""
    bench = Bench("a")
    bench.routes("a")
    path = RequestPath(bench.dispatcher, bench.router, split=True, coalesce=True)
    table = bench.router.table
    path._coalescer._cost_of(table.find("m", ""))
    path._splitter._batcher._row_bytes["m/1/0"] = 1.0
    path.update(EMPTY_TABLE, difference(table, EMPTY_TABLE))
    assert not bench.links.kept
    assert not path._coalescer._costs
    assert not path._splitter._batcher._row_bytes
