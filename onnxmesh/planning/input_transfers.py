"""Transfer of the model's inputs to the stages that read them: carried from stage to stage, or direct."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts, InputUse
from onnxmesh.model.link import LinkSpec
from onnxmesh.planning.search.chain import DeviceGroup


@dataclass(frozen=True, slots=True)
class InputTransfers:
    """The transfers of all inputs.

    Attributes:
        direct: For each stage the inputs that the gateway sends to it, past the stages before.
        carried_bytes: For each stage the bytes of inputs that it forwards to the next.
    """

    direct: tuple[tuple[str, ...], ...]
    carried_bytes: tuple[int, ...]


def slowest_link(cluster: Cluster, group: DeviceGroup, following: DeviceGroup, num_bytes: int) -> LinkSpec:
    """Returns the link between devices of two stages whose transfer of `num_bytes` takes longest."""
    kinds = cluster.kinds
    links = [cluster.link(kinds[a].name, kinds[b].name) for a, _ in group for b, _ in following]
    return max(links, key=lambda link: link.transfer_ps(num_bytes))


def choose_input_transfers(
    costs: GraphCosts, cluster: Cluster, cuts: Sequence[int], groups: Sequence[DeviceGroup]
) -> InputTransfers:
    """Chooses for each input the cheaper transfer: carried by the stages, or direct to each stage that reads it.

    A carried input is sent once on every hop up to its last reader, from the gateway to stage 0 included. A direct
    input is sent once for each stage that reads it, and adds the latency of a message for each except stage 0, which
    the gateway sends to anyway. Equal costs: carried.

    Args:
        costs: The graph.
        cluster: The cluster; its default link stands for the gateway's links.
        cuts: Positions in the topological order.
        groups: The device group of each stage.
    """
    gateway = cluster.default_link
    hops = [slowest_link(cluster, *pair, 0) for pair in pairwise(groups)]
    direct: list[list[str]] = [[] for _ in groups]
    carried = [0] * len(groups)
    for use in costs.inputs:
        stages = _reading_stages(use, cuts)
        later = [stage for stage in stages if stage > 0]
        if not later:
            continue
        links = [gateway, *hops[: later[-1]]]
        carrying_s = sum(use.num_bytes / link.bytes_per_s for link in links)
        sending_s = len(stages) * use.num_bytes / gateway.bytes_per_s + len(later) * gateway.latency_s
        if sending_s < carrying_s:
            for stage in later:
                direct[stage].append(use.name)
        else:
            for stage in range(later[-1]):
                carried[stage] += use.num_bytes
    return InputTransfers(tuple(map(tuple, direct)), tuple(carried))


def _reading_stages(use: InputUse, cuts: Sequence[int]) -> list[int]:
    """Returns the stages that read an input, ascending; an input that is an output too is read by the last stage."""
    return sorted({bisect_right(cuts, position) for position in use.readers})
