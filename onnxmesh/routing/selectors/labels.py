"""Labels of a worker: its attributes and tags as one mapping, which selectors match against."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Labels = Mapping[str, tuple[str, ...]]
"""The values of each key. A tag `k=v` is a value `v` of `k`; any other tag is a key whose value is empty."""


def labels_of(tags: Collection[str], attributes: Mapping[str, str]) -> Labels:
    """Returns the labels of a worker.

    A key may have several values: that of an attribute, and those of tags that read `key=value`.
    """
    labels: dict[str, tuple[str, ...]] = {key: (value,) for key, value in attributes.items()}
    for tag in tags:
        key, _, value = tag.partition("=")
        known = labels.get(key, ())
        if value not in known:
            labels[key] = (*known, value)
    return labels
