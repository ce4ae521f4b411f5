"""The control tokens that a tokenizer.json puts around texts."""

from __future__ import annotations

from typing import Any

from bert_jax.text.pieces import Frame


def frame_in(description: dict[str, Any], berts: Frame) -> Frame:
    """What the post-processor of a tokenizer.json puts around one text and around two.

    Args:
        description: the content, of a form that the Rust library has read.
        berts: the frame of a BERT with these control tokens, for where none is named.

    Raises:
        ValueError: texts are not framed as a BERT's are, [CLS] A [SEP] B [SEP], if with
            other tokens in these places.
    """
    processor = description.get("post_processor")
    if processor is None:
        return berts
    kind = processor.get("type")
    if kind in ("BertProcessing", "RobertaProcessing"):
        cls, sep = processor["cls"][1], processor["sep"][1]
        if kind == "BertProcessing":
            return Frame((cls,), (sep,), (sep,), second_type=1)
        return Frame((cls,), (sep, sep), (sep,), second_type=0)
    if kind == "TemplateProcessing":
        frame = _frame_of_template(processor)
        if frame is not None:
            return frame
    raise ValueError(
        "post_processor must frame texts as a BERT's does, [CLS] A [SEP] B [SEP]; this one "
        f"is a {kind} that does not"
    )


def _frame_of_template(processor: dict[str, Any]) -> Frame | None:
    """The frame of a TemplateProcessing, None where it has another form."""
    one, two = _flat(processor, "single"), _flat(processor, "pair")
    names = [name for name, _, _ in two]
    if sorted(filter(None, names)) != ["A", "B"] or names.index("A") > names.index("B"):
        return None
    first, second = names.index("A"), names.index("B")
    before, between, after = two[:first], two[first + 1 : second], two[second + 1 :]
    second_type = two[second][2]
    types = [type_id for _, _, type_id in two]
    plain = [0] * second + [second_type] * (len(two) - second)
    alone = [*before, ("A", (), 0), *((name, ids, 0) for name, ids, _ in after)]
    if types != plain or one != alone:
        return None
    return Frame(_ids(before), _ids(between), _ids(after), second_type)


_Place = tuple[str | None, tuple[int, ...], int]


def _flat(processor: dict[str, Any], form: str) -> list[_Place]:
    """The places of a template: (name of the text, ids of control tokens, type)."""
    places: list[_Place] = []
    for item in processor[form]:
        if "Sequence" in item:
            text = item["Sequence"]
            places.append((text["id"], (), text["type_id"]))
            continue
        token = item["SpecialToken"]
        if token["id"] not in processor["special_tokens"]:
            raise ValueError(f"post_processor.special_tokens must have {token['id']!r}")
        ids = processor["special_tokens"][token["id"]]["ids"]
        places.append((None, tuple(ids), token["type_id"]))
    return places


def _ids(places: list[_Place]) -> tuple[int, ...]:
    return tuple(index for _, ids, _ in places for index in ids)
