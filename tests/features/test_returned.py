"""What customers sent back entirely, against plain Python over the small shop's order lines."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pyarrow.parquet as pq

from nextoffer.bundle.bundle import Bundle


def test_only_what_was_sent_back_entirely_before_as_of_counts(
    small_shop_learned: Any, shop_bundle: Bundle
) -> None:
    lines = pq.read_table(small_shop_learned.kitchen.history / "orders.parquet").to_pylist()
    before = small_shop_learned.as_of.replace(tzinfo=None)
    quantities: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in lines:
        if line["customer_id"] is not None and line["ordered_at"].replace(tzinfo=None) < before:
            quantities[line["customer_id"], line["product_id"]].append(float(line["quantity"]))
    expected = {pair for pair, sold in quantities.items() if sum(sold) <= 0 and min(sold) < 0}
    known = {one for one in shop_bundle.customer_ids.ids}

    sent = shop_bundle.diary.returned
    found = {
        (shop_bundle.customer_ids.ids.text(int(customer)), shop_bundle.catalogue.ids.text(int(product)))
        for customer, product in zip(sent.customer, sent.product, strict=True)
    }

    assert found == {pair for pair in expected if pair[0] in known} and found
