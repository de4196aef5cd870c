"""Programs that run ONNX models, and what each expects of a folder; it knows nothing of artifacts.

Read in their sources: text-embeddings-inference (`backends/ort`, `router`), transformers.js 4.3, sentence-transformers
5.1, fastembed 0.9, Triton's `model_config.proto`. The newest opset is that of the ONNX Runtime which they bring: where
that is built into a server, of one some releases old. ONNX Runtime has the Attention of opset 23 since 1.23.
"""

from dataclasses import dataclass
from typing import Literal, get_args

ProgramName = Literal["tei", "transformers.js", "sentence-transformers", "fastembed", "triton"]
ENCODERS = ("text-classification", "feature-extraction", "token-classification", "question-answering", "fill-mask")


@dataclass(frozen=True)
class Program:
    """What a program reads: tasks, opsets, ways of pooling (None: it leaves that to whoever asks) and Dense steps.

    `opens` is how it is opened, for the folder's README; `{pooling}` and `{normalize}` are filled in, in its own words.
    """

    title: str
    tasks: tuple[str, ...]
    newest_opset: int
    opens: str
    poolings: dict[str, str] | None = None
    dense: bool = False
    prompts: bool = False


PROGRAMS: dict[ProgramName, Program] = {
    "tei": Program(
        "text-embeddings-inference",
        ("text-classification", "feature-extraction"),
        21,
        """```console
$ docker run -p 8080:80 -v $PWD:/model ghcr.io/huggingface/text-embeddings-inference:cpu-latest --model-id /model
```
`/embed` normalizes vectors unless `"normalize": false` is asked for; these are{not} normalized by the model itself.""",
        {"cls": "cls", "mean": "mean", "lasttoken": "last-token"},
        prompts=True,
    ),
    "transformers.js": Program(
        "transformers.js (@huggingface/transformers 4)",
        ENCODERS,
        23,
        """```js
import {{ pipeline, env }} from '@huggingface/transformers';
env.localModelPath = '..'; env.allowRemoteModels = false;  // or push the folder to the Hub, and give its id
const ask = await pipeline('{task}', '{folder}', {{ dtype: '{dtype}', device: 'cpu' }});  // in a browser: 'wasm'
await ask('...'{asked});
```
Of a text of more than {max_length} tokens transformers.js cuts off the last special token too, and its answer differs:
cut such texts before.""",
        {"cls": "cls", "mean": "mean"},
    ),
    "sentence-transformers": Program(
        "sentence-transformers",
        ("feature-extraction", "text-classification"),
        23,
        """```python
from sentence_transformers import {opener}  # pip install 'sentence-transformers[onnx]'
model = {opener}("this folder", backend="onnx", model_kwargs={{"provider": "CPUExecutionProvider"}})
```""",
        {name: name for name in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")},
        dense=True,
        prompts=True,
    ),
    "fastembed": Program(
        "fastembed",
        ("feature-extraction",),
        23,
        """```python
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
TextEmbedding.add_custom_model(
    model="{folder}", pooling=PoolingType.{pooling}, normalization={normalize}, sources=ModelSource(url="unused"),
    dim={dimension}, model_file="model.onnx",
)
embed = TextEmbedding("{folder}", specific_model_path="this folder").embed
```""",
        {"cls": "CLS", "mean": "MEAN", "lasttoken": "LAST_TOKEN"},
    ),
    "triton": Program(
        "Triton Inference Server",
        (*ENCODERS, "multiple-choice"),
        21,
        """```console
$ docker run -p 8000:8000 -v $PWD/..:/models nvcr.io/nvidia/tritonserver:<release>-py3 \\
    tritonserver --model-repository /models
```
Whoever asks cuts texts by `tokenizer.json` at {max_length} tokens, and pads a batch on the right with {pad}.
Requests of one length are batched by the server.""",
    ),
}
NAMES: tuple[ProgramName, ...] = get_args(ProgramName)
