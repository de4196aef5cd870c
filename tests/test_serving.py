"""The recipe for a server, as it is: real processes, real clients, batches of whoever comes."""

import asyncio
import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import onnxruntime
import pytest

import octavo

SERVING = Path(__file__).resolve().parents[1] / "examples" / "serving"
sys.path.insert(0, str(SERVING))
from batching import Batches, Full  # noqa: E402

sys.path.pop(0)
TEXTS = ["아이들이 공원에서 놀고 있다.", "오늘 날씨는 춥지만 하늘은 맑다. " * 3, "a man is playing the guitar", "짧다"]


def post(url, path, document, timeout=60):
    """The status and the bytes of an answer."""
    request = Request(f"{url}{path}", json.dumps(document).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def asked(url, path, document):
    status, body = post(url, path, document)
    assert status == 200, body
    return json.loads(body)


RAY = """
import sys, time
import ray
from ray import serve
from ray_serve_server import build
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
serve.run(build({"model": sys.argv[1]}))
time.sleep(600)
"""
COMMANDS = {  # of a recipe: what it needs, and how it is started
    "fastapi": ("fastapi uvicorn", ["-m", "uvicorn", "fastapi_server:app", "--log-level", "warning", "--port", "PORT"]),
    "ray": ("fastapi ray.serve", ["-c", RAY, "MODEL", "PORT"]),
    "litserve": ("litserve", ["litserve_server.py", "PORT"]),
}


@contextmanager
def served(folder, recipe="fastapi", **limits):
    """A recipe in a process of its own: its address, and the process."""
    needs, words = COMMANDS[recipe]
    for name in needs.split():
        pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *({"PORT": str(port), "MODEL": str(folder)}.get(word, word) for word in words)]
    path = os.pathsep.join([str(SERVING), *filter(None, sys.path)])
    environment = os.environ | {"MODEL": str(folder), "PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"} | limits
    with subprocess.Popen(
        command, cwd=SERVING, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            for _ in range(1200):
                time.sleep(0.1)
                if process.poll() is not None or is_up(f"http://127.0.0.1:{port}"):
                    break
            assert process.poll() is None, process.stderr.read()
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def is_up(url):
    """Whether a model answers there: nothing asked is an error of its own."""
    try:
        return post(url, "/predict", {}, timeout=5)[0] in {422, 500}
    except OSError:
        return False


def test_the_recipe_is_short():
    assert all(len(file.read_text("utf-8").splitlines()) <= 60 for file in SERVING.glob("*.py"))


@pytest.mark.slow
def test_a_classifier_under_load_answers_byte_by_byte_what_it_answers_alone(made_before):
    draw = random.Random(7)
    texts = [" ".join(draw.choices(" ".join(TEXTS).split(), k=draw.randint(1, 30))) for _ in range(48)]
    with served(made_before, WAITING="40") as (url, process):
        alone = [post(url, "/predict", {"inputs": text}) for text in texts]
        labels = octavo.load(made_before)(texts, top_k=None)
        assert [json.loads(body) for _, body in alone] == labels
        pair = [TEXTS[0], TEXTS[2]]
        assert asked(url, "/predict", {"inputs": pair}) == octavo.load(made_before)([tuple(pair)], top_k=None)[0]
        assert asked(url, "/predict", {"inputs": [[text] for text in texts[:3]]}) == labels[:3]

        with ThreadPoolExecutor(16) as pool:
            among = list(pool.map(lambda text: post(url, "/predict", {"inputs": text}), texts * 3))
        assert among == alone * 3

        status, body = post(url, "/predict", {"inputs": [[text] for text in texts]})
        assert (status, json.loads(body)["error"]) == (429, "0 texts are waiting, 40 may")
        assert post(url, "/predict", {"inputs": 7})[0] in {422, 500}
        assert post(url, "/predict", {"text": "x"})[0] == 422
        assert post(url, "/predict", {"inputs": texts[0]}) == alone[0]

        with ThreadPoolExecutor(8) as pool:  # ended while it works: whatever it took is answered
            waiting = [pool.submit(attempt, url, [[text] for text in texts[:30]]) for _ in range(8)]
            while not any(one.running() for one in waiting):
                time.sleep(0.01)
            time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            ends = [one.result() for one in waiting]
        assert set(ends) <= {"answered", "refused", "full"}
        assert "answered" in ends
        assert process.wait(60) in {0, -signal.SIGTERM}


def attempt(url, rows):
    try:
        status, body = post(url, "/predict", {"inputs": rows})
    except URLError as error:
        return "refused" if isinstance(error.reason, ConnectionRefusedError) else repr(error)
    return {200: "answered", 429: "full"}.get(status, body)


@pytest.fixture(scope="module")
def embedder(make_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "int8"
    recipe = octavo.Recipe(method="dynamic", opset=21)  # which Triton reads
    bert = make_checkpoint("bert", tmp_path_factory.mktemp("served") / "bert", layers=1)
    bert = octavo.Checkpoint(bert, "feature-extraction")
    return octavo.quantize(bert, folder, recipe=recipe, target="any").folder


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["ray", "litserve"])
@pytest.mark.filterwarnings("default")  # of Ray on its own libraries
def test_other_recipes_answer_byte_by_byte_what_they_answer_alone(made_before, recipe):
    draw = random.Random(11)
    texts = [" ".join(draw.choices(" ".join(TEXTS).split(), k=draw.randint(1, 30))) for _ in range(32)]
    with served(made_before, recipe) as (url, _):
        alone = [post(url, "/predict", {"inputs": text}) for text in texts]
        assert [json.loads(body) for _, body in alone] == octavo.load(made_before)(texts, top_k=None)
        order = draw.sample(range(32), 32) * 3
        with ThreadPoolExecutor(12) as pool:  # they come in an order of their own, and meet whom they meet
            among = list(pool.map(lambda row: post(url, "/predict", {"inputs": texts[row]}), order))
        assert among == [alone[row] for row in order]
        pair = [TEXTS[0], TEXTS[2]]
        assert asked(url, "/predict", {"inputs": pair}) == octavo.load(made_before)([tuple(pair)], top_k=None)[0]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["fastapi", "ray"])
