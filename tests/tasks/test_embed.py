"""Vectors of sentences."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from bert_jax import BertModel, BertTokenizer, cli
from bert_jax.tasks.embed import embed

TEXTS = ["hello world", "a much longer sentence about the world", "b", "hello"]


@pytest.fixture
def model_path(shared_data: Path) -> Path:
    return shared_data / "hf_weights" / "tiny_bert_safetensors"


def one_by_one(path: Path, pooling: str) -> np.ndarray:
    """Each text alone and unpadded."""
    model = BertModel.from_pretrained(path, add_pooling_layer=False)
    tokenizer = BertTokenizer.from_pretrained(path)
    rows = []
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="np")
        hidden = np.asarray(model(**inputs).last_hidden_state)[0]
        rows.append(hidden[0] if pooling == "cls" else hidden.mean(axis=0))
    return np.stack(rows)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_and_order_do_not_matter(model_path: Path, pooling: str) -> None:
    found = embed(model_path, TEXTS, pooling=pooling)
    np.testing.assert_allclose(found, one_by_one(model_path, pooling), atol=2e-6)
    backwards = embed(model_path, TEXTS[::-1], pooling=pooling)
    np.testing.assert_allclose(backwards[::-1], found, atol=2e-6)


def test_a_checkpoint_of_2018_by_its_prefix(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative, too, where the prefix looks like a name of the Hub."""
    folder = shared_data / "tf_checkpoint" / "tiny"
    monkeypatch.chdir(folder.parent)
    expected = embed(folder, TEXTS)
    for path in (folder / "bert_model.ckpt", "tiny/bert_model.ckpt"):
        np.testing.assert_array_equal(embed(path, TEXTS), expected)
        tokenizer = BertTokenizer.from_pretrained(path)
        assert tokenizer(TEXTS) == BertTokenizer.from_pretrained(folder)(TEXTS)


def test_normalized(model_path: Path) -> None:
    plain, normalized = (embed(model_path, TEXTS, normalize=n) for n in (False, True))
    np.testing.assert_allclose(np.linalg.norm(normalized, axis=1), 1.0, atol=1e-6)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(normalized, plain / lengths, atol=1e-6)
    assert np.abs(lengths - 1).min() > 0.1


def with_recipe(model_path: Path, folder: Path, kinds: list[str], mode: str) -> Path:
    """The model with the files of sentence-transformers beside it."""
    folder.mkdir()
    for file in model_path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    places = {"Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": places.get(kind, "")}
        for kind in kinds
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, f"pooling_mode_{mode}": True})
    )
    return folder


def test_the_recipe_of_the_folder_is_followed(model_path: Path, tmp_path: Path) -> None:
    kinds = ["Transformer", "Pooling", "Normalize"]
    folder = with_recipe(model_path, tmp_path / "m", kinds, "cls_token")
    expected = embed(model_path, TEXTS, pooling="cls", normalize=True)
    np.testing.assert_array_equal(embed(folder, TEXTS), expected)
    asked = embed(folder, TEXTS, pooling="mean", normalize=False)
    np.testing.assert_array_equal(asked, embed(model_path, TEXTS))


@pytest.mark.parametrize(
    ("kinds", "mode"),
    [(["Transformer", "Pooling", "Dense"], "cls_token"), (["Pooling"], "max_tokens")],
)
def test_an_unknown_recipe_is_refused(
    kinds: list[str], mode: str, model_path: Path, tmp_path: Path
) -> None:
    folder = with_recipe(model_path, tmp_path / "m", kinds, mode)
    with pytest.raises(ValueError, match=r"json .*(Dense|max_tokens)"):
        embed(folder, TEXTS)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("modules.json", "[", "must be a JSON"),
        ("modules.json", "[]", "must be a list of modules"),
        ("modules.json", '[{"type": "a.Pooling"}]', "must be a list of modules"),
        ("modules.json", '[{"type": "a.Pooling", "path": ".."}]', "must be a list"),
        ("1_Pooling/config.json", "3", "must be a JSON object; it is a int"),
        ("1_Pooling/config.json", None, "must be there, as modules.json says"),
        ("sentence_bert_config.json", '{"max_seq_length": "9"}', "must be a whole number"),
    ],
)
def test_a_broken_recipe_is_one_line(
    file: str, content: str | None, said: str, model_path: Path, tmp_path: Path
) -> None:
    folder = with_recipe(
        model_path, tmp_path / "m", ["Transformer", "Pooling"], "cls_token"
    )
    (folder / file).unlink(missing_ok=True)
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(ValueError, match=said) as error:
        embed(folder, TEXTS)
    assert str(folder / file) in str(error.value) and "\n" not in str(error.value)


def test_fewer_tokens_are_read_where_the_recipe_says_so(
    model_path: Path, tmp_path: Path
) -> None:
    folder = with_recipe(
        model_path, tmp_path / "m", ["Transformer", "Pooling"], "cls_token"
    )
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    expected = embed(model_path, TEXTS, pooling="cls", max_length=4)
    np.testing.assert_array_equal(embed(folder, TEXTS), expected)
    assert np.abs(expected - embed(model_path, TEXTS, pooling="cls")).max() > 1e-3


def test_the_verb_prints_json_lines(
    model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["embed", str(model_path), *TEXTS]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    found = np.float32([row["vector"] for row in rows])
    np.testing.assert_array_equal(found, embed(model_path, TEXTS))


def test_the_verb_reads_a_stream_and_writes_a_file(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Windows' line ends; a line that is empty has its row; U+2028 ends no line.
    texts = [*TEXTS, "", "two\u2028words"]
    content = "\ufeff" + "\r\n".join(texts) + "\r\n"
    stream = io.TextIOWrapper(io.BytesIO(content.encode()))
    monkeypatch.setattr("sys.stdin", stream)
    output = tmp_path / "v.npy"
    assert cli.main(["embed", str(model_path), f"--output={output}"]) == 0
    np.testing.assert_array_equal(np.load(output), embed(model_path, texts))
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "--input=x.txt"], "not both"),
        (["a", "--output=x.txt"], "must end in .npy"),
        (["a", "--output={tmp}/nowhere/x.npy"], "its folder is not there"),
        (["--input={tmp}/latin.txt"], "must be UTF-8; byte 1 of it is 0xe9"),
        (["--input={tmp}/empty.txt"], "has no text"),
        (["--input={tmp}/absent.txt"], "absent.txt must be a file, one text a line"),
        (["--input={tmp}"], "must be a file, one text a line"),
    ],
)
def test_mistakes_take_one_line(
    arguments: list[str],
    said: str,
    model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "latin.txt").write_bytes("né".encode("latin-1"))
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    assert cli.main(["embed", str(model_path), *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
