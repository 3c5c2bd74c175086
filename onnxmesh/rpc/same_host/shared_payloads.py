"""Payloads of frames into shared memory."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.memory.shared_memory import OwnMemory
from onnxmesh.rpc.frames.frames import Frame

MAX_REST_BYTES = 1 << 20
"""Where small payloads beside large ones are more than this together, they are shared too."""


def share_payloads(memory: OwnMemory, frame: Frame, least_bytes: int) -> Frame:
    """Returns a frame whose payloads of at least so many bytes are in shared memory; as it is where one has no room.

    What is in a room of that memory already is not copied.
    """
    sizes = [len(payload) for payload in frame.payloads]
    if max(sizes, default=0) < least_bytes:
        return frame
    if sum(size for size in sizes if size < least_bytes) > MAX_REST_BYTES:
        least_bytes = 1
    shared: list[tuple[int, SharedPayload]] = []
    for index, payload in enumerate(frame.payloads):
        if len(payload) < least_bytes:
            continue
        put = memory.share(payload) or memory.write(payload)
        if put is None:
            for _, each in shared:
                memory.release(each.offset)
            return frame
        shared.append((index, put))
    rest = tuple(payload for payload in frame.payloads if len(payload) < least_bytes)
    return Frame(frame.header, rest, tuple(shared))


def copy_payloads_in(memory: OwnMemory, frame: Frame, least_bytes: int) -> Frame:
    """Returns a frame whose payloads of at least so many bytes are in rooms of the memory, as far as there are any.

    Takes as long as copying them does: for a thread. Nothing is handed out yet, so that nothing is lost with the frame.
    """
    payloads = (each if len(each) < least_bytes else memory.copy_in(each) for each in frame.payloads)
    return replace(frame, payloads=tuple(payloads))
