"""Checkpoints as models: real files, what does not fit, numbers of other types, hashes."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pretrained.small_models import (
    IDS,
    MASK,
    assert_equal_params,
    flat_params,
    make_arrays,
    make_model,
    write_folder,
)

from bert_jax import (
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from bert_jax.formats.hashes import write_hashes
from bert_jax.formats.safetensors_files import write_safetensors
from bert_jax.formats.tf1_checkpoint import read_tf1_checkpoint


@pytest.fixture
def tiny_bert(shared_data: Path) -> Path:
    return shared_data / "hf_weights" / "tiny_bert_safetensors"


@pytest.fixture
def tiny_ner(shared_data: Path) -> Path:
    return shared_data / "hf_weights" / "tiny_ner_pytorch_bin"


@pytest.fixture
def tiny_tf1(shared_data: Path) -> Path:
    return shared_data / "tf_checkpoint" / "tiny"


def expected_outputs(folder: Path) -> dict[str, np.ndarray]:
    values = json.loads((folder / "expected_outputs.json").read_text())
    return {name: np.array(value) for name, value in values.items()}


def run(model: Any, expected: dict[str, np.ndarray]) -> Any:
    """The model's answer to the inputs beside the expected outputs."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    return model(**{name: expected[name] for name in names}, output_hidden_states=True)


def test_a_real_folder_gives_the_expected_outputs(tiny_bert: Path) -> None:
    expected = expected_outputs(tiny_bert)
    output = run(BertModel.from_pretrained(tiny_bert, add_pooling_layer=False), expected)
    seen = expected["attention_mask"] == 1
    for found, wanted in zip(
        (*output.hidden_states, output.last_hidden_state),
        (*expected["hidden_states"], expected["last_hidden_state"]),
        strict=True,
    ):
        np.testing.assert_allclose(found[seen], wanted[seen], rtol=0, atol=2e-6)
    assert output.pooler_output is None


@pytest.mark.parametrize("place", ["", "bert_model.ckpt"])
def test_a_checkpoint_of_2018_gives_the_expected_outputs(tiny_tf1: Path, place: str):
    expected = expected_outputs(tiny_tf1)
    model = BertForPreTraining.from_pretrained(tiny_tf1 / place, hidden_act="gelu")
    output, seen = run(model, expected), expected["attention_mask"] == 1
    for found, wanted in (
        (output.prediction_logits[seen], expected["mlm_logits"][seen]),
        (output.seq_relationship_logits, expected["nsp_logits"]),
        *(
            (ours[seen], theirs[seen])
            for ours, theirs in zip(
                output.hidden_states, expected["hidden_states"], strict=True
            )
        ),
    ):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_the_gelu_of_2018_is_the_tanh_form(tiny_tf1: Path) -> None:
    expected = expected_outputs(tiny_tf1)
    model, report = BertModel.load(tiny_tf1)
    assert model.config.hidden_act == "gelu_tanh"
    assert len(report.other_heads) == 7 and not report.unexpected
    exact = BertModel.from_pretrained(tiny_tf1, hidden_act="gelu")
    ours, theirs = (run(m, expected).last_hidden_state for m in (model, exact))
    assert 0 < np.abs(ours - theirs).max() < 1e-3


def test_a_real_classifier_of_tokens_loads_with_its_labels(tiny_ner: Path) -> None:
    model = BertForTokenClassification.from_pretrained(tiny_ner, strict_head=True)
    assert model.config.num_labels == 9
    assert model.config.id2label[3] == "B-PER" and model.config.label2id["I-LOC"] == 8
    assert model(IDS).logits.shape == (2, 6, 9)


