"""Large frames in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.chunking import Assembler, split_frame
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.v1.frame_pb2 import Activation, Cancel, Chunk, FrameHeader, RequestKey, Result, Tensor


def activation(number, *payloads, hop=0):
    tensors = [Tensor(name=f"t{i}", byte_size=len(p)) for i, p in enumerate(payloads)]
    key = RequestKey(origin="gateway", number=number)
    body = Activation(key=key, tensors=tensors, hop=hop, direct=hop > 0)
    return Frame(FrameHeader(activation=body), payloads)


def result(number, *payloads):
    tensors = [Tensor(name=f"t{i}", byte_size=len(p)) for i, p in enumerate(payloads)]
    return Frame(FrameHeader(result=Result(key=RequestKey(number=number), tensors=tensors)), payloads)


def contents(frame):
    return [bytes(payload) for payload in frame.payloads]


@given(
    st.lists(st.lists(st.binary(max_size=100), max_size=4), min_size=1, max_size=4),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
    st.sampled_from([activation, result]),
)
def test_assembler_assembles_interleaved_frames(bodies, chunk_bytes, random, make):
    """Pieces of several requests may mix on a stream; each is assembled whole, once, unchanged."""
    sent = [make(number, *body) for number, body in enumerate(bodies)]
    queues = [list(split_frame(frame, chunk_bytes)) for frame in sent]
    assembler = Assembler()
    whole = []
    while any(queues):
        piece = random.choice([queue for queue in queues if queue]).pop(0)
        assert piece.payload_bytes <= chunk_bytes
        if (frame := assembler.feed(piece)) is not None:
            whole.append(frame)
    kind = "activation" if make is activation else "result"
    by_number = {getattr(frame.header, kind).key.number: frame for frame in whole}
    assert len(whole) == len(sent) == len(by_number)
    for number, frame in enumerate(sent):
        assert contents(by_number[number]) == contents(frame)
        assert by_number[number].header == frame.header
    assert assembler.num_partial == 0


@given(
    st.lists(st.lists(st.binary(max_size=100), max_size=3), min_size=2, max_size=4),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_assembler_separates_activations_of_one_request_for_several_hops(bodies, chunk_bytes, random):
    """Their pieces carry the same key and may come in any mixture; each hop gets its own tensors."""
    sent = [activation(1, *body, hop=hop) for hop, body in enumerate(bodies)]
    queues = [list(split_frame(frame, chunk_bytes)) for frame in sent]
    assembler = Assembler()
    whole = {}
    while any(queues):
        frame = assembler.feed(random.choice([queue for queue in queues if queue]).pop(0))
        if frame is not None:
            assert frame.header.activation.hop not in whole
            whole[frame.header.activation.hop] = frame
    for hop, frame in enumerate(sent):
        assert contents(whole[hop]) == contents(frame)
        assert whole[hop].header == frame.header
    assert assembler.num_partial == 0


def test_assembler_drops_the_chunks_of_every_hop_on_cancel():
    """Those of another request stay."""
    assembler = Assembler()
    sent = [activation(1, b"x" * 100), activation(1, b"y" * 100, hop=2), activation(2, b"z" * 100, hop=2)]
    pieces = [list(split_frame(frame, 30)) for frame in sent]
    for piece in (piece for queue in pieces for piece in queue[:3]):
        assert assembler.feed(piece) is None
    assert assembler.num_partial == 3
    assembler.feed(Frame(FrameHeader(cancel=Cancel(key=sent[0].header.activation.key))))
    assert assembler.num_partial == 1
    assert [assembler.feed(piece) for piece in pieces[1][3:]] == [None] * len(pieces[1][3:])
    (whole,) = filter(None, map(assembler.feed, pieces[2][3:]))
    assert contents(whole) == [b"z" * 100]


def test_assembler_drops_chunks_on_cancel():
    """A request that is cancelled between chunks keeps no memory, and its last chunks are ignored."""
    frame = activation(1, b"x" * 100)
    pieces = list(split_frame(frame, 30))
    assembler = Assembler()
    for piece in pieces[:3]:
        assert assembler.feed(piece) is None
    assert assembler.num_partial == 1
    cancel = Frame(FrameHeader(cancel=Cancel(key=frame.header.activation.key)))
    assert assembler.feed(cancel) is cancel
    assert assembler.num_partial == 0
    assert [assembler.feed(piece) for piece in pieces[3:]] == [None] * len(pieces[3:])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda chunk: setattr(chunk, "offset", 5), "expected the chunk at 30, got that at 5"),
        (
            lambda chunk: setattr(chunk, "tensor", 7),
            "expected a chunk of one of 1 tensors, got one of tensor 7",
        ),
    ],
)
def test_assembler_refuses_a_wrong_chunk(spoil, message):
    """A piece out of order is named."""
    pieces = list(split_frame(activation(1, b"x" * 100), 30))
    assembler = Assembler()
    assembler.feed(pieces[0])
    assembler.feed(pieces[1])
    header = FrameHeader()
    header.CopyFrom(pieces[2].header)
    spoil(header.chunk)
    with pytest.raises(CorruptData, match=message):
        assembler.feed(Frame(header, pieces[2].payloads))


def test_assembler_refuses_payloads_that_do_not_match_their_tensors():
    """A frame whose tensor declares another size than its payload has is corrupt."""
    tensor = Tensor(name="x", byte_size=4)
    header = FrameHeader(activation=Activation(tensors=[tensor]))
    with pytest.raises(CorruptData, match="tensor 'x': expected 4 bytes, got 3"):
        Assembler().feed(Frame(header, (b"abc",)))
    with pytest.raises(CorruptData, match="expected payloads of 1 tensors, got 0"):
        Assembler().feed(Frame(header))


def test_assembler_refuses_a_short_chunked_tensor():
    """The last piece does not hide that bytes are missing."""
    pieces = list(split_frame(activation(1, b"x" * 100), 30))
    assembler = Assembler()
    for piece in pieces[:3]:
        assembler.feed(piece)
    last = Frame(
        FrameHeader(chunk=Chunk(key=RequestKey(origin="gateway", number=1), offset=60, last=True)), (b"x",)
    )
    with pytest.raises(CorruptData, match="expected 100 bytes, got 61"):
        assembler.feed(last)
