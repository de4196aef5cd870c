"""`octavo predict ... --ray`: files through an artifact on a cluster, block by block, into a folder of parts.

`octavo-job.json` in that folder says what the job is. The same job again does the blocks whose parts are not there. Ray
Data has the actors, their number and their loss; what a block is, and that it is done once, is said here.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from octavo import errors
from octavo.artifact.folder import Artifact, open_artifact
from octavo.checkpoint.hub import fetch_artifact, is_hub_id
from octavo.data.blocks import Block, cut, join, kind_of_file, read_block, read_table
from octavo.data.json_text import read_json
from octavo.encoding.tokenizing import Options
from octavo.errors import DataError, InputError, OctavoError, OctavoWarning
from octavo.files import sha256_of, whole_file
from octavo.inference.predictor import UNKNOWN_SHARE, unknown_warning
from octavo.progress import Progress, Silent
from octavo.ray.blocks import Asked, BlockPredictor, Done, parse_rows
from octavo.ray.cluster import connected
from octavo.ray.predictor import put
from octavo.schema.documents import json_text
from octavo.schema.manifest import MANIFEST
from octavo.schema.signature import require_task
from octavo.tasks import find_task

JOB = "octavo-job.json"
ROWS = 8192  # of a block: some seconds of one CPU
PARTS = 4  # of a block at the end
_Parts = dict[Path, Block]  # where the answers to each block go


def predict_files(  # noqa: PLR0913 - settings of the verb
    artifact: str | Path | Artifact,
    files: Sequence[str | Path],
    output: str | Path,
    *,
    address: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    engine: str = "auto",
    threads: int | None = None,
    max_length: int | None = None,
    task: str | None = None,
    options: Options | None = None,
    revision: str | None = None,
    block_rows: int = ROWS,
    progress: Progress | None = None,
) -> Done:
    """Predict files on a Ray cluster; what `octavo.predict` says of a row stands in a part, with a column `error`.

    Args:
        artifact: its folder, or its hub id; it travels to each node once.
        files: JSON lines, CSV or Parquet, all of one kind, which every node has under these paths.
        output: the folder of the parts, which every node has under this path; `part-000000` and so on, in the order of
            the rows. A job that was cut off is taken up.
        address: of the cluster; by default the one that Ray finds, or one on this machine that ends with the job.
        columns: see `octavo.predict`.
        encoding: of JSON lines and CSV.
        engine: see `octavo.load`.
        threads: CPUs and threads of each actor, by default 1; there are as many actors as the cluster has CPUs for.
        max_length: see `octavo.load`.
        task: see `octavo.load`.
        options: of a call of the predictor, `prompt` among them.
        revision: of a hub id.
        block_rows: how many rows are done as one; at the end a quarter of them, if they are a multiple of 4.
        progress: hears how many rows are done.

    Raises:
        InputError: the folder has another job, or an option is wrong.
        DataError: a file cannot be read, or of its first hundred rows none is what the task reads.
        HardwareError: the CPU of a node would compute wrongly; the message names it.
        MissingExtraError: Ray is not installed.
    """
    given, progress = _artifact(artifact, revision), progress or Silent()
    asked = Asked(columns or {}, encoding, engine, threads or 1, max_length, task, options or {})
    progress.start("cutting the files into blocks", len(files))
    blocks = _cut([Path(file).resolve() for file in files], encoding, block_rows, progress)
    folder = Path(output).resolve()
    parts = {folder / f"part-{number:06d}{Path(block.file).suffix}": block for number, block in enumerate(blocks)}
    _check_rows(blocks, given, asked)
    _begin(folder, _document(given, asked, blocks))
    left = {part: block for part, block in parts.items() if not part.is_file()}
    if not left:
        return Done()
    progress.start("predicting", sum(block.rows for block in left.values()))
    done = Done()
    with connected(address):
        for part_done in run_parts(given, asked, left):
            done.add(part_done)
            progress.advance(part_done.rows)
    absent = [part for part in left if not part.is_file()]
    if absent:
        then = "name a folder that every node has under this path"
        raise InputError("a part was written that is not here", got=absent[0], then=then)
    if (share := done.unknown / max(1, done.tokens)) > UNKNOWN_SHARE:
        warnings.warn(unknown_warning(share), OctavoWarning, stacklevel=2)
    return done


def _artifact(artifact: str | Path | Artifact, revision: str | None) -> Artifact:
    if isinstance(artifact, Artifact):
        return artifact
    return open_artifact(fetch_artifact(str(artifact), revision) if is_hub_id(artifact) else artifact)


def _cut(files: Sequence[Path], encoding: str, rows: int, progress: Progress) -> list[Block]:
    kinds = {kind_of_file(file) for file in files}
    if len(kinds) > 1:
        raise InputError("the files are of several kinds", got=", ".join(sorted(kinds)), allowed="one kind in a job")
    many, parts = 1 if rows % PARTS else PARTS, list[Block]()
    for file in files:
        parts += cut(file, encoding, rows // many)
        progress.advance()
    if not parts:
        raise DataError("no rows", got=", ".join(map(str, files)) or "no file")
    return join(parts, many)


def _check_rows(blocks: Sequence[Block], artifact: Artifact, asked: Asked) -> None:
    """See that what is named is in the files, before millions of rows say that it is not.

    Raises:
        DataError: of a file's first hundred rows none is what the task reads; the first one's error.
    """
    require_task(artifact.manifest.signature.task, asked.task, artifact.folder)
    task = find_task(artifact.manifest.signature)
    for block in {block.file: block for block in reversed(blocks)}.values():
        if kind_of_file(block.file) == "parquet":
            values = read_table(block).slice(0, 100).to_pylist()
        else:
            values = read_block(block, asked.encoding)[:100]
        parsed = parse_rows(values, block, task, asked.columns)
        if all(error is not None for *_, error in parsed):
            raise DataError(str(parsed[0][2]))


def _document(artifact: Artifact, asked: Asked, blocks: Sequence[Block]) -> dict[str, Any]:
    """What a job is: two with the same document have the same parts."""
    names = [block.file for block in blocks if block.first == 0]  # in the order that numbers the parts
    sizes = [(name, Path(name).stat()) for name in names]
    files = [{"name": name, "bytes": stat.st_size, "modified": stat.st_mtime_ns} for name, stat in sizes]
    settings = {name: value for name, value in asdict(asked).items() if name != "threads"}
    rows = {"block_rows": max(block.part for block in blocks), "blocks": len(blocks)}
    rows["rows"] = sum(block.rows for block in blocks)
    whole = {"artifact": sha256_of(artifact.folder / MANIFEST), "files": files, "settings": settings, **rows}
    return dict(json.loads(json_text(whole)))


def _begin(folder: Path, document: Mapping[str, Any]) -> None:
    """Make the folder of a job, or see that it is this job's.

    Raises:
        InputError: it is another's.
    """
    then = "name another folder, or remove this one"
    if folder.exists() and not folder.is_dir():
        raise InputError("the output is a folder of parts, and this is none", got=folder, then=then)
    if (folder / JOB).is_file():
        try:
            known = read_json(folder / JOB)
        except (ValueError, OSError) as error:
            raise InputError("this is not a job that can be read", where=folder / JOB, got=error, then=then) from None
        if known != document:
            names = [name for name in document if not isinstance(known, dict) or known.get(name) != document[name]]
            raise InputError("the folder has another job", got=f"another {names[0]}", where=folder, then=then)
        return
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise InputError("there is something in the folder, and no job", got=folder, then=then)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / JOB) as stream:
        stream.write(json_text(document, indent=1) + "\n")


def run_parts(artifact: Artifact, asked: Asked, parts: _Parts) -> Iterator[Done]:
    """What was done of each part, in the order in which they are.

    Raises:
        OctavoError: of the kind that an actor met.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    cpus = asked.threads or 1
    room = [int(machine["Resources"].get("CPU", 0)) // cpus for machine in ray.nodes() if machine["Alive"]]
    actors = min(len(parts), sum(room))
    if actors < 1:
        raise InputError("no node of the cluster has so many CPUs", got=f"{cpus} for an actor")
    items = [{"part": str(part), "block": json.dumps(asdict(block))} for part, block in parts.items()]
    told = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        BlockPredictor,
        fn_constructor_kwargs={"artifact": put(artifact), "asked": asked},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=cpus,
        batch_size=1,
    )
    for row in told.iter_rows():
        yield done_of(json.loads(row["told"]))


def done_of(told: dict[str, Any]) -> Done:
    """What an actor tells.

    Raises:
        OctavoError: it met one, of that kind.
    """
    if "failed" in told:
        error: OctavoError = getattr(errors, told["kind"])("")
        error.args = (told["failed"],)
        raise error
    return Done(**told)
