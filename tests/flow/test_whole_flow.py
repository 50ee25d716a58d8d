"""Synthetic shop → train → publish → serve → events → export → measure: everything is counted once, exactly."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from nextoffer import pipeline
from nextoffer.config import Settings, load_settings
from nextoffer.demo.site import Site, served
from nextoffer.measurement.kpi import Filter
from nextoffer.measurement.report import Measurement, to_json
from nextoffer.pipeline import ExportReport
from nextoffer.simulation.effect import planted
from nextoffer.simulation.shop import Shop, StepRows
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision

WEEKS = 5
MORE = """
[experiment]
holdout_share = 0.3
[campaigns.mail]
n = 2
[contact]
cost = 0.01
"""


@dataclass
class Story:
    """What was done, counted here and nowhere else, beside what the system says of it."""

    shop: Shop
    settings: Settings
    ledger: Ledger
    end: datetime
    measured: Measurement
    answers: list[dict[str, Any]] = field(default_factory=list)
    exports: list[tuple[ExportReport, Path, list[Decision]]] = field(default_factory=list)
    weeks: list[StepRows] = field(default_factory=list)
    weeks_without: list[StepRows] = field(default_factory=list)
    posted: dict[str, int] = field(default_factory=dict)
    n_events: int = 0
    units: set[str] = field(default_factory=set)

    def group(self, unit: str) -> str:
        return HOLDOUT if groups(self.settings.experiment, [unit])[0] else TREATED


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, make_shop: Callable[..., Shop]) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("flow")
    shop = make_shop(
        folder, MORE, customers=500, products=80, weeks=30, rate=0.16, returns=False, offer_effect=10.0
    )
    settings = load_settings(folder / "nextoffer.toml", {})
    report = pipeline.train(settings, shop.end)
    assert report.published
    ledger = open_ledger(settings.store)
    told = Story(shop, settings, ledger, shop.end, None)  # type: ignore[arg-type]
    serve(told, shop.end)
    opened = pipeline.open_shop(settings)
    twin = shop.fork()
    for week in range(WEEKS):
        now = shop.end + timedelta(weeks=week)
        out = folder / f"mail-{week}.csv"
        exported = pipeline.export(opened, ledger, "mail", out, now)
        decisions = ledger.decisions_of_run("mail", now.date())
        told.exports.append((exported, out, decisions))
        told.weeks.append(shop.step(shop.week, offers_of(decisions, now)))
        told.weeks_without.append(twin.step(twin.week))
        report_week(told, folder, week)
    told.end = shop.end + timedelta(weeks=WEEKS)
    told.measured = pipeline.measure_shop(settings, ledger, None, told.end, n_permutations=999)
    yield told
    ledger.close()


def serve(told: Story, now: datetime) -> None:
    """A storefront asks for known and new customers, and reports what was shown, clicked and bought."""
    people = pq.read_table(told.settings.history.customers.path, columns=["customer_id"])  # type: ignore[union-attr]
    known = people["customer_id"].to_pylist()[:40]
    with served(told.settings, now) as site:
        for unit in [*known, *known[:5], "new-1", "new-2"]:
            told.answers.append(site.ask("GET", f"/v1/customers/{unit}/offers") | {"unit": unit})
            told.units.add(unit)
        visitor = site.ask("POST", "/v1/recommend", {"visitor_id": "visitor-1"})
        told.answers.append(visitor | {"unit": "visitor-1"})
        told.units.add("visitor-1")
        events = [
            {
                "event_id": f"{answer['attribution_token']}-{kind}",
                "event_type": kind,
                "occurred_at": now.isoformat(),
                "customer_id": answer["unit"],
                "attribution_token": answer["attribution_token"],
                "offer_id": answer["offers"][0]["offer_id"],
            }
            for answer in told.answers
            if answer["offers"]
            for kind in ("promotion-offered", "promotion-clicked")
        ]
        order = {
            "order_id": "live-1",
            "lines": [{"product_id": "P0001", "quantity": 2, "unit_price": "3.50"}],
        }
        bought = {
            "event_id": "buy-1",
            "event_type": "purchase-complete",
            "customer_id": "new-1",
            "order": order,
        }
        events.append(bought | {"occurred_at": now.isoformat()})
        events.append({"event_id": "bad", "event_type": "no-such-thing", "occurred_at": now.isoformat()})
        told.posted = site.ask("POST", "/v1/events", events)
        again = site.ask("POST", "/v1/events", events[:-1])
    told.n_events = len(events) - 1
    assert again == {"accepted": 0, "duplicates": told.n_events, "rejected": []}


def offers_of(decisions: list[Decision], now: datetime) -> dict[str, list[Any]]:
    """What the mail service sends: the treated decisions, offer by offer."""
    sent = [(d.unit_id, offer) for d in decisions if d.group == TREATED for offer in d.slate]
    return {
        "customer_id": [unit for unit, _ in sent],
        "kind": [offer["kind"] for _, offer in sent],
        "product_id": [offer["product_id"] for _, offer in sent],
        "level": [float(1 - Decimal(o["final_price"]) / Decimal(o["list_price"])) for _, o in sent],
        "sent_at": [now] * len(sent),
    }


def report_week(told: Story, folder: Path, week: int) -> None:
    """Clicks by `record`; orders of even weeks in the shop's own files, of odd ones by `record`."""
    rows, decisions = told.weeks[-1], told.exports[-1][2]
    token = {d.unit_id: d.decision_id for d in decisions}
    path = folder / f"clicks-{week}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(
            ["event_id", "event_type", "occurred_at", "customer_id", "attribution_token", "product_id"]
        )
        for n, click in enumerate(rows.clicks.to_pylist()):
            unit = click["customer_id"]
            moment = click["occurred_at"].isoformat()
            out.writerow([f"w{week}-{n}", "click", moment, unit, token[unit], click["product_id"]])
    recorded = pipeline.record(told.settings, told.ledger, path)
    assert (recorded.accepted, recorded.rejected) == (rows.clicks.num_rows, ())
    told.n_events += rows.clicks.num_rows
    assert pipeline.record(told.settings, told.ledger, path).accepted == 0
    if week % 2 == 0:
        pq.write_table(rows.orders, folder / "shop" / "orders" / f"week-{week}.parquet")
    else:
        live = folder / f"orders-{week}.parquet"
        pq.write_table(rows.orders, live)
        recorded = pipeline.record(told.settings, told.ledger, live)
        assert (recorded.accepted, recorded.rejected) == (rows.orders.num_rows, ())


