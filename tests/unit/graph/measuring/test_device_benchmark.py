"""The device benchmark and its cache."""

from __future__ import annotations

import pytest

from onnxmesh.graph.measuring.device_benchmark import cached_device_speed, measure_device
from onnxmesh.model.device_speed import DeviceSpeed

SLOW, FAST = DeviceSpeed(1e9, 2e9, 3e-6), DeviceSpeed(2e9, 1e9, 2e-6)


class Stopwatch:
    """Answers as a measurement would, and counts its calls."""

    def __init__(self, *speeds: DeviceSpeed) -> None:
        self.speeds = list(speeds)
        self.num_calls = 0

    def __call__(self, threads, providers) -> DeviceSpeed:
        self.num_calls += 1
        return self.speeds[min(self.num_calls, len(self.speeds)) - 1]


def test_benchmark_measures_three_positive_constants():
    """All of them finite and positive."""
    speed = measure_device()
    assert 0 < speed.flops_per_s < float("inf")
    assert 0 < speed.bytes_per_s < float("inf")
    assert 0 < speed.node_overhead_s < 1


def test_cache_measures_a_kind_once(tmp_path):
    """Another kind or number of threads is another device."""
    watch = Stopwatch(SLOW)
    for _ in range(3):
        assert cached_device_speed("cpu-a-1t", 1, folder=tmp_path / "new", measure=watch) == SLOW
    assert watch.num_calls == 1
    cached_device_speed("cpu-b-1t", 1, folder=tmp_path / "new", measure=watch)
    cached_device_speed("cpu-a-1t", 2, folder=tmp_path / "new", measure=watch)
    assert watch.num_calls == 3
    assert not [path for path in (tmp_path / "new").iterdir() if path.name.startswith(".")]


def test_cache_keeps_the_better_constants(tmp_path):
    """What was reached once can be reached: a busy machine is no slower one."""
    watch = Stopwatch(SLOW, FAST)
    cached_device_speed("cpu", folder=tmp_path, measure=watch)
    again = cached_device_speed("cpu", folder=tmp_path, measure=watch, fresh=True)
    assert again == DeviceSpeed(2e9, 2e9, 2e-6)
    assert cached_device_speed("cpu", folder=tmp_path, measure=watch) == again


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1, "speed": {"flops_per_s": -1}}', "\x00"])
def test_cache_replaces_malformed_content(tmp_path, text):
    """And written over."""
    watch = Stopwatch(SLOW)
    cached_device_speed("cpu", folder=tmp_path, measure=watch)
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    assert cached_device_speed("cpu", folder=tmp_path, measure=watch) == SLOW
    assert cached_device_speed("cpu", folder=tmp_path, measure=watch) == SLOW
    assert watch.num_calls == 2


def test_cache_does_without_a_folder_that_is_not_writable(tmp_path):
    """A file stands where the folder would be."""
    (tmp_path / "file").write_text("")
    watch = Stopwatch(SLOW)
    for num_calls in (1, 2):
        assert cached_device_speed("cpu", folder=tmp_path / "file" / "x", measure=watch) == SLOW
        assert watch.num_calls == num_calls


def test_cache_is_in_the_users_cache_folder(tmp_path, monkeypatch):
    """XDG_CACHE_HOME where it is absolute, else .cache at home."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    cached_device_speed("cpu", measure=Stopwatch(SLOW))
    assert list((tmp_path / "xdg" / "onnxmesh").iterdir())
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cached_device_speed("cpu", measure=Stopwatch(SLOW))
    assert list((tmp_path / "home" / ".cache" / "onnxmesh").iterdir())
