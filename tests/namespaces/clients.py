"""Clients that ask on some host, seen from the test."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from time import monotonic


class Clients:
    """So many clients ask without pause on a host. A context manager.

    Attributes:
        answers: What `tests.namespaces.asking` said of each answer, in the order they came.
        failures: What it said of each failure.

    Args:
        within: The words before a command that run it there.
        address: The gateway that is asked.
        model: A model of the zoo, with `:NAME` after it where it is deployed by another name.
        num_clients: Each has one request under way.
        options: Parameters of every request, such as `mesh.require=zone=a`.
    """

    def __init__(self, within, address, model, num_clients, *options):
        self.answers = []
        self.failures = []
        program = [sys.executable, "-m", "tests.namespaces.asking"]
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
            said = json.loads(line)
            (self.failures if "failure" in said else self.answers).append(said)

    def wait_until(self, condition, timeout_s=600):
        """Returns once `condition(answers)` holds."""
        end = monotonic() + timeout_s
        while not condition(self.answers):
            assert monotonic() < end, f"{len(self.answers)} answers; failures: {self.failures[-3:]}"
            threading.Event().wait(0.02)

    def wait_for(self, num_answers):
        """Returns once so many more answers have come."""
        goal = len(self.answers) + num_answers
        self.wait_until(lambda answers: len(answers) >= goal)


def ran_by(answers, worker):
    """Returns those answers that a worker had a part in."""
    return [answer for answer in answers if worker in answer["workers"]]
