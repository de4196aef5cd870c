"""Processes for the tests, forked from one that has imported torch: that takes seven seconds each time.

Of comparisons the worker's own code runs in them, with pipes as ever. `tests/evaluation` starts real ones too.
"""

import multiprocessing
import os
import sys
from types import SimpleNamespace

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from octavo.evaluation import worker

PRELOAD = [
    "onnxruntime",
    "octavo.engines.torch",
    "octavo.checkpoint.model",
    "octavo.tasks.text_classification",
    "sentencepiece",
    "transformers.convert_slow_tokenizer",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([*PRELOAD, "forked_worker"])

get_checkpoint_conversion_mapping("bert")  # compiles the thousand patterns that the first model of a process waits for


def start(function, *arguments):
    """A process that calls a function, with the environment of this one and not of that which forks it."""
    process = CONTEXT.Process(target=_call, args=(dict(os.environ), function, *arguments), daemon=True)
    process.start()
    return process


def _call(environment, function, *arguments):
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def serve(requests, answers):
    """Be the worker: requests come by standard input, answers go by standard output, the rest is dropped."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number, end in enumerate((requests.fileno(), answers.fileno(), nothing)):
        os.dup2(end, number)
    requests.close()
    answers.close()
    sys.stdin = os.fdopen(0, encoding="utf-8")
    worker.main()


def popen(_, **__):
    """Takes the place of `subprocess.Popen` in `octavo.evaluation.benchmark`."""
    requests, questions = CONTEXT.Pipe(duplex=False)
    replies, answers = CONTEXT.Pipe(duplex=False)
    process = start(serve, requests, answers)
    requests.close()
    answers.close()
    files = [
        os.fdopen(os.dup(end.fileno()), mode, encoding="utf-8") for end, mode in ((questions, "w"), (replies, "r"))
    ]
    questions.close()
    replies.close()

    def wait():
        process.join()
        return process.exitcode

    def end():
        process.join()
        for file in files:
            file.close()

    return SimpleNamespace(stdin=files[0], stdout=files[1], wait=wait, kill=process.kill, communicate=end)
