"""A trained bundle as the API asks it: the same `recommend` as the command line and the export use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Lock
from typing import Any

import numpy as np
import structlog

from nextoffer.api.service import RelatedProduct, Status
from nextoffer.bundle.bundle import Bundle, open_bundle
from nextoffer.bundle.opening import BundleEntry, list_bundles
from nextoffer.config import Rule, Settings, load_rules
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.menu import Menu
from nextoffer.domain.money import to_wire
from nextoffer.domain.offers import Slate, SlateRequest
from nextoffer.domain.tables import SEGMENTS
from nextoffer.offers.by_hand import Reach, with_rules
from nextoffer.offers.choosing import Policy
from nextoffer.offers.recommend import recommend
from nextoffer.pipeline.rule_words import rule_warnings
from nextoffer.texts import warm_up

log = structlog.get_logger("nextoffer.api")


@dataclass(frozen=True, slots=True, eq=False)
class OpenedShop:
    """One bundle and the shop's settings: everything a request needs; only the day changes."""

    bundle: Bundle
    settings: Settings
    rules: tuple[Rule, ...]
    _ruled: dict[date, tuple[Policy, Reach | None]] = field(default_factory=dict)
    _ruling: Lock = field(default_factory=Lock)

    def recommend(self, request: SlateRequest, now: datetime) -> Slate:
        """The ranked offers of one customer."""
        policy, by_hand = self.ruled(now)
        return recommend(self.bundle, policy, request, now, by_hand)

    def menu(self, now: datetime) -> Menu:
        """The incentives offers may carry today, those of the marketer's rules among them."""
        return self.ruled(now)[0].menu

    def ruled(self, now: datetime) -> tuple[Policy, Reach | None]:
        """The policy of a day, with the marketer's rules that run on it; worked out once, at its first request."""
        today = now.astimezone(self.settings.zone).date()
        if (known := self._ruled.get(today)) is not None:
            return known
        with self._ruling:  # what thousands of rules take, a day's first requests must not take each
            if (known := self._ruled.get(today)) is None:
                known = with_rules(self.settings, self.bundle, today, self.rules)
                for day in [day for day in self._ruled if day < today]:
                    del self._ruled[day]  # yesterday does not come back
                self._ruled[today] = known
            return known

    def related(self, product_id: str, kind: str, n: int, language: str) -> list[RelatedProduct] | None:
        """Products that go with one product and can be sold now, best first; None if it is not known."""
        row = self.bundle.product_row(product_id)
        if row < 0:
            return None
        knowledge = self.bundle.knowledge
        neighbours = {
            "cross_sell": knowledge.companions,
            "up_sell": knowledge.ladder,
            "similar": knowledge.similar,
        }[kind]
        found, _ = neighbours.of(row)
        chosen = found[self._sellable(found)][:n]
        return [self._related(int(product)) for product in chosen]

    def segments(self) -> list[dict[str, Any]]:
        """Sizes and RFM ranges, the most valuable segment first."""
        customers = self.bundle.knowledge.customers
        segment = np.asarray(customers.segment)
        return [
            {
                "segment": slug,
                "customers": int(np.count_nonzero(inside)),
                "recency_days": _range(customers.recency_days, inside),
                "frequency": _range(customers.frequency, inside),
                "monetary": _range(customers.monetary, inside),
            }
            for slug, inside in ((slug, segment == code) for code, slug in enumerate(SEGMENTS))
            if inside.any()
        ]

    def bundles(self) -> list[dict[str, Any]]:
        """Every bundle of the models folder, newest first."""
        return [_entry(entry, self.bundle.bundle_id) for entry in list_bundles(self.settings.models_dir)]

    def status(self) -> Status:
        """Which bundle this is."""
        bundle = self.bundle
        return Status(bundle.bundle_id, bundle.as_of, len(bundle.customer_ids.ids), len(bundle.catalogue))

    def _sellable(self, products: Ints) -> Bools:
        catalogue = self.bundle.catalogue
        out_of_stock = catalogue.stock[products] <= 0  # unknown stock is NaN: not out
        mask: Bools = ~(catalogue.hidden[products] | catalogue.restricted[products] | out_of_stock) & (
            catalogue.price[products] > 0
        )
        return mask

    def _related(self, product: int) -> RelatedProduct:
        catalogue = self.bundle.catalogue
        product_id = catalogue.ids.text(product)
        return RelatedProduct(
            product_id,
            catalogue.title[product] or product_id,
            catalogue.url[product],
            catalogue.image_url[product],
            to_wire(int(catalogue.price[product]), catalogue.currency),
        )


def shop_opener(
    settings: Settings,
    signing_key: str | None = None,
    self_test: Callable[[Bundle], None] | None = None,
) -> Callable[[], OpenedShop]:
    """Opens the bundle that is in service when it is called: verified, self-tested, ready to answer."""

    def opener() -> OpenedShop:
        bundle = open_bundle(
            settings.models_dir, signing_key=signing_key, self_test=self_test, currency=settings.currency
        )
        warm_up()  # the first customer need not wait for the words
        rules = load_rules(settings)  # a fault in offers.toml is told now, not to the first customer
        for warning in rule_warnings(bundle, rules):
            log.warning("rule", warning=warning)
        return OpenedShop(bundle, settings, rules)

    return opener


def _range(values: Ints | Floats, inside: Bools) -> list[float]:
    chosen = np.asarray(values)[inside]
    return [round(float(chosen.min()), 2), round(float(chosen.max()), 2)]


def _entry(entry: BundleEntry, serving: str) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "bundle_id": entry.bundle_id,
        "serving": entry.bundle_id == serving,
        "in_service": entry.in_service,
        "as_of": manifest.as_of if manifest else None,
        "quality": dict(manifest.quality) if manifest else None,
        "readable": manifest is not None,
    }
