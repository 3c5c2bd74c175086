"""Workers in columns."""

from __future__ import annotations

from math import isnan

from onnxmesh.ids import WorkerId
from services.scheduler.desired.desired_stages import Home
from services.scheduler.placement.worker_columns import NO_HOME, WorkerColumns
from services.scheduler.workers.worker_view import WorkerView


def view(id_, *tags, **attributes):
    return WorkerView(
        WorkerId(id_), frozenset(tags), {key.replace("_", "."): each for key, each in attributes.items()}
    )


def test_columns_number_zones_and_hosts_in_order_of_id():
    """Workers without a zone share one; each without a host has its own."""
    columns = WorkerColumns(
        [view("d"), view("c"), view("b", zone="x", host="h"), view("a", zone="x", host="h")]
    )
    assert columns.ids == ("a", "b", "c", "d")
    assert columns.zones.tolist() == [0, 0, 1, 1]
    assert columns.hosts.tolist() == [0, 0, 1, 2]
    assert (columns.num_zones, columns.num_hosts) == (2, 3)


def test_columns_find_eligible_workers_by_tags_and_cpu_class():
    columns = WorkerColumns(
        [
            view("a", "gpu", cpu_class="x86", device="cpu"),
            view("b", "gpu", cpu_class="x86", device="cuda"),
            view("c", cpu_class="x86"),
        ]
    )
    assert columns.eligible(("gpu",), "").tolist() == [True, True, False]
    assert columns.eligible(("gpu",), "x86").tolist() == [True, False, False]
    assert columns.eligible((), "x86").tolist() == [True, False, True]


def test_columns_find_homes_by_id_before_kind():
    columns = WorkerColumns([view(id_, device_kind=kind) for id_, kind in zip("abc", "xxy", strict=True)])
    homes = (Home("x #2", 1), Home("z", 1, frozenset({WorkerId("b"), WorkerId("left")})))
    assert columns.homes(homes).tolist() == [0, 1, NO_HOME]


def test_columns_ignore_a_speed_that_is_no_positive_number():
    columns = WorkerColumns(
        [
            WorkerView(WorkerId(str(index)), attributes={"speed.flops_per_s": text})
            for index, text in enumerate(["5e9", "fast", "-1", "inf"])
        ]
    )
    assert columns.flops_per_s[0] == 5e9
    assert all(map(isnan, columns.flops_per_s[1:]))
