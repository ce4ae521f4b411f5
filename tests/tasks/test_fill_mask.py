"""Words in place of [MASK], from the workdir of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bert_jax.config_sections import TokenizerConfig
from bert_jax.pretrained.classes import BertForPreTraining
from bert_jax.tasks.fill_mask import fill_mask, held_out_examples
from bert_jax.text.tokenizer import load_tokenizer
from bert_jax.text.vocabulary import train_tokenizer


def test_probabilities(tiny_workdir: Path) -> None:
    (answer,) = fill_mask(tiny_workdir, ["ba [MASK] bo."], 5)
    probabilities = [item.probability for item in answer]
    assert len(answer) == len({item.token for item in answer}) == 5
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1


def test_all_of_the_vocabulary_sums_to_one(tiny_workdir: Path) -> None:
    size = load_tokenizer(tiny_workdir / "tokenizer").vocab_size
    (answer,) = fill_mask(tiny_workdir, ["[MASK]"], size)
    assert sum(item.probability for item in answer) == pytest.approx(1.0, abs=1e-5)


def test_more_than_the_vocabulary_is_all_of_it(tiny_workdir: Path) -> None:
    size = load_tokenizer(tiny_workdir / "tokenizer").vocab_size
    (answer,) = fill_mask(tiny_workdir, ["ba [MASK]"], size + 1000)
    assert len(answer) == size


def test_another_tokenizer_is_refused(tiny_workdir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_workdir, tmp_path / "copy"))
    train_tokenizer(TokenizerConfig(vocab_size=64), ["another text of words"] * 9).save(
        copy / "tokenizer"
    )
    given = load_tokenizer(copy / "tokenizer").sha256[:12]
    said = rf"^checkpoint 6 has tokenizer_sha256=\w{{12}}…; .* {given}…; use the "
    with pytest.raises(ValueError, match=said) as error:
        fill_mask(copy, ["ba [MASK]"], 5)
    assert len(str(error.value).splitlines()) == 1


def test_nothing_is_written(tiny_workdir: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_workdir, tmp_path / "copy"))
    (copy / "checkpoints" / "8.orbax-checkpoint-tmp").mkdir()  # the run goes on
    before = sorted((path, path.stat().st_mtime_ns) for path in copy.rglob("*"))
    fill_mask(copy, ["ba [MASK]"], 5)
    assert sorted((path, path.stat().st_mtime_ns) for path in copy.rglob("*")) == before


def test_the_model_is_asked_at_the_mask(tiny_workdir: Path) -> None:
    """Against the model itself, on the row as one would write it by hand."""
    tokenizer = load_tokenizer(tiny_workdir / "tokenizer")
    text = "ba du [MASK] fo ge."
    ids = [tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id]
    logits_1LV = BertForPreTraining.from_pretrained(tiny_workdir)(
        np.array([ids])
    ).prediction_logits
    logits_V = np.asarray(logits_1LV)[0, ids.index(tokenizer.mask_id)]
    best = int(logits_V.argmax())
    probability = float(np.exp(logits_V[best]) / np.exp(logits_V).sum())
    # Longer and shorter texts beside it change nothing: they are padding to each other.
    long = " ".join(["ba"] * 12) + " [MASK]"
    for texts in ([text], [text, long], [text, "[MASK]"]):
        answer = fill_mask(tiny_workdir, texts, 1)[0][0]
        assert answer.token == tokenizer.id_to_token(best)
        assert answer.probability == pytest.approx(probability, rel=1e-4)


def test_only_the_first_of_several_masks_is_filled(tiny_workdir: Path) -> None:
    (answer,) = fill_mask(tiny_workdir, ["ba [MASK] bo [MASK]."], 3)
    for item in answer:
        assert item.text.count("[MASK]") == (2 if item.token == "[MASK]" else 1)
        assert "[MASK]" in item.text.split(" bo ", 1)[-1]


def test_no_mask_is_an_error(tiny_workdir: Path) -> None:
    with pytest.raises(ValueError, match=r"^'no mask' must have a \[MASK\]; for example"):
        fill_mask(tiny_workdir, ["a [MASK]", "no mask"], 5)


def test_too_long_is_an_error(tiny_workdir: Path) -> None:
    text = "[MASK] " + "ba " * 40
    with pytest.raises(ValueError, match=r"tokens; it must have at most 32; shorten it$"):
        fill_mask(tiny_workdir, [text], 5)


def test_held_out_examples(
    tiny_workdir: Path, tiny_config: Callable[..., Any], tiny_root: Path
) -> None:
    tokenizer = load_tokenizer(tiny_workdir / "tokenizer")
    directory = Path(tiny_config().data.directory)
    texts = held_out_examples(directory, tokenizer, 3)
    assert len(texts) == 3
    assert texts == held_out_examples(directory, tokenizer, 3)
    corpus = (tiny_root / "text" / "a.txt").read_text().lower().splitlines()
    for text in texts:
        assert text.count("[MASK]") == 1
        before, after = (part.strip() for part in text.split("[MASK]"))
        before, after = before.replace(" .", "."), after.replace(" .", ".")
        same = [line for line in corpus if line.startswith(before) and line.endswith(after)]
        assert same, text  # a sentence of the text, but for one word
        hidden = same[0][len(before) : len(same[0]) - len(after)].strip()
        assert hidden.isalpha()
    assert len(fill_mask(tiny_workdir, texts, 2)) == 3
