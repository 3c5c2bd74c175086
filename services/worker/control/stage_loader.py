"""From a partition's name to a session that is ready to run."""

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
from services.worker.requests.run_errors import is_out_of_memory
from services.worker.stages.warm_up import warm_up


class StageLoader:
    """Fetches, loads and warms up.

    Args:
        cache: Where files are kept.
        threads: Threads within an operator, for each stage.
        providers: ONNX Runtime execution providers, best first.
        spinning: Whether those threads spin while they wait.
        device: Whose memory stages may leave outputs in for each other; empty: the host's is all there is.
        staging: Where what is copied to that device and back passes through; None: through any memory.
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
        """Returns a partition's session; its artefact is held until `let_go`.

        ONNX Runtime lets go of the interpreter lock while it loads: links live on meanwhile.

        Raises:
            NotFound, CorruptData, Unavailable, InvalidRequest: The files could not be had.
            InvalidModel: ONNX Runtime cannot load them (INVALID_ARGUMENT).
            Unsatisfiable: The device is not there (FAILED_PRECONDITION).
            Overloaded: There is not enough memory (RESOURCE_EXHAUSTED).
            InvalidRequest: It is to be optimised in a way that is not known here (INVALID_ARGUMENT).
        """
        self._cache.hold(partition.artefact)
        try:
            folder = await self._cache.stage_folder(partition.artefact, sources)
            return await in_thread(self._load, stage, folder, _level(partition))
        except BaseException:
            await self._cache.release(partition.artefact)
            raise

    async def let_go(self, partition: Partition) -> None:
        """Takes back what `load` holds on disk."""
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
    """Returns what ONNX Runtime is to do to a partition when it loads it: mostly nothing, it was done before the cut."""
    wanted = partition.load_optimisation or OptimisationLevel.NONE.value
    if wanted not in set(OptimisationLevel):
        raise InvalidRequest(
            f"load_optimisation is one of {', '.join(OptimisationLevel)}; got '{wanted[:40]}'"
        )
    return OptimisationLevel(wanted)
