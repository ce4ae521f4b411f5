"""Training of vocabularies."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.entries import CONTROL_TOKENS
from bert_jax.text.folding import fold
from bert_jax.text.rust_backed import MAX_WORD_CHARACTERS, bert_normalizer
from bert_jax.text.tokenizer import Tokenizer
from bert_jax.text.unicode import well_formed
from bert_jax.text.unigram import SentencePieceTokenizer
from bert_jax.text.wordpiece import WordPieceTokenizer

SAMPLE_BYTES = 200_000_000
ALPHABET_COVERAGE = 0.9995
_CHUNK_CHARACTERS = 65_536
_LINE_BYTES = 4096
# Longer than WordPiece encodes: such words become [UNK]. Chinese has no spaces.
_UNENCODABLE_WORD = re.compile(rf"[^\W\u3400-\u9fff]{{{MAX_WORD_CHARACTERS + 1},}}")
_THREADS = 16


def train_tokenizer(config: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """A vocabulary trained on `texts`, the same one for the same texts.

    At most 200 MB of text are used: of a larger corpus every 2nd, 4th, 8th … chunk of
    64 Ki characters, so that the sample is even and memory is bounded. The control
    tokens are ids 0 to 4. A small corpus may give fewer entries than asked for.

    Args:
        config: kind, vocab_size, lowercase and strip_accents are read; path is not.
        texts: documents or parts of documents, read once.

    Raises:
        ValueError: there is no text, or vocab_size is too small for its characters.
    """
    sample = sample_evenly(texts, SAMPLE_BYTES)
    if not any(chunk.strip() for chunk in sample):
        raise ValueError(
            "the corpus holds no text to train a vocabulary on; check data.sources"
        )
    if config.kind == "wordpiece":
        return _train_wordpiece(config, sample)
    return _train_sentencepiece(config, sample)


def sample_evenly(texts: Iterable[str], max_bytes: int) -> list[bytes]:
    """Every k-th chunk of `texts`, k the least power of 2 that keeps to `max_bytes`.

    Memory never exceeds `max_bytes` by more than one text: the chunks are UTF-8, since a
    string takes up to four times as much.
    """
    kept: list[tuple[int, bytes]] = []
    stride, size = 1, 0
    for index, chunk in enumerate(_chunks(texts)):
        if index % stride:
            continue
        kept.append((index, chunk.encode()))
        size += len(kept[-1][1])
        while size > max_bytes and len(kept) > 1:
            stride *= 2
            kept = [item for item in kept if item[0] % stride == 0]
            size = sum(len(encoded) for _, encoded in kept)
    return [encoded for _, encoded in kept]


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    """Chunks of about 64 Ki characters: long texts are cut at white space, short joined."""
    waiting: list[str] = []
    length = 0
    for text in texts:
        text = well_formed(text)
        start = 0
        while start < len(text):
            stop = _cut(text, start, start + _CHUNK_CHARACTERS - length)
            waiting.append(text[start:stop])
            length += stop - start
            start = stop
            if length >= _CHUNK_CHARACTERS // 2:
                yield "\n".join(waiting)
                waiting, length = [], 0
    if waiting:
        yield "\n".join(waiting)


def _cut(text: str, start: int, stop: int) -> int:
    """The last line break or space of text[start:stop] to cut at, else `stop`."""
    if stop >= len(text):
        return len(text)
    for mark in "\n ":
        found = text.rfind(mark, start, stop)
        if found > start:
            return found + 1
    return stop


def _train_wordpiece(config: TokenizerConfig, sample: list[bytes]) -> Tokenizer:
    """WordPiece by the trainer of Hugging Face `tokenizers`.

    That trainer breaks ties by the ids of the single characters, and gives these ids in
    the order of a hash map that differs from process to process. Naming the characters
    beforehand, as initial alphabet and as special tokens, makes it deterministic.
    """
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    strip_accents = config.lowercase and config.strip_accents
    backend.normalizer = bert_normalizer(config.lowercase, strip_accents)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = _alphabet(backend, sample, (config.vocab_size - len(CONTROL_TOKENS)) // 2)
    inside = [f"##{c}" for c in alphabet if _continues_words(backend, c)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[*CONTROL_TOKENS, *inside],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix="##",
    )
    backend.train_from_iterator(map(_encodable, sample), trainer)
    ids = backend.get_vocab()
    return WordPieceTokenizer(
        sorted(ids, key=ids.__getitem__),
        lowercase=config.lowercase,
        strip_accents=config.strip_accents,
    )


def _encodable(chunk: bytes) -> str:
    """A chunk as text, without the words that WordPiece would not cut."""
    return _UNENCODABLE_WORD.sub(" ", chunk.decode())


def _alphabet(backend: tokenizers.Tokenizer, sample: list[bytes], most: int) -> list[str]:
    """The characters to know alone: the most frequent that cover 99.95 % of the text.

    Counted on every chunk of a small sample, on about 400 chunks of a large one.
    """
    counts: Counter[str] = Counter()
    for chunk in sample[:: -(-len(sample) // 400)]:
        counts.update(backend.normalizer.normalize_str(_encodable(chunk)))
    ranked = sorted(
        ((c, n) for c, n in counts.items() if not c.isspace()),
        key=lambda item: (-item[1], item[0]),
    )
    needed = ALPHABET_COVERAGE * sum(n for _, n in ranked)
    chosen: list[str] = []
    covered = 0
    for character, count in ranked[:most]:
        if covered >= needed:
            break
        chosen.append(character)
        covered += count
    return sorted(chosen)


def _continues_words(backend: tokenizers.Tokenizer, character: str) -> bool:
    """Whether `character` may stand inside a word: it is not punctuation or Chinese."""
    text = backend.normalizer.normalize_str(f"a{character}")
    return len(backend.pre_tokenizer.pre_tokenize_str(text)) == 1


def _train_sentencepiece(config: TokenizerConfig, sample: list[bytes]) -> Tokenizer:
    """A unigram model by SentencePiece."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_short_lines(config, sample),
            model_writer=model,
            model_type="unigram",
            vocab_size=config.vocab_size,
            hard_vocab_limit=False,
            character_coverage=ALPHABET_COVERAGE,
            normalization_rule_name="nmt_nfkc",
            max_sentence_length=2 * _LINE_BYTES,
            num_threads=_THREADS,
            minloglevel=2,
            **_control_pieces(),
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"tokenizer.vocab_size={config.vocab_size} gives no vocabulary on this corpus "
            f"(SentencePiece: {reason}); change it or give more text"
        ) from None
    return SentencePieceTokenizer(
        model.getvalue(), lowercase=config.lowercase, strip_accents=config.strip_accents
    )


def _control_pieces() -> dict[str, Any]:
    """SentencePiece's names for our control tokens, ids 0 to 4."""
    pad, unk, cls, sep, mask = CONTROL_TOKENS
    return {
        "pad_id": 0,
        "unk_id": 1,
        "bos_id": 2,
        "eos_id": 3,
        "pad_piece": pad,
        "unk_piece": unk,
        "bos_piece": cls,
        "eos_piece": sep,
        "control_symbols": [mask],
    }


def _short_lines(config: TokenizerConfig, sample: list[bytes]) -> Iterator[str]:
    """Lines of at most 4 KiB characters, folded; the trainer skips longer ones."""
    for chunk in sample:
        for line in fold(
            chunk.decode(), config.lowercase, config.strip_accents
        ).splitlines():
            start = 0
            while start < len(line):
                stop = _cut(line, start, start + _LINE_BYTES // 4)
                yield line[start:stop].strip()
                start = stop
