"""The child process in which a model is prepared or cut: `python -m services.worker.models.model_builder_child`.

For each line of JSON on standard input, `[step, arguments]`, it writes one to standard output: `{"answer": …}`, or
`{"reason": …, "message": …}` for an expected failure. It ends when standard input does, as when its parent dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from onnxmesh.errors import InvalidModel, MeshError
from onnxmesh.files.full_disk import full_disk
from onnxmesh.graph.build_steps import cut_prepared, prepare

STEPS: dict[str, Callable[..., str]] = {"prepare": prepare, "cut": cut_prepared}
"""What can be asked for."""


def main() -> None:
    """Answers until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; the parent decides
    answers = _take_standard_output()
    _volunteer_for_out_of_memory()
    requests: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(requests,), name="requests", daemon=True).start()
    while True:
        step, arguments = json.loads(requests.get())
        answers.write(json.dumps(_do(step, arguments)).encode() + b"\n")
        answers.flush()


def _do(step: str, arguments: list[Any]) -> dict[str, str]:
    try:
        return {"answer": STEPS[step](*arguments)}
    except MeshError as error:
        return {"reason": error.reason, "message": error.message}
    except OSError as error:
        full = full_disk(error)
        if full is None:
            raise
        return {"reason": full.reason, "message": full.message}
    except MemoryError:
        return {"reason": InvalidModel.reason, "message": "there is not enough memory for this model"}


def _take_standard_output() -> BinaryIO:
    """Returns standard output, in whose place comes standard error: libraries may print."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _volunteer_for_out_of_memory() -> None:
    """Where memory runs out, Linux is to end this process, not the one that serves."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _read(requests: SimpleQueue[str]) -> None:
    """Queues requests; ends the process when its parent does, whatever it is doing."""
    for line in sys.stdin:
        requests.put(line)
    # ONNX Runtime's destructors have nothing to add.
    os._exit(0)


if __name__ == "__main__":
    main()
