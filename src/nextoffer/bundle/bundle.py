"""The bundle: everything learned tonight as one immutable value, and its place on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from nextoffer.bundle.store import Manifest, OpenedBundle, Staging, open_folder
from nextoffer.domain.arrays import Floats, Ints, Strings, ranges
from nextoffer.domain.offers import Candidates
from nextoffer.errors import BundleError
from nextoffer.features.catalogue import Catalogue
from nextoffer.features.diary import Calendar, Diary, Interest, Passes, Returned
from nextoffer.features.interactions import Pairs
from nextoffer.models.collaborative import Factors, Neighbours
from nextoffer.models.curves import Curves
from nextoffer.models.due import Due, DueChoice
from nextoffer.models.families import Families
from nextoffer.models.knowledge import Customers, Knowledge, Products
from nextoffer.models.lifetime import Lifetime
from nextoffer.models.mixture import Mixture
from nextoffer.models.people import People
from nextoffer.models.ranker import Ranker
from nextoffer.models.regression import Weights
from nextoffer.models.reorder import Reorder
from nextoffer.models.segments import Segments
from nextoffer.models.taught import Taught
from nextoffer.models.trees import Trees
from nextoffer.models.up_sell import UpSell
from nextoffer.texts import LANGUAGES as LANGUAGES  # a customer's is a place in it

VIEWS = ("repeat", "explore")  # of the ranker


def _unknown() -> Ints:
    return np.zeros(0, np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class CustomerIds:
    """Customer ids, sorted: row = position.

    `language` is (n,) int8, an index into LANGUAGES; empty where no customer's is known.
    """

    ids: Strings
    language: Ints = field(default_factory=_unknown)


@dataclass(frozen=True, slots=True, eq=False)
class StoredCandidates:
    """Tonight's candidates of every customer: rows `indptr[c] : indptr[c + 1]`; columns as in Candidates."""

    indptr: Ints
    kind: Ints
    product: Ints
    because: Ints
    reason: Ints
    p_buy: Floats

    @classmethod
    def of(cls, candidates: Candidates, n_customers: int) -> StoredCandidates:
        """Columns of one batch that holds every customer, in order."""
        counts = np.bincount(candidates.customer, minlength=n_customers)
        return cls(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            candidates.kind,
            candidates.product,
            candidates.because,
            candidates.reason,
            candidates.p_buy,
        )

    def batch(self, rows: Ints) -> Candidates:
        """Candidates of the customers at `rows`, whose positions in the batch are 0, 1, 2, …"""
        counts = self.indptr[rows + 1] - self.indptr[rows]
        at = ranges(self.indptr[rows], counts)
        position = np.repeat(np.arange(len(rows), dtype=np.int32), counts)
        return Candidates.learned(
            position, self.kind[at], self.product[at], self.because[at], self.reason[at], self.p_buy[at]
        )


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Bundle:
    """What one night learned. Never changed after it was made; opened by the API, the export and the CLI."""

    bundle_id: str
    as_of: datetime
    customer_ids: CustomerIds
    catalogue: Catalogue
    knowledge: Knowledge
    taught: Taught
    candidates: StoredCandidates
    p_newcomer: float
    manifest: Manifest | None = None
    diary: Diary = field(default_factory=Diary)

    @classmethod
    def make(
        cls,
        bundle_id: str,
        as_of: datetime,
        customer_ids: CustomerIds,
        catalogue: Catalogue,
        knowledge: Knowledge,
        taught: Taught,
        candidates: StoredCandidates,
        manifest: Manifest | None = None,
        diary: Diary | None = None,
    ) -> Bundle:
        """Put the parts together. `p_newcomer` is the mean p_order of customers with one order."""
        once = knowledge.customers.p_order[knowledge.customers.frequency == 1]
        p_newcomer = float(once.mean()) if len(once) else 0.05
        return cls(
            bundle_id,
            as_of,
            customer_ids,
            catalogue,
            knowledge,
            taught,
            candidates,
            p_newcomer,
            manifest,
            diary or Diary(),
        )

    def customer_row(self, customer_id: str | None) -> int:
        """Row of a customer; −1 for one this bundle does not know."""
        return -1 if customer_id is None else self.customer_ids.ids.find(customer_id)

    def language(self, row: int) -> str:
        """The language the customer at `row` reads; English where that is not known."""
        codes = self.customer_ids.language
        return LANGUAGES[int(codes[row])] if 0 <= row < len(codes) else LANGUAGES[0]

    def product_row(self, product_id: str) -> int:
        """Row of a product; −1 for one this bundle does not know."""
        return self.catalogue.ids.find(product_id)


# name of a part on disk -> (its type, whether it is customer-sized and so memory-mapped)
_PARTS: dict[str, tuple[type, bool]] = {
    "customers": (Customers, True),
    "products": (Products, False),
    "pairs": (Pairs, True),
    "factors": (Factors, True),
    "next_basket": (Weights, False),
    "ease": (Weights, False),
    "people": (People, False),
    "similar": (Neighbours, False),
    "companions": (Neighbours, False),
    "ladder": (Families, False),
    "reorder": (Reorder, False),
    "lifetime": (Lifetime, False),
    "segments": (Segments, False),
}
_DIARY: dict[str, type] = {"calendar": Calendar, "passes": Passes, "interest": Interest, "returned": Returned}


