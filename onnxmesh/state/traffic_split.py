"""Traffic split: the share of each version of a model in requests that name no version. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.errors import CorruptData
from onnxmesh.ids import ModelName, Version


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """The traffic split of a model.

    Attributes:
        name: The model.
        percents: Percent of each version of the split, 0 included; they add up to 100. Other versions get none.
        before: The percents to roll back to, empty where there was no split before the last rollout; None: there is
            nothing to roll back to.
    """

    name: ModelName
    percents: Mapping[Version, int]
    before: Mapping[Version, int] | None = None

    def to_json(self) -> str:
        """Returns the split as JSON without the model's name; equal splits give equal text."""
        before = None if self.before is None else _ordered(self.before)
        return json.dumps({"percents": _ordered(self.percents), "before": before})

    @classmethod
    def from_json(cls, name: ModelName, text: str | bytes) -> TrafficSplit:
        """Reads what `to_json` wrote.

        Raises:
            CorruptData: The text is something else (DATA_LOSS).
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
