"""Random BERTs of Transformers: their files, their numbers, their gradients.

Imports torch and transformers: only tests marked `peers` import it, when they run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers


def make_model(class_name: str, seed: int, **fields: Any) -> Any:
    """A model whose weights let nothing cancel: sharp attention, no zero bias."""
    config = transformers.BertConfig(**fields, attn_implementation="eager")
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = getattr(transformers, class_name)(config)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():  # a tied one comes once
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("LayerNorm.weight"):
            parameter.data = 1.0 + 0.2 * noise
        elif name.endswith("bias"):
            parameter.data = 0.2 * noise
        else:
            parameter.data = 0.3 * noise
    return model.eval()


def load_model(class_name: str, folder: Path) -> Any:
    """The model of a folder; nothing of it may be missing or too much."""
    model, info = getattr(transformers, class_name).from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    for problem, names in info.items():
        assert not names, (problem, names)
    return model.eval()


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(x if x.dtype.kind == "f" else x.astype(np.int64))
        for name, x in arrays.items()
    }


def outputs(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """All outputs of a call, by their names; tuples stacked."""
    with torch.no_grad():
        output = model(
            **_tensors(inputs), output_hidden_states=True, output_attentions=True
        )
    return {
        name: (torch.stack(x) if isinstance(x, tuple) else x).numpy()
        for name, x in output.items()
        if x is not None and (not isinstance(x, tuple) or x)
    }


def gradients(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the loss, by the names of the parameters; tied ones once."""
    model.zero_grad()
    model(**_tensors(inputs)).loss.backward()
    return {
        name: np.zeros(p.shape, np.float32) if p.grad is None else p.grad.numpy()
        for name, p in model.named_parameters()
    }
