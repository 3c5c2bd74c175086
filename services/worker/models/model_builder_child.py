"""Child process of the model builder: `python -m services.worker.models.model_builder_child`.

For each line of JSON on standard input, `[step, job]`, it writes one to standard output: `{"answer": …}`,
`{"reason": …, "message": …}` for an expected failure, or `{"traceback": …}` for a defect. It exits at the end of standard input, as when its parent dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from onnxmesh.errors import InvalidModel, MeshError
from onnxmesh.files.full_disk import full_disk
from onnxmesh.graph.build_jobs import CutJob, PrepareJob
from onnxmesh.graph.build_steps import cut_prepared, prepare

STEPS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "prepare": lambda job: prepare(PrepareJob.from_plain(job)),
    "cut": lambda job: cut_prepared(CutJob.from_plain(job)),
}
"""The steps by name."""


def main() -> None:
    """Answers requests until standard input ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to the whole process group; the parent handles it
    answers = _take_standard_output()
    _prefer_for_out_of_memory()
    requests: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(requests,), name="requests", daemon=True).start()
    while True:
        step, job = json.loads(requests.get())
        answers.write(json.dumps(run_step(step, job)).encode() + b"\n")
        answers.flush()


def run_step(step: str, job: Mapping[str, Any]) -> dict[str, str]:
    """Runs a step and returns its answer, the reason and message of an expected failure, or the traceback of a defect."""
    try:
        return {"answer": STEPS[step](job)}
    except MeshError as error:
        return {"reason": error.reason, "message": error.message}
    except OSError as error:
        full = full_disk(error)
        if full is None:
            return {"traceback": traceback.format_exc()}
        return {"reason": full.reason, "message": full.message}
    except MemoryError:
        return {"reason": InvalidModel.reason, "message": "there is not enough memory for this model"}
    except Exception:  # noqa: BLE001 # the parent reports a defect as an internal error
        return {"traceback": traceback.format_exc()}


def _take_standard_output() -> BinaryIO:
    """Returns standard output, and redirects what libraries print to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _prefer_for_out_of_memory() -> None:
    """Has Linux kill this process first when memory runs out, not the one that serves."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _read(requests: SimpleQueue[str]) -> None:
    """Queues requests; exits at the end of standard input, even during a step."""
    for line in sys.stdin:
        requests.put(line)
    # Without ONNX Runtime's destructors, which may crash while a step runs.
    os._exit(0)


if __name__ == "__main__":
    main()
