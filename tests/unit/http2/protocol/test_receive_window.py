"""Flow control window for data that is received."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.http2.protocol.receive_window import ReceiveWindow


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=100))
def test_receive_window_never_blocks_a_client_whose_data_is_consumed(sizes):
    """At least half of the window is open after each consumption, and never more than the window."""
    window, allowed = ReceiveWindow(100), 100
    for wanted in sizes:
        size = min(wanted, allowed)
        assert window.receive(size)
        allowed -= size
        allowed += window.consume(size)
        assert 50 < allowed <= 100
    assert not window.receive(allowed + 1)


def test_receive_window_increments_by_half_of_itself_at_the_least():
    """Small increments would cost a frame each; what was consumed is given back once."""
    window = ReceiveWindow(100)
    assert window.receive(100)
    assert [window.consume(size) for size in (49, 1, 49, 1)] == [0, 50, 0, 50]
    assert window.receive(100)
    assert not window.receive(1)
