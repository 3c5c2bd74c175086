"""Who commands a worker, and what they are told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from onnxmesh.errors import Conflict
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.worker_pb2 import Holding, WorkerEvent
from services.worker.control.scheduler_connections import MAX_EVENTS, SchedulerConnections
from services.worker.settings import WorkerSettings
from services.worker.stages.warm_up import zeros

HOLDING = WorkerEvent(holding=Holding())


async def taken(feed):
    events = []
    while (event := await feed.next()) is not None:
        events.append(event.WhichOneof("kind"))
    return events


def test_commands_are_obeyed_from_the_newest_term_alone():
    """Equal is fine, older is not, whoever says so."""
    schedulers = SchedulerConnections()
    for epoch in (3, 3, 5):
        schedulers.check_epoch(epoch)
    with pytest.raises(Conflict, match="epoch 4; epoch 5 has begun"):
        schedulers.check_epoch(4)


async def test_every_scheduler_is_told_and_holding_comes_first():
    """One that left is not; what waits is delivered before the end."""
    schedulers = SchedulerConnections()
    with schedulers.connect(HOLDING) as one:
        with schedulers.connect(HOLDING) as two:
            schedulers.publish_load(Load())
        schedulers.publish_draining()
        schedulers.close()
        two.end()
        assert await taken(one) == ["holding", "load", "draining"]
        assert await taken(two) == ["holding", "load"]


async def test_who_connects_to_a_draining_worker_is_told_so():
    """After what it holds; to one that has hung up, then the end."""
    schedulers = SchedulerConnections()
    schedulers.publish_draining()
    schedulers.close()
    with schedulers.connect(HOLDING) as feed:
        assert await taken(feed) == ["holding", "draining"]


async def test_a_scheduler_that_does_not_read_is_hung_up_on():
    """Memory stays bounded, and the others hear everything."""
    schedulers = SchedulerConnections()
    with schedulers.connect(HOLDING) as slow, schedulers.connect(HOLDING) as quick:
        for _ in range(MAX_EVENTS + 10):
            schedulers.publish_load(Load())
            await quick.next()
        assert await slow.next() is None
        quick.end()
        assert await taken(quick) == ["load"]


@pytest.mark.parametrize(
    ("spec", "shape", "size"),
    [
        (TensorSpec("x", "FP32", (-1, 3)), (1, 3), 12),
        (TensorSpec("x", "BYTES", (2, -1)), (2, 1), 8),
        (TensorSpec("x", "INT4", (3,)), (3,), 2),
        (TensorSpec("x", "INT64", ()), (), 8),
        (TensorSpec("x", "BOOL", None), (), 1),
        (TensorSpec("x", "FP16", (0, 4)), (0, 4), 0),
    ],
)
def test_zeros_have_the_shape_that_a_model_asks_for(spec, shape, size):
    """One where it may vary; empty strings for BYTES."""
    made = zeros([spec])["x"]
    assert (made.shape, made.byte_size) == (shape, size)


def test_settings_are_read_from_words():
    """Tags from a list with commas; an id is made up where none is given; nonsense is refused."""
    settings = WorkerSettings(tags="edge, spot,,")
    assert settings.tags == ("edge", "spot")
    assert settings.id.startswith("worker-")
    assert settings.id != WorkerSettings().id
    for wrong in ({"id": "a b"}, {"scheduler": "nowhere"}, {"threads": 0}, {"queue_size": 0}):
        with pytest.raises(ValidationError):
            WorkerSettings(**wrong)
