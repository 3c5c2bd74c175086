"""Models on their way from a file to partitions."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxmesh.errors import CorruptData, InvalidPlan, InvalidRequest, NotFound
from onnxmesh.model.activation_errors import ActivationErrors
from onnxmesh.model.batching import BatchingSpec, StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.model.signature import Signature
from onnxmesh.store.artefact import check_artefact, model_file
from onnxmesh.store.folder import materialise, pack
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.model_pb2 import Artefact, File
from services.worker.models.model_builder import ModelBuilder
from services.worker.models.model_cache import ModelCache

MAX_PREPARED = 4
"""Prepared models that are kept for a cut; the one longest unused goes first."""


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a model is to be prepared.

    Attributes:
        optimisation: An `OptimisationLevel`: what ONNX Runtime does to the whole; only exact mode asks.
        mode: A `CutMode`.
        shapes: What is planned for.
        profile_s: Seconds that measuring its nodes may take; 0: they are not measured.
    """

    optimisation: str
    mode: str = CutMode.EXACT.value
    shapes: InputShapes = field(default_factory=InputShapes)
    profile_s: float = 0.0

    def check(self) -> None:
        """Refuses what is no level or mode.

        Raises:
            InvalidRequest: It is none (INVALID_ARGUMENT).
        """
        if self.optimisation not in set(OptimisationLevel):
            raise InvalidRequest(
                f"expected an optimisation of {', '.join(OptimisationLevel)}; got '{self.optimisation[:40]}'"
            )
        if self.mode not in set(CutMode):
            raise InvalidRequest(f"expected a mode of {', '.join(CutMode)}; got '{self.mode[:40]}'")

    @property
    def name(self) -> str:
        """What tells apart the preparations of one model; whether it is measured does not."""
        shapes = json.dumps(self.shapes.to_plain(), sort_keys=True).encode()
        return f"{self.mode}-{self.optimisation}-{hashlib.sha256(shapes).hexdigest()[:16]}"


@dataclass(slots=True)
class Prepared:
    """A model that can be cut.

    Attributes:
        name: For `Preparations.cut`.
        folder: What a cut needs.
        signature: What the model takes and gives.
        costs: JSON of its `GraphCosts`.
        profile: JSON of its `Profile`; empty where it was not measured, or could not be.
        measured: Whether it was to be measured.
        artefacts: What was cut from it and can be fetched.
    """

    name: str
    folder: Path
    signature: Signature
    costs: str
    profile: str
    measured: bool
    artefacts: list[Artefact] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CutPartition:
    """A partition, and the artefact that its files are.

    Attributes:
        partition: What it promises.
        artefact: What others can fetch from here.
        batching: What was found about requests that run together; None where nobody asked.
    """

    partition: Partition
    artefact: Artefact
    batching: StageBatching | None = None


@dataclass(frozen=True, slots=True)
class CutModel:
    """A model as its partitions, and what was found about the chain that they are.

    Attributes:
        partitions: In order.
        largest_difference: From the whole model; 0 in exact mode, -1 where it could not be measured.
        activation_errors: What activations of fewer bits do to the outputs; None where nobody asked.
    """

    partitions: list[CutPartition]
    largest_difference: float
    activation_errors: ActivationErrors | None = None


