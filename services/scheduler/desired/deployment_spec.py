"""Validation and defaults of deployment specs. Pure."""

from __future__ import annotations

from onnxmesh.errors import InvalidRequest
from onnxmesh.model.batching import BatchMode
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.model_name import NAME_RULE, is_model_name
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.routing.selectors.selector_text import parse_selector
from onnxmesh.v1.model_pb2 import Batching, DeploymentSpec, Shape, Shapes

MAX_STAGES = 64
"""Most stages of one model."""

MAX_REPLICAS = 256
"""Most replicas of one stage."""

MAX_DIMENSIONS = 64
"""Most dimensions of an input."""

MAX_BATCH_ROWS = 4096
"""Most rows of one run."""

MAX_BATCH_DELAY_US = 10_000_000
"""Longest that a request may wait for others of its batch."""

AUTO = "auto"
"""The optimisation level, or the mode, that leaves the choice to the scheduler."""

_LEVELS = (AUTO, *(level.value for level in OptimisationLevel))
_MODES = (AUTO, *(mode.value for mode in CutMode))
_BATCHING = tuple(mode.value for mode in BatchMode)
_OBJECTIVES = tuple(objective.value for objective in Objective)


def normalised(spec: DeploymentSpec) -> DeploymentSpec:
    """Returns the spec with defaults filled in and requirements sorted, each once.

    Raises:
        InvalidRequest: A field has an invalid value (INVALID_ARGUMENT).
    """
    if not is_model_name(spec.name):
        raise InvalidRequest(f"{NAME_RULE}; got {spec.name[:140]!r}")
    if spec.stages > MAX_STAGES:
        raise InvalidRequest(f"a model has at most {MAX_STAGES} stages, got {spec.stages}")
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
    """Checks a number of replicas of a stage.

    Raises:
        InvalidRequest: It is too large (INVALID_ARGUMENT).
    """
    if replicas > MAX_REPLICAS:
        raise InvalidRequest(f"a stage has at most {MAX_REPLICAS} replicas, got {replicas}")


def same_spec(left: DeploymentSpec, right: DeploymentSpec) -> bool:
    """Whether two specs are equal but for version and traffic; fields that an older release left out count as default."""

    def compared(spec: DeploymentSpec) -> tuple[object, ...]:
        spec = normalised(spec)
        shapes = shapes_of(spec)
        return (
            spec.name,
            spec.stages,
            spec.replicas,
            tuple(spec.require),
            spec.optimisation,
            spec.mode,
            spec.objective,
            spec.replicate,
            shapes.batch,
            dict(shapes.inputs),
            spec.batching.mode,
            spec.batching.max_rows,
            spec.batching.max_delay_us if spec.batching.HasField("max_delay_us") else None,
            _max_activation_error(spec),
        )

    return compared(left) == compared(right)


def shapes_of(spec: DeploymentSpec) -> InputShapes:
    """Returns the shapes to plan with."""
    inputs = {name: tuple(shape.dims) for name, shape in spec.shapes.inputs.items()}
    return InputShapes(spec.shapes.batch or 1, inputs)


def demand_of(spec: DeploymentSpec) -> Demand:
    """Returns what a normalised spec demands of a plan."""
    return Demand(
        objective=Objective(spec.objective or Objective.THROUGHPUT.value),
        num_stages=spec.stages or None,
        replicas=None if spec.replicate else spec.replicas,
        share=True,
        batches=spec.batching.mode != BatchMode.OFF and spec.batching.max_rows != 1,
    )


def _shapes(spec: DeploymentSpec) -> Shapes:
    for name, shape in spec.shapes.inputs.items():
        if not name:
            raise InvalidRequest("a shape names its input; one has no name")
        if len(shape.dims) > MAX_DIMENSIONS or any(dim < 0 for dim in shape.dims):
            raise InvalidRequest(
                f"shape for '{name[:80]}': expected up to {MAX_DIMENSIONS} sizes of 0 or more, "
                f"got {list(shape.dims)[:MAX_DIMENSIONS]}"
            )
    inputs = {name: Shape(dims=shape.dims) for name, shape in spec.shapes.inputs.items()}
    return Shapes(batch=spec.shapes.batch or 1, inputs=inputs)


def _batching(spec: Batching) -> Batching:
    if spec.max_rows > MAX_BATCH_ROWS:
        raise InvalidRequest(f"a batch has at most {MAX_BATCH_ROWS} rows, got {spec.max_rows}")
    if spec.max_delay_us > MAX_BATCH_DELAY_US:
        raise InvalidRequest(
            f"a request waits at most {MAX_BATCH_DELAY_US} us for others, got {spec.max_delay_us}"
        )
    return Batching(
        mode=_one_of("batching", spec.mode or BatchMode.AUTO.value, _BATCHING),
        max_rows=spec.max_rows,
        max_delay_us=spec.max_delay_us if spec.HasField("max_delay_us") else None,
    )


def _max_activation_error(spec: DeploymentSpec) -> float | None:
    if not spec.HasField("max_activation_error"):
        return None
    if not 0 < spec.max_activation_error <= 1:
        raise InvalidRequest(
            "the activation error is a fraction of the output's largest magnitude, above 0 and up to 1; "
            f"got {spec.max_activation_error:g}"
        )
    return spec.max_activation_error


def _one_of(field: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidRequest(f"{field} is one of {', '.join(known)}; got {value[:40]!r}")
    return value