def test_what_a_checkpoint_lacks_starts_at_random_and_is_named(tiny_ner: Path) -> None:
    with pytest.warns(UserWarning, match="initialised at random") as caught:
        model = BertForSequenceClassification.from_pretrained(tiny_ner, num_labels=3)
    assert len(caught) == 1 and caught[0].filename == __file__
    text = str(caught[0].message)
    assert len(text.splitlines()) == 1
    for part in (
        "pytorch_model.bin: ",
        "bert.pooler.dense.weight (absent)",
        "classifier.weight (shape (9, 16), not (3, 16))",
        "classifier.bias (shape (9,), not (3,))",
    ):
        assert part in text
    assert model(IDS).logits.shape == (2, 3)
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    kernel = np.asarray(model.classifier.kernel)
    assert 0.005 < kernel.std() < 0.03 and np.all(np.asarray(model.classifier.bias) == 0)
    encoder = BertForTokenClassification.from_pretrained(tiny_ner).bert
    ours, theirs = flat_params(model.bert), flat_params(encoder)
    for path, array in theirs.items():  # and nothing else is at random
        np.testing.assert_array_equal(ours[path], array)


def test_an_untrained_head_can_be_refused(tiny_ner: Path) -> None:
    with pytest.raises(ValueError, match=r"not in it: bert\.pooler.*; fine-tune it first$"):
        BertForSequenceClassification.from_pretrained(tiny_ner, strict_head=True)


def test_other_heads_are_no_warning_and_strangers_are(tmp_path: Path) -> None:
    arrays = make_arrays("BertForPreTraining")
    folder = write_folder(tmp_path / "a", arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BertModel.from_pretrained(folder)
    assert len(BertModel.load(folder)[1].other_heads) == 7
    arrays |= {"adapter.weight": np.ones(3, np.float32), "bert.encoder.layer.2.x": IDS}
    folder = write_folder(tmp_path / "b", arrays)
    said = r"not used: bert\.encoder\.layer\.2\.x, adapter\.weight$"
    with pytest.warns(UserWarning, match=said):
        BertModel.from_pretrained(folder)


def test_a_missing_or_mis_shaped_encoder_is_refused(tmp_path: Path) -> None:
    arrays = make_arrays("BertForPreTraining")
    lost = "bert.encoder.layer.1.attention.self.key.weight"
    shorter = {name: array for name, array in arrays.items() if name != lost}
    with pytest.raises(ValueError, match=rf"it lacks {lost}$"):
        BertModel.from_pretrained(write_folder(tmp_path / "a", shorter))
    said = r"word_embeddings.weight has shape \(83, 24\), not \(90, 24\)"
    folder = write_folder(tmp_path / "b", arrays)
    with pytest.raises(ValueError, match=said) as error:
        BertModel.from_pretrained(folder, vocab_size=90)
    assert len(str(error.value).splitlines()) == 1
    endless = write_folder(tmp_path / "d", arrays, num_hidden_layers=10**7)
    with pytest.raises(ValueError, match=r"num_hidden_layers=10000000; it has 46 arrays$"):
        BertModel.from_pretrained(endless)
    many = write_folder(tmp_path / "c", arrays, num_hidden_layers=9)
    with pytest.raises(ValueError, match=r"it lacks .* and 104 more$"):
        BertModel.from_pretrained(many)


def test_fewer_layers_can_be_asked_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, make_arrays("BertForPreTraining"))
    with pytest.warns(UserWarning, match="not used: bert.encoder.layer.1"):
        model = BertModel.from_pretrained(folder, num_hidden_layers=1)
    whole = BertModel.from_pretrained(folder)
    np.testing.assert_array_equal(
        model(IDS, MASK).last_hidden_state,
        whole(IDS, MASK, output_hidden_states=True).hidden_states[1],
    )


def test_numbers_of_other_types(tmp_path: Path) -> None:
    arrays = make_arrays("BertForPreTraining")
    half = {name: jnp.asarray(array, jnp.bfloat16) for name, array in arrays.items()}
    numpy_half = {name: np.asarray(array) for name, array in half.items()}
    model = BertForPreTraining.from_pretrained(write_folder(tmp_path / "a", numpy_half))
    rounded = {name: np.asarray(x.astype(jnp.float32)) for name, x in half.items()}
    expected = BertForPreTraining.from_pretrained(write_folder(tmp_path / "b", rounded))
    assert_equal_params(model, expected)
    name = "bert.encoder.layer.0.output.dense.weight"
    integers = {**arrays, name: np.ones((24, 40), np.int8)}
    with pytest.raises(ValueError, match=rf"^{name} has dtype=int8; it must be of float"):
        BertModel.from_pretrained(write_folder(tmp_path / "c", integers))


