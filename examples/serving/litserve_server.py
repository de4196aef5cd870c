"""`MODEL=/path/to/my-int8 python litserve_server.py 8000`: `{"inputs": text or [text, text]}` to /predict."""

import os
import sys

import litserve

import octavo


class Model(litserve.LitAPI):
    """A worker: its artifact is checked, and its self-test run, when it starts."""

    def setup(self, device):  # noqa: ARG002 - LitServe's own words
        self.predictor = octavo.load(os.environ["MODEL"])
        self.options = {} if self.predictor.signature.pooling else {"top_k": None}

    def decode_request(self, request):
        text, pair = self.predictor.task.parse_row(
            tuple(request["inputs"]) if isinstance(request["inputs"], list) else request["inputs"]
        )
        return text if pair is None else (text, pair)

    def batch(self, inputs):
        return list(inputs)

    def predict(self, batch):
        return list(self.predictor(batch, **self.options))

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return output if isinstance(output, list) else output.tolist()


if __name__ == "__main__":
    api = Model(max_batch_size=64, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
