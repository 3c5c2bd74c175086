"""A full disk or quota is an expected error; any other error is not."""

from __future__ import annotations

import errno

import pytest

from onnxmesh.files.full_disk import full_disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_names_the_file(number):
    found = full_disk(OSError(number, "no space", "/cache/a"))
    assert found is not None
    assert found.message == "no space is left on the disk: /cache/a"
    assert found.retriable


def test_full_disk_without_a_file_name():
    found = full_disk(OSError(errno.ENOSPC, "no space"))
    assert found is not None
    assert found.message == "no space is left on the disk"


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("28"), OSError("no number")])
def test_full_disk_is_none_for_other_errors(error):
    assert full_disk(error) is None
