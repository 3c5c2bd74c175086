"""The child process in which a model is prepared or cut: `python -m services.worker.workshop_child`.

Reads one line of JSON from standard input, `[step, arguments]`, and writes one to standard output:
`{"answer": …}`, or `{"reason": …, "message": …}` for an expected failure. It ends when its parent does, which
is when standard input ends.
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
from typing import Any

from onnxmesh.errors import InvalidModel, MeshError
from onnxmesh.graph.workshop import cut_prepared, prepare

STEPS: dict[str, Callable[..., str]] = {"prepare": prepare, "cut": cut_prepared}
"""What can be asked for."""


def main() -> None:
    """Does the one thing that was asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; the parent decides
    answers = _take_standard_output()
    _volunteer_for_out_of_memory()
    step, arguments = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    os.write(answers, json.dumps(_do(step, arguments)).encode())
    # ONNX Runtime's destructors have nothing to add.
    os._exit(0)


def _do(step: str, arguments: list[Any]) -> dict[str, str]:
    try:
        return {"answer": STEPS[step](*arguments)}
    except MeshError as error:
        return {"reason": error.reason, "message": error.message}
    except MemoryError:
        return {"reason": InvalidModel.reason, "message": "there is not enough memory for this model"}


def _take_standard_output() -> int:
    """Returns a descriptor of standard output, which itself becomes standard error: libraries may print."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _volunteer_for_out_of_memory() -> None:
    """Where memory runs out, Linux is to end this process, not the one that serves."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
