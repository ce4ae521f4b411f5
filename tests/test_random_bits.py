"""The bits behind masks and dropout: even, independent, pinned."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.random_bits import bits_at, fold, mix, row_bits


def bits_of(seed: int, count: int) -> np.ndarray:
    return np.asarray(row_bits(fold(seed, jnp.arange(1)), (count,)))[0]


def chi_square(values: np.ndarray, kinds: int) -> float:
    """Chi-square against even counts, in standard deviations from what is expected."""
    counts = np.bincount(values, minlength=kinds)
    expected = values.size / kinds
    statistic = ((counts - expected) ** 2 / expected).sum()
    return (statistic - (kinds - 1)) / np.sqrt(2 * (kinds - 1))


def test_values_are_pinned():
    """Checkpoints, recorded runs and golden arrays rest on them."""
    assert mix(jnp.arange(3, dtype=jnp.uint32)).tolist() == [0, 1753845952, 3507691905]
    assert int(fold(0, 0)) == 2926543089
    assert int(fold(7, 3, 4294967295 - 2**31)) == 750185498
    assert row_bits(fold(1, jnp.arange(2)), (3,)).tolist() == [
        [3596746518, 914170746, 1475931661],
        [2946320383, 3606063204, 3980295761],
    ]


def test_mix_is_a_bijection_on_a_sample():
    values = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    assert len(np.unique(np.asarray(mix(values)))) == len(np.unique(values))


@pytest.mark.parametrize("byte", range(4))
def test_bytes_are_even(byte):
    """Within one row, and over the first elements of many rows of consecutive seeds."""
    within = bits_of(3, 2**18) >> (8 * byte) & 255
    over = np.asarray(row_bits(fold(3, jnp.arange(2**18)), (1,)))[:, 0] >> (8 * byte) & 255
    assert abs(chi_square(within, 256)) < 5
    assert abs(chi_square(over, 256)) < 5
    assert chi_square(np.arange(2**18) % 200, 256) > 1000  # the test sees unevenness


def test_an_input_bit_flips_half_of_the_output_bits():
    values = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32)
    for function in (mix, lambda x: fold(x, 5), lambda x: fold(5, x)):
        for bit in range(32):
            flipped = np.asarray(function(values) ^ function(values ^ np.uint32(1 << bit)))
            # 4096 trials of each of 32 output bits: 5.1 sigma is 0.04.
            rates = (flipped[:, None] >> np.arange(32) & 1).mean(axis=0)
            assert np.abs(rates - 0.5).max() < 0.05, (bit, rates)


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(lambda: fold(0, jnp.arange(64)), id="neighbouring rows"),
        pytest.param(lambda: fold(jnp.arange(64), 0), id="neighbouring seeds"),
        pytest.param(
            lambda: jnp.stack([fold(9, site) for site in range(64)]),
            id="neighbouring sites",
        ),
    ],
)
def test_streams_are_independent(seeds):
    """No two streams agree in a bit more often than coins, at the same place or shifted."""
    bits = np.asarray(row_bits(seeds(), (2048,)))
    signs = (bits >> 31).astype(np.float64) * 2 - 1
    for shift in (0, 1, 7):
        correlation = signs @ np.roll(signs, shift, axis=1).T / signs.shape[1]
        if shift == 0:
            np.fill_diagonal(correlation, 0)
        # 4096 pairs of 2048 draws: 5.5 sigma.
        assert np.abs(correlation).max() < 5.5 / np.sqrt(2048)
    assert len(np.unique(bits)) > bits.size - 10


def test_pairs_of_neighbours_in_a_row_are_even():
    nibbles = bits_of(12, 2**17) >> 28
    assert abs(chi_square(nibbles[:-1] * 16 + nibbles[1:], 256)) < 5


def test_folding_depends_on_every_value_and_on_their_order():
    seeds = {int(fold(*values)) for values in ((1, 2, 3), (1, 3, 2), (2, 1, 3), (3, 2, 1))}
    assert len(seeds) == 4
    assert int(fold(1, 0)) != 1


def test_values_that_are_folded_together_collide_as_rarely_as_random_ones():
    """20 epochs of 50,000 examples: 116 pairs of a million 32-bit numbers are equal."""
    epochs, examples = np.divmod(np.arange(10**6, dtype=np.uint32), np.uint32(50_000))
    seeds = np.asarray(fold(3, 0, epochs, examples))
    assert 10**6 - len(np.unique(seeds)) < 116 + 5 * np.sqrt(116)


def test_no_value_of_a_fold_collides_with_another():
    assert len(np.unique(np.asarray(fold(77, jnp.arange(100_000))))) == 100_000


def test_a_row_depends_on_its_seed_alone():
    seeds_B = fold(4, jnp.arange(6))
    order = jnp.array([5, 2, 0])
    together = row_bits(seeds_B, (3, 5))
    assert together.shape == (6, 3, 5) and together.dtype == jnp.uint32
    assert np.array_equal(row_bits(seeds_B[order], (3, 5)), together[order])
    assert np.array_equal(row_bits(seeds_B, (15,)).reshape(6, 3, 5), together)


def test_bits_of_given_positions_are_those_of_a_row():
    seeds_B = fold(4, jnp.arange(6))
    positions = jnp.array([3, 0, 1, 2, 2], jnp.int32)
    found = bits_at(seeds_B[:, None], positions)
    assert found.dtype == jnp.uint32
    assert np.array_equal(found, row_bits(seeds_B, (4,))[:, positions])


def test_compiled_bits_are_the_same():
    seeds_B = fold(4, jnp.arange(6))
    assert np.array_equal(
        jax.jit(lambda s: row_bits(fold(s, 2), (9,)))(seeds_B),
        row_bits(fold(seeds_B, 2), (9,)),
    )
