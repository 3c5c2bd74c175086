"""How the versions of a model share the requests that name none. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.errors import CorruptData
from onnxmesh.ids import ModelName, Version


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """The split that is in force for a model.

    Attributes:
        name: The model.
        percents: Of each version that had a part when it was made, 0 included; 100 together. Others have none.
        before: What a step back leads to: the percents before the last rollout, empty where there was no split then;
            None: there is no step back.
    """

    name: ModelName
    percents: Mapping[Version, int]
    before: Mapping[Version, int] | None = None

    def to_json(self) -> str:
        """Returns it as a store keeps it, under the model's name; equal splits give equal text."""
        before = None if self.before is None else _ordered(self.before)
        return json.dumps({"percents": _ordered(self.percents), "before": before})

    @classmethod
    def from_json(cls, name: ModelName, text: str | bytes) -> TrafficSplit:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: It is something else (DATA_LOSS).
        """
        try:
            document = json.loads(text)
            before = document["before"]
            return cls(name, _percents(document["percents"]), None if before is None else _percents(before))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptData(f"the traffic split of model '{name}' cannot be read: {error!r}") from error


def _ordered(percents: Mapping[Version, int]) -> dict[str, int]:
    return {str(version): percents[version] for version in sorted(percents)}


def _percents(document: Mapping[str, int]) -> dict[Version, int]:
    return {Version(int(version)): int(percent) for version, percent in document.items()}
