"""The public splits, as flat arrays; and as a shop's history, so that the product's own pipeline runs on them.

A next-basket split has an order of baskets but no dates. `kitchen_of` gives every customer the same calendar,
counted back from a common `as_of`: the j-th basket from the end lies j steps before it. What is learned at
`as_of` has then seen every basket but the hidden last one, and a cut k steps earlier is labelled by each
customer's k-th basket from the end, never by a hidden one: honest by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from nextoffer.config import Settings, parse_settings
from nextoffer.models.ranker import Ranker
from nextoffer.models.recipe import Kitchen, Past

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Ideal = Literal["cut", "whole", "k"]

STEP_DAYS = 7
AS_OF = datetime(2020, 1, 6, tzinfo=UTC)  # a Monday; no split has dates of its own
ONLINE_RETAIL_AS_OF = datetime(2011, 11, 11, tzinfo=UTC)  # its last 28 whole days follow
PARTS = ("train", "validate", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Baskets:
    """A next-basket split: rows of (user, basket, product), sorted, each once; and the hidden last baskets.

    Products are numbered so that those of the histories come first: rows from `n_known` on are sold in hidden
    baskets only, and nobody can propose them. User and product rows are those of the product's own tables.

    Parameters
    ----------
    user, number, product : (n,) user row, basket number (1 = the oldest), product row
    target_user, target_product : (t,) the hidden baskets of all users
    part : (n_users,) index into PARTS; judged : (m,) rows of the users who are judged, rising
    """

    name: str
    user: Ints
    number: Ints
    product: Ints
    target_user: Ints
    target_product: Ints
    part: Ints
    judged: Ints
    n_products: int
    n_known: int

    @property
    def n_users(self) -> int:
        """Users, every one with a history."""
        return len(self.part)

    def n_baskets(self) -> Ints:
        """(n_users,) baskets in each history."""
        count = np.zeros(self.n_users, dtype=np.int64)
        np.maximum.at(count, self.user, self.number)
        return count

    def age(self) -> Ints:
        """(n,) how many baskets ago, 0 for the last one of the history."""
        return self.n_baskets()[self.user] - self.number

    def matrix(self, half_life: float | None = None, last: int | None = None) -> sp.csr_matrix:
        """(n_users, n_known) baskets that held each product.

        Parameters
        ----------
        half_life : baskets after which one counts half; None = all count 1
        last : only so many baskets from the end; None = all
        """
        age = self.age()
        weight = np.ones(len(age)) if half_life is None else np.exp2(-age / half_life)
        keep = slice(None) if last is None else age < last
        shape = (self.n_users, self.n_known)
        cells = (weight[keep], (self.user[keep], self.product[keep]))
        return sp.csr_matrix(cells, shape=shape, dtype=np.float64)

    def judging(self, part: str) -> Baskets:
        """The same split, judged on the users of another part: where parameters may be chosen."""
        return replace(self, judged=np.flatnonzero(self.part == PARTS.index(part)))

    def one_step_back(self) -> Baskets:
        """The split as it was one basket ago: the last basket of each history is hidden, the target forgotten.

        Users with a single basket drop out of the judged, and keep an empty history.
        """
        last = self.age() == 0
        keep = ~last
        judged = self.judged[self.n_baskets()[self.judged] >= 2]
        return replace(
            self,
            user=self.user[keep],
            number=self.number[keep],
            product=self.product[keep],
            target_user=self.user[last],
            target_product=self.product[last],
            judged=judged,
        )

    def truth(self, new_only: bool = False) -> sp.csr_matrix:
        """(m, n_products) 1 for each product of the judged users' hidden baskets; `new_only` never bought ones."""
        ones = np.ones(len(self.target_user))
        shape = (self.n_users, self.n_products)
        truth = sp.csr_matrix((ones, (self.target_user, self.target_product)), shape=shape)[self.judged]
        if new_only:
            held = (np.ones(len(self.user)), (self.user, self.product))
            bought = sp.csr_matrix(held, shape=shape)[self.judged] > 0
            truth = truth - truth.multiply(bought)
        truth.eliminate_zeros()
        truth.sort_indices()
        return truth


def tafeng_dnntsp(data: Path) -> Baskets:
    """Ta-Feng as published with DNNTSP (Yu et al. 2020, KDD): users split by them, the test users judged."""
    return _by_published_part(data / "tafeng_nbr/tafeng_dnntsp.parquet", "tafeng_dnntsp")


