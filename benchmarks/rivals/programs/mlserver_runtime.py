"""MLServer's runtime for ONNX models: the model's file is its `uri`."""

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class OnnxModel(MLModel):
    async def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        feeds = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        values = self.session.run(None, feeds)
        outputs = [
            NumpyCodec.encode_output(meta.name, value)
            for meta, value in zip(self.session.get_outputs(), values, strict=True)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
