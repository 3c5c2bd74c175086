"""Commands as a person types them, where no mesh is needed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from onnxmesh.cli.app import app
from onnxmesh.cli.local_mesh.embedded_mesh import MeshShape
from onnxmesh.cli.local_mesh.up import zones_in
from onnxmesh.cli.mesh.deployments import sentence_of
from onnxmesh.cli.mesh.explain import stage_table
from onnxmesh.cli.mesh.status import ejected, gateway_sentence, plan_sentence
from onnxmesh.cli.mesh.status_document import model_document, status_document
from onnxmesh.client import RouteOptions, RouteTrace
from onnxmesh.client.inference import infer_request
from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.v1.mesh_pb2 import (
    Ejection,
    ModelStatus,
    ReplicaVerdict,
    StageExplanation,
    StatusResponse,
    TableResponse,
    WorkerStatus,
)
from onnxmesh.v1.model_pb2 import (
    ActivationError,
    ActivationErrors,
    DeploymentSpec,
    Partition,
    Plan,
    PlannedDevices,
    StageBatching,
)
from tests.fakes.fake_scheduler import FakeScheduler
from tests.zoo import ZOO, zoo_model
from tests.zoo.zoo_model import node

COMMANDS = ["up", "deploy", "undeploy", "status", "scale", "rollout", "drain", "rebalance"]
COMMANDS += ["infer", "plan", "profile", "split", "verify"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_examples(command):
    """Every command's help shows how it is typed."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"onnxmesh {command}" in result.stdout
    assert "Examples" in result.stdout


