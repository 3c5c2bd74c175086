"""What a service process has imported when it serves: imports are most of its start, and a mesh starts many processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
import services.{role}.__main__
from services.{role}.app import {role}_app
from services.{role}.settings import {settings}

async def start():
    async with {role}_app({settings}({arguments}, drain_s=0)):
        imported = set(sys.modules) & {unused}
        assert not imported, imported

asyncio.run(start())
"""

CLIENTS = {"consul", "redis", "requests"}
ONNX = {"onnx", "onnx_ir", "onnxruntime"}
HTTP2_SERVER = {"onnxmesh.http2", "hpack"}


@pytest.mark.parametrize(
    ("role", "arguments", "unused"),
    [
        ("gateway", "scheduler='127.0.0.1:1'", CLIENTS | ONNX),
        ("scheduler", "state={folder!r}", CLIENTS | ONNX | HTTP2_SERVER),
        ("worker", "scheduler='127.0.0.1:1', cache={folder!r}, measure=False", CLIENTS | HTTP2_SERVER),
    ],
)
def test_a_service_imports_only_the_libraries_that_its_settings_need(role, arguments, unused, tmp_path):
    """A process that serves without Consul and Redis has not imported their clients; only a gateway has an HTTP/2 server."""
    program = PROGRAM.format(
        role=role,
        settings=f"{role.capitalize()}Settings",
        arguments=arguments.format(folder=str(tmp_path / role)),
        unused=unused,
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
