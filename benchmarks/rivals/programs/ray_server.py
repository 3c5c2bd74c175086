"""Ray Serve with its gRPC proxy: GRPC_PORT HTTP_PORT MODEL.onnx [SECOND_HALF.onnx]; two models are two deployments in a row.

`open_inference_pb2` must be on the path.
"""

import os
import sys

import grpc
import numpy as np
import onnxruntime as ort
import ray
from open_inference_pb2 import ModelInferRequest, ModelInferResponse
from ray import serve


def add_inference_servicer(servicer, server):
    """What grpcio-tools would generate for the one method that is measured."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.ModelInfer,
        request_deserializer=ModelInferRequest.FromString,
        response_serializer=ModelInferResponse.SerializeToString,
    )
    methods = {"ModelInfer": handler}
    service = "inference.GRPCInferenceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    if hasattr(server, "add_registered_method_handlers"):
        server.add_registered_method_handlers(service, methods)


def open_session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def input_of(request):
    values = np.frombuffer(request.raw_input_contents[0], np.float32)
    return values.reshape(tuple(request.inputs[0].shape))


def answer_of(request, value):
    answer = ModelInferResponse(model_name=request.model_name, raw_output_contents=[value.tobytes()])
    answer.outputs.add(name="OUTPUT", datatype="FP32", shape=value.shape)
    return answer


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.1})
class Whole:
    def __init__(self, path):
        self.session = open_session(path)

    def ModelInfer(self, request):  # noqa: N802
        return answer_of(request, self.session.run(None, {"INPUT": input_of(request)})[0])


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.1})
class Second:
    def __init__(self, path):
        self.session = open_session(path)

    def run(self, value):
        return self.session.run(None, {"INPUT": value})[0]


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.1})
class First:
    def __init__(self, path, second):
        self.session = open_session(path)
        self.second = second

    async def ModelInfer(self, request):  # noqa: N802
        value = self.session.run(None, {"INPUT": input_of(request)})[0]
        return answer_of(request, await self.second.run.remote(value))


def main():
    grpc_port, http_port, *paths = sys.argv[1:]
    # Ray takes loopback for a mistake, and would listen on every address instead.
    ray._private.services.resolve_ip_for_localhost = lambda host: host
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        # What it leaves goes with the folder of this run.
        _temp_dir=os.getcwd(),  # noqa: PTH109 - Ray wants a string
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(http_port)},
        grpc_options={
            "port": int(grpc_port),
            "grpc_servicer_functions": ["ray_server.add_inference_servicer"],
        },
    )
    module = sys.modules["ray_server"]
    application = (
        module.Whole.bind(paths[0])
        if len(paths) == 1
        else module.First.bind(paths[0], module.Second.bind(paths[1]))
    )
    serve.run(application, blocking=True)


if __name__ == "__main__":
    # Under its own name, so that Ray's other processes import it rather than get a copy.
    import ray_server

    ray_server.main()
