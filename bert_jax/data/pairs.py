"""Training sequences of an epoch, from lengths alone: pairs of segments, or single ones.

For next-sentence prediction the recipe is that of 2018: walk a document, collect sentences
up to a target length, split them at random into A and B, half of the time replace B by a
stretch of another document (and go back for the sentences thus left over), then cut the
pair to size. For sentence order (ALBERT) B is never replaced; half of the time the two
change places. With no sentence task a sequence is as many whole sentences of one document
as fit.

That walk is sequential. Here it is computed for all documents at once: what happens at a
sentence, if a sequence starts there, is drawn for every sentence; that gives each sentence
a successor, the place where the next sequence would start; and the sequences of the walk
are the sentences reached from the documents' first ones. Each sentence is visited at most
once, so these draws are as independent as those of the walk. Reaching is done by doubling.

Source: google-research/bert, create_pretraining_data.py:create_instances_from_document;
Lan et al. 2019 (ALBERT), section 3.1; Liu et al. 2019 (RoBERTa), section 4.2.
Differs: a chunk of one sentence has no order; ALBERT gives it a random B, here it stays
alone and without a label. Without a sentence task RoBERTa goes on into the next document;
here its sequences end with the document, and `data.packing` fills the rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bert_jax.data.draws import Draws

# One training sequence: places and lengths of its stretches of tokens in the split. A
# sequence of one segment has a `b_length` of 0.
PAIR = np.dtype(
    [
        ("a_start", "<i8"),
        ("b_start", "<i8"),
        ("a_length", "<u2"),
        ("b_length", "<u2"),
        ("label", "u1"),
    ]
)
NO_LABEL = 255


class Text(NamedTuple):
    """Where sentences and documents lie; both without empty ones.

    Attributes:
        sentence_offsets: int64[S+1], into the tokens of the whole split.
        document_offsets: int64[D+1], into the sentences.
        first: first document that belongs to the source at hand.
        last: end of its documents; random Bs come from [first, last).
    """

    sentence_offsets: np.ndarray
    document_offsets: np.ndarray
    first: int
    last: int


class Recipe(NamedTuple):
    """How sequences are made.

    Attributes:
        sentence_task: "nsp", "sop" or "none".
        sequence_length: L; with [CLS] and [SEP] no sequence is longer.
        short_sequence_rate: share of documents walked with a random smaller target.
    """

    sentence_task: str
    sequence_length: int
    short_sequence_rate: float

    @property
    def max_tokens(self) -> int:
        """Most tokens of text in a sequence, beside its [CLS] and one or two [SEP]."""
        return self.sequence_length - (2 if self.sentence_task == "none" else 3)


def sequence_lengths(pairs: np.ndarray) -> np.ndarray:
    """int64[N]: tokens of PAIR[N] as rows hold them, [CLS] and [SEP] included."""
    b_length = pairs["b_length"].astype(np.int64)
    return pairs["a_length"] + b_length + np.where(b_length > 0, 3, 2)


def plan_pairs(
    text: Text, start: int, stop: int, recipe: Recipe, draws: Draws
) -> np.ndarray:
    """Sequences of the documents in [start, stop), in text order.

    Args:
        text: sentences and documents.
        start: first document to walk.
        stop: end of the documents to walk.
        recipe: how.
        draws: random numbers of this walk and no other.

    Returns:
        PAIR[N]. The label is 0 where B follows A; 1 where B is from elsewhere (nsp) or
        comes before A in the text (sop); NO_LABEL where there is no B. A is never empty.
    """
    bounds = np.asarray(text.document_offsets[start : stop + 1])
    offsets = np.asarray(text.sentence_offsets[int(bounds[0]) : int(bounds[-1]) + 1])
    bounds = bounds - bounds[0]
    # The target is drawn once per document, as in 2018.
    num_documents = stop - start
    is_short_D = draws.chance(recipe.short_sequence_rate, num_documents)
    short_D = 2 + draws.below(np.full(num_documents, recipe.max_tokens - 1))
    targets_D = np.where(is_short_D, short_D, recipe.max_tokens)
    if recipe.sentence_task == "none":
        return _single_segments(offsets, bounds, targets_D)
    walk = _walk(offsets, bounds, targets_D, recipe.sentence_task == "nsp", draws)
    pairs = walk.pairs
    if recipe.sentence_task == "nsp":
        chosen = np.flatnonzero(pairs["label"])
        pairs["b_start"][chosen], b_length = _random_stretches(
            text,
            start + walk.document[chosen],
            walk.target[chosen] - walk.a_length[chosen],
            draws,
        )
        walk.b_length[chosen] = b_length
    cut_a, cut_b = _cuts(walk.a_length, walk.b_length, recipe.max_tokens)
    pairs["a_start"] += draws.heads(cut_a)
    pairs["b_start"] += draws.heads(cut_b)
    pairs["a_length"] = walk.a_length - cut_a
    pairs["b_length"] = walk.b_length - cut_b
    if recipe.sentence_task == "sop":
        _exchange_some(pairs, draws)
    return pairs


class _Walk(NamedTuple):
    """What is reached: pairs whose lengths are still to be cut, and how they came about."""

    pairs: np.ndarray
    a_length: np.ndarray
    b_length: np.ndarray
    document: np.ndarray
    target: np.ndarray


def _walk(
    offsets: np.ndarray,
    bounds: np.ndarray,
    targets_D: np.ndarray,
    may_replace: bool,
    draws: Draws,
) -> _Walk:
    """Pairs of neighbours, those marked 1 whose B is to be replaced."""
    sentences_in_D = np.diff(bounds)
    # What would happen at each sentence.
    target = np.repeat(targets_D, sentences_in_D)
    here = np.arange(len(target))
    chunk_end = np.searchsorted(offsets, offsets[:-1] + target, side="left")
    chunk_end = np.minimum(chunk_end, np.repeat(bounds[1:], sentences_in_D))
    chunk_size = chunk_end - here
    a_size = 1 + draws.below(np.maximum(chunk_size - 1, 1))
    if may_replace:
        is_replaced = draws.chance(0.5, len(here)) | (chunk_size == 1)
        successor = np.where(is_replaced, here + a_size, chunk_end)
    else:
        is_replaced = np.zeros(len(here), bool)
        successor = chunk_end

    # What does happen.
    start = _reached(bounds[:-1], successor)
    b_place = start + a_size[start]
    pairs = np.zeros(len(start), PAIR)
    pairs["a_start"] = offsets[start]
    pairs["b_start"] = offsets[b_place]
    pairs["label"] = is_replaced[start]
    return _Walk(
        pairs,
        a_length=offsets[b_place] - offsets[start],
        b_length=offsets[chunk_end[start]] - offsets[b_place],
        document=np.repeat(np.arange(len(targets_D)), sentences_in_D)[start],
        target=target[start],
    )


def _single_segments(
    offsets: np.ndarray, bounds: np.ndarray, targets_D: np.ndarray
) -> np.ndarray:
    """Sequences of whole sentences up to the target; longer sentences are cut in pieces."""
    longest = np.repeat(targets_D, np.diff(bounds))
    pieces = -(-np.diff(offsets) // longest)
    firsts = np.concatenate([[0], np.cumsum(pieces)])
    place = np.arange(firsts[-1]) - np.repeat(firsts[:-1], pieces)
    target = np.repeat(longest, pieces)
    offsets = np.append(np.repeat(offsets[:-1], pieces) + place * target, offsets[-1])
    bounds = firsts[bounds]

    end = np.searchsorted(offsets, offsets[:-1] + target, side="right") - 1
    end = np.minimum(end, np.repeat(bounds[1:], np.diff(bounds)))
    start = _reached(bounds[:-1], end)
    pairs = np.zeros(len(start), PAIR)
    pairs["a_start"] = pairs["b_start"] = offsets[start]
    pairs["a_length"] = offsets[end[start]] - offsets[start]
    pairs["label"] = NO_LABEL
    return pairs


def _exchange_some(pairs: np.ndarray, draws: Draws) -> None:
    """Half of the pairs get their B first, and the label 1; those without a B get none."""
    is_pair = pairs["b_length"] > 0
    swapped = np.flatnonzero(draws.chance(0.5, len(pairs)) & is_pair)
    before = pairs[swapped]
    for one, other in (("a", "b"), ("b", "a")):
        pairs[f"{one}_start"][swapped] = before[f"{other}_start"]
        pairs[f"{one}_length"][swapped] = before[f"{other}_length"]
    pairs["label"][swapped] = 1
    pairs["label"][~is_pair] = NO_LABEL


def _reached(starts: np.ndarray, successor: np.ndarray) -> np.ndarray:
    """Places reached from `starts` by any number of steps to the successor, in order.

    A successor lies behind its place; the last is the end, where a walk stops.
    """
    end = len(successor)
    reached = np.zeros(end + 1, bool)
    reached[starts] = True
    reached[end] = True
    jump = np.append(successor, end)
    count = int(reached.sum())
    while True:
        # `reached` has all places fewer than 2**k steps away, `jump` takes 2**k steps.
        reached[jump[np.flatnonzero(reached)]] = True
        grown = int(reached.sum())
        if grown == count:
            return np.flatnonzero(reached[:end])
        count = grown
        jump = jump[jump]


def _random_stretches(
    text: Text, document: np.ndarray, target: np.ndarray, draws: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of stretches of other documents, of `target` tokens or more.

    A stretch begins at a random sentence and ends with the sentence that reaches the
    target, or with the document; it has at least one sentence. As in 2018, ten draws of
    the same document are taken for an answer.
    """
    sentence_offsets = text.sentence_offsets
    num_documents = text.last - text.first
    other = text.first + draws.below(np.full(len(document), num_documents))
    for _ in range(9):
        same = np.flatnonzero(other == document)
        if not len(same):
            break
        other[same] = text.first + draws.below(np.full(len(same), num_documents))
    begin = np.asarray(text.document_offsets[other])
    end = np.asarray(text.document_offsets[other + 1])
    first = begin + draws.below(end - begin)
    start = np.asarray(sentence_offsets[first])

    # Bisection for the first sentence end that reaches the target; as no sentence is
    # empty, it is at most `target` sentences away.
    target = np.maximum(target, 1)
    low, high = first + 1, np.minimum(end, first + target)
    while True:
        open_ = np.flatnonzero(low < high)
        if not len(open_):
            break
        middle = (low[open_] + high[open_]) // 2
        reaches = sentence_offsets[middle] - start[open_] >= target[open_]
        high[open_] = np.where(reaches, middle, high[open_])
        low[open_] = np.where(reaches, low[open_], middle + 1)
    return start, np.asarray(sentence_offsets[low]) - start


def _cuts(
    a_length: np.ndarray, b_length: np.ndarray, max_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens A and B lose: one by one from the longer, from B when equal."""
    excess = np.maximum(a_length + b_length - max_tokens, 0)
    difference = a_length - b_length
    from_longer = np.minimum(excess, np.abs(difference))
    rest = excess - from_longer
    cut_a = np.where(difference > 0, from_longer, 0) + rest // 2
    cut_b = np.where(difference > 0, 0, from_longer) + (rest + 1) // 2
    return cut_a, cut_b
