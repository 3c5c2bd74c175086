"""Which workers may run a deployment, in which mode and at which level."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest, Unsatisfiable
from onnxmesh.routing.selectors.selector_text import lacking, parse_selector
from onnxmesh.v1.model_pb2 import (
    DeploymentSpec,
    Plan,
)
from services.scheduler.desired.deployment_spec import normalised
from services.scheduler.workers.eligibility import eligible_again, eligible_workers, narrowed
from tests.unit.scheduler.decision_tables import worker


@pytest.mark.parametrize(
    ("require", "missing"),
    [
        ([], ()),
        (["gpu"], ()),
        (["zone=x", "cores=4"], ()),
        (["edge", "gpu", "zone=y", "cores=8"], ("edge", "zone=y", "cores=8")),
        (["cores", "!gpu", "cores >= 4", "zone notin (x, y)"], ("!gpu", "zone notin (x, y)")),
    ],
)
def test_lacking_names_the_requirements_that_a_worker_does_not_meet(require, missing):
    assert lacking(require, ("gpu", "zone=x"), {"cores": "4"}) == missing


@pytest.mark.parametrize("requirement", ["", "a b", "=x", "a=b c", " a", "x" * 300, "a\n"])
def test_lacking_refuses_a_requirement_of_another_form(requirement):
    with pytest.raises(InvalidRequest):
        parse_selector(requirement)


X86 = {"cpu_class": "x86", "device": "cpu"}


ARM = {"cpu_class": "arm", "device": "cpu"}


GPU = {"cpu_class": "x86", "device": "cuda"}


LEVELS = {
    "one class of CPU": ("auto", "auto", [X86, X86], ("exact", "all", "x86", 2)),
    "two classes": ("auto", "auto", [X86, ARM], ("exact", "extended", "", 2)),
    "a GPU among them": ("auto", "auto", [X86, GPU], ("portable", "none", "", 2)),
    "GPUs alone": ("auto", "auto", [GPU, GPU], ("portable", "none", "", 2)),
    "a GPU among them, and exact results requested": ("exact", "auto", [X86, GPU], ("exact", "basic", "", 2)),
    "a class that is not stated": ("auto", "auto", [X86, {}], ("exact", "extended", "", 2)),
    "a level that was requested": ("auto", "none", [X86, GPU], ("exact", "none", "", 2)),
    "all, requested over two classes": ("auto", "all", [ARM, X86, X86, GPU], ("exact", "all", "x86", 2)),
    "portable, requested on one class": ("portable", "auto", [X86, X86], ("portable", "none", "", 2)),
}


@pytest.mark.parametrize(("mode", "level", "facts", "expected"), LEVELS.values(), ids=LEVELS.keys())
def test_eligible_workers_all_suit_the_mode_and_level(mode, level, facts, expected):
    """A replan keeps them, and the class of CPU that they are tied to."""
    workers = [worker(f"w{i}", **each) for i, each in enumerate(facts)]
    spec = normalised(DeploymentSpec(name="m", mode=mode, optimisation=level))
    found = eligible_workers(spec, workers)
    assert (found.mode, found.optimisation, found.cpu_class, len(found.workers)) == expected
    plan = Plan(mode=found.mode, optimisation=found.optimisation, cpu_class=found.cpu_class)
    assert eligible_again(spec, plan, [*workers, worker("z", cpu_class="riscv")]).workers == (
        found.workers if found.cpu_class else (*found.workers, worker("z", cpu_class="riscv"))
    )


def test_eligible_again_refuses_a_plan_tied_to_a_class_that_left_the_mesh():
    """The message names the class."""
    spec = normalised(DeploymentSpec(name="m"))
    with pytest.raises(Unsatisfiable, match="no worker is of the CPU class 'x86'"):
        eligible_again(spec, Plan(optimisation="all", cpu_class="x86"), [worker("a", **ARM)])


def test_eligible_workers_refuse_level_all_without_a_cpu_class():
    spec = normalised(DeploymentSpec(name="m", optimisation="all"))
    with pytest.raises(Unsatisfiable, match=r"none of a, b is a CPU worker with a 'cpu\.class'"):
        eligible_workers(spec, [worker("a", **GPU), worker("b")])


def test_narrowed_keeps_the_workers_that_meet_what_the_model_requires():
    """Mode and level stay; without any worker the reason has what a worker lacks."""
    spec = normalised(DeploymentSpec(name="m"))
    found = eligible_workers(spec, [worker("a", **X86), worker("b", "locale.en", **X86)])
    assert narrowed(spec, found, []) == found
    kept = narrowed(spec, found, ["locale.en"])
    assert ([each.id for each in kept.workers], kept.optimisation) == (["b"], found.optimisation)
    with pytest.raises(
        Unsatisfiable, match=r"no worker satisfies 'locale\.fr', which the model requires: no fr"
    ):
        narrowed(spec, found, ["locale.fr"], "no fr")


def test_eligible_again_honours_what_the_model_requires():
    """A new plan of a model is made for workers that can run it."""
    spec = normalised(DeploymentSpec(name="m"))
    plan = Plan(optimisation="extended", require=["locale.en"])
    workers = [worker("a", **X86), worker("b", "locale.en", **X86)]
    assert [each.id for each in eligible_again(spec, plan, workers).workers] == ["b"]
    with pytest.raises(Unsatisfiable, match=r"no worker satisfies locale\.en"):
        eligible_again(spec, plan, workers[:1])
