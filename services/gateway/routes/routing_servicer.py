"""The Routing service: the route table in force, and explanations of how a request would be routed."""

from __future__ import annotations

from math import inf

from onnxmesh.errors import Unavailable
from onnxmesh.routing.explanation import Verdict
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.selectors.preference import parse_preferences
from onnxmesh.routing.selectors.selector_text import all_of
from onnxmesh.routing.table.locality import Locality
from onnxmesh.routing.table.table import EMPTY_TABLE
from onnxmesh.rpc.grpc.interceptor import Context
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.v1 import mesh_pb2
from onnxmesh.v1.mesh_pb2_grpc import RoutingServicer
from services.gateway.routes.route_watch import RouteWatch
from services.gateway.routes.router import Router
from services.gateway.routes.table_freshness import TableFreshness


class GatewayRoutingServicer(RoutingServicer):
    """Answers from this gateway's own state, by the code that routes its requests.

    Args:
        gateway: Id of this gateway.
        watch: The route table.
        router: Explains choices.
        freshness: Whether the table is fresh.
        compressor: Counts bytes sent to workers.
    """

    def __init__(
        self,
        gateway: str,
        watch: RouteWatch,
        router: Router,
        *,
        freshness: TableFreshness,
        compressor: Compressor,
    ) -> None:
        self._gateway = gateway
        self._watch = watch
        self._freshness = freshness
        self._router = router
        self._compressor = compressor

    async def Explain(  # noqa: N802 - the protocol's name
        self, request: mesh_pb2.ExplainRequest, context: Context
    ) -> mesh_pb2.ExplainResponse:
        """Explains how a request would be routed now.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: A selector or the version is malformed (INVALID_ARGUMENT).
            Unavailable: There is no route table yet (UNAVAILABLE).
        """
        table = self._watch.table
        if table is None:
            raise Unavailable(f"model '{request.name}': the gateway has no route table of a scheduler yet")
        model = table.find(request.name, request.version)
        query = RouteQuery(
            require=all_of(request.require),
            prefer=parse_preferences(request.prefer),
            remaining_s=request.remaining_us / 1e6 if request.HasField("remaining_us") else inf,
        )
        locality = Locality(request.from_region, request.from_zone) if request.HasField("from_zone") else None
        return mesh_pb2.ExplainResponse(
            gateway=self._gateway,
            version=model.version,
            stages=[
                mesh_pb2.StageExplanation(
                    stage=found.stage,
                    outcome=found.outcome,
                    replicas=[_verdict(verdict) for verdict in found.verdicts],
                )
                for found in await self._router.explain(model, query, locality, request.session)
            ],
        )

    async def Table(  # noqa: N802 - the protocol's name
        self, request: mesh_pb2.TableRequest, context: Context
    ) -> mesh_pb2.TableResponse:
        """Returns the epoch and size of the table in force, and whether it is fresh."""
        table = self._watch.table or EMPTY_TABLE
        try:
            scheduler = self._watch.scheduler
        except Unavailable:
            scheduler = ""
        return mesh_pb2.TableResponse(
            gateway=self._gateway,
            epoch=table.epoch,
            num_models=len(table.models),
            num_workers=len(table.workers),
            stale=self._freshness.is_stale,
            alone_ms=round(self._freshness.without_scheduler_s * 1e3),
            scheduler=scheduler,
            sent=self._compressor.sent_tensors(),
        )


def _verdict(verdict: Verdict) -> mesh_pb2.ReplicaVerdict:
    return mesh_pb2.ReplicaVerdict(
        worker=verdict.worker,
        rule=verdict.rule,
        why=verdict.why,
        tier=verdict.tier,
        transfer_us=round(verdict.transfer_s * 1e6),
        wait_us=round(verdict.wait_s * 1e6),
        compute_us=round(verdict.compute_s * 1e6),
        caution_us=max(0, round(verdict.caution_s * 1e6)),
        bonus_us=round(verdict.bonus_s * 1e6),
        score_us=round(verdict.score_s * 1e6),
        picked=verdict.is_picked,
        transfer_measured=verdict.is_measured,
    )
