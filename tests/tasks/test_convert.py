"""Models in other formats: what is written loads again, here and without this package."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx

import bert_jax
from bert_jax import cli
from bert_jax.bert_config import BertConfig
from bert_jax.formats.safetensors_files import read_safetensors
from bert_jax.pretrained import export, sources
from bert_jax.pretrained.classes import MODEL_CLASSES
from bert_jax.pretrained.model_card import Origin
from bert_jax.pretrained.stablehlo import INPUTS, run_stablehlo
from bert_jax.tasks.convert import convert
from bert_jax.tasks.embed import embed

CONFIG = BertConfig(
    vocab_size=83,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=20,
)
RUN_ARTIFACT = """
import sys
import numpy as np, jax
from jax import export
from safetensors.numpy import load_file
folder = sys.argv[1]
probe = load_file(folder + "/probe.safetensors")
artifact = bytearray(open(folder + "/model.stablehlo", "rb").read())
call = export.deserialize(artifact).call
names = ("input_ids", "attention_mask", "token_type_ids")
for name, value in call(*(probe[name] for name in names)).items():
    assert np.abs(value - probe["output." + name]).max() < 1e-5, name
for batch, length in ((1, 3), (5, 20)):
    ids = np.full((batch, length), 7, np.int32)
    answer = call(ids, np.ones_like(ids), np.zeros_like(ids))
    assert answer["prediction_logits"].shape == (batch, length, 83)
assert "bert_jax" not in sys.modules
print("ran")
"""


def make(name: str) -> Any:
    return MODEL_CLASSES[name](CONFIG, rngs=nnx.Rngs(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export.export_hugging_face(
        make("BertForPreTraining"), None, tmp_path / "m", Origin("x.")
    )
    return tmp_path / "m"


@pytest.mark.parametrize("name", MODEL_CLASSES)
def test_every_class_comes_back(name: str, tmp_path: Path) -> None:
    model = make(name)
    export.export_hugging_face(model, None, tmp_path / "out", Origin("A test."))
    probe = read_safetensors(tmp_path / "out" / export.PROBE)
    again = MODEL_CLASSES[name].from_pretrained(tmp_path / "out", strict_head=True)
    inputs = {key: np.array(probe[key]) for key in probe if not key.startswith("output.")}
    answers = {k: v for k, v in vars(again(**inputs)).items() if v is not None}
    assert {f"output.{key}" for key in answers} == set(probe) - set(inputs)
    for key, value in answers.items():
        np.testing.assert_allclose(value, probe[f"output.{key}"], atol=1e-6)


def test_hashes_are_those_of_the_files(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    assert set(listed) == {p.name for p in folder.iterdir()} - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_changed_file_is_refused_at_load(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        bert_jax.BertModel.from_pretrained(folder)


def test_an_export_that_reloads_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = make("BertForPreTraining"), make("BertForPreTraining")
    table = other.bert.embeddings.word.embedding
    table[...] = table[...] * 1.5
    monkeypatch.setattr(
        type(model), "from_pretrained", classmethod(lambda cls, path, **_: other)
    )
    with pytest.raises(RuntimeError, match=r"reloaded, .* differs by"):
        export.export_hugging_face(model, None, tmp_path / "out", Origin("A test."))
    assert list(tmp_path.iterdir()) == []


def test_a_taken_destination_is_left_alone(folder: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="absent or an empty folder"):
        convert(str(folder), taken, "hf", None)
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]


def test_an_artifact_runs_without_this_package(
    folder: Path, tmp_path: Path, run_python: Any
) -> None:
    assert convert(str(folder), tmp_path / "out", "stablehlo", None) == "BertForPreTraining"
    done = run_python("-c", RUN_ARTIFACT, str(tmp_path / "out"))
    assert done.stdout.strip() == "ran", done.stderr


def test_a_recipe_of_sentence_transformers_comes_along(
    shared_data: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(shared_data / "hf_weights" / "tiny_bert_safetensors", source)
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [{"type": f"s.{kind}", "path": path} for kind, path in kinds.items()]
    (source / "modules.json").write_text(json.dumps(modules))
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    convert(str(source), tmp_path / "out", "hf", None)
    texts = ["hello", "a sentence that is much longer than six tokens"]
    found = embed(tmp_path / "out", texts)
    np.testing.assert_allclose(found, embed(source, texts), atol=1e-6)
    assert np.abs(found - embed(source, texts, pooling="mean")).max() > 1e-2
    assert "1_Pooling/config.json" in (tmp_path / "out" / "SHA256SUMS").read_text()


def test_an_unknown_recipe_stays_behind(shared_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(shared_data / "hf_weights" / "tiny_bert_safetensors", source)
    (source / "modules.json").write_text('[{"type": "s.Dense", "path": "2_Dense"}]')
    with pytest.warns(UserWarning, match=r"plain encoder: .* has Dense"):
        convert(str(source), tmp_path / "out", "hf", None)
    assert not (tmp_path / "out" / "modules.json").exists()


def test_choices_as_an_artifact(tmp_path: Path) -> None:
    model = make("BertForMultipleChoice")
    export.export_stablehlo(model, tmp_path / "out")
    ids = np.random.default_rng(0).integers(0, 83, (3, 4, 9), np.int32)
    inputs = dict(zip(INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
    found = run_stablehlo(tmp_path / "out" / "model.stablehlo", inputs)["logits"]
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found, model(**inputs).logits, atol=1e-6)


def test_a_changed_artifact_is_refused(tmp_path: Path) -> None:
    export.export_stablehlo(make("BertModel"), tmp_path / "out")
    path = tmp_path / "out" / "model.stablehlo"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.stablehlo has SHA-256"):
        run_stablehlo(path, {})


def test_a_tokenizer_that_was_changed_is_refused(
    tiny_workdir: Path, tmp_path: Path
) -> None:
    convert(str(tiny_workdir), tmp_path / "out", "hf", None)
    with (tmp_path / "out" / "vocab.txt").open("a") as file:
        file.write("more\n")
    with pytest.raises(ValueError, match=r"vocab\.txt has SHA-256"):
        bert_jax.BertTokenizer.from_pretrained(tmp_path / "out")


def test_the_card_names_the_source(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its owner where it is one of the Hub, without the folders of this machine."""
    source = shared_data / "hf_weights" / "tiny_bert_safetensors"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "hub_folder", lambda name: source)
    for place, said in ((str(source), source.name), ("someone/a-bert", "someone/a-bert")):
        convert(place, tmp_path / said.replace("/", "-"), "hf", None)
        card = (tmp_path / said.replace("/", "-") / "README.md").read_text()
        assert f"Converted by bert_jax from {said}." in card


