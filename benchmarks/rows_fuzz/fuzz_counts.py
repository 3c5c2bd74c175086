"""Counts of what became of random graphs, and the lines that show them."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from typing import TypeAlias

from benchmarks.rows_fuzz.batched_stages import StageVerdict
from benchmarks.rows_fuzz.mesh_run import MeshVerdict
from onnxmesh.errors import MeshError

Verdict: TypeAlias = StageVerdict | MeshVerdict

PROGRESS_EACH = 50
NUM_REASONS = 12


class FuzzCounts:
    """What became of the graphs so far.

    Attributes:
        counts: Numbers by name.

    Args:
        num_graphs: Number of graphs in all.
    """

    def __init__(self, num_graphs: int) -> None:
        self.counts: Counter[str] = Counter()
        self._num_graphs = num_graphs
        self._reasons: Counter[str] = Counter()
        self._began_s = time.monotonic()

    @property
    def right(self) -> bool:
        """Whether no answer was wrong, no mixing graph was proven, and every graph was deployed."""
        return not any(
            self.counts[name] for name in ("wrong answers", "mixed, proven", "mixed, batched", "refused")
        )

    def add(self, verdict: Verdict | MeshError) -> None:
        """Counts one graph and prints a line where it shows an error."""
        self.counts["graphs"] += 1
        if isinstance(verdict, MeshError):
            self.counts["refused"] += 1
            self._reasons[f"refused: {verdict.message[:100]}"] += 1
        else:
            self._add(verdict)
        if self.counts["graphs"] % PROGRESS_EACH == 0:
            seconds = time.monotonic() - self._began_s
            print(
                f"{self.counts['graphs']} of {self._num_graphs} graphs, {seconds:.0f} s, "
                f"{self.counts['wrong answers']} wrong answers",
                file=sys.stderr,
                flush=True,
            )

    def _add(self, verdict: Verdict) -> None:
        kind = "mixed" if verdict.mixed else "row-wise"
        stages = f"{kind}, {verdict.num_stages} stages"
        for name in (kind, stages):
            self.counts[name] += 1
            self.counts[f"{name}, batched"] += verdict.batched
        self.counts["wrong answers"] += verdict.wrong
        if verdict.wrong:
            print(f"seed {verdict.seed}: {verdict.wrong} wrong answers", flush=True)
        if isinstance(verdict, StageVerdict):
            self.counts[f"{kind}, proven"] += verdict.proven
        else:
            self.counts["requests"] += verdict.num_requests
            self.counts["not repeatable in ONNX Runtime"] += not verdict.repeatable
            self.counts[f"{kind}, requests in batches at workers"] += verdict.together
            self.counts[f"{kind}, large requests sent in slices too"] += verdict.split
        if verdict.mixed and verdict.batched:
            print(f"seed {verdict.seed}: rows are mixed, and every stage is batched", flush=True)
        if not verdict.mixed and not verdict.batched:
            self._reasons[re.sub(r"'[^']*'|\d+(\.\d+)?(e-?\d+)?", "…", verdict.reason)] += 1

    def show(self) -> None:
        """Prints the figures."""
        for name, count in sorted(self.counts.items()):
            print(f"{name}: {count:,}")
        for stages in (1, 2, 3):
            name = f"row-wise, {stages} stages"
            if self.counts[name]:
                share = self.counts[f"{name}, batched"] / self.counts[name]
                print(f"batched of the row-wise in {stages} stage{'s' * (stages > 1)}: {share:.1%}")
        for reason, count in self._reasons.most_common(NUM_REASONS):
            print(f"  {count:4} times: {reason}")
