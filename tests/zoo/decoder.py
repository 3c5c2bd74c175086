"""A language model as it is built for generation: ONNX Runtime's own operators, a KV cache in and out."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from tests.zoo.zoo_model import ZooModel, floats, integers, model, node, normal

LAYERS, HIDDEN, HEADS, KV_HEADS, WORDS = 2, 64, 4, 2, 40
SIZE = HIDDEN // HEADS
_MICROSOFT = {"domain": "com.microsoft"}


def decoder() -> onnx.ModelProto:
    """Two layers: 4-bit weights, grouped attention over a cache, norms that add, tied embeddings."""
    rng = np.random.default_rng(31)
    weights: dict[str, np.ndarray] = {
        "table": normal(rng, WORDS, HIDDEN),
        "gamma": (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32),
        "cos": np.cos(np.outer(np.arange(64), 1 / 10 ** np.arange(SIZE // 2))).astype(np.float32),
        "sin": np.sin(np.outer(np.arange(64), 1 / 10 ** np.arange(SIZE // 2))).astype(np.float32),
        "at0": np.array([0]),
        "at1": np.array(1),
        "at2": np.array(2),
        "one": np.array(1),
    }
    nodes = [
        # Lengths follow from shapes: every sequence is as long as the batch is.
        node("Shape", ["tokens"], ["tokens_shape"]),
        node("Shape", ["past0_key"], ["past_shape"]),
        node("Gather", ["tokens_shape", "at1"], ["num_new"]),
        node("Gather", ["past_shape", "at2"], ["num_past"]),
        node("Add", ["num_new", "num_past"], ["num_total"]),
        node("Cast", ["num_total"], ["total"], to=TensorProto.INT32),
        node("Sub", ["num_total", "one"], ["last"]),
        node("Gather", ["tokens_shape", "at0"], ["batch"]),
        node("Expand", ["last", "batch"], ["lasts"]),
        node("Cast", ["lasts"], ["lengths"], to=TensorProto.INT32),
        node("Gather", ["table", "tokens"], ["residual"]),
        node("SimplifiedLayerNormalization", ["residual", "gamma"], ["normed"], axis=-1),
    ]
    residual, normed = "residual", "normed"
    kv = KV_HEADS * SIZE
    for layer in range(LAYERS):
        p = f"layer{layer}."
        for part, width in (("q", HIDDEN), ("k", kv), ("v", kv)):
            _packed(nodes, weights, rng, f"{p}{part}", normed, HIDDEN, width)
        taken = [
            f"{p}q",
            f"{p}k",
            f"{p}v",
            f"past{layer}_key",
            f"past{layer}_value",
            "lengths",
            "total",
            "cos",
            "sin",
        ]
        given = [f"{p}context", f"present{layer}_key", f"present{layer}_value"]
        heads = {"num_heads": HEADS, "kv_num_heads": KV_HEADS, "do_rotary": 1}
        nodes.append(node("GroupQueryAttention", taken, given, **heads, **_MICROSOFT))
        _packed(nodes, weights, rng, f"{p}out", f"{p}context", HIDDEN, HIDDEN)
        residual, normed = _norm(nodes, f"{p}attended", residual, f"{p}out")
        for part in ("gate", "up"):
            _packed(nodes, weights, rng, f"{p}{part}", normed, HIDDEN, 2 * HIDDEN)
        nodes += [
            node("Sigmoid", [f"{p}gate"], [f"{p}open"]),
            node("Mul", [f"{p}gate", f"{p}open"], [f"{p}silu"]),
            node("Mul", [f"{p}silu", f"{p}up"], [f"{p}gated"]),
        ]
        _packed(nodes, weights, rng, f"{p}down", f"{p}gated", 2 * HIDDEN, HIDDEN)
        residual, normed = _norm(nodes, f"{p}fed", residual, f"{p}down")
    nodes += [
        node("Transpose", ["table"], ["table_t"], perm=[1, 0]),
        node("MatMul", [normed, "table_t"], ["logits"]),
    ]
    inputs, outputs = [integers("tokens", "N", "S")], [floats("logits", "N", "S", WORDS)]
    for layer in range(LAYERS):
        for part in ("key", "value"):
            inputs.append(floats(f"past{layer}_{part}", "N", KV_HEADS, "P", SIZE))
            outputs.append(floats(f"present{layer}_{part}", "N", KV_HEADS, "T", SIZE))
    return model(nodes, inputs, outputs, weights, {"": 17, "com.microsoft": 1})


def _packed(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    rng: np.random.Generator,
    name: str,
    taken: str,
    wide: int,
    narrow: int,
) -> None:
    """Adds a product with weights of four bits, 32 to a block."""
    blocks = wide // 32
    weights[f"{name}.packed"] = rng.integers(0, 256, (narrow, blocks, 16)).astype(np.uint8)
    weights[f"{name}.scales"] = rng.uniform(0.01, 0.05, narrow * blocks).astype(np.float32)
    attributes = {"K": wide, "N": narrow, "bits": 4, "block_size": 32, **_MICROSOFT}
    nodes.append(node("MatMulNBits", [taken, f"{name}.packed", f"{name}.scales"], [name], **attributes))


def _norm(nodes: list[onnx.NodeProto], name: str, residual: str, taken: str) -> tuple[str, str]:
    """Adds a norm of a sum and returns the names of the sum and of the norm."""
    given = [f"{name}_normed", "", "", f"{name}_sum"]
    nodes.append(
        node(
            "SkipSimplifiedLayerNormalization", [taken, residual, "gamma"], given, epsilon=1e-5, **_MICROSOFT
        )
    )
    return given[3], given[0]


def _inputs(seed: int, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    new, past = (3, 0) if seed == 1 else (1, 5)
    made: dict[str, np.ndarray] = {"tokens": rng.integers(0, WORDS, (batch, new))}
    for layer in range(LAYERS):
        for part in ("key", "value"):
            shape = (batch, KV_HEADS, past, SIZE)
            made[f"past{layer}_{part}"] = rng.standard_normal(shape).astype(np.float32)
    return made


DECODERS = (ZooModel("decoder", decoder, _inputs, random=False),)
