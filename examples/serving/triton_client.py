"""`octavo layout my-int8 --for triton -o repository/my-int8`, then `tritonserver --model-repository repository`.

`python triton_client.py my-int8 localhost:8001 "오늘 날씨가 좋다."`: Triton runs the graph and gathers batches; the
tokenizer, pooling and labels are here, of the same artifact.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

import octavo
from octavo.engines.pooled import pooled


class Session:
    """A model of Triton, in the place of an engine of Octavo's."""

    name, threads, streams = "triton", 1, 1

    def __init__(self, address, model):
        self.client, self.model = triton.InferenceServerClient(address), model
        told = self.client.get_model_metadata(model)
        self.inputs, self.output = {one.name for one in told.inputs}, told.outputs[0].name

    def run(self, inputs):
        asked = []
        for name, array in inputs.items():
            if name in self.inputs:
                asked.append(triton.InferInput(name, array.shape, "INT64"))
                asked[-1].set_data_from_numpy(np.ascontiguousarray(array))
        return self.client.infer(self.model, asked).as_numpy(self.output)


def predictor(artifact, address, model):
    """A predictor whose graph runs in Triton under the name `model`."""
    opened = octavo.open_artifact(artifact)
    signature = opened.manifest.signature
    session = pooled(Session(address, model), signature, opened.folder)
    return octavo.Predictor(session, opened.tokenizer_json, signature)


if __name__ == "__main__":
    folder, server, *texts = sys.argv[1:]
    ask = predictor(folder, server, Path(folder).name)
    for text, answer in zip(texts, ask(texts), strict=True):
        print(text, json.dumps(ask.task.to_json(answer), ensure_ascii=False))
