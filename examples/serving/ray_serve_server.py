"""`serve run ray_serve_server:build model=/path/to/my-int8`: replicas of one CPU each, as many as requests need."""

import asyncio

from batching import parse
from bodies import add_routes
from fastapi import FastAPI
from ray import serve

import octavo


@serve.deployment(
    ray_actor_options={"num_cpus": 1},  # and so many threads: Octavo takes those that Ray granted
    autoscaling_config={"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 32},
    max_ongoing_requests=128,  # of a replica; more wait at the proxy,
    max_queued_requests=512,  # up to so many, and then the answer is 503
)
@serve.ingress()
class Model:
    """A replica: its artifact is checked, and its self-test run, on its node."""

    def __init__(self, model):
        self.predictor = octavo.load(model)
        self.options = {} if self.predictor.signature.pooling else {"top_k": None}

    def __serve_build_asgi_app__(self):
        app = FastAPI()
        add_routes(app, self.ask, {})
        return app

    async def ask(self, rows):
        """The tokens of the rows of a request, and their answers."""
        rows = parse(self.predictor, rows)
        tokens = sum(len(encoded) for encoded in self.predictor.tokenizer.encode_batch(rows))
        return tokens, await asyncio.gather(*map(self.answer, rows))

    @serve.batch(max_batch_size=128, batch_wait_timeout_s=0.002)
    async def answer(self, rows):
        """The answers to rows of whoever came; octavo sorts them by length and keeps to its budget of tokens."""
        return list(await asyncio.to_thread(self.predictor, rows, **self.options))


def build(args):
    """An app of Ray Serve for an artifact that every node has under this path."""
    return Model.bind(args["model"])
