"""A process of this host that sends anything to the Unix socket of another."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import mmap
import os
import socket
from itertools import pairwise
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.rpc.frames.frames import Frame, encode_envelope
from onnxmesh.rpc.link.links import Links
from onnxmesh.v1.frame_pb2 import Activation, FrameHeader, Hello, Release, RequestKey, Tensor
from tests.eventually import eventually
from tests.fakes.service_processes import until

MEMORY_BYTES = 1 << 20
LONG_S = 60.0


class RawPeer:
    """Connects by the protocol, and then sends any bytes.

    Args:
        address: The advertised Unix socket.
    """

    def __init__(self, address):
        self._connection = socket.socket(socket.AF_UNIX)
        descriptor = os.memfd_create("peer", os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, MEMORY_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        with contextlib.closing(mmap.mmap(descriptor, MEMORY_BYTES)) as memory:
            memory[:] = bytes(range(256)) * (MEMORY_BYTES // 256)
        self._connection.settimeout(LONG_S)
        self._connection.connect(b"\0" + address.name)
        hello = Hello(node="peer", generation=1, token=address.token).SerializeToString()
        socket.send_fds(self._connection, [len(hello).to_bytes(4, "little") + hello], [descriptor])
        os.close(descriptor)
        _, descriptors, _, _ = socket.recv_fds(self._connection, 4096, 1)
        for each in descriptors:
            os.close(each)

    def send(self, pieces):
        """Sends bytes in these pieces; the other side may have closed the connection."""
        with contextlib.suppress(OSError):
            for piece in pieces:
                self._connection.sendall(piece)

    def close(self):
        """Ends the connection."""
        self._connection.close()


def activation(number, size, shared):
    """A frame whose one tensor is in the message, or in the peer's memory from byte 0 on."""
    body = Activation(key=RequestKey(number=number), tensors=[Tensor(name="x", byte_size=size)])
    header = FrameHeader(activation=body)
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    if shared:
        return Frame(header, (), ((0, SharedPayload(0, size)),))
    return Frame(header, (content,))


def wire(frames):
    """Returns the bytes of these frames, in one message each."""
    messages = [encode_envelope([frame]) for frame in frames]
    return b"".join(len(message).to_bytes(4, "little") + message for message in messages)


async def connected(sent, cuts, check):
    """Has a peer send bytes in pieces and close; checks the received frames."""
    got = []
    async with Links("b", 1, lambda _, frame: got.append(frame)) as links:
        peer = await asyncio.to_thread(RawPeer, links._unix_listener.address)
        await eventually(lambda: links.get("peer"), LONG_S)
        link = links.get("peer")
        places = sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
        pieces = [sent[begin:end] for begin, end in pairwise(places)]
        await asyncio.to_thread(peer.send, pieces)
        peer.close()
        async with asyncio.timeout(LONG_S):
            await link.closed.wait()
        # The next peer is accepted.
        good = await asyncio.to_thread(RawPeer, links._unix_listener.address)
        num_before = len(got)
        await asyncio.to_thread(good.send, [wire([activation(99, 5, shared=False)])])
        await eventually(lambda: len(got) > num_before, LONG_S)
        assert got.pop().header.activation.key.number == 99
        good.close()
        check(got)
    got.clear()
    await eventually(lambda: len(asyncio.all_tasks()) == 1, LONG_S)


def connected_in_new_loop(sent, cuts, check):
    """Does so in a new event loop; no error is logged and no descriptor stays open."""
    before = descriptors()
    with capture_logs() as logs:
        uvloop.run(connected(sent, cuts, check))
    assert not [line for line in logs if line["log_level"] == "error"]
    until(lambda: descriptors() <= before or descriptors(), LONG_S)


@pytest.fixture(scope="module", autouse=True)
def _first_connection():
    """The first loop of a process opens descriptors that stay."""
    uvloop.run(connected(b"", [], lambda _: None))


def descriptors():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


cuts = st.lists(st.integers(0, 200_000), max_size=6)
sizes = st.sampled_from([0, 1, 300, (32 << 10) - 1, 32 << 10, 100_000])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(sizes, st.booleans()), max_size=5), cuts, st.integers(0, 400_000))
def test_socket_pipe_delivers_whole_frames_of_a_stream_that_is_cut_anywhere(described, cuts, end):
    """Read in any pieces, up to any byte: the frames that came whole, in order, bit for bit, wherever their tensors are."""
    frames = [activation(number, size, shared) for number, (size, shared) in enumerate(described)]
    sent = wire(frames)[:end]
    num_whole = next(
        (number for number in range(len(frames)) if len(wire(frames[: number + 1])) > end), len(frames)
    )

    def check(got):
        assert [frame.header for frame in got] == [frame.header for frame in frames[:num_whole]]
        for frame, (size, _) in zip(got, described, strict=False):
            assert bytes(frame.payloads[0]) == (bytes(range(256)) * (size // 256 + 1))[:size]

    connected_in_new_loop(sent, cuts, check)


places = st.sampled_from([0, 1, MEMORY_BYTES - 1, MEMORY_BYTES, MEMORY_BYTES + 1, 2**63, 2**64 - 1])
lies = st.one_of(
    st.binary(min_size=1, max_size=100),
    st.builds(
        lambda index, offset, size: wire(
            [
                Frame(FrameHeader(), (), ((index, SharedPayload(offset, size)),)),
                activation(1, 3, shared=False),
            ]
        ),
        st.integers(0, 3),
        places,
        places,
    ),
    places.map(lambda offset: wire([Frame(FrameHeader(release=Release(offsets=[offset])))])),
    st.binary(max_size=60).map(lambda message: len(message).to_bytes(4, "little") + message),
    st.sampled_from([64 << 20, (64 << 20) + 1, 2**32 - 1]).map(lambda size: size.to_bytes(4, "little")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(lies, min_size=1, max_size=3), cuts)
def test_socket_pipe_disconnects_a_peer_that_sends_anything_else(sent, cuts):
    """References outside the memory, releases of nothing, huge lengths, noise: at most that stream ends, as corrupt."""
    connected_in_new_loop(b"".join(sent), cuts, lambda _: None)
