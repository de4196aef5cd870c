"""Pooling, held against torch's own operations, and what is read of a sentence-transformers folder."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from octavo.checkpoint.pooling import pooling_files, read_pooling, read_steps
from octavo.engines.pooled import embed
from octavo.errors import CheckpointError
from octavo.schema.signature import Pooling, Step

WIDTH = 6
MODULES = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize"))


def write(folder, modules=MODULES, pooling=None, dense=None, settings=None):
    """A sentence-transformers folder without its transformer."""
    stated = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(stated), encoding="utf-8")
    for kind, path in modules:
        if path and "/" not in path:
            (folder / path).mkdir()
        if kind == "Pooling":
            (folder / path / "config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))
        if kind == "Dense":
            activation = "torch.nn.modules.activation.Tanh"
            stored = {"in_features": WIDTH, "out_features": 4, "bias": True, "activation_function": activation}
            (folder / path / "config.json").write_text(json.dumps(stored | (dense or {})))
            chance = np.random.default_rng(5)
            weight, bias = chance.normal(size=(4, WIDTH)), chance.normal(size=4)
            arrays = {"linear.weight": weight.astype(np.float32), "linear.bias": bias.astype(np.float32)}
            save_file(arrays, folder / path / "model.safetensors")
    if settings is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture
def hidden():
    """Vectors of three texts of 5, 3 and 1 tokens, noise behind them, and their mask."""
    values = np.random.default_rng(3).normal(size=(3, 5, WIDTH)).astype(np.float32)
    return values, (np.arange(5) < np.array([[5], [3], [1]])).astype(np.int64)


def by_torch(hidden, mask, mode):
    """Row by row over its real tokens alone, so that no mask is needed."""
    rows = []
    for vectors, length in zip(torch.from_numpy(hidden), mask.sum(axis=1), strict=True):
        real = vectors[: int(length)]
        order = torch.arange(1, len(real) + 1, dtype=torch.float32)[:, None]
        rows.append(
            {
                "cls": real[0],
                "lasttoken": real[-1],
                "max": real.max(dim=0).values,
                "mean": real.mean(dim=0),
                "mean_sqrt_len_tokens": real.sum(dim=0) / len(real) ** 0.5,
                "weightedmean": (real * order).sum(dim=0) / order.sum(),
            }[mode]
        )
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("mode", ["cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens", "weightedmean"])
def test_each_mode_reads_real_tokens_only(hidden, mode):
    found = embed(*hidden, Pooling(modes=(mode,), dimension=WIDTH), {})
    np.testing.assert_allclose(found, by_torch(*hidden, mode), rtol=1e-5, atol=1e-6)


def test_several_modes_stand_side_by_side(hidden):
    found = embed(*hidden, Pooling(modes=("cls", "mean"), dimension=2 * WIDTH), {})
    assert (
        found == np.concatenate([embed(*hidden, Pooling(modes=(m,), dimension=6), {}) for m in ("cls", "mean")], 1)
    ).all()


@pytest.mark.parametrize("name", ["Identity", "Tanh", "ReLU", "Sigmoid", "GELU", "SiLU"])
def test_dense_and_normalize_are_those_of_torch(hidden, tmp_path, name):
    folder = write(tmp_path, dense={"activation_function": f"torch.nn.modules.activation.{name}"})
    pooling = read_pooling(folder, WIDTH)
    assert (pooling.dimension, [step.kind for step in pooling.steps]) == (4, ["dense", "normalize"])
    dense = read_steps(folder, pooling)
    weight, bias = (torch.from_numpy(dense["2_Dense"][name]) for name in ("linear.weight", "linear.bias"))
    mean = torch.from_numpy(by_torch(*hidden, "mean"))
    expected = getattr(torch.nn, name)()(torch.nn.functional.linear(mean, weight, bias))
    expected = torch.nn.functional.normalize(expected, dim=1).numpy()
    np.testing.assert_allclose(embed(*hidden, pooling, dense), expected, rtol=1e-5, atol=1e-6)


def test_a_layer_norm_is_that_of_torch(hidden, tmp_path):
    folder = write(tmp_path, (*MODULES[:2], ("LayerNorm", "2_LayerNorm")))
    chance = np.random.default_rng(6)
    arrays = {name: chance.normal(size=WIDTH).astype(np.float32) for name in ("norm.weight", "norm.bias")}
    save_file(arrays, folder / "2_LayerNorm" / "model.safetensors")
    pooling = read_pooling(folder, WIDTH)
    mean = torch.from_numpy(by_torch(*hidden, "mean"))
    weights = [torch.from_numpy(arrays[name]) for name in ("norm.weight", "norm.bias")]
    expected = torch.nn.functional.layer_norm(mean, (WIDTH,), *weights).numpy()
    found = embed(*hidden, pooling, read_steps(folder, pooling))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert "2_LayerNorm/model.safetensors" in pooling_files(folder, pooling.steps)


def test_a_residual_dense_adds_its_input(hidden, tmp_path):
    folder = write(tmp_path, MODULES[:3], dense={"use_residual": True})
    pooling, chance = read_pooling(folder, WIDTH), np.random.default_rng(7)
    with pytest.raises(CheckpointError, match=r"weights of a Dense cannot be read.*residual\.weight"):
        read_steps(folder, pooling)
    names = {"linear.weight": (4, WIDTH), "linear.bias": (4,), "residual.weight": (4, WIDTH)}
    arrays = {name: chance.normal(size=shape).astype(np.float32) for name, shape in names.items()}
    save_file(arrays, folder / "2_Dense" / "model.safetensors")
    mean = by_torch(*hidden, "mean")
    straight = mean @ arrays["residual.weight"].T
    expected = np.tanh(mean @ arrays["linear.weight"].T + arrays["linear.bias"]) + straight
    np.testing.assert_allclose(embed(*hidden, pooling, read_steps(folder, pooling)), expected, rtol=1e-4, atol=1e-5)
    plain = pooling.model_copy(update={"steps": (pooling.steps[0].model_copy(update={"residual": False}),)})
    with pytest.raises(CheckpointError, match=r"weights that nothing reads.*residual\.weight"):
        read_steps(folder, plain)


def test_vectors_are_cut_where_the_folder_says_so(hidden, tmp_path):
    settings = {"truncate_dim": 3, "similarity_fn_name": "dot_product"}
    folder = write(tmp_path, settings=settings)
    pooling = read_pooling(folder, WIDTH)
    assert (pooling.dimension, pooling.similarity) == (3, "dot")
    whole = pooling.model_copy(update={"steps": pooling.steps[:-1], "dimension": 4})
    weights = read_steps(folder, pooling)
    np.testing.assert_array_equal(embed(*hidden, pooling, weights), embed(*hidden, whole, weights)[:, :3])


def test_normalize_comes_where_the_folder_has_it(hidden, tmp_path):
    order = (MODULES[0], MODULES[1], ("Normalize", "2_Normalize"), ("Dense", "3_Dense"))
    pooling = read_pooling(write(tmp_path, order), WIDTH)
    assert [step.kind for step in pooling.steps] == ["normalize", "dense"]


@pytest.mark.parametrize(
    ("settings", "modes"),
    [
        ({"pooling_mode": "cls"}, ("cls",)),
        ({"pooling_mode": ["cls", "mean"]}, ("cls", "mean")),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, ("cls", "max")),
        ({"word_embedding_dimension": 6}, ("mean",)),
    ],
)
def test_both_ways_of_naming_the_modes_are_read(tmp_path, settings, modes):
    pooling = read_pooling(write(tmp_path, MODULES[:2], pooling=settings), WIDTH)
    assert (pooling.modes, pooling.dimension) == (modes, len(modes) * WIDTH)


def test_a_folder_of_transformers_alone_means_the_mean(tmp_path):
    pooling = read_pooling(tmp_path, WIDTH)
    assert (pooling.modes, pooling.steps, pooling_files(tmp_path, pooling.steps)) == (("mean",), (), {})


def test_prompts_are_read_and_found(tmp_path):
    settings = {"prompts": {"query": "질문: ", "passage": "글: "}, "default_prompt_name": "passage"}
    pooling = read_pooling(write(tmp_path, MODULES[:2], settings=settings), WIDTH)
    assert (pooling.prompts, pooling.default_prompt) == (settings["prompts"], "passage")


def test_every_file_that_says_it_is_carried(tmp_path):
    folder = write(tmp_path, settings={"prompts": {}})
    found = pooling_files(folder, read_pooling(folder, WIDTH).steps)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == files
    assert set(found) > {"modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modules": (*MODULES[:2], ("CNN", "2_CNN"))}, "the module 'CNN'"),
        ({"modules": (MODULES[0], ("Normalize", "1_Normalize"))}, "the module 'Normalize'"),
        ({"modules": MODULES[:1]}, "no Pooling"),
        ({"modules": (*MODULES[:2], ("Dense", "../outside"))}, "the path '../outside'"),
        ({"pooling": {"pooling_mode": "median"}}, "pooling_mode median"),
        ({"pooling": {"pooling_mode": "mean", "include_prompt": False}}, "include_prompt"),
        ({"dense": {"activation_function": "my.own.Swish"}}, "activation_function Swish"),
        ({"dense": {"module_input_name": "token_embeddings"}}, "module_input_name token_embeddings"),
        ({"dense": {"module_output_name": "other"}}, "module_output_name other"),
        ({"settings": {"truncate_dim": "many"}}, "truncate_dim 'many'"),
        ({"settings": {"similarity_fn_name": "maxsim"}}, "similarity_fn_name maxsim"),
    ],
)
def test_what_is_not_carried_over_is_refused(tmp_path, change, message):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.json").write_text('{"out_features": 4}')
    inside = tmp_path / "inside"
    inside.mkdir()
    if change.get("modules", MODULES)[-1][1] == "../outside":
        (outside / "model.safetensors").write_bytes(b"")
        stated = [{"type": f"x.{kind}", "path": path} for kind, path in change["modules"]]
        write(inside, MODULES[:2])
        (inside / "modules.json").write_text(json.dumps(stated))
    else:
        write(inside, **change)
    with pytest.raises(CheckpointError, match="is not carried over") as caught:
        read_pooling(inside, WIDTH)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["[", "{}", "[1]", '[{"type": "x.Pooling", "path": "nowhere"'])
def test_broken_files_are_one_line(tmp_path, text):
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(CheckpointError) as caught:
        read_pooling(tmp_path, WIDTH)
    assert "\n" not in str(caught.value)


def test_dense_weights_that_are_not_there_or_not_finite_are_an_error(tmp_path):
    folder = write(tmp_path)
    pooling = Pooling(modes=("mean",), dimension=4, steps=(Step(kind="dense", folder="2_Dense", activation="Tanh"),))
    weights = np.full((4, WIDTH), np.nan, np.float32)
    save_file({"linear.weight": weights}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        read_steps(folder, pooling)
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        read_pooling(folder, WIDTH)
