"""Families: q-values are scipy's, few of the called are false, and intervals widen with the choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from nextoffer.measurement.compare import Compared, compare
from nextoffer.measurement.families import family
from nextoffer.measurement.groups import Groups


def segment(rng: np.random.Generator, lift: float = 0.0, n: int = 300, n_permutations: int = 399) -> Compared:
    treated = rng.permutation(n) >= n * 0.3
    buys = rng.random(n) < 0.3
    spend = np.where(buys, rng.lognormal(3, 0.7, n), 0.0) * np.where(treated, 1 + lift, 1)
    groups = Groups.of(treated, int(treated.sum()), int((~treated).sum()))
    (compared,) = compare(spend[:, None], groups, seed=1, n_permutations=n_permutations, min_buyers=10)
    return compared


def test_q_is_that_of_benjamini_and_hochberg_and_the_equal_tailed_p_stays() -> None:
    rng = np.random.default_rng(1)
    segments = [segment(rng, lift) for lift in (3.0, 0.0, 0.0, 2.0, 0.3)]

    effects = family(segments)

    p_values = [each.p for each in segments]
    assert [effect.p for effect in effects] == p_values
    assert [effect.q for effect in effects] == pytest.approx(false_discovery_control(p_values))
    assert [effect.verdict for effect in effects][:1] == ["win"]


def test_one_effect_is_a_family_of_itself() -> None:
    one = segment(np.random.default_rng(2), 2.0)

    (effect,) = family([one])

    assert effect.q == effect.p
    assert (effect.low, effect.high, effect.verdict) == (
        one.effect().low,
        one.effect().high,
        one.effect().verdict,
    )


def test_what_one_segment_alone_would_show_many_may_not() -> None:
    rng = np.random.default_rng(4)
    alone = next(
        each
        for each in (segment(rng, 0.5) for _ in range(200))
        if each.p is not None and 0.01 < each.p < 0.05
    )
    others = [segment(rng) for _ in range(9)]
    others = [each for each in others if each.p is not None and each.p > 0.1]

    effect = family([alone, *others])[0]

    assert alone.effect().verdict == "win"
    assert effect.verdict == "not shown"
    assert effect.low is not None and effect.high is not None and effect.low <= 0 <= effect.high


def test_segments_with_too_few_buyers_are_not_counted() -> None:
    rng = np.random.default_rng(5)
    few, one = segment(rng, n=40), segment(rng, 2.0)
    assert few.p is None

    effects = family([few, one, few])

    assert [effect.verdict for effect in effects] == ["too few buyers", "win", "too few buyers"]
    assert (effects[0].q, effects[1].q) == (None, one.p)
    assert [effect.verdict for effect in family([few])] == ["too few buyers"]
    assert family([]) == ()


def test_of_the_called_few_are_false() -> None:
    rng = np.random.default_rng(6)
    false_shares = []
    for _ in range(40):
        effects = family([segment(rng, lift, n_permutations=199) for lift in (1.5, 1.5, *[0.0] * 8)])
        called = [effect.verdict in ("win", "loss") for effect in effects]
        false_shares.append(sum(called[2:]) / max(1, sum(called)))

    # 5 % × the share without an effect
    assert np.mean(false_shares) < 0.04 + 3 * np.std(false_shares) / np.sqrt(40)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from([-0.8, 0.0, 0.5, 1.0, 4.0])), min_size=1, max_size=8
    )
)
def test_in_a_family_too_the_interval_excludes_zero_exactly_when_the_verdict_decides(
    segments: list[tuple[int, float]],
) -> None:
    compared = [
        segment(np.random.default_rng(seed), lift, n=150, n_permutations=199) for seed, lift in segments
    ]

    for effect in family(compared):
        if effect.verdict != "too few buyers":
            assert effect.low is not None and effect.high is not None and effect.q is not None
            assert (effect.low > 0) == (effect.verdict == "win")
            assert (effect.high < 0) == (effect.verdict == "loss")
            assert (effect.q <= 0.05 + 1e-12) == (effect.verdict in ("win", "loss"))
