"""Prepared models: fetched, checked and described, kept until they are cut."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from onnxmesh.errors import CorruptData, InvalidPlan, NotFound
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.model.activation_errors import ActivationErrors
from onnxmesh.model.batching import StageBatching
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.model.signature import Signature
from onnxmesh.store.artefact import check_artefact, model_file
from onnxmesh.store.folder import materialise, pack
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.model_pb2 import Artefact, File
from services.worker.models.model_builder import ModelBuilder
from services.worker.models.model_cache import ModelCache

MAX_PREPARED = 4
"""Prepared models that are kept for a cut; the least recently used is evicted first."""


@dataclass(slots=True, kw_only=True)
class PreparedModel:
    """A model that can be cut.

    Attributes:
        name: Identifies it in `Preparations.cut`.
        folder: Holds its work folder.
        signature: Inputs and outputs of the model.
        costs: JSON of its `GraphCosts`.
        profile: JSON of its `Profile`; empty where it was not measured, or could not be.
        measured: Whether a measurement was requested.
        require: Selectors of the workers that can run it, found in its graph.
        artefacts: Partitions cut from it, which can be fetched.
    """

    name: str
    folder: Path
    signature: Signature
    costs: str
    profile: str
    measured: bool
    require: tuple[str, ...] = ()
    artefacts: list[Artefact] = field(default_factory=list)


class LackingRequirement(Exception):
    """This worker lacks something that a model requires.

    Attributes:
        require: The selectors of workers that can run it.
        message: What is lacking, and how it is installed.
    """

    def __init__(self, require: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.require = require
        self.message = message


@dataclass(frozen=True, slots=True)
class CutPartition:
    """A partition and its files.

    Attributes:
        partition: Description of the partition.
        artefact: Its files, which can be fetched from this worker.
        batching: Result of the batch check; None where it was not requested.
    """

    partition: Partition
    artefact: Artefact
    batching: StageBatching | None = None


@dataclass(frozen=True, slots=True)
class CutModel:
    """A model cut into partitions.

    Attributes:
        partitions: In order.
        largest_difference: Relative difference from the whole model; 0 in exact mode, -1 where it was not measured.
        activation_errors: Errors of lossy activation encodings; None where they were not requested.
    """

    partitions: list[CutPartition]
    largest_difference: float
    activation_errors: ActivationErrors | None = None


class Preparations:
    """Prepares models, keeps the last few, and cuts them.

    Args:
        cache: Keeps files.
        builder: Prepares and cuts models.
        device: Kind of this device, for profiles.
        max_prepared: How many prepared models are kept.
    """

    def __init__(
        self, cache: ModelCache, builder: ModelBuilder, *, device: str = "", max_prepared: int = MAX_PREPARED
    ) -> None:
        self._cache = cache
        self._builder = builder
        self._device = device
        self._max_prepared = max_prepared
        self._prepared: OrderedDict[str, PreparedModel] = OrderedDict()
        self._lock = asyncio.Lock()

    async def prepare(
        self, model: Artefact, sources: Sequence[str], options: PrepareOptions
    ) -> PreparedModel:
        """Fetches, checks, optimises and describes a model, unless it is kept already.

        A cancelled call ends the work and leaves no files.

        Args:
            model: Its files.
            sources: Addresses that serve them.
            options: How it is prepared.

        Raises:
            LackingRequirement: This worker cannot run it.
            InvalidModel: It cannot be served (INVALID_ARGUMENT).
            InvalidRequest: The artefact is invalid, or a shape does not fit the model (INVALID_ARGUMENT).
            NotFound, CorruptData, Unavailable: The files could not be fetched.
        """
        check_artefact(model)
        file = model_file(model)
        name = f"{model.digest}-{_options_key(options)}"
        async with self._lock:
            kept = self._prepared.get(name)
            if kept is not None and options.profile_s > 0 and not kept.measured:
                await self._evict(name)
                kept = None
            if kept is None:
                kept = self._prepared[name] = await self._prepare(name, model, file, sources, options)
                while len(self._prepared) > self._max_prepared:
                    await self._evict(next(iter(self._prepared)))
            self._prepared.move_to_end(name)
            return kept

    async def _prepare(
        self, name: str, model: Artefact, file: File, sources: Sequence[str], options: PrepareOptions
    ) -> PreparedModel:
        folder = self._cache.workplace / name
        self._cache.hold(model)
        try:
            await self._cache.fetch(model, sources)
            source = folder / "source"
            # Copies: onnx rejects external data with more than one hard link.
            await in_thread(materialise, model, self._cache.blobs, source, link=False)
            job = PrepareJob(source / file.path, _work_folder(folder), options, self._device)
            answer = json.loads(await self._builder.prepare(job))
            require = tuple(answer["requires"].split())
            if answer["lacking"]:
                raise LackingRequirement(require, answer["lacking"])
            await in_thread(shutil.rmtree, source, ignore_errors=True)
            costs = await in_thread(GraphCosts.from_json, answer["costs"])
        except BaseException:
            await in_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        finally:
            await self._cache.release(model)
        return PreparedModel(
            name=name,
            folder=folder,
            signature=costs.signature,
            costs=answer["costs"],
            profile=answer["profile"],
            measured=options.profile_s > 0,
            require=require,
        )

    async def cut(self, name: str, options: CutOptions) -> CutModel:
        """Cuts a prepared model; its partitions can be fetched from this worker for as long as it is kept.

        Args:
            name: Of the prepared model.
            options: How it is cut.

        Raises:
            NotFound: No prepared model of this name is kept (NOT_FOUND).
            InvalidPlan: It cannot be cut there (INVALID_ARGUMENT).
        """
        prepared = self._prepared.get(name)
        if prepared is None:
            raise NotFound(f"prepared model '{name[:64]}' is no longer kept here: prepare it again")
        self._prepared.move_to_end(name)
        if list(options.cuts) != sorted(set(options.cuts)):
            raise InvalidPlan(f"cuts must ascend: {list(options.cuts)}")
        work = _work_folder(prepared.folder)
        answer = json.loads(await self._builder.cut(CutJob(work, options)))
        batching = [StageBatching.from_plain(each) for each in answer["batching"]]
        partitions = []
        for plain, found in zip(answer["partitions"], batching or repeat(None), strict=bool(batching)):
            partition = Partition.from_plain(plain)
            artefact = await self._pack(prepared, work, partition)
            partitions.append(CutPartition(partition, artefact, found))
        errors = answer["activation_errors"]
        return CutModel(
            partitions,
            float(answer["largest_difference"]),
            None if errors is None else ActivationErrors.from_plain(errors),
        )

    async def _pack(self, prepared: PreparedModel, work: Path, partition: Partition) -> Artefact:
        """Stores the files of a partition and holds them."""
        folder = work / PARTITIONS / f"stage-{partition.index}"
        artefact = await in_thread(pack, folder, self._cache.blobs)
        self._cache.hold(artefact)
        prepared.artefacts.append(artefact)
        if artefact.digest != partition.digest:
            raise CorruptData(f"partition {partition.index} changed while it was stored")
        return artefact

    async def _evict(self, name: str) -> None:
        prepared = self._prepared.pop(name)
        await in_thread(shutil.rmtree, prepared.folder, ignore_errors=True)
        for artefact in prepared.artefacts:
            await self._cache.release(artefact)


def _work_folder(folder: Path) -> Path:
    return folder / "work"


def _options_key(options: PrepareOptions) -> str:
    """Distinguishes preparations of one model; whether it is measured does not count."""
    shapes = json.dumps(options.shapes.to_plain(), sort_keys=True).encode()
    return f"{options.mode}-{options.optimisation}-{hashlib.sha256(shapes).hexdigest()[:16]}"
