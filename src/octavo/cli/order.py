"""Arguments in each other's place: found before anything is read, and told with the command that is meant."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from octavo.errors import InputError


def command_line(*words: object) -> str:
    """A command as it is typed, its arguments quoted where a shell needs it."""
    return shlex.join(["octavo", *map(str, words)])


def check_quantize(checkpoint: str, output: Path) -> None:
    """See that the output is not the checkpoint.

    Raises:
        InputError: it is.
    """
    from octavo.checkpoint.paths import is_artifact

    if not (output / "config.json").exists() or is_artifact(output):
        return
    given = Path(checkpoint)  # or an id of the hub, which no folder here is named like
    is_folder = given.exists() or given.parent.is_dir()
    if is_folder and (not (given / "config.json").exists() or is_artifact(given)):
        then = command_line("quantize", output, "-o", checkpoint)
        raise InputError("the output is a checkpoint: the two are swapped", got=f"-o {output}", then=then)
    raise InputError("the output is a checkpoint", got=f"-o {output}", then="name a folder that is not there yet")


def check_predict(artifact: str, source: str | None) -> None:
    """See that the model is named first, and then the data.

    Raises:
        InputError: it is the other way round.
    """
    if source is not None and _is_data(artifact) and Path(source).is_dir():
        then = command_line("predict", source, artifact)
        raise InputError("the model is named first, then the data", got=f"{artifact} {source}", then=then)


def check_compare(models: Sequence[str], data: Path | None) -> Path:
    """`--data`, where it is a file and the models are none of examples.

    Raises:
        InputError: they are not, or there is no `--data`.
    """
    files = [model for model in models if _is_data(model)]
    folders = [model for model in models if model not in files]
    if data is not None and data.is_dir() and not _is_corpus(data):
        swapped = command_line("compare", *folders, data, "--data", files[0]) if files else None
        then = swapped or "name a file of examples: .tsv, .csv, .jsonl or .json"
        raise InputError("--data is a folder", got=data, then=then)
    if files and data is None:
        then = command_line("compare", *folders, "--data", files[0])
        raise InputError("a data file in the place of a model", got=files[0], then=then)
    if data is None:
        raise InputError("compare needs examples", then="--data FILE (.tsv, .csv, .jsonl or .json)")
    return data


def check_report(result: Path, output: Path) -> None:
    """See that the report is made of the JSON, and not the JSON of the report.

    Raises:
        InputError: it is.
    """
    if result.suffix != ".json" and output.suffix == ".json" and output.is_file():
        then = command_line("report", output, "-o", result)
        raise InputError(
            "the JSON is named first, and the report is the output", got=f"{result} -o {output}", then=then
        )


def _is_corpus(path: Path) -> bool:
    from octavo.data.ranking import folder_of

    return folder_of(path) is not None


def _is_data(name: str) -> bool:
    from octavo.checkpoint.paths import is_data

    return is_data(Path(name))
