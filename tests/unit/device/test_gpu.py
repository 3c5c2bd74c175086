"""GPUs as the driver lists them."""

from __future__ import annotations

import pytest

from onnxmesh.device.gpu import Gpu, parse_gpu


@pytest.mark.parametrize(
    ("line", "gpu"),
    [
        ("23034, 550.54.15, 8.9, NVIDIA L4", Gpu("NVIDIA L4", 23034 << 20, "550.54.15", "8.9")),
        ("23034, 470.82.01, NVIDIA L4", Gpu("NVIDIA L4", 23034 << 20, "470.82.01")),
        ("[N/A], 580.95.05, 12.1, NVIDIA GB10", None),
        ("No devices were found", None),
        ("", None),
    ],
)
def test_gpu_is_read_from_a_line_of_the_driver(line, gpu):
    """Model, memory in bytes, driver, and compute capability where the driver knows it."""
    assert parse_gpu(line) == gpu
