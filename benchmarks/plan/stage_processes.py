"""The stages of a cut model, each in its own process, running at once."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from onnxmesh.graph.runtime.partition_chain import live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.partition import Partition
from onnxmesh.tensors.tensor import Tensor

COMMAND = (sys.executable, "-m", "benchmarks.plan.stage_process")


class StageProcesses:
    """A process for each stage, reused for several cuts.

    Args:
        num_stages: Number of stages.
    """

    def __init__(self, num_stages: int) -> None:
        self._processes = [
            subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(num_stages)
        ]

    def __enter__(self) -> StageProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def load(self, folder: Path, partitions: Sequence[Partition], feeds: Mapping[str, Tensor]) -> list[int]:
        """Loads a cut; returns the bytes by which each process's peak memory grew (0 where it was higher before)."""
        jobs = []
        alive = {name: _owned(tensor) for name, tensor in feeds.items()}
        for partition in partitions:
            home = folder / f"stage-{partition.index}"
            path = folder / f"feeds-{partition.index}.pickle"
            alive |= {name: feeds[name] for name in partition.direct_inputs}
            path.write_bytes(pickle.dumps(alive))
            jobs.append({"folder": str(home), "feeds": str(path)})
            computed = StageSession(home).run(alive)
            alive = {name: _owned(each) for name, each in live_tensors(partition, alive, computed).items()}
        return [answer["peak_bytes"] for answer in self._run(jobs)]

    def run(self, seconds: float) -> list[float]:
        """Runs all stages at once for some time; returns the median seconds of a run of each."""
        return [answer["median_s"] for answer in self._run([{"seconds": seconds}] * len(self._processes))]

    def run_alone(self, stage: int, seconds: float) -> float:
        """Runs one stage while the others wait; returns the median seconds of a run."""
        return float(self._run_one(self._processes[stage], {"seconds": seconds})["median_s"])

    def _run(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(len(self._processes)) as pool:
            return list(pool.map(self._run_one, self._processes, jobs))

    @staticmethod
    def _run_one(process: subprocess.Popen[str], job: dict[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer


def _owned(tensor: Tensor) -> Tensor:
    """Returns a copy of the tensor that can be pickled."""
    return Tensor(tensor.name, tensor.datatype, tensor.shape, bytes(tensor.data))
