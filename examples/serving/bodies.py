"""Requests and answers as OpenAI's and text-embeddings-inference's, for any app of FastAPI."""

import base64

import numpy as np
from fastapi.responses import JSONResponse

import octavo


def several(texts):
    return texts if isinstance(texts, list) else [texts]


def add_routes(app, ask, statuses):
    """`ask(rows)` is a coroutine: the number of tokens, and the answers; `statuses`: those of its errors."""
    for kind, status in {octavo.InputError: 422, KeyError: 422, **statuses}.items():
        app.exception_handler(kind)(lambda _, error, code=status: JSONResponse({"error": str(error) or "late"}, code))

    @app.post("/v1/embeddings")
    async def embeddings(asked: dict):
        tokens, found = await ask(several(asked["input"]))
        coded = asked.get("encoding_format") == "base64"
        vectors = [base64.b64encode(one.tobytes()).decode() if coded else one.tolist() for one in found]
        data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": asked.get("model"), "usage": usage})

    @app.post("/embed")
    async def embed(asked: dict):
        _, found = await ask(several(asked["inputs"]))
        unit = asked.get("normalize", True)
        return JSONResponse([(one / np.linalg.norm(one) if unit else one).tolist() for one in found])

    @app.post("/predict")  # a text, a pair, or a batch: lists of one or two
    async def predict(asked: dict):
        inputs, many = asked["inputs"], isinstance(asked["inputs"][0], list)
        _, found = await ask([row if len(row) > 1 else row[0] for row in inputs] if many else [inputs])
        return JSONResponse(found if many else found[0])

    @app.post("/rerank")  # of a model with one label
    async def rerank(asked: dict):
        _, found = await ask([[asked["query"], text] for text in asked["texts"]])
        told = ({"index": index, "score": one[0]["score"]} for index, one in enumerate(found))
        return JSONResponse(sorted(told, key=lambda one: -one["score"]))
