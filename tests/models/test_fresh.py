"""What a moment says of a product, against the sum written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.models import fresh
from nextoffer.models.fresh import BOUGHT, CART, VIEWED, Moment, excess, shares, suggest
from nextoffer.models.knowledge import Knowledge

NOTHING = np.zeros(0, np.int64)
ROWS = st.lists(st.integers(0, 149), max_size=8, unique=True).map(lambda rows: np.array(rows, np.int64))


@pytest.fixture(scope="module")
def knowledge(small_shop_learned: Any) -> Knowledge:
    return small_shop_learned.bundle.knowledge


def written_out(knowledge: Knowledge, voices: dict[tuple[int, int], float], product: int) -> list[float]:
    """What each source adds, by the formula of the module, one cell at a time."""
    added = []
    for (_, source), voice in sorted(voices.items()):
        others, chance = knowledge.companions.of(source)
        together = dict(zip(others.tolist(), chance.tolist(), strict=True)).get(product, 0.0)
        ease, after = (
            float(w.weight[w.place[source], w.place[product]])
            if w.place[source] >= 0 and w.place[product] >= 0
            else 0.0
            for w in (knowledge.ease, knowledge.next_basket)
        )
        said = fresh.COMPANIONS * together + fresh.EASE * ease + fresh.NEXT_BASKET * after
        added.append(0.0 if source == product else voice * said)
    return added


def voices_of(cart: list[int], viewed: list[int], bought: list[int]) -> dict[tuple[int, int], float]:
    voice = {(CART, row): 1.0 for row in cart}
    voice |= {(BOUGHT, row): 1.0 for row in bought if row not in cart}
    fresh_views = [row for row in viewed if row not in cart and row not in bought]
    voice |= {(VIEWED, row): 0.8**age for age, row in enumerate(fresh_views)}
    total = sum(voice.values())
    return {source: loud / total for source, loud in voice.items()}


@given(cart=ROWS, viewed=ROWS, bought=ROWS)
def test_a_share_is_the_sum_of_what_each_source_says_and_a_part_of_popularity(
    cart: np.ndarray, viewed: np.ndarray, bought: np.ndarray, knowledge: Knowledge
) -> None:
    n = len(knowledge.products)
    voices = voices_of(cart.tolist(), viewed.tolist(), bought.tolist())
    usual = np.exp(knowledge.products.log_share_28.astype(np.float64))
    moment = Moment.of(cart, viewed, bought)

    share, added = shares(knowledge, moment, np.arange(n))

    expected = np.array([written_out(knowledge, voices, product) for product in range(n)]).T
    np.testing.assert_allclose(added, expected.reshape(added.shape), rtol=1e-5, atol=1e-9)
    whole = fresh.POPULARITY * usual + np.maximum(added.sum(axis=0), 0) if voices else usual
    np.testing.assert_allclose(share, whole, rtol=1e-12)
    np.testing.assert_allclose(
        excess(knowledge, moment, np.arange(n)[::-1]), np.maximum(share - usual, 0)[::-1], rtol=1e-12
    )
    assert share.min() > 0


@given(cart=ROWS, viewed=ROWS, bought=ROWS)
def test_the_reason_is_the_source_that_adds_most_of_those_it_is_true_of(
    cart: np.ndarray, viewed: np.ndarray, bought: np.ndarray, knowledge: Knowledge
) -> None:
    voices = voices_of(cart.tolist(), viewed.tolist(), bought.tolist())
    sources = sorted(voices)
    found = suggest(knowledge, Moment.of(cart, viewed, bought))
    offered = dict(zip(found.product.tolist(), zip(found.origin, found.because, strict=True), strict=True))

    for product in range(len(knowledge.products)):
        added = written_out(knowledge, voices, product)
        best, reason = 0.0, None
        for (origin, source), gain in zip(sources, added, strict=True):
            near = knowledge.similar if origin == VIEWED else knowledge.companions
            seen = origin == VIEWED and product in viewed
            if gain > best * (1 + 1e-9) and product in near.of(source)[0] and not seen:
                best, reason = gain, (origin, source)
        taken = product in cart or product in bought
        assert offered.get(product) == (None if taken else reason)


def test_newer_views_say_more_and_twenty_of_them_are_enough(knowledge: Knowledge) -> None:
    views = np.arange(40)[::-1]

    moment = Moment.of(NOTHING, views, NOTHING)

    newest_first = np.argsort(-moment.voice)
    assert moment.product[newest_first].tolist() == views[:20].tolist()
    np.testing.assert_allclose(moment.voice[newest_first][1:] / moment.voice[newest_first][:-1], 0.8)
    assert (
        moment.voice.sum() == pytest.approx(1.0)
        and not np.isin(suggest(knowledge, moment).product, views).any()
    )
