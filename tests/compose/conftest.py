"""One mesh of containers for all of these tests, and their measurements."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.compose.compose_project import ComposeProject, docker, require_docker
from tests.fakes.service_program import free_ports

_FIGURES = []


@pytest.fixture(scope="session")
def figures():
    """Lines to print at the end of the run."""
    return _FIGURES


def pytest_terminal_summary(terminalreporter):
    for line in _FIGURES:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def project(figures):
    """The whole mesh, running and healthy; it is removed afterwards in any case."""
    require_docker()
    project = ComposeProject(*free_ports(1))
    try:
        began = monotonic()
        project.compose("build", timeout_s=1200)
        figures.append(f"images built in {monotonic() - began:.1f} s")
        began = monotonic()
        project.compose("up", "--detach", timeout_s=600)
        project.wait_healthy()
        figures.append(f"up, healthy, with a model deployed after {monotonic() - began:.1f} s")
        for line in docker(
            "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *project.containers()
        ).splitlines():
            if "demo" not in line:
                figures.append(f"memory at rest: {line.removeprefix(project.name)}")
        yield project
    finally:
        project.compose("down", "--volumes", "--remove-orphans", timeout_s=600)
