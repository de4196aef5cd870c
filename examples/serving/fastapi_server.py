"""`MODEL=my-int8 uvicorn fastapi_server:app`: requests and answers as OpenAI's and text-embeddings-inference's."""

import asyncio
import base64
import os
from contextlib import asynccontextmanager

import numpy as np
from batching import Batches, Full
from fastapi import FastAPI
from fastapi.responses import JSONResponse

import octavo

predictor, usual = octavo.load(os.environ["MODEL"]), {"tokens": 4096, "waiting": 512, "seconds": 10}
options = {name: int(os.environ.get(name.upper(), value)) for name, value in usual.items()}
batches = Batches(predictor, **options, **({} if predictor.signature.pooling else {"top_k": None}))


@asynccontextmanager
async def lifespan(_):
    worker = asyncio.create_task(batches.run())
    yield  # until all requests that uvicorn took are answered
    worker.cancel()


app, several = FastAPI(lifespan=lifespan), lambda texts: texts if isinstance(texts, list) else [texts]
for kind, status in {Full: 429, TimeoutError: 504, octavo.InputError: 422, KeyError: 422}.items():
    app.exception_handler(kind)(lambda _, error, code=status: JSONResponse({"error": str(error) or "too late"}, code))


@app.post("/v1/embeddings")
async def embeddings(asked: dict):
    tokens, found = await batches.ask(several(asked["input"]))
    coded = asked.get("encoding_format") == "base64"
    vectors = [base64.b64encode(one.tobytes()).decode() if coded else one.tolist() for one in found]
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "data": data, "model": asked.get("model"), "usage": usage})


@app.post("/embed")
async def embed(asked: dict):
    _, found = await batches.ask(several(asked["inputs"]))
    unit = asked.get("normalize", True)
    return JSONResponse([(one / np.linalg.norm(one) if unit else one).tolist() for one in found])


@app.post("/predict")  # a text, a pair, or a batch: lists of one or two
async def predict(asked: dict):
    inputs, many = asked["inputs"], isinstance(asked["inputs"][0], list)
    _, found = await batches.ask([row if len(row) > 1 else row[0] for row in inputs] if many else [inputs])
    return JSONResponse(found if many else found[0])


@app.post("/rerank")  # of a model with one label
async def rerank(asked: dict):
    _, found = await batches.ask([[asked["query"], text] for text in asked["texts"]])
    told = ({"index": index, "score": one[0]["score"]} for index, one in enumerate(found))
    return JSONResponse(sorted(told, key=lambda one: -one["score"]))
