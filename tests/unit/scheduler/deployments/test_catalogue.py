"""One deployment under two plans, and its removal meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from onnxmesh.errors import Overloaded
from onnxmesh.ids import ModelName, Version
from onnxmesh.state.base import Deployment
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, File, Partition, Plan
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.retention import Retention

KEY = (ModelName("m"), Version(1))


class Store:
    """Works in order, as the real one; waits, or fails, as a test sets it."""

    def __init__(self):
        self.rows = {}
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error = None
        self._turn = asyncio.Lock()

    async def save(self, deployment):
        async with self._turn:
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            self.rows[deployment.name, deployment.version] = deployment

    async def delete(self, name, version):
        async with self._turn:
            self.rows.pop((name, version), None)

    async def all(self):
        return list(self.rows.values())


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def blobs(tmp_path):
    return BlobFolder(tmp_path)


@pytest.fixture
async def catalogue(store, blobs):
    """A deployment in force, with one beside it; a blob each, named by the plan's revision."""
    made = Catalogue(store, Retention(blobs))
    await made.add(deployment(blobs))
    made.accept(KEY)
    made.add_standby(under(made.deployments[KEY], blobs, 1))
    return made


def partition(blobs, revision):
    with blobs.writer() as writer:
        writer.write(b"partition of revision %d" % revision)
        sha256, size = writer.commit()
    return Partition(artefact=Artefact(digest="d", files=[File(path="m", sha256=sha256, byte_size=size)]))


def deployment(blobs):
    plan = Plan(partitions=[partition(blobs, 0)])
    return Deployment(DeploymentSpec(name="m", version=1), plan, Artefact(digest="s"))


def under(current, blobs, revision):
    return replace(current, plan=Plan(revision=revision, partitions=[partition(blobs, revision)]))


def num_blobs(blobs):
    return len(blobs.digests())


async def test_catalogue_swaps_plans_and_releases_the_standby(catalogue, store, blobs):
    """Both are held while both are loaded; what is written down is what is in force."""
    assert num_blobs(blobs) == 2
    assert await catalogue.swap(catalogue.standby[KEY])
    assert (catalogue.deployments[KEY].plan.revision, catalogue.standby[KEY].plan.revision) == (1, 0)
    assert store.rows[KEY].plan.revision == 1
    catalogue.remove_standby(KEY)
    assert (num_blobs(blobs), dict(catalogue.standby)) == (1, {})


async def test_catalogue_keeps_the_plan_in_force_when_the_store_fails(catalogue, store):
    """In memory as in the store."""
    store.error = Overloaded("the disk is full")
    with pytest.raises(Overloaded):
        await catalogue.swap(catalogue.standby[KEY])
    assert catalogue.deployments[KEY].plan.revision == 0
    assert store.rows[KEY].plan.revision == 0


async def test_catalogue_removes_both_plans_of_a_deployment_that_is_deleted_during_a_swap(
    catalogue, store, blobs
):
    """Whichever is written last: no row, no blob, no plan stays."""
    current = catalogue.deployments[KEY]
    store.go_on.clear()
    swapping = asyncio.ensure_future(catalogue.swap(catalogue.standby[KEY]))
    await asyncio.sleep(0)
    forgetting = asyncio.ensure_future(catalogue.delete(current))
    await asyncio.sleep(0)
    store.go_on.set()
    assert not await swapping
    await forgetting
    assert catalogue.remove(current)
    assert (store.rows, num_blobs(blobs), dict(catalogue.standby)) == ({}, 0, {})
    assert not await catalogue.renew(current)
    assert not catalogue.add_standby(current)
    assert store.rows == {}


async def test_catalogue_removes_a_deployment_under_whichever_plan_is_in_force(catalogue, blobs):
    """One that was deployed again under the same name and version is another."""
    first = catalogue.deployments[KEY]
    await catalogue.swap(catalogue.standby[KEY])
    other = deployment(blobs)
    assert not catalogue.remove(other)
    assert catalogue.current(first) is catalogue.deployments[KEY]
    assert catalogue.remove(first)
    assert not catalogue.remove(first)


async def test_catalogue_saves_other_workers_for_the_same_partitions(catalogue, store):
    """The plan keeps its revision."""
    current = catalogue.deployments[KEY]
    plan = Plan()
    plan.CopyFrom(current.plan)
    plan.why = "others"
    assert await catalogue.renew(replace(current, plan=plan))
    assert (catalogue.deployments[KEY].plan.why, store.rows[KEY].plan.why) == ("others", "others")


async def test_catalogue_rescales_every_plan_and_no_new_plan_takes_that_back(catalogue, store):
    """Though it was made for another number; both changes are saved."""
    current, beside = catalogue.deployments[KEY], catalogue.standby[KEY]
    store.go_on.clear()
    scaling = asyncio.ensure_future(catalogue.rescale(current, 3))
    await asyncio.sleep(0)
    plan = Plan(why="others", partitions=current.plan.partitions)
    renewing = asyncio.ensure_future(catalogue.renew(replace(current, plan=plan)))
    await asyncio.sleep(0)
    store.go_on.set()
    assert await scaling
    assert await renewing
    assert (store.rows[KEY].spec.replicas, store.rows[KEY].plan.why) == (3, "others")
    assert catalogue.standby[KEY].spec.replicas == 3
    assert await catalogue.swap(beside)
    assert (store.rows[KEY].spec.replicas, store.rows[KEY].plan.revision) == (3, 1)
    catalogue.remove_standby(KEY)
    catalogue.remove(catalogue.deployments[KEY])
    assert not await catalogue.rescale(current, 2)
