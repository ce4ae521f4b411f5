"""Tokenizers in the files of others: which file, which folding, which control tokens."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import pytest
from text.tokenizer_files import ENTRIES, described, vocab, write

from bert_jax.text.bert_tokenizer import BertTokenizer
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.pipeline import PipelineTokenizer
from bert_jax.text.tokenizer import load_tokenizer
from bert_jax.text.unigram import SentencePieceTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer


def test_a_tokenizer_json_of_berts_own_is_the_same_as_its_vocab_txt(
    tmp_path: pathlib.Path,
) -> None:
    for folding in ({}, {"strip_accents": False}, {"lowercase": False}):
        folder = write(tmp_path, tokenizer=described(**folding))
        made = load_tokenizer(folder)
        assert isinstance(made, WordPieceTokenizer)
        assert made.sha256 == WordPieceTokenizer(ENTRIES, **folding).sha256
        assert load_tokenizer(folder / "tokenizer.json").sha256 == made.sha256


def test_what_truncation_and_padding_a_tokenizer_json_has_is_not_used(
    tmp_path: pathlib.Path,
) -> None:
    description = described()
    description["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    description["pre_tokenizer"] = {"type": "Whitespace"}
    made = BertTokenizer(load_tokenizer(write(tmp_path, tokenizer=description)))
    assert isinstance(made.tokenizer, PipelineTokenizer)
    assert made("dog dog dog dog").input_ids == [2, 5, 5, 5, 5, 3]


def test_steps_of_a_tokenizer_json_are_done_as_they_are(
    shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    source = shared_data / "hf_weights" / "tiny_bert_safetensors"
    made = BertTokenizer.from_pretrained(source)
    # Its own steps keep the dots together and know no Chinese; BERT's would not.
    words = made("The... Énergy [MASK] 力加").word_ids()
    assert words == [None, 0, 1, 2, 3, 4, None]
    assert made.tokenize("ENERGYs") == ["energy", "##s"]
    assert made.tokenizer.kind == "wordpiece"
    assert made.do_lower_case
    assert made.model_max_length == 128  # of its config.json
    made.save_pretrained(tmp_path)
    copies = [load_tokenizer(tmp_path), pickle.loads(pickle.dumps(made.tokenizer))]
    for copy in copies:
        assert copy.sha256 == made.tokenizer.sha256
        assert copy.encode("The... 力加") == made.tokenizer.encode("The... 力加")
        assert (copy.word_starts_V == made.tokenizer.word_starts_V).all()


def test_ids_of_published_control_tokens(shared_data: pathlib.Path) -> None:
    made = BertTokenizer.from_pretrained(
        shared_data / "hf_weights" / "tiny_ner_pytorch_bin"
    )
    assert made.all_special_ids == [0, 100, 101, 102, 103]
    assert made.model_max_length == 16
    assert not made.do_lower_case  # nothing says so but the capitals of its entries


@pytest.mark.parametrize(
    ("settings", "text", "tokens"),
    [
        ({}, "DÓG 力加", ["dog", "力", "[UNK]"]),
        ({"do_lower_case": True}, "DÓG 力加", ["dog", "力", "[UNK]"]),
        ({"do_lower_case": True, "strip_accents": False}, "DÓG", ["dóg"]),
        ({"do_lower_case": False}, "Dog dóg", ["Dog", "dóg"]),
        ({"do_lower_case": False, "strip_accents": True}, "Dóg", ["Dog"]),
        ({"tokenize_chinese_chars": False}, "力加", ["力加"]),
        ({"do_lower_case": True, "strip_accents": None}, "Dóg", ["dog"]),
    ],
)
@pytest.mark.parametrize("form", ["vocab", "json"])
def test_folding_is_as_the_settings_say(
    tmp_path: pathlib.Path, settings: Any, text: str, tokens: list[str], form: str
) -> None:
    files = {"vocab": vocab()} if form == "vocab" else {"tokenizer": described()}
    write(tmp_path, **files, tokenizer_config=settings)
    made = BertTokenizer.from_pretrained(tmp_path)
    assert made.tokenize(text) == tokens
    made.save_pretrained(tmp_path / "copy")
    assert BertTokenizer.from_pretrained(tmp_path / "copy").tokenize(text) == tokens


def test_a_bare_vocab_txt_is_folded_as_asked(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, vocab=vocab()) / "vocab.txt"
    assert BertTokenizer.from_pretrained(path).tokenize("Dog") == ["dog"]
    kept = BertTokenizer.from_pretrained(path, do_lower_case=False)
    assert kept.tokenize("Dog dóg") == ["Dog", "dóg"]
    settings = {"do_lower_case": False}
    folder = write(tmp_path, tokenizer_config=settings)
    with pytest.raises(ValueError, match="do_lower_case=True must be False, as the files"):
        BertTokenizer.from_pretrained(folder, do_lower_case=True)


def test_control_tokens_of_other_names(tmp_path: pathlib.Path) -> None:
    entries = ["<mask>", "dog", "<s>", "</s>", "<pad>", "<unk>", "X"]
    names = {"pad_token": "X", "mask_token": {"content": "<mask>", "lstrip": True}}
    folder = write(tmp_path, vocab="\n".join(entries), tokenizer_config=names)
    made = BertTokenizer.from_pretrained(folder)
    assert made.special_tokens_map == {
        "pad_token": "X",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
    }
    rows = made(["dog <mask> cat", "dog"], padding=True).input_ids
    assert rows == [[2, 1, 0, 5, 3], [2, 1, 3, 6, 6]]
    made.save_pretrained(tmp_path / "copy")
    copy = BertTokenizer.from_pretrained(tmp_path / "copy")
    assert copy.special_tokens_map == made.special_tokens_map
    assert copy("dog <mask>").input_ids == [2, 1, 0, 3]


def test_added_tokens(tmp_path: pathlib.Path) -> None:
    count = len(ENTRIES)
    decoder = {str(count): {"content": "[NEW]", "special": True}}
    folder = write(
        tmp_path,
        vocab=vocab(),
        added_tokens={"newword": count + 1},
        tokenizer_config={"added_tokens_decoder": decoder, "do_lower_case": False},
    )
    made = BertTokenizer.from_pretrained(folder)
    assert len(made) == count + 2
    assert made.tokenize("newword [NEW] runs") == ["newword", "[NEW]", "run", "##s"]
    made.save_pretrained(tmp_path / "copy")
    copy = BertTokenizer.from_pretrained(tmp_path / "copy")
    assert copy("cow newword [NEW]").input_ids == [2, 1, count + 1, count, 3]
    (tmp_path / "tokenizer_config.json").unlink()
    write(tmp_path, added_tokens={"newword": count})
    alone = BertTokenizer.from_pretrained(folder)
    assert alone.tokenize("newword [NEW]")[0] == "newword"
    # A file is read alone.
    assert len(BertTokenizer.from_pretrained(folder / "vocab.txt")) == count
    write(tmp_path, added_tokens={"newword": count + 5})
    with pytest.raises(ValueError, match=f"must have the ids from {count} on"):
        BertTokenizer.from_pretrained(folder)


def test_unigram_pieces_of_a_tokenizer_json(tmp_path: pathlib.Path) -> None:
    """As multilingual MiniLM and E5 have them: BERTs with the pieces of XLM-R."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁dog", "s", "▁run", "▁", "<mask>"]
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "always",
            "split": True,
        },
        "post_processor": {
            "type": "RobertaProcessing",
            "cls": ["<s>", 0],
            "sep": ["</s>", 2],
            "trim_offsets": True,
            "add_prefix_space": True,
        },
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": [[p, -1.0] for p in pieces]},
    }
    made = BertTokenizer.from_pretrained(write(tmp_path, tokenizer=description))
    assert made.tokenizer.kind == "sentencepiece"
    assert made.all_special_ids == [1, 3, 0, 2, 8]
    pair = made("dogs", "run <mask>", return_special_tokens_mask=True)
    words = ["<s>", "▁dog", "s", "</s>", "</s>", "▁run", "▁", "<mask>", "</s>"]
    assert pair.tokens() == words
    assert set(pair.token_type_ids) == {0}
    assert pair.special_tokens_mask == [1, 0, 0, 1, 1, 0, 0, 0, 1]
    assert pair.word_ids()[1:3] == [0, 0]
    assert made.tokenizer.word_starts_V.tolist()[4:8] == [True, False, True, True]
    made.save_pretrained(tmp_path / "copy")
    copy = BertTokenizer.from_pretrained(tmp_path / "copy")
    assert copy("dogs", "run").input_ids == made("dogs", "run").input_ids


