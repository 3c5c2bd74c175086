"""Hypothesis strategies of route tables."""

from __future__ import annotations

from hypothesis import strategies as st

from onnxmesh.v1 import mesh_pb2
from tests.fakes.routed_models import routed_model

WORKERS = "abcde"

_generations = st.dictionaries(st.sampled_from(WORKERS), st.integers(1, 2))
_stages = st.lists(st.lists(st.sampled_from(WORKERS), max_size=3, unique=True), min_size=1, max_size=2)
_models = st.dictionaries(st.tuples(st.sampled_from("mno"), st.integers(1, 2)), _stages, max_size=4)
_tags = st.dictionaries(st.sampled_from(WORKERS), st.lists(st.sampled_from(["edge", "spot"]), unique=True))


@st.composite
def contents(draw):
    """Models and workers of a table. A worker is reached at one address; not all that are named are listed, nor the reverse."""
    generations = draw(_generations)

    def model(name, version, stages):
        made = routed_model(
            [[(worker, f"{worker}:{generations.get(worker, 1)}") for worker in stage] for stage in stages],
            name=name,
            version=version,
        )
        for stage in made.stages:
            for replica in stage.replicas:
                replica.generation = generations.get(replica.worker, 1)
        return made

    models = [model(name, version, stages) for (name, version), stages in draw(_models).items()]
    workers = [mesh_pb2.RoutedWorker(worker=id_, tags=tags) for id_, tags in draw(_tags).items()]
    return models, workers


@st.composite
def tables(draw, max_size=6):
    """Tables that follow each other."""
    drawn = draw(st.lists(contents(), min_size=2, max_size=max_size))
    return [
        mesh_pb2.RouteTable(epoch=epoch, models=models, workers=workers)
        for epoch, (models, workers) in enumerate(drawn, 1)
    ]
