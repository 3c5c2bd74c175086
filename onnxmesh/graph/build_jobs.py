"""Jobs of the model builder: what is to be prepared or cut, from a scheduler's request to the child process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxmesh.model.batching import BatchingSpec
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a model is prepared.

    Attributes:
        optimisation: What ONNX Runtime does to the whole model before the cut; portable mode ignores it.
        mode: Whether the whole model is optimised before the cut, or each partition where it is loaded.
        shapes: Input shapes that costs are estimated for.
        profile_s: Time limit for measuring the nodes, in seconds; 0: they are not measured.
    """

    optimisation: OptimisationLevel
    mode: CutMode = CutMode.EXACT
    shapes: InputShapes = field(default_factory=InputShapes)
    profile_s: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """Returns the options as plain values for JSON."""
        return {
            "optimisation": self.optimisation.value,
            "mode": self.mode.value,
            "shapes": self.shapes.to_plain(),
            "profile_s": self.profile_s,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> PrepareOptions:
        """Returns the options that `to_plain` returned."""
        return cls(
            OptimisationLevel(plain["optimisation"]),
            CutMode(plain["mode"]),
            InputShapes.from_plain(plain["shapes"]),
            plain["profile_s"],
        )


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """A model to prepare.

    Attributes:
        source: The model's file.
        folder: Work folder for the result; made if absent.
        options: How it is prepared.
        device: Kind of this device, as `device_kind_name` returns it, for the profile; empty: one CPU thread.
        follow_links: Whether external data may be reached by symbolic links that leave the model's folder: for files of
            the user who runs this process only.
    """

    source: Path
    folder: Path
    options: PrepareOptions
    device: str = ""
    follow_links: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Returns the job as plain values for JSON."""
        return {
            "source": str(self.source),
            "folder": str(self.folder),
            "options": self.options.to_plain(),
            "device": self.device,
            "follow_links": self.follow_links,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> PrepareJob:
        """Returns the job that `to_plain` returned."""
        options = PrepareOptions.from_plain(plain["options"])
        return cls(
            Path(plain["source"]), Path(plain["folder"]), options, plain["device"], plain["follow_links"]
        )


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How a prepared model is cut, and what is found out about the partitions.

    Attributes:
        cuts: Node positions at which a new stage begins, ascending.
        direct_inputs: For each stage the inputs of the model that it gets straight from the gateway; empty: every
            input travels through the stages before.
        batching: How requests may run together; None: the batch check is not made.
        activation_errors: Whether the errors of lossy activation encodings are measured.
    """

    cuts: tuple[int, ...] = ()
    direct_inputs: tuple[tuple[str, ...], ...] = ()
    batching: BatchingSpec | None = None
    activation_errors: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Returns the options as plain values for JSON."""
        return {
            "cuts": list(self.cuts),
            "direct_inputs": [list(names) for names in self.direct_inputs],
            "batching": None if self.batching is None else self.batching.to_plain(),
            "activation_errors": self.activation_errors,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> CutOptions:
        """Returns the options that `to_plain` returned."""
        batching = plain["batching"]
        return cls(
            tuple(plain["cuts"]),
            tuple(tuple(names) for names in plain["direct_inputs"]),
            None if batching is None else BatchingSpec.from_plain(batching),
            plain["activation_errors"],
        )


@dataclass(frozen=True, slots=True)
class CutJob:
    """A prepared model to cut.

    Attributes:
        folder: Work folder of its `PrepareJob`.
        options: How it is cut.
        measure_difference: Whether a portable chain is compared with the whole model, which reads all weights.
    """

    folder: Path
    options: CutOptions
    measure_difference: bool = True

    def to_plain(self) -> dict[str, Any]:
        """Returns the job as plain values for JSON."""
        return {
            "folder": str(self.folder),
            "options": self.options.to_plain(),
            "measure_difference": self.measure_difference,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> CutJob:
        """Returns the job that `to_plain` returned."""
        return cls(
            Path(plain["folder"]), CutOptions.from_plain(plain["options"]), plain["measure_difference"]
        )
