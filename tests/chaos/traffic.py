"""Clients in a closed loop, with a pause after each request."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from time import monotonic

from tritonclient import grpc as triton

PAUSE_S = 0.005
"""Pause of a client after each request: what is tested keeps most of the machine."""

LONG_PAUSE_S = 0.1
"""The same within `at_ease`."""


class Traffic:
    """Clients of one model in a closed loop, which count answers and failures.

    Attributes:
        answers: Number of answers.
        failures: Status and message of each request that failed.
        different: Every distinct output, as bytes.
        longest_s: Time of the slowest request.
    """

    def __init__(self, address, num_clients, model, inputs, output):
        self.answers = 0
        self.failures = []
        self.different = set()
        self.longest_s = 0.0
        self._address = address
        self._model = model
        self._inputs = inputs
        self._output = output
        self._pause_s = PAUSE_S
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send_requests) for _ in range(num_clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(300)

    def _send_requests(self):
        with triton.InferenceServerClient(self._address) as client:
            while not self._stop.is_set():
                began = monotonic()
                try:
                    answer = client.infer(self._model, self._inputs(), client_timeout=200)
                    content, failure = answer.as_numpy(self._output).tobytes(), None
                except triton.InferenceServerException as error:
                    content, failure = None, (error.status(), error.message())
                with self._lock:
                    self.longest_s = max(self.longest_s, monotonic() - began)
                    if failure:
                        self.failures.append(failure)
                    else:
                        self.answers += 1
                        self.different.add(content)
                self._stop.wait(self._pause_s)

    def summary(self):
        """Returns the counts as one line."""
        return f"{self.answers} answered, {len(self.failures)} failed, slowest {self.longest_s:.2f} s"

    @contextmanager
    def at_ease(self):
        """Makes the pauses longer, while services start or time passes; afterwards waits for requests with the usual pauses."""
        self._pause_s = LONG_PAUSE_S
        yield
        self._pause_s = PAUSE_S
        self.wait_for(10 * len(self._threads))

    def wait_for(self, num_answers, timeout_s=300):
        """Returns once so many further requests were answered."""
        goal, end = self.answers + num_answers, monotonic() + timeout_s
        while self.answers < goal:
            assert monotonic() < end, f"{self.answers} of {goal} answers; failures: {self.failures[-3:]}"
            threading.Event().wait(0.02)


def require(address, tag, model, inputs):
    """Sends one request that requires workers with a tag; raises its failure."""
    with triton.InferenceServerClient(address) as client:
        client.infer(model, inputs(), parameters={"mesh.require": tag}, client_timeout=200)
