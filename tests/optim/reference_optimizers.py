"""Plain transcriptions of published optimizers, in NumPy and float64.

They share no code with the package: that is what they are for. Parameters and gradients
are dicts of arrays; each step returns new ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

Arrays = dict[str, np.ndarray]


def learning_rate_2018(
    global_step: int, init_lr: float, num_train_steps: int, num_warmup_steps: int
) -> float:
    """google-research/bert, optimization.py:create_optimizer, its learning rate.

    `tf.train.polynomial_decay(init_lr, global_step, num_train_steps,
    end_learning_rate=0.0, power=1.0, cycle=False)`, then the warm-up.
    """
    end_learning_rate, power = 0.0, 1.0
    decay_step = min(global_step, num_train_steps)
    learning_rate = (init_lr - end_learning_rate) * (
        1 - decay_step / num_train_steps
    ) ** power + end_learning_rate
    if num_warmup_steps:
        warmup_percent_done = global_step / num_warmup_steps
        warmup_learning_rate = init_lr * warmup_percent_done
        is_warmup = float(global_step < num_warmup_steps)
        learning_rate = (1.0 - is_warmup) * learning_rate + is_warmup * warmup_learning_rate
    return learning_rate


def clip_by_global_norm(grads: Arrays, clip_norm: float) -> Arrays:
    """tf.clip_by_global_norm: t · clip_norm / max(global_norm, clip_norm)."""
    global_norm = np.sqrt(sum(np.sum(np.float64(g) ** 2) for g in grads.values()))
    return {
        name: np.float64(grad) * clip_norm / max(global_norm, clip_norm)
        for name, grad in grads.items()
    }


class AdamWeightDecayOptimizer:
    """google-research/bert, optimization.py:AdamWeightDecayOptimizer; corrects no bias."""

    def __init__(
        self,
        weight_decay_rate: float = 0.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        exclude_from_weight_decay: Sequence[str] = (),
    ):
        self.weight_decay_rate = weight_decay_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.exclude_from_weight_decay = exclude_from_weight_decay
        self.m: Arrays = {}
        self.v: Arrays = {}

    def apply_gradients(
        self, grads: Arrays, params: Arrays, learning_rate: float
    ) -> Arrays:
        new_params = {}
        for name, param in params.items():
            grad, param = np.float64(grads[name]), np.float64(param)
            if name not in self.m:
                self.m[name], self.v[name] = np.zeros_like(param), np.zeros_like(param)
            next_m = self.beta_1 * self.m[name] + (1.0 - self.beta_1) * grad
            next_v = self.beta_2 * self.v[name] + (1.0 - self.beta_2) * grad**2
            update = next_m / (np.sqrt(next_v) + self.epsilon)
            if self._do_use_weight_decay(name):
                update += self.weight_decay_rate * param
            update_with_lr = learning_rate * update
            new_params[name] = param - update_with_lr
            self.m[name], self.v[name] = next_m, next_v
        return new_params

    def _do_use_weight_decay(self, param_name: str) -> bool:
        if not self.weight_decay_rate:
            return False
        return not any(re.search(r, param_name) for r in self.exclude_from_weight_decay)


class AdamW:
    """Loshchilov & Hutter 2019, Algorithm 2, lines 6 to 12 (green terms).

    Its schedule multiplier η_t stands for the whole learning rate here and its α is 1, so
    that the decay is multiplied by the learning rate, as every framework does.
    """

    def __init__(
        self,
        weight_decay: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        exclude_from_weight_decay: Sequence[str] = (),
    ):
        self.weight_decay = weight_decay
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.exclude_from_weight_decay = exclude_from_weight_decay
        self.t = 0
        self.m: Arrays = {}
        self.v: Arrays = {}

    def apply_gradients(
        self, grads: Arrays, params: Arrays, learning_rate: float
    ) -> Arrays:
        self.t += 1
        new_params = {}
        for name, param in params.items():
            g, theta = np.float64(grads[name]), np.float64(param)
            if self.t == 1:
                self.m[name], self.v[name] = np.zeros_like(theta), np.zeros_like(theta)
            self.m[name] = self.beta_1 * self.m[name] + (1 - self.beta_1) * g
            self.v[name] = self.beta_2 * self.v[name] + (1 - self.beta_2) * g**2
            m_hat = self.m[name] / (1 - self.beta_1**self.t)
            v_hat = self.v[name] / (1 - self.beta_2**self.t)
            decay = self.weight_decay
            if any(re.search(r, name) for r in self.exclude_from_weight_decay):
                decay = 0.0
            new_params[name] = theta - learning_rate * (
                m_hat / (np.sqrt(v_hat) + self.epsilon) + decay * theta
            )
        return new_params
