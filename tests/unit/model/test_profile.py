"""Measured times: kept, joined, refused where they are of something else."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.ids import Digest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import DeviceTimes, Profile

SPEED = DeviceSpeed(flops_per_s=1e9, bytes_per_s=1e9, node_overhead_s=0.0)
SHAPES = {"x": (1, 3)}


def profile(device="cpu", node_s=(0.5, 0.25), digest="a" * 64, **options) -> Profile:
    made = Profile(Digest(digest), OptimisationLevel.EXTENDED, SHAPES, {device: DeviceTimes(node_s, SPEED)})
    return Profile(**{name: options.get(name, getattr(made, name)) for name in made.__slots__})


def test_profile_survives_json():
    """Every figure, and the mode."""
    made = profile(mode=CutMode.PORTABLE)
    assert Profile.from_json(made.to_json()) == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}'])
def test_profile_refuses_other_json(text):
    """Whatever JSON they may be."""
    with pytest.raises(CorruptData, match="not a profile"):
        Profile.from_json(text)


def test_profile_merges_devices():
    """A new device is added; of one that is there the newer times count."""
    grown = profile("cpu").merged(profile("cuda", (0.1, 0.1))).merged(profile("cpu", (0.4, 0.2)))
    assert set(grown.devices) == {"cpu", "cuda"}
    assert grown.devices["cpu"].node_s == (0.4, 0.2)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (profile(digest="b" * 64), f"another model: expected digest {'b' * 64}, got {'a' * 64}"),
        (profile(level=OptimisationLevel.ALL), "another optimisation level: expected all, got extended"),
        (profile(mode=CutMode.PORTABLE), "another mode: expected portable, got exact"),
        (profile(shapes={"x": (8, 3)}), "other shapes: expected x 8x3, got x 1x3"),
        (profile(shapes={"x": ()}), "other shapes: expected x scalar, got x 1x3"),
    ],
)
def test_profile_refuses_times_of_another_model_or_mode(other, words):
    """Another model, level, mode or shape; the message names both."""
    with pytest.raises(InvalidRequest, match=words):
        profile().merged(other)
