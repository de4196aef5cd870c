"""What a model is for: one class per task, one table. A task encodes rows, decodes outputs and scores predictions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from octavo.data.ranking import is_ranking
from octavo.errors import InputError

if TYPE_CHECKING:
    from octavo.data.examples import DataFile
    from octavo.schema.signature import Signature
    from octavo.tasks.task import Task

TASKS = {
    "text-classification": "octavo.tasks.text_classification:TextClassification",
    "feature-extraction": "octavo.tasks.feature_extraction:FeatureExtraction",
    "sparse-encoding": "octavo.tasks.sparse_encoding:SparseEncoding",
    "late-interaction": "octavo.tasks.late_interaction:LateInteraction",
    "token-classification": "octavo.tasks.token_classification:TokenClassification",
    "question-answering": "octavo.tasks.question_answering:QuestionAnswering",
    "multiple-choice": "octavo.tasks.multiple_choice:MultipleChoice",
    "fill-mask": "octavo.tasks.fill_mask:FillMask",
    "text-generation": "octavo.tasks.text_generation:TextGeneration",
    "text2text-generation": "octavo.tasks.text2text_generation:Text2TextGeneration",
}


def find_task(signature: Signature) -> Task[Any]:
    """The task of a model; see `task_class`."""
    return task_class(signature.task)(signature)


def task_over(signature: Signature, file: DataFile) -> Task[Any]:
    """The task of a model as a file is scored: its own, or what it does with queries and passages (`Task.ranking`)."""
    task = find_task(signature)
    ranking = task.ranking()
    return ranking if ranking is not None and is_ranking(file) else task


def task_class(name: str) -> type[Task[Any]]:
    """The class of a task, imported on first use: what is the same for all of its models.

    Raises:
        InputError: the task is known to the Hub and not yet to Octavo.
    """
    if name not in TASKS:
        raise InputError("this task is not supported yet", got=name, allowed=", ".join(TASKS))
    module, _, attribute = TASKS[name].partition(":")
    return cast("type[Task[Any]]", getattr(import_module(module), attribute))
