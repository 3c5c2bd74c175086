"""The containers of docker-compose.yml, under a unique project name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def require_docker():
    """Skips the test without Docker and Compose, or fails it if services are required."""
    try:
        for words in (["info"], ["compose", "version"]):
            subprocess.run(["docker", *words], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("ONNXMESH_REQUIRE_SERVICES") == "1":
            pytest.fail(f"Docker with Compose is required here: {error}")
        pytest.skip("Docker with Compose is not there")


class ComposeProject:
    """What `docker compose` started from the project's own file.

    Args:
        port: Where the gateways are published on this machine.
    """

    def __init__(self, port):
        self.name = f"onnxmesh-test-{uuid.uuid4().hex[:8]}"
        self.address = f"127.0.0.1:{port}"
        self._environment = os.environ | {"ONNXMESH_PORT": str(port)}

    def compose(self, *words, check=True, timeout_s=6000, **environment):
        """Runs `docker compose` and returns the completed process."""
        done = subprocess.run(
            ["docker", "compose", "--project-name", self.name, "--ansi=never", *words],
            cwd=ROOT,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"docker compose {' '.join(words)}: {done.stderr[-3000:]}"
        return done

    def containers(self, service=None):
        """Returns Docker's description of each container, those that ended too, by name."""
        ids = self.compose("ps", "--all", "--quiet", *([service] if service else [])).stdout.split()
        return {each["Name"].lstrip("/"): each for each in json.loads(docker("inspect", *ids))} if ids else {}

    def unhealthy(self):
        """Returns the containers that are neither healthy nor completed."""
        return {
            name: state
            for name, state in self._states().items()
            if state not in {"healthy", "running", "done"}
        }

    def _states(self):
        states = {}
        for name, container in self.containers().items():
            state = container["State"]
            if state["Status"] == "exited":
                states[name] = "done" if not state["ExitCode"] and name.endswith("-demo-1") else "exited"
            else:
                states[name] = state.get("Health", {"Status": state["Status"]})["Status"]
        return states

    def wait_healthy(self, timeout_s=600):
        """Waits until every container is healthy and the demo's model deployed; returns the seconds that it took."""
        began = time.monotonic()
        while unhealthy := self.unhealthy() or ("" if "done" in self._states().values() else "no model yet"):
            assert time.monotonic() < began + timeout_s, (
                f"{unhealthy}\n{self.compose('logs', '--tail=20').stdout}"
            )
            time.sleep(0.3)
        return time.monotonic() - began

    def left(self):
        """Returns the containers, volumes and networks of this project."""
        ours = ["--quiet", "--filter", f"label=com.docker.compose.project={self.name}"]
        kinds = (["ps", "--all", *ours], ["volume", "ls", *ours], ["network", "ls", *ours])
        return [found for kind in kinds for found in docker(*kind).split()]

    def command(self, *words, timeout_s=60):
        """Runs `onnxmesh …` on this machine, against the published port, and returns what it printed.

        On a busy machine a connection may take longer than it is given: what fails is tried again for a while.
        """
        end = time.monotonic() + timeout_s
        while True:
            done = subprocess.run(
                [sys.executable, "-m", "onnxmesh.cli", *words, "--mesh", self.address],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode == 0:
                return done.stdout
            assert time.monotonic() < end, done.stderr
            time.sleep(0.5)

    def status(self):
        """Returns the document of `onnxmesh status --json`."""
        return json.loads(self.command("status", "--json"))


def docker(*words):
    """Runs `docker` and returns what it printed."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
