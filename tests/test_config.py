"""Configurations are read strictly: each mistake one line, all of them at once."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from bert_jax.bert_config import MODEL_SIZES, BertConfig
from bert_jax.config import Config, ConfigError
from bert_jax.strict_fields import walk_fields

SMALL_RUN = {"optim": {"warmup_steps": 1}}

# path=value -> what the line about it must say
BAD = [
    ("model.name", "huge", "one of tiny, mini"),
    ("model.name", "bse", "did you mean 'base'?"),
    ("model.name", 3, "of type str"),
    ("model.name", None, "of type str"),
    ("model.hidden_size", 0, "at least 1"),
    ("model.hidden_size", -768, "at least 1"),
    ("model.hidden_size", "768", "of type int"),
    ("model.hidden_size", 768.0, "of type int"),
    ("model.hidden_size", True, "of type int"),
    ("model.hidden_size", [768], "of type int"),
    ("model.hidden_size", 770, "multiple of model.num_attention_heads"),
    ("model.num_hidden_layers", 0, "at least 1"),
    ("model.num_attention_heads", 0, "at least 1"),
    ("model.num_attention_heads", 7, "multiple of model.num_attention_heads=7"),
    ("model.num_attention_heads", 2000, "multiple of"),
    ("model.intermediate_size", -1, "at least 1"),
    ("model.max_position_embeddings", 4, "at least 8"),
    ("model.max_position_embeddings", 64, "at most model.max_position_embeddings=64"),
    ("model.hidden_act", "relu", "one of gelu, gelu_tanh"),
    ("model.initializer_range", 0.0, "above 0"),
    ("model.initializer_range", math.nan, "finite"),
    ("model.layer_norm_eps", 0, "at least 1e-30"),
    ("model.layer_norm_eps", -1e-12, "at least 1e-30"),
    ("data.sources", [], "at least one"),
    ("data.sources", 3, "must be a list"),
    ("data.sources", None, "must be a list"),
    ("data.sources", "", "data.sources[0].name='' must be set"),
    ("data.sources", [{"path": "/x"}], "data.sources[0].name='' must be set"),
    ("data.sources", ["text_files"], "data.sources[0].path='' must be set"),
    ("data.sources", [{"name": "pg19", "path": "/x"}], "must be empty for pg19"),
    (
        "data.sources",
        [{"name": "pg19", "splt": "a"}],
        "did you mean data.sources[0].split?",
    ),
    ("data.sources", ["books_corpus"], "its open substitute is --config.data.sources=pg19"),
    (
        "data.sources",
        [{"name": "pg19", "weight": 1.0}, "c4"],
        "data.sources[1].weight=None must be set",
    ),
    (
        "data.sources",
        [{"name": "c4", "weight": 0}],
        "weight=0.0 must be above 0.0",
    ),
    ("data.sources", [{"name": "c4", "clean": "wiki"}], "did you mean 'wikipedia'?"),
    ("data.sources", [{"name": 3}], "data.sources[0].name=3 must be of type str"),
    ("data.sources", ["pg19", 3], "data.sources[1]=3 must be a group"),
    ("data.sources", [{"name": "pg19", "split": ""}], "data.sources[0].split='' must be"),
    (
        "data.sources",
        [{"name": "text_files", "path": "/x", "documents": "blank"}],
        "data.sources[0].documents='blank' must be one of auto, blank_lines, file",
    ),
    (
        "data.sources",
        [{"name": "pg19", "documents": "file"}],
        "data.sources[0].documents='file' must be auto for pg19",
    ),
    ("data.directory", 3, "of type str"),
    ("data.eval_fraction", 0.0, "above 0"),
    ("data.eval_fraction", 0.6, "at most 0.5"),
    ("data.eval_fraction", math.inf, "finite"),
    ("data.eval_fraction", "0.1", "of type float"),
    ("data.language", "", "a language code such as en"),
    ("data.language", "English", "a language code such as en"),
    ("data.encoding_errors", "ignore", "one of replace, refuse"),
    ("data.sequence_length", 7, "at least 8"),
    ("data.sequence_length", 1024, "model.max_position_embeddings=512"),
    ("data.max_predictions_per_sequence", 0, "at least 1"),
    ("data.max_predictions_per_sequence", 126, "data.sequence_length - 3 = 125"),
    ("data.short_sequence_rate", 1.5, "at most 1"),
    ("data.short_sequence_rate", -0.1, "at least 0"),
    ("data.seed", -1, "at least 0"),
    ("data.seed", 2**31, "at most 2147483647"),
    ("tokenizer.kind", "bpe", "one of wordpiece, sentencepiece"),
    ("tokenizer.vocab_size", 10, "at least 64"),
    ("tokenizer.vocab_size", 10**9, "at most"),
    ("tokenizer.lowercase", 1, "of type bool"),
    ("tokenizer.lowercase", "true", "of type bool"),
    ("objective.mask_rate", 0.0, "above 0"),
    ("objective.mask_rate", 1.0, "below 1"),
    ("objective.mask_rate", None, "of type float"),
    ("objective.final_mask_rate", 0.0, "above 0"),
    ("objective.final_mask_rate", 1.0, "below 1"),
    ("objective.masking", "words", "one of token, whole_word, span"),
    ("optim.name", "adam", "did you mean 'adamw'?"),
    ("optim.learning_rate", 0.0, "above 0"),
    ("optim.learning_rate", 11.0, "at most 10"),
    ("optim.learning_rate", 10**400, "of type float"),
    ("optim.warmup_steps", -1, "at least 0"),
    ("optim.warmup_steps", 10**6, "below train.num_steps=1000000; lower it"),
    ("optim.weight_decay", -0.01, "at least 0"),
    ("optim.clip_norm", 0.0, "above 0"),
    ("optim.beta1", 1.0, "below 1"),
    ("optim.beta2", -0.1, "at least 0"),
    ("optim.epsilon", 0.0, "at least 1e-30"),
    ("mesh.data", 0, "mesh.data=0 must be at least 1, or -1"),
    ("mesh.data", -2, "at least -1"),
    ("mesh.data", 3, "multiple of mesh.data x mesh.fsdp = 3; the nearest is 255"),
    ("mesh.fsdp", -1, "only one axis can be -1"),
    ("mesh.tensor", 8, "must divide model.num_attention_heads=12"),
    ("mesh.tensor", 8, "num_attention_heads=12; the nearest that does: 4"),
    ("mesh.tensor", 3, "must divide the padded vocabulary=30592; the nearest that does: 2"),
    ("mesh.sequence", 3, "must divide data.sequence_length=128; the nearest that does: 2"),
    ("mesh.sequence", -2, "at least -1"),
    ("mesh.sequence", -1, "only one axis can be -1"),
    ("mesh.dcn_data", 0, "at least 1"),
    ("mesh", {"data": 4, "dcn_data": 3}, "mesh.data=4, which counts all slices; the near"),
    ("train.num_steps", 0, "at least 1"),
    ("train.num_steps", 1e6, "of type int"),
    ("train.num_steps", 2**31, "at most"),
    ("train.global_batch_size", 0, "at least 1"),
    ("train.micro_batch_size", 0, "at least 1"),
    (
        "train.micro_batch_size",
        100,
        "train.global_batch_size=256 must be a multiple of train.micro_batch_size=100 x "
        "mesh.data x mesh.fsdp = 100; the nearest is 300, or set train.micro_batch_size to "
        "64 or 128",
    ),
    ("train.gradient_dtype", "float16", "one of float32, bfloat16"),
    ("train.remat", "some", "one of none, dots, full"),
    ("train.scan_layers", "loop", "one of auto, scan, unroll"),
    ("train.dtype", "float16", "one of float32, bfloat16"),
    ("train.dropout_rate", 1.0, "below 1"),
    ("train.log_every_steps", 0, "at least 1"),
    ("train.keep_checkpoints", 0, "at least 1"),
    ("train.num_step", 5, "did you mean train.num_steps?"),
    ("train.learning_rate", 5, "did you mean optim.learning_rate?"),
    ("model.layers", 5, "is not a field"),
    ("train", 5, "train=5 must be a group of fields"),
    ("optimizer", {"name": "adamw"}, "did you mean optim?"),
    ("learning_rate", 5, "did you mean optim.learning_rate?"),
]


def nested(path: str, value: object) -> dict[str, object]:
    section, _, name = path.partition(".")
    return {section: {name: value}} if name else {section: value}


@pytest.mark.parametrize(("path", "value", "said"), BAD)
def test_one_line_about_a_mistake(path: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(nested(path, value))
    (line,) = caught.value.problems
    assert "\n" not in line
    assert said in line
    assert path.split(".")[0] in line  # the line names the place


def test_all_mistakes_at_once() -> None:
    values: dict[str, dict[str, object]] = {}
    wanted = []
    for path, value in [
        ("model.hidden_size", 0),
        ("data.seed", -1),
        ("train.num_step", 3),
        ("optim.name", "sgd"),
        ("tokenizer.lowercase", "yes"),
    ]:
        section, name = path.split(".")
        values.setdefault(section, {})[name] = value
        wanted.append(path)
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(values)
    assert [line.split("=")[0].split(" ")[0] for line in caught.value.problems] == wanted


def test_conflicts_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict({"train": {"num_steps": 10}, "mesh": {"tensor": 5}})
    text = str(caught.value)
    assert "optim.warmup_steps=10000 must be below train.num_steps=10" in text
    assert "mesh.tensor=5 must divide model.num_attention_heads=12" in text
    assert "mesh.tensor=5 must divide model.intermediate_size=3072" in text


def test_defaults_are_a_configuration() -> None:
    assert Config.from_dict({}) == Config()


def test_whole_numbers_are_taken_for_floats() -> None:
    config = Config.from_dict({"optim": {"learning_rate": 1}})
    assert config.optim.learning_rate == 1.0
    assert isinstance(config.optim.learning_rate, float)


def test_short_forms_of_sources() -> None:
    one = Config.from_dict({"data": {"sources": "pg19"}})
    assert one == Config.from_dict({"data": {"sources": [{"name": "pg19"}]}})
    two = Config.from_dict({"data": {"sources": ["pg19", {"name": "c4", "split": "x"}]}})
    assert [(s.name, s.split) for s in two.data.sources] == [("pg19", "train"), ("c4", "x")]


def test_json_round_trip() -> None:
    config = Config.from_dict(
        {**SMALL_RUN, "data": {"sources": ["pg19"]}, "model": {"hidden_size": 96}}
    )
    assert Config.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["format_version"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ('{"format_version": 2}', "format_version=2 must be 1"),
        ('{"format_version": 1, "trian": {}}', "did you mean train?"),
        ('{"format_version": 1, "objective": {"mask_rate": NaN}}', "finite"),
    ],
)
def test_bad_json(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_json(text)
    (line,) = caught.value.problems
    assert said in line
    assert "\n" not in line


def test_every_field_is_documented_and_its_default_keeps_its_rule() -> None:
    paths = [info.path for info in walk_fields(Config)]
    assert len(paths) == len(set(paths)) > 40
    assert all(info.doc for info in walk_fields(Config))
    assert "train.num_steps" in paths
    assert "data.sources[0].path" in paths


@pytest.mark.parametrize("name", MODEL_SIZES)
def test_named_sizes(name: str) -> None:
    bert = Config.from_dict({"model": {"name": name}}).bert_config(8192)
    assert bert.head_size == 64
    assert bert.intermediate_size == 4 * bert.hidden_size
    assert bert.vocab_size == 8192


def test_base_is_the_published_one() -> None:
    bert = dataclasses.asdict(BertConfig.named("base"))
    assert bert == dataclasses.asdict(BertConfig())


def test_a_given_size_wins_over_the_name() -> None:
    values = {"model": {"name": "tiny", "hidden_size": 96, "num_attention_heads": 3}}
    bert = Config.from_dict(values).bert_config(100)
    assert (bert.hidden_size, bert.num_attention_heads, bert.num_hidden_layers) == (
        96,
        3,
        2,
    )
    assert bert.padded_vocab_size == 128


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"hidden_size": 770},
            "hidden_size=770 must be a multiple of num_attention_heads=12",
        ),
        ({"hidden_act": "relu"}, "hidden_act='relu' must be one of gelu, gelu_tanh"),
        ({"vocab_size": 0}, "vocab_size=0 must be a whole number, at least 1"),
        ({"num_attention_heads": 0}, "num_attention_heads=0 must be a whole number"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers=2.0 must be a whole number"),
        ({"type_vocab_size": -1}, "type_vocab_size=-1 must be a whole number"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob=1.0 must be at least 0 and"),
        ({"attention_probs_dropout_prob": math.nan}, "=nan must be at least 0 and below 1"),
    ],
)
def test_an_impossible_architecture_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        BertConfig(**fields)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError):
        dataclasses.replace(BertConfig.named("base"), **fields)
