"""Stage loader: fetches a partition, loads it into a session and warms it up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnxmesh.errors import InvalidRequest, Overloaded
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.ids import StageKey
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.store.threads import in_thread
from onnxmesh.tensors.allocation import Staging
from onnxmesh.v1.model_pb2 import Partition
from services.worker.models.model_cache import ModelCache
from services.worker.stages.run_errors import is_out_of_memory
from services.worker.stages.warm_up import warm_up


class StageLoader:
    """Loads partitions into sessions of one configuration.

    Args:
        cache: Keeps the files.
        threads: Intra-operator threads of each stage.
        providers: ONNX Runtime execution providers, preferred first.
        spinning: Whether those threads spin while they wait.
        device: Device whose memory outputs may stay in between stages; empty: the host's.
        staging: Pinned memory for copies to and from the device; None: any memory.
    """

    def __init__(
        self,
        cache: ModelCache,
        threads: int,
        providers: Sequence[str],
        *,
        spinning: bool = False,
        device: str = "",
        staging: Staging | None = None,
    ) -> None:
        self._cache = cache
        self._threads = threads
        self._providers = tuple(providers)
        self._spinning = spinning
        self._device = device
        self._staging = staging

    async def load(self, stage: StageKey, partition: Partition, sources: Sequence[str]) -> StageSession:
        """Returns a partition's session; its artefact is held until `release`.

        ONNX Runtime releases the interpreter lock while it loads, so links stay alive.

        Raises:
            NotFound, CorruptData, Unavailable, InvalidRequest: The files could not be fetched.
            InvalidModel: ONNX Runtime cannot load them (INVALID_ARGUMENT).
            Unsatisfiable: The device is not available (FAILED_PRECONDITION).
            Overloaded: There is not enough memory (RESOURCE_EXHAUSTED).
            InvalidRequest: Its optimisation level is unknown (INVALID_ARGUMENT).
        """
        self._cache.hold(partition.artefact)
        try:
            folder = await self._cache.stage_folder(partition.artefact, sources)
            return await in_thread(self._load, stage, folder, _level(partition))
        except BaseException:
            await self._cache.release(partition.artefact)
            raise

    async def release(self, partition: Partition) -> None:
        """Releases the files that `load` holds."""
        await self._cache.release(partition.artefact)

    def _load(self, stage: StageKey, folder: Path, level: OptimisationLevel) -> StageSession:
        try:
            session = StageSession(
                folder,
                threads=self._threads,
                providers=self._providers,
                level=level,
                spinning=self._spinning,
                device=self._device,
                staging=self._staging,
            )
        except Exception as error:
            if is_out_of_memory(error):
                raise Overloaded(f"there is not enough memory to load {stage}") from None
            raise
        warm_up(stage, session, session.inputs)
        return session


def _level(partition: Partition) -> OptimisationLevel:
    """Returns the optimisation level to load a partition with: mostly NONE, since it was optimised before the cut."""
    level = partition.load_optimisation or OptimisationLevel.NONE.value
    if level not in set(OptimisationLevel):
        raise InvalidRequest(
            f"expected a load_optimisation of {', '.join(OptimisationLevel)}; got '{level[:40]}'"
        )
    return OptimisationLevel(level)
