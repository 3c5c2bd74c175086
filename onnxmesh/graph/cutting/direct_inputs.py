"""Direct inputs: inputs of a model that the gateway sends to later stages, without passing the stages before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.errors import InvalidPlan
from onnxmesh.graph.reading.node_order import NodeOrder, value_name


def direct_inputs(
    order: NodeOrder, bounds: Sequence[int], wanted: Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    """Validates the direct inputs of each stage and returns them in the order of the model's inputs.

    An input is either direct for every stage after the first that reads it, or carried to all of them. An output
    of the model that is one of its inputs counts as read by the last stage.

    Args:
        order: The graph.
        bounds: Start of each stage, and the end of the last one.
        wanted: Names for each stage; empty: every input is carried.

    Raises:
        InvalidPlan: The number of stages differs, a name is no input, stage 0 has a direct input, a stage does not read
            its direct input, or an input is direct for one reading stage and not for another (INVALID_ARGUMENT).
    """
    num_stages = len(bounds) - 1
    if not wanted:
        return [()] * num_stages
    if len(wanted) != num_stages:
        raise InvalidPlan(f"direct inputs: expected those of {num_stages} stages, got {len(wanted)}")
    names_in_order = [value_name(value) for value in order.inputs]
    if wanted[0]:
        raise InvalidPlan(
            f"stage 0 receives all its inputs from the gateway: '{wanted[0][0]}' cannot be direct"
        )
    everywhere = {name for names in wanted for name in names}
    if unknown := sorted(everywhere - set(names_in_order)):
        raise InvalidPlan(
            f"direct input '{unknown[0]}' is no input of the model; it has {listed(names_in_order, quoted=False)}"
            f"{did_you_mean(unknown[0], names_in_order)}"
        )
    reads = _reads(order, bounds)
    for stage, names in enumerate(wanted):
        if unread := sorted(set(names) - reads[stage]):
            raise InvalidPlan(f"stage {stage} does not read input '{unread[0]}': it cannot be direct there")
        if stage and (missing := sorted((reads[stage] & everywhere) - set(names))):
            raise InvalidPlan(
                f"stage {stage} reads input '{missing[0]}', which is direct for another stage: it must be direct here too"
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