def test_help_of_the_whole_names_every_command():
    """`onnxmesh` alone says what there is."""
    result = run("--help")
    assert all(command in result.stdout for command in COMMANDS)
    assert "Exit codes" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["deploy", "none.onnx"], "no model at 'none.onnx'"),
        (
            ["deploy", "none.onnx", "--stages", "many"],
            "--stages: expected a positive number or 'auto', got 'many'",
        ),
        (["split", "none.onnx", "--out", "x"], "no model at 'none.onnx'"),
        (["verify", "nowhere", "none.onnx"], "no model at 'none.onnx'"),
        (["rollout", "m"], "either --to VERSION, with --percent or without, or --back"),
        (["rollout", "m", "--to", "2", "--back"], "either --to VERSION"),
        (["rollout", "m", "--back", "--percent", "5"], "either --to VERSION"),
        (["up", "--models", "nowhere"], "there is no folder 'nowhere'"),
        (["up", "--address", "8001"], "expected HOST:PORT, got '8001'"),
        (["status", "--mesh", "nonsense"], "--mesh: expected HOST:PORT, got 'nonsense'"),
        (["up", "--zones", "a,,b"], "--zones: expected names with commas between, got 'a,,b'"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, words):
    """No traceback, nothing on standard output."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_mesh_that_is_not_there_is_exit_code_1():
    """The line says what to do about it."""
    result = run("status", "--mesh", "127.0.0.1:9")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: no mesh answers at 127.0.0.1:9; start one with `onnxmesh up`, or name one with --mesh\n"
    )


@pytest.mark.parametrize("stages", [1, 3])
def test_split_and_verify(tmp_path, stages):
    """What split wrote, verify finds equal bit for bit, in words and as JSON."""
    model = ZOO["branching_cnn"].build(tmp_path)
    done = run("split", model, "--stages", stages, "--out", tmp_path / "cut", "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["partitions"]) == stages
    assert "equal bit for bit" in run("verify", tmp_path / "cut", model).stdout
    report = json.loads(run("verify", tmp_path / "cut", model, "--json").stdout)
    assert report["equal"]
    assert report["num_stages"] == stages


def test_a_portable_split_is_measured_and_verified_within_its_bound(tmp_path):
    """The table and plan.json say how far it is from the whole; verify accepts that much, and no less if told so."""
    model = ZOO["encoder"].build(tmp_path)
    done = run("split", model, "--stages", 2, "--mode", "portable", "--out", tmp_path / "cut")
    assert done.exit_code == 0, done.stderr
    assert "portable, within" in done.stdout
    plan = json.loads((tmp_path / "cut" / "plan.json").read_text())
    assert 0 < plan["largest_difference"] < plan["accepted_difference"] == 1e-4
    verified = run("verify", tmp_path / "cut", model, "--inputs", 1)
    assert (verified.exit_code, "within the bound of 0.0001" in verified.stdout) == (0, True)
    strict = run("verify", tmp_path / "cut", model, "--inputs", 1, "--tolerance", 0)
    assert (strict.exit_code, "beyond the bound of 0" in strict.stdout) == (1, True)


@pytest.mark.parametrize("mode", ["exact", "portable"])
def test_split_names_what_is_wrong_with_a_graph(tmp_path, mode):
    """A cycle, an operator that nobody has: exit code 2, one line that names a node, no output left."""
    cycle = [node("Add", ["x", "b"], ["a"], name="first"), node("Neg", ["a"], ["b"], name="second")]
    unknown = [node("Tanh", ["x"], ["a"]), node("Odd", ["a"], ["b"], domain="com.example", name="odd_one")]
    opsets = {"": 20, "com.example": 1}
    for nodes, words in [(cycle, "node 'second' (Neg)"), (unknown, "node 'odd_one' (com.example.Odd)")]:
        made = zoo_model.model(nodes, [zoo_model.floats("x", 1)], [zoo_model.floats("b", 1)], opsets=opsets)
        (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
        result = run("split", tmp_path / "m.onnx", "--stages", 2, "--out", tmp_path / "cut", "--mode", mode)
        assert (result.exit_code, words in result.stderr) == (2, True), result.stderr
        assert result.stderr.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_verify_says_when_a_partition_was_tampered_with(tmp_path):
    """One changed byte, a missing file, another model: each ends with exit code 1 and its own words."""
    model = ZOO["mlp"].build(tmp_path)
    other = ZOO["tied_weights"].build(tmp_path)
    cut = tmp_path / "cut"
    assert run("split", model, "--stages", 2, "--out", cut).exit_code == 0
    other_model = run("verify", cut, other)
    assert (other_model.exit_code, "is not the model that was split" in other_model.stderr) == (1, True)
    partition = cut / "stage-1" / "model.onnx"
    content = bytearray(partition.read_bytes())
    content[len(content) // 2] ^= 1
    partition.write_bytes(content)
    changed = run("verify", cut, model)
    assert (changed.exit_code, "stage 1: 'model.onnx' has digest" in changed.stderr) == (1, True)
    partition.unlink()
    missing = run("verify", cut, model)
    assert (missing.exit_code, "is missing" in missing.stderr) == (1, True)


def test_split_refuses_what_cannot_be_cut(tmp_path):
    """A file that is not ONNX, more stages than nodes, a folder with something in it: exit code 2 each."""
    model = ZOO["mlp"].build(tmp_path)
    (tmp_path / "text.onnx").write_text("hello, this is no model")
    for arguments, words in [
        (["text.onnx", "--out", "new"], "not an ONNX model"),
        (["text.onnx", "--stages", "0", "--out", "new"], "expected a positive number"),
        ([model, "--stages", "500", "--out", "new"], "at most"),
        ([model, "--out", "."], "not an empty folder"),
    ]:
        resolved = [tmp_path / word if word in {"text.onnx", "new", "."} else word for word in arguments]
        result = run("split", *resolved)
        assert (result.exit_code, words in result.stderr) == (2, True), result.stderr


def test_the_base_install_names_the_extra(tmp_path):
    """Without the onnx packages, split says what to install; nothing else of the command line needs them."""
    for name in ("onnx", "onnx_ir", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('none', name='{name}')")
    (tmp_path / "m.onnx").write_bytes(b"x")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "onnxmesh.cli"]
    split = [*command, "split", str(tmp_path / "m.onnx"), "--out", str(tmp_path / "cut")]
    done = subprocess.run(split, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: this command needs the `worker` extra: pip install 'onnxmesh[worker]'\n"
    status = [*command, "status", "--mesh", "127.0.0.1:9"]
    done = subprocess.run(status, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "no mesh answers" in done.stderr


def test_a_trace_is_read_or_refused():
    """What the gateway promises is read; anything else is corrupt data."""
    text = (
        '{"total_us": 5, "attempts": 1, "return_us": 1.5,'
        ' "hops": [{"stage": "m/1/0", "worker": "w", "queue_us": 1, "compute_us": 2, "wire_us": 3}]}'
    )
    trace = RouteTrace.from_json(text)
    assert (trace.total_us, trace.hops[0].compute_us, trace.return_us) == (5.0, 2.0, 1.5)
    for broken in ["", "[]", "{}", text.replace('"worker"', '"other"'), "null"]:
        with pytest.raises(CorruptData):
            RouteTrace.from_json(broken)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replicas", "none"], "--replicas: expected a positive number or 'auto', got 'none'"),
        (["--replicas", "0"], "--replicas: expected a positive number or 'auto', got '0'"),
        (["--shape", "x=1,3"], "--shape: expected NAME=1x3x224x224, got 'x=1,3'"),
        (["--batch", "0"], "--batch: expected a positive number, got 0"),
        (["--max-batch", "0"], "--max-batch: expected a positive number or 'auto', got '0'"),
    ],
)
def test_what_a_plan_cannot_be_made_for_is_bad_input(arguments, words):
    """Told before anything is sent."""
    result = run("deploy", "none.onnx", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_status_says_what_the_gateway_routes_by():
    """And for how long nobody has told it of changes; of a scheduler that was asked itself there is nothing to say."""
    table = TableResponse(gateway="g", epoch=7, num_models=2, num_workers=3, scheduler="h:1")
    assert gateway_sentence(table) == (
        "gateway g routes by table 7, 2 model version(s) on 3 worker(s), as scheduler h:1 says"
    )
    document = status_document(StatusResponse(epoch=7), table)
    assert document["gateway"] == {
        "id": "g",
        "epoch": 7,
        "num_models": 2,
        "num_workers": 3,
        "stale": False,
        "alone_s": 0.0,
        "scheduler": "h:1",
        "sent": [],
    }
    table.stale, table.alone_ms = True, 12_340
    assert gateway_sentence(table).endswith(": no scheduler h:1 since 12.3 s")
    new = TableResponse(gateway="g", stale=True, alone_ms=500)
    assert gateway_sentence(new) == "gateway g routes by no table yet: no scheduler since 0.5 s"
    assert status_document(StatusResponse())["gateway"] is None


async def test_status_of_a_scheduler_that_is_asked_itself():
    """What no gateway answers is left out."""
    async with FakeScheduler().running() as scheduler:
        done = await asyncio.to_thread(run, "status", "--mesh", scheduler.address)
    assert done.exit_code == 0
    assert "routes by" not in done.stdout


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([StageBatching(max_rows=8)] * 2, "up to 8 rows run together, with the bits of single runs"),
        (
            [
                StageBatching(max_rows=8, largest_difference=2e-7),
                StageBatching(max_rows=1, largest_difference=1, why_not="so"),
            ],
            "up to 8 rows run together, but for stage 1, within 2e-07 of single runs",
        ),
        ([StageBatching(max_rows=1, why_not="it is off")] * 2, "requests run alone, for it is off"),
        ([StageBatching()], "requests run alone"),
    ],
)
def test_status_says_what_runs_together(found, words):
    """And how far it is from running alone, or why nothing does."""
    partitions = [Partition(index=index, batching=each) for index, each in enumerate(found)]
    assert words in plan_sentence(ModelStatus(name="m", version=1, plan=Plan(partitions=partitions)))


@pytest.mark.parametrize(
    ("allowed", "found", "words"),
    [
        (
            ["fp16"],
            {"fp16": 1e-4, "int8": 0.03},
            "activations may travel as fp16 over slow links, for an error of 0.01 (fp16 errs by 0.0001, int8 errs by 0.03)",
        ),
        (
            [],
            {"fp16": 0.02, "int8": 0.03},
            "activations keep every bit: nothing meets an error of 0.01 (fp16 errs by 0.02, int8 errs by 0.03)",
        ),
        ([], {}, "activations keep every bit: the model is one stage"),
    ],
)
def test_what_activations_may_lose_is_said(allowed, found, words):
    """At the deploy and in the status, with what was measured; nothing where nobody asked."""
    errors = ActivationErrors(
        measured=[ActivationError(encoding=each, largest_error=error) for each, error in found.items()],
        why_not="" if found else "the model is one stage",
    )
    plan = Plan(partitions=[Partition(lossy_encodings=allowed)], activation_errors=errors)
    model = ModelStatus(name="m", version=1, plan=plan, spec=DeploymentSpec(max_activation_error=0.01))
    assert words in plan_sentence(model)
    assert sentence_of(model).endswith(f"; {words}")
    document = model_document(model)
    assert (document["max_activation_error"], document["activation_errors"]) == (0.01, found)
    assert document["stages"][0]["lossy_encodings"] == allowed
    silent = ModelStatus(name="m", version=1, plan=Plan(partitions=[Partition()]))
    assert "activations" not in plan_sentence(silent) + sentence_of(silent)
    assert model_document(silent)["max_activation_error"] is None


def test_status_says_how_a_model_is_cut_and_why():
    """Mode, difference, what is predicted, and how often it was planned."""
    plan = Plan(
        mode="portable",
        largest_difference=2e-6,
        predicted_period_s=0.01,
        predicted_latency_s=0.03,
        revision=2,
        why="3 stages as asked.",
        partitions=[Partition(devices=[PlannedDevices(kind="cpu-x", count=2)])],
    )
    model = ModelStatus(name="m", version=4, plan=plan, spec=DeploymentSpec(objective="latency"))
    assert plan_sentence(model) == (
        "m version 4: mode portable, its largest difference from the whole model is 2e-06; "
        "100 answers a second predicted, 30 ms each; requests run alone; planned anew 2 times; 3 stages as asked"
    )
    document = model_document(model)
    assert (document["mode"], document["largest_difference"], document["objective"]) == (
        "portable",
        2e-6,
        "latency",
    )
    assert document["stages"][0]["devices"] == [{"kind": "cpu-x", "count": 2}]
    plan.largest_difference = -1
    assert "was not measured" in plan_sentence(ModelStatus(plan=plan))
    assert model_document(ModelStatus(plan=plan))["largest_difference"] is None
    exact = ModelStatus(name="m", version=1, plan=Plan(optimisation="all"))
    assert plan_sentence(exact) == "m version 1: mode exact, optimisation all; requests run alone"


def test_wishes_become_parameters_of_the_request():
    """All requirements as one selector, preferences with their weights; what is not wished is not there."""
    wishes = RouteOptions(("gpu", "zone in (eu, us)"), ("zone=eu:50", "fast"), "anna")
    request = infer_request("m", {}, wishes=wishes)
    assert {name: each.string_param for name, each in request.parameters.items()} == {
        "mesh.require": "gpu, zone in (eu, us)",
        "mesh.prefer": "zone=eu:50; fast:1",
        "mesh.session": "anna",
    }
    assert not infer_request("m", {}).parameters
    with pytest.raises(InvalidRequest, match="expected a weight from 1 to 100, got 101"):
        infer_request("m", {}, wishes=RouteOptions(prefer=("gpu:101",)))


def test_a_guessed_transfer_is_marked():
    """Only what was measured stands there as such."""
    stage = StageExplanation(
        stage="m/1/0",
        replicas=[
            ReplicaVerdict(worker="a", transfer_us=1500, transfer_measured=True),
            ReplicaVerdict(worker="b", transfer_us=250),
        ],
    )
    shown = list(stage_table(stage).columns[2].cells)
    assert shown == ["1.50", "~0.25"]


def test_status_says_who_ejected_what():
    """In the table and in the document."""
    worker = WorkerStatus(id="w", ejections=[Ejection(stage="m/1/0", gateway="g", remaining_ms=1500)])
    assert ejected(worker) == ["m/1/0 ejected by g for 1.5 s more"]
    (document,) = status_document(StatusResponse(workers=[worker]))["workers"]
    assert document["ejections"] == [{"stage": "m/1/0", "gateway": "g", "remaining_ms": 1500}]
    assert document["observed_load"] is None


def test_workers_take_zones_in_turn():
    """The gateway is in the first; without zones nobody is told any."""
    shape = MeshShape(3, 1, "127.0.0.1:0", zones_in("near, far"))
    assert [shape.zone(number)[-1] for number in range(3)] == ["near", "far", "near"]
    assert MeshShape(3, 1, "127.0.0.1:0").zone(0) == []
