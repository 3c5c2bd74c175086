"""Dialling: a stream to one of several workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from onnxmesh.errors import MeshError
from onnxmesh.ids import WorkerId
from onnxmesh.routing.table.routed_model import Replica
from services.gateway.requests.worker_links import WorkerLinks


async def dial_any(links: WorkerLinks, replicas: Sequence[Replica]) -> dict[WorkerId, MeshError]:
    """Dials the workers at once; returns when there is a stream to one of them, or when none can be reached.

    Returns:
        The workers that could not be reached until then, and why.
    """
    refusals: dict[WorkerId, MeshError] = {}

    async def dial(replica: Replica) -> bool:
        try:
            await links.connect(replica.worker, replica.address)
        except MeshError as error:
            refusals[replica.worker] = error
            return False
        return True

    async with asyncio.TaskGroup() as tasks:
        dials = [tasks.create_task(dial(replica)) for replica in replicas]
        for done in asyncio.as_completed(dials):
            if await done:
                break
        for task in dials:
            task.cancel()
    return refusals
