"""Everybody who gets no message is counted once, under the first cause that holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.channels.audience import ADVICE, CAUSES, audience_causes


def test_the_first_cause_counts_and_the_rest_is_kept():
    audience = audience_causes(
        4,
        {
            "no_consent": np.array([True, True, False, False]),
            "no_email": np.array([True, False, False, False]),
            "holdout": np.array([False, True, True, False]),
        },
    )

    assert audience.kept.tolist() == [False, False, False, True]
    assert list(audience.left_out) == list(CAUSES)
    assert {cause: n for cause, n in audience.left_out.items() if n} == {
        "no_email": 1,
        "no_consent": 1,
        "holdout": 1,
    }


@given(
    st.integers(0, 30).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.integers(0, 2 ** len(CAUSES) - 1), min_size=n, max_size=n)
        )
    )
)
def test_kept_and_left_out_always_add_up(drawn):
    n, codes = drawn
    bits = np.array(codes, dtype=int)
    masks = {cause: (bits >> place) & 1 == 1 for place, cause in enumerate(CAUSES)}
    audience = audience_causes(n, masks)

    assert sum(audience.left_out.values()) + int(audience.kept.sum()) == n
    first = [
        next((CAUSES[place] for place in range(len(CAUSES)) if code >> place & 1), None) for code in codes
    ]
    assert audience.left_out == {cause: first.count(cause) for cause in CAUSES}


def test_every_cause_tells_what_to_do():
    assert set(ADVICE) == set(CAUSES)


def test_a_cause_nobody_knows_or_a_mask_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="unknown cause 'rain'"):
        audience_causes(1, {"rain": np.array([True])})
    with pytest.raises(ValueError, match="holdout has shape"):
        audience_causes(2, {"holdout": np.array([True])})
