"""The specification of a stage."""

from __future__ import annotations

import pytest

from onnxmesh.tensors.compression.compression_choice import NO_LOSS
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.v1.model_pb2 import Artefact, Partition, StageBatching, TensorSpec
from services.worker.requests.stage_spec import StageSpec
from tests.unit.worker.stage_requests import rule, spec


def test_stage_spec_of_a_partition_has_its_names_digest_and_rule():
    """Outputs as a set, live tensors in order."""
    partition = Partition(
        artefact=Artefact(digest="d"),
        inputs=[TensorSpec(name="x", datatype="FP32"), TensorSpec(name="u", datatype="FP32")],
        outputs=[TensorSpec(name="y", datatype="FP32")],
        live_out=["y", "s"],
        weight_bytes=9,
        direct_inputs=["u"],
        batching=StageBatching(max_rows=4),
    )
    made = StageSpec.of("m/1/0", partition)
    assert (made.stage, made.digest, made.outputs, made.live_out) == ("m/1/0", "d", {"y"}, ("y", "s"))
    assert (made.weight_bytes, made.direct_inputs, made.batching.max_rows) == (9, {"u"}, 4)


def test_stage_spec_allows_the_losses_of_its_partition():
    """A partition that names none allows none."""
    partition = Partition(artefact=Artefact(digest="d"), lossy_encodings=["fp16"], lossy_tensors=["h"])
    assert StageSpec.of("m/1/0", partition).allowance.of("h") == {Encoding.FP16}
    assert StageSpec.of("m/1/0", Partition()).allowance == NO_LOSS


@pytest.mark.parametrize(
    ("proven_on", "cpu_class", "kept"),
    [("", "avx2", True), ("avx2", "avx2", True), ("avx2", "neon", False), ("avx2", "", False)],
)
def test_stage_spec_keeps_a_batch_rule_only_on_its_cpu_class(proven_on, cpu_class, kept):
    """A rule without a class holds everywhere."""
    made = spec(batching=rule(4, cpu_class=proven_on)).on_cpu_class(cpu_class)
    assert (made.batching is not None) is kept
