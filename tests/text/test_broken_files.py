"""Files that are no tokenizer's, or no BERT's, are refused in one line."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from text.tokenizer_files import described, vocab, write

from bert_jax.text.bert_tokenizer import BertTokenizer


def broken(change: str) -> dict[str, Any]:
    """A tokenizer.json with one thing wrong."""
    description = described(lowercase=False)
    model = description["model"]
    if change == "type":
        description["model"] = {"type": "BPE", "vocab": model["vocab"], "merges": []}
    elif change == "no model":
        del description["model"]
    elif change == "unknown":
        model["unk_token"] = "dog"
    elif change == "no [MASK]":
        model["vocab"]["[OTHER]"] = model["vocab"].pop("[MASK]")
        del description["added_tokens"][-1]
    elif change == "gap":
        model["vocab"]["run"] = 99
    elif change == "list":
        model["vocab"] = [1, 2]
    elif change == "step":
        description["normalizer"] = {"type": "Nothing"}
    elif change == "frame":
        description["post_processor"]["pair"].pop(0)
    elif change == "token of frame":
        description["post_processor"]["special_tokens"].pop("[SEP]")
    return description


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("type", "model must be one of WordPiece, Unigram"),
        ("no model", "Model missing"),
        ("unknown", "model.unk_token='dog' must be '[UNK]'"),
        ("no [MASK]", "lacks [MASK]"),
        ("gap", "ids must be 0 to 25, each once"),
        ("list", "must be as Hugging Face"),
        ("step", "must be as Hugging Face"),
        ("frame", "post_processor must frame texts as a BERT's does"),
        ("token of frame", "post_processor.special_tokens must have '[SEP]'"),
    ],
)
def test_a_broken_tokenizer_json_gives_one_line(
    tmp_path: pathlib.Path, change: str, said: str
) -> None:
    folder = write(tmp_path, tokenizer=broken(change))
    with pytest.raises(ValueError) as caught:
        BertTokenizer.from_pretrained(folder)
    assert str(caught.value).startswith(str(folder / "tokenizer.json"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", b"{", "must be JSON"),
        ("tokenizer.json", b"\xff", "must be JSON"),
        ("tokenizer.json", b"[" * 100_000, "must be JSON"),
        ("tokenizer.json", b"[]", "must be a JSON object"),
        ("tokenizer_config.json", b'{"do_lower_case": 1}', "do_lower_case=1 must be true"),
        ("tokenizer_config.json", b'{"cls_token": 5}', "cls_token=5 must be a string"),
        ("tokenizer_config.json", b'{"cls_token": "[SEP]"}', "must be five different"),
        ("tokenizer_config.json", b'{"cls_token": "cow"}', "lacks cow"),
        ("tokenizer_config.json", b'{"model_max_length": "x"}', "must be a number of"),
        (
            "tokenizer_config.json",
            b'{"padding_side": "up"}',
            "must be 'right' or 'left'",
        ),
        ("added_tokens.json", b'{"new": null}', "must have the ids from"),
        ("vocab.txt", b"[PAD]\n\xff\n", "byte 6 is not"),
        ("vocab.txt", b"", "lacks [PAD], [UNK], [CLS], [SEP], [MASK]"),
        (
            "vocab.txt",
            vocab("run").encode(),
            "'run' must be there once; it is at id 11",
        ),
        ("spiece.model", b"no model", "must be a model of SentencePiece"),
    ],
)
def test_a_broken_file_gives_one_line(
    tmp_path: pathlib.Path, name: str, content: bytes, said: str
) -> None:
    if name != "spiece.model":
        write(tmp_path, vocab=vocab(), tokenizer_config={"do_lower_case": False})
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        BertTokenizer.from_pretrained(tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