def test_folders_of_sentencepiece(tmp_path: pathlib.Path, unigram_model: bytes) -> None:
    (tmp_path / "spiece.model").write_bytes(unigram_model)
    for place in (tmp_path, tmp_path / "spiece.model"):
        made = load_tokenizer(place)
        assert isinstance(made, SentencePieceTokenizer)
        assert made.lowercase
    settings = {"do_lower_case": False, "keep_accents": True}
    kept = load_tokenizer(write(tmp_path, tokenizer_config=settings))
    assert not kept.lowercase
    assert made.encode("Dog") == made.encode("dog") != kept.encode("Dog")
    # Saved without its model it cannot be read; tokenizer.json is for others.
    made.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.json").is_file()
    (tmp_path / "saved" / "spiece.model").unlink()
    with pytest.raises(ValueError, match=r"spiece\.model is missing"):
        load_tokenizer(tmp_path / "saved")


def test_lines_of_a_vocab_txt(tmp_path: pathlib.Path) -> None:
    lines = [*CONTROL_TOKENS, "dog", "a\u2028b"]
    text = "\ufeff" + "\r\n".join([*lines, ""])
    (tmp_path / "vocab.txt").write_bytes(text.encode())
    made = load_tokenizer(tmp_path)
    assert [made.id_to_token(i) for i in range(made.vocab_size)] == lines


