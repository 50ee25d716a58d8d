"""Variants of policies that a benchmark needs: recorded, replayed, with products shuffled."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nextoffer.simulation.loop import Policy
from nextoffer.simulation.visible import Visible


def recorded(policy: Policy, sent: dict[int, pa.Table]) -> Policy:
    """The policy; what it sends is kept in `sent`, by week."""

    def keeping(seen: Visible) -> pa.Table:
        sent[seen.week] = policy(seen)
        return sent[seen.week]

    return keeping


def shuffled(sent: dict[int, pa.Table], seed: int = 0) -> Policy:
    """The same messages to the same customers, with products exchanged among the customers of each kind."""

    def policy(seen: Visible) -> pa.Table:
        table = sent[seen.week]
        rng = np.random.default_rng([seed, seen.week])
        kind = np.asarray(table["kind"].combine_chunks().dictionary_encode().indices)
        source = np.arange(table.num_rows)
        for code in np.unique(kind):
            rows = np.flatnonzero(kind == code)
            source[rows] = rng.permutation(rows)
        product = table["product_id"].combine_chunks().take(pa.array(source))
        return table.set_column(table.column_names.index("product_id"), "product_id", product)

    return policy
