"""Which stages of a plan run batches, as clauses of a sentence, and why the others do not."""

from __future__ import annotations

from onnxmesh.quantities import count_text
from onnxmesh.v1.model_pb2 import Plan


def batching_text(plan: Plan) -> str:
    """Returns which stages run batches, the largest difference between a batch and single requests, and what is not proven."""
    found = [each.batching for each in plan.partitions]
    batched = [each for each in found if each.max_rows > 1]
    why_not = next((each.why_not for each in found if each.max_rows < 2 and each.why_not), "")
    if not batched:
        return f"no batching{f': {why_not}' if why_not else ''}"
    single = [str(each.index) for each in plan.partitions if each.batching.max_rows < 2]
    text = f"batches of up to {count_text(max(each.max_rows for each in batched), 'row')}"
    if single:
        text += f" except in stage{'s' if len(single) > 1 else ''} {', '.join(single)}"
        text += f" ({why_not})" if why_not else ""
    difference = max(each.largest_difference for each in batched)
    text += (
        f", within {difference:.2g} of single requests" if difference else ", bit for bit as single requests"
    )
    not_proven = next((each.not_proven for each in batched if each.not_proven), "")
    if not_proven:
        text += f" in the runs of the check; rows are not proven to be independent: {not_proven}"
    return text


def unbatched_text(plan: Plan) -> str:
    """Returns `batching_text` where a stage runs each request alone, or batches without a proof; else an empty text."""
    found = [each.batching for each in plan.partitions]
    return batching_text(plan) if any(each.why_not or each.not_proven for each in found) else ""