class Preparations:
    """Prepares models and keeps the last few, so that they can be cut.

    Args:
        cache: Where files are kept.
        workshop: Where the work is done.
        device: Kind of this device, for what is measured.
        max_prepared: How many prepared models are kept.
    """

    def __init__(
        self, cache: ModelCache, workshop: ModelBuilder, device: str = "", max_prepared: int = MAX_PREPARED
    ) -> None:
        self._cache = cache
        self._workshop = workshop
        self._device = device
        self._max_prepared = max_prepared
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._turn = asyncio.Lock()

    async def prepare(self, model: Artefact, sources: Sequence[str], wish: PrepareOptions) -> Prepared:
        """Fetches, checks, optimises and describes a model, or finds that it did so lately.

        A call that is given up takes the work with it and leaves nothing behind.

        Args:
            model: Its files.
            sources: Who serves them.
            wish: How it is to be prepared.

        Raises:
            InvalidModel: It cannot be served (INVALID_ARGUMENT).
            InvalidRequest: The artefact, the level, the mode or a shape is none (INVALID_ARGUMENT).
            NotFound, CorruptData, Unavailable: The files could not be had.
        """
        wish.check()
        check_artefact(model)
        file = model_file(model)
        name = f"{model.digest}-{wish.name}"
        async with self._turn:
            known = self._prepared.get(name)
            if known is not None and wish.profile_s > 0 and not known.measured:
                await self._drop(name)
                known = None
            if known is None:
                known = self._prepared[name] = await self._prepare(name, model, file, sources, wish)
                while len(self._prepared) > self._max_prepared:
                    await self._drop(next(iter(self._prepared)))
            self._prepared.move_to_end(name)
            return known

    async def _prepare(
        self, name: str, model: Artefact, file: File, sources: Sequence[str], wish: PrepareOptions
    ) -> Prepared:
        folder = self._cache.workplace / name
        self._cache.hold(model)
        try:
            await self._cache.fetch(model, sources)
            source = folder / "source"
            # Copies: onnx refuses external data that has several links.
            await in_thread(materialise, model, self._cache.blobs, source, link=False)
            text = await self._workshop.prepare(
                str(source / file.path),
                str(folder / "work"),
                wish.optimisation,
                wish.mode,
                wish.shapes.to_plain(),
                wish.profile_s,
                self._device,
            )
            await in_thread(shutil.rmtree, source, ignore_errors=True)
            answer = json.loads(text)
            costs = await in_thread(GraphCosts.from_json, answer["costs"])
        except BaseException:
            await in_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        finally:
            await self._cache.release(model)
        return Prepared(name, folder, costs.signature, answer["costs"], answer["profile"], wish.profile_s > 0)

    async def cut(
        self,
        name: str,
        cuts: Sequence[int],
        direct: Sequence[Sequence[str]] = (),
        batching: BatchingSpec | None = None,
        *,
        activation_errors: bool = False,
    ) -> CutModel:
        """Cuts a prepared model; the partitions can be fetched from here for as long as it is kept.

        Args:
            name: Of the prepared model.
            cuts: Positions at which a new stage begins.
            direct: For each stage the inputs of the model that it gets straight from the gateway; empty: none.
            batching: What to find out about requests that run together; None: nothing.
            activation_errors: Whether to measure what activations of fewer bits do to the outputs.

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
        wish = None if batching is None else batching.to_plain()
        answer = json.loads(
            await self._workshop.cut(str(work), cuts, direct, wish, activation_errors=activation_errors)
        )
        together: list[StageBatching | None] = [StageBatching.from_plain(each) for each in answer["batching"]]
        partitions = [Partition.from_plain(plain) for plain in answer["partitions"]]
        made = []
        for partition, found in zip(partitions, together or [None] * len(partitions), strict=True):
            artefact = await in_thread(
                pack, work / PARTITIONS / f"stage-{partition.index}", self._cache.blobs
            )
            self._cache.hold(artefact)
            prepared.artefacts.append(artefact)
            if artefact.digest != partition.digest:
                raise CorruptData(f"partition {partition.index} changed while it was taken in")
            made.append(CutPartition(partition, artefact, found))
        lost = answer["activation_errors"]
        return CutModel(
            made,
            float(answer["largest_difference"]),
            None if lost is None else ActivationErrors.from_plain(lost),
        )

    async def _drop(self, name: str) -> None:
        prepared = self._prepared.pop(name)
        await in_thread(shutil.rmtree, prepared.folder, ignore_errors=True)
        for artefact in prepared.artefacts:
            await self._cache.release(artefact)
