"""The traffic splits in force, in memory and in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from onnxmesh.ids import ModelKey, ModelName, Version
from onnxmesh.state.base import DeploymentStore
from onnxmesh.state.traffic_split import TrafficSplit
from services.scheduler.desired import traffic

_log = structlog.get_logger(__name__)


class TrafficSplits:
    """Holds the split of every model that has one, and saves each change first. For one event loop.

    Args:
        store: Where splits outlive this process.
        versions: Returns the deployed versions of a model.
    """

    def __init__(self, store: DeploymentStore, versions: Callable[[ModelName], Collection[Version]]) -> None:
        self._store = store
        self._versions = versions
        self._splits: dict[ModelName, TrafficSplit] = {}
        self._lock = asyncio.Lock()

    async def restore(self) -> None:
        """Reads the splits that an earlier scheduler saved.

        Raises:
            CorruptData: The store cannot be read (DATA_LOSS).
        """
        self._splits = {split.name: split for split in await self._store.splits()}
        for name in list(self._splits):
            await self.prune(name)

    def get(self, name: ModelName) -> TrafficSplit | None:
        """Returns the split in force; None: there is none."""
        split = self._splits.get(name)
        return None if split is None else traffic.restricted(split, self._versions(name))

    def percents(self, name: ModelName) -> Mapping[Version, int]:
        """Returns the percentage of each version of a model; empty where no split is in force."""
        split = self.get(name)
        return {} if split is None else traffic.percents_of(split, self._versions(name))

    def shares(self) -> dict[ModelKey, int]:
        """Returns the percentage of each version of every model that has a split in force."""
        return {
            (name, version): percent
            for name in self._splits
            for version, percent in self.percents(name).items()
        }

    async def roll_out(self, name: ModelName, to: Version, percent: int) -> TrafficSplit | None:
        """Gives one version its percentage; the others share the rest as before. Returns the split in force then.

        The version may be one that is about to be deployed.

        Raises:
            InvalidRequest: `percent` is no percentage, or there is no other version for the rest (INVALID_ARGUMENT).
            MeshError: The split cannot be saved; nothing has changed.
        """
        async with self._lock:
            versions = {*self._versions(name), to}
            split = traffic.rolled_out(name, self.get(name), versions, to, percent)
            await self._put(name, split)
        return split

    async def undo(self, split: TrafficSplit, before: TrafficSplit | None) -> None:
        """Restores the split before another one, unless it was changed again.

        Raises:
            MeshError: The split cannot be saved; nothing has changed.
        """
        async with self._lock:
            if self._splits.get(split.name) is split:
                await self._put(split.name, before)

    async def roll_back(self, name: ModelName) -> None:
        """Takes the last rollout of a model back.

        Raises:
            Unsatisfiable: There is no rollout to take back (FAILED_PRECONDITION).
            MeshError: The split cannot be saved; nothing has changed.
        """
        async with self._lock:
            await self._put(name, traffic.rolled_back(name, self.get(name), self._versions(name)))

    async def prune(self, name: ModelName) -> None:
        """Removes undeployed versions from the saved split of a model.

        Raises:
            MeshError: The split cannot be saved; in memory they are removed nonetheless.
        """
        async with self._lock:
            if name in self._splits and self.get(name) != self._splits[name]:
                await self._put(name, self.get(name))

    async def _put(self, name: ModelName, split: TrafficSplit | None) -> None:
        try:
            await self._write(name, split)
        except BaseException:
            # The store works in order: this write follows one that could not be cancelled any more.
            await self._write(name, self._splits.get(name))
            raise
        if split is None:
            self._splits.pop(name, None)
        else:
            self._splits[name] = split
        _log.info("traffic_split", model=name, percents=None if split is None else dict(split.percents))

    async def _write(self, name: ModelName, split: TrafficSplit | None) -> None:
        if split is None:
            await self._store.delete_split(name)
        else:
            await self._store.save_split(split)
