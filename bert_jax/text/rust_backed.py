"""What the tokenizers over Hugging Face `tokenizers` share.

Shapes: N tokens, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_jax.text.entries import CONTROL_TOKENS, Entries, flatten_ids
from bert_jax.text.pieces import LocatedPieces, Pieces
from bert_jax.text.unicode import original_places, well_formed

MAX_WORD_CHARACTERS = 100
# As `clean_up_tokenization` of Transformers has them, in its order.
_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class RustBacked(Entries):
    """Encoding and decoding by a tokenizer of the Rust library.

    A subclass sets `_backend`, which knows control tokens written out in text, and
    `_plain`, which does not.
    """

    _backend: tokenizers.Tokenizer
    _plain: tokenizers.Tokenizer

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of plain texts; see `Tokenizer.encode_batch`."""
        clean = [well_formed(text) for text in texts]
        encodings = self._plain.encode_batch_fast(clean, add_special_tokens=False)
        return flatten_ids([encoding.ids for encoding in encodings])

    def encode(self, text: str) -> list[int]:
        """Ids of one text, written-out control tokens understood; none are added."""
        encoding = self._backend.encode(well_formed(text), add_special_tokens=False)
        return list(encoding.ids)

    def encode_pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Located tokens of texts; see `Tokenizer.encode_pieces`."""
        clean = [well_formed(text) for text in texts]
        found = self._backend.encode_batch(clean, add_special_tokens=False)
        return [
            encoding if text is given else _relocated(encoding, [given] * len(encoding))
            for encoding, text, given in zip(found, clean, texts, strict=True)
        ]

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[Pieces]:
        """Located tokens of texts given as words; see `Tokenizer.encode_words`."""
        clean = [[well_formed(word) for word in words] for words in texts]
        found = self._backend.encode_batch(
            clean, is_pretokenized=True, add_special_tokens=False
        )
        pieces: list[Pieces] = []
        for encoding, words, given in zip(found, clean, texts, strict=True):
            if words == list(given):
                pieces.append(encoding)
            else:
                words_N = [given[n] for n in encoding.word_ids if n is not None]
                pieces.append(_relocated(encoding, words_N))
        return pieces

    def decode(
        self, ids: Sequence[int], *, skip_special: bool = False, clean_up: bool = True
    ) -> str:
        """Text of `ids`, without the spaces that tokenizing put around punctuation."""
        for index in ids:
            self.id_to_token(int(index))
        text: str = self._backend.decode(
            [int(index) for index in ids], skip_special_tokens=skip_special
        )
        for spaced in _SPACED if clean_up else ():
            text = text.replace(spaced, spaced.strip())
        return text


def _relocated(encoding: tokenizers.Encoding, given: Sequence[str]) -> LocatedPieces:
    """Pieces of cleaned text, located in the text (of each token) as it was given."""
    places = {text: original_places(text) for text in set(given)}
    offsets = [
        (places[text][start], places[text][stop])
        for text, (start, stop) in zip(given, encoding.offsets, strict=True)
    ]
    return LocatedPieces(encoding.ids, offsets, encoding.word_ids)


def bert_normalizer(
    lowercase: bool, strip_accents: bool, *, chinese_apart: bool = True
) -> normalizers.Normalizer:
    """The text folding of BERT: control characters out, CJK set apart, case folded."""
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese_apart,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )


def bert_backend(
    tokens: Sequence[str],
    normalizer: normalizers.Normalizer,
    control_tokens: Sequence[str] = CONTROL_TOKENS,
) -> tokenizers.Tokenizer:
    """A WordPiece tokenizer of the Rust library as published BERTs have it.

    Args:
        tokens: the entries in the order of their ids, the control tokens among them.
        normalizer: its text folding; see `bert_normalizer`.
        control_tokens: names of [PAD], [UNK], [CLS], [SEP] and [MASK].
    """
    ids = {token: index for index, token in enumerate(tokens)}
    _, unk, cls, sep, _ = control_tokens
    model = models.WordPiece(
        ids, unk_token=unk, max_input_chars_per_word=MAX_WORD_CHARACTERS
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    backend.add_special_tokens(list(control_tokens))
    return backend
