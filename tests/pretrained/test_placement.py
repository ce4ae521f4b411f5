"""Where loaded parameters live: over a mesh, and in how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from pretrained.small_models import (
    CLASSES,
    CONFIG,
    IDS,
    MASK,
    assert_equal_params,
    make_arrays,
    write_folder,
)

import bert_jax
from bert_jax import BertForQuestionAnswering, BertForSequenceClassification
from bert_jax.config_sections import MeshConfig
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.rules import SHARDING_RULES, rules_for, tree_shardings
from bert_jax.pretrained import loading


@pytest.mark.parametrize("class_name", CLASSES)
def test_every_class_has_a_rule_for_each_parameter(class_name: str) -> None:
    cls = getattr(bert_jax, class_name)
    tree = nnx.eval_shape(lambda: cls(CONFIG, rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(tree))
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    shardings = jax.tree.leaves(tree_shardings(params, mesh, rules_for(params)))
    assert len(shardings) == len(jax.tree.leaves(params))
    if class_name == "BertForPreTraining":
        assert sorted(rules_for(params)) == sorted(SHARDING_RULES)
    else:
        with pytest.raises(ValueError, match=r"match nothing|matches 0"):
            tree_shardings(params, mesh, SHARDING_RULES)


def test_over_a_mesh_each_device_reads_its_own_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = make_arrays("BertForQuestionAnswering")
    folder = write_folder(tmp_path, arrays, "BertForQuestionAnswering")
    expected = BertForQuestionAnswering.from_pretrained(folder)
    blocks: list[int] = []

    def spy(*arguments: Any) -> np.ndarray:
        block = original(*arguments)
        blocks.append(block.size)
        return block

    original = loading.read_block
    monkeypatch.setattr(loading, "read_block", spy)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    model = BertForQuestionAnswering.from_pretrained(folder, mesh=mesh)
    assert_equal_params(model, expected)
    # No number was copied twice, and none but small arrays stand whole on a device.
    leaves = jax.tree.leaves(nnx.state(model))
    assert sum(blocks) == sum(leaf.size for leaf in leaves)
    kernel = model.bert.encoder.layers.feed_forward_in.kernel[...]
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(2, 12, 20)}
    assert len(kernel.sharding.device_set) == 8
    for ids, mask in ((IDS, MASK), (np.tile(IDS, (2, 1)), np.tile(MASK, (2, 1)))):
        a, b = model(ids, mask), expected(ids, mask)
        np.testing.assert_allclose(a.start_logits, b.start_logits, rtol=1e-5, atol=1e-5)


def test_a_new_head_over_a_mesh(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, make_arrays("BertForPreTraining"))
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    divided, report = BertForSequenceClassification.load(folder, mesh=mesh, num_labels=5)
    whole, _ = BertForSequenceClassification.load(folder, num_labels=5)
    assert report.missing == ("classifier.bias", "classifier.weight")
    assert len(divided.classifier.kernel[...].sharding.device_set) == 8
    np.testing.assert_allclose(
        divided.classifier.kernel[...], whole.classifier.kernel[...], rtol=1e-6
    )


MEMORY = """
import pathlib, sys, threading, time
import jax
from bert_jax import BertModel

def anonymous():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024

BertModel.load(sys.argv[1])  # what is loaded once and for all
before, peak, done = anonymous(), [0], threading.Event()

def watch():
    while not done.is_set():
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.001)

watcher = threading.Thread(target=watch)
watcher.start()
model, _ = BertModel.load(sys.argv[2])
second = jax.tree.map(lambda x: x + 0, model.embeddings.word.embedding[...]) \\
    if sys.argv[3] == "copy" else None
jax.block_until_ready(second)
done.set()
watcher.join()
print(max(peak[0], anonymous()) - before)
"""


def test_memory_is_that_of_the_parameters(run_python: Any, tmp_path: Path) -> None:
    """One copy of all, and a second one of the largest array as the control."""
    small = write_folder(tmp_path / "small", make_arrays("BertModel"))
    sizes = {"vocab_size": 40_000, "hidden_size": 256, "intermediate_size": 1024}
    arrays = make_arrays("BertModel", **sizes, num_hidden_layers=4)
    large = write_folder(tmp_path / "large", arrays, **sizes, num_hidden_layers=4)
    size = (large / "model.safetensors").stat().st_size
    assert size > 50e6
    ratios = {}
    for kind in ("plain", "copy"):
        done = run_python("-c", MEMORY, str(small), str(large), kind)
        assert done.returncode == 0, done.stderr
        ratios[kind] = int(done.stdout) / size
    assert 0.9 < ratios["plain"] < 1.3
    assert ratios["copy"] > 1.6
