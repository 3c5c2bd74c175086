"""A mesh on this machine as a child process: `onnxmesh up`, its events and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

Event = dict[str, Any]

_READY_TIMEOUT_S = 90.0


class LocalMesh:
    """A mesh of child processes on free ports; as a context manager it stops them on exit.

    Example: `with LocalMesh("--workers=2") as mesh: client = MeshClient(mesh.wait_ready())`

    Attributes:
        process: The process of `onnxmesh up`.
        events: The events so far: the JSON lines of `onnxmesh up --json`.

    Args:
        arguments: Options of `onnxmesh up`.
        environment: Environment variables of its services, in addition to those of this process.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        command = [sys.executable, "-m", "onnxmesh.cli", "up", "--json", "--address", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> LocalMesh:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> str:
        """Waits until the mesh answers; returns the gateway's address.

        Raises:
            TimeoutError: It does not within `timeout_s`.
            RuntimeError: The mesh ended.
        """
        return str(self.wait_for(lambda event: event["event"] == "ready", timeout_s)["gateway"])

    def wait_for(self, matches: Callable[[Event], bool], timeout_s: float = 60.0, start: int = 0) -> Event:
        """Waits for the first event from index `start` on that matches, and returns it.

        Raises:
            TimeoutError: No such event within `timeout_s`.
            RuntimeError: The mesh ended.
        """
        end_s = monotonic() + timeout_s
        with self._changed:
            while True:
                for event in self.events[start:]:
                    if matches(event):
                        return event
                if self.process.poll() is not None and not self._reader.is_alive():
                    raise RuntimeError(
                        f"the mesh exited with code {self.process.returncode}: {self.events[-1:]}"
                    )
                if not self._changed.wait(max(0.0, min(0.2, end_s - monotonic()))) and monotonic() > end_s:
                    raise TimeoutError(
                        f"no such event within {timeout_s:.0f} s; events: {self.events[start:]}"
                    )

    @property
    def pids(self) -> dict[str, int]:
        """The current process id of each service."""
        return {event["name"]: event["pid"] for event in self.events if event["event"] == "service_ready"}

    @property
    def running_pids(self) -> list[int]:
        """Ids of processes that were started by this mesh and still run."""
        services = [event["pid"] for event in self.events if event["event"] == "service_ready"]
        return [pid for pid in (self.process.pid, *services) if _runs(pid)]

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 15.0) -> float:
        """Signals the mesh to stop and waits for it; kills it after `timeout_s`. Returns the seconds that it took."""
        start_s = monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            elapsed_s = monotonic() - start_s
            self._reader.join(timeout_s)
            if self.process.stdout is not None:
                self.process.stdout.close()
        return elapsed_s

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
