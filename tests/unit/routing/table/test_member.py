"""Workers of a table, each with the models that it serves."""

from __future__ import annotations

from onnxmesh.routing.table.member import Member, members_of, replicas_of, set_facts, update_members
from onnxmesh.routing.table.routed_model import Replica, RoutedModel, RoutedStage
from onnxmesh.routing.table.worker_facts import WorkerFacts

KEY, OTHER = ("m", 1), ("n", 1)
FACTS = WorkerFacts(("gpu",))


def model(*workers, generation=1):
    replicas = tuple(Replica(each, f"{each}:1", generation) for each in workers)
    return RoutedModel(name="m", version=1, inputs=(), outputs=(), stages=(RoutedStage("m/1/0", replicas),))


def test_members_of_has_listed_and_named_workers():
    members = members_of({KEY: model("a", "b")}, {"b": FACTS, "c": FACTS})
    assert members == {
        "a": Member("a:1", 1, None, frozenset({KEY})),
        "b": Member("b:1", 1, FACTS, frozenset({KEY})),
        "c": Member(facts=FACTS),
    }


def test_update_members_gives_what_members_of_would():
    members = members_of({KEY: model("a", "b")}, {"b": FACTS})
    update_members(members, KEY, model("a", "b"), model("c", generation=2))
    assert members == members_of({KEY: model("c", generation=2)}, {"b": FACTS})
    update_members(members, OTHER, None, model("b"))
    update_members(members, KEY, model("c"), None)
    assert members == members_of({OTHER: model("b")}, {"b": FACTS})


def test_set_facts_removes_a_worker_that_is_neither_listed_nor_named():
    members = members_of({KEY: model("a")}, {"a": FACTS, "b": FACTS})
    set_facts(members, "a", None)
    set_facts(members, "b", None)
    assert members == {"a": Member("a:1", 1, None, frozenset({KEY}))}


def test_replicas_of_no_model_is_empty():
    assert replicas_of(None) == {}
    assert replicas_of(model("a")).keys() == {"a"}
