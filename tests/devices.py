"""Devices in whose memory outputs may stay: the host, which tests everything but the copies, and a GPU."""

from __future__ import annotations

import pytest

from onnxmesh.device.gpu import find_gpu
from onnxmesh.errors import Unsatisfiable


def _why_no_gpu() -> str:
    try:
        find_gpu("cuda")
    except Unsatisfiable as error:
        return error.message
    return ""


DEVICES = (
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(bool(why := _why_no_gpu()), reason=f"no GPU: {why}")),
)
