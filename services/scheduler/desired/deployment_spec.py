"""What an operator may ask for. Pure."""

from __future__ import annotations

import re

from onnxmesh.errors import InvalidRequest
from onnxmesh.model.batching import BatchMode
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.routing.selectors.selector_text import parse_selector
from onnxmesh.v1.model_pb2 import Batching, DeploymentSpec, Shape, Shapes

MAX_STAGES = 64
"""Stages of one model."""

MAX_REPLICAS = 256
"""Replicas of one stage."""

MAX_DIMENSIONS = 64
"""Dimensions of an input."""

MAX_BATCH_ROWS = 4096
"""Rows of one run."""

MAX_BATCH_DELAY_US = 10_000_000
"""Longest that requests may be made to wait for others."""

AUTO = "auto"
"""The optimisation level, or the mode, that the scheduler chooses."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LEVELS = (AUTO, *(level.value for level in OptimisationLevel))
_MODES = (AUTO, *(mode.value for mode in CutMode))
_BATCHING = tuple(mode.value for mode in BatchMode)
_OBJECTIVES = tuple(objective.value for objective in Objective)


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
    check_replicas(spec.replicas)
    for requirement in spec.require:
        parse_selector(requirement)
    optimisation = _one_of("optimisation", spec.optimisation or AUTO, _LEVELS)
    mode = _one_of("mode", spec.mode or AUTO, _MODES)
    if mode == CutMode.PORTABLE and optimisation != AUTO:
        raise InvalidRequest(
            f"optimisation '{optimisation}' is for mode '{CutMode.EXACT}': in mode '{mode}' every partition is "
            "optimised where it is loaded"
        )
    return DeploymentSpec(
        traffic_percent=spec.traffic_percent if spec.HasField("traffic_percent") else None,
        name=spec.name,
        version=spec.version,
        stages=spec.stages,
        replicas=spec.replicas or 1,
        require=sorted(set(spec.require)),
        optimisation=optimisation,
        mode=mode,
        objective=_one_of("objective", spec.objective or Objective.THROUGHPUT.value, _OBJECTIVES),
        replicate=spec.replicate,
        shapes=_shapes(spec),
        batching=_batching(spec.batching),
        max_activation_error=_max_activation_error(spec),
    )


def check_replicas(replicas: int) -> None:
    """Checks how many replicas of a stage are asked for.

    Raises:
        InvalidRequest: They are too many (INVALID_ARGUMENT).
    """
    if replicas > MAX_REPLICAS:
        raise InvalidRequest(f"a stage has at most {MAX_REPLICAS} replicas; {replicas} were asked for")


def same_spec(left: DeploymentSpec, right: DeploymentSpec) -> bool:
    """Whether two specs ask for the same but for version and traffic; what an older release wrote counts as default."""

    def wish(spec: DeploymentSpec) -> tuple[object, ...]:
        asked = normalised(spec)
        shapes = shapes_of(asked)
        return (
            asked.name,
            asked.stages,
            asked.replicas,
            tuple(asked.require),
            asked.optimisation,
            asked.mode,
            asked.objective,
            asked.replicate,
            shapes.batch,
            dict(shapes.inputs),
            asked.batching.mode,
            asked.batching.max_rows,
            asked.batching.max_delay_us if asked.batching.HasField("max_delay_us") else None,
            _max_activation_error(asked),
        )

    return wish(left) == wish(right)


def shapes_of(spec: DeploymentSpec) -> InputShapes:
    """Returns the shapes to plan with."""
    inputs = {name: tuple(shape.dims) for name, shape in spec.shapes.inputs.items()}
    return InputShapes(spec.shapes.batch or 1, inputs)


def demand_of(spec: DeploymentSpec) -> Demand:
    """Returns what a normalised spec asks of a plan."""
    return Demand(
        objective=Objective(spec.objective or Objective.THROUGHPUT.value),
        num_stages=spec.stages or None,
        replicas=None if spec.replicate else spec.replicas,
        share=True,
    )


def _shapes(spec: DeploymentSpec) -> Shapes:
    for name, shape in spec.shapes.inputs.items():
        if not name:
            raise InvalidRequest("a shape is for an input by name; one has none")
        if len(shape.dims) > MAX_DIMENSIONS or any(dim < 0 for dim in shape.dims):
            raise InvalidRequest(
                f"shape for '{name[:80]}': expected up to {MAX_DIMENSIONS} sizes of 0 or more, "
                f"got {list(shape.dims)[:MAX_DIMENSIONS]}"
            )
    inputs = {name: Shape(dims=shape.dims) for name, shape in spec.shapes.inputs.items()}
    return Shapes(batch=spec.shapes.batch or 1, inputs=inputs)


def _batching(asked: Batching) -> Batching:
    if asked.max_rows > MAX_BATCH_ROWS:
        raise InvalidRequest(f"a batch has at most {MAX_BATCH_ROWS} rows; {asked.max_rows} were asked for")
    if asked.max_delay_us > MAX_BATCH_DELAY_US:
        raise InvalidRequest(
            f"requests wait for others {MAX_BATCH_DELAY_US} us at the most; {asked.max_delay_us} were asked for"
        )
    return Batching(
        mode=_one_of("batching", asked.mode or BatchMode.AUTO.value, _BATCHING),
        max_rows=asked.max_rows,
        max_delay_us=asked.max_delay_us if asked.HasField("max_delay_us") else None,
    )


def _max_activation_error(spec: DeploymentSpec) -> float | None:
    if not spec.HasField("max_activation_error"):
        return None
    if not 0 < spec.max_activation_error <= 1:
        raise InvalidRequest(
            "an error of activations is a share of the output's largest magnitude, above 0 and up to 1; "
            f"{spec.max_activation_error:g} was allowed"
        )
    return spec.max_activation_error


def _one_of(field: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidRequest(f"{field} is one of {', '.join(known)}; got {value[:40]!r}")
    return value
