"""Entries that expire, and the bound on how many there are."""

from __future__ import annotations

from onnxmesh.live.expiring_dict import ExpiringDict


def test_get_and_items_omit_an_entry_from_the_moment_it_expires():
    """At `set_s + ttl_s`, not after it."""
    entries = ExpiringDict(9)
    entries.set("a", 1, 10.0, 5.0)
    assert entries.get("a", 14.9) == 1
    assert entries.get("a", 15.0) is None
    assert [key for key, _ in entries.items(14.9)] == ["a"]
    assert not list(entries.items(15.0))


def test_set_replaces_an_entry_and_evicts_the_one_that_was_set_first():
    """Setting an entry again makes it the newest."""
    entries = ExpiringDict(2)
    for key in ("a", "b", "a", "c"):
        entries.set(key, key, 0.0, 5.0)
    assert [key for key, _ in entries.items(1.0)] == ["a", "c"]


def test_purge_and_remove_free_the_memory_of_entries():
    """`remove` returns whether there was an entry, expired or not."""
    entries = ExpiringDict(9)
    entries.set("a", 1, 0.0, 1.0)
    entries.set("b", 1, 0.0, 9.0)
    entries.purge(5.0)
    assert len(entries) == 1
    assert entries.remove("b")
    assert not entries.remove("b")
