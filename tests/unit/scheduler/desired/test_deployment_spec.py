"""Defaults, checks and comparison of deployment specs."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.v1.model_pb2 import (
    Batching,
    DeploymentSpec,
    Shape,
    Shapes,
)
from services.scheduler.desired.deployment_spec import demand_of, normalised, same_spec, shapes_of


def test_same_spec_compares_the_bound_of_activation_errors():
    """No bound is not the same as any."""
    none, one, other = (
        normalised(DeploymentSpec(name="m", max_activation_error=bound)) for bound in (None, 0.01, 0.02)
    )
    assert same_spec(one, one)
    assert not same_spec(one, other)
    assert not same_spec(one, none)
    assert not none.HasField("max_activation_error")


@pytest.mark.parametrize("bound", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_normalised_refuses_an_invalid_bound_of_activation_errors(bound):
    """The bound is a share; a loss of 0 is requested by omitting the bound."""
    with pytest.raises(InvalidRequest, match="above 0 and up to 1"):
        normalised(DeploymentSpec(name="m", max_activation_error=bound))


def test_normalised_fills_in_defaults_and_sorts_requirements():
    spec = normalised(DeploymentSpec(name="m", require=["b", "a", "b"]))
    assert (spec.replicas, spec.optimisation, list(spec.require)) == (1, "auto", ["a", "b"])
    assert same_spec(spec, normalised(DeploymentSpec(name="m", version=3, require=["a", "b"])))
    assert not same_spec(spec, normalised(DeploymentSpec(name="m", require=["a"])))


@pytest.mark.parametrize(
    "batching",
    [Batching(mode="on"), Batching(max_rows=8), Batching(max_delay_us=0), Batching(max_delay_us=5)],
)
def test_same_spec_compares_batching(batching):
    """No delay at all is not the same as one that is learned."""
    spec = normalised(DeploymentSpec(name="m", batching=batching))
    assert same_spec(spec, spec)
    assert not same_spec(spec, normalised(DeploymentSpec(name="m")))


@pytest.mark.parametrize(
    ("batching", "words"),
    [
        (Batching(mode="of"), "batching is one of auto, on, off; got 'of'"),
        (Batching(max_rows=5000), "a batch has at most 4096 rows, got 5000"),
        (Batching(max_delay_us=10**8), "a request waits at most 10000000 us for others"),
    ],
)
def test_normalised_refuses_invalid_batching(batching, words):
    """With what can be."""
    with pytest.raises(InvalidRequest, match=words):
        normalised(DeploymentSpec(name="m", batching=batching))


def test_same_spec_counts_fields_that_an_older_release_left_out_as_default():
    """It knew neither mode nor objective nor shapes."""
    old = DeploymentSpec(name="m", version=1, replicas=1, optimisation="auto")
    assert same_spec(old, normalised(DeploymentSpec(name="m")))


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "portable"},
        {"objective": "latency"},
        {"replicate": True},
        {"shapes": Shapes(batch=2)},
        {"shapes": Shapes(inputs={"x": Shape(dims=[1, 3])})},
    ],
)
def test_same_spec_compares_mode_objective_and_shapes(change):
    """Whatever a plan depends on."""
    spec = normalised(DeploymentSpec(name="m", **change))
    assert same_spec(spec, spec)
    assert not same_spec(spec, normalised(DeploymentSpec(name="m")))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mode": "fast"}, "mode is one of auto, exact, portable; got 'fast'"),
        ({"objective": "cost"}, "objective is one of throughput, latency; got 'cost'"),
        ({"mode": "portable", "optimisation": "all"}, "optimisation 'all' is for mode 'exact'"),
        (
            {"shapes": Shapes(inputs={"x": Shape(dims=[1, -1])})},
            r"shape for 'x': expected up to 64 sizes of 0 or more, got \[1, -1\]",
        ),
        ({"shapes": Shapes(inputs={"": Shape(dims=[1])})}, "a shape names its input"),
    ],
)
def test_normalised_names_an_invalid_field(wrong, says):
    """With what was expected and what came."""
    with pytest.raises(InvalidRequest, match=says):
        normalised(DeploymentSpec(name="m", **wrong))


def test_demand_of_a_spec():
    """No stages and `replicate` leave the choice; devices may be shared."""
    spec = normalised(DeploymentSpec(name="m", stages=3, replicas=2, objective="latency"))
    assert demand_of(spec) == Demand(Objective.LATENCY, 3, 2, share=True)
    free = normalised(DeploymentSpec(name="m", replicate=True))
    assert demand_of(free) == Demand(Objective.THROUGHPUT, None, None, share=True)
    assert not demand_of(normalised(DeploymentSpec(name="m", batching=Batching(mode="off")))).batches
    assert not demand_of(normalised(DeploymentSpec(name="m", batching=Batching(max_rows=1)))).batches
    shaped = DeploymentSpec(name="m", shapes=Shapes(inputs={"x": Shape(dims=[4, 2])}))
    assert shapes_of(normalised(shaped)) == InputShapes(1, {"x": (4, 2)})


def test_same_spec_ignores_the_traffic_percentage():
    """It belongs to one deploy, and is changed by rollouts; 0 is a percentage."""
    spec = normalised(DeploymentSpec(name="m", traffic_percent=0))
    assert spec.HasField("traffic_percent")
    assert same_spec(spec, DeploymentSpec(name="m"))
    assert not normalised(DeploymentSpec(name="m")).HasField("traffic_percent")
