"""A SentencePiece model written as a tokenizer.json, for those who read no spiece.model."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

_SPACE = "\u2581"


def unigram_json(
    model: bytes, lowercase: bool, strip_accents: bool, control_tokens: Sequence[str]
) -> str:
    """The content of a tokenizer.json that does what `SentencePieceTokenizer` does.

    Args:
        model: the content of a unigram model's file.
        lowercase: whether case is folded.
        strip_accents: whether accents are dropped.
        control_tokens: names of [PAD], [UNK], [CLS], [SEP] and [MASK] in the model.

    Differs: where two ways to cut a word have the same score, the libraries may take
    different ones; in 17,579 lines of books and questions, twice.
    """
    # Its classes are made at run time; protobuf is needed by those who write only.
    messages = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    proto = messages.ModelProto.FromString(model)
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    unk_id = next(n for n, (piece, _) in enumerate(pieces) if piece == control_tokens[1])
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id, byte_fallback=False))
    charsmap = proto.normalizer_spec.precompiled_charsmap
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace(dropped, "") for dropped in ("\0", "\ufffd")
    ]
    if lowercase:
        steps.append(normalizers.Lowercase())
    if strip_accents:
        steps += [normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()]
    if charsmap:
        steps.append(normalizers.Precompiled(charsmap))
    steps += [
        normalizers.Strip(),
        normalizers.Replace(tokenizers.Regex(" {2,}"), " "),
    ]
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepend_scheme="always")
    backend.decoder = decoders.Metaspace(_SPACE, prepend_scheme="always")
    _, _, cls, sep, _ = control_tokens
    ids = {token: backend.token_to_id(token) for token in control_tokens}
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    backend.add_special_tokens(list(control_tokens))
    written: str = backend.to_str(pretty=True)
    return written
