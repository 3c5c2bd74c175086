"""Clients on a host: `python -m tests.namespaces.client_program ADDRESS MODEL NUM_CLIENTS` runs until its standard input ends.

MODEL is one of the zoo, followed by `:NAME` if it is deployed under another name.

Each answer and each failure is a line of JSON: its time on the machine's monotonic clock, its latency, and the workers that ran it or
the error.
"""

from __future__ import annotations

import json
import sys
import threading
from time import monotonic

from tritonclient import grpc as triton

from tests.zoo import ZOO

TIMEOUT_S = 200.0

PAUSE_S = 0.005
"""Pause of a client after each request: what is tested keeps most of the machine."""


def main(address, model, num_clients, *options):
    name, _, deployed = model.partition(":")
    inputs = [
        triton.InferInput(key, list(array.shape), "FP32").set_data_from_numpy(array)
        for key, array in ZOO[name].inputs(1, 1).items()
    ]
    parameters = {"mesh.trace": True} | dict(option.split("=", 1) for option in options)
    stop, lock = threading.Event(), threading.Lock()

    def send_requests():
        with triton.InferenceServerClient(address) as client:
            while not stop.is_set():
                began = monotonic()
                try:
                    answer = client.infer(
                        deployed or name, inputs, parameters=parameters, client_timeout=TIMEOUT_S
                    )
                    trace = json.loads(answer.get_response().parameters["mesh.trace"].string_param)
                    line = {"workers": [hop["worker"] for hop in trace["hops"]]}
                except triton.InferenceServerException as error:
                    line = {"failure": f"{error.status()}: {error.message()}"}
                at = monotonic()
                with lock:
                    print(json.dumps(line | {"at": at, "took_s": at - began}), flush=True)  # noqa: T201 - the test reads it
                stop.wait(PAUSE_S)

    threads = [threading.Thread(target=send_requests) for _ in range(int(num_clients))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
