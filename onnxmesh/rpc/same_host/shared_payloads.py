"""Payloads of frames in shared memory."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.memory.shared_memory import OwnMemory
from onnxmesh.rpc.frames.frames import Frame

MAX_REST_BYTES = 1 << 20
"""Small payloads beside large ones are shared too where they have more bytes than this together."""


def share_payloads(memory: OwnMemory, frame: Frame, min_bytes: int) -> Frame:
    """Returns a frame whose payloads of at least `min_bytes` are shared; the frame itself where one does not fit.

    A payload that is in the memory already is not copied.
    """
    sizes = [len(payload) for payload in frame.payloads]
    if max(sizes, default=0) < min_bytes:
        return frame
    if sum(size for size in sizes if size < min_bytes) > MAX_REST_BYTES:
        min_bytes = 1
    shared: list[tuple[int, SharedPayload]] = []
    for index, payload in enumerate(frame.payloads):
        if len(payload) < min_bytes:
            continue
        reference = memory.share(payload) or memory.write(payload)
        if reference is None:
            for _, each in shared:
                memory.release(each.offset)
            return frame
        shared.append((index, reference))
    rest = tuple(payload for payload in frame.payloads if len(payload) < min_bytes)
    return Frame(frame.header, rest, tuple(shared))


def copy_payloads_in(memory: OwnMemory, frame: Frame, min_bytes: int) -> Frame:
    """Returns a frame whose payloads of at least `min_bytes` are in the memory, as far as they fit.

    Copies: for a thread. The payloads are not shared yet, so that a frame that is dropped leaves nothing to release.
    """
    payloads = (each if len(each) < min_bytes else memory.copy_in(each) for each in frame.payloads)
    return replace(frame, payloads=tuple(payloads))
