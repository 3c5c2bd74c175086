"""Clients on another host, as the test sees them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from time import monotonic


class Clients:
    """A number of clients in a closed loop on a host. A context manager.

    Attributes:
        answers: The lines of `tests.namespaces.client_program` for answers, in order.
        failures: Its lines for failures.

    Args:
        within: Prefix of a command that runs it on the host.
        address: The gateway.
        model: A model of the zoo, followed by `:NAME` if it is deployed under another name.
        num_clients: Each has one request in flight.
        options: Parameters of every request, such as `mesh.require=zone=a`.
    """

    def __init__(self, within, address, model, num_clients, *options):
        self.answers = []
        self.failures = []
        program = [sys.executable, "-m", "tests.namespaces.client_program"]
        self._command = [*within, *program, address, model, str(num_clients), *options]

    def __enter__(self):
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._reader.join(300)
        self._process.kill()
        code = self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        assert code == 0

    def _read(self):
        for line in self._process.stdout:
            outcome = json.loads(line)
            (self.failures if "failure" in outcome else self.answers).append(outcome)

    def wait_until(self, condition, timeout_s=600):
        """Returns once `condition(answers)` holds."""
        end = monotonic() + timeout_s
        while not condition(self.answers):
            assert monotonic() < end, f"{len(self.answers)} answers; failures: {self.failures[-3:]}"
            threading.Event().wait(0.02)

    def wait_for(self, num_answers):
        """Returns once so many further requests were answered."""
        goal = len(self.answers) + num_answers
        self.wait_until(lambda answers: len(answers) >= goal)


def ran_by(answers, worker):
    """Returns the answers with a worker among their hops."""
    return [answer for answer in answers if worker in answer["workers"]]
