"""Each rule of the table against ONNX Runtime, on random attributes, shapes and row axes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.graph.rows.row_state import Mixed, Rows
from onnxmesh.graph.rows.rules.operators import OPERATORS, OperatorKind
from tests.unit.graph.rows.rules.operator_cases import MAKERS
from tests.unit.graph.rows.rules.row_runs import check_promise, session_of, states_of

NEVER_PROVEN = {("", "DynamicQuantizeLinear")}


def check(domain, name, seed):
    """Returns whether the rule finds rows in a case and, if so, checks that ONNX Runtime keeps them apart."""
    case = MAKERS[(domain, name)](random.Random(seed))
    model = case.model()
    states = states_of(model, case.feeds, case.with_rows)
    if all(isinstance(known.state, Mixed) for known in states.values()):
        return False
    try:
        session = session_of(model)
    except Exception:  # noqa: BLE001 # not every random case is a valid model
        return False
    check_promise(session, states, case.feeds, case.with_rows)
    return any(isinstance(known.state, Rows) for known in states.values())


@pytest.mark.parametrize(("domain", "name"), MAKERS, ids=lambda part: part or "onnx")
def test_rule_holds_in_the_runtime_and_proves_something(domain, name):
    """Where the rule finds rows, each row alone gives what it gives among others; and it does find them."""
    proven = [check(domain, name, seed) for seed in range(10)]
    assert any(proven) != ((domain, name) in NEVER_PROVEN)


@given(st.sampled_from(sorted(MAKERS)), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_rules_hold_on_random_cases(which, seed):
    """Cases that differ from test run to test run."""
    check(*which, seed)


def test_table_has_a_source_and_a_kind_for_each_operator():
    """A reader can check each rule against the operator's specification."""
    for (domain, name), entry in OPERATORS.items():
        assert (entry.domain, entry.name) == (domain, name)
        assert entry.source.startswith("https://")
        assert isinstance(entry.kind, OperatorKind)


def test_table_covers_the_cases():
    """A case without a rule would test nothing."""
    assert set(MAKERS) <= set(OPERATORS)
