"""A worker in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from tests.fakes.commanding_scheduler import commanding
from tests.integration.worker.conftest import Worker


@contextlib.asynccontextmanager
async def worker_process(id_, *flags):
    command = [
        sys.executable,
        "-m",
        "services.worker",
        f"--id={id_}",
        "--threads=1",
        "--no-measure",
        "--drain-s=60",
        *flags,
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        words = (await process.stdout.readline()).decode().split()
        assert words[:2] == ["ready", "worker"]
        async with commanding(words[2]) as scheduler:
            yield process, Worker(id_, words[2], scheduler, None)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
