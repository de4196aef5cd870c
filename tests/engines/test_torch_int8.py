import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from octavo.engines import torch_int8
from octavo.engines.torch_int8 import (
    Int8Embedding,
    Int8Linear,
    as_float,
    quantize_tokens,
    tensor_product,
    token_product,
    use_exact_products,
    weight_only_product,
)
from octavo.errors import OctavoWarning

CODES = 64  # within 7 bits, so that no CPU's products saturate


@pytest.fixture(scope="module")
def layer():
    """Codes [out, in], scales [out], a bias [out] and rows [n, in], more rows than are multiplied at once."""
    generator = torch.Generator().manual_seed(7)
    weight = torch.randint(-CODES, CODES + 1, (40, 96), generator=generator, dtype=torch.int8)
    scale = torch.rand(40, generator=generator) * 0.01 + 0.001
    bias = torch.randn(40, generator=generator)
    rows = torch.randn(torch_int8.ROWS_AT_ONCE + 37, 96, generator=generator) * 3
    return weight, scale, bias, rows


def floats(weight, scale):
    return weight.numpy().astype(np.float64) * scale.numpy()[:, None].astype(np.float64)


def test_codes_of_tokens_are_nearest_and_span_127():
    x = torch.tensor([[0.5, -2.0, 1.0], [0.0, 0.0, 0.0], [1e3, 3.0, -1e3]])
    codes, scale = quantize_tokens(x)
    back = (codes.double() - 128) * scale.double()
    assert torch.all((back - x).abs() <= scale.double() / 2 * (1 + 1e-6))
    assert codes[0].tolist()[1] == 1
    assert codes[1].tolist() == [128] * 3
    assert codes[2].tolist()[0] == 255


def test_token_product_is_the_quantized_one(layer):
    weight, scale, bias, rows = layer
    codes, own = quantize_tokens(rows)
    expected = ((codes.numpy().astype(np.float64) - 128) * own.numpy()) @ floats(weight, scale).T + bias.numpy()
    found = token_product(weight, scale, bias)(rows).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    exact = token_product(weight, scale, bias, exact=True)(rows).numpy()
    np.testing.assert_allclose(exact, expected, rtol=1e-5, atol=1e-4)


def test_a_token_does_not_feel_its_company(layer):
    weight, scale, bias, rows = layer
    product = token_product(weight, scale, bias)
    together = product(rows)
    assert torch.equal(product(rows[5:6]), together[5:6])
    assert torch.equal(product(rows * torch.linspace(1, 100, len(rows))[:, None])[:1], together[:1])
    one_for_all = tensor_product(weight, scale, bias)
    assert not torch.equal(one_for_all(rows[5:6]), one_for_all(rows)[5:6])


@pytest.mark.parametrize("reduced", [False, True])
def test_tensor_product_has_one_range_for_all(layer, reduced):
    weight, scale, bias, rows = layer
    found = tensor_product(weight, scale, bias, reduced=reduced)(rows).numpy()
    step = float(rows.max() - rows.min()) / (127 if reduced else 255)
    zero = np.rint(-float(rows.min()) / step)
    quantized = (np.clip(np.rint(rows.numpy().astype(np.float64) / step) + zero, 0, 255) - zero) * step
    expected = quantized @ floats(weight, scale).T + bias.numpy()
    turned = np.abs(floats(weight, scale)).max(axis=1) * step  # a code that rounds the other way, here and there
    assert np.all(np.abs(found - expected) <= 2.01 * turned + 1e-4)
    assert np.mean(np.abs(found - expected) <= 1e-3) > 0.95
    exact = tensor_product(weight, scale, bias, reduced=reduced, exact=True)(rows).numpy()
    assert np.all(np.abs(exact - expected) <= 2.01 * turned + 1e-4)


def test_seven_bits_are_those_of_torch_ao(layer):
    _, _, bias, rows = layer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        linear = torch.nn.Linear(96, 40)
        (quantized,) = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(linear), dtype=torch.qint8)
        packed = quantized.weight()
    codes, scale = packed.int_repr(), torch.full((40,), packed.q_scale())
    mine = Int8Linear(codes, scale, quantized.bias().detach(), "tensor-7bit")
    with torch.inference_mode():
        np.testing.assert_allclose(mine(rows), quantized(rows), atol=1e-6)
    assert bias.shape == (40,)


def test_weight_only_is_the_float_product_of_the_codes(layer):
    weight, scale, bias, rows = layer
    expected = rows.numpy().astype(np.float64) @ floats(weight, scale).T
    np.testing.assert_allclose(weight_only_product(weight, scale, None)(rows), expected, atol=1e-4)
    np.testing.assert_allclose(weight_only_product(weight, scale, bias)(rows), expected + bias.numpy(), atol=1e-4)


