"""Pairs against a plain transcription of the walk of 2018."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from bert_jax.data.draws import Draws
from bert_jax.data.pairs import NO_LABEL, Recipe, Text, plan_pairs, sequence_lengths
from bert_jax.data.shards import offsets_of

LENGTH = 32
SHORT_RATE = 0.3
Sentence = list[int]
Pair = tuple[Sentence, Sentence, int]


def walk_2018(
    documents: list[list[Sentence]],
    index: int,
    rng: random.Random,
    keep_unused: bool = True,
    random_rate: float = 0.5,
) -> list[Pair]:
    """`create_instances_from_document` of google-research/bert, without its masks.

    `keep_unused` and `random_rate` are there to break it on purpose.
    """
    document = documents[index]
    max_tokens = LENGTH - 3
    target = max_tokens
    if rng.random() < SHORT_RATE:
        target = rng.randint(2, max_tokens)
    pairs = []
    chunk: list[Sentence] = []
    chunk_length = 0
    i = 0
    while i < len(document):
        chunk.append(document[i])
        chunk_length += len(document[i])
        if i == len(document) - 1 or chunk_length >= target:
            a_end = 1
            if len(chunk) >= 2:
                a_end = rng.randint(1, len(chunk) - 1)
            a = [token for sentence in chunk[:a_end] for token in sentence]
            b: Sentence = []
            is_random = len(chunk) == 1 or rng.random() < random_rate
            if is_random:
                for _ in range(10):
                    other = rng.randint(0, len(documents) - 1)
                    if other != index:
                        break
                start = rng.randint(0, len(documents[other]) - 1)
                for sentence in documents[other][start:]:
                    b.extend(sentence)
                    if len(b) >= target - len(a):
                        break
                if keep_unused:
                    i -= len(chunk) - a_end
            else:
                b = [token for sentence in chunk[a_end:] for token in sentence]
            truncate(a, b, max_tokens, rng)
            pairs.append((a, b, int(is_random)))
            chunk, chunk_length = [], 0
        i += 1
    return pairs


def truncate(a: Sentence, b: Sentence, max_tokens: int, rng: random.Random) -> None:
    """`truncate_seq_pair` of google-research/bert."""
    while len(a) + len(b) > max_tokens:
        longer = a if len(a) > len(b) else b
        if rng.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def toy_documents() -> list[list[Sentence]]:
    """Eight documents of numbered tokens, so that each token tells where it stood."""
    lengths = [
        [5, 9, 3, 7, 7, 2, 12, 4, 6, 6, 1, 8],
        [1],
        [40],
        [3, 3],
        [2, 50, 2, 2],
        [10] * 9,
        [1] * 30,
        [29, 1, 28],
    ]
    tokens = iter(range(10_000))
    return [[[next(tokens) for _ in range(n)] for n in document] for document in lengths]


def text_of(documents: list[list[Sentence]]) -> Text:
    """Where the sentences of documents lie."""
    return Text(
        offsets_of(np.array([len(s) for d in documents for s in d])),
        offsets_of(np.array([len(d) for d in documents])),
        0,
        len(documents),
    )


def plan(
    documents: list[list[Sentence]], seed: int, task: str = "nsp", rate: float = SHORT_RATE
) -> np.ndarray:
    """All sequences of one epoch, as `plan_pairs` has them."""
    recipe = Recipe(task, LENGTH, rate)
    return plan_pairs(text_of(documents), 0, len(documents), recipe, Draws("test", seed))


def ours(documents: list[list[Sentence]], seed: int, task: str = "nsp") -> list[Pair]:
    """The same as tokens."""
    return [
        (
            list(range(p["a_start"], p["a_start"] + p["a_length"])),
            list(range(p["b_start"], p["b_start"] + p["b_length"])),
            int(p["label"]),
        )
        for p in plan(documents, seed, task)
    ]


def features(pairs: list[Pair]) -> Counter[tuple[str, object]]:
    """Counts of what the recipe decides, over all pairs of one epoch."""
    counts: Counter[tuple[str, object]] = Counter()
    for a, b, label in pairs:
        counts["pairs", label] += 1
        counts["a start", a[0]] += 1
        counts["a length", len(a)] += 1
        counts["b start", (b[0], label)] += 1
        counts["b length", (len(b), label)] += 1
        counts["total", (len(a) + len(b), label)] += 1
        counts["joint", (a[0] // 8, len(a) // 6, len(b) // 6, label)] += 1
    return counts


def samples(draw: object, rounds: int) -> tuple[dict, dict]:
    """Mean and variance of the mean of each feature over `rounds` epochs."""
    total: Counter = Counter()
    squares: Counter = Counter()
    for seed in range(rounds):
        for key, count in draw(seed).items():
            total[key] += count
            squares[key] += count * count
    means = {key: total[key] / rounds for key in total}
    variances = {key: (squares[key] / rounds - means[key] ** 2) / rounds for key in total}
    return means, variances


def worst_deviation(draw: object, reference: object, rounds: int) -> float:
    """The largest difference of a feature's mean, in standard errors."""
    means, variances = samples(draw, rounds)
    other_means, other_variances = samples(reference, rounds)
    worst = 0.0
    for key in set(means) | set(other_means):
        difference = abs(means.get(key, 0.0) - other_means.get(key, 0.0))
        # A rare feature is allowed one event: its own variance is not a fair measure.
        floor = 1.0 / rounds**2
        variance = variances.get(key, 0.0) + other_variances.get(key, 0.0)
        worst = max(worst, difference / np.sqrt(max(variance, 16 * floor)))
    return worst


