"""The contract of offer kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import Candidates
from nextoffer.features.diary import Diary
from nextoffer.offers.batch import Batch, KindFunction, KindSettings, make_batch
from nextoffer.offers.contract import fault_of
from nextoffer.testing.refusing import refuse_if
from nextoffer.testing.shop import small_bundle


def check_offer_kind(kind: KindFunction, bundle: Bundle | None = None) -> Candidates:
    """Run a kind over every customer of a small made-up shop, or of `bundle`; returns its candidates.

    It must return well-formed candidates, each product of a kind once for a customer; be pure; change nothing it
    is given; give the same for any split of customers into batches; and bear customers and shops of which little
    is known.

    Raises
    ------
    AssertionError : it does not
    """
    bundle = bundle or small_bundle()
    n, when = len(bundle.customer_ids.ids), KindSettings(bundle.as_of.date())

    def run(rows: Sequence[int] | np.ndarray, shop: Bundle) -> Candidates:
        batch = _frozen(make_batch(shop, np.asarray(rows, dtype=np.int64)))
        try:
            found = kind(batch, shop, when)
        except Exception as error:
            raise AssertionError(f"it raised {type(error).__name__}: {error}") from error
        fault = fault_of(found, len(batch.rows), len(shop.catalogue))
        refuse_if(fault, f"{fault}")
        return found.take(np.lexsort((found.product, found.kind, found.customer)))

    whole = run(range(n), bundle)
    key = np.stack([whole.customer, whole.kind, whole.product], axis=1)
    refuse_if(
        len(np.unique(key, axis=0)) < len(key), "it offers a customer the same product twice under one kind"
    )
    refuse_if(not _same(whole, run(range(n), bundle)), "it gives other candidates when asked again")
    for size in (1, 7):
        rows = np.arange(min(n, 5 * size))
        parts = [_moved(run(rows[at : at + size], bundle), at) for at in range(0, len(rows), size)]
        alone, together = Candidates.concat(parts), whole.take(whole.customer < len(rows))
        refuse_if(
            not _same(alone, together), f"batches of {size} give other candidates than one batch of all"
        )
    refuse_if(len(run([], bundle)) > 0, "it makes candidates for nobody")
    run(range(n), replace(bundle, diary=Diary()))
    return whole


def _frozen(batch: Batch) -> Batch:
    """The batch with arrays that cannot be changed."""
    arrays = [batch.rows, *(getattr(batch.scored, part.name) for part in fields(batch.scored))]
    for one in arrays:
        for array in one.values() if isinstance(one, dict) else [one]:
            array.setflags(write=False)
    return batch


def _moved(found: Candidates, start: int) -> Candidates:
    return replace(found, customer=found.customer + np.int32(start))


def _same(one: Candidates, other: Candidates) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Candidates.__slots__)
