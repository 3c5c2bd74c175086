"""A model of Triton's Python backend: ONNX Runtime, requests that come together in one run where they are batched."""

import json

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as backend


class TritonPythonModel:
    def initialize(self, arguments):
        config = json.loads(arguments["model_config"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = config["parameters"]["path"]["string_value"]
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.batches = config["max_batch_size"] > 0

    def execute(self, requests):
        inputs = [backend.get_input_tensor_by_name(request, "INPUT").as_numpy() for request in requests]
        if self.batches and len(inputs) > 1:
            together = self.session.run(None, {"INPUT": np.concatenate(inputs)})[0]
            outputs = np.split(together, np.cumsum([len(each) for each in inputs])[:-1])
        else:
            outputs = [self.session.run(None, {"INPUT": each})[0] for each in inputs]
        return [backend.InferenceResponse([backend.Tensor("OUTPUT", each)]) for each in outputs]
