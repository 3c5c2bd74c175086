"""How the versions of a model come to share the requests that name none. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from onnxmesh.errors import InvalidRequest, NotFound, Unsatisfiable
from onnxmesh.ids import ModelName, Version
from onnxmesh.state.traffic_split import TrafficSplit

ALL = 100
"""The percents of a split, together."""


def rolled_out(
    name: ModelName, split: TrafficSplit | None, versions: Collection[Version], to: Version, percent: int
) -> TrafficSplit | None:
    """Returns the split after one version was given its part; the others share the rest as they did before.

    Args:
        name: The model.
        split: What is in force; None: the newest version gets all.
        versions: Those that are deployed.
        to: One of them.
        percent: Its part.

    Returns:
        The split; None where there is but one version.

    Raises:
        NotFound: There is no such version; the message says which there are (NOT_FOUND).
        InvalidRequest: `percent` is none, or nobody is there for the rest (INVALID_ARGUMENT).
    """
    if to not in versions:
        there = ", ".join(map(str, sorted(versions)))
        raise NotFound(f"model '{name}' has no version {to}; there is {there or 'none'}")
    check_percent(name, percent, [version for version in versions if version != to])
    if len(versions) == 1:
        return None
    before = {} if split is None else dict(split.percents)
    others = sorted(version for version in versions if version != to)
    return TrafficSplit(name, {to: percent} | _shared(before, others, ALL - percent), before)


def check_percent(name: ModelName, percent: int, others: Collection[Version]) -> None:
    """Checks that a version can be given so much.

    Args:
        name: The model.
        percent: The part.
        others: The versions that share the rest.

    Raises:
        InvalidRequest: It is no percentage, or nobody is there for the rest (INVALID_ARGUMENT).
    """
    if not 0 <= percent <= ALL:
        raise InvalidRequest(f"a version gets 0 to {ALL} percent; {percent} were asked for")
    if percent < ALL and not others:
        raise InvalidRequest(
            f"model '{name}' has no other version that the other {ALL - percent} percent could go to"
        )


def rolled_back(
    name: ModelName, split: TrafficSplit | None, versions: Collection[Version]
) -> TrafficSplit | None:
    """Returns the split as it was before the last rollout; None: there was none.

    Raises:
        Unsatisfiable: No rollout is known that could be taken back (FAILED_PRECONDITION).
    """
    if split is None or split.before is None:
        raise Unsatisfiable(f"model '{name}' has no rollout that could be taken back")
    return among(TrafficSplit(name, split.before), versions)


def among(split: TrafficSplit, versions: Iterable[Version]) -> TrafficSplit | None:
    """Returns a split among the versions that are left; None where none needs to be."""
    left = sorted(set(versions))
    if not split.percents or len(left) < 2:
        return None
    if split.percents.keys() <= set(left):
        return split
    return TrafficSplit(split.name, _shared(split.percents, left, ALL), split.before)


def percents_of(split: TrafficSplit, versions: Iterable[Version]) -> dict[Version, int]:
    """Returns what each version gets."""
    return {version: split.percents.get(version, 0) for version in versions}


def _shared(before: Mapping[Version, int], versions: list[Version], total: int) -> dict[Version, int]:
    """Shares percents as before; those who had nothing together give all to the newest. The sum is exact."""
    parts = {version: before.get(version, 0) for version in versions}
    whole = sum(parts.values())
    if not whole:
        return dict.fromkeys(versions, 0) | {versions[-1]: total}
    shared = {version: part * total // whole for version, part in parts.items()}
    # What rounding down left goes to those who lost most by it, the newer one first.
    lost = sorted(versions, key=lambda version: (-(parts[version] * total % whole), -version))
    for version in lost[: total - sum(shared.values())]:
        shared[version] += 1
    return shared
