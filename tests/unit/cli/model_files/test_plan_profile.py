"""The profile that a plan uses."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from onnxmesh.cli.app import app
from onnxmesh.cli.model_files.plan_profile import times_sources, times_text
from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import DeviceTimes, Profile
from tests.zoo import ZOO


def run(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def model(tmp_path):
    return ZOO["branching_cnn"].build(tmp_path)


def test_find_profile_names_a_file_that_is_no_profile(model, tmp_path):
    """Text, bytes and JSON of something else are not a profile."""
    path = tmp_path / "broken.json"
    for content in (b"hello", b"\xff", b"[]", b'{"format": 9}'):
        path.write_bytes(content)
        done = run(model, "--profile", path)
        assert (done.exit_code, "is not a profile: " in done.stderr) == (2, True), done.stderr


def test_times_text_names_the_sources():
    """By kind, and in a few words for all."""
    cluster = Cluster((DeviceKind("a"), DeviceKind("b", profile="x")))
    times = DeviceTimes((), DeviceSpeed())

    def text_of(*measured):
        profile = (
            Profile("0", OptimisationLevel.ALL, {}, dict.fromkeys(measured, times)) if measured else None
        )
        return times_text(times_sources(cluster, profile))

    assert text_of() == "estimated"
    assert text_of("a", "x") == "measured"
    assert text_of("x") == "measured, and scaled from those for 'a'"
    assert text_of("other") == "scaled from those measured on 'other'"
