"""Prediction of output shapes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.graph.runtime.output_shapes import MAX_KNOWN_SHAPES, OutputShapes

RUNS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(0, 2)), max_size=30)


@given(RUNS)
def test_prediction_excludes_outputs_that_varied(runs):
    """And always rightly so, as far as runs have shown."""
    shapes = OutputShapes()
    seen = {}
    for form, name, dim in runs:
        shapes.observe(form, {name: (dim,)})
        seen.setdefault((form, name), []).append((dim,))
    varying = {name for (_, name), dims in seen.items() if len(set(dims)) > 1}
    for form in range(4):
        assert shapes.predict(form) == {
            name: dims[0] for (at, name), dims in seen.items() if at == form and name not in varying
        }


def test_prediction_remembers_a_limited_number_of_input_shapes():
    """A client that sends ever new shapes does not make memory grow."""
    shapes = OutputShapes()
    for form in range(10 * MAX_KNOWN_SHAPES):
        shapes.observe(form, {"y": (form,)})
        assert shapes.predict(form) == {"y": (form,)}
    assert sum(bool(shapes.predict(form)) for form in range(10 * MAX_KNOWN_SHAPES)) <= MAX_KNOWN_SHAPES
