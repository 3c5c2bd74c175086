"""What an operator may ask for. Pure."""

from __future__ import annotations

import re

from onnxmesh.errors import InvalidRequest
from onnxmesh.planning.optimisation_level import OptimisationLevel
from onnxmesh.routing.constraints import check_requirement
from onnxmesh.v1.model_pb2 import DeploymentSpec

MAX_STAGES = 64
"""Stages of one model."""

MAX_REPLICAS = 256
"""Replicas of one stage."""

AUTO = "auto"
"""The optimisation level that the scheduler chooses."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LEVELS = (AUTO, *(level.value for level in OptimisationLevel))


def normalised(spec: DeploymentSpec) -> DeploymentSpec:
    """Returns the spec with defaults filled in and requirements sorted, each once.

    Raises:
        InvalidRequest: A field has a value that cannot be (INVALID_ARGUMENT).
    """
    if not _NAME.fullmatch(spec.name):
        raise InvalidRequest(
            "a model's name has up to 128 letters, digits and '._-', a letter or digit first; "
            f"got {spec.name[:140]!r}"
        )
    if spec.stages > MAX_STAGES:
        raise InvalidRequest(f"a model has at most {MAX_STAGES} stages; {spec.stages} were asked for")
    if spec.replicas > MAX_REPLICAS:
        raise InvalidRequest(f"a stage has at most {MAX_REPLICAS} replicas; {spec.replicas} were asked for")
    for requirement in spec.require:
        check_requirement(requirement)
    optimisation = spec.optimisation or AUTO
    if optimisation not in _LEVELS:
        raise InvalidRequest(f"optimisation is one of {', '.join(_LEVELS)}; got {optimisation[:40]!r}")
    return DeploymentSpec(
        name=spec.name,
        version=spec.version,
        stages=spec.stages,
        replicas=spec.replicas or 1,
        require=sorted(set(spec.require)),
        optimisation=optimisation,
    )


def same_wish(left: DeploymentSpec, right: DeploymentSpec) -> bool:
    """Whether two normalised specs ask for the same but for the version."""

    def wish(spec: DeploymentSpec) -> tuple[object, ...]:
        return (spec.name, spec.stages, spec.replicas, tuple(spec.require), spec.optimisation)

    return wish(left) == wish(right)
