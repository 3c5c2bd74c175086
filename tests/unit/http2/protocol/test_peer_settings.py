"""SETTINGS of the client."""

from __future__ import annotations

import h2.settings
import pytest

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import FRAME_HEADER_BYTES, settings_frame
from onnxmesh.http2.protocol.peer_settings import PeerSettings, SettingId


def updated(settings):
    """The client's settings after one frame."""
    peer = PeerSettings()
    assert not peer.are_received
    peer.update(settings_frame(settings)[FRAME_HEADER_BYTES:])
    return peer


def test_peer_settings_have_the_defaults_of_http2_until_they_change():
    """Empty SETTINGS and unknown settings change nothing."""
    for settings in ({}, {0xF00D: 7, SettingId.ENABLE_PUSH: 1, SettingId.MAX_CONCURRENT_STREAMS: 0}):
        peer = updated(settings)
        assert (peer.are_received, peer.initial_window_bytes, peer.max_frame_bytes) == (True, 65_535, 16_384)


@pytest.mark.parametrize(
    ("value", "sent"), [(16_384, 16_384), (100_000, 100_000), (256 << 10, 256 << 10), (2**24 - 1, 256 << 10)]
)
def test_peer_settings_bound_the_frames_that_are_sent(value, sent):
    """By what the client accepts, and by 256 KiB."""
    assert updated({SettingId.MAX_FRAME_SIZE: value}).max_frame_bytes == sent


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1])
def test_peer_settings_take_every_window_that_http2_allows(value):
    """A window of 0 included."""
    assert updated({SettingId.INITIAL_WINDOW_SIZE: value}).initial_window_bytes == value


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        (SettingId.INITIAL_WINDOW_SIZE, 2**31, ErrorCode.FLOW_CONTROL_ERROR),
        (SettingId.MAX_FRAME_SIZE, 16_383, ErrorCode.PROTOCOL_ERROR),
        (SettingId.MAX_FRAME_SIZE, 2**24, ErrorCode.PROTOCOL_ERROR),
        (SettingId.ENABLE_PUSH, 2, ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_peer_settings_refuse_values_out_of_range(setting, value, code):
    """With the code that HTTP/2 has for each."""
    with pytest.raises(ConnectionFault) as fault:
        updated({setting: value})
    assert fault.value.code is code


def test_setting_ids_are_those_of_http2():
    """By name and number, as the library h2 has them."""
    theirs = {code.name: code.value for code in h2.settings.SettingCodes}
    assert {each.name: each.value for each in SettingId}.items() <= theirs.items()