def lines_by_customer(told: Story) -> dict[str, list[tuple[str, datetime, Decimal]]]:
    """Every order line of the weeks after the history, and the one live order, by customer."""
    lines: dict[str, list[tuple[str, datetime, Decimal]]] = defaultdict(list)
    for week in told.weeks:
        for line in week.orders.to_pylist():
            if line["customer_id"] is not None:
                worth = line["quantity"] * line["unit_price"]
                lines[line["customer_id"]].append((line["order_id"], line["ordered_at"], worth))
    lines["new-1"].append(("live-1", told.shop.end + timedelta(hours=1), Decimal("7.00")))
    return lines


def test_the_ledger_holds_one_row_for_everything_that_happened(story: Story) -> None:
    units = story.units | {d.unit_id for _, _, decisions in story.exports for d in decisions}
    n_decisions = len(story.answers) + sum(len(decisions) for _, _, decisions in story.exports)

    assignments = story.ledger.assignments(story.settings.experiment)
    assert len(assignments) == len(set(assignments["unit_id"].to_pylist()))
    assert units <= set(assignments["unit_id"].to_pylist())
    assert len(story.ledger.decisions()) == n_decisions
    assert len(story.ledger.events()) == story.n_events
    live = sum(len(pc.unique(week.orders["order_id"])) for n, week in enumerate(story.weeks) if n % 2 == 1)
    assert len(story.ledger.orders()) == live + 1
    assert [fault["field"] for fault in story.posted["rejected"]] == ["event_type"]  # type: ignore[attr-defined]


def test_every_group_is_the_hash_s_and_both_groups_have_decisions(story: Story) -> None:
    assigned = story.ledger.assignments(story.settings.experiment).to_pylist()
    assert all(row["group"] == story.group(row["unit_id"]) for row in assigned)
    decisions = story.ledger.decisions().to_pylist()
    assert all(row["group"] == story.group(row["unit_id"]) for row in decisions)
    mailed = [row for row in decisions if row["campaign"] == "mail"]
    served = [row for row in decisions if row["campaign"] is None]
    for rows in (mailed, served):
        assert {row["group"] for row in rows} == {TREATED, HOLDOUT}
    # what a held-out customer would have been offered is recorded too, or the groups could not be compared
    assert any(row["slate"] != "[]" for row in mailed if row["group"] == HOLDOUT)


def test_no_held_out_customer_is_in_an_answer_or_a_campaign_file(story: Story) -> None:
    for answer in story.answers:
        held_out = story.group(answer["unit"]) == HOLDOUT
        assert answer["experiment"]["group"] == (HOLDOUT if held_out else TREATED)
        assert not (held_out and answer["offers"])
    assert any(answer["offers"] for answer in story.answers)
    for report, path, decisions in story.exports:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        treated = {d.unit_id for d in decisions if d.group == TREATED}
        assert {row["customer_id"] for row in rows} == treated
        assert len(rows) == report.messages == len(treated) > 0
        assert report.messages + sum(report.left_out.values()) == report.customers
        assert report.left_out["holdout"] > 0


