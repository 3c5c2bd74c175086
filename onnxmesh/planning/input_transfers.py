"""How the model's inputs get to the stages that read them."""

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
    """What crosses each cut, and what does not.

    Attributes:
        direct: For each stage the inputs that the gateway sends straight to it.
        carried_bytes: For each stage the bytes of inputs that it hands on to the next.
    """

    direct: tuple[tuple[str, ...], ...]
    carried_bytes: tuple[int, ...]


def slowest_link(cluster: Cluster, group: DeviceGroup, following: DeviceGroup, num_bytes: int) -> LinkSpec:
    """Returns the link between any devices of two stages on which so many bytes take longest."""
    kinds = cluster.kinds
    links = [cluster.link(kinds[a].name, kinds[b].name) for a, _ in group for b, _ in following]
    return max(links, key=lambda link: link.transfer_ps(num_bytes))


def choose_input_transfers(
    costs: GraphCosts, cluster: Cluster, cuts: Sequence[int], groups: Sequence[DeviceGroup]
) -> InputTransfers:
    """Decides for each input whether stages carry it to its readers or the gateway sends it to each.

    Carried, it is sent once on every hop as far as its last reader, the gateway's to the first stage among
    them. Direct, it is sent once for each stage that reads it, and costs a message's latency for
    each but the first, to which the gateway sends anyway. The cheaper way is taken; of equals, carrying.

    Args:
        costs: The graph.
        cluster: Its default link stands for the gateway's.
        cuts: Positions in the row of nodes.
        groups: The devices of each stage.
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
        on_the_way = [gateway, *hops[: later[-1]]]
        carrying_s = sum(use.num_bytes / link.bytes_per_s for link in on_the_way)
        sending_s = len(stages) * use.num_bytes / gateway.bytes_per_s + len(later) * gateway.latency_s
        if sending_s < carrying_s:
            for stage in later:
                direct[stage].append(use.name)
        else:
            for stage in range(later[-1]):
                carried[stage] += use.num_bytes
    return InputTransfers(tuple(map(tuple, direct)), tuple(carried))


def _reading_stages(use: InputUse, cuts: Sequence[int]) -> list[int]:
    """Returns the stages that need an input, ascending; an output of the model is needed by the last."""
    return sorted({bisect_right(cuts, position) for position in use.readers})
