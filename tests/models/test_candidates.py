"""Sources of candidates: what they propose is new to the customer and really follows from what was bought."""

from __future__ import annotations

import numpy as np
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.models.candidates import (
    N_RECENT,
    N_SIMILAR,
    SOURCES,
    Proposals,
    batch_of,
    bought_matrix,
    recent_history,
)


def owned(bundle: Bundle, row: int) -> set[int]:
    pairs = bundle.knowledge.pairs
    return set(pairs.product[pairs.indptr[row] : pairs.indptr[row + 1]].tolist())


def proposed(bundle: Bundle, name: str) -> Proposals:
    rows = np.arange(len(bundle.knowledge.customers))
    return SOURCES[name](bundle.knowledge, batch_of(bundle.knowledge, rows))[0]


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_proposes_only_what_the_customer_never_bought_best_first(
    name: str, shop_bundle: Bundle
) -> None:
    found = proposed(shop_bundle, name)

    assert len(found.product) > 0
    assert (found.score > 0).all()
    for row in range(len(shop_bundle.knowledge.customers)):
        mine = found.position == row
        products, scores = found.product[mine].tolist(), found.score[mine].tolist()
        assert not owned(shop_bundle, row) & set(products)
        assert len(set(products)) == len(products)
        assert found.rank[mine].tolist() == list(range(len(products)))
        assert sorted(zip(np.negative(scores), products, strict=True)) == list(
            zip(np.negative(scores), products, strict=True)
        )


def test_the_telling_history_is_the_newest_then_heaviest_products(shop_bundle: Bundle) -> None:
    pairs = shop_bundle.knowledge.pairs
    rows = np.arange(len(shop_bundle.knowledge.customers))

    position, product, weight = recent_history(shop_bundle.knowledge, rows)

    for row in rows.tolist():
        at = range(pairs.indptr[row], pairs.indptr[row + 1])
        expected = sorted(at, key=lambda i: (pairs.last_age_days[i], -pairs.weight[i], pairs.product[i]))
        mine = position == row
        assert product[mine].tolist() == [pairs.product[i] for i in expected[:N_RECENT]]
        np.testing.assert_allclose(
            weight[mine] ** 2, [pairs.weight[i] for i in expected[:N_RECENT]], rtol=1e-5
        )


@pytest.mark.parametrize(("name", "per_product", "max_age"), [("companions", 15, None), ("ladder", 10, 180)])
def test_neighbours_add_up_over_the_history_and_the_strongest_is_the_reason(
    name: str, per_product: int, max_age: int | None, shop_bundle: Bundle
) -> None:
    knowledge = shop_bundle.knowledge
    neighbours = getattr(knowledge, name)
    rows = np.arange(len(knowledge.customers))
    found = proposed(shop_bundle, name)
    position, history, _ = recent_history(knowledge, rows, max_age)

    for row in rows.tolist():
        votes: dict[int, list[tuple[float, int]]] = {}
        for via in history[position == row].tolist():
            for product, score in zip(*neighbours.of(via, per_product), strict=True):
                votes.setdefault(int(product), []).append((-float(score), via))
        mine = found.position == row
        for product, score, because in zip(
            found.product[mine].tolist(), found.score[mine], found.because[mine].tolist(), strict=True
        ):
            assert score == pytest.approx(-sum(vote for vote, _ in votes[product]), rel=1e-5)
            assert because == min(votes[product])[1]


def test_similar_products_are_weighed_by_the_history_they_come_from(shop_bundle: Bundle) -> None:
    knowledge = shop_bundle.knowledge
    rows = np.arange(len(knowledge.customers))
    position, product, weight = recent_history(knowledge, rows)
    similarity = knowledge.similar.matrix(N_SIMILAR).toarray().astype(np.float64)
    history = np.zeros((len(rows), len(knowledge.products)))
    history[position, product] = weight
    scores = history @ similarity
    scores[bought_matrix(knowledge, rows).toarray() > 0] = 0.0
    found = proposed(shop_bundle, "similar")

    np.testing.assert_allclose(found.score, scores[found.position, found.product], rtol=1e-4)
    best = np.sort(scores, axis=1)[:, ::-1][:, 0]
    np.testing.assert_allclose(found.score[found.rank == 0], best[best > 0], rtol=1e-4)


def test_popular_products_are_those_most_customers_bought_in_four_weeks(shop_bundle: Bundle) -> None:
    knowledge, pairs = shop_bundle.knowledge, shop_bundle.knowledge.pairs
    lately = pairs.last_age_days < 28
    buyers = np.bincount(pairs.product[lately], minlength=len(knowledge.products))
    ever = np.bincount(pairs.product, minlength=len(knowledge.products))

    top = knowledge.products.popular(15).tolist()

    assert top == sorted(range(len(buyers)), key=lambda p: (-buyers[p], -ever[p], p))[:15]
