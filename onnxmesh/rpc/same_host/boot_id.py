"""The identity of this host's running kernel."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """Returns the kernel's boot id, equal for all processes of one host; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