def dunnhumby_carbo_dnntsp(data: Path) -> Baskets:
    """dunnhumby's Carbo-Loading as published with DNNTSP: users split by them, the test users judged."""
    path = data / "dunnhumby_carbo_nbr/dunnhumby_carbo_dnntsp.parquet"
    return _by_published_part(path, "dunnhumby_carbo_dnntsp")


def tafeng_reality_check(data: Path, seed: int = 0) -> Baskets:
    """Ta-Feng of Li et al. (2023, TOIS): a fixed random 20 % of the users judged, 8 % to choose on.

    The paper draws its users at random in these shares (72/8/20) and publishes no folds; all users' histories
    may be learned from, as the paper's frequency methods do.
    """
    import pandas as pd

    frame = pd.read_parquet(data / "tafeng_nbr/tafeng_reality_check.parquet")
    hidden = (frame["part"] == "future").to_numpy()
    codes, users = pd.factorize(frame["user_id"], sort=True)
    share = np.random.default_rng(seed).permutation(len(users)) / len(users)
    part = np.where(share < 0.20, 2, np.where(share < 0.28, 1, 0))
    columns = (codes, frame["order_number"].to_numpy(), frame["product_ids"], hidden)
    return _baskets("tafeng_reality_check", *columns, part)


def _by_published_part(path: Path, name: str) -> Baskets:
    import pandas as pd

    frame = pd.read_parquet(path)
    codes, users = pd.factorize(frame["user_id"], sort=True)
    number = frame["set_number"].to_numpy()
    hidden = number == frame.groupby(codes)["set_number"].transform("max").to_numpy()
    part = np.zeros(len(users), dtype=np.int64)
    part[codes] = pd.Categorical(frame["split"], categories=PARTS).codes
    return _baskets(name, codes, number, frame["item_ids"], hidden, part)


def _baskets(name: str, user: Ints, number: Ints, lists: Any, hidden: Any, part: Ints) -> Baskets:
    """Flat arrays of one row per product of a basket, from one row per basket."""
    sizes = lists.map(len).to_numpy()
    items = np.concatenate(lists.to_numpy())
    user, number, hidden = (np.repeat(column, sizes) for column in (user, number, hidden))
    ids, codes = np.unique(items, return_inverse=True)
    known = np.isin(np.arange(len(ids)), codes[~hidden])
    row = np.empty(len(ids), dtype=np.int64)
    row[np.argsort(~known, kind="stable")] = np.arange(len(ids))
    rows = np.unique(np.stack([hidden.astype(np.int64), user, number, row[codes]], axis=1), axis=0)
    seen, target = rows[rows[:, 0] == 0], rows[rows[:, 0] == 1]
    history = (seen[:, 1], seen[:, 2], seen[:, 3])
    judged = np.flatnonzero(part == PARTS.index("test"))
    return Baskets(name, *history, target[:, 1], target[:, 3], part, judged, len(ids), int(known.sum()))


def per_user(truth: sp.csr_matrix, lists: Ints, k: int = 10, ideal: Ideal = "cut") -> dict[str, Floats]:
    """Recall@k, NDCG@k and hit@k (PHR) of each user who has a truth, in the order of the rows.

    Parameters
    ----------
    truth : (m, n_products), see `Baskets.truth`
    lists : (m, >= k) product rows, best first, each once, −1 where a list ends early
    ideal : what NDCG divides by. "cut": min(k, size of the truth) hits, the definition of DNNTSP and of its
        published figures (utils/metric.py sorts the truth and cuts it at k), and the product's own.
        "whole": every product of the truth, beyond k too (Li et al. 2023). "k": always k hits.
    """
    m, n_products = truth.shape
    lists = lists[:, :k]
    size = np.diff(truth.indptr)
    keys = np.repeat(np.arange(m, dtype=np.int64), size) * n_products + truth.indices
    hit = np.isin(np.arange(m, dtype=np.int64)[:, None] * n_products + lists, keys) & (lists >= 0)
    gain = 1.0 / np.log2(np.arange(max(k, int(size.max(initial=1)))) + 2)
    best = {"cut": np.minimum(size, k), "whole": size, "k": np.full(m, k)}[ideal]
    ndcg = hit @ gain[: lists.shape[1]] / np.maximum(np.concatenate([[0.0], np.cumsum(gain)])[best], 1e-12)
    values = {"recall": hit.sum(axis=1) / np.maximum(size, 1), "ndcg": ndcg, "hit": hit.any(axis=1) * 1.0}
    return {f"{name}@{k}": value[size > 0] for name, value in values.items()}


