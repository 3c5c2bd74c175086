"""What kinds of devices are called, and how such a name is read."""

from __future__ import annotations

import pytest

from onnxmesh.device.device_kind import device_kind_name, parse_device_kind, this_cpu_class
from onnxmesh.device.execution_provider import CPU, CUDA
from onnxmesh.device.gpu import Gpu
from onnxmesh.errors import InvalidRequest


@pytest.mark.parametrize(
    ("threads", "gpu", "cpu", "name"),
    [
        (1, None, "x86_64-avx512", "cpu-x86_64-avx512-1t"),
        (16, None, "aarch64-neon", "cpu-aarch64-neon-16t"),
        (4, Gpu("NVIDIA L4", 1), None, "cuda-NVIDIA-L4"),
        (1, Gpu("NVIDIA A100-SXM4-80GB (MIG 1g)", 1), None, "cuda-NVIDIA-A100-SXM4-80GB-MIG-1g"),
    ],
)
def test_device_kind_names_what_computes(threads, gpu, cpu, name):
    """The class of a CPU and its threads, or the model of a GPU; nothing that a file name cannot hold."""
    assert device_kind_name(threads, gpu, cpu) == name


def test_device_kind_of_this_machine_can_be_read_back():
    """It contains the CPU's class, and the number of threads can be read from it."""
    assert this_cpu_class() in device_kind_name(3)
    assert parse_device_kind(device_kind_name(3)) == (3, (CPU,))
    assert parse_device_kind(device_kind_name(3, Gpu("NVIDIA L4", 1))) == (1, (CUDA, CPU))
    assert parse_device_kind("") == (1, (CPU,))


@pytest.mark.parametrize("name", ["tpu", "cpu-x86_64-avx2", "cpu-x86_64-0t", "cpu--t", "1t"])
def test_device_kind_refuses_malformed_names(name):
    """The message describes the form of a name."""
    with pytest.raises(InvalidRequest, match=f"a name such as .*, got '{name}'"):
        parse_device_kind(name)