def test_what_is_measured_is_what_was_bought_to_the_cent(story: Story) -> None:
    assigned = story.ledger.assignments(story.settings.experiment).to_pylist()
    lines = lines_by_customer(story)
    effects = dict(story.measured.main.effects)
    for group, arm in ((TREATED, "treated"), (HOLDOUT, "holdout")):
        units = [
            (row["unit_id"], row["assigned_at"].replace(tzinfo=UTC))
            for row in assigned
            if row["group"] == group
        ]
        bought = [
            (unit, order, worth) for unit, since in units for order, at, worth in lines[unit] if at >= since
        ]
        assert getattr(effects["orders"], arm).n == len(units)
        assert getattr(effects["orders"], arm).total == len({order for _, order, _ in bought})
        assert getattr(effects["orders"], arm).n_buyers == len({unit for unit, _, _ in bought})
        assert getattr(effects["revenue"], arm).total == pytest.approx(
            float(sum(w for _, _, w in bought)), abs=1e-6
        )


def test_participation_counts_who_was_offered_and_who_clicked(story: Story) -> None:
    decisions = story.ledger.decisions().to_pylist()
    treated = [
        row for row in decisions if row["group"] == TREATED and row["slate"] != "[]" and row["unit_id"]
    ]
    clicked = {click["customer_id"] for week in story.weeks for click in week.clicks.to_pylist()}
    clicked |= {answer["unit"] for answer in story.answers if answer["offers"]}

    counted = story.measured.participation
    assert counted.n_offered == len({row["unit_id"] for row in treated})
    assert counted.n_clicked == len(clicked)
    assert story.measured.main.checks.contaminated_share == 0.0
    contacts = dict(story.measured.main.effects)["contact_cost"].treated.total
    messages = sum(report.messages for report, _, _ in story.exports)
    assert contacts == pytest.approx(messages * story.settings.contact.cost)


@pytest.mark.parametrize("name", ["orders", "revenue", "margin"])
def test_the_interval_covers_what_the_offers_really_caused(story: Story, name: str) -> None:
    caused = planted(story.weeks, story.weeks_without)
    per_unit = dict(zip(caused["customer_id"].to_pylist(), caused[f"{name}_caused"].to_pylist(), strict=True))
    assigned = story.ledger.assignments(story.settings.experiment).to_pylist()
    treated = [row["unit_id"] for row in assigned if row["group"] == TREATED]
    held_out = [row["unit_id"] for row in assigned if row["group"] == HOLDOUT]
    truth = sum(per_unit.get(unit, 0.0) for unit in treated) / len(treated)

    effect = dict(story.measured.main.effects)[name]
    assert truth > 0
    assert effect.low is not None and effect.high is not None
    assert effect.low <= truth <= effect.high
    # who got nothing did nothing else: the twin lives the very same weeks
    assert all(per_unit.get(unit, 0.0) == pytest.approx(0.0, abs=1e-9) for unit in held_out)


def test_the_api_tells_what_the_command_prints(story: Story) -> None:
    asked = f"?until={story.end.date()}&segment=loyal"
    with served(story.settings, story.end) as site:
        answer = site.ask("GET", f"/v1/measurement{asked}")

    printed = pipeline.measure_shop(
        story.settings, story.ledger, None, story.end, filter=Filter(segment="loyal")
    )
    assert answer == orjson.loads(orjson.dumps(to_json(printed)))


def test_exporting_a_run_again_writes_the_same_file_and_records_nothing(story: Story, tmp_path: Path) -> None:
    _, path, _ = story.exports[0]
    before = len(story.ledger.decisions())
    shop = pipeline.open_shop(story.settings)

    again = pipeline.export(shop, story.ledger, "mail", tmp_path / "again.csv", story.shop.end)

    assert again.repeated
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()
    assert len(story.ledger.decisions()) == before


@limits(max_examples=60, deadline=None)
@given(
    unit=st.text(
        st.characters(min_codepoint=33, max_codepoint=0x44F, exclude_characters="/?#%\x7f"), min_size=1
    )
    .filter(str.isprintable)
    .map(lambda text: text[:40])
)
def test_whoever_is_held_out_is_offered_nothing(story: Story, site: Site, unit: str) -> None:
    answer = site.ask("POST", "/v1/recommend", {"customer_id": unit})

    assert answer["experiment"]["group"] == story.group(unit)
    assert bool(answer["offers"]) == (story.group(unit) == TREATED)


@pytest.fixture(scope="module")
def site(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same shop over a ledger of its own, so that the story's counts stay."""
    store = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'other.sqlite'}"
    with served(story.settings.model_copy(update={"store": store}), story.shop.end) as site:
        yield site
