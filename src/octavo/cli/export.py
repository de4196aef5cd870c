"""`octavo export`: a model in float, with the options of `octavo quantize` that are for one."""

from octavo.cli.options import IgnoreWeights, Labels, TargetTokenizer, TaskName, TokenizerFolder
from octavo.cli.quantize import Force, Half, NoOptimize, Opset, Output, Source, quantize


def export(
    checkpoint: Source,
    output: Output,
    half: Half = False,
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    target_tokenizer: TargetTokenizer = None,
    labels: Labels = None,
    ignore_weights: IgnoreWeights = None,
    opset: Opset = None,
    no_optimize: NoOptimize = False,
    force: Force = False,
) -> None:
    """The same as `quantize --method float`."""
    quantize(
        checkpoint,
        output,
        ["float"],
        half=half,
        task=task,
        tokenizer=tokenizer,
        target_tokenizer=target_tokenizer,
        labels=labels,
        ignore_weights=ignore_weights,
        opset=opset,
        no_optimize=no_optimize,
        force=force,
    )
