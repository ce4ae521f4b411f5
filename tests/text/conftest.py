"""What several tests of text share."""

from __future__ import annotations

import pytest

from bert_jax.config_sections import TokenizerConfig
from bert_jax.text.unigram import SentencePieceTokenizer
from bert_jax.text.vocabulary import train_tokenizer

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, again and again.",
    "A tokenizer turns the words of a text into numbers, and numbers into words.",
    "Paris is the capital of France; Äpfel und Öl sind in Köln teuer.",
] * 20


@pytest.fixture(scope="session")
def unigram_model() -> bytes:
    """The content of a small spiece.model, case and accents folded."""
    config = TokenizerConfig(kind="sentencepiece", vocab_size=120)
    made = train_tokenizer(config, SENTENCES)
    assert isinstance(made, SentencePieceTokenizer)
    return made._model
