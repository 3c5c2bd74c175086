"""Rules of traffic splits: how the versions of a model share the requests that name no version. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from onnxmesh.error_text import listed
from onnxmesh.errors import InvalidRequest, NotFound, Unsatisfiable
from onnxmesh.ids import ModelName, Version
from onnxmesh.state.traffic_split import TrafficSplit

ALL_PERCENT = 100
"""The percentages of a split, together."""


def rolled_out(
    name: ModelName, split: TrafficSplit | None, versions: Collection[Version], to: Version, percent: int
) -> TrafficSplit | None:
    """Returns the split after one version was given its percentage; the others share the rest as before.

    Args:
        name: The model.
        split: The split in force; None: the newest version gets all.
        versions: The deployed versions.
        to: One of them.
        percent: Its percentage.

    Returns:
        The split; None where there is only one version.

    Raises:
        NotFound: There is no such version; the message names those there are (NOT_FOUND).
        InvalidRequest: `percent` is no percentage, or there is no other version for the rest (INVALID_ARGUMENT).
    """
    if to not in versions:
        deployed = listed(sorted(versions), quoted=False)
        raise NotFound(f"model '{name}' has no version {to}: deployed versions are {deployed}")
    check_percent(name, percent, [version for version in versions if version != to])
    if len(versions) == 1:
        return None
    before = {} if split is None else dict(split.percents)
    others = sorted(version for version in versions if version != to)
    return TrafficSplit(name, {to: percent} | _distribute(before, others, ALL_PERCENT - percent), before)


def check_percent(name: ModelName, percent: int, others: Collection[Version]) -> None:
    """Checks that a version can be given a percentage.

    Args:
        name: The model.
        percent: The percentage.
        others: The versions that share the rest.

    Raises:
        InvalidRequest: It is no percentage, or there is no other version for the rest (INVALID_ARGUMENT).
    """
    if not 0 <= percent <= ALL_PERCENT:
        raise InvalidRequest(f"a version gets 0 to {ALL_PERCENT} percent of the traffic, got {percent}")
    if percent < ALL_PERCENT and not others:
        raise InvalidRequest(
            f"model '{name}' has no other version for the other {ALL_PERCENT - percent} percent"
        )


def rolled_back(
    name: ModelName, split: TrafficSplit | None, versions: Collection[Version]
) -> TrafficSplit | None:
    """Returns the split before the last rollout; None: there was none.

    Raises:
        Unsatisfiable: There is no rollout to take back (FAILED_PRECONDITION).
    """
    if split is None or split.before is None:
        raise Unsatisfiable(f"model '{name}' has no rollout to take back")
    return restricted(TrafficSplit(name, split.before), versions)


def restricted(split: TrafficSplit, versions: Iterable[Version]) -> TrafficSplit | None:
    """Returns a split among the versions that are still deployed; None where none is needed."""
    remaining = sorted(set(versions))
    if not split.percents or len(remaining) < 2:
        return None
    if split.percents.keys() <= set(remaining):
        return split
    return TrafficSplit(split.name, _distribute(split.percents, remaining, ALL_PERCENT), split.before)


def percents_of(split: TrafficSplit, versions: Iterable[Version]) -> dict[Version, int]:
    """Returns the percentage of each version."""
    return {version: split.percents.get(version, 0) for version in versions}


def _distribute(before: Mapping[Version, int], versions: list[Version], total: int) -> dict[Version, int]:
    """Distributes percents in the proportions of before; if they had none together, the newest gets all. The sum is exact."""
    parts = {version: before.get(version, 0) for version in versions}
    whole = sum(parts.values())
    if not whole:
        return dict.fromkeys(versions, 0) | {versions[-1]: total}
    shared = {version: part * total // whole for version, part in parts.items()}
    # What rounding down left over goes to the versions that lost most by it, the newer one first.
    lost = sorted(versions, key=lambda version: (-(parts[version] * total % whole), -version))
    for version in lost[: total - sum(shared.values())]:
        shared[version] += 1
    return shared