@contextmanager
def kitchen_of(
    baskets: Baskets,
    horizon_days: int = STEP_DAYS,
    seed: int = 0,
    targets: bool = False,
    threads: int | None = None,
) -> Iterator[tuple[Kitchen, datetime, datetime]]:
    """(kitchen, as_of, first_order_at) of a split written as a shop's history; gone with the context.

    Rows of customers and products in whatever is learned at `as_of` are the rows of `baskets`.

    Parameters
    ----------
    targets : also write the hidden baskets, half a day after `as_of`; off, nothing can leak
    threads : of the SQL engine; None = all cores
    """
    with TemporaryDirectory() as made:
        folder = Path(made)
        settings = shop_history(baskets, folder, targets)
        engine = settings.engine.model_copy(update={"threads": threads})
        settings = settings.model_copy(update={"horizon_days": horizon_days, "seed": seed, "engine": engine})
        with kitchen_of_settings(settings, AS_OF) as (kitchen, first_order_at):
            yield kitchen, AS_OF, first_order_at


@contextmanager
def kitchen_of_orders(
    data: Path, horizon_days: int = 28, seed: int = 0
) -> Iterator[tuple[Kitchen, datetime, datetime]]:
    """(kitchen, as_of, first_order_at) of Online Retail: known customers, fees left out as `init` proposes."""
    with TemporaryDirectory() as made:
        settings = online_retail(data, Path(made)).model_copy(
            update={"horizon_days": horizon_days, "seed": seed}
        )
        with kitchen_of_settings(settings, ONLINE_RETAIL_AS_OF) as (kitchen, first_order_at):
            yield kitchen, ONLINE_RETAIL_AS_OF, first_order_at


@contextmanager
def kitchen_of_settings(settings: Settings, as_of: datetime) -> Iterator[tuple[Kitchen, datetime]]:
    """(kitchen, first_order_at) cooked in by the nightly job's own hands."""
    from nextoffer.pipeline.nightly import _kitchen
    from nextoffer.pipeline.workspace import Stopwatch

    with _kitchen(settings, as_of, Stopwatch()) as (kitchen, history):
        yield kitchen, history.first_order_at


def ranker_of(past: Past, as_of: datetime) -> Ranker:
    """The ranker the nightly job would teach at `as_of`."""
    return past.taught(as_of).ranker


def shop_history(baskets: Baskets, folder: Path, targets: bool = False) -> Settings:
    """Write a split as the order file of a shop, STEP_DAYS between baskets; the settings that read it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    user, product, back = baskets.user, baskets.product, baskets.age() + 1
    if targets:
        user = np.concatenate([user, baskets.target_user])
        product = np.concatenate([product, baskets.target_product])
        back = np.concatenate([back, np.zeros(len(baskets.target_user), dtype=np.int64)])
    noon = np.datetime64(AS_OF.replace(tzinfo=None) + timedelta(hours=12), "us")
    users, products = (
        np.array([f"{row:06d}" for row in range(n)]) for n in (len(baskets.part), baskets.n_products)
    )
    orders = pa.table(
        {
            "order_id": np.char.add(np.char.add(users[user], "-"), back.astype("U6")),
            "customer_id": users[user],
            "product_id": products[product],
            "quantity": np.ones(len(user), dtype=np.int32),
            "unit_price": np.ones(len(user), dtype=np.int32),
            "ordered_at": noon - back * np.timedelta64(STEP_DAYS, "D"),
        }
    )
    pq.write_table(orders, folder / "orders.parquet")
    document = {"currency": "EUR", "history": {"orders": {"path": "orders.parquet"}}}
    return parse_settings(document, baskets.name, folder)


def online_retail(data: Path, folder: Path) -> Settings:
    """Write Online Retail's lines of known customers, and the settings `init` proposes for them."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from nextoffer.sources.propose import propose

    orders = pq.read_table(data / "online_retail/online_retail.parquet")
    pq.write_table(orders.filter(pc.is_valid(orders["CustomerID"])), folder / "orders.parquet")
    proposal = propose(folder / "orders.parquet")
    columns = {name: column for name, (column, _, _) in proposal.columns.items()}
    document = {
        "currency": "GBP",
        "exclude_products": [code for code, _ in proposal.exclude_products],
        "history": {"orders": {"path": "orders.parquet", "columns": columns}},
    }
    return parse_settings(document, "online_retail", folder)