@pytest.mark.filterwarnings("default")  # of Ray on its own libraries
def test_existing_clients_get_embeddings(embedder, recipe):
    expected = octavo.load(embedder)(TEXTS)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    with served(embedder, recipe) as (url, _):
        found = asked(url, "/v1/embeddings", {"input": TEXTS, "model": "m"})
        assert np.array_equal(np.array([one["embedding"] for one in found["data"]], np.float32), expected)
        assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > len(TEXTS)
        coded = asked(url, "/v1/embeddings", {"input": TEXTS[0], "encoding_format": "base64"})["data"][0]["embedding"]
        assert np.array_equal(np.frombuffer(base64.b64decode(coded), np.float32), expected[0])
        assert np.array_equal(
            np.array(asked(url, "/embed", {"inputs": TEXTS, "normalize": False}), np.float32), expected
        )
        assert np.abs(np.array(asked(url, "/embed", {"inputs": TEXTS})) - unit).max() < 1e-6

        from huggingface_hub import InferenceClient

        vectors = InferenceClient(model=f"{url}/embed").feature_extraction(TEXTS[0])
        assert np.abs(vectors - unit[:1]).max() < 1e-6
        openai = pytest.importorskip("openai", reason="openai is not installed")
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        told = client.embeddings.create(input=TEXTS, model="m")
        assert np.array_equal(np.array([one.embedding for one in told.data], np.float32), expected)


