"""Self-test slates: a few customers' offers as they were at publishing, which every opener must reproduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Contact, History, Settings, Source
from nextoffer.domain.offers import KINDS
from nextoffer.errors import BundleCorruptError
from nextoffer.offers.choosing import Policy
from nextoffer.offers.recommend import choose_stored

N_CUSTOMERS = 5


def self_test_of(bundle: Bundle) -> list[dict[str, Any]]:
    """Slates of customers spread evenly over the ids, under the default policy (a shop may change its own)."""
    n = len(bundle.customer_ids.ids)
    rows = np.unique(np.linspace(0, n - 1, min(N_CUSTOMERS, n)).astype(np.int64))
    slates = choose_stored(bundle, rows, _policy(bundle.catalogue.currency))
    tests: list[dict[str, Any]] = [
        {"customer_id": bundle.customer_ids.ids.text(int(row)), "offers": []} for row in rows
    ]
    for at in range(len(slates)):
        offer = [
            KINDS[slates.kind[at]],
            bundle.catalogue.ids.text(int(slates.product[at])),
            int(slates.final_price[at]),
        ]
        tests[int(slates.customer[at])]["offers"].append(offer)
    return tests


def verify_self_test(bundle: Bundle) -> None:
    """Reproduce the slates of the manifest.

    Raises
    ------
    BundleCorruptError : this machine or version gives other offers than those the bundle was published with
    """
    expected = [] if bundle.manifest is None else list(bundle.manifest.self_test)
    if self_test_of(bundle) != expected:
        raise BundleCorruptError(
            f"{bundle.bundle_id} does not reproduce the slates it was published with. Train again with: "
            "nextoffer train"
        )


def _policy(currency: str) -> Policy:
    nowhere = History(orders=Source(path="-"))
    return Policy.of(Settings(currency=currency, history=nowhere, contact=Contact()))
