"""`nextoffer offers`: whom each rule of offers.toml reaches, what it is expected to cost and earn, what conflicts.

Every rule is judged by itself, as if it were the only one and ran today, over the customers it reaches (a large
audience by an even sample of it); caps, holdout and the cost of a message are left aside. Nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.config import Rule, Settings
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.domain.kinds import DROPS
from nextoffer.domain.money import minor_digits, to_wire
from nextoffer.domain.wording import incentive_text
from nextoffer.offers.audiences import Known, known_of, why_nobody
from nextoffer.offers.by_hand import Reach, reach
from nextoffer.offers.choosing import Policy
from nextoffer.pipeline.analysis import OpenShop
from nextoffer.pipeline.audience import reachable
from nextoffer.pipeline.rule_conflicts import Conflict, conflicts
from nextoffer.pipeline.rule_judging import Judged, judged_rules
from nextoffer.pipeline.rule_words import offer_words, unknown_words
from nextoffer.pipeline.workspace import Progress, quiet, workspace
from nextoffer.plugins import channels
from nextoffer.sources.customers import read_customers

_CELLS = 1 << 24
NO_PRODUCT = "no-product"


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule: money in currency units; `consent` is None without a customer table.

    `eligible` customers pass every rule of eligibility, `offered` are those it is also worth making to; cost, profit
    and `expected_uses`, their purchases with it, are summed over the latter. `looked_at` customers were judged, the
    figures stand for `reached`.
    """

    name: str
    state: str
    active: bool
    first_day: date | None
    last_day: date | None
    offer: str
    kind: str
    incentive: Mapping[str, str]
    incentive_text: str
    priority: int
    pinned: bool
    reached: int
    consent: Mapping[str, int] | None
    looked_at: int
    eligible: int
    offered: int
    expected_uses: float
    expected_cost: float
    expected_profit: float
    dropped: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OffersReport:
    """All rules of a shop on a day, in the order of the file."""

    file: str | None
    today: date
    bundle_id: str
    currency: str
    customers: int
    rules: tuple[RuleReport, ...]
    conflicts: tuple[Conflict, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; amounts are decimal strings."""
        return {
            "file": self.file,
            "today": self.today.isoformat(),
            "bundle_id": self.bundle_id,
            "currency": self.currency,
            "customers": self.customers,
            "rules": [self._rule(rule) for rule in self.rules],
            "conflicts": [conflict.to_json() for conflict in self.conflicts],
        }

    def _rule(self, rule: RuleReport) -> dict[str, Any]:
        told = {name: getattr(rule, name) for name in RuleReport.__slots__}
        for name, ours in (("from", "first_day"), ("until", "last_day")):
            day = told.pop(ours)
            told[name] = None if day is None else day.isoformat()
        digits = 10 ** minor_digits(self.currency)
        for name in ("expected_cost", "expected_profit"):
            told[name] = to_wire(round(told[name] * digits), self.currency)
        told["expected_uses"] = round(rule.expected_uses, 2)
        return told


def offers_report(shop: OpenShop, now: datetime, progress: Progress = quiet) -> OffersReport:
    """What the shop's rules do, on the bundle in service."""
    settings, bundle, policy = shop.settings, shop.bundle, shop.policy
    today = now.astimezone(settings.zone).date()
    rules = () if shop.by_hand is None else shop.by_hand.rules
    file = None if settings.offers_file is None else str(settings.offers_file)
    n = len(bundle.customer_ids.ids)
    if not rules:
        return OffersReport(file, today, bundle.bundle_id, settings.currency, n, (), ())
    progress("rules")
    known = known_of(bundle, [rule.audience for rule in rules])
    found = reach(bundle, rules, None, policy, known)
    progress("customers")
    consent = _consent(settings, found)
    progress("offers")
    judged = judged_rules(found, policy)
    progress("conflicts")
    unknown = unknown_words(bundle, known, rules)
    told = tuple(_told(found, policy, known, judged, consent, unknown, at, today) for at in range(len(rules)))
    return OffersReport(
        file,
        today,
        bundle.bundle_id,
        settings.currency,
        n,
        told,
        tuple(conflicts(found, policy, judged.eligible > 0)),
    )


def _told(
    found: Reach,
    policy: Policy,
    known: Known,
    judged: Judged,
    consent: Mapping[str, Ints] | None,
    unknown: Mapping[int, Sequence[str]],
    at: int,
    today: date,
) -> RuleReport:
    rule, group = found.rules[at], int(found.group[at])
    reached, looked_at = int(found.size[group]), int(judged.looked_at[at])
    stands_for = reached / looked_at if looked_at else 0.0
    row = int(policy.rules.incentive[at])
    names = (*DROPS, NO_PRODUCT)
    drops = {names[code]: round(count * stands_for) for code, count in enumerate(judged.dropped[at]) if count}
    report = RuleReport(
        name=rule.name,
        state=_state(rule, today),
        active=rule.runs_on(today),
        first_day=rule.first_day,
        last_day=rule.last_day,
        offer=offer_words(rule),
        kind=rule.kind,
        incentive=policy.menu.wire(row),
        incentive_text=incentive_text(policy.menu, row, "en") if row else "",
        priority=rule.priority,
        pinned=rule.pinned,
        reached=reached,
        consent=None if consent is None else {name: int(count[group]) for name, count in consent.items()},
        looked_at=looked_at,
        eligible=round(int(judged.eligible[at]) * stands_for),
        offered=round(int(judged.offered[at]) * stands_for),
        expected_uses=float(judged.uses[at]) * stands_for,
        expected_cost=float(judged.cost[at]) * stands_for,
        expected_profit=float(judged.profit[at]) * stands_for,
        dropped=dict(sorted(drops.items(), key=lambda item: (-item[1], item[0]))),
        notes=(),
    )
    quota = int(policy.menu.quota[row])
    gone = unknown.get(at, ())
    return replace(report, notes=(*gone, *_notes(report, rule, known, gone, quota)))


def _counted(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in dropped.items())


def _notes(report: RuleReport, rule: Rule, known: Known, unknown: Sequence[str], quota: int) -> Iterator[str]:
    """What the marketer should know of a rule beside its figures."""
    if not report.reached:
        yield f"reaches nobody: {why_nobody(known, rule.audience)}"
    elif not report.eligible:
        if "margin-floor" in report.dropped:
            yield (
                "below the margin floor for everybody who might get it: give less away, or lower [margin] floor_share"
            )
        elif NO_PRODUCT not in report.dropped:
            yield f"nobody it reaches may get it: {_counted(report.dropped)}"
        elif not unknown:
            yield "there is nothing to offer: no product of it can be sold now"
    elif not report.offered:
        yield "worth less than it costs for everybody it reaches, so it is never made; pinned = true makes it anyway"
    elif report.expected_profit < 0:
        yield "expected to lose money, and made anyway because it is pinned"
    if 0 <= quota < report.expected_uses:
        yield f"expected to be used {report.expected_uses:,.0f} times, and its quota is {quota:,}"


def _state(rule: Rule, today: date) -> str:
    """Whether it runs, or when."""
    if rule.first_day is not None and today < rule.first_day:
        return f"from {rule.first_day}"
    if rule.last_day is not None and rule.last_day < today:
        return f"ended {rule.last_day}"
    return "active" if rule.last_day is None else f"active until {rule.last_day}"


def _consent(settings: Settings, found: Reach) -> Mapping[str, Ints] | None:
    """Channel -> (n_groups,) members of each audience with a valid address and consent for it; None: no table."""
    with workspace(settings) as folder:
        table = read_customers(settings, folder)
    if table is None:
        return None
    ids = table["customer_id"].cast(pa.large_string()).combine_chunks()
    people = table.take(pc.index_in(found.bundle.customer_ids.ids.to_arrow(), value_set=ids))
    counts = {}
    for name, channel in channels().items():
        stopped: Bools = np.any(list(reachable(channel, people)[1].values()), axis=0)
        counts[name] = _members_among(found, np.flatnonzero(~stopped))
    return counts


def _members_among(found: Reach, rows: Ints) -> Ints:
    """(n_groups,) how many of these customers are members of each audience."""
    count = np.zeros(8 * found.bits.shape[1], dtype=np.int64)
    step = max(_CELLS // max(len(count), 1), 1)
    for begin in range(0, len(rows), step):
        bits = np.unpackbits(found.bits[rows[begin : begin + step]], axis=1, bitorder="little")
        count += bits.sum(axis=0, dtype=np.int64)
    return count