@pytest.mark.slow
def test_a_reranker_sorts_texts(tiny_parts, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = tiny_parts.make_tokenizer("bert")
    config = tiny_parts.make_config("bert", tokenizer)
    config.id2label, config.label2id = {0: "LABEL_0"}, {"LABEL_0": 0}
    transformers.set_seed(3)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    octavo.quantize(tmp_path / "model", tmp_path / "int8", target="any")
    scores = [one["score"] for one in octavo.load(tmp_path / "int8")([(TEXTS[3], text) for text in TEXTS])]
    with served(tmp_path / "int8") as (url, _):
        found = asked(url, "/rerank", {"query": TEXTS[3], "texts": TEXTS})
    assert [one["index"] for one in found] == np.argsort(-np.array(scores), kind="stable").tolist()
    assert [one["score"] for one in found] == sorted(scores, reverse=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of grpc
def test_triton_s_client_asks_a_server_of_its_protocol(embedder, tmp_path, monkeypatch):
    """The server here has Triton's schema and the model's folder, and is not Triton."""
    grpc = pytest.importorskip("grpc", reason="grpc is not installed")
    pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed", exc_type=ImportError)
    monkeypatch.syspath_prepend(SERVING)
    import triton_client
    from tritonclient.grpc import service_pb2 as messages
    from tritonclient.grpc.service_pb2_grpc import (
        GRPCInferenceServiceServicer,
        add_GRPCInferenceServiceServicer_to_server,
    )

    class Server(GRPCInferenceServiceServicer):
        def ModelMetadata(self, request, context):  # noqa: N802 - gRPC names it
            ports = [one.name for one in sessions[request.name].get_inputs()]
            names = [one.name for one in sessions[request.name].get_outputs()]
            tensor = messages.ModelMetadataResponse.TensorMetadata
            return messages.ModelMetadataResponse(
                name=request.name, inputs=[tensor(name=n) for n in ports], outputs=[tensor(name=n) for n in names]
            )

        def ModelInfer(self, request, context):  # noqa: N802 - gRPC names it
            raw = zip(request.inputs, request.raw_input_contents, strict=True)
            inputs = {one.name: np.frombuffer(content, np.int64).reshape(one.shape) for one, content in raw}
            asked.append(inputs["input_ids"].shape)
            (found,) = sessions[request.model_name].run(None, inputs)
            output = messages.ModelInferResponse.InferOutputTensor(
                name=sessions[request.model_name].get_outputs()[0].name, datatype="FP32", shape=found.shape
            )
            return messages.ModelInferResponse(outputs=[output], raw_output_contents=[found.tobytes()])

    folder, asked = octavo.layout(embedder, tmp_path / "ko_embed", program="triton"), []
    sessions = {"ko_embed": onnxruntime.InferenceSession(folder / "1/model.onnx")}
    server = grpc.server(ThreadPoolExecutor(2))
    add_GRPCInferenceServiceServicer_to_server(Server(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        embed = triton_client.predictor(embedder, f"127.0.0.1:{port}", "ko_embed")
        assert np.array_equal(embed(TEXTS), octavo.load(embedder, threads=1)(TEXTS))
    finally:
        server.stop(None)
    assert sum(shape[0] for shape in asked) == len(TEXTS)


# Batching, with a predictor that tells what it was asked


class Told:
    """Answers a text with itself; each character is a token. Until it is set, `free` keeps it busy."""

    def __init__(self):
        self.batches, self.begun, self.free = [], threading.Event(), threading.Event()
        self.task = SimpleNamespace(parse_row=lambda row: (row, None))
        self.tokenizer = SimpleNamespace(encode_batch=lambda rows: rows)

    def __call__(self, rows):
        self.batches.append(list(rows))
        self.begun.set()
        assert self.free.wait(60)
        if "나쁘다" in rows:
            raise octavo.OctavoError("row 0: the model's answer is NaN or infinite")
        return rows


def run_batches(work, **limits):
    """What a coroutine gives that asks batches, and the predictor."""

    async def both():
        told = Told()
        batches = Batches(told, **limits)
        worker = asyncio.create_task(batches.run())
        found = await work(batches, told)
        assert not worker.done()
        worker.cancel()
        return found, told

    return asyncio.run(both())


def test_a_batch_is_what_came_meanwhile_up_to_its_tokens():
    async def work(batches, told):
        asked = [asyncio.create_task(batches.ask(["하나"]))]
        assert await asyncio.to_thread(told.begun.wait, 60)
        asked += [asyncio.create_task(batches.ask([str(number) * 4])) for number in range(6)]
        await asyncio.sleep(0)
        told.free.set()
        return await asyncio.gather(*asked)

    found, told = run_batches(work, tokens=10, seconds=60)
    assert [answers for _, answers in found] == [["하나"], *([str(number) * 4] for number in range(6))]
    assert told.batches == [["하나"], ["0000", "1111", "2222"], ["3333", "4444", "5555"]]  # ends with what fills it


def test_who_is_late_is_told_and_left_out_and_a_full_queue_says_so():
    async def work(batches, told):
        asked = [asyncio.create_task(batches.ask(["하나"]))]
        assert await asyncio.to_thread(told.begun.wait, 60)
        asked += [asyncio.create_task(batches.ask(["둘"]))]
        await asyncio.sleep(0)
        with pytest.raises(Full, match="1 texts are waiting, 2 may"):
            await batches.ask(["셋", "넷"])
        results = await asyncio.gather(*asked, return_exceptions=True)
        batches.seconds = 60
        told.free.set()
        return [*results, await batches.ask(["다섯"])]

    found, told = run_batches(work, waiting=2, seconds=0.2)
    assert [type(one) for one in found] == [TimeoutError, TimeoutError, tuple]
    assert found[2] == (2, ["다섯"])
    assert "둘" not in [row for batch in told.batches for row in batch]


def test_an_error_is_that_of_its_batch_and_no_end():
    async def work(batches, told):
        told.free.set()
        with pytest.raises(octavo.OctavoError, match="NaN"):
            await batches.ask(["나쁘다"])
        return await batches.ask(["좋다"])

    assert run_batches(work, seconds=60)[0] == (2, ["좋다"])