def write_parts(staging: Staging, bundle: Bundle) -> None:
    """Write every part of a bundle into a staging folder."""
    staging.write("customer_ids", bundle.customer_ids, mapped=True)
    staging.write("catalogue", bundle.catalogue, mapped=False)
    staging.write("candidates", bundle.candidates, mapped=True)
    for name, (_, mapped) in _PARTS.items():
        staging.write(name, getattr(bundle.knowledge, name), mapped=mapped)
    for name in _DIARY:
        staging.write(name, getattr(bundle.diary, name), mapped=True)
    taught = bundle.taught
    staging.write("up_sell", taught.up_sell, mapped=False)
    staging.write("due", taught.due.choice, mapped=False)
    curves = {"due_kernel": taught.due.kernel}
    trees = {"due_boosting": taught.due.boosting}
    for view in VIEWS:
        mixture: Mixture | None = getattr(taught.ranker, view)
        curves[f"ranker_{view}_curves"] = mixture.curves if mixture else None
        trees[f"ranker_{view}_trees"] = mixture.trees if mixture else None
    for name, learned in curves.items():
        staging.write(name, _NO_CURVES if learned is None else learned, mapped=False)
    for name, grown in trees.items():
        staging.write(name, _NO_TREES if grown is None else grown, mapped=False)


def read_bundle(opened: OpenedBundle) -> Bundle:
    """The bundle of an opened and verified folder; customer-sized columns stay on disk."""
    manifest = opened.manifest
    parts: dict[str, Any] = {name: opened.read(name, cls, mapped) for name, (cls, mapped) in _PARTS.items()}
    horizon_days = int(manifest.rows["horizon_days"])
    return Bundle.make(
        manifest.bundle_id,
        manifest.as_of,
        opened.read("customer_ids", CustomerIds, True),
        opened.read("catalogue", Catalogue, False),
        Knowledge(horizon_days, **parts),
        _read_taught(opened, horizon_days),
        opened.read("candidates", StoredCandidates, True),
        manifest,
        Diary(**{name: opened.read(name, cls, True) for name, cls in _DIARY.items()}),
    )


def _read_taught(opened: OpenedBundle, horizon_days: int) -> Taught:
    told = opened.manifest.taught
    repeat, explore = (_read_mixture(opened, f"ranker_{view}") for view in VIEWS)
    step = "mixture" if repeat is not None and explore is not None else "combined"
    return Taught(
        Ranker(horizon_days, step, repeat, explore),
        opened.read("up_sell", UpSell, False),
        Due(
            opened.read("due", DueChoice, False),
            _read_curves(opened, "due_kernel"),
            _read_trees(opened, "due_boosting"),
        ),
        datetime.fromisoformat(told["taught_at"]) if told else opened.manifest.as_of,
        told.get("ranker_reason", ""),
    )


def _read_mixture(opened: OpenedBundle, name: str) -> Mixture | None:
    curves, trees = _read_curves(opened, f"{name}_curves"), _read_trees(opened, f"{name}_trees")
    return None if curves is None or trees is None else Mixture(curves, trees)


def _read_curves(opened: OpenedBundle, name: str) -> Curves | None:
    curves = opened.read(name, Curves, False)
    return curves if curves.features else None


def _read_trees(opened: OpenedBundle, name: str) -> Trees | None:
    trees = opened.read(name, Trees, False)
    return trees if trees.features else None


def open_bundle(
    models_dir: Path,
    bundle_id: str | None = None,
    signing_key: str | None = None,
    self_test: Callable[[Bundle], None] | None = None,
    currency: str | None = None,
) -> Bundle:
    """Open the bundle in service (or the one named): verified byte by byte, then self-tested.

    `currency` is that of the shop now: the prices of a bundle learned in another are not its prices.

    Raises
    ------
    NoBundleError, BundleCorruptError, BundleFormatError
    BundleError : it was learned in another currency
    """
    bundle = read_bundle(open_folder(models_dir, bundle_id, signing_key=signing_key))
    learned = bundle.catalogue.currency
    if currency not in (None, learned):
        raise BundleError(
            f'bundle {bundle.bundle_id} has prices in {learned}, but nextoffer.toml says currency = "{currency}": '
            "run nextoffer train, or set the currency back"
        )
    if self_test is not None:
        self_test(bundle)
    return bundle


_NONE: Any = np.zeros(0)
_NO_CURVES = Curves((), _NONE, _NONE, 0.0)
_NO_TREES = Trees((), np.zeros(1, np.int64), _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, 0.0)
# a part forgotten here would be lost
assert {part.name for part in fields(Knowledge)} == {"horizon_days", *_PARTS}  # noqa: S101
assert {part.name for part in fields(Diary)} == {*_DIARY}  # noqa: S101
