"""What each offer kind is made from, and what it never is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import KIND, Candidates
from nextoffer.models.due import due_window, p_due
from nextoffer.models.up_sell import score_steps
from nextoffer.offers.batch import PER_KIND, Batch, KindSettings, make_batch
from nextoffer.offers.win_back import lapsing
from nextoffer.plugins import OFFER_KINDS


@pytest.fixture(scope="module")
def batch(shop_bundle: Bundle) -> Batch:
    return make_batch(shop_bundle, np.arange(len(shop_bundle.knowledge.customers)))


def when_of(bundle: Bundle) -> KindSettings:
    return KindSettings(bundle.as_of.date())


def owned(bundle: Bundle) -> set[tuple[int, int]]:
    pairs = bundle.knowledge.pairs
    return set(zip(pairs.customer().tolist(), pairs.product.tolist(), strict=True))


def keys(candidates: Candidates) -> list[tuple[int, int]]:
    return list(zip(candidates.customer.tolist(), candidates.product.tolist(), strict=True))


@pytest.mark.parametrize("kind", OFFER_KINDS)
def test_a_kind_offers_each_product_once_with_the_chance_it_was_scored(
    kind: str, batch: Batch, shop_bundle: Bundle
) -> None:
    found = OFFER_KINDS[kind](batch, shop_bundle, when_of(shop_bundle))
    p_buy = chances(kind, batch, shop_bundle)

    assert len(found) > 0
    assert (found.kind == KIND[kind]).all()
    assert len(set(keys(found))) == len(found)
    assert [p_buy[key] for key in keys(found)] == found.p_buy.tolist()


def chances(kind: str, batch: Batch, bundle: Bundle) -> dict[tuple[int, int], float]:
    """(position, product) -> p_buy by the model behind the kind."""
    scored, knowledge, taught = batch.scored, bundle.knowledge, bundle.taught
    columns = (scored.position, scored.product, scored.p_buy)
    if kind == "up_sell":
        steps = score_steps(taught.up_sell, knowledge, batch.rows)
        columns = (steps.position, steps.product, steps.p_buy)
    if kind == "replenishment":
        pair = scored.pair[scored.repeat]
        p = p_due(taught.due, knowledge, pair)
        columns = (scored.position[scored.repeat], scored.product[scored.repeat], p)
    if kind == "abandoned":
        return with_interest(bundle, columns)
    if kind == "renewal":
        return renewals(bundle, when_of(bundle).today)
    position, product, p_buy = (column.tolist() for column in columns)
    return dict(zip(zip(position, product, strict=True), p_buy, strict=True))


def with_interest(bundle: Bundle, columns: tuple[np.ndarray, ...]) -> dict[tuple[int, int], float]:
    """Either what the ranker knows or what was seen leads to the purchase."""
    customers, products, interest = (
        bundle.knowledge.customers,
        bundle.knowledge.products,
        bundle.diary.interest,
    )
    known = {
        key: p
        for *key, p in zip(*(column.tolist() for column in columns), strict=True)
        for key in [tuple(key)]
    }
    found = {}
    for who, what, carted in zip(interest.customer, interest.product, interest.carted, strict=True):
        usual = float(customers.p_order[who]) * np.exp(float(products.log_share_28[what]))
        share = interest.carted_share if carted else interest.viewed_share
        p = 1 - (1 - known.get((int(who), int(what)), usual)) * (1 - share)
        found[int(who), int(what)] = float(np.float32(p))
    return found


def renewals(bundle: Bundle, today: date) -> dict[tuple[int, int], float]:
    """The share, among passes of the past that had come as far, of those renewed within the horizon; shrunk."""
    passes, now = bundle.diary.passes, (today - date(1970, 1, 1)).days
    horizon, found = bundle.knowledge.horizon_days, {}
    rows = list(zip(*(getattr(passes, name).tolist() for name in passes.__slots__), strict=True))
    judged = [row for row in rows if not row[4] and row[3] <= now - 7 - horizon]
    waits = [again - ends if again else 9999.0 for *_, ends, _, again in judged]
    ahead = [at for at, wait in enumerate(waits) if wait in (0, 1)]
    for place, at in enumerate(ahead):
        waits[at] = -21 * (place + 0.5) / len(ahead)
    for who, what, _, ends, _, _ in rows:
        over = now - ends
        still = [wait for wait in waits if wait > over]
        renewed = sum(wait <= over + horizon for wait in still)
        found[who, what] = float(np.float32((renewed + 5.0) / (len(still) + 10.0)))
    return found


def test_a_step_up_is_dearer_today_than_what_gave_rise_to_it(batch: Batch, shop_bundle: Bundle) -> None:
    found = OFFER_KINDS["up_sell"](batch, shop_bundle, when_of(shop_bundle))
    price, has = shop_bundle.catalogue.price, owned(shop_bundle)

    assert (price[found.product] > price[found.because]).all()
    assert all(key in has for key in zip(found.customer.tolist(), found.because.tolist(), strict=True))
    cheap = replace(shop_bundle, catalogue=replace(shop_bundle.catalogue, price=np.zeros_like(price)))
    assert len(OFFER_KINDS["up_sell"](batch, cheap, when_of(cheap))) == 0


@pytest.mark.parametrize("kind", ["cross_sell", "up_sell", "for_you"])
def test_new_things_are_never_what_the_customer_already_buys(
    kind: str, batch: Batch, shop_bundle: Bundle
) -> None:
    assert not owned(shop_bundle) & set(keys(OFFER_KINDS[kind](batch, shop_bundle, when_of(shop_bundle))))


def test_refills_are_of_what_was_bought_and_neither_far_off_nor_long_given_up(
    batch: Batch, shop_bundle: Bundle
) -> None:
    pairs = shop_bundle.knowledge.pairs
    row_of = {
        key: at for at, key in enumerate(zip(pairs.customer().tolist(), pairs.product.tolist(), strict=True))
    }

    for key in keys(OFFER_KINDS["replenishment"](batch, shop_bundle, when_of(shop_bundle))):
        pair = row_of[key]
        shelf = float(shop_bundle.catalogue.shelf_life_days[key[1]])
        if np.isnan(shelf):
            assert pairs.n_days[pair] >= 2
            gap = (pairs.first_age_days[pair] - pairs.last_age_days[pair]) / (pairs.n_days[pair] - 1)
            opens, *_ = due_window(shop_bundle.taught.due, shop_bundle.knowledge, np.array([pair]), share=0.9)
            assert opens[0] <= 14
        else:
            gap = shelf * pairs.quantity[pair] / pairs.n_orders[pair]
            assert pairs.last_age_days[pair] + 14 >= 0.75 * gap - 1e-3
        assert pairs.last_age_days[pair] <= 3 * gap + 1e-3


def test_a_product_of_known_shelf_life_is_due_by_it_and_not_by_the_gap(
    batch: Batch, shop_bundle: Bundle
) -> None:
    def refills(days: float) -> set[tuple[int, int]]:
        shelf = np.full(len(shop_bundle.catalogue), days, np.float32)
        bundle = replace(shop_bundle, catalogue=replace(shop_bundle.catalogue, shelf_life_days=shelf))
        return set(keys(OFFER_KINDS["replenishment"](batch, bundle, when_of(bundle))))

    pairs = shop_bundle.knowledge.pairs
    lately = {
        key
        for key, age in zip(
            zip(pairs.customer().tolist(), pairs.product.tolist(), strict=True),
            pairs.last_age_days.tolist(),
            strict=True,
        )
        if age <= 30
    }
    assert refills(100_000.0) == set()  # lasts for ever
    assert refills(10.0) and all(key in lately or units_of(shop_bundle, key) > 1 for key in refills(10.0))


def units_of(bundle: Bundle, key: tuple[int, int]) -> float:
    pairs = bundle.knowledge.pairs
    at = int(pairs.indptr[key[0]]) + pairs.product[
        pairs.indptr[key[0]] : pairs.indptr[key[0] + 1]
    ].tolist().index(key[1])
    return float(pairs.quantity[at] / pairs.n_orders[at])


def test_won_back_are_repeat_customers_overdue_for_long_and_likely_to_stay_away(
    batch: Batch, shop_bundle: Bundle
) -> None:
    customers = shop_bundle.knowledge.customers
    found = OFFER_KINDS["win_back"](batch, shop_bundle, when_of(shop_bundle))
    expected = []
    for row in range(len(customers)):
        silent, orders = int(customers.recency_days[row]), int(customers.frequency[row])
        gap = (int(customers.first_age_days[row]) - silent) / max(orders - 1, 1)
        overdue = orders >= 2 and 45 <= silent <= 365 and silent >= 2 * gap
        expected.append(overdue and float(customers.p_lapsed[row]) >= 0.5)

    assert lapsing(batch, shop_bundle).tolist() == expected
    assert 0 < sum(expected) < len(expected)
    assert set(found.customer.tolist()) == set(np.flatnonzero(expected).tolist())


def test_kept_are_the_likeliest_and_the_most_valuable_of_each_kind(batch: Batch, shop_bundle: Bundle) -> None:
    scored, catalogue = batch.scored, shop_bundle.catalogue
    found = OFFER_KINDS["cross_sell"](batch, shop_bundle, when_of(shop_bundle))
    possible = np.flatnonzero(~scored.repeat & (scored.source["companions"] >= 0))
    margin = np.maximum(catalogue.price - catalogue.unit_cost, 0)[scored.product]
    worth = scored.p_buy * (1 - scored.p_buy) * margin

    for row in range(0, len(batch.rows), 7):
        mine = possible[scored.position[possible] == row].tolist()
        likely = sorted(mine, key=lambda at: (-scored.p_buy[at], scored.product[at]))[:PER_KIND]
        valuable = sorted(mine, key=lambda at: (-worth[at], scored.product[at]))[:PER_KIND]
        kept = found.product[found.customer == row].tolist()
        assert sorted(kept) == sorted({int(scored.product[at]) for at in likely + valuable})


def test_what_is_popular_fills_up_only_for_customers_with_hardly_any_taste_known(
    batch: Batch, shop_bundle: Bundle
) -> None:
    nothing = {name: np.full_like(rank, -1) for name, rank in batch.scored.source.items()}
    thin = replace(batch.scored, source=nothing | {"popular": batch.scored.source["popular"]})

    personal = OFFER_KINDS["for_you"](batch, shop_bundle, when_of(shop_bundle))
    popular = OFFER_KINDS["for_you"](replace(batch, scored=thin), shop_bundle, when_of(shop_bundle))

    assert len(set(personal.reason.tolist())) == 1
    assert len(popular) > 0 and not set(popular.reason.tolist()) & set(personal.reason.tolist())
    assert not owned(shop_bundle) & set(keys(popular))
