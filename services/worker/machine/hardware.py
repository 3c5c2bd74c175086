"""Hardware of this worker, as registration attributes and execution providers."""

from __future__ import annotations

from dataclasses import dataclass

import onnxruntime

from onnxmesh.device.device_kind import device_kind_name, this_cpu_class, this_cpu_features
from onnxmesh.device.execution_provider import CPU, CUDA
from onnxmesh.device.gpu import Gpu, find_gpu
from onnxmesh.device.locales import installed_labels
from onnxmesh.device.resources import available_cores, available_memory_bytes


@dataclass(frozen=True, slots=True)
class Hardware:
    """Hardware that this process may use.

    Attributes:
        cpu_class: CPUs of one class run the same kernels.
        cores: Cores available to this process.
        memory_bytes: Memory available to it; None if unknown.
        gpu: The GPU that stages run on; None: they run on the CPU.
        ort_version: Version of ONNX Runtime.
        ort_providers: Execution providers that ONNX Runtime was built with.
        features: Instruction sets of the CPU that selectors may name.
        locales: Labels of the locales that text operators may need.
    """

    cpu_class: str
    cores: int
    memory_bytes: int | None
    gpu: Gpu | None
    ort_version: str
    ort_providers: tuple[str, ...]
    features: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers for sessions, preferred first."""
        return (CPU,) if self.gpu is None else (CUDA, CPU)

    def kind(self, threads: int) -> str:
        """Returns the name of this kind of device, with `threads` threads for each stage."""
        return device_kind_name(threads, self.gpu, self.cpu_class)

    def attributes(self, threads: int) -> dict[str, str]:
        """Returns the registration attributes, with `threads` threads for each stage."""
        attributes = {
            "device.kind": self.kind(threads),
            "threads": str(threads),
            "cpu.class": self.cpu_class,
            "device": "cpu" if self.gpu is None else "cuda",
            "cores": str(self.cores),
            "ort.version": self.ort_version,
            "ort.providers": ",".join(self.ort_providers),
        }
        if self.features:
            attributes["cpu.features"] = ",".join(self.features)
        attributes |= dict.fromkeys(self.locales, "yes")
        if self.memory_bytes is not None:
            attributes["memory.bytes"] = str(self.memory_bytes)
            attributes["memory_gb"] = _gibibytes(self.memory_bytes)
        if self.gpu is not None:
            attributes["gpu.model"] = self.gpu.model
            attributes["gpu.memory"] = str(self.gpu.memory_bytes)
            attributes["gpu.memory_gb"] = _gibibytes(self.gpu.memory_bytes)
            if self.gpu.driver:
                attributes["gpu.driver"] = self.gpu.driver
            if self.gpu.compute_capability:
                attributes["gpu.compute_capability"] = self.gpu.compute_capability
        return attributes


def _gibibytes(num_bytes: int) -> str:
    """Returns gibibytes as selectors name them."""
    return f"{num_bytes / 2**30:.1f}"


def find_hardware(device: str) -> Hardware:
    """Returns the hardware of this machine.

    Args:
        device: `auto`, `cpu` or `cuda`.

    Raises:
        Unsatisfiable: `cuda` was requested and is not available (FAILED_PRECONDITION).
    """
    return Hardware(
        cpu_class=this_cpu_class(),
        cores=available_cores(),
        memory_bytes=available_memory_bytes(),
        gpu=find_gpu(device),
        ort_version=onnxruntime.__version__,
        ort_providers=tuple(onnxruntime.get_available_providers()),
        features=this_cpu_features(),
        locales=installed_labels(),
    )
