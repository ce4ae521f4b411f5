"""Sentence pairs for next-sentence prediction, from lengths alone.

The recipe is that of 2018: walk a document, collect sentences up to a target length,
split them at random into A and B, half of the time replace B by a stretch of another
document (and go back for the sentences thus left over), then cut the pair to size.

That walk is sequential. Here it is computed for all documents at once: what happens at a
sentence, if a pair starts there, is drawn for every sentence; that gives each sentence a
successor, the place where the next pair would start; and the pairs of the walk are the
sentences reached from the documents' first ones. Each sentence is visited at most once,
so these draws are as independent as those of the walk. Reaching is done by doubling.

Source: google-research/bert, create_pretraining_data.py:create_instances_from_document.
"""

from __future__ import annotations

import numpy as np

from bert_jax.data.draws import Draws

# One training pair: places and lengths of its two stretches of tokens in the split.
PAIR = np.dtype(
    [
        ("a_start", "<i8"),
        ("b_start", "<i8"),
        ("a_length", "<u2"),
        ("b_length", "<u2"),
        ("label", "u1"),
    ]
)


def plan_pairs(
    sentence_offsets: np.ndarray,
    document_offsets: np.ndarray,
    first_document: int,
    last_document: int,
    *,
    sequence_length: int,
    short_sequence_rate: float,
    draws: Draws,
) -> np.ndarray:
    """Pairs of the documents in [first_document, last_document), in text order.

    Args:
        sentence_offsets: int64[S+1], into the tokens of the whole split; no sentence is
            empty.
        document_offsets: int64[D+1], into the sentences; no document is empty.
        first_document: first document to walk; random Bs come from all documents.
        last_document: end of the documents to walk.
        sequence_length: L; A and B together take at most L - 3 tokens.
        short_sequence_rate: share of documents walked with a random smaller target.
        draws: random numbers of this walk and no other.

    Returns:
        PAIR[N]; label 0 where B follows A, 1 where B is from elsewhere. A and B are
        never empty.
    """
    max_tokens = sequence_length - 3
    documents_D = np.arange(first_document, last_document)
    bounds = np.asarray(document_offsets[first_document : last_document + 1])
    base = int(bounds[0])
    offsets = np.asarray(sentence_offsets[base : int(bounds[-1]) + 1])
    sentences_in_D = np.diff(bounds)

    # The target is drawn once per document, as in 2018.
    short_D = draws.chance(short_sequence_rate, len(documents_D))
    short_targets_D = 2 + draws.below(np.full(len(documents_D), max_tokens - 1))
    targets_D = np.where(short_D, short_targets_D, max_tokens)

    # What would happen at each sentence.
    target = np.repeat(targets_D, sentences_in_D)
    document_end = np.repeat(bounds[1:] - base, sentences_in_D)
    here = np.arange(len(target))
    chunk_end = np.searchsorted(offsets, offsets[:-1] + target, side="left")
    chunk_end = np.minimum(chunk_end, document_end)
    chunk_size = chunk_end - here
    a_size = 1 + draws.below(np.maximum(chunk_size - 1, 1))
    is_random = draws.chance(0.5, len(here)) | (chunk_size == 1)
    successor = np.where(is_random, here + a_size, chunk_end)

    # What does happen.
    start = _reached(bounds[:-1] - base, successor)
    a_size, is_random, chunk_end = a_size[start], is_random[start], chunk_end[start]
    a_start = offsets[start]
    b_start = offsets[start + a_size]
    a_length = b_start - a_start
    b_length = offsets[chunk_end] - b_start

    chosen = np.flatnonzero(is_random)
    document = np.repeat(documents_D, sentences_in_D)[start[chosen]]
    b_start[chosen], b_length[chosen] = _random_stretches(
        sentence_offsets,
        document_offsets,
        document,
        target[start[chosen]] - a_length[chosen],
        draws,
    )

    cut_a, cut_b = _cuts(a_length, b_length, max_tokens)
    pairs = np.zeros(len(start), PAIR)
    pairs["a_start"] = a_start + draws.heads(cut_a)
    pairs["b_start"] = b_start + draws.heads(cut_b)
    pairs["a_length"] = a_length - cut_a
    pairs["b_length"] = b_length - cut_b
    pairs["label"] = is_random
    return pairs


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
    sentence_offsets: np.ndarray,
    document_offsets: np.ndarray,
    document: np.ndarray,
    target: np.ndarray,
    draws: Draws,
) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of stretches of other documents, of `target` tokens or more.

    A stretch begins at a random sentence and ends with the sentence that reaches the
    target, or with the document; it has at least one sentence. As in 2018, ten draws of
    the same document are taken for an answer.
    """
    num_documents = len(document_offsets) - 1
    other = draws.below(np.full(len(document), num_documents))
    for _ in range(9):
        same = np.flatnonzero(other == document)
        if not len(same):
            break
        other[same] = draws.below(np.full(len(same), num_documents))
    begin = np.asarray(document_offsets[other])
    end = np.asarray(document_offsets[other + 1])
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
