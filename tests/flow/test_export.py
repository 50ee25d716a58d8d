"""Export: whoever may not be written to never is, in any channel; a run is decided once and safe to repeat."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextoffer.config import Campaign, Contact, IncentiveTerms, Settings, Source
from nextoffer.domain.kinds import KINDS
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import CampaignError
from nextoffer.offers.by_hand import with_rules
from nextoffer.offers.choosing import Policy
from nextoffer.pipeline import ExportReport, OpenShop, export, export_all
from nextoffer.tracking.codes import Ask
from nextoffer.tracking.discounts import Basket
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision, Order

COLUMNS = "email phone push_token first_name locale consent_email consent_push consent_ads".split()
CAMPAIGNS = {
    "mail": Campaign(n=2),
    "mail-2": Campaign(),
    "mail-3": Campaign(),
    "mail-4": Campaign(),
    "push": Campaign(channel="push"),
    "ads": Campaign(channel="ads"),
    "receipt": Campaign(transactional=True),
    "receipt-push": Campaign(channel="push", transactional=True),
    "once": Campaign(max_per_customer=1),
    "tight": Campaign(n=2, budget=Decimal("0.5")),
    "nothing": Campaign(budget=Decimal(0)),
    "events": Campaign(kinds=("event",)),
    "segment": Campaign(segments=("champions", "at_risk")),
}
INCENTIVES = {
    "ten": IncentiveTerms(
        type="percent", value=Decimal(10), kinds=("for_you", "cross_sell", "replenishment")
    ),
    "fiver": IncentiveTerms(
        type="amount", value=Decimal(1), scope="basket", kinds=("event", "win_back"), min_order=Decimal(5)
    ),
}


@dataclass
class World:
    """A shop whose customer table can be rewritten, its ledger, and exports into a folder."""

    folder: Path
    shop: OpenShop
    ledger: Ledger
    now: datetime

    @property
    def ids(self) -> list[str]:
        return self.shop.bundle.customer_ids.ids.to_arrow().to_pylist()

    def people(self, rows: Sequence[dict[str, Any]]) -> None:
        schema = pa.schema(
            [("customer_id", pa.string())]
            + [(name, pa.bool_() if name.startswith("consent") else pa.string()) for name in COLUMNS]
        )
        pq.write_table(pa.Table.from_pylist(list(rows), schema), self.folder / "customers.parquet")

    def everybody(self, **changes: Any) -> list[dict[str, Any]]:
        return [person(one) | changes for one in self.ids]

    def export(self, name: str, now: datetime | None = None, run_on: date | None = None) -> ExportReport:
        out = self.folder / f"{name}.out"
        report = export(self.shop, self.ledger, name, out, now or self.now, run_on)
        assert report.messages + sum(report.left_out.values()) == report.customers == len(self.ids)
        return report

    def decisions(self, report: ExportReport) -> list[Decision]:
        return self.ledger.decisions_of_run(report.campaign, date.fromisoformat(report.run_on))

    def sent(self, report: ExportReport) -> set[str]:
        """Who is in the file, by what stands in it."""
        text = Path(report.path).read_text(encoding="utf-8")
        if self.shop.settings.campaigns[report.campaign].channel == "push":
            unit = {one.decision_id: one.unit_id for one in self.decisions(report)}
            return {unit[json.loads(line)["message"]["data"]["decision_id"]] for line in text.splitlines()}
        return {row["customer_id"] for row in csv.DictReader(text.splitlines(keepends=True))}

    def with_settings(self, **changes: Any) -> World:
        settings = self.shop.settings.model_copy(update=changes)
        return replace(self, shop=replace(self.shop, settings=settings, policy=Policy.of(settings)))


def person(customer_id: str) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "email": f"{customer_id}@example.com",
        "phone": None,
        "push_token": f"token-of-{customer_id}",
        "first_name": "Ann",
        "locale": "en",
        "consent_email": True,
        "consent_push": True,
        "consent_ads": True,
    }


@pytest.fixture
def world(tmp_path: Path, small_shop_learned: Any) -> Iterator[World]:
    small = small_shop_learned
    settings: Settings = small.settings
    source = Source(
        path=str(tmp_path / "customers.parquet"), columns={name: name for name in ["customer_id", *COLUMNS]}
    )
    settings = settings.model_copy(
        update={
            "history": settings.history.model_copy(update={"customers": source}),
            "models_dir": tmp_path / "models",
            "store": f"sqlite:///{tmp_path / 'ledger.sqlite'}",
            "campaigns": CAMPAIGNS,
            "incentives": INCENTIVES,
            "experiment": settings.experiment.model_copy(update={"holdout_share": 0.3}),
            "contact": Contact(max_per_day=1, max_per_week=3, cost=0.0),
        }
    )
    (tmp_path / "models").mkdir()
    ledger = open_ledger(settings.store)
    world = World(tmp_path, OpenShop(settings, small.bundle, Policy.of(settings)), ledger, small.as_of)
    world.people(world.everybody())
    yield world
    ledger.close()


def held_out(world: World, ids: Sequence[str]) -> set[str]:
    in_holdout = groups(world.shop.settings.experiment, list(ids))
    return {one for one, held in zip(ids, in_holdout.tolist(), strict=True) if held}


@pytest.mark.parametrize("seed", range(3))
def test_nobody_held_out_without_consent_or_without_address_is_in_any_file(world: World, seed: int):
    rng = np.random.default_rng(seed)

    def any_of(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    rows = [
        {
            "customer_id": one,
            "email": any_of(f"{one}@example.com", f"{one}@example.com", None, "", "no address", "=1@x"),
            "push_token": any_of(f"token-of-{one}", f"token-of-{one}", None, "", "two words here"),
            "phone": any_of(None, "8 (999) 555-11-11", "020 7946 0000"),
            "first_name": any_of("Ann", None, "=SUM(A1)", "Анна\n"),
            "locale": any_of("en", "ru-RU", None),
            **{f"consent_{channel}": any_of(True, False, None) for channel in ("email", "push", "ads")},
        }
        for one in world.ids
        if rng.random() < 0.9  # some are in no table
    ]
    rows.append(person("a stranger"))  # the table may know more customers than the bundle
    world.people(rows)
    by_id = {row["customer_id"]: row for row in rows}
    world = world.with_settings(contact=Contact(max_per_day=3, max_per_week=9, cost=0.0))
    for name in ("mail", "push"):
        report = world.export(name)
        column, consent = ("email", "consent_email") if name == "mail" else ("push_token", "consent_push")
        good = "{}@example.com" if name == "mail" else "token-of-{}"
        may = {
            one
            for one in world.ids
            if one in by_id and by_id[one][column] == good.format(one) and by_id[one][consent] is True
        }
        sent = world.sent(report)
        assert sent and sent <= may - held_out(world, world.ids)
        decided = {one.unit_id: one for one in world.decisions(report)}
        assert set(decided) <= may
        assert {one.group for one in decided.values()} == {TREATED, HOLDOUT}
        assert sent == {unit for unit, one in decided.items() if one.group == TREATED and one.slate}
        assert report.left_out["no_consent"] > 0
        assert report.left_out[f"no_{column}"] == sum(not by_id.get(one, {}).get(column) for one in world.ids)
    ads = world.export("ads")
    treated = [one for one in world.decisions(ads) if one.group == TREATED and one.slate]
    assert all(by_id[one.unit_id]["consent_ads"] is True for one in treated)
    assert not {one.unit_id for one in treated} & held_out(world, world.ids)


def test_texts_are_in_the_language_the_customer_reads_now(world: World):
    world.people(world.everybody(locale="ru-RU"))
    russian = [offer["reason"]["text"] for offer in offers_of(world.decisions(world.export("mail")))]
    world.people(world.everybody(locale=None))
    english = [
        offer["reason"]["text"]
        for offer in offers_of(world.decisions(world.export("push", in_days(world, 1))))
    ]

    assert russian and all(re.search("[а-я]", text) for text in russian)
    assert english and not any(re.search("[а-я]", text) for text in english)


def in_days(world: World, days: int) -> datetime:
    return world.now + timedelta(days=days)


def test_a_shop_without_customer_table_writes_an_empty_file_and_says_what_to_map(world: World):
    history = world.shop.settings.history.model_copy(update={"customers": None})
    report = world.with_settings(history=history).export("mail")

    assert report.messages == 0
    assert report.left_out == {"no_email": len(world.ids)}
    assert world.decisions(report) == []


def test_the_contact_cap_holds_over_all_campaigns_and_channels(world: World):
    first = world.export("mail")
    sent = world.sent(first)
    same_day = world.export("push", world.now + timedelta(hours=5))
    assert sent and not world.sent(same_day) & sent
    assert same_day.left_out["contact_cap"] >= len(sent - held_out(world, world.ids))

    counted = {one: int(one in sent) for one in world.ids}
    for one in world.sent(same_day):
        counted[one] += 1
    for day, name in enumerate(("mail-2", "mail-3", "mail-4", "push", "mail"), 1):
        for one in world.sent(world.export(name, world.now + timedelta(days=day))):
            counted[one] += 1
    assert max(counted.values()) == 3  # of seven days


def test_an_order_s_own_mail_passes_caps_but_neither_consent_nor_holdout(world: World):
    rows = world.everybody()
    rows[0]["consent_email"] = False
    world.people(rows)
    world.export("mail")
    first, again = world.export("receipt"), world.export("receipt", world.now + timedelta(days=1))

    for report in (first, again):
        assert "contact_cap" not in report.left_out
        assert world.sent(report) and world.ids[0] not in world.sent(report)
        assert not world.sent(report) & held_out(world, world.ids)


@pytest.mark.parametrize(
    ("clock", "is_quiet"),
    [("20:59", False), ("21:00", True), ("07:59", True), ("08:00", False)],
)
def test_no_push_leaves_in_quiet_hours_of_the_shop_s_own_zone(world: World, clock: str, is_quiet: bool):
    world = world.with_settings(contact=Contact(quiet_hours="21:00-08:00", cost=0.0))
    hour, minute = map(int, clock.split(":"))
    now = (world.now + timedelta(days=1)).astimezone(world.shop.settings.zone)
    now = now.replace(hour=hour, minute=minute)
    push = world.export("push", now)

    assert (push.messages == 0) == is_quiet
    assert ("quiet_hours" in push.left_out) == is_quiet
    assert bool(world.decisions(push)) != is_quiet  # nothing is decided while nothing may be sent
    tomorrow = now + timedelta(days=1)
    assert world.export("mail", tomorrow).messages > 0
    assert world.export("receipt-push", tomorrow).messages > 0


def test_a_run_repeated_in_quiet_hours_sends_nothing_and_loses_nothing(world: World):
    world = world.with_settings(contact=Contact(quiet_hours="21:00-08:00", cost=0.0))
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    first = world.export("push", noon)
    content = Path(first.path).read_bytes()
    night = world.export("push", noon + timedelta(hours=10))
    assert (night.messages, Path(night.path).read_bytes()) == (0, b"")
    late = world.export("push", noon + timedelta(days=1), run_on=noon.date())

    assert content and Path(late.path).read_bytes() == content


def test_a_campaign_never_writes_to_a_customer_more_often_than_it_may(world: World):
    first = world.export("once")
    sent = world.sent(first)
    again = world.export("once", world.now + timedelta(days=40))

    assert sent and not sent & world.sent(again)
    assert again.left_out["campaign_cap"] == len(sent)
    repeated = world.export("once")
    assert repeated.repeated and world.sent(repeated) == sent
    # the held-out are decided on under the same rule
    decided = [{one.unit_id for one in world.decisions(run) if one.slate} for run in (first, again)]
    assert not decided[0] & decided[1]


@pytest.mark.parametrize("name", ["mail", "push", "ads"])
def test_a_repeated_run_writes_the_same_file_less_whoever_objected_since(world: World, name: str):
    first = world.export(name)
    content = Path(first.path).read_bytes()
    again = world.export(name, world.now + timedelta(hours=1))
    assert again.repeated and not first.repeated
    assert Path(again.path).read_bytes() == content
    assert again.left_out == first.left_out

    treated = [one.unit_id for one in world.decisions(first) if one.group == TREATED and one.slate]
    world.people([row for row in world.everybody() if row["customer_id"] != treated[0]])
    less = world.export(name, world.now + timedelta(hours=2))
    assert less.messages == first.messages - 1
    assert Path(less.path).stat().st_mode & 0o777 == 0o600
    assert len(world.decisions(first)) == len(world.decisions(less))


def test_two_exports_at_once_decide_a_run_once(world: World):
    outs = [world.folder / "one.csv", world.folder / "two.csv"]
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(export, world.shop, world.ledger, "mail", out, world.now) for out in outs]
        reports = [job.result() for job in jobs]

    units = [one.unit_id for one in world.decisions(reports[0])]
    assert len(units) == len(set(units)) > 0
    assert sorted(report.repeated for report in reports) == [False, True]
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_a_file_that_cannot_be_written_is_written_by_the_next_try(world: World):
    out = world.folder / "not-there" / "mail.csv"
    with pytest.raises(CampaignError, match="cannot be written"):
        export(world.shop, world.ledger, "mail", out, world.now)
    out.parent.mkdir()
    report = export(world.shop, world.ledger, "mail", out, world.now)

    assert report.repeated
    assert report.messages > 0


def offers_of(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    return [dict(offer) for one in decisions for offer in one.slate]


def test_each_incentive_sent_has_a_code_that_holds_and_the_held_out_get_none(world: World):
    report = world.export("mail")
    decisions = world.decisions(report)
    treated = [one for one in decisions if one.group == TREATED]
    with_incentive = [
        (one.unit_id, offer) for one in treated for offer in one.slate if offer["incentive"]["type"] != "none"
    ]
    codes = [offer["code"] for _, offer in with_incentive]
    assert codes and all(codes) and len(set(codes)) == len(codes)
    assert not [
        offer for offer in offers_of(treated) if offer["incentive"]["type"] == "none" and offer["code"]
    ]
    assert not [offer for one in decisions if one.group == HOLDOUT for offer in one.slate if offer["code"]]
    text = Path(report.path).read_text()
    assert all(code in text for code in codes)

    unit, offer = with_incentive[0]
    line = {"product_id": offer["product_id"] or "P1", "quantity": "1", "unit_price": "50.00"}
    ask = Ask(offer["code"], unit, Basket("o-1", 5000, "GBP", (line,)))
    assert world.ledger.codes.validate(ask, world.now).valid
    last = datetime.fromisoformat(offer["valid_until"])
    assert world.ledger.codes.validate(ask, last).valid
    assert world.ledger.codes.validate(ask, last + timedelta(seconds=1)).reasons == ("expired",)
    other = replace(ask, customer_id="somebody else")
    assert not world.ledger.codes.validate(other, world.now).valid


def test_what_a_customer_has_used_up_is_not_sent_again_and_what_all_have_used_up_to_nobody(world: World):
    ten = INCENTIVES["ten"]
    limits = ten.model_copy(update={"max_per_customer": 1, "quota": 3})
    world = world.with_settings(incentives={"ten": limits}, campaigns=CAMPAIGNS)

    def given(report: ExportReport) -> dict[str, dict[str, Any]]:
        return {
            one.unit_id: offer
            for one in world.decisions(report)
            for offer in one.slate
            if offer["code"] and offer["incentive"] == {"type": "percent", "value": "10"}
        }

    first = given(world.export("mail"))
    redeemed = list(first)[:3]
    for n, unit in enumerate(redeemed):
        line = {"product_id": first[unit]["product_id"], "quantity": "1", "unit_price": "50.00"}
        ask = Ask(first[unit]["code"], unit, Basket(f"o-{n}", 5000, "GBP", (line,)))
        if n == 2:
            second = given(world.export("mail", in_days(world, 7)))
            assert second and not set(second) & set(redeemed[:2])
        assert world.ledger.codes.redeem(ask, world.now + timedelta(hours=n)).valid
    assert not given(world.export("mail", in_days(world, 14)))


def test_what_was_sold_out_since_the_night_is_not_written_about(world: World):
    catalogue = world.shop.bundle.catalogue
    report = world.export("mail")
    offered = [offer["product_id"] for offer in offers_of(world.decisions(report)) if offer["product_id"]]
    tracked = [one for one in offered if np.isfinite(catalogue.stock[world.shop.bundle.product_row(one)])]
    gone = max(set(tracked), key=tracked.count)
    units = float(catalogue.stock[world.shop.bundle.product_row(gone)])
    line = {"product_id": gone, "quantity": str(units), "unit_price": "1.00"}
    world.ledger.record_orders([Order("live-1", None, world.now, 100, "GBP", None, (line,))])
    later = world.decisions(world.export("mail", in_days(world, 7)))

    assert later
    assert gone not in {offer["product_id"] for offer in offers_of(later)}


def reminded(decisions: list[Any]) -> set[str]:
    """Whose birthday or anniversary was spoken of; points may expire more often."""
    return {
        one.unit_id
        for one in decisions
        if any(offer["reason"]["code"] in ("birthday", "anniversary") for offer in one.slate)
    }


def test_an_offer_of_an_event_is_made_once_a_year(world: World):
    first = reminded(world.decisions(world.export("events")))
    later = reminded(world.decisions(world.export("events", world.now + timedelta(days=8))))

    assert first and not first & later
    next_year = reminded(world.decisions(world.export("events", world.now + timedelta(days=366))))
    assert first <= next_year | later


def test_a_budget_is_never_exceeded_and_0_gives_nothing_away(world: World):
    free, tight = world.export("mail"), world.export("tight", world.now + timedelta(days=10))
    nothing = world.export("nothing", world.now + timedelta(days=20))

    given = [
        sum(offer["incentive"]["type"] != "none" for offer in offers_of(world.decisions(run)))
        for run in (free, tight, nothing)
    ]
    assert given[0] > 2 * given[1] > given[2] == 0
    assert nothing.messages > 0


def test_what_was_drawn_is_logged_with_chances_that_add_up(world: World):
    report = world.export("mail")
    decisions = world.decisions(report)
    logged = [one.propensities for one in decisions if one.propensities]

    assert logged
    for chances in logged:
        for of_offer in chances.values():
            assert sum(of_offer.values()) == pytest.approx(1.0)
            assert min(of_offer.values()) >= world.shop.settings.offers.explore_share - 1e-9


def test_a_campaign_s_segments_and_its_size_are_kept(world: World):
    report = world.export("segment")
    segment = np.asarray(world.shop.bundle.knowledge.customers.segment)
    wanted = {
        one
        for one, code in zip(world.ids, segment.tolist(), strict=True)
        if SEGMENTS[code] in ("champions", "at_risk")
    }
    assert world.sent(report) and world.sent(report) <= wanted
    assert report.left_out["other_segment"] == len(world.ids) - len(wanted)
    mail, push = (
        world.export("mail", world.now + timedelta(days=1)),
        world.export("push", world.now + timedelta(2)),
    )
    assert {len(one.slate) for one in world.decisions(mail)} <= {0, 1, 2}
    assert {len(one.slate) for one in world.decisions(push)} <= {0, 1}


@pytest.mark.parametrize(
    ("campaign", "message"),
    [
        (Campaign(channel="pusch"), "did you mean 'push'"),
        (Campaign(channel="site"), 'channel "site" has no file'),
        (Campaign(channel="push", format="csv"), 'campaigns.odd: format = "csv" is not one'),
        (Campaign(segments=("champion",)), "did you mean 'champions'"),
    ],
)
def test_a_campaign_that_cannot_be_is_one_clear_message(world: World, campaign: Campaign, message: str):
    world = world.with_settings(campaigns={"odd": campaign})
    with pytest.raises(CampaignError, match=message):
        world.export("odd")
    with pytest.raises(CampaignError, match="did you mean 'odd'"):
        world.export("oddd")


def test_all_campaigns_of_a_day_go_by_priority_into_a_folder(world: World):
    campaigns = {
        "late": Campaign(priority=-1),
        "a-push": Campaign(channel="push"),
        "first": Campaign(priority=5),
        "banner": Campaign(channel="site"),
    }
    world = world.with_settings(campaigns=campaigns)
    folder = world.folder / "files"
    folder.mkdir()
    reports = export_all(world.shop, world.ledger, folder, world.now)

    assert [report.campaign for report in reports] == ["first", "a-push", "late"]
    assert sorted(path.name for path in folder.iterdir()) == ["a-push.ndjson", "first.csv", "late.csv"]
    sent = [world.sent(report) for report in reports]
    assert sent[0] and not sent[0] & (sent[1] | sent[2])
    odd = world.with_settings(campaigns={"a": Campaign(), "../b": Campaign()})
    with pytest.raises(CampaignError, match="no file can be called so"):
        export_all(odd.shop, odd.ledger, folder, world.now)


def test_every_kind_of_offer_is_written_about_with_a_reason_in_both_languages(world: World):
    rows = world.everybody()
    for at, row in enumerate(rows):
        row["locale"] = ("en", "ru")[at % 2]
    world.people(rows)
    locale = {row["customer_id"]: row["locale"] for row in rows}
    campaigns = {kind: Campaign(kinds=(kind,)) for kind in KINDS}
    world = world.with_settings(campaigns=campaigns, contact=Contact(max_per_day=9, max_per_week=9, cost=0.0))
    for kind in KINDS:
        decisions = world.decisions(world.export(kind))
        told = {
            (locale[one.unit_id], bool(offer["reason"]["text"])) for one in decisions for offer in one.slate
        }
        assert {offer["kind"] for offer in offers_of(decisions)} == {kind}
        assert told == {("en", True), ("ru", True)}


def test_a_marketer_s_offer_on_the_whole_order_is_in_the_file_without_a_product(world: World):
    (world.folder / "offers.toml").write_text(
        """
        [thank-you]
        pinned = true
        incentive = { type = "amount", value = 2, scope = "basket", min_order = 20 }
        text = { en = "Thank you for being with us.", ru = "Спасибо, что вы с нами." }
        """
    )
    world = world.with_settings(offers_file=world.folder / "offers.toml")
    shop = world.shop
    day = world.now.astimezone(shop.settings.zone).date()
    world = replace(
        world, shop=OpenShop(shop.settings, shop.bundle, *with_rules(shop.settings, shop.bundle, day))
    )
    report = world.export("mail")
    with Path(report.path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    # pinned comes first, except for whom the least order is out of reach
    rows = [row for row in rows if row["offer1_reason"] == "Thank you for being with us."]
    assert len(rows) > report.messages / 2
    for row in rows:
        assert row["offer1_title"] == row["offer1_incentive"] != ""
        assert [row[f"offer1_{part}"] for part in ("url", "image_url", "list_price", "final_price")] == [
            ""
        ] * 4
        assert row["offer1_min_order"] == "20.00"
        assert row["offer1_code"]
    code = rows[0]["offer1_code"]
    for total, holds in ((2000, True), (1999, False)):
        ask = Ask(code, rows[0]["customer_id"], Basket("o-1", total, "GBP"))
        assert world.ledger.codes.validate(ask, world.now).valid == holds
