"""`plan.json`: the source, the mode and the partitions of a cut model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import onnxruntime

from onnxmesh import __version__
from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.files.atomic_write import write_atomically
from onnxmesh.files.digests import describe_file, listing_digest
from onnxmesh.ids import Digest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import Partition
from onnxmesh.model.signature import Signature

PLAN_FILE = "plan.json"
_INFINITE = "infinite"
"""Stands for infinity, which JSON lacks: shapes differ, or elements are not numbers."""
_FORMAT = 2


def tool_versions() -> dict[str, str]:
    """Returns the versions of the tools that cut models, by name."""
    return {
        "onnxmesh": __version__,
        "onnx": onnx.__version__,
        "onnx-ir": onnx_ir.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """The content of `plan.json`.

    Attributes:
        model: File name of the model, for display.
        source_digest: Digest of the model that was cut.
        level: Optimisation level of the whole model before the cut.
        signature: Inputs and outputs of the whole model.
        partitions: The chain, in order.
        mode: Whether the whole was optimised before the cut, or each partition is optimised at load.
        largest_difference: Portable mode: the largest relative difference from the whole model, measured at the cut;
            None: not measured, because the model refused random inputs.
        accepted_difference: Largest relative difference from the whole model that `verify` accepts; 0: equal bits.
        shapes: The input shapes that the cut was planned for.
        versions: Versions of the tools, by name.
    """

    model: str
    source_digest: Digest
    level: OptimisationLevel
    signature: Signature
    partitions: tuple[Partition, ...]
    mode: CutMode = CutMode.EXACT
    largest_difference: float | None = 0.0
    accepted_difference: float = 0.0
    shapes: InputShapes = field(default_factory=InputShapes)
    versions: Mapping[str, str] = field(default_factory=tool_versions)

    def save(self, folder: Path) -> Path:
        """Writes `plan.json` into the folder of the partitions and returns its path.

        Raises:
            OSError: The file cannot be written.
        """
        plain = {
            "format": _FORMAT,
            "model": self.model,
            "source_digest": self.source_digest,
            "mode": self.mode.value,
            "optimisation": self.level.value,
            "load_optimisation": self.mode.load_level.value,
            "largest_difference": _INFINITE
            if self.largest_difference == math.inf
            else self.largest_difference,
            "accepted_difference": self.accepted_difference,
            "shapes": self.shapes.to_plain(),
            "signature": self.signature.to_plain(),
            "partitions": [partition.to_plain() for partition in self.partitions],
            "versions": dict(self.versions),
        }
        path = folder / PLAN_FILE
        write_atomically(path, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path) -> PlanFile:
        """Reads the plan of a folder; `check_files` validates the partitions against it.

        Raises:
            CorruptData: The plan is missing or malformed (DATA_LOSS).
        """
        path = folder / PLAN_FILE
        if not path.is_file():
            raise CorruptData(
                f"folder '{folder.name}' has no {PLAN_FILE}: it was not written by `onnxmesh split`"
            )
        try:
            plan = cls._from_plain(json.loads(path.read_text(encoding="utf-8")))
        except json.JSONDecodeError as error:
            raise CorruptData(f"{PLAN_FILE} is not JSON: line {error.lineno}: {error.msg}") from error
        except KeyError as error:
            raise CorruptData(f"{PLAN_FILE} lacks {error}") from error
        except (TypeError, ValueError, AttributeError, InvalidRequest) as error:
            raise CorruptData(f"{PLAN_FILE} is malformed: {error}") from error
        return plan

    @classmethod
    def _from_plain(cls, plain: Mapping[str, Any]) -> PlanFile:
        if plain["format"] != _FORMAT:
            raise ValueError(f"expected format {_FORMAT}, got {plain['format']!r}")
        partitions = tuple(Partition.from_plain(partition) for partition in plain["partitions"])
        if not partitions:
            raise ValueError("it has no partitions")
        if [partition.index for partition in partitions] != list(range(len(partitions))):
            raise ValueError("its partitions are not numbered from 0")
        return cls(
            model=str(plain["model"]),
            source_digest=Digest(str(plain["source_digest"])),
            level=OptimisationLevel(plain["optimisation"]),
            signature=Signature.from_plain(plain["signature"]),
            partitions=partitions,
            mode=CutMode(plain["mode"]),
            largest_difference=_figure(plain["largest_difference"]),
            accepted_difference=float(plain["accepted_difference"]),
            # Plans of earlier versions have none.
            shapes=InputShapes.from_plain(plain["shapes"]) if "shapes" in plain else InputShapes(),
            versions={str(name): str(number) for name, number in plain["versions"].items()},
        )

    def check_files(self, folder: Path) -> None:
        """Validates the files of every partition against the plan.

        Raises:
            CorruptData: A file is missing or modified, or the digests in the plan contradict each other (DATA_LOSS).
        """
        for partition in self.partitions:
            home = folder / f"stage-{partition.index}"
            for file in partition.files:
                path = home / file.path
                if not path.resolve().is_relative_to(home.resolve()):
                    raise CorruptData(f"stage {partition.index}: '{file.path}' is outside its folder")
                if not path.is_file():
                    raise CorruptData(f"stage {partition.index}: '{file.path}' is missing")
                found = describe_file(home, file.path)
                if found != file:
                    raise CorruptData(
                        f"stage {partition.index}: '{file.path}' has digest {found.sha256[:12]}…, "
                        f"{PLAN_FILE} has {file.sha256[:12]}…"
                    )
            if listing_digest(partition.files) != partition.digest:
                raise CorruptData(f"stage {partition.index}: its digest does not match its files")


def _figure(plain: Any) -> float | None:
    if plain is None:
        return None
    return math.inf if plain == _INFINITE else float(plain)
