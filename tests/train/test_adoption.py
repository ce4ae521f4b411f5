"""Going on from another model."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx
from tiny_run import tiny_values

from bert_jax.bert_config import BertConfig
from bert_jax.config import Config
from bert_jax.formats.orbax import load_params
from bert_jax.pretrained.classes import BertForPreTraining, BertModel
from bert_jax.report.metrics_file import read_metrics
from bert_jax.report.progress import Progress
from bert_jax.text.tokenizer import load_tokenizer
from bert_jax.train.adoption import adopt, keep_adopted
from bert_jax.train.pretrain import pretrain


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))


def start(config: Config, workdir: Path) -> Any:
    with open(os.devnull, "w") as nowhere, Progress(nowhere) as progress:
        return pretrain(config, workdir, progress)


def config_from(model: Path | str, text: Path, **train: Any) -> Config:
    values = tiny_values(text, **train)
    values["model"] = {"name": "base"}  # all of it is taken from the model
    values["tokenizer"] = {}
    return Config.from_dict({**values, "init_from": str(model)})


def held_out_losses(workdir: Path) -> dict[int, float]:
    """The loss on masked words by step."""
    rows = [row for row in read_metrics(workdir) if "split" in row]
    return {row["step"]: row["mlm_loss"] for row in rows if row["split"] == "eval"}


def test_a_published_encoder_goes_on(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "hf_weights" / "tiny_bert_safetensors"
    text = shared_data / "wiki" / "wiki_00.gz"
    config = config_from(source, text, num_steps=4)
    with pytest.warns(UserWarning, match=r"initialised at random.*(masked|cls|pooler)"):
        outcome = start(config, tmp_path / "run")
    assert outcome.metrics.keys() >= {"mlm_loss", "nsp_loss"}
    ours = load_tokenizer(tmp_path / "run" / "tokenizer")
    assert ours.vocab_size == 256
    assert ours.encode("the world") == load_tokenizer(source).encode("the world")
    # Four small steps away from where it began: the published weights, not fresh ones.
    _, params, _ = load_params(tmp_path / "run" / "checkpoints")
    before = BertModel.from_pretrained(source, add_pooling_layer=False)
    published = np.asarray(before.embeddings.word.embedding[...])
    moved = np.abs(
        np.asarray(params["bert"]["embeddings"]["word"]["embedding"]) - published
    )
    assert 0 < moved.max() < 0.01 < np.abs(published).max()


def test_it_starts_where_the_model_was(tiny_workdir: Path, tmp_path: Path) -> None:
    """The held-out loss before the first step is that of the trained model."""
    text = tiny_workdir.parent / "text" / "a.txt"
    start(config_from(tiny_workdir, text, num_steps=3), tmp_path / "run")
    new, old = held_out_losses(tmp_path / "run"), held_out_losses(tiny_workdir)
    assert new[0] == pytest.approx(old[6], 1e-5)
    assert new[0] < old[0]
    # A fresh optimizer: the rate begins again at 0.
    first = next(r for r in read_metrics(tmp_path / "run") if "split" not in r)
    assert (first["step"], first["learning_rate"]) == (1, 0.0)


def test_a_run_resumes_though_its_model_is_gone(tiny_workdir: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_workdir, tmp_path / "model"))
    text = tiny_workdir.parent / "text" / "a.txt"
    start(config_from(model, text, num_steps=3), tmp_path / "run")
    shutil.rmtree(model)
    start(config_from(model, text, num_steps=6), tmp_path / "run")
    steps = [r["step"] for r in read_metrics(tmp_path / "run") if "split" not in r]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_language_without_spaces(tiny_workdir: Path, tmp_path: Path) -> None:
    """A model of Chinese, first trained, then gone on from, on Chinese."""
    text = tmp_path / "zh.txt"
    rng = np.random.default_rng(0)
    characters = [chr(0x4E00 + i) for i in range(200)]

    def sentence() -> str:
        return "".join(rng.choice(characters, rng.integers(4, 12))) + "。"

    documents = ["".join(sentence() for _ in range(12)) for _ in range(60)]
    text.write_text("\n\n".join(documents), encoding="utf-8")
    values = tiny_values(text, num_steps=3)
    values["data"]["language"] = "zh"
    start(Config.from_dict(values), tmp_path / "first")
    tokenizer = load_tokenizer(tmp_path / "first" / "tokenizer")
    assert len(tokenizer.encode("".join(characters[:5]))) == 5  # each is a word
    following = config_from(tmp_path / "first", text, num_steps=3)
    data = dataclasses.replace(following.data, language="zh")
    outcome = start(dataclasses.replace(following, data=data), tmp_path / "second")
    assert outcome.metrics.keys() >= {"mlm_loss", "nsp_loss"}
    losses = [held_out_losses(tmp_path / name) for name in ("first", "second")]
    assert losses[1][0] == pytest.approx(losses[0][3], 1e-5)
    assert losses[1][0] != pytest.approx(losses[0][0], 1e-5)


def test_a_second_phase_has_longer_rows_over_the_same_shards(
    tiny_root: Path, tiny_workdir: Path, tmp_path: Path
) -> None:
    text = tiny_root / "text" / "a.txt"
    model = Path(shutil.copytree(tiny_workdir, tmp_path / "first"))
    config = config_from(model, text, num_steps=3)
    data = dataclasses.replace(config.data, sequence_length=24, packing=2)
    second = adopt(dataclasses.replace(config, data=data))
    assert Path(second.data.directory) == tiny_root / "data"
    start(dataclasses.replace(config, data=data), tmp_path / "second")
    assert not (tmp_path / "cache" / "bert_jax" / "data").exists()
    new, old = held_out_losses(tmp_path / "second"), held_out_losses(model)
    assert new[0] < old[0]
    # Of other text the shards are no use: its own are made, with the same vocabulary.
    other = dataclasses.replace(config.data, eval_fraction=0.2)
    assert not adopt(dataclasses.replace(config, data=other)).data.directory


def test_one_segment_is_too_few(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=64,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        type_vocab_size=1,
    )
    BertForPreTraining(config, rngs=nnx.Rngs(0)).save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match=r"type_vocab_size=1; it must be 2"):
        adopt(config_from(tmp_path / "m", tmp_path / "a.txt"))


def test_without_a_model_nothing_is_adopted(tiny_config: Callable[..., Config]) -> None:
    config = tiny_config()
    assert adopt(config) is config


def test_other_sizes_than_the_models_are_refused(tiny_workdir: Path):
    text = tiny_workdir.parent / "text" / "a.txt"
    config = config_from(tiny_workdir, text)
    adopted = adopt(config)
    # The sizes of the model itself may be said.
    assert adopt(adopted).model == adopted.model
    other = dataclasses.replace(config.model, intermediate_size=48)
    with pytest.raises(ValueError, match=r"model\.intermediate_size=48 must be \d+, as"):
        adopt(dataclasses.replace(config, model=other))
    with pytest.raises(ValueError, match=r"model\.intermediate_size=48 must be \d+, as"):
        keep_adopted(dataclasses.replace(config, model=other), adopted)
