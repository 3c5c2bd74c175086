"""Requirements and preferences: what they say, whom they select, how a mistake is told."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest
from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.selectors.preference import parse_preference
from onnxmesh.routing.selectors.quantity import read_quantity
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
def test_a_worker_that_is_selected(text):
    """Each way to say something that is so; an absent key satisfies `notin`, `!=` and `!`."""
    assert parse_selector(text).selects(WORKER)


@pytest.mark.parametrize("text", PASSED_OVER)
def test_a_worker_that_is_passed_over(text):
    """Each way to say something that is not so; of two values `!=` wants neither, and no word is a number."""
    assert not parse_selector(text).selects(WORKER)


MISTAKES = {
    "": (1, "a key", "the end"),
    " a": (1, "a key", "' a'"),
    "=x": (1, "a key", "'=x'"),
    "a b": (3, "an operator (=, ==, !=, in, notin, exists, <, <=, >, >=), ',' or the end", "'b'"),
    "a=b c": (5, "',' or the end", "'c'"),
    "a\n": (2, "no white space at the end", r"'\n'"),
    "a,": (3, "a key", "the end"),
    "!": (2, "a key", "the end"),
    "!a=b": (3, "',' or the end", "'=b'"),
    "a in b": (6, "'('", "'b'"),
    "a in (b": (8, "',' or ')'", "the end"),
    "a in (b c)": (9, "',' or ')'", "'c)'"),
    "a >= big": (6, "a number such as 24, 7.5 or 80Gi", "'big'"),
    "a > ": (5, "a number such as 24, 7.5 or 80Gi", "the end"),
    'a="b': (5, "a closing '\"'", "the end"),
    '""': (1, "a key", "'\"\"'"),
    "a=" + "x" * 257: (3, "a word of 256 characters at most", repr("x" * 20)),
}


@pytest.mark.parametrize(("text", "place"), MISTAKES.items(), ids=[repr(text)[:20] for text in MISTAKES])
def test_a_mistake_is_told_with_its_place(text, place):
    """Where it is, what was expected there, what came."""
    at, expected, got = place
    with pytest.raises(InvalidRequest) as caught:
        parse_selector(text)
    assert caught.value.message.endswith(f"character {at}: expected {expected}, got {got}")


def test_a_selector_has_a_limit():
    """Nobody writes so much."""
    with pytest.raises(InvalidRequest, match="4096 characters at most, got 5000"):
        parse_selector("a" * 5000)


def test_what_is_lacking_is_named_as_it_was_written():
    """In its order, each requirement by itself."""
    selector = all_of(["gpu", "zone in (us,  asia)", "cores > 64,spot", "!gpu"])
    assert [str(each) for each in selector.lacking(WORKER)] == ["zone in (us,  asia)", "cores > 64", "!gpu"]


@pytest.mark.parametrize(
    ("text", "selector", "weight"),
    [
        ("zone=eu", "zone=eu", 1),
        ("zone=eu:50", "zone=eu", 50),
        ("gpu, cores > 8:100", "gpu, cores > 8", 100),
        ('x="a:5"', 'x="a:5"', 1),
    ],
)
def test_a_preference_has_a_weight(text, selector, weight):
    """One if nothing else is said."""
    found = parse_preference(text)
    assert (str(found.selector), found.weight) == (selector, weight)


@pytest.mark.parametrize("text", ["zone=eu:0", "zone=eu:101", ":5", "a b:5", ""])
def test_what_is_no_preference(text):
    """Selector and weight are both checked."""
    with pytest.raises(InvalidRequest):
        parse_preference(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("24", 24),
        ("7.5", 7.5),
        ("-1", -1),
        ("2e3", 2000),
        ("80Gi", 80 * 2**30),
        ("3k", 3000),
        ("1.5M", 1.5e6),
        (".5", 0.5),
        ("", None),
        ("Gi", None),
        ("1 Gi", None),
        ("nan", None),
        ("inf", None),
        ("0x10", None),
        ("1e999", None),
        ("٣", None),
    ],
)
def test_quantities(text, number):
    """Kubernetes' suffixes; what is no finite number is none."""
    assert read_quantity(text) == number


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
    """Returns one of the ways to write a term."""
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
def test_selectors_mean_what_kubernetes_means(terms, found, blank, quoted):
    """However it is written, a selector selects whom a reading of the rules, line by line, selects."""
    text = f"{blank},{blank}".join(written(term, blank, quoted) for term in terms)
    assert parse_selector(text).selects(labels_of((), found)) == reference(terms, found)
    as_tags = [f"{key}={value}" if value else key for key, value in found.items()]
    assert parse_selector(text).selects(labels_of(as_tags, {})) == reference(terms, found)


@given(st.text(alphabet='ab=!<>,() "in1', max_size=12))
def test_any_text_is_a_selector_or_a_told_mistake(text):
    """Nothing else leaves the parser; what it reads it reads again from its own words."""
    try:
        selector = parse_selector(text)
    except InvalidRequest:
        return
    again = parse_selector(str(selector))
    for a, b in product(("", "1", "n"), repeat=2):
        found = labels_of((), {"a": a, "b": b})
        assert again.selects(found) == selector.selects(found)
