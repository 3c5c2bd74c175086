"""The context of a run, which its parts share: clients, rivals and the outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import mesh
from benchmarks.driver import Driver, DriverFailed
from benchmarks.measurement import Measurement, Run
from benchmarks.models import BuiltModel
from benchmarks.outcome import Outcome, Row
from benchmarks.progress_display import ProgressDisplay
from benchmarks.rivals.environment import Environment, RivalMissing
from benchmarks.rivals.rival import Rival
from benchmarks.rivals.server import serving
from benchmarks.settings import Settings
from benchmarks.side import Side, in_turns
from benchmarks.targets import TargetResult, missing_result

OURS = "onnxmesh"


@dataclass(frozen=True, slots=True)
class Duel:
    """A target that compares the mesh with a rival.

    Attributes:
        key: Key of the target.
        in_flight: Requests in flight.
        result: Returns the result for the key and both sides' runs.
    """

    key: str
    in_flight: int
    result: Callable[[str, Sequence[Run], Sequence[Run]], TargetResult]


@dataclass(slots=True)
class Bench:
    """One run of the command.

    Attributes:
        settings: Durations and rivals.
        display: Shows the progress.
        folder: Folder for models and servers; empty at first.
        outcome: The results so far; the parts add to it.
    """

    settings: Settings
    display: ProgressDisplay
    folder: Path
    outcome: Outcome = field(default_factory=Outcome)
    _num_started: int = 0

    @contextlib.contextmanager
    def mesh(self, num_workers: int, settings: dict[str, str] | None = None) -> Iterator[mesh.Mesh]:
        """Runs a mesh."""
        self.display.step(f"starting a mesh, {num_workers} worker{'s' * (num_workers > 1)}")
        with mesh.running(num_workers, settings) as it:
            yield it

    @contextlib.contextmanager
    def client(
        self, server: mesh.Mesh, model: BuiltModel, name: str = "", *, called: str = OURS
    ) -> Iterator[Side]:
        """Yields the mesh with a client.

        Args:
            server: The mesh.
            model: The model of the requests.
            name: The model's name in the mesh; empty: its own.
            called: Name of this side in tables.
        """
        with self._driver(server.address, name or model.name, model) as driver:
            yield Side(called, driver, server.processes)

    @contextlib.contextmanager
    def limit(self, model: BuiltModel, num_threads: int, device: str = "cpu") -> Iterator[Side]:
        """Yields ONNX Runtime in process, called by a number of threads."""
        arguments = f"--path={model.path}", f"--case={model.case}", f"--device={device}"
        with Driver("benchmarks.in_process", *arguments) as driver:
            yield Side(
                f"in process, {num_threads} thread{'s' * (num_threads > 1)}", driver, None, num_threads
            )

    def compare(
        self, model: str, sides: Sequence[Side], in_flight: int, seconds: float | None = None
    ) -> list[list[Run]]:
        """Runs sides in turns, adds a row for each, and returns their runs."""
        taken = seconds or self.settings.seconds
        runs = in_turns(sides, in_flight, taken, self.settings.num_rounds, self.display.step)
        for side, of_side in zip(sides, runs, strict=True):
            row = Row(model, side.name, side.in_flight or in_flight, Measurement.of(of_side))
            self.outcome.rows.append(row)
        return runs

    def curve(self, model: str, side: Side) -> None:
        """Measures latency against load."""
        for in_flight in self.settings.loads:
            self.display.step(f"{side.name}, {in_flight} in flight")
            run = side.run(in_flight, self.settings.curve_seconds)
            self.outcome.rows.append(Row(model, side.name, in_flight, Measurement.of([run]), curve=True))

    def against(self, ours: Side, rival: Rival, model: BuiltModel, duels: Sequence[Duel] = ()) -> None:
        """Measures a rival that serves a model; if it cannot be started, its results have the reason.

        Raises:
            DriverFailed: The mesh returned a wrong output, or none.
        """
        if rival.key not in self.settings.rivals:
            self.outcome.results += [missing_result(duel.key, "not among --rivals") for duel in duels]
            return
        try:
            with self._rival(rival, model) as theirs:
                for duel in duels:
                    of_ours, of_theirs = self.compare(model.name, [ours, theirs], duel.in_flight)
                    self.outcome.results.append(duel.result(duel.key, of_ours, of_theirs))
                self.curve(model.name, theirs)
        except (RivalMissing, DriverFailed) as error:
            if ours.driver.ended:
                raise
            self.outcome.rivals[rival.name] = f"missing: {error}"
            self.display.print(f"{rival.name} is not measured: {error}")
            done = {result.target.key for result in self.outcome.results}
            self.outcome.results += [
                missing_result(duel.key, str(error)) for duel in duels if duel.key not in done
            ]

    def num_steps(self, num_sides: int) -> int:
        """Returns the number of steps of `compare` for a number of sides."""
        return num_sides * self.settings.num_rounds

    @contextlib.contextmanager
    def _rival(self, rival: Rival, model: BuiltModel) -> Iterator[Side]:
        environment = Environment(rival.environment, self.settings.root, self.settings.ready_made)
        environment.prepare(install=self.settings.install, report=self.display.step)
        self.display.step(f"{rival.name}: starting")
        self._num_started += 1
        with serving(rival, environment, [model], self.folder / f"rival-{self._num_started}") as server:
            self.outcome.rivals[rival.name] = f"{rival.package} {environment.version_of(rival.package)}"
            with self._driver(server.address, model.name, model) as driver:
                yield Side(rival.name, driver, server.processes)

    def _driver(self, address: str, name: str, model: BuiltModel) -> Driver:
        arguments = f"--address={address}", f"--model={name}", f"--case={model.case}"
        return Driver("benchmarks.load", *arguments, f"--connections={self.settings.connections}")
