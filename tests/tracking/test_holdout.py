"""The holdout can be reproduced by anyone, does not depend on who is asked with whom, and has its share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.config import Experiment
from nextoffer.domain.arrays import Strings
from nextoffer.tracking.holdout import groups, hash_share


def one_by_one(seed: str, value: str) -> float:
    def fnv1a(text: str) -> int:
        state = 0x811C9DC5
        for byte in text.encode():
            state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
        return state

    return fnv1a(str(fnv1a(seed + value))) % 10_000 / 10_000


@pytest.mark.parametrize(
    ("seed", "value", "share"), [("seed", "a", 0.0505), ("seed", "b", 0.2696), ("foo", "ab", 0.2575)]
)
def test_the_published_check_values_match(seed: str, value: str, share: float) -> None:
    assert hash_share(seed, [value]).tolist() == [share]


@given(
    st.text(max_size=5), st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=30)
)
def test_a_column_of_ids_hashes_like_each_id_alone(seed: str, ids: list[str]) -> None:
    seed = seed.encode("utf-8", "ignore").decode()

    assert hash_share(seed, ids).tolist() == [one_by_one(seed, value) for value in ids]
    assert hash_share(seed, Strings.of(ids)).tolist() == hash_share(seed, ids).tolist()


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_the_share_of_100_000_ids_is_within_three_standard_errors(share: float) -> None:
    experiment = Experiment(holdout_share=share)

    held_out = groups(experiment, [f"{10_000 + number}" for number in range(100_000)])

    assert abs(held_out.mean() - share) < 3 * np.sqrt(share * (1 - share) / 100_000)


def test_another_version_holds_out_others() -> None:
    ids = [str(number) for number in range(20_000)]
    first, second = (groups(Experiment(version=version, holdout_share=0.5), ids) for version in (1, 2))

    assert abs((first == second).mean() - 0.5) < 3 * 0.5 / np.sqrt(20_000)


def test_nobody_is_held_out_at_share_zero() -> None:
    assert not groups(Experiment(holdout_share=0.0), [str(number) for number in range(10_000)]).any()


def test_a_missing_id_is_refused_by_row() -> None:
    with pytest.raises(ValueError, match="row 1 holds no id"):
        hash_share("seed", Strings.of(["a", None]))
