"""BERT of Transformers and its training in PyTorch: the independent implementation.

The only module of the tests that imports torch and transformers; only `make_goldens.py`
and the tests marked `peers` import it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
import transformers
from optim.reference_optimizers import (
    AdamWeightDecayOptimizer,
    clip_by_global_norm,
    learning_rate_2018,
)

from bert_jax.batch import PretrainingBatch
from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import OptimConfig
from bert_jax.objective.masking import MaskedTokens

ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
NO_DECAY = ("LayerNorm", "bias")


def make_config(config: BertConfig) -> transformers.BertConfig:
    """The configuration of Transformers with the same field values."""
    fields = {
        **dataclasses.asdict(config),
        "hidden_act": ACTIVATIONS[config.hidden_act],
        "id2label": dict(config.id2label),
    }
    return transformers.BertConfig(**fields, attn_implementation="eager")


def random_state(config: BertConfig, seed: int) -> dict[str, np.ndarray]:
    """Weights under which nothing cancels: sharp attention, no zero bias, no unit scale.

    All values are exact in float16, in which they are stored.
    """
    rng = np.random.default_rng(seed)
    model = transformers.BertForPreTraining(make_config(config))
    state = {}
    for name, parameter in model.named_parameters():  # a tied one comes once
        noise = rng.standard_normal(parameter.shape)
        if name.endswith("LayerNorm.weight"):
            state[name] = 1.0 + 0.2 * noise
        elif name.endswith("bias"):
            state[name] = 0.2 * noise
        else:
            state[name] = 0.3 * noise
    return {name: array.astype(np.float16) for name, array in state.items()}


def published_initial_state(config: BertConfig, seed: int) -> dict[str, np.ndarray]:
    """The weights that Transformers itself draws."""
    torch.manual_seed(seed)
    return state_of(transformers.BertForPreTraining(make_config(config)))


def load_model(
    config: BertConfig, state: dict[str, np.ndarray]
) -> transformers.BertForPreTraining:
    """The model with given weights; it drops nothing as the configuration says."""
    model = transformers.BertForPreTraining(make_config(config))
    for name, parameter in model.named_parameters():
        parameter.data.copy_(torch.from_numpy(state[name].astype(np.float32)))
    return model


def state_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def outputs(
    model: transformers.BertForPreTraining, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the model computes, under the names of bert_jax."""
    model.eval()
    with torch.no_grad():
        output = model(
            **{name: torch.from_numpy(x).long() for name, x in inputs.items()},
            output_hidden_states=True,
            output_attentions=True,
        )
        pooled = model.bert.pooler(output.hidden_states[-1])
    return {
        "prediction_logits": output.prediction_logits.numpy(),
        "seq_relationship_logits": output.seq_relationship_logits.numpy(),
        "pooler_output": pooled.numpy(),
        "hidden_states": torch.stack(output.hidden_states).numpy(),
        "attentions": torch.stack(output.attentions).numpy(),
    }


def train(
    model: transformers.BertForPreTraining,
    batches: Sequence[tuple[PretrainingBatch, MaskedTokens]],
    optim: OptimConfig,
) -> dict[str, np.ndarray]:
    """One update for each batch, masks as given; loss and gradient norm of each."""
    update = _torch_adamw if optim.name == "adamw" else _bert_2018
    step = update(model, optim, num_steps=len(batches))
    losses, norms = [], []
    for batch, masked in batches:
        model.zero_grad()
        output = model(
            torch.tensor(masked.input_ids).long(),
            attention_mask=torch.from_numpy((batch.sequence_ids > 0).astype(np.int32)),
            token_type_ids=torch.from_numpy(batch.token_type_ids),
            labels=torch.from_numpy(_labels(masked)),
            next_sentence_label=torch.from_numpy(batch.sentence_labels[:, 0]).long(),
        )
        output.loss.backward()
        losses.append(output.loss.item())
        norms.append(np.sqrt(sum(p.grad.square().sum().item() for p in model.parameters())))
        step()
    return {"loss": np.array(losses), "grad_norm": np.array(norms)}


def _labels(masked: MaskedTokens) -> np.ndarray:
    """The ids to predict where they stand, −100 elsewhere."""
    labels_BL = np.full(masked.input_ids.shape, -100)
    for row, place in zip(*np.nonzero(masked.weights), strict=True):
        labels_BL[row, masked.positions[row, place]] = masked.labels[row, place]
    return labels_BL


def _torch_adamw(model, optim: OptimConfig, num_steps: int):
    """torch.optim.AdamW with groups, torch's own clip and its LambdaLR."""
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        (others if any(n in name for n in NO_DECAY) else decayed).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": optim.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=optim.learning_rate,
        betas=(optim.beta1, optim.beta2),
        eps=optim.epsilon,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: learning_rate_2018(k, 1.0, num_steps, optim.warmup_steps)
    )

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), optim.clip_norm)
        optimizer.step()
        scheduler.step()

    return step


def _bert_2018(model, optim: OptimConfig, num_steps: int):
    """The update rule of 2018 on torch's gradients."""
    optimizer = AdamWeightDecayOptimizer(
        optim.weight_decay, optim.beta1, optim.beta2, optim.epsilon, NO_DECAY
    )
    global_step = 0

    def step() -> None:
        nonlocal global_step
        grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
        new = optimizer.apply_gradients(
            clip_by_global_norm(grads, optim.clip_norm),
            state_of(model),
            learning_rate_2018(
                global_step, optim.learning_rate, num_steps, optim.warmup_steps
            ),
        )
        for name, parameter in model.named_parameters():
            parameter.data.copy_(torch.from_numpy(new[name]))
        global_step += 1

    return step
