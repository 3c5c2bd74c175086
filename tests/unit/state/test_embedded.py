"""Deployments outlive the process that wrote them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from onnxmesh.errors import CorruptData
from onnxmesh.state.base import Deployment
from onnxmesh.state.embedded import DATABASE_FILE, open_deployments
from onnxmesh.state.traffic_split import TrafficSplit
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan


def deployment(name="m", version=1, **plan):
    return Deployment(
        DeploymentSpec(name=name, version=version, replicas=2, require=["gpu"]),
        Plan(optimisation="all", partitions=[Partition(index=0)], **plan),
        Artefact(digest="d"),
    )


async def test_sqlite_deployments_are_kept_after_reopening(tmp_path):
    saved = [deployment("m", 1), deployment("m", 2), deployment("n", 1)]
    async with open_deployments(tmp_path / "state") as store:
        for each in reversed(saved):
            await store.save(each)
    async with open_deployments(tmp_path / "state") as store:
        assert await store.all() == saved


async def test_save_replaces_a_deployment(tmp_path):
    async with open_deployments(tmp_path) as store:
        await store.save(deployment())
        await store.save(deployment(cpu_class="x86"))
        assert await store.all() == [deployment(cpu_class="x86")]


async def test_delete_removes_a_deployment_and_ignores_a_missing_one(tmp_path):
    async with open_deployments(tmp_path) as store:
        await store.save(deployment())
        await store.delete("m", 1)
        await store.delete("m", 1)
        assert await store.all() == []


async def test_sqlite_deployments_survive_a_crash(tmp_path):
    async with open_deployments(tmp_path) as store:
        await store.save(deployment())
        async with open_deployments(tmp_path) as other:
            assert await other.all() == [deployment()]


async def test_open_names_a_file_that_is_no_database(tmp_path):
    (tmp_path / DATABASE_FILE).write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(CorruptData, match=DATABASE_FILE):
        async with open_deployments(tmp_path):
            pass


async def test_open_refuses_a_database_of_a_newer_release(tmp_path):
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(CorruptData, match="newer onnxmesh"):
        async with open_deployments(tmp_path):
            pass


async def test_embedded_store_names_an_unreadable_row(tmp_path):
    async with open_deployments(tmp_path) as store:
        await store.save(deployment())
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as database:
        database.execute("UPDATE deployments SET plan = x'ff'")
    async with open_deployments(tmp_path) as store:
        with pytest.raises(CorruptData, match="m version 1"):
            await store.all()


async def test_save_keeps_costs_and_profile(tmp_path):
    """Costs and profile are there after opening again, for the next plan."""
    saved = replace(deployment(), costs=b"costs", profile=b"profile")
    async with open_deployments(tmp_path) as store:
        await store.save(saved)
    async with open_deployments(tmp_path) as store:
        assert await store.all() == [saved]


async def test_open_migrates_a_database_of_the_first_release(tmp_path):
    """Its deployments have neither costs nor profile nor splits; the change is made once."""
    old = deployment()
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as database:
        database.execute(
            "CREATE TABLE deployments (name TEXT NOT NULL, version INTEGER NOT NULL, spec BLOB NOT NULL, "
            "plan BLOB NOT NULL, source BLOB NOT NULL, PRIMARY KEY (name, version)) STRICT"
        )
        row = ("m", 1, *(part.SerializeToString() for part in (old.spec, old.plan, old.source)))
        database.execute("INSERT INTO deployments VALUES (?, ?, ?, ?, ?)", row)
        database.execute("PRAGMA user_version = 1")
    newer = replace(deployment(version=2), costs=b"c", profile=b"p")
    async with open_deployments(tmp_path) as store:
        assert await store.all() == [old]
        assert await store.splits() == []
        await store.save(newer)
        await store.save_split(TrafficSplit("m", {1: 90, 2: 10}))
    async with open_deployments(tmp_path) as store:
        assert await store.all() == [old, newer]
        assert await store.splits() == [TrafficSplit("m", {1: 90, 2: 10})]
