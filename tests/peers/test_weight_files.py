"""Files that torch and transformers write, read without them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.foreign_files import outcome

from bert_jax.formats.safetensors_files import read_safetensors, write_safetensors
from bert_jax.formats.torch_pickle import read_torch_pickle

pytestmark = pytest.mark.peers

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8"),
    *("float16", "bfloat16", "float32", "float64"),
)


@pytest.fixture(scope="module")
def torch() -> Any:
    """Imported here, for the tests are collected without it too."""
    return importlib.import_module("torch")


@pytest.fixture(scope="module")
def transformers() -> Any:
    return importlib.import_module("transformers")


def as_numpy(torch: Any, tensor: Any) -> np.ndarray:
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return wide.detach().numpy()


def assert_same(torch: Any, weights: Any, state: Any) -> None:
    assert sorted(weights) == sorted(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(
            weights[name], as_numpy(torch, tensor), strict=bool(tensor.ndim)
        )
        assert weights.dtypes[name] == str(tensor.dtype).removeprefix("torch.")


def varied_state(torch: Any) -> dict[str, Any]:
    """Every type, and tensors that share, skip and turn their storages."""
    base = (9 * torch.rand(4, 6, generator=torch.Generator().manual_seed(0))).round()
    state = {name: base.to(getattr(torch, name)) for name in DTYPES}
    state["shared"] = state["float32"]
    state["row"] = state["float32"][1]
    state["columns"] = state["float32"][:, 1::2]
    state["turned"] = state["float32"].T
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(base.clone())
    state["ids"] = torch.arange(7).expand(1, -1)
    return state


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_saved_by_torch(tmp_path: Path, torch: Any, is_zip: bool, protocol: int) -> None:
    state, path = varied_state(torch), tmp_path / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
    weights = read_torch_pickle(path)
    assert list(weights) == list(state)
    assert_same(torch, weights, state)
    if protocol == 2:  # its own reader of weights does not do the newer ones
        assert_same(torch, weights, torch.load(path, weights_only=True))


def test_published_file(shared_data: Path, torch: Any) -> None:
    path = shared_data / "hf_weights" / "tiny_ner_pytorch_bin" / "pytorch_model.bin"
    assert_same(torch, read_torch_pickle(path), torch.load(path, weights_only=True))


def test_flipped_bits_of_a_published_file(
    shared_data: Path, tmp_path: Path, torch: Any
) -> None:
    """Where torch reads the right values, so do we; elsewhere nobody gets wrong ones."""
    published = shared_data / "hf_weights" / "tiny_ner_pytorch_bin" / "pytorch_model.bin"
    state = torch.load(published, weights_only=True)
    content, path = published.read_bytes(), tmp_path / "a.bin"
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=500):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        found = outcome(lambda: read_torch_pickle(path))
        if not isinstance(found, str):
            assert list(found) == list(state)
            assert all((found[name] == state[name].numpy()).all() for name in state)


@pytest.mark.parametrize("what", ["module", "checkpoint", "float8", "sparse"])
def test_what_is_no_state_dict(tmp_path: Path, torch: Any, what: str) -> None:
    value = {
        "module": torch.nn.Linear(2, 2),
        "checkpoint": {"model": {"w": torch.ones(2)}, "epoch": 3},
        "float8": {"w": torch.ones(2).to(torch.float8_e4m3fn)},
        "sparse": {"w": torch.eye(2).to_sparse()},
    }[what]
    torch.save(value, tmp_path / "a.bin")
    message = outcome(lambda: read_torch_pickle(tmp_path / "a.bin"))
    said = {
        "module": "it asks for 'torch.nn.modules.linear.Linear', which is refused",
        "checkpoint": "'model' is a dict; save model.state_dict()",
        "float8": "it asks for 'torch._utils._rebuild_tensor_v3', which is refused",
        "sparse": "it asks for 'torch._utils._rebuild_sparse_tensor', which is refused",
    }
    assert isinstance(message, str) and said[what] in message


def test_shards_of_transformers(tmp_path: Path, torch: Any, transformers: Any) -> None:
    config = transformers.BertConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    model = transformers.BertModel(config)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    assert len(set(json.loads(index.read_text())["weight_map"].values())) > 2
    assert_same(torch, read_safetensors(index), model.state_dict())


def test_read_by_torch(tmp_path: Path, torch: Any) -> None:
    library = importlib.import_module("safetensors.torch")
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3)}
    write_safetensors(tmp_path / "a.safetensors", arrays, {"format": "pt"})
    state = library.load_file(tmp_path / "a.safetensors")
    assert_same(torch, read_safetensors(tmp_path / "a.safetensors"), state)
    np.testing.assert_array_equal(state["x"].numpy(), arrays["x"], strict=True)
