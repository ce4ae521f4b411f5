"""The tokenizer under the name and with the manners that people know.

Shapes: B rows, L tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_jax.formats.hashes import renew_hashes
from bert_jax.hub import hub_folder, is_hub_name
from bert_jax.text.batch_encoding import TENSORS, BatchEncoding, tensors_of
from bert_jax.text.call_options import (
    SIDES,
    Lengths,
    Texts,
    as_texts,
    check_count,
    check_option,
)
from bert_jax.text.entries import CONFIG_FILE, TOKENIZER_FILES
from bert_jax.text.files import read_stored
from bert_jax.text.padding import collected, padded
from bert_jax.text.rows import Part, Row
from bert_jax.text.token_names import TokenNames
from bert_jax.text.tokenizer import Tokenizer, load_tokenizer

DEFAULT_MAX_LENGTH = 512


class BertTokenizer(TokenNames):
    """Texts, or pairs of texts, to what a BERT model takes.

    Attributes:
        model_max_length: tokens of a row where a call names no max_length.
        padding_side, truncation_side: "right", or "left" as the files may say.
        Further those of `TokenNames`.

    Differs: from Transformers' fast class of this name in that
    - arrays are int32, and rows of unequal length are refused where arrays are asked for;
    - the steps of a tokenizer.json are done as it has them, not replaced by BERT's;
    - an empty text_pair is a pair, with its own [SEP];
    - truncation that would leave no token of a text is refused, and a stride is compared
      with what it leaves only where rows of overflow are asked for;
    - where nobody says whether to fold case, the vocabulary decides, not True;
    - where the files name no model_max_length, it is the number of positions that a
      config.json beside them has, else 512;
    - offsets of unigram pieces hold no spaces, and tokens that the vocabulary lacks are
      named as it names them, [UNK];
    - halves of surrogate pairs, which Python strings may hold, are taken;
    - spaces in front of punctuation are taken away in decoding, unless told otherwise.
    """

    model_input_names = ("input_ids", "token_type_ids", "attention_mask")

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        model_max_length: int = DEFAULT_MAX_LENGTH,
        padding_side: str = "right",
        truncation_side: str = "right",
    ):
        """Wraps a tokenizer; `from_pretrained` is the usual way in."""
        check_count("model_max_length", model_max_length, least=1)
        check_option("padding_side", padding_side, SIDES)
        check_option("truncation_side", truncation_side, SIDES)
        super().__init__(tokenizer)
        self.model_max_length = model_max_length
        self.padding_side = padding_side
        self.truncation_side = truncation_side

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        do_lower_case: bool | None = None,
        model_max_length: int | None = None,
    ) -> BertTokenizer:
        """The tokenizer of a workdir, of a folder with tokenizer files, or of one file.

        Args:
            path: where it lies, or a name of the Hugging Face Hub; of a workdir, its
                `tokenizer` folder is read, of the prefix of a checkpoint of 2018 the
                folder that it is in. A file is a vocab.txt, a tokenizer.json or a model
                of SentencePiece.
            do_lower_case: whether to fold case, where the files do not say; a bare
                vocab.txt does not. By default unless the vocabulary has capitals.
            model_max_length: tokens of a row, instead of what the files say.

        Raises:
            ValueError: there is no tokenizer, it is not one of BERT's, or its files say
                otherwise of case than `do_lower_case` does.
        """
        place = Path(path)
        if place.name and place.with_name(f"{place.name}.index").is_file():
            place = place.parent
        if not place.exists() and is_hub_name(str(path)):
            place = hub_folder(str(path))
        if (place / "tokenizer" / CONFIG_FILE).is_file():
            place = place / "tokenizer"
        tokenizer = load_tokenizer(place, lowercase=do_lower_case)
        if do_lower_case not in (None, tokenizer.lowercase):
            raise ValueError(
                f"do_lower_case={do_lower_case} must be {tokenizer.lowercase}, as the "
                f"files at {path} say; leave it out"
            )
        stored = read_stored(place)
        if model_max_length is None:
            model_max_length = stored.model_max_length or DEFAULT_MAX_LENGTH
        return cls(
            tokenizer,
            model_max_length=model_max_length,
            padding_side=stored.padding_side or "right",
            truncation_side=stored.truncation_side or "right",
        )

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes the files that `from_pretrained`, here and in Transformers, reads."""
        self.tokenizer.save(Path(directory))
        path = Path(directory) / CONFIG_FILE
        settings = json.loads(path.read_text(encoding="utf-8"))
        for name in ("model_max_length", "padding_side", "truncation_side"):
            settings[name] = getattr(self, name)
        written = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        path.write_text(written, encoding="utf-8")
        files = [name for name in TOKENIZER_FILES if (path.parent / name).is_file()]
        renew_hashes(path.parent, files)

    def __call__(
        self,
        text: Texts,
        text_pair: Texts | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
    ) -> BatchEncoding:
        """Encodes one text or a list of them, each alone or with its pair.

        Args:
            text: one text, a batch of B texts, or a batch of B (text, pair).
            text_pair: the second segment of each, of the same form.
            add_special_tokens: whether to put [CLS] and [SEP] in.
            padding: False; True or "longest": to the longest of the batch;
                "max_length": to max_length.
            truncation: False; True or "longest_first": tokens are taken from the longer
                segment until it fits; "only_first" or "only_second". By default only
                where max_length is given and padding is not.
            max_length: tokens, [CLS] and [SEP] included; model_max_length by default.
            stride: tokens of a text that a window repeats of the one before it.
            is_split_into_words: whether a text is a list of words, not a string.
            pad_to_multiple_of: rows are padded to a multiple of so many tokens.
            return_tensors: None for lists, "np" or "jax" for int32[B, L] arrays.
            return_token_type_ids, return_attention_mask: False leaves these out.
            return_overflowing_tokens: whether what truncation takes away comes as further
                rows; overflow_to_sample_mapping says which text each row is of.
            return_special_tokens_mask: adds special_tokens_mask, 1 for what is of no text.
            return_offsets_mapping: adds offset_mapping, the characters [start, end) that
                each token stands for in its text (in its word, if split into words).

        Returns:
            input_ids, token_type_ids (1 for the second segment), attention_mask (0 for
            padding) and what else was asked for: for one text lists of numbers, for a
            batch lists of lists.

        Raises:
            ValueError: an option has an impossible value, the texts and their pairs
                differ in number, or arrays are asked for of rows that differ in length.
        """
        check_option("return_tensors", return_tensors, TENSORS)
        lengths = self._lengths(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            pad_to_multiple_of=pad_to_multiple_of,
            overflow=return_overflowing_tokens,
        )
        texts, pairs, single = as_texts(text, text_pair, is_split_into_words)
        whole = self._rows(texts, pairs, is_split_into_words, add_special_tokens)
        rows = lengths.padded(lengths.truncated(whole))
        columns: dict[str, list[Any]] = {
            "input_ids": [row.ids(self.pad_token_id) for row in rows]
        }
        wanted = (
            ("token_type_ids", return_token_type_ids is not False, Row.token_types),
            ("attention_mask", return_attention_mask is not False, Row.attention),
            ("special_tokens_mask", return_special_tokens_mask, Row.special_tokens),
            ("offset_mapping", return_offsets_mapping, Row.offsets),
        )
        for name, is_wanted, column in wanted:
            if is_wanted:
                columns[name] = [column(row) for row in rows]
        if return_overflowing_tokens:
            columns["overflow_to_sample_mapping"] = [row.sample for row in rows]
            single = False
        data = tensors_of(columns, return_tensors, single)
        return BatchEncoding(data, rows, self.tokenizer.id_to_token, self.pad_token_id)

    def encode(self, text: Texts, text_pair: Texts | None = None, **options: Any) -> Any:
        """The input_ids of a call with the same arguments."""
        return self(text, text_pair, **options).input_ids

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        *,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Pads examples that were encoded before; what is not of tokens stays as it is.

        Args:
            encoded_inputs: a batch, one example, or a list of examples as a call returns
                them; lists, or arrays of NumPy or JAX.
            padding, max_length, pad_to_multiple_of: as in a call.
            return_attention_mask: whether to add an attention_mask that is not there.
            return_tensors: as in a call; "np" if arrays were given.

        Returns:
            The padded columns, without knowledge of where in texts the tokens stand.

        Raises:
            ValueError: an option has an impossible value, there are no input_ids, or
                columns do not fit each other.
        """
        check_option("return_tensors", return_tensors, TENSORS)
        lengths = self._lengths(
            padding=padding,
            truncation=False,
            max_length=max_length,
            stride=0,
            pad_to_multiple_of=pad_to_multiple_of,
            overflow=False,
        )
        columns, single, arrays = collected(encoded_inputs)
        with_mask = return_attention_mask is not False
        done = padded(columns, lengths, self.pad_token_id, with_mask)
        tensors = "np" if arrays and return_tensors is None else return_tensors
        return BatchEncoding(tensors_of(done, tensors, single))

    def _lengths(self, *, max_length: int | None, **options: Any) -> Lengths:
        return Lengths(
            max_length=self.model_max_length if max_length is None else max_length,
            given=max_length is not None,
            padding_left=self.padding_side == "left",
            truncation_left=self.truncation_side == "left",
            **options,
        )

    def _rows(
        self, texts: list[Any], pairs: list[Any] | None, words: bool, special: bool
    ) -> list[Row]:
        """The texts as rows, neither truncated nor padded."""
        encode = self.tokenizer.encode_words if words else self.tokenizer.encode_pieces
        frame = self.tokenizer.frame if special else self.tokenizer.frame.bare()
        firsts = [Part(pieces, 0, len(pieces)) for pieces in encode(texts)]
        seconds: list[Part | None] = [None] * len(firsts)
        if pairs is not None:
            seconds = [Part(pieces, 0, len(pieces)) for pieces in encode(pairs)]
        both = zip(firsts, seconds, strict=True)
        return [Row(n, first, second, frame) for n, (first, second) in enumerate(both)]
