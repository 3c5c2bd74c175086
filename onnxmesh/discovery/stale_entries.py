"""Removal of registry entries whose process has been replaced. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from onnxmesh.discovery.instance import Instance


def without_stale_entries(instances: Iterable[Instance]) -> dict[str, Instance]:
    """Returns the newest generation of each id and, of those, the newest at each address, in order of id.

    A process that starts at the address of an earlier one answers the earlier one's health checks as well: only the
    generation shows that the earlier one has ended. Generations are start times, so those of different ids at one
    address, which are on one machine, are comparable.
    """
    by_id: dict[str, Instance] = {}
    for instance in instances:
        held = by_id.get(instance.id)
        if held is None or held.generation < instance.generation:
            by_id[instance.id] = instance
    newest: dict[str, Instance] = {}
    for instance in by_id.values():
        held = newest.get(instance.address)
        if held is None or (held.generation, held.id) < (instance.generation, instance.id):
            newest[instance.address] = instance
    return {instance.id: instance for instance in sorted(newest.values(), key=lambda each: each.id)}