def test_weights_in_shards(tmp_path: Path) -> None:
    arrays = make_arrays("BertForPreTraining")
    folder = write_folder(tmp_path, arrays)
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, part in enumerate((list(arrays)[:20], list(arrays)[20:])):
        shard = f"model-{number}.safetensors"
        write_safetensors(folder / shard, {n: arrays[n] for n in part}, {})
        weight_map |= dict.fromkeys(part, shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    model = BertForPreTraining.from_pretrained(folder)
    assert_equal_params(model, make_model("BertForPreTraining"))


def test_hashes_beside_the_weights_are_held_to(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, make_arrays("BertForPreTraining"))
    write_hashes(folder, ["model.safetensors", "config.json"])
    BertModel.from_pretrained(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    with pytest.raises(ValueError, match=r"model\.safetensors has SHA-256 .*; it must be"):
        BertModel.from_pretrained(folder)
    (folder / "SHA256SUMS").unlink()
    BertModel.from_pretrained(folder)  # the control: nothing else sees it


def test_what_is_not_loaded_need_not_be_there(tmp_path: Path) -> None:
    """As where a hub fetches some files only, or a user edits the card."""
    folder = write_folder(tmp_path, make_arrays("BertModel"), "BertModel")
    (folder / "README.md").write_text("a card")
    (folder / "probe.safetensors").write_text("a probe")
    names = [path.name for path in folder.iterdir()]
    write_hashes(folder, names)
    (folder / "README.md").write_text("another card")
    (folder / "probe.safetensors").unlink()
    BertModel.from_pretrained(folder)
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(ValueError, match=r"config\.json has SHA-256 .* on purpose"):
        BertModel.from_pretrained(folder)


def test_a_flipped_bit_in_a_slot_of_the_optimizer(tiny_tf1: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_tf1, tmp_path / "copy"))
    slot = "bert/pooler/dense/kernel/adam_v"
    value = read_tf1_checkpoint(copy / "bert_model.ckpt")[slot].tobytes()
    path = copy / "bert_model.ckpt.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[content.index(value)] ^= 4
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"'{slot}' has another CRC-32C"):
        BertModel.from_pretrained(copy)


def test_an_export_of_another_version_is_refused(tmp_path: Path) -> None:
    arrays = make_arrays("BertModel")
    path = write_folder(tmp_path, arrays, "BertModel") / "model.safetensors"
    write_safetensors(path, arrays, {"bert_jax_format_version": "1"})
    BertModel.from_pretrained(tmp_path)
    write_safetensors(path, arrays, {"bert_jax_format_version": "2"})
    with pytest.raises(ValueError, match=r"_format_version='2' must be 1; it was written"):
        BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("path", ["", "model.safetensors", "nowhere/at/all"])
def test_paths_that_are_no_model(path: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "model", make_arrays("BertModel"))
    (tmp_path / "empty").mkdir()
    place = tmp_path / "empty" if not path else tmp_path / "model" / path
    with pytest.raises(ValueError, match=rf"^{place} must (be|hold) ") as error:
        BertModel.from_pretrained(place)
    assert len(str(error.value).splitlines()) == 1


def test_several_checkpoints_in_a_folder(tiny_tf1: Path, tmp_path: Path) -> None:
    for name in ("model-1", "model-2"):
        for end in (".index", ".data-00000-of-00001"):
            shutil.copy(tiny_tf1 / f"bert_model.ckpt{end}", tmp_path / f"{name}{end}")
    shutil.copy(tiny_tf1 / "bert_config.json", tmp_path)
    with pytest.raises(ValueError, match=r"several checkpoints, model-1, model-2; name"):
        BertModel.from_pretrained(tmp_path)
    assert BertModel.from_pretrained(tmp_path / "model-2").config.hidden_size == 4
