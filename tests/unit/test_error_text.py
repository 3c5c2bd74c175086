"""Texts of errors within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.error_text import (
    MAX_LIST_CHARS,
    MAX_NAME_CHARS,
    MAX_TEXT_BYTES,
    bounded,
    did_you_mean,
    listed,
    most_similar,
)
from onnxmesh.errors import InvalidRequest


@given(st.one_of(st.text(), st.text(alphabet="'\"a é\ud800", min_size=900, max_size=1500)))
def test_bounded_text_is_short_and_can_be_sent(text):
    """Whatever it quotes: quotes within quotes, characters of several bytes, halves of surrogate pairs."""
    assert len(bounded(text).encode()) <= MAX_TEXT_BYTES


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=MAX_NAME_CHARS))
def test_bounded_leaves_a_short_text_as_it_is(text):
    """Also with quotes and line ends."""
    assert bounded(text) == text


@pytest.mark.parametrize("quote", ["'", '"'])
def test_bounded_shortens_the_names_that_a_text_quotes_in_the_middle(quote):
    """Beginning and end remain, and the sentence around them."""
    name = "begin" + "x" * 100_000 + "end"
    text = bounded(f"no model {quote}{name}{quote}: deployed are {quote}a{quote}")
    assert text.startswith(f"no model {quote}beginxxx")
    assert text.endswith(f"xxxend{quote}: deployed are {quote}a{quote}")
    assert len(text) <= MAX_NAME_CHARS + 40


def test_bounded_takes_what_is_between_two_names_for_no_name():
    """A long sentence between two quoted names is left as it is."""
    text = "'a' " + "word " * 60 + "'b'"
    assert bounded(text) == text


def test_bounded_keeps_both_ends_of_a_long_sentence():
    """The cause is often at its end."""
    text = bounded("first " + "word " * 1000 + "last")
    assert text.startswith("first word")
    assert text.endswith("word last")
    assert " … " in text


def test_bounded_reads_the_ends_of_a_text_of_any_length_only():
    """A client chooses the length of the names that it sends, and the text is made on the event loop."""
    long, longer = (f"unknown model '{'x' * size}': none is deployed" for size in (10_000, 20_000_000))
    assert bounded(longer) == bounded(long)


def test_mesh_error_has_a_bounded_text():
    """The one place where all texts pass, before they are sent, logged or printed."""
    error = InvalidRequest("é" * 5000)
    assert len(error.message.encode()) <= MAX_TEXT_BYTES
    assert str(error) == error.message


def test_listed_ends_a_long_list_with_a_count():
    """Of the names that are left out; an empty list has its word."""
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed([1, 2], quoted=False, separator="; ") == "1; 2"
    assert (listed([]), listed([], none="nothing")) == ("none", "nothing")
    many = listed(f"model-{index:03d}" for index in range(200))
    named = many.count("model-")
    assert many.endswith(f"'model-{named - 1:03d}' … and {200 - named} more")
    assert len(many) <= MAX_LIST_CHARS + 40
    assert len(listed(["x" * 10_000])) <= MAX_NAME_CHARS + 2


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("cout", ["name", "count"], "; did you mean 'count'?"),
        ("ResNet50", ["bert", "resnet-50"], "; did you mean 'resnet-50'?"),
        ("EXACT", ["exact", "portable"], "; did you mean 'exact'?"),
        ("zzz", ["name", "count"], ""),
        ("", ["a"], ""),
        ("a", [], ""),
        ("x" * 1000, ["x" * 1001], ""),
        (
            "model-0500-v3",
            [f"model-{index:04d}-v2" for index in range(900)],
            "; did you mean 'model-0500-v2'?",
        ),
    ],
)
def test_did_you_mean_names_the_most_similar_word(word, known, hint):
    """Whatever its case; nothing where none is similar, or where a comparison would take long."""
    assert did_you_mean(word, known) == hint


def test_most_similar_word_may_be_the_word_itself():
    """Callers that know the word is wrong for another reason, such as a suffix, suggest it; `did_you_mean` does not."""
    assert most_similar("resnet", ["bert", "resnet"]) == "resnet"
    assert did_you_mean("resnet", ["bert", "resnet"]) == ""
    assert most_similar("zzz", ["bert"]) == ""
