"""The gateway as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

from onnxmesh.service.health import health_of
from tests.fakes.service_program import free_ports

GATEWAY = [sys.executable, "-m", "services.gateway"]


def test_help_lists_every_setting():
    """The help of a gateway that is started by hand lists what can be set."""
    done = subprocess.run([*GATEWAY, "--help"], capture_output=True, text=True, check=True, timeout=300)
    for flag in (
        "--listen",
        "--advertise",
        "--shared-listen",
        "--edge",
        "--processes",
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
        ([], "--scheduler HOST:PORT (ONNXMESH_SCHEDULER) or --consul HOST"),
        (["--scheduler=h:1,nowhere"], "expected HOST:PORT, got 'nowhere'"),
        (["--consul=ftp://here"], "expected a Consul agent as [http[s]://]HOST[:PORT], got 'ftp://here'"),
        (
            ["--consul=here", "--consul-prefix=A/B"],
            "--consul-prefix (ONNXMESH_CONSUL_PREFIX): expected up to 42",
        ),
        (["--scheduler=h:1", "--redis=http://secret@here"], "not a Redis URL"),
        (
            ["--scheduler=h:1", "--shared-listen=8001"],
            "--shared-listen (ONNXMESH_SHARED_LISTEN): expected HOST:PORT, got '8001'",
        ),
        *(
            (["--scheduler=h:1", f"--processes={value}"], f"from 1 to 256, or auto, got '{value}'")
            for value in ("0", "-1", "257", "many", "1.5", "")
        ),
        (["--scheduler=nowhere"], "expected HOST:PORT, got 'nowhere'"),
        (["--scheduler=h:1", "--metrics=9090"], "expected HOST:PORT, got '9090'"),
        (["--scheduler=h:1", "--max-attempts=0"], "expected a number of at least 1, got '0'"),
        (["--scheduler=h:1", "--max-message-bytes=3000000000"], "a number of at most 2,147,483,647, got"),
        (["--scheduler=h:1", "--default-timeout-s=inf"], "expected a finite number, got 'inf'"),
        (["--scheduler=h:1", "--drain=3"], "unknown flag --drain; did you mean '--drain-s'?"),
    ],
)
def test_wrong_setting_is_named(arguments, names):
    """One line, and exit status 2."""
    done = subprocess.run(
        [*GATEWAY, *arguments], capture_output=True, text=True, check=False, timeout=300, env=environment()
    )
    assert done.returncode == 2
    assert names in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_wrong_secret_is_not_shown():
    """Logs are read by more people than settings are."""
    wrong = {"ONNXMESH_REDIS": "http://:hush@here", "ONNXMESH_CONSUL_TOKEN": "hush"}
    for arguments in ([], ["--scheduler=h:1"]):
        done = subprocess.run(
            [*GATEWAY, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment() | wrong,
        )
        assert done.returncode == 2
        assert "redis" in done.stderr
        assert "hush" not in done.stderr


def test_metrics_address_that_cannot_be_opened_is_named():
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
                timeout=300,
                env=environment(),
            )
            assert done.returncode == 1
            assert done.stdout == ""
            assert f"cannot serve metrics on {refused}: " in done.stderr
            assert "Traceback" not in done.stderr


def environment():
    return {key: value for key, value in os.environ.items() if not key.startswith("ONNXMESH_")}


def started_at(process):
    """Returns the address of a gateway from its log, which has it before there is a scheduler."""
    line = json.loads(process.stderr.readline())
    assert line["event"] == "serving"
    return line["address"]


def test_gateway_without_a_scheduler_says_so_and_is_not_ready():
    """Health, a warning with address and reason, no ready line, an orderly end; the scheduler may come later."""
    command = [*GATEWAY, "--listen=127.0.0.1:0", "--scheduler=127.0.0.1:1", "--log-format=json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment()) as process:
        try:
            address = started_at(process)
            assert health_of(address, timeout_s=300) == "NOT_SERVING"
            warning = json.loads(process.stderr.readline())
            assert (warning["event"], warning["level"]) == ("no_scheduler_found", "warning")
            assert (warning["why"], warning["for_s"]) == ("127.0.0.1:1: nothing listens there", 4)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=300)
            assert (process.returncode, out) == (0, "")
        finally:
            process.kill()


def test_gateways_share_a_port_beside_their_own():
    """Each answers on its own port; on the shared one a gateway that still runs answers."""
    own_0, own_1, shared = (f"127.0.0.1:{port}" for port in free_ports(3))
    with ExitStack() as stack:
        gateways = [stack.enter_context(sharing(own, shared)) for own in (own_0, own_1)]
        for own in (own_0, own_1):
            assert health_of(own) == "NOT_SERVING"
        assert health_of(shared) == "NOT_SERVING"
        for gateway, own in zip(gateways, (own_0, own_1), strict=True):
            gateway.kill()
            gateway.wait(30)
            assert health_of(own) == "UNAVAILABLE"
            assert health_of(shared) == ("NOT_SERVING" if gateway is gateways[0] else "UNAVAILABLE")


def test_port_that_is_not_shared_is_refused_to_a_second_gateway():
    """Two gateways on one port by mistake would each get some of the clients."""
    (port,) = free_ports(1)
    with sharing(f"127.0.0.1:{port}"):
        done = subprocess.run(
            [*GATEWAY, f"--listen=127.0.0.1:{port}", "--scheduler=127.0.0.1:1"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment(),
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@contextmanager
def sharing(own, shared=None):
    """Runs a gateway on a port of its own, and on one that it shares."""
    command = [*GATEWAY, f"--listen={own}", "--scheduler=127.0.0.1:1", "--log-format=json"]
    command += [f"--shared-listen={shared}"] if shared else []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert started_at(process) == own
            yield process
        finally:
            process.kill()


def test_gateway_that_listens_on_every_address_registers_its_host_name():
    """In a container the host's name is what others can dial, and every line is a log."""
    command = [
        *GATEWAY,
        "--listen=0.0.0.0:0",
        "--scheduler=127.0.0.1:1",
        "--no-ready-line",
        "--log-format=json",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            assert process.stderr is not None
            serving = json.loads(process.stderr.readline())
            assert serving["event"] == "serving"
            assert serving["address"].startswith(f"{socket.gethostname()}:")
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=300)
            assert out == ""
        finally:
            process.kill()
