"""Configurations of others as ours, and back."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bert_jax.bert_config import BertConfig
from bert_jax.pretrained.config_files import (
    hugging_face_config,
    read_hugging_face_config,
    read_tf1_config,
    replaced,
)


def read(tmp_path: Path, **values: Any) -> BertConfig:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    return read_hugging_face_config(path)[0]


def test_what_is_left_out_is_default_and_what_is_unknown_is_no_matter(tmp_path: Path):
    assert read(tmp_path) == BertConfig()
    assert read(tmp_path, use_cache=True, torch_dtype="float16", pad_token_id=None) == (
        BertConfig()
    )


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("gelu", "gelu"),
        ("gelu_python", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("gelu_fast", "gelu_tanh"),
    ],
)
def test_activations(name: str, ours: str, tmp_path: Path):
    config = read(tmp_path, hidden_act=name)
    assert config.hidden_act == ours
    assert replaced(BertConfig(), {"hidden_act": name}).hidden_act == ours
    assert read(tmp_path, **hugging_face_config(config, "BertModel")) == config


def test_the_activation_of_2018(tmp_path: Path):
    path = tmp_path / "bert_config.json"
    for values, expected in (
        ({"hidden_act": "gelu"}, "gelu_tanh"),
        ({}, "gelu_tanh"),
        ({"hidden_act": "gelu_python"}, "gelu"),
    ):
        path.write_text(json.dumps({"pooler_type": "first_token_transform", **values}))
        assert read_tf1_config(path).hidden_act == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id2label": 5}, "id2label='5' must give each of the labels"),
        ({"num_labels": 10**9}, "num_labels=1000000000 must be a whole number, .* at mo"),
        ({"pad_token_id": "0"}, "pad_token_id='0' must be"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps=nan must be at least 0"),
        ({"hidden_act": "x" * 10**6}, "hidden_act='xxxxxx"),
        ({"hidden_size": "\n" * 10**6}, "hidden_size='"),
        ({"hidden_act": "relu"}, "hidden_act='relu' must be one of gelu, gelu_py"),
        ({"hidden_act": ["gelu"]}, r"hidden_act=\"\['gelu'\]\" must be one of"),
        ({"model_type": "roberta"}, "model_type='roberta' must be 'bert'; no other"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relat"),
        ({"is_decoder": True}, "is_decoder='True' must be False"),
        ({"add_cross_attention": True}, "add_cross_attention='True' must be False"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads must be empty"),
        ({"hidden_size": "768"}, "hidden_size='768' must be a whole number"),
        ({"hidden_size": 770}, "hidden_size=770 must be a multiple of num_attention"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps='1e-12' must be at least 0"),
        ({"pad_token_id": 99999}, "pad_token_id=99999 must be at least 0 and below vo"),
        ({"id2label": {"0": "A", "2": "B"}}, "id2label=.* must give each of the labels"),
        ({"num_labels": 0}, "num_labels=0 must be a whole number"),
        ({"problem_type": "ranking"}, "problem_type='ranking' must be one of regression"),
        ({"classifier_dropout": 1.5}, "classifier_dropout=1.5 must be at least 0 and b"),
        (
            {"problem_type": "single_label_classification", "num_labels": 1},
            "num_labels=1 must be at least 2 for single_label_classification",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(values: Any, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"config\.json: {message}") as error:
        read(tmp_path, **values)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 700


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', "\udcff"])
def test_what_is_no_json_object_is_refused(text: str, tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"config\.json must be") as error:
        read_hugging_face_config(path)
    assert len(str(error.value).splitlines()) == 1


def test_labels(tmp_path: Path):
    config = read(tmp_path, id2label={"1": "B", "0": "A", "2": 7}, num_labels=2)
    assert config.num_labels == 3
    assert config.id2label == {0: "A", 1: "B", 2: "7"}
    assert config.label2id == {"A": 0, "B": 1, "7": 2}
    assert hash(config) == hash(dataclasses.replace(config))
    assert read(tmp_path, _num_labels=4).id2label[3] == "LABEL_3"
    with pytest.raises(KeyError):
        config.id2label[3]


def test_the_class_is_that_of_the_file_if_it_is_known(tmp_path: Path):
    path = tmp_path / "config.json"
    for architectures, expected in (
        (["BertForTokenClassification"], "BertForTokenClassification"),
        (["BertLMHeadModel"], ""),
        (["BertModel", "BertForMaskedLM"], ""),
        (None, ""),
        ("BertModel", ""),
    ):
        path.write_text(json.dumps({"architectures": architectures}))
        assert read_hugging_face_config(path)[1] == expected


def test_it_comes_back_as_it_went(tmp_path: Path):
    config = BertConfig(
        vocab_size=99,
        hidden_size=24,
        num_attention_heads=3,
        hidden_act="gelu_tanh",
        num_labels=3,
        id2label={0: "X", 1: "Ÿ", 2: "Z"},
        problem_type="multi_label_classification",
        classifier_dropout=0.2,
        pad_token_id=5,
    )
    values = hugging_face_config(config, "BertForSequenceClassification")
    assert values["label2id"]["Z"] == 2 and values["hidden_act"] == "gelu_new"
    assert read(tmp_path, **json.loads(json.dumps(values))) == config


def test_overrides_as_people_write_them():
    named = BertConfig(num_labels=3, id2label=["A", "B", "C"])
    assert replaced(named, {"num_labels": 2}).id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert replaced(named, {"num_labels": 3}).id2label[2] == "C"
    assert replaced(named, {"hidden_dropout_prob": 0.0}).id2label[2] == "C"
    for overrides in (
        {"id2label": {0: "X", 1: "Y"}},
        {"label2id": {"X": 0, "Y": 1}},
        {"id2label": ["X", "Y"], "label2id": {"X": 0, "Y": 1}, "num_labels": 2},
    ):
        config = replaced(named, overrides)
        assert (config.num_labels, config.id2label) == (2, {0: "X", 1: "Y"})
    with pytest.raises(ValueError, match=r"^label2id must be the inverse of id2label"):
        replaced(named, {"id2label": ["X", "Y"], "label2id": {"Y": 0, "X": 1}})
    with pytest.raises(ValueError, match=r"^num_labels=4 must be the number of names"):
        replaced(named, {"id2label": ["X", "Y"], "num_labels": 4})
    with pytest.raises(ValueError, match=r"^hiden_size is not a field .* hidden_size\?$"):
        replaced(named, {"hiden_size": 3})


def test_a_configuration_goes_out_and_comes_back(tmp_path: Path):
    config = BertConfig(hidden_size=96, num_labels=3, id2label=["a", "b", "c"])
    config.save_pretrained(tmp_path / "made" / "here")
    assert BertConfig.from_pretrained(tmp_path / "made" / "here") == config
    file = tmp_path / "made" / "here" / "config.json"
    assert BertConfig.from_pretrained(file) == config
    assert "architectures" not in json.loads(file.read_text())
    other = BertConfig.from_pretrained(str(file), hidden_act="gelu_new", num_labels=2)
    assert other == dataclasses.replace(
        config, hidden_act="gelu_tanh", num_labels=2, id2label=["LABEL_0", "LABEL_1"]
    )
    with pytest.raises(ValueError, match="did you mean hidden_size"):
        BertConfig.from_pretrained(file, hidden_sizes=2)


def test_a_configuration_beside_weights_or_alone(shared_data: Path, tmp_path: Path):
    """The "gelu" of a folder of 2018 is the tanh form, with and without its weights."""
    tiny_tf1 = shared_data / "tf_checkpoint" / "tiny"
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tiny_tf1 / "bert_config.json", alone)
    for path in (tiny_tf1, alone, alone / "bert_config.json"):
        assert BertConfig.from_pretrained(path).hidden_act == "gelu_tanh", path
    with pytest.raises(ValueError, match=r"config\.json must be there"):
        BertConfig.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="it is absent"):
        BertConfig.from_pretrained(tmp_path / "a" / "b" / "nothing")


@pytest.mark.peers
def test_transformers_reads_a_saved_configuration(tmp_path: Path):
    from transformers import BertConfig as Peer

    BertConfig(hidden_size=96, intermediate_size=55).save_pretrained(tmp_path)
    peer = Peer.from_pretrained(tmp_path)
    assert (peer.hidden_size, peer.intermediate_size) == (96, 55)
    Peer(num_hidden_layers=3).save_pretrained(tmp_path)
    assert BertConfig.from_pretrained(tmp_path) == BertConfig(num_hidden_layers=3)
