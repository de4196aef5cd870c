"""The float graph of an encoder, written from its config and weights: BERT and its kin, without torch.

The graph is what the passes (`graph/passes`) make of transformers' export, and names are as `exporter.tidy` gives them.
Every weight is asked for with the shape that the config tells, and no setting is guessed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from octavo.exporting.families import (
    Activation,
    Family,
    First,
    Layer,
    Linear,
    Norm,
    Spans,
    Step,
    Vocabulary,
)
from octavo.exporting.graph_writer import GraphWriter, dims, width_of
from octavo.exporting.tensors import Tensors, UnwrittenError
from octavo.exporting.token_vectors import seen_tokens, token_vectors
from octavo.schema.signature import Signature

OPSET = 23
LOWEST = float(np.finfo(np.float32).min)  # what is added to the score of a token that is masked
_BATCH, _LENGTH = "batch", "length"
_FLOAT, _INT = ir.DataType.FLOAT, ir.DataType.INT64


class Encoder:
    """The parts of one encoder, in the order in which they are written."""

    def __init__(
        self, family: Family, config: Mapping[str, Any], signature: Signature, tensors: Tensors, *, moved: bool = True
    ) -> None:
        """Begin the graph of a model of that config, which has the defaults of its class; `moved`: see `attention`."""
        self.family, self.config, self.signature, self.moved = family, config, signature, moved
        self.body = family.prefix if family.heads[signature.task] else ""
        self.write = GraphWriter(tensors, float(config.get("layer_norm_eps", 1e-12)))
        self.inputs = {
            name: ir.Value(name=name, shape=ir.Shape([_BATCH, _LENGTH]), type=ir.TensorType(_INT))
            for name in signature.input_names
        }
        self.width, self.heads = self.setting("hidden_size"), self.setting("num_attention_heads")
        if self.width % self.heads:
            raise UnwrittenError(f"{self.heads} heads of {self.width} numbers")

    def setting(self, name: str) -> Any:
        """A setting, by the name that most classes give it; `one`, and `labels`, are their numbers."""
        if name in {"one", "labels"}:
            return 1 if name == "one" else len(self.signature.labels)
        return self.config[self.family.settings.get(name, name)]

    def path(self, name: str) -> str:
        """The path of a module below the body."""
        return ".".join(filter(None, (self.body, name)))

    def graph(self) -> ir.Model:
        """The whole graph."""
        states = self.embeddings()
        mask = self.mask()
        for index in range(self.setting("num_hidden_layers")):
            states = self.layer(self.family.layer, self.layer_path(index), states, mask)
        outputs = self.head(states)
        for value, name in zip(outputs, self.signature.output_names, strict=True):
            value.name = name
        graph = ir.Graph(
            list(self.inputs.values()),
            outputs,
            nodes=self.write.nodes,
            initializers=list(self.write.constants.values()),
            opset_imports={"": OPSET},
            name="octavo",
        )
        return ir.Model(graph, ir_version=10, producer_name="octavo")

    def layer_path(self, index: int) -> str:
        """The path of the layer that runs as number `index`, of which ALBERT has fewer than it runs."""
        layers, groups = self.setting("num_hidden_layers"), self.config.get("num_hidden_groups", 1)
        if self.config.get("inner_group_num", 1) != 1 or groups > layers:
            raise UnwrittenError("several layers in a group of ALBERT's")
        return self.path(self.family.layers.format(index=index, group=int(index / (layers / groups)), inner=0))

    def embeddings(self) -> ir.Value:
        """Vectors of words, of token types and of positions, summed and normalized."""
        family, write, where = self.family, self.write, self.path("embeddings")
        width = self.config.get("embedding_size", self.width)
        ids = self.inputs["input_ids"]
        positions = self.positions(where)
        total = write.embedding(f"{where}.word_embeddings", ids, self.setting("vocab_size"), width)
        if family.types:
            types = self.inputs.get("token_type_ids")
            if types is None:  # the first type, for all tokens
                types = write.node(f"{where}/Mul", [positions, write.integer(0)], dims(positions), _INT)
            vectors = write.embedding(f"{where}.token_type_embeddings", types, self.setting("type_vocab_size"), width)
            total = write.node(f"{where}/Add", [total, vectors], dims(total))
        rows = self.setting("max_position_embeddings")
        vectors = write.embedding(f"{where}.position_embeddings", positions, rows, width)
        total = write.node(f"{where}/Sum", [total, vectors], dims(total))
        total = write.norm(f"{where}.LayerNorm", total, width)
        if family.projection is not None and (family.projection[1] or width != self.width):
            total = write.linear(self.path(family.projection[0]), total, self.width)
        return total

    def positions(self, where: str) -> ir.Value:
        """Ids of positions: 0, 1, 2, ..., or of tokens that are no padding from behind the padding id."""
        write, ids = self.write, self.inputs["input_ids"]
        if not self.family.behind_padding:
            rows = self.setting("max_position_embeddings")
            table = write.constant(f"{where}.position_ids", np.arange(rows, dtype=np.int64)[None])
            length = self.length()
            bounds = [write.integers(0), length, write.integers(1), write.integers(1)]
            return write.node(f"{where}/Slice", [table, *bounds], (1, _LENGTH), _INT)
        padding = self.family.padding if self.family.padding is not None else self.setting("pad_token_id")
        pad, shape = write.integer(padding), (_BATCH, _LENGTH)
        equal = write.node(f"{where}/Equal", [ids, pad], shape, ir.DataType.BOOL)
        other = write.node(f"{where}/Not", [equal], shape, ir.DataType.BOOL)
        tokens = write.node(f"{where}/Cast", [other], shape, _INT, to=_INT)
        counted = write.node(f"{where}/CumSum", [tokens, write.integer(1)], shape, _INT, exclusive=0, reverse=0)
        kept = write.node(f"{where}/Mul", [counted, tokens], shape, _INT)
        return write.node(f"{where}/Add", [kept, pad], shape, _INT)

    def length(self) -> ir.Value:
        """How many tokens a row has, [1]."""
        name = "/Shape"
        known = next((node.outputs[0] for node in self.write.nodes if node.name == name), None)
        return known or self.write.node(name, [self.inputs["input_ids"]], (1,), _INT, start=1, end=2)

    def mask(self) -> ir.Value:
        """What is added to scores, [batch, 1 or heads, length, length]: nothing, or the lowest number where masked."""
        write, shape, where = self.write, (_BATCH, _LENGTH), self.body
        told = seen_tokens(write, self.inputs, self.signature, self.length)
        seen = write.node(f"{where}/Cast", [told], shape, ir.DataType.BOOL, to=ir.DataType.BOOL)
        masked = write.node(f"{where}/Not", [seen], shape, ir.DataType.BOOL)
        masked = write.node(f"{where}/Cast", [masked], shape, to=_FLOAT)
        lowest = write.constant("lowest_score", np.array(LOWEST, np.float32))
        added = write.node(f"{where}/Mul", [masked, lowest], shape)
        added = write.node(f"{where}/Unsqueeze", [added, write.integers(1, 2)], (_BATCH, 1, 1, _LENGTH))
        if self.family.relative is not None:
            bias = self.relative_positions(self.path(self.family.relative))
            return write.node(f"{where}/Add", [added, bias], (_BATCH, self.heads, _LENGTH, _LENGTH))
        one, length = write.integers(1), self.length()
        shape_of = write.node(f"{where}/Concat", [one, one, length, one], (4,), _INT, axis=0)
        return write.node(f"{where}/Expand", [added, shape_of], (_BATCH, 1, _LENGTH, _LENGTH))

    def relative_positions(self, path: str) -> ir.Value:
        """What the distance of two tokens adds to their scores, [1, heads, length, length] (MPNet).

        Distances of both signs have the buckets of T5: 16 each, of which the first 8 are of one distance and the
        others grow with its logarithm up to 128.
        """
        write, where = self.write, path.rpartition(".")[0]
        farthest = self.setting("max_position_embeddings")
        back = -np.arange(-farthest, farthest + 1)  # how far a token stands before the one that looks at it
        with np.errstate(divide="ignore"):
            large = np.log(np.abs(back).astype(np.float32) / np.float32(8)) / np.float32(np.log(16)) * np.float32(8)
        near = np.abs(back) < 8
        buckets = np.where(near, np.abs(back), np.minimum(8 + np.where(near, 0, large).astype(np.int64), 15))
        table = write.constant(f"{where}.buckets", buckets + 16 * (back < 0))
        axes = [write.integers(axis) for axis in (0, 1)]
        length = write.node(f"{where}/Squeeze", [self.length()], (), _INT)
        counted = write.node(f"{where}/Range", [write.integer(0), length, write.integer(1)], (_LENGTH,), _INT)
        seen = write.node(f"{where}/Unsqueeze", [counted, axes[0]], (1, _LENGTH), _INT)
        looking = write.node(f"{where}/Unsqueeze", [counted, axes[1]], (_LENGTH, 1), _INT)
        square = (_LENGTH, _LENGTH)
        apart = write.node(f"{where}/Sub", [seen, looking], square, _INT)
        index = write.node(f"{where}/Add", [apart, write.integer(farthest)], square, _INT)
        bucket = write.node(f"{where}/Gather", [table, index], square, _INT, axis=0)
        bias = write.embedding(path, bucket, self.setting("relative_attention_num_buckets"), self.heads)
        bias = write.node(f"{where}/Transpose", [bias], (self.heads, *square), perm=[2, 0, 1])
        return write.node(f"{where}/Unsqueeze", [bias, axes[0]], (1, self.heads, *square))

    def layer(self, parts: Layer, path: str, x: ir.Value, mask: ir.Value) -> ir.Value:
        """Attention and feed-forward, each added to what it read and normalized."""
        write, width = self.write, self.width

        def at(part: str) -> str:
            return f"{path}.{part}" if part else path

        attended = self.attention(parts, at, x, mask)
        total = write.node(f"{at(parts.after)}/Sum", [attended, x], dims(x))
        x = write.norm(at(parts.norm), total, width)
        inner = write.linear(at(parts.up), x, self.setting("intermediate_size"))
        inner = write.activation(self.setting("hidden_act"), at(parts.activation), inner)
        inner = write.linear(at(parts.down), inner, width)
        total = write.node(f"{at(parts.residual)}/Sum", [inner, x], dims(x))
        return write.norm(at(parts.last_norm), total, width)

    def attention(self, parts: Layer, at: Callable[[str], str], x: ir.Value, mask: ir.Value) -> ir.Value:
        """Attention and its output's Linear; `at` gives the path of a part.

        The key's bias is left out, as a softmax does not see it, and the value's is added behind the attention, as the
        weights of an attention sum to one: see `passes.attention.drop_attention_biases`. Where biases are not `moved`
        each layer reads and gives what it does in torch.
        """
        write, width = self.write, self.width
        query = write.linear(at(parts.query), x, width)
        key, value = (write.linear(at(part), x, width, bias=not self.moved) for part in (parts.key, parts.value))
        settings = {"scale": (width // self.heads) ** -0.5, "q_num_heads": self.heads, "kv_num_heads": self.heads}
        settings |= {"is_causal": 0, "qk_matmul_output_mode": 0, "softcap": 0.0}
        attended = write.node(f"{at(parts.attention)}/Attention", [query, key, value, mask], dims(x), **settings)
        if not self.moved:
            return write.linear(at(parts.output), attended, width)
        _, dropped, own = (
            write.tensors.of(f"{at(name)}.bias", width) for name in (parts.key, parts.value, parts.output)
        )
        out = write.tensors.of(f"{at(parts.output)}.weight", width, width)
        bias = (own.astype(np.float64) + out.astype(np.float64) @ dropped.astype(np.float64)).astype(np.float32)
        return write.linear(at(parts.output), attended, width, bias)

    def head(self, x: ir.Value) -> list[ir.Value]:
        """The outputs, by the steps of the task's head."""
        for step in self.family.heads[self.signature.task]:
            if isinstance(step, Spans):
                return self.spans(step, x)
            x = self.step(step, x)
        return [token_vectors(self.write, self.signature, x)]

    def step(self, step: Step, x: ir.Value) -> ir.Value:
        """One step of a head."""
        write = self.write
        match step:
            case First(scope):
                return write.node(f"{scope}/Gather", [x, write.integer(0)], (_BATCH, self.width), axis=1)
            case Linear(path, outputs):
                return write.linear(path, x, self.setting(outputs))
            case Activation(kind, scope):
                return write.activation(self.setting(kind) if kind.endswith(("act", "activation")) else kind, scope, x)
            case Norm(path, width):
                return write.norm(path, x, self.setting(width))
            case Vocabulary(path, bias):
                return self.vocabulary(path, bias, x)
            case Spans():  # the last step of a head, which has two outputs: see `head`
                raise UnwrittenError(f"a head goes on behind its spans: {step.path}")

    def vocabulary(self, path: str, bias: str, x: ir.Value) -> ir.Value:
        """Logits of words, by the table of word vectors, or by a matrix of its own where the two are not tied."""
        write, rows, width = self.write, self.setting("vocab_size"), width_of(x)
        table, own = f"{self.path('embeddings')}.word_embeddings.weight", f"{path}.weight"
        if not self.config["tie_word_embeddings"]:
            matrix = write.constant(own, write.tensors.of(own, rows, width))
        else:
            matrix = write.constant(table, write.tensors.of(table, rows, width))
            if own in write.tensors and not np.array_equal(write.tensors.of(own, rows, width), write.tensors[table]):
                raise UnwrittenError(f"{own}, which is tied to {table}, has other numbers")
        turned = write.node(f"{path}/Transpose", [matrix], (width, rows), perm=[1, 0])
        shape = (*dims(x)[:-1], rows)
        product = write.node(f"{path}/MatMul", [x, turned], shape)
        twin = f"{path}.bias"
        if bias not in write.tensors or not self.config["tie_word_embeddings"]:
            bias, twin = twin, bias
        added = write.vector(bias, rows)
        if twin in write.tensors and not np.array_equal(write.tensors.of(twin, rows), write.tensors[bias]):
            raise UnwrittenError(f"{twin}, which is tied to {bias}, has other numbers")
        return write.node(f"{path}/Add", [product, added], shape)

    def spans(self, step: Spans, x: ir.Value) -> list[ir.Value]:
        """Where an answer starts and where it ends: a logit of each token for both."""
        write = self.write
        both = write.linear(step.path, x, 2)
        parts = ir.node("Split", [both], {"axis": -1, "num_outputs": 2}, num_outputs=2, name="/Split")
        write.nodes.append(parts)
        outputs = []
        for index, part in enumerate(parts.outputs):
            part.name, part.type = f"/Split{f':{index}' if index else ''}", both.type
            part.shape = ir.Shape((_BATCH, _LENGTH, 1))
            outputs.append(write.node("/Squeeze", [part, write.integers(-1)], (_BATCH, _LENGTH)))
        return outputs
