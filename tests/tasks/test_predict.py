"""Labels for texts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx

from bert_jax import BertForSequenceClassification, BertTokenizer, cli
from bert_jax.bert_config import BertConfig, LabelNames
from bert_jax.pretrained.export import export_hugging_face
from bert_jax.pretrained.model_card import Origin
from bert_jax.tasks.predict import predict

TEXTS = ["ba be bi.", "bo", "fa fe fi fo fu ba be bi bo."]


@pytest.fixture
def make_classifier(tiny_workdir: Path, tmp_path: Path) -> Any:
    """A function that writes a classifier with random weights and the run's tokenizer."""

    def make(labels: list[str], problem_type: str | None) -> Path:
        tokenizer = BertTokenizer.from_pretrained(tiny_workdir)
        config = BertConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=32,
            initializer_range=0.5,
            num_labels=len(labels),
            id2label=LabelNames(labels),
        )
        config = dataclasses.replace(config, problem_type=problem_type)
        model = BertForSequenceClassification(config, rngs=nnx.Rngs(1))
        export_hugging_face(model, tokenizer, tmp_path / "model", Origin("A test."))
        return tmp_path / "model"

    return make


def logits(path: Path, text: str) -> np.ndarray:
    inputs = BertTokenizer.from_pretrained(path)(text, return_tensors="np")
    model = BertForSequenceClassification.from_pretrained(path)
    return np.asarray(model(**inputs).logits)[0]


def test_one_label(make_classifier: Any) -> None:
    path = make_classifier(["bad", "good", "mixed"], "single_label_classification")
    answers = predict(path, TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        expected = logits(path, text)
        scores = np.exp(expected) / np.exp(expected).sum()
        assert answer["label"] == ["bad", "good", "mixed"][int(expected.argmax())]
        assert answer["score"] == max(answer["scores"].values())
        np.testing.assert_allclose(list(answer["scores"].values()), scores, atol=1e-5)


def test_several_labels(make_classifier: Any) -> None:
    path = make_classifier(["a", "b", "c", "d"], "multi_label_classification")
    for text, answer in zip(TEXTS, predict(path, TEXTS), strict=True):
        expected = logits(path, text)
        assert answer["labels"] == [
            n for n, x in zip("abcd", expected, strict=True) if x >= 0
        ]
        scores = 1 / (1 + np.exp(-expected))
        np.testing.assert_allclose(list(answer["scores"].values()), scores, atol=1e-5)


def test_a_number(make_classifier: Any) -> None:
    path = make_classifier(["score"], "regression")
    for text, answer in zip(TEXTS, predict(path, TEXTS), strict=True):
        assert answer == {"value": pytest.approx(float(logits(path, text)[0]), abs=1e-5)}


def test_a_pair_is_another_text(make_classifier: Any) -> None:
    path = make_classifier(["no", "yes"], None)
    alone, paired = predict(path, ["ba be."]), predict(path, ["ba be."], ["bi bo."])
    assert alone[0]["score"] != paired[0]["score"]


def test_the_verb_prints_json_lines(
    make_classifier: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_classifier(["no", "yes"], None)
    capsys.readouterr()
    assert cli.main(["predict", str(path), *TEXTS]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = predict(path, TEXTS)
    assert rows == [
        {"text": text, **answer} for text, answer in zip(TEXTS, expected, strict=True)
    ]


def test_a_model_without_a_classifier_is_refused(
    tiny_workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(tiny_workdir), "ba"]) == 2
    error = capsys.readouterr().err
    assert "classifier" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "class_name", ["BertForTokenClassification", "BertForMultipleChoice"]
)
def test_a_classifier_of_something_else_is_refused(
    class_name: str, make_classifier: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Published taggers have a pooler, so that their weights would fit."""
    path = make_classifier(["number"], "regression")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "architectures": [class_name]}))
    (path / "SHA256SUMS").unlink()
    BertForSequenceClassification.from_pretrained(path, strict_head=True)  # they do fit
    capsys.readouterr()
    assert cli.main(["predict", str(path), "ba"]) == 2
    error = capsys.readouterr().err
    assert f"it is a {class_name}" in error and error.count("\n") == 1