@pytest.mark.parametrize("activation", ["token", "tensor", "tensor-7bit", None])
def test_a_layer_takes_any_leading_shape_and_no_bias(layer, activation):
    weight, scale, _, rows = layer
    module = Int8Linear(weight, scale, None, activation)
    with torch.inference_mode():
        flat, shaped = module(rows[:24]), module(rows[:24].reshape(2, 3, 4, 96))
    assert shaped.shape == (2, 3, 4, 40)
    assert torch.equal(shaped.reshape(24, 40), flat)


def test_a_copy_packs_anew(layer):
    weight, scale, bias, rows = layer
    module = Int8Linear(weight, scale, bias, "tensor")
    before = module(rows)
    module.codes.mul_(0)
    assert torch.equal(module(rows), before)  # packed once
    assert not torch.equal(copy.deepcopy(module)(rows), before)
    assert not torch.equal(pickle.loads(pickle.dumps(module))(rows), before)
    module.to("cpu")
    assert torch.allclose(module(rows), bias.expand(len(rows), -1))


def test_embedding_rows():
    codes = torch.tensor([[1, -2], [127, 0]], dtype=torch.int8)
    found = Int8Embedding(codes, torch.tensor([0.5, 0.25]))(torch.tensor([[0, 1], [1, 1]]))
    assert found.tolist() == [[[0.5, -1.0], [31.75, 0.0]], [[31.75, 0.0], [31.75, 0.0]]]


def test_a_torch_without_kernels_says_so_and_answers(layer, monkeypatch):
    weight, scale, bias, rows = layer
    tokens, tensors = token_product(weight, scale, bias)(rows), tensor_product(weight, scale, bias)(rows)
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["none"])
    for name in ("packed_engines", "has_onednn"):
        getattr(torch_int8, name).cache_clear()
    try:
        with pytest.warns(OctavoWarning, match=r"no int8 kernels for this CPU \(none\).*--format onnx"):
            slow = token_product(weight, scale, bias)(rows)
        with pytest.warns(OctavoWarning, match="no int8 kernels"):
            slow_tensors = tensor_product(weight, scale, bias)(rows)
    finally:
        for name in ("packed_engines", "has_onednn"):
            getattr(torch_int8, name).cache_clear()
    np.testing.assert_allclose(slow, tokens, atol=1e-4)
    assert float((slow_tensors - tensors).abs().mean()) < 1e-3


def test_exact_products_are_those_of_a_cpu_that_does_not_saturate(layer):
    """Weights of 8 bits and rows of the largest codes: two products leave 16 bits."""
    _, scale, _, _ = layer
    weight = torch.full((40, 96), 127, dtype=torch.int8)
    module = Int8Linear(weight, scale, None, "token")
    use_exact_products(module)
    found = module(torch.ones(2, 96))
    np.testing.assert_allclose(found, np.tile(127 * 96 * scale.numpy(), (2, 1)), rtol=1e-5)


@pytest.mark.parametrize("activation", ["token", "tensor", None])
def test_a_layer_answers_in_the_type_of_its_input(layer, activation):
    weight, scale, bias, rows = layer
    module = Int8Linear(weight, scale, bias, activation).to(torch.bfloat16)
    found = module(rows.bfloat16())
    assert found.dtype == torch.bfloat16
    expected = torch.nn.functional.linear(rows, weight.float() * scale[:, None], bias)
    assert float((found.float() - expected).norm() / expected.norm()) < 0.03


def test_weights_are_what_the_codes_stand_for(layer):
    weight, scale, bias, rows = layer
    module = torch.nn.Sequential(Int8Linear(weight, scale, bias, None), Int8Embedding(weight, scale))
    floats = as_float(module)
    assert [type(one) for one in floats] == [torch.nn.Linear, torch.nn.Embedding]
    torch.testing.assert_close(floats[0](rows), module[0](rows))
    assert torch.equal(floats[1].weight, module[1].weight)
    assert torch.equal(floats[1](torch.tensor([3])), module[1](torch.tensor([3])))
    assert isinstance(module[0], Int8Linear)


def test_layers_are_packed_by_many_threads_at_once(layer):
    weight, scale, bias, rows = layer
    modules = [Int8Linear(weight, scale, bias, "tensor") for _ in range(40)]
    before = torch.backends.quantized.engine
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda module: module(rows), modules))
    assert all(torch.equal(one, found[0]) for one in found)
    assert torch.backends.quantized.engine == before
