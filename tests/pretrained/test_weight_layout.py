"""Blocks of parameters from the arrays of a file, and back."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from flax import nnx
from pretrained.small_models import CONFIG

from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.pretrained.hugging_face_names import HUGGING_FACE
from bert_jax.pretrained.tf1_names import TF1
from bert_jax.pretrained.weight_layout import read_block


def shapes() -> dict[str, tuple[int, ...]]:
    """path → shape of all parameters of the pretraining model."""
    tree = nnx.eval_shape(lambda: BertForPreTraining(CONFIG, rngs=nnx.Rngs(0)))
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(tree)))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in leaves
    }


@pytest.fixture(params=[HUGGING_FACE, TF1], ids=["hugging_face", "tf1"])
def pieces(request):
    return request.param.pieces(shapes(), CONFIG)


def numbered(pieces):
    """For each piece an array in which no number stands twice."""
    rng = np.random.default_rng(0)
    return {piece.name: rng.random(piece.file_shape, np.float32) for piece in pieces}


def whole(shape):
    return tuple(slice(0, size) for size in shape)


def test_every_parameter_is_covered_once_but_for_the_padding(pieces):
    padding = {"bert/embeddings/word/embedding": 45 * 24, "masked_lm/bias": 45}
    for path, shape in shapes().items():
        mine = [piece for piece in pieces if piece.path == path]
        covered = sum(math.prod(piece.part_shape) for piece in mine)
        expected = math.prod(shape) - (padding[path] if path in padding else 0)
        assert covered == expected, path
    names = [piece.name for piece in pieces]
    assert len(names) == len(set(names)) == 5 + 16 * 2 + 2 + 5 + 2


def test_arrays_come_back(pieces):
    arrays = numbered(pieces)
    for path, shape in shapes().items():
        mine = [piece for piece in pieces if piece.path == path]
        parameter = read_block(shape, whole(shape), mine, arrays)
        assert parameter.dtype == np.float32 and parameter.flags.c_contiguous
        assert parameter.ctypes.data % 64 == 0
        for piece in mine:
            found = piece.array(parameter)
            np.testing.assert_array_equal(found, arrays[piece.name])
            assert found.flags.c_contiguous


def test_a_block_is_that_of_the_whole(pieces):
    arrays = numbered(pieces)
    rng = np.random.default_rng(1)
    for path, shape in shapes().items():
        mine = [piece for piece in pieces if piece.path == path]
        parameter = read_block(shape, whole(shape), mine, arrays)
        for _ in range(5):
            starts = [int(rng.integers(0, size)) for size in shape]
            index = tuple(
                slice(start, int(rng.integers(start + 1, size + 1)))
                for start, size in zip(starts, shape, strict=True)
            )
            block = read_block(shape, index, mine, arrays)
            np.testing.assert_array_equal(block, parameter[index], err_msg=path)


def test_a_block_reads_only_the_arrays_that_it_needs(pieces):
    arrays, asked = numbered(pieces), []

    class Spy(dict):
        def __getitem__(self, name):
            asked.append(name)
            return arrays[name]

    path = "bert/encoder/layers/attention/qkv/kernel"
    mine = [piece for piece in pieces if piece.path == path]
    index = (slice(1, 2), slice(0, 12), slice(2, 3), slice(0, 4), slice(0, 6))
    block = read_block(shapes()[path], index, mine, Spy())
    assert block.shape == (1, 12, 1, 4, 6)
    assert len(asked) == 1 and "1" in asked[0] and "value" in asked[0]


def test_where_a_kernel_lies():
    """Against the definition, not against its own inverse."""
    arrays = numbered(HUGGING_FACE.pieces(shapes(), CONFIG))
    path = "bert/encoder/layers/attention/qkv/kernel"
    mine = [p for p in HUGGING_FACE.pieces(shapes(), CONFIG) if p.path == path]
    parameter = read_block(shapes()[path], whole(shapes()[path]), mine, arrays)
    key = arrays["bert.encoder.layer.1.attention.self.key.weight"]  # (outputs, inputs)
    assert parameter[1, 7, 1, 3, 5] == key[3 * 6 + 5, 7]
    path = "bert/encoder/layers/attention/output/kernel"
    mine = [p for p in HUGGING_FACE.pieces(shapes(), CONFIG) if p.path == path]
    parameter = read_block(shapes()[path], whole(shapes()[path]), mine, arrays)
    output = arrays["bert.encoder.layer.0.attention.output.dense.weight"]
    assert parameter[0, 3, 5, 7] == output[7, 3 * 6 + 5]


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_other_floating_point_numbers(dtype):
    pieces = [p for p in TF1.pieces(shapes(), CONFIG) if p.path == "next_sentence/kernel"]
    array = np.arange(48, dtype=dtype).reshape(2, 24) / 64
    block = read_block((24, 2), whole((24, 2)), pieces, {pieces[0].name: array})
    assert block.dtype == np.float32
    np.testing.assert_array_equal(block, array.T.astype(np.float32))
