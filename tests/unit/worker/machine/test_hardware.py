"""Hardware of a worker, as registration attributes."""

from __future__ import annotations

from dataclasses import replace
from locale import locale_alias

from onnxmesh.device.gpu import Gpu
from onnxmesh.device.locales import locale_label
from onnxmesh.discovery.consul_service import to_meta
from onnxmesh.discovery.instance import Instance
from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.selectors.selector_text import parse_selector
from services.worker.machine.hardware import Hardware


def hardware(**changes):
    facts = Hardware("x86_64-avx2", 4, 8 << 30, None, "1.23.0", ("CPUExecutionProvider",), ("avx2", "vnni"))
    return replace(facts, **changes)


def test_hardware_attributes_can_be_selected():
    """Unknown ones are left out."""
    found = hardware().attributes(2)
    assert found["cpu.features"] == "avx2,vnni"
    assert not {"gpu.compute_capability", "gpu.driver"} & found.keys()
    assert "cpu.features" not in hardware(features=()).attributes(2)
    with_gpu = hardware(gpu=Gpu("NVIDIA L4", 24 << 30, "550.54.15", "8.9")).attributes(2)
    assert (with_gpu["gpu.compute_capability"], with_gpu["gpu.driver"]) == ("8.9", "550.54.15")
    assert parse_selector("gpu.compute_capability >= 8.0").selects(labels_of((), with_gpu))


def test_hardware_locales_can_be_required():
    """Each is a label of its own."""
    found = hardware(locales=("locale.en_US.utf8",)).attributes(2)
    assert parse_selector("locale.en_US.utf8").selects(labels_of((), found))
    assert not parse_selector("locale.de_DE.utf8").selects(labels_of((), found))


def test_hardware_with_every_locale_can_be_registered_in_consul():
    """Debian's `locales-all` installs hundreds; Consul takes 64 pairs of 512 bytes."""
    every = tuple(
        sorted({locale_label(f"{name.partition('.')[0]}.UTF-8") for name in locale_alias.values()} - {""})
    )
    assert len(every) > 250
    facts = hardware(locales=every).attributes(2) | {f"speed.{number}": "1" * 20 for number in range(4)}
    instance = Instance("w" * 128, "worker", "host:1", 1, (), facts)
    assert to_meta(instance)


def test_hardware_providers_and_kind_follow_the_gpu():
    """Without one, the CPU's provider and class."""
    assert hardware().providers == ("CPUExecutionProvider",)
    with_gpu = hardware(gpu=Gpu("NVIDIA L4", 24 << 30))
    assert with_gpu.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert with_gpu.kind(2) != hardware().kind(2)
    assert with_gpu.attributes(2)["device"] == "cuda"
