"""A model server of KServe's SDK: GRPC_PORT HTTP_PORT NAME=MODEL.onnx …"""

import sys

import onnxruntime as ort
import uvicorn
from kserve import InferOutput, InferResponse, Model, ModelServer

NAMES = {"tensor(float)": "FP32"}


class OnnxModel(Model):
    def __init__(self, name, path):
        super().__init__(name)
        self.path = path

    def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        feeds = {each.name: each.as_numpy() for each in payload.inputs}
        outputs = []
        for meta, value in zip(self.session.get_outputs(), self.session.run(None, feeds), strict=True):
            output = InferOutput(name=meta.name, shape=list(value.shape), datatype=NAMES[meta.type])
            output.set_data_from_numpy(value, binary_data=True)
            outputs.append(output)
        return InferResponse(response_id=payload.id or "0", model_name=self.name, infer_outputs=outputs)


class LoopbackConfig(uvicorn.Config):
    """KServe listens on every address, and has no option for it; `loopback` has the same for gRPC."""

    def __init__(self, app, **settings):
        super().__init__(app, **{**settings, "host": "127.0.0.1"})


def main():
    uvicorn.Config = LoopbackConfig
    models = [OnnxModel(*each.split("=", 1)) for each in sys.argv[3:]]
    for model in models:
        model.load()
    server = ModelServer(grpc_port=int(sys.argv[1]), http_port=int(sys.argv[2]), enable_docs_url=False)
    sys.argv[1:] = []
    server.start(models)


if __name__ == "__main__":
    main()
