"""Inputs of a model that late stages get straight from the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from onnxmesh.errors import InvalidPlan
from onnxmesh.graph.reading.node_order import NodeOrder, value_name


def direct_inputs(
    order: NodeOrder, bounds: Sequence[int], wanted: Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    """Returns the direct inputs of each stage in the model's order, after checking that they make sense.

    An input is either direct for every stage after the first that reads it, or carried to all of them. An output
    of the model that is one of its inputs is read by the last stage in this sense.

    Args:
        order: The whole graph.
        bounds: Where stages begin, and where the last one ends.
        wanted: Names for each stage; nothing at all: every input is carried.

    Raises:
        InvalidPlan: There is another number of stages, a name is no input, the first stage has one, a stage has one
            that it does not read, or lacks one that it reads and another stage gets directly (INVALID_ARGUMENT).
    """
    num_stages = len(bounds) - 1
    if not wanted:
        return [()] * num_stages
    if len(wanted) != num_stages:
        raise InvalidPlan(f"direct inputs of {len(wanted)} stages were given, there are {num_stages}")
    names_in_order = [value_name(value) for value in order.inputs]
    if wanted[0]:
        raise InvalidPlan(f"stage 0 gets all its inputs from the gateway: '{wanted[0][0]}' cannot be direct")
    everywhere = {name for names in wanted for name in names}
    if unknown := sorted(everywhere - set(names_in_order)):
        raise InvalidPlan(
            f"direct input '{unknown[0]}' is no input of the model; it has {', '.join(names_in_order)}"
        )
    reads = _reads(order, bounds)
    for stage, names in enumerate(wanted):
        if idle := sorted(set(names) - reads[stage]):
            raise InvalidPlan(f"stage {stage} does not read input '{idle[0]}': it cannot be direct there")
        if stage and (missing := sorted((reads[stage] & everywhere) - set(names))):
            raise InvalidPlan(
                f"stage {stage} reads input '{missing[0]}', which another stage gets directly: it must here, too"
            )
    return [tuple(name for name in names_in_order if name in names) for names in wanted]


def _reads(order: NodeOrder, bounds: Sequence[int]) -> list[set[str]]:
    """Returns the inputs of the model that each stage reads."""
    inputs = set(order.inputs)
    reads = [
        {value_name(value) for node in order.nodes[start:end] for value in node.reads if value in inputs}
        for start, end in pairwise(bounds)
    ]
    reads[-1] |= {value_name(value) for value in order.outputs if value in inputs}
    return reads
