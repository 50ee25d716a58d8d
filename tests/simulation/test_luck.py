"""Chance is a pure function: uniform, independent between neighbours, the same for ever."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nextoffer.simulation.luck import Stream, _mix_int, gamma, lognormal, pick, uniform

MASK = (1 << 64) - 1
CUSTOMERS = np.arange(20_000)
GOLDEN = [0.8882007437144757, 0.9893179487376214, 0.3433556071939053]


def splitmix64(state: int) -> int:
    """The published generator, in plain integers."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def by_hand(seed: int, stream: int, week: int, customer: int, slot: int) -> float:
    golden = 0x9E3779B97F4A7C15
    key = splitmix64((splitmix64(splitmix64(seed) + stream * golden) + week * golden) & MASK)
    bits = (key + customer * 0xD1342543DE82EF95 + slot * 0xAF251AF3B0F025B5) & MASK
    bits = splitmix64((bits - golden) & MASK)
    return ((bits >> 11) + 0.5) * 2.0**-53


def test_the_hash_is_the_published_splitmix64() -> None:
    assert _mix_int(0) == 0xE220A8397B1DCDAF  # first output of splitmix64 seeded with 0
    assert splitmix64(0x9E3779B97F4A7C15) == 0x6E789E6AA1B965F4  # and the second


@pytest.mark.parametrize(
    ("seed", "week", "customer", "slot"), [(0, 0, 0, 0), (7, 51, 123_456, 3), (2**63, 103, 2**43 + 5, 59)]
)
def test_a_draw_equals_the_hash_worked_out_in_plain_integers(
    seed: int, week: int, customer: int, slot: int
) -> None:
    got = uniform(seed, Stream.ORDER, week, np.array([customer]), slot)[0]

    assert got == by_hand(seed, Stream.ORDER, week, customer, slot)


def test_luck_never_changes_between_versions() -> None:
    """Golden values, worked out in plain integers: a change of them is a new shop version."""
    got = uniform(7, Stream.ORDER, 51, np.array([0, 1, 123_456]))

    assert got.tolist() == GOLDEN


@pytest.mark.parametrize("stream", list(Stream))
def test_every_stream_is_uniform(stream: Stream) -> None:
    drawn = uniform(11, stream, 3, CUSTOMERS)

    assert 0 < drawn.min() and drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-5


@pytest.mark.parametrize("stream", list(Stream))
def test_neighbouring_customers_weeks_slots_and_streams_are_unrelated(stream: Stream) -> None:
    here = uniform(11, stream, 3, CUSTOMERS)
    others = [
        uniform(11, stream, 3, CUSTOMERS + 1),
        uniform(11, stream, 4, CUSTOMERS),
        uniform(11, stream, 3, CUSTOMERS, 1),
        uniform(12, stream, 3, CUSTOMERS),
        *(uniform(11, other, 3, CUSTOMERS) for other in (Stream(s) for s in Stream) if other == stream + 1),
    ]
    for other in others:
        assert abs(np.corrcoef(here, other)[0, 1]) < 5 / np.sqrt(len(here))


def test_a_draw_does_not_depend_on_what_is_drawn_beside_it() -> None:
    whole = uniform(5, Stream.SIZE, 9, CUSTOMERS)
    parts = [uniform(5, Stream.SIZE, 9, part) for part in np.array_split(CUSTOMERS, 7)]

    assert np.array_equal(whole, np.concatenate(parts))
    assert uniform(5, Stream.SIZE, 9, CUSTOMERS[:, None], np.arange(3)).shape == (len(CUSTOMERS), 3)


def test_quantile_functions_are_those_of_the_named_laws() -> None:
    u = np.linspace(0.01, 0.99, 50)

    assert np.allclose(gamma(u, 0.75, 0.08), stats.gamma(0.75, scale=0.08 / 0.75).ppf(u))
    assert np.allclose(lognormal(u, 2.5, 0.75), stats.lognorm(0.75, scale=2.5).ppf(u))
    assert pick(np.array([0.0, 0.34, 0.36, 0.99]), (0.35, 0.40, 0.25)).tolist() == [0, 0, 1, 2]
