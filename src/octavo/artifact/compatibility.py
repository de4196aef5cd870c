"""Whether an artifact may run on this CPU, and whether it was made on another."""

from importlib.metadata import version

from octavo.errors import HardwareError, InputError
from octavo.hardware import TARGETS, this_cpu
from octavo.schema.manifest import Manifest


def made_elsewhere(manifest: Manifest, engine: str, threads: int) -> bool:
    """Whether the self-test was recorded on another CPU, engine or version of it, or by another number of threads.

    It was too where that is not known.
    """
    host, own = manifest.host, "torch" if manifest.recipe.format == "torch" else "onnxruntime"
    here = this_cpu().name, this_cpu().kind, own, version(own), threads
    return (host.cpu, host.kind, engine, host.packages.get(own), manifest.self_test.threads) != here


def check_engine(manifest: Manifest, engine: str) -> None:
    """Refuse an engine that is known not to run such a graph.

    OpenVINO 2026 makes FakeQuantize of activations that are rounded as they come, and gets the shapes of their scales
    wrong: for every architecture of docs/architectures.md, with a scale per token and per tensor.

    Raises:
        InputError: OpenVINO, for dynamic int8, of single layers too.
    """
    recipe, rounded = manifest.recipe, any(layer.activation for layer in manifest.layers)
    if engine.partition(":")[0] != "openvino" or not rounded:
        return
    if recipe.by_token:
        then = "take onnxruntime, or make the artifact by --method static, without mixed and such rules"
        what = "OpenVINO does not run layers that are rounded per token"
        raise InputError(what, got=engine, allowed="onnxruntime", then=then)
    if recipe.method == "dynamic":
        raise InputError(
            "OpenVINO does not run dynamic int8",
            got=engine,
            allowed="onnxruntime",
            then="take onnxruntime, or make the artifact by the method static, which both run",
        )


def check_cpu(manifest: Manifest, engine: str) -> str | None:
    """Refuse an artifact that this CPU would compute wrongly; return a note where it is merely slower, else None.

    Of an engine that runs it on a GPU there is nothing to say.

    Raises:
        HardwareError: products of its 8-bit weights saturate here.
    """
    cpu = this_cpu()
    if "cuda" in engine:
        return None
    if manifest.exact_u8s8 and cpu.saturates:
        raise HardwareError(
            f"made for {manifest.target}: its products of 8-bit weights saturate on this CPU, which has no VNNI, and "
            "answers would be wrong without any error",
            got=f"{cpu.name} ({cpu.kind})",
            then=f"make it again with --target {cpu.kind} (or --target any)",
        )
    if not any(layer.activation for layer in manifest.layers) or manifest.target in {"any", cpu.kind}:
        return None
    if "arm64" not in {manifest.target, cpu.kind} and TARGETS[manifest.target].rank > TARGETS[cpu.kind].rank:
        return f"made for {manifest.target}; this CPU ({cpu.kind}) has less and will be slower"
    if not cpu.saturates and TARGETS[manifest.target].saturates:
        return f"made for {manifest.target}, whose products saturate; this CPU ({cpu.kind}) could take finer weights"
    return None