def test_entries_with_line_feeds_are_kept_in_tokenizer_json(
    tmp_path: pathlib.Path,
) -> None:
    description = described()
    description["model"]["vocab"]["a\nb"] = len(ENTRIES)
    made = BertTokenizer(load_tokenizer(write(tmp_path, tokenizer=description)))
    made.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / "vocab.txt").exists()
    assert BertTokenizer.from_pretrained(tmp_path / "copy").get_vocab() == made.get_vocab()


LENGTHS = [
    ({}, {}, 512),
    ({"model_max_length": 77}, {"max_position_embeddings": 40}, 77),
    ({"model_max_length": 1e30}, {"max_position_embeddings": 40}, 40),
    ({"model_max_length": 1e30}, {}, 512),
    ({}, {"model": {"max_position_embeddings": 32}}, 32),
]


@pytest.mark.parametrize(("settings", "config", "length"), LENGTHS)
def test_rows_are_as_long_as_the_model_takes(
    tmp_path: pathlib.Path, settings: Any, config: Any, length: int
) -> None:
    folder = write(tmp_path, vocab=vocab(), tokenizer_config=settings, config=config)
    made = BertTokenizer.from_pretrained(folder, do_lower_case=False)
    assert made.model_max_length == length
    assert len(made("dog " * 600, truncation=True).input_ids) == length
    given = BertTokenizer.from_pretrained(folder, do_lower_case=False, model_max_length=9)
    assert len(given("dog " * 600, truncation=True).input_ids) == 9


def test_what_is_no_tokenizer_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="it is not there"):
        load_tokenizer(tmp_path / "absent")
    with pytest.raises(ValueError, match="it holds none of them"):
        load_tokenizer(tmp_path)
