"""Models on their way from a file to partitions."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxmesh.errors import CorruptData, InvalidPlan, InvalidRequest, NotFound
from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.planning.optimisation_level import OptimisationLevel
from onnxmesh.planning.partition import PARTITIONS, Partition
from onnxmesh.store.artefact import check_artefact, model_file
from onnxmesh.store.folder import materialise, pack
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.model_pb2 import Artefact, File
from services.worker.model_cache import ModelCache
from services.worker.workshop import Workshop

MAX_PREPARED = 4
"""Prepared models that are kept for a cut; the one longest unused goes first."""


@dataclass(slots=True)
class _Prepared:
    folder: Path
    profile: GraphCosts
    artefacts: list[Artefact] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CutPartition:
    """A partition, and the artefact that its files are.

    Attributes:
        partition: What it promises.
        artefact: What others can fetch from here.
    """

    partition: Partition
    artefact: Artefact


class Preparations:
    """Prepares models and keeps the last few, so that they can be cut.

    Args:
        cache: Where files are kept.
        workshop: Where the work is done.
        max_prepared: How many prepared models are kept.
    """

    def __init__(self, cache: ModelCache, workshop: Workshop, max_prepared: int = MAX_PREPARED) -> None:
        self._cache = cache
        self._workshop = workshop
        self._max_prepared = max_prepared
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()
        self._turn = asyncio.Lock()

    async def prepare(
        self, model: Artefact, sources: Sequence[str], optimisation: str
    ) -> tuple[str, GraphCosts]:
        """Fetches, checks, optimises and describes a model, or finds that it did so lately.

        A call that is given up takes the work with it and leaves nothing behind.

        Args:
            model: Its files.
            sources: Who serves them.
            optimisation: An `OptimisationLevel`.

        Returns:
            The name for `cut`, and the profile.

        Raises:
            InvalidModel: It cannot be served (INVALID_ARGUMENT).
            InvalidRequest: The artefact or level is none (INVALID_ARGUMENT).
            NotFound, CorruptData, Unavailable: The files could not be had.
        """
        if optimisation not in set(OptimisationLevel):
            raise InvalidRequest(
                f"expected an optimisation of {', '.join(OptimisationLevel)}; got '{optimisation[:40]}'"
            )
        check_artefact(model)
        file = model_file(model)
        name = f"{model.digest}-{optimisation}"
        async with self._turn:
            if name not in self._prepared:
                self._prepared[name] = await self._prepare(name, model, file, sources, optimisation)
                await self._drop_oldest()
            self._prepared.move_to_end(name)
            return name, self._prepared[name].profile

    async def _prepare(
        self, name: str, model: Artefact, file: File, sources: Sequence[str], optimisation: str
    ) -> _Prepared:
        folder = self._cache.workplace / name
        self._cache.hold(model)
        try:
            await self._cache.fetch(model, sources)
            source = folder / "source"
            # Copies: onnx refuses external data that has several links.
            await in_thread(materialise, model, self._cache.blobs, source, link=False)
            text = await self._workshop.prepare(str(source / file.path), str(folder / "work"), optimisation)
            await in_thread(shutil.rmtree, source, ignore_errors=True)
            profile = GraphCosts.from_json(json.loads(text)["costs"])
        except BaseException:
            await in_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        finally:
            await self._cache.release(model)
        return _Prepared(folder, profile)

    async def cut(self, name: str, cuts: Sequence[int]) -> list[CutPartition]:
        """Cuts a prepared model; the partitions can be fetched from here for as long as it is kept.

        Raises:
            NotFound: No such prepared model, or not any more (NOT_FOUND).
            InvalidPlan: It cannot be cut there (INVALID_ARGUMENT).
        """
        prepared = self._prepared.get(name)
        if prepared is None:
            raise NotFound(f"no prepared model '{name[:64]}' is here any more: prepare it again")
        self._prepared.move_to_end(name)
        if list(cuts) != sorted(set(cuts)):
            raise InvalidPlan(f"cuts must ascend: {list(cuts)}")
        work = prepared.folder / "work"
        answer = json.loads(await self._workshop.cut(str(work), cuts))
        partitions = [Partition.from_plain(plain) for plain in answer["partitions"]]
        made = []
        for partition in partitions:
            artefact = await in_thread(
                pack, work / PARTITIONS / f"stage-{partition.index}", self._cache.blobs
            )
            self._cache.hold(artefact)
            prepared.artefacts.append(artefact)
            if artefact.digest != partition.digest:
                raise CorruptData(f"partition {partition.index} changed while it was taken in")
            made.append(CutPartition(partition, artefact))
        return made

    async def _drop_oldest(self) -> None:
        while len(self._prepared) > self._max_prepared:
            _, oldest = self._prepared.popitem(last=False)
            await in_thread(shutil.rmtree, oldest.folder, ignore_errors=True)
            for artefact in oldest.artefacts:
                await self._cache.release(artefact)
