"""The gateway as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

GATEWAY = [sys.executable, "-m", "services.gateway"]


def test_help_lists_every_setting():
    """Whoever starts one by hand sees what can be set."""
    done = subprocess.run([*GATEWAY, "--help"], capture_output=True, text=True, check=True, timeout=60)
    for flag in (
        "--listen",
        "--advertise",
        "--id",
        "--scheduler",
        "--consul",
        "--consul-token",
        "--redis",
        "--max-message-bytes",
        "--default-timeout-s",
        "--max-in-flight",
        "--max-attempts",
        "--drain-s",
        "--log-format",
        "--log-level",
        "--metrics",
        "--exit-with-parent",
    ):
        assert flag in done.stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], "--scheduler or --consul"),
        (["--scheduler=h:1,nowhere"], "expected HOST:PORT, got 'nowhere'"),
        (["--consul=ftp://here"], "expected a Consul agent as [http[s]://]HOST[:PORT], got 'ftp://here'"),
        (["--consul=here", "--consul-prefix=A/B"], "consul_prefix"),
        (["--scheduler=h:1", "--redis=http://secret@here"], "not a Redis URL"),
        (["--scheduler=nowhere"], "expected HOST:PORT, got 'nowhere'"),
        (["--scheduler=h:1", "--metrics=9090"], "expected HOST:PORT, got '9090'"),
        (["--scheduler=h:1", "--max-attempts=0"], "max_attempts"),
        (["--scheduler=h:1", "--max-message-bytes=3000000000"], "max_message_bytes"),
        (["--scheduler=h:1", "--default-timeout-s=inf"], "default_timeout_s"),
    ],
)
def test_a_wrong_setting_is_named(arguments, names):
    """One line, and exit status 2."""
    done = subprocess.run(
        [*GATEWAY, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment()
    )
    assert done.returncode == 2
    assert names in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_for_metrics_that_cannot_be_had_is_named():
    """At the start; the ready line never comes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for refused in (address, "203.0.113.1:9090", "nowhere.invalid:9090"):
            done = subprocess.run(
                [*GATEWAY, "--scheduler=127.0.0.1:1", "--listen=127.0.0.1:0", f"--metrics={refused}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
                env=environment(),
            )
            assert done.returncode == 1
            assert done.stdout == ""
            assert f"cannot serve metrics on {refused}: " in done.stderr
            assert "Traceback" not in done.stderr


def environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("ONNXMESH_")}


def test_it_serves_without_a_scheduler_and_stops_on_a_signal():
    """Ready line, health, orderly end; the scheduler may come later."""
    command = [*GATEWAY, "--listen=127.0.0.1:0", "--scheduler=127.0.0.1:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().split()
            assert ready[:2] == ["ready", "gateway"]
            with grpc.insecure_channel(ready[2]) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=20)
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
