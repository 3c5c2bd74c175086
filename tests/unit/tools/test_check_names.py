"""The rules about names, each against a small tree with one planted violation."""

from __future__ import annotations

import pytest

from tools.check_names import replaced_words, violations

GLOSSARY = """# Glossary

| word | meaning |
|---|---|
| door | a word that may be used |

## Words that are not used

| instead of | say |
|---|---|
| way, ways | link |
| told | reported |
"""


def tree(root, code):
    for path, text in {
        "docs/glossary.md": GLOSSARY,
        "onnxmesh/graph/cut.py": "class Cut:\n    pass\n\n\ndef main():\n    pass\n",
        "services/gateway/app.py": f"def main():\n    pass\n\n\n{code}\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_replaced_words_are_those_of_the_last_table():
    assert replaced_words(GLOSSARY) == {"way", "ways", "told"}


@pytest.mark.parametrize(
    "code",
    ["def always(door): return door", "def gateway(): ...", "steward = 1", "class _Cut: ...", "x.way()"],
)
def test_names_within_the_rules_have_no_violation(tmp_path, code):
    assert list(violations(tree(tmp_path, code))) == []


def test_names_defined_twice_are_named_with_both_places(tmp_path):
    (found,) = violations(tree(tmp_path, "class Cut: ..."))
    assert (
        found
        == "onnxmesh/graph/cut.py:1: 'Cut' is defined in services/gateway/app.py:5 too: expected one definition"
    )


@pytest.mark.parametrize(
    ("code", "name", "word"),
    [
        ("def told_load(): ...", "told_load", "told"),
        ("class SharedWays: ...", "SharedWays", "ways"),
        ("def send(way): ...", "way", "way"),
        ("_way_s = 1.0", "_way_s", "way"),
        ("MAX_WAYS = 2", "MAX_WAYS", "ways"),
        ("self.way = 1", "way", "way"),
    ],
)
def test_names_with_a_replaced_word_are_named(tmp_path, code, name, word):
    (found,) = violations(tree(tmp_path, code))
    assert found.startswith(f"services/gateway/app.py:5: '{name}' has the word '{word}'")


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ("a, b, c, d", "4 arguments, 4 of them by position"),
        ("a, *, b, c, d, e, f, g, h, i", "9 arguments, 1 of them by position"),
    ],
)
def test_names_of_a_long_constructor_are_counted(tmp_path, arguments, counts):
    (found,) = violations(tree(tmp_path, f"class App:\n    def __init__(self, {arguments}): ..."))
    assert found.startswith(f"services/gateway/app.py:6: a constructor has {counts}")


def test_names_of_a_constructor_within_the_limits_are_accepted(tmp_path):
    code = "class App:\n    def __init__(self, a, b, c, *, d, e, f, g, h): ..."
    assert list(violations(tree(tmp_path, code))) == []
