"""BERT's own tokenizer.

Shapes: N tokens, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_jax.text.entries import CONTROL_TOKENS, Entries, flatten_ids
from bert_jax.text.unicode import well_formed

MAX_WORD_CHARACTERS = 100
# As `clean_up_tokenization` of Transformers has them, in its order.
_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class WordPieceTokenizer(Entries):
    """BERT's own tokenizer: words by white space and punctuation, longest pieces first.

    Source: google-research/bert tokenization.py; the work is done by Hugging Face
    `tokenizers`.
    Differs: a word of more than 100 characters is [UNK], as in Hugging Face's classes
    and the first releases (200 in the last one of the 2018 code).
    """

    kind = "wordpiece"

    def __init__(
        self, tokens: Sequence[str], *, lowercase: bool = True, strip_accents: bool = True
    ):
        """A tokenizer over entries `tokens`, in the order of their ids."""
        super().__init__(tokens, lowercase, strip_accents)
        self._check_case()
        self._backend = self._build()
        self._plain = self._build()
        self._plain.encode_special_tokens = True
        self.word_starts_V = self._mark_word_starts(
            [not token.startswith("##") for token in self.tokens]
        )
        self.sha256 = self._digest("\n".join(self.tokens).encode("utf-8"))

    def __reduce__(self) -> tuple[Any, ...]:
        return _wordpiece, (self.tokens, self.lowercase, self.strip_accents)

    def _check_case(self) -> None:
        """Refuses a vocabulary with capitals when all text is to be lowercased."""
        words = [t for t in self.tokens if not (t.startswith("[") and t.endswith("]"))]
        capitals = sum(word != word.lower() for word in words)
        if self.lowercase and 20 * capitals > len(words):
            raise ValueError(
                f"tokenizer.lowercase=True must be False for this vocabulary: {capitals} "
                f"of its {len(words)} entries have capitals and could never be used"
            )

    def _build(self) -> tokenizers.Tokenizer:
        model = models.WordPiece(
            self._ids, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD_CHARACTERS
        )
        backend = tokenizers.Tokenizer(model)
        backend.normalizer = bert_normalizer(self.lowercase, self.strip_accents)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[("[CLS]", self.cls_id), ("[SEP]", self.sep_id)],
        )
        backend.add_special_tokens(list(CONTROL_TOKENS))
        return backend

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of plain texts; see `Tokenizer.encode_batch`."""
        clean = [well_formed(text) for text in texts]
        encodings = self._plain.encode_batch_fast(clean, add_special_tokens=False)
        return flatten_ids([encoding.ids for encoding in encodings])

    def encode(self, text: str) -> list[int]:
        """Ids of one text, written-out control tokens understood; none are added."""
        encoding = self._backend.encode(well_formed(text), add_special_tokens=False)
        return list(encoding.ids)

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Text of `ids`, without the spaces that tokenizing put around punctuation."""
        for index in ids:
            self.id_to_token(int(index))
        text = self._backend.decode([int(i) for i in ids], skip_special_tokens=skip_special)
        for spaced in _SPACED:
            text = text.replace(spaced, spaced.strip())
        return text

    def save(self, directory: Path) -> None:
        """Writes vocab.txt, tokenizer.json (as Hugging Face has it) and our settings."""
        directory.mkdir(parents=True, exist_ok=True)
        vocabulary = "".join(f"{token}\n" for token in self.tokens)
        (directory / "vocab.txt").write_bytes(vocabulary.encode("utf-8"))
        tokenizer_json = self._backend.to_str(pretty=True)
        (directory / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
        names = {"tokenizer_class": "BertTokenizer", "do_lower_case": self.lowercase}
        self._save_settings(directory, names)


def _wordpiece(
    tokens: Sequence[str], lowercase: bool, strip_accents: bool
) -> WordPieceTokenizer:
    """Rebuilds a tokenizer in another process."""
    return WordPieceTokenizer(tokens, lowercase=lowercase, strip_accents=strip_accents)


def bert_normalizer(lowercase: bool, strip_accents: bool) -> normalizers.Normalizer:
    """The text folding of BERT: control characters out, CJK set apart, case folded."""
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=lowercase and strip_accents,
        lowercase=lowercase,
    )
