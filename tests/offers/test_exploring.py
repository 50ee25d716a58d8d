"""The depth of a discount is drawn with the chances that are told, for what is on the slate."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.kinds import DROP, KIND
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.display import propensities
from nextoffer.offers.ranking import decide

N = 4_000


def drawn_often(bundle: Bundle, policy: Policy, draws: np.ndarray) -> tuple[list[int], dict[str, float]]:
    """What one customer's best win-back offer carried in each of many draws (−1 nothing), and the chances told."""
    rows = np.arange(len(bundle.knowledge.customers))
    greedy = decide(
        bundle, rows, bundle.candidates.batch(rows), policy, Context(n=1, kinds=(KIND["win_back"],))
    )
    at = int(np.flatnonzero(greedy.drop < 0)[0])
    row = int(greedy.question.candidates.customer[at])
    again = np.full(len(draws), row)
    context = Context(n=1, kinds=(KIND["win_back"],), draws=draws)
    choice = decide(bundle, again, bundle.candidates.batch(again), policy, context)
    on_slate = (choice.drop < 0) | (choice.drop == DROP["explored-nothing"])
    assert on_slate.sum() == len(draws)  # who is on the slate does not depend on the draw
    carried = np.where(choice.drop < 0, choice.option.incentive[choice.best], -1)[on_slate]
    (told,) = (propensities(choice, len(draws))[0] or {}).values()
    return carried.tolist(), told


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_incentives_are_drawn_as_often_as_their_chances_say(
    share: float, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    draws = np.random.default_rng(5).random(N)

    carried, told = drawn_often(shop_bundle, replace(shop_policy, explore_share=share), draws)

    counts = Counter("nothing" if one < 0 else shop_policy.menu.name[one] for one in carried)
    assert sum(told.values()) == pytest.approx(1.0) and min(told.values()) >= share - 1e-9
    assert set(counts) == set(told)
    for name, chance in told.items():
        error = (chance * (1 - chance) / N) ** 0.5
        assert counts[name] / N == pytest.approx(chance, abs=4 * error)


def test_chances_stay_chances_when_there_are_more_incentives_than_shares(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    _, told = drawn_often(shop_bundle, replace(shop_policy, explore_share=0.9), np.linspace(0, 0.999, 50))

    assert min(told.values()) > 0 and sum(told.values()) == pytest.approx(1.0)


def test_the_same_draw_gives_the_same_slate_and_no_draw_the_best(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    draws = np.full(20, 0.37)

    carried, _ = drawn_often(shop_bundle, shop_policy, draws)

    assert len(set(carried)) == 1
