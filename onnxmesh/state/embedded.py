"""Deployments in an SQLite file, for a mesh without Consul."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError

from onnxmesh.errors import CorruptData
from onnxmesh.ids import ModelName, Version
from onnxmesh.latest import Latest
from onnxmesh.state.base import Deployment
from onnxmesh.state.traffic_split import TrafficSplit
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Plan

DATABASE_FILE = "deployments.sqlite3"
"""Name of the database in a state folder."""

_SCHEMA = 3
_TABLE = """
CREATE TABLE IF NOT EXISTS deployments (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    spec BLOB NOT NULL,
    plan BLOB NOT NULL,
    source BLOB NOT NULL,
    costs BLOB NOT NULL DEFAULT x'',
    profile BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (name, version)
) STRICT
"""

_SPLITS = """
CREATE TABLE IF NOT EXISTS splits (name TEXT NOT NULL PRIMARY KEY, split TEXT NOT NULL) STRICT
"""

_FROM_SCHEMA_1 = (
    "ALTER TABLE deployments ADD COLUMN costs BLOB NOT NULL DEFAULT x''",
    "ALTER TABLE deployments ADD COLUMN profile BLOB NOT NULL DEFAULT x''",
)

T = TypeVar("T")


class SqliteDeployments:
    """The `DeploymentStore` of one scheduler; made by `open_deployments`.

    Its single thread executes statements in the order of the calls, also when a caller is cancelled.
    """

    def __init__(self, database: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._thread = thread
        self._changes = Latest(0)

    async def save(self, deployment: Deployment) -> None:
        """Stores a deployment, in place of one of the same name and version."""
        row = (
            deployment.name,
            deployment.version,
            deployment.spec.SerializeToString(),
            deployment.plan.SerializeToString(),
            deployment.source.SerializeToString(),
            deployment.costs,
            deployment.profile,
        )
        await self._do(
            lambda: self._database.execute(
                "INSERT OR REPLACE INTO deployments (name, version, spec, plan, source, costs, profile) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        )
        self._changes.set(self._changes.value + 1)

    async def delete(self, name: ModelName, version: Version) -> None:
        """Deletes a deployment; a missing one is no error."""
        await self._do(
            lambda: self._database.execute(
                "DELETE FROM deployments WHERE name = ? AND version = ?", (name, version)
            )
        )
        self._changes.set(self._changes.value + 1)

    async def all(self) -> list[Deployment]:
        """Returns every deployment, by name and version.

        Raises:
            CorruptData: A row cannot be read (DATA_LOSS).
        """
        rows = await self._do(
            lambda: self._database.execute(
                "SELECT name, version, spec, plan, source, costs, profile FROM deployments ORDER BY name, version"
            ).fetchall()
        )
        return [_read(*row) for row in rows]

    async def after(self, revision: int) -> tuple[int, list[Deployment]]:
        """Waits for a revision greater than `revision` (0: any).

        Returns:
            That revision and its deployments, by name and version.

        Raises:
            CorruptData: A row cannot be read (DATA_LOSS).
        """
        revision, _ = await self._changes.after(revision)
        return revision, await self.all()

    async def save_split(self, split: TrafficSplit) -> None:
        """Stores a traffic split, in place of the model's previous one."""
        row = (split.name, split.to_json())
        await self._do(
            lambda: self._database.execute("INSERT OR REPLACE INTO splits (name, split) VALUES (?, ?)", row)
        )

    async def delete_split(self, name: ModelName) -> None:
        """Deletes a model's traffic split; a missing one is no error."""
        await self._do(lambda: self._database.execute("DELETE FROM splits WHERE name = ?", (name,)))

    async def splits(self) -> list[TrafficSplit]:
        """Returns every traffic split, by name.

        Raises:
            CorruptData: A row cannot be read (DATA_LOSS).
        """
        rows = await self._do(
            lambda: self._database.execute("SELECT name, split FROM splits ORDER BY name").fetchall()
        )
        return [TrafficSplit.from_json(ModelName(name), split) for name, split in rows]

    async def _do(self, statement: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, statement)


@asynccontextmanager
async def open_deployments(folder: Path) -> AsyncIterator[SqliteDeployments]:
    """Opens the deployments in a state folder, which is created if absent, for the duration of the context.

    Raises:
        CorruptData: The file is no such database, or a newer onnxmesh wrote it (DATA_LOSS).
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="deployments")
    loop = asyncio.get_running_loop()
    try:
        database = await loop.run_in_executor(thread, _connect, folder / DATABASE_FILE)
        try:
            yield SqliteDeployments(database, thread)
        finally:
            await loop.run_in_executor(thread, database.close)
    finally:
        thread.shutdown()


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Each statement is a transaction of its own; only the single thread of the store uses the connection.
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        if schema > _SCHEMA:
            raise CorruptData(f"{path} was written by a newer onnxmesh (schema {schema}, known {_SCHEMA})")
        database.execute("BEGIN IMMEDIATE")
        if schema == 1:
            for change in _FROM_SCHEMA_1:
                database.execute(change)
        database.execute(_TABLE)
        database.execute(_SPLITS)
        database.execute(f"PRAGMA user_version = {_SCHEMA}")
        database.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        database.close()
        raise CorruptData(f"{path} is no database of deployments: {error}") from error
    except CorruptData:
        database.close()
        raise
    return database


def _read(
    name: str, version: int, spec: bytes, plan: bytes, source: bytes, costs: bytes, profile: bytes
) -> Deployment:
    try:
        return Deployment(
            DeploymentSpec.FromString(spec),
            Plan.FromString(plan),
            Artefact.FromString(source),
            costs,
            profile,
        )
    except DecodeError as error:
        raise CorruptData(f"the deployment of {name} version {version} cannot be read: {error}") from error
