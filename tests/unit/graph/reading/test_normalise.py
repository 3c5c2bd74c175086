"""Normalisation of models; `tests/unit/graph/test_accepted_models` runs the results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.graph.reading.normalise import nodes_in, normalise
from tests.unit.graph import accepted_models
from tests.unit.graph.accepted_models import FORMS
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node


@pytest.mark.parametrize("name", sorted(ZOO))
def test_normalise_leaves_other_models_alone(name):
    """No model of the zoo is changed, so none is copied when it is deployed."""
    made = ZOO[name].make()
    before = made.SerializeToString(deterministic=True)
    assert not normalise(made)
    assert made.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("form", FORMS)
def test_normalise_is_done_after_once(form):
    """A normal form is not changed again."""
    made = FORMS[form]()
    normalise(made)
    before = made.SerializeToString(deterministic=True)
    assert not normalise(made)
    assert made.SerializeToString(deterministic=True) == before


def test_normalise_lists_outputs_once_in_their_first_order():
    """The first of several listings stays."""
    made = accepted_models.output_three_times_among_others()
    assert normalise(made)
    assert [value.name for value in made.graph.output] == ["b", "y"]


def test_normalise_spells_the_default_domain_everywhere():
    """In the graph, its branches and functions, and their imports, of which the last counts."""
    made = accepted_models.default_domain_by_name_in_branches()
    made.opset_import.add(domain="", version=16)
    assert normalise(made)
    assert {each.domain for each in nodes_in(made)} == {""}
    assert [(opset.domain, opset.version) for opset in made.opset_import] == [("", 16)]


def test_normalise_copies_what_a_branch_returns_again():
    """Positions of a branch's outputs count, so none is removed; a new name is used nowhere else."""
    made = accepted_models.branch_output_twice()
    then = made.graph.node[3].attribute[1].g
    then.node.add(
        op_type="Neg", input=["r_copy_"], output=["r_copy"]
    )  # r_copy_ is a value of the graph around
    assert normalise(made)
    assert [value.name for value in then.output] == ["r", "r_copy__"]
    assert (then.node[-1].op_type, list(then.node[-1].input)) == ("Identity", ["r"])


@given(order=st.permutations(range(6)))
def test_normalise_sorts_nodes_by_what_they_read(order):
    """Whatever the stored order, every node comes after those that it reads."""
    wires = [("x", "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("x", "e"), ("d", "y")]
    nodes = [node("Neg", [source], [target]) for source, target in wires]
    made = model([nodes[place] for place in order], [floats("x", 1)], [floats("y", 1)])
    normalise(made)
    known = {"x"}
    for each in made.graph.node:
        assert known.issuperset(each.input)
        known.update(each.output)
    assert len(known) == 7


def test_normalise_leaves_a_cycle_to_be_reported():
    """Nothing is lost or reordered."""
    nodes = [node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    made = model(nodes, [floats("x", 1)], [floats("y", 1)])
    assert not normalise(made)
    assert [each.output[0] for each in made.graph.node] == ["a", "b", "y"]