ROUNDS = 1500
# About 1500 features are compared; 5 standard errors by chance: less than 1 in 1000 runs,
# and these runs are always the same.
MOST = 5.0


def transcription(**broken: object) -> object:
    """Features of an epoch by the transcription, as a function of the seed."""
    documents = toy_documents()

    def draw(seed: int) -> Counter:
        rng = random.Random(10_000 + seed)
        return features(
            [
                p
                for i in range(len(documents))
                for p in walk_2018(documents, i, rng, **broken)
            ]
        )

    return draw


def test_pairs_have_the_distribution_of_2018():
    documents = toy_documents()
    deviation = worst_deviation(
        lambda seed: features(ours(documents, seed)), transcription(), ROUNDS
    )
    assert deviation < MOST


@pytest.mark.parametrize("broken", [{"keep_unused": False}, {"random_rate": 0.35}])
def test_a_broken_recipe_is_told_apart(broken):
    documents = toy_documents()
    deviation = worst_deviation(
        lambda seed: features(ours(documents, seed)), transcription(**broken), ROUNDS
    )
    assert deviation > 2 * MOST


def test_pairs_are_never_empty_or_too_long():
    for seed in range(50):
        for a, b, _ in ours(toy_documents(), seed):
            assert a and b
            assert len(a) + len(b) <= LENGTH - 3


def test_b_follows_a_unless_it_is_random():
    documents = toy_documents()
    document_of = {t: i for i, d in enumerate(documents) for s in d for t in s}
    continued = 0
    for seed in range(50):
        for a, b, label in ours(documents, seed):
            same = document_of[a[0]] == document_of[b[0]]
            if label == 0:
                assert same and b[0] > a[-1]
                continued += b[0] == a[-1] + 1
            elif same:
                pytest.fail("a random B came from the same document, among eight")
    assert continued > 200


def test_one_document_gives_random_pairs_from_itself():
    pairs = ours([[[0, 1], [2, 3], [4, 5]]], 0)
    assert pairs
    assert all(a and b for a, b, _ in pairs)


def test_blocks_draw_random_b_from_the_whole_source():
    text = text_of(toy_documents())
    bounds = text.sentence_offsets[text.document_offsets]
    for first, last in ((0, 8), (3, 8)):
        seen: set[int] = set()
        source = text._replace(first=first, last=last)
        for seed in range(100):
            recipe, draws = Recipe("nsp", LENGTH, 0.0), Draws("block", seed)
            pairs = plan_pairs(source, 5, 7, recipe, draws)
            a_document = np.searchsorted(bounds, pairs["a_start"], side="right") - 1
            assert set(a_document) == {5, 6}
            chosen = pairs[pairs["label"] == 1]
            seen |= set(np.searchsorted(bounds, chosen["b_start"], side="right") - 1)
        assert seen == set(range(first, last))


def test_sentence_order_pairs_are_neighbours_half_of_them_exchanged():
    documents = toy_documents()
    document_of = {t: i for i, d in enumerate(documents) for s in d for t in s}
    labels: Counter[int] = Counter()
    for seed in range(200):
        for a, b, label in ours(documents, seed, "sop"):
            labels[label] += 1
            assert a
            if label == NO_LABEL:
                assert not b
                continue
            first, second = (b, a) if label else (a, b)
            assert second[0] > first[-1]
            assert document_of[first[0]] == document_of[second[-1]]
            assert len(a) + len(b) <= LENGTH - 3
    assert set(labels) == {0, 1, NO_LABEL}
    # Within five standard deviations of a half; all of one label would be far off.
    total = labels[0] + labels[1]
    assert abs(labels[1] - total / 2) < 5 * np.sqrt(total) / 2


def test_single_segments_hold_all_text_once_in_whole_sentences():
    documents = toy_documents()
    starts = {s[0] for d in documents for s in d}
    ends = {s[-1] for d in documents for s in d}
    sentence_of = {t: s for d in documents for s in d for t in s}
    for seed in range(20):
        sequences = ours(documents, seed, "none")
        assert [t for a, _, _ in sequences for t in a] == list(range(len(sentence_of)))
        for a, b, label in sequences:
            assert not b and label == NO_LABEL and 0 < len(a) <= LENGTH - 2
    # As many sentences as fit: the next one would not have. Only what is longer than a
    # sequence is cut inside.
    whole = plan(documents, 0, "none", rate=0.0)
    for p in whole:
        first, last = int(p["a_start"]), int(p["a_start"] + p["a_length"]) - 1
        assert first in starts or len(sentence_of[first]) > LENGTH - 2
        assert last in ends or len(sentence_of[last]) > LENGTH - 2
    for one, following in itertools.pairwise(whole):
        sentence = sentence_of[int(following["a_start"])]
        same = int(following["a_start"]) not in {d[0][0] for d in documents}
        if same:
            assert one["a_length"] + min(len(sentence), LENGTH - 2) > LENGTH - 2


def test_lengths_count_control_tokens():
    for task, extra in (("nsp", 3), ("sop", 3), ("none", 2)):
        pairs = plan(toy_documents(), 0, task)
        lengths = sequence_lengths(pairs)
        text = pairs["a_length"].astype(int) + pairs["b_length"]
        has_b = pairs["b_length"] > 0
        assert np.array_equal(lengths[has_b], text[has_b] + extra)
        assert np.array_equal(lengths[~has_b], text[~has_b] + 2)
        assert lengths.max() <= LENGTH
