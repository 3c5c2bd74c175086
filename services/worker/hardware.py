"""What this worker can say of the machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass

import onnxruntime

from onnxmesh.device.device_kind import device_kind_name, this_cpu_class, this_cpu_features
from onnxmesh.device.execution_provider import CPU, CUDA
from onnxmesh.device.gpu import Gpu, find_gpu
from onnxmesh.device.resources import available_cores, available_memory_bytes


@dataclass(frozen=True, slots=True)
class Hardware:
    """Facts about a machine, as far as this process may use it.

    Attributes:
        cpu_class: CPUs of one class run the same kernels.
        cores: How many this process was given.
        memory_bytes: How much it may use; None if unknown.
        gpu: What it computes on, if not the CPU.
        ort_version: Version of ONNX Runtime.
        ort_providers: What it was built with.
        features: Instruction sets of the CPU that people choose workers by.
    """

    cpu_class: str
    cores: int
    memory_bytes: int | None
    gpu: Gpu | None
    ort_version: str
    ort_providers: tuple[str, ...]
    features: tuple[str, ...] = ()

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers for sessions, best first."""
        return (CPU,) if self.gpu is None else (CUDA, CPU)

    def kind(self, threads: int) -> str:
        """Returns the name of this kind of device with so many threads."""
        return device_kind_name(threads, self.gpu, self.cpu_class)

    def attributes(self, threads: int) -> dict[str, str]:
        """Returns the facts as a registration carries them, for stages of so many threads."""
        facts = {
            "device.kind": self.kind(threads),
            "threads": str(threads),
            "cpu.class": self.cpu_class,
            "device": "cpu" if self.gpu is None else "cuda",
            "cores": str(self.cores),
            "ort.version": self.ort_version,
            "ort.providers": ",".join(self.ort_providers),
        }
        if self.features:
            facts["cpu.features"] = ",".join(self.features)
        if self.memory_bytes is not None:
            facts["memory.bytes"] = str(self.memory_bytes)
            facts["memory_gb"] = _gibibytes(self.memory_bytes)
        if self.gpu is not None:
            facts["gpu.model"] = self.gpu.model
            facts["gpu.memory"] = str(self.gpu.memory_bytes)
            facts["gpu.memory_gb"] = _gibibytes(self.gpu.memory_bytes)
            if self.gpu.driver:
                facts["gpu.driver"] = self.gpu.driver
            if self.gpu.compute_capability:
                facts["gpu.compute_capability"] = self.gpu.compute_capability
        return facts


def _gibibytes(num_bytes: int) -> str:
    """Returns what people write in a requirement."""
    return f"{num_bytes / 2**30:.1f}"


def find_hardware(device: str) -> Hardware:
    """Looks at this machine.

    Args:
        device: `auto`, `cpu` or `cuda`.

    Raises:
        Unsatisfiable: `cuda` is wanted and cannot be had (FAILED_PRECONDITION).
    """
    return Hardware(
        cpu_class=this_cpu_class(),
        cores=available_cores(),
        memory_bytes=available_memory_bytes(),
        gpu=find_gpu(device),
        ort_version=onnxruntime.__version__,
        ort_providers=tuple(onnxruntime.get_available_providers()),
        features=this_cpu_features(),
    )
