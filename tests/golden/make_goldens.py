"""Makes model.npz and steps.npz, the golden arrays of Transformers and PyTorch.

    PYTHONPATH=.:tests JAX_PLATFORMS=cpu python tests/golden/make_goldens.py

Needs the extra `peers`. Run it again when `cases.py` changes, or the masks that bert_jax
draws; the weights and the arithmetic are Transformers', so nothing else of bert_jax can
change the files.
"""

from __future__ import annotations

import dataclasses
import platform
from typing import Any

import jax
import numpy as np
import torch
import transformers
from batches import mask_batch
from golden import cases, torch_peer

from bert_jax.batch import PretrainingBatch
from bert_jax.bert_config import BertConfig
from bert_jax.objective.masking import MaskedTokens

PROVENANCE = (
    f"tests/golden/make_goldens.py, transformers {transformers.__version__}, "
    f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}"
)


def masked_batches(seed: int) -> list[tuple[PretrainingBatch, MaskedTokens]]:
    """The batches of a run with the masks that our step draws for them."""
    result = []
    for step in range(cases.NUM_STEPS):
        batch = cases.training_batch(step, seed)
        masked = mask_batch(batch, cases.MASKING, cases.SEED)
        result.append((batch, jax.tree.map(np.asarray, masked)))
    return result


def num_parameters(size: str) -> int:
    """Parameters of BertForPreTraining of a named size; nothing is allocated."""
    config = torch_peer.make_config(BertConfig.named(size))
    with torch.device("meta"):
        model = transformers.BertForPreTraining(config)
    return sum(p.numel() for p in model.parameters())


def model_arrays() -> dict[str, Any]:
    state = torch_peer.random_state(cases.CONFIG, seed=1)
    arrays: dict[str, Any] = {f"weights/{name}": x for name, x in state.items()}
    for activation in torch_peer.ACTIVATIONS:
        config = dataclasses.replace(cases.CONFIG, hidden_act=activation)
        model = torch_peer.load_model(config, state)
        for name, x in torch_peer.outputs(model, cases.model_inputs()).items():
            arrays[f"{activation}/{name}"] = x
    for size in ("base", "large"):
        arrays[f"num_parameters/{size}"] = num_parameters(size)
    return arrays


def steps_arrays() -> dict[str, Any]:
    state = torch_peer.random_state(cases.CONFIG, seed=1)
    batches = masked_batches(seed=0)
    arrays: dict[str, Any] = {
        "masked_input_ids": np.stack([masked.input_ids for _, masked in batches]).astype(
            np.uint8
        )
    }
    for name, optim in cases.OPTIMIZERS.items():
        model = torch_peer.load_model(cases.CONFIG, state)
        for metric, x in torch_peer.train(model, batches, optim).items():
            arrays[f"{name}/{metric}"] = x
        for parameter, x in torch_peer.state_of(model).items():
            arrays[f"{name}/weights/{parameter}"] = x
    return arrays


def main() -> None:
    for file, arrays in (
        (cases.MODEL_FILE, model_arrays()),
        (cases.STEPS_FILE, steps_arrays()),
    ):
        np.savez_compressed(file, provenance=PROVENANCE, **arrays)
        print(f"{file.name}: {file.stat().st_size:,} bytes, {len(arrays)} arrays")


if __name__ == "__main__":
    main()
