"""A deployment rolls over to its next plan, or keeps the one in force."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace

import pytest

from onnxmesh.errors import DeadlineExceeded
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Plan
from services.scheduler.planning.plan_rollover import PlanRollover

KEY = ("m", 1)


class Catalogue:
    """One deployment; keeps what happened to it."""

    def __init__(self):
        self.deployment = Deployment(DeploymentSpec(name="m", version=1), Plan(), Artefact())
        self.standby = {}
        self.events = []

    def add_standby(self, deployment):
        self.standby[KEY] = deployment
        self.events.append("add")
        return True

    async def swap(self, deployment):
        self.events.append("swap")
        return True

    def remove_standby(self, key):
        del self.standby[key]
        self.events.append("remove")


class Preparation:
    async def replan(self, deployment, *rest):
        return replace(deployment, plan=Plan(revision=1))


class Reconciler:
    """Reaches goals, or never does."""

    def __init__(self, catalogue, *, reaches=True):
        self.catalogue = catalogue
        self.reaches = reaches
        self.refusal = None

    def reconcile(self):
        self.catalogue.events.append("reconcile")

    async def until(self, goal):
        if not self.reaches:
            await asyncio.Event().wait()


class Retention:
    @contextmanager
    def scope(self):
        yield None


def rollover(catalogue, *, reaches=True):
    return PlanRollover(
        catalogue,
        Preparation(),
        Reconciler(catalogue, reaches=reaches),
        retention=Retention(),
        linger_s=0.0,
        timeout_s=600.0 if reaches else 0.0,
    )


async def test_rollover_swaps_plans_once_the_new_one_is_loaded():
    catalogue = Catalogue()
    await rollover(catalogue).roll_over(catalogue.deployment, None, None, None)
    assert catalogue.events == ["add", "reconcile", "swap", "reconcile", "remove", "reconcile"]


async def test_rollover_that_times_out_removes_the_new_plan():
    catalogue = Catalogue()
    with pytest.raises(DeadlineExceeded, match="not loaded within 0 s"):
        await rollover(catalogue, reaches=False).roll_over(catalogue.deployment, None, None, None)
    assert catalogue.events == ["add", "reconcile", "remove"]
