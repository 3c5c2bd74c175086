"""The WorkerControl service of a real worker: its Manage stream."""

from __future__ import annotations

from onnxmesh.v1.model_pb2 import Partition
from tests.eventually import eventually
from tests.fakes.commanding_scheduler import commanding
from tests.integration.worker.stage_models import artefact_of_bytes, wide


def kept(cache):
    return [path for path in cache.rglob("*") if path.is_file() and path.name != "in-use"]


async def test_manage_sends_the_held_stages_first(bench):
    """With their digests; also to a scheduler that connects later."""
    worker = await bench.worker("a")
    partition = bench.partitions(wide(), [])[0]
    await bench.place(worker, "m/1/0", partition)
    async with commanding(worker.address, epoch=2) as newer:
        await eventually(lambda: newer.events)
        (held,) = newer.events[0].holding.stages
        assert (held.stage, held.digest) == ("m/1/0", partition.artefact.digest)
    assert worker.scheduler.events[0].HasField("holding")


async def test_manage_reports_loaded_again_for_a_ready_stage(bench):
    """A scheduler that lost its memory may repeat itself, with the same content or with another."""
    worker = await bench.worker("a")
    one, two = bench.partitions(wide(), [1])
    await bench.place(worker, "m/1/0", one)
    again = await bench.place(worker, "m/1/0", one)
    assert again.digest == one.artefact.digest
    replaced = await bench.place(worker, "m/1/0", two)
    assert replaced.digest == two.artefact.digest


async def test_manage_loads_a_stage_that_is_placed_twice_once(bench):
    """The second command waits for the first."""
    worker = await bench.worker("a")
    partition = bench.partitions(wide(), [])[0]
    for _ in range(2):
        await worker.scheduler.place("m/1/0", partition, [bench.store])
    first = await worker.scheduler.wait_for("stage_loaded", 1)
    assert await worker.scheduler.wait_for("stage_loaded", 2) == first


async def test_manage_refuses_commands_of_an_older_term(bench):
    """That scheduler alone gets the refusal, and nothing is placed or evicted."""
    worker = await bench.worker("a")
    partition = bench.partitions(wide(), [])[0]
    await worker.scheduler.place("m/1/0", partition, [bench.store], epoch=7)
    await worker.scheduler.wait_for("stage_loaded")
    async with commanding(worker.address, epoch=6) as older:
        await older.evict("m/1/0")
        failed = await older.wait_for("stage_failed")
        assert (failed.stage, failed.reason) == ("m/1/0", "CONFLICT")
        assert "epoch 7" in failed.message
    assert not worker.scheduler.of("stage_failed")
    assert not worker.scheduler.of("stage_evicted")


async def test_manage_reports_a_stage_that_cannot_be_fetched(bench):
    """No source, a source without it, content that does not match: each with its reason; and it can be tried again."""
    worker = await bench.worker("a")
    partition = bench.partitions(wide(), [])[0]
    missing = Partition()
    missing.CopyFrom(partition)
    missing.artefact.CopyFrom(
        artefact_of_bytes("model.onnx", b"missing", bench.folder / "missing", bench.blobs)
    )
    bench.blobs.remove(missing.artefact.files[0].sha256)
    forged = Partition()
    forged.CopyFrom(partition)
    forged.artefact.files[0].byte_size += 1
    cases = [
        (partition, [], "UNAVAILABLE"),
        (partition, ["127.0.0.1:9"], "UNAVAILABLE"),
        (missing, [bench.store], "NOT_FOUND"),
        (forged, [bench.store], "CORRUPT_DATA"),
    ]
    for count, (each, sources, reason) in enumerate(cases, start=1):
        await worker.scheduler.place("m/1/0", each, sources)
        failed = await worker.scheduler.wait_for("stage_failed", count)
        assert (failed.stage, failed.reason) == ("m/1/0", reason), failed
    await worker.scheduler.place("m/1/0", partition, [bench.store])
    await eventually(lambda: worker.scheduler.of("stage_loaded"))


async def test_manage_keeps_no_file_of_a_partition_that_does_not_load(bench, tmp_path):
    """No file of it stays on this worker's disk."""
    worker = await bench.worker("a", cache=tmp_path / "cache")
    broken = Partition(
        artefact=artefact_of_bytes("model.onnx", b"not a model", bench.folder / "b", bench.blobs)
    )
    await worker.scheduler.place("m/1/0", broken, [bench.store])
    failed = await worker.scheduler.wait_for("stage_failed")
    assert failed.reason == "INVALID_MODEL"
    assert str(tmp_path) not in failed.message
    assert kept(tmp_path / "cache") == []


async def test_manage_reports_evicted_also_for_stages_that_are_not_ready(bench):
    """And files go with the stage, unless another one has the same."""
    worker = await bench.worker("a", cache=bench.folder / "cache")
    partition = bench.partitions(wide(), [])[0]
    await worker.scheduler.evict("m/1/0")
    await worker.scheduler.wait_for("stage_evicted", 1)
    await worker.scheduler.place("m/1/0", partition, [bench.store])
    await worker.scheduler.evict("m/1/0")
    await worker.scheduler.wait_for("stage_evicted", 2)
    assert kept(bench.folder / "cache") == []
    for stage in ("m/1/0", "m/2/0"):
        await bench.place(worker, stage, partition)
    await worker.scheduler.evict("m/1/0")
    await worker.scheduler.wait_for("stage_evicted", 3)
    assert kept(bench.folder / "cache")


async def test_manage_sends_the_load_periodically(bench):
    """To schedulers on their streams."""
    worker = await bench.worker("a")
    await eventually(lambda: len(worker.scheduler.of("load")) >= 2)
    assert worker.scheduler.of("load")[-1].resident_bytes > 1_000_000


async def test_manage_keeps_the_stages_of_a_disconnected_scheduler(bench):
    """Half-closed or cut off."""
    worker = await bench.worker("a")
    partition = bench.partitions(wide(), [])[0]
    async with commanding(worker.address) as passing:
        await passing.place("m/1/0", partition, [bench.store])
        await passing.wait_for("stage_loaded")
        await passing.end_stream()
        await eventually(passing.ended.is_set)
    async with commanding(worker.address) as passing:
        await eventually(lambda: passing.events)
        assert [held.stage for held in passing.events[0].holding.stages] == ["m/1/0"]


async def test_cache_that_outlives_a_worker_is_verified_and_used(bench):
    """The next worker needs no source; a blob that was damaged meanwhile is fetched again."""
    cache = bench.folder / "cache"
    partition = bench.partitions(wide(), [])[0]
    first = await bench.worker("a", cache=cache)
    await bench.place(first, "m/1/0", partition)
    await first.stop()
    second = await bench.worker("b", cache=cache)
    await second.scheduler.place("m/1/0", partition, [])
    await second.scheduler.wait_for("stage_loaded")
    await second.stop()
    sha256 = partition.artefact.files[0].sha256
    blob = cache / "blobs" / sha256[:2] / sha256
    blob.write_bytes(b"?" * partition.artefact.files[0].byte_size)
    third = await bench.worker("c", cache=cache)
    await bench.place(third, "m/1/0", partition)
