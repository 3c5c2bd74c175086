"""What this gateway routes by, and how a request would be routed, told to people."""

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
from services.gateway.routes.scheduler_contact import SchedulerContact


class GatewayRoutingServicer(RoutingServicer):
    """Answers from this gateway's own view, by the code that routes its requests.

    Args:
        gateway: This gateway's id.
        watch: Has the route table.
        contact: Knows whether it is told of changes to it.
        router: Knows the workers.
        compressor: Counts what is sent to them.
    """

    def __init__(
        self,
        gateway: str,
        watch: RouteWatch,
        contact: SchedulerContact,
        router: Router,
        compressor: Compressor,
    ) -> None:
        self._gateway = gateway
        self._watch = watch
        self._contact = contact
        self._router = router
        self._compressor = compressor

    async def Explain(  # noqa: N802 - the protocol's name
        self, request: mesh_pb2.ExplainRequest, context: Context
    ) -> mesh_pb2.ExplainResponse:
        """Explains.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: A selector or the version is none (INVALID_ARGUMENT).
            Unavailable: No route table has come yet (UNAVAILABLE).
        """
        table = self._watch.table
        if table is None:
            raise Unavailable(f"model '{request.name}': the gateway has not heard from a scheduler yet")
        model = table.find(request.name, request.version)
        ask = RouteQuery(
            require=all_of(request.require),
            prefer=parse_preferences(request.prefer),
            remaining_s=request.remaining_us / 1e6 if request.HasField("remaining_us") else inf,
        )
        elsewhere = (
            Locality(request.from_region, request.from_zone) if request.HasField("from_zone") else None
        )
        return mesh_pb2.ExplainResponse(
            gateway=self._gateway,
            version=model.version,
            stages=[
                mesh_pb2.StageExplanation(
                    stage=found.stage,
                    outcome=found.outcome,
                    replicas=[_verdict(verdict) for verdict in found.verdicts],
                )
                for found in await self._router.explain(model, ask, elsewhere, request.session)
            ],
        )

    async def Table(  # noqa: N802 - the protocol's name
        self, request: mesh_pb2.TableRequest, context: Context
    ) -> mesh_pb2.TableResponse:
        """Says which table is in force, and whether a scheduler still tells of changes to it."""
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
            stale=self._contact.is_stale,
            alone_ms=round(self._contact.alone_s * 1e3),
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
