"""The contract of offer kinds: ours keep it, and each way to break it is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import Candidates
from nextoffer.offers import for_you
from nextoffer.offers.batch import Batch, KindSettings
from nextoffer.plugins import OFFER_KINDS
from nextoffer.testing import check_offer_kind

Change = Callable[[Candidates, Batch], Candidates]


@pytest.mark.parametrize("name", OFFER_KINDS)
def test_our_kinds_keep_the_contract(name: str, shop_bundle: Bundle) -> None:
    assert len(check_offer_kind(OFFER_KINDS[name], shop_bundle)) > 0


def twice(found: Candidates, batch: Batch) -> Candidates:
    return Candidates.concat([found, found])


def never_the_same(found: Candidates, batch: Batch) -> Candidates:
    return found.take(np.random.default_rng().random(len(found)) < 0.5)


def of_the_batch(found: Candidates, batch: Batch) -> Candidates:
    """Chances relative to the best of the batch: they change with the company."""
    best = float(found.p_buy.max(initial=1e-9))
    return replace(found, p_buy=(found.p_buy / best).astype(np.float32))


def meddling(found: Candidates, batch: Batch) -> Candidates:
    batch.scored.p_buy[:] = 0.5
    return found


def for_nobody(found: Candidates, batch: Batch) -> Candidates:
    if len(batch.rows):
        return found
    return Candidates.learned(*(np.zeros(1, kind) for kind in ("i4", "i1", "i4", "i4", "i1", "f4")))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (twice, "the same product twice"),
        (never_the_same, "when asked again"),
        (of_the_batch, "batches of 1 give other candidates"),
        (meddling, "it raised ValueError: assignment destination is read-only"),
        (for_nobody, "customer is 0 in row 0"),
    ],
)
def test_each_way_to_break_the_contract_is_noticed(change: Change, sentence: str) -> None:
    def kind(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
        return change(for_you.candidates(batch, bundle, when), batch)

    with pytest.raises(AssertionError, match=sentence):
        check_offer_kind(kind)