def test_an_encoder_without_pooler_stays_one(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "hf_weights" / "tiny_bert_safetensors"
    assert convert(str(source), tmp_path / "out", "hf", None) == "BertModel"
    names = set(read_safetensors(tmp_path / "out" / "model.safetensors"))
    assert names and not [name for name in names if "pooler" in name]


def test_a_checkpoint_of_2018(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = shared_data / "tf_checkpoint" / "tiny", tmp_path / "out"
    assert cli.main(["convert", str(source), str(target)]) == 0
    assert "BertForPreTraining" in capsys.readouterr().out
    config = json.loads((target / "config.json").read_text())
    assert config["hidden_act"] == "gelu_new"  # what the 2018 code computes
    assert (target / "tokenizer.json").is_file() and (target / "vocab.txt").is_file()
    values = json.loads((source / "expected_values.json").read_text())
    found = read_safetensors(target / "model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    expected = values["bert/embeddings/word_embeddings"]["values"]
    np.testing.assert_array_equal(found[name].ravel(), np.float32(expected))


def test_a_run(tiny_workdir: Path, tmp_path: Path) -> None:
    assert convert(str(tiny_workdir), tmp_path / "out", "hf", None) == "BertForPreTraining"
    card = (tmp_path / "out" / "README.md").read_text()
    for said in ("6 of 6", "bert_adamw", "text_files: ", "mlm_loss", "pipeline_tag"):
        assert said in card, said
    texts = ["ba be.", "bo"]
    inputs = bert_jax.BertTokenizer.from_pretrained(tmp_path / "out")(
        texts, padding=True, return_tensors="np"
    )
    models = [
        bert_jax.BertForPreTraining.from_pretrained(path)
        for path in (tiny_workdir, tmp_path / "out")
    ]
    first, second = (model(**inputs).prediction_logits for model in models)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such/place", "out"], "no/such/place must be a folder with a model"),
        (["{folder}", "out", "--to=onnx"], "invalid choice"),
        (["{folder}", "out", "--architecture=BertForPoetry"], "must be one of BertModel"),
    ],
)
def test_mistakes_take_one_line(
    arguments: list[str],
    said: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [argument.format(folder=folder) for argument in arguments]
    assert cli.main(["convert", *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
