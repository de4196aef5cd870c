"""`MODEL=my-int8 uvicorn fastapi_server:app`: batches by a budget of tokens, a bounded queue, a deadline."""

import asyncio
import os
from contextlib import asynccontextmanager

from batching import Batches, Full
from bodies import add_routes
from fastapi import FastAPI

import octavo

predictor, usual = octavo.load(os.environ["MODEL"]), {"tokens": 4096, "waiting": 512, "seconds": 10}
options = {name: int(os.environ.get(name.upper(), value)) for name, value in usual.items()}
batches = Batches(predictor, **options, **({} if predictor.signature.pooling else {"top_k": None}))


@asynccontextmanager
async def lifespan(_):
    worker = asyncio.create_task(batches.run())
    yield  # until all requests that uvicorn took are answered
    worker.cancel()


app = FastAPI(lifespan=lifespan)
add_routes(app, batches.ask, {Full: 429, TimeoutError: 504})
