"""Operations on real processes under traffic: none fails a request."""

from __future__ import annotations

import json

import pytest
from tritonclient import grpc as triton

from onnxmesh.errors import NotFound, Unsatisfiable
from tests.chaos.small_mesh import request, small_mesh
from tests.fakes.command_line import run
from tests.fakes.service_processes import call_mesh, deploy, until
from tests.fakes.service_program import ConsulProgram
from tests.zoo import ZOO

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def model(tmp_path):
    return ZOO["mlp"].build(tmp_path)


@pytest.fixture
def other_model(tmp_path):
    """The same model in another file, so that it is another version."""
    (tmp_path / "other").mkdir()
    path = ZOO["mlp"].build(tmp_path / "other")
    path.write_bytes(path.read_bytes() + b"\x5a\x07another")  # an unknown field
    return path


def cli(mesh, *arguments):
    """Runs one command, in this process."""
    done = run(*arguments, f"--mesh={mesh.gateway}")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def answering_versions(mesh, num_requests):
    """Returns the versions that answer requests without a version."""
    with triton.InferenceServerClient(mesh.gateway) as client:
        answers = [client.infer("mlp", request()).get_response() for _ in range(num_requests)]
    return {answer.model_version for answer in answers}


def test_drain_moves_the_only_replica_of_each_stage(model, tmp_path):
    """Another worker is ready before it is evicted; the worker stays empty until the drain is undone."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        with mesh.traffic() as traffic:
            traffic.wait_for(20)
            stuck = cli(mesh, "drain", "worker-1", "--timeout=5")
            assert stuck.exit_code == 1
            assert "worker-1 still holds mlp/1/0, mlp/1/1 (mlp/1/0: there is no other worker)" in stuck.stderr
            assert mesh.holders() == [{"worker-1"}] * 2
            mesh.start_worker("worker-2")
            done = cli(mesh, "drain", "worker-1", "--json")
            assert json.loads(done.stdout) == {"worker": "worker-1", "leaving": True}, done.stderr
            assert mesh.holders() == [{"worker-2"}] * 2
            assert [worker.leaving for worker in mesh.status().workers] == [True, False]
            traffic.wait_for(20)
            assert cli(mesh, "drain", "worker-1", "--undo").exit_code == 0
            assert [worker.leaving for worker in mesh.status().workers] == [False, False]
        assert traffic.failures == []
        unknown = cli(mesh, "drain", "worker-7")
        assert (unknown.exit_code, "its workers are 'worker-1', 'worker-2'" in unknown.stderr) == (2, True)


def test_scale_up_and_down_fails_no_request(model, tmp_path):
    """1 → 2 → 1; more than there are workers is refused, and the stored spec is unchanged."""
    with small_mesh(tmp_path, "worker-1", "worker-2") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=2)
        with mesh.traffic() as traffic:
            traffic.wait_for(20)
            for replicas in (2, 1):
                done = cli(mesh, "scale", "mlp", str(replicas))
                assert done.exit_code == 0, done.stderr
                assert [len(holders) for holders in mesh.holders()] == [replicas] * 2
                traffic.wait_for(20)
        assert traffic.failures == []
        with pytest.raises(Unsatisfiable, match="3 replicas of a stage need as many workers"):
            mesh.call(lambda client: client.scale("mlp", 3))
        assert mesh.status().models[0].spec.replicas == 1
        with pytest.raises(NotFound):
            mesh.call(lambda client: client.scale("mlp", 1, version=4))


def test_rollout_splits_traffic_and_is_undone(model, other_model, tmp_path):
    """A new version starts with its share: none at 0 percent, both versions answer at 50; --back restores the split before."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        deploy(mesh.gateway, model, name="mlp", stages=1)
        with mesh.traffic() as traffic:
            traffic.wait_for(20)
            deploy(mesh.gateway, other_model, name="mlp", stages=1, traffic_percent=0)
            assert answering_versions(mesh, 30) == {"1"}
            done = cli(mesh, "rollout", "mlp", "--to", "2", "--percent", "50", "--json")
            versions = [{"version": 1, "percent": 50}, {"version": 2, "percent": 50}]
            assert json.loads(done.stdout)["versions"] == versions, done.stderr
            until(lambda: answering_versions(mesh, 20) == {"1", "2"})
            assert cli(mesh, "rollout", "mlp", "--to", "2").exit_code == 0
            until(lambda: answering_versions(mesh, 20) == {"2"})
            assert [each.traffic_percent for each in mesh.status().models] == [0, 100]
            assert cli(mesh, "rollout", "mlp", "--back").exit_code == 0
            until(lambda: answering_versions(mesh, 20) == {"1", "2"})
            assert cli(mesh, "rollout", "mlp", "--back").exit_code == 1
        assert traffic.failures == []


def test_rebalance_makes_the_moves_of_its_dry_run(model, tmp_path):
    """The dry run moves nothing; the real one returns once the moves are made."""
    with small_mesh(tmp_path, "worker-1") as mesh:
        for name in ("mlp", "second"):
            deploy(mesh.gateway, model, name=name, stages=2)
        mesh.start_worker("worker-2")
        with mesh.traffic() as traffic:
            traffic.wait_for(20)
            planned = mesh.call(lambda client: client.rebalance(dry_run=True))
            made = mesh.call(lambda client: client.rebalance())
            assert len(planned) >= len(made)
            assert mesh.call(lambda client: client.rebalance(dry_run=True)) == []
            held = [worker for name in ("mlp", "second") for stage in mesh.holders(name) for worker in stage]
            assert sorted(held) == ["worker-1"] * 2 + ["worker-2"] * 2
            traffic.wait_for(20)
        assert traffic.failures == []


@pytest.mark.services
def test_operations_outlive_the_leader(model, other_model, tmp_path):
    """Splits, replicas and drains outlive the scheduler that received them; a follower forwards every call."""
    with (
        ConsulProgram(tmp_path / "consul") as consul,
        small_mesh(tmp_path, "worker-1", "worker-2", consul=consul.address) as mesh,
    ):
        mesh.processes.start("scheduler-2")
        follower = mesh.processes.addresses["scheduler-2"]
        deploy(mesh.gateway, model, name="mlp", stages=1)
        deploy(mesh.gateway, other_model, name="mlp", stages=1, traffic_percent=10)
        with mesh.traffic() as traffic:
            traffic.wait_for(20)
            until(lambda: len(call_mesh(follower, lambda client: client.status()).models) == 2)
            assert call_mesh(follower, lambda client: client.roll_out("mlp", 2, 20)) == {1: 80, 2: 20}
            call_mesh(follower, lambda client: client.scale("mlp", 2, version=2))
            call_mesh(follower, lambda client: client.scale("mlp", 1, version=2))
            call_mesh(follower, lambda client: client.drain("worker-1", timeout=120))
            assert call_mesh(follower, lambda client: client.rebalance(dry_run=True)) == []
            mesh.processes.kill("scheduler-1")
            until(lambda: len(mesh.status().workers) == 2 and mesh.holders("mlp", 2) == [{"worker-2"}])
            found = mesh.status()
            assert [each.traffic_percent for each in found.models] == [80, 20]
            assert [worker.leaving for worker in found.workers] == [True, False]
            assert call_mesh(mesh.gateway, lambda client: client.roll_back("mlp")) == {1: 90, 2: 10}
            traffic.wait_for(20)
        assert traffic.failures == []
