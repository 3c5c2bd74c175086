"""Selectors match workers as Kubernetes' rules say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.selectors.selector_text import all_of, parse_selector

WORKER = labels_of(
    ("gpu", "spot", "rack=7", "zone=tagged"),
    {
        "zone": "eu",
        "cores": "16",
        "gpu.memory": str(80 * 2**30),
        "gpu.memory_gb": "80",
        "model": "A 100, PCIe",
    },
)


SELECTED = [
    "gpu",
    "gpu exists",
    "cores",
    "!tpu",
    "! tpu",
    "zone=eu",
    "zone==eu",
    "zone = eu",
    "zone=tagged",
    "rack=7",
    "zone!=us",
    "tpu!=v5",
    "gpu=",
    "zone in (eu, us)",
    "zone in(us,eu)",
    "zone notin (us,asia)",
    "tpu notin (v5)",
    "gpu in ()",
    "gpu.memory_gb >= 24",
    "gpu.memory_gb>=80",
    "gpu.memory_gb <= 80.0",
    "gpu.memory >= 80Gi",
    "gpu.memory < 81Gi",
    "cores > 15.5",
    "rack < 8",
    'model="A 100, PCIe"',
    'model in ("A 100, PCIe", H100)',
    "gpu, zone=eu,!tpu , cores>4",
    "zone=eu,spot",
]


PASSED_OVER = [
    "tpu",
    "!gpu",
    "!cores",
    "zone=us",
    "zone=eu,tpu",
    "zone!=eu",
    "zone!=tagged",
    "zone notin (us, eu)",
    "zone in (us)",
    "tpu=v5",
    "tpu > 0",
    "tpu <= 0",
    "zone > 1",
    "gpu >= 0",
    "gpu.memory_gb > 80",
    "cores >= 16.1",
]


@pytest.mark.parametrize("text", SELECTED)
def test_selector_matches_a_worker(text):
    """Each spelling of a term that holds; an absent key satisfies `notin`, `!=` and `!`."""
    assert parse_selector(text).selects(WORKER)


@pytest.mark.parametrize("text", PASSED_OVER)
def test_selector_does_not_match_a_worker(text):
    """Each spelling of a term that does not hold; `!=` of two values excludes both, and no word is a number."""
    assert not parse_selector(text).selects(WORKER)


def test_lacking_returns_the_unmet_requirements_as_written():
    """In its order, each requirement by itself."""
    selector = all_of(["gpu", "zone in (us,  asia)", "cores > 64,spot", "!gpu"])
    assert [str(each) for each in selector.lacking(WORKER)] == ["zone in (us,  asia)", "cores > 64", "!gpu"]


KEYS, VALUES = ("a", "b.c", "in"), ("", "x", "y", "1", "2.5")


keys, values = st.sampled_from(KEYS), st.sampled_from(VALUES)


labels = st.dictionaries(keys, values)


def is_met(value, operator, operand):
    """Kubernetes' rules, one line each; `value` is None where the key is absent."""
    number = float(value) if value is not None and re.fullmatch(r"[\d.]+", value) else None
    return {
        "exists": lambda: value is not None,
        "!": lambda: value is None,
        "=": lambda: value == operand,
        "==": lambda: value == operand,
        "!=": lambda: value != operand,
        "in": lambda: value in operand,
        "notin": lambda: value not in operand,
        "<": lambda: number is not None and number < operand,
        "<=": lambda: number is not None and number <= operand,
        ">": lambda: number is not None and number > operand,
        ">=": lambda: number is not None and number >= operand,
    }[operator]()


def reference(terms, found):
    return all(is_met(found.get(key), operator, operand) for key, operator, operand in terms)


terms = st.one_of(
    st.tuples(keys, st.sampled_from(["exists", "!"]), st.none()),
    st.tuples(keys, st.sampled_from(["=", "==", "!="]), values),
    st.tuples(keys, st.sampled_from(["in", "notin"]), st.lists(values, min_size=1, max_size=3)),
    st.tuples(keys, st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from([0, 1, 2.5, 9])),
)


def written(term, blank, quoted):
    """Returns one of the spellings of a term."""
    key, operator, operand = term
    word = (lambda text: f'"{text}"') if quoted else str
    if operator == "exists":
        return f"{word(key)} exists" if blank else word(key)
    if operator == "!":
        return f"!{blank}{word(key)}"
    if isinstance(operand, list):
        return f"{word(key)} {operator}{blank}({blank}{f'{blank},{blank}'.join(map(word, operand))}{blank})"
    operand = word(operand) if isinstance(operand, str) else operand
    blank_after = blank if operand != "" else ""
    return f"{word(key)}{blank}{operator}{blank_after}{operand}"


@given(st.lists(terms, min_size=1, max_size=4), labels, st.sampled_from(["", " "]), st.booleans())
def test_selector_means_what_kubernetes_means(terms, found, blank, quoted):
    """However it is written, a selector selects whom a reading of the rules, line by line, selects."""
    text = f"{blank},{blank}".join(written(term, blank, quoted) for term in terms)
    assert parse_selector(text).selects(labels_of((), found)) == reference(terms, found)
    as_tags = [f"{key}={value}" if value else key for key, value in found.items()]
    assert parse_selector(text).selects(labels_of(as_tags, {})) == reference(terms, found)
