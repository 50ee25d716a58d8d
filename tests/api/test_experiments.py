"""Experiments on the site: a held-out customer never sees what is covered, sees all else, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select
from tests.api.conftest import NOW, SECRETS, FakeBundle, World, shop_settings
from tests.api.test_over_a_real_bundle import shop, trained  # noqa: F401  # fixtures

from nextoffer.api.opened import shop_opener
from nextoffer.api.server import shop_app
from nextoffer.api.service import BundleService
from nextoffer.api.writer import ToRecord, recorder
from nextoffer.config import Secrets, Trial
from nextoffer.domain.offers import Slate, SlateRequest
from nextoffer.errors import ConfigError
from nextoffer.tracking import schema
from nextoffer.tracking.allocation import altered
from nextoffer.tracking.experiments import Study, takes_part
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision, Event

UNITS = [f"c{number:02d}" for number in range(60)]
KINDS = ("for_you", "win_back", "cross_sell")
WIN_BACK = {"kinds": ["win_back"], "holdout_share": 0.5}


@dataclass
class Mixed(FakeBundle):
    """Three offers of three kinds; customers whose number divides by four have no win-back offer."""

    def recommend(self, request: SlateRequest, now: datetime) -> Slate:
        slate = super().recommend(request, now)
        offers = [replace(offer, kind=kind) for offer, kind in zip(slate.offers, KINDS, strict=False)]
        if request.customer_id in UNITS[::4]:
            offers = [offer for offer in offers if offer.kind != "win_back"]
        chances = {f"{offer.kind}:{offer.product_id}": {"none": 0.98, "nothing": 0.02} for offer in offers}
        return replace(slate, offers=tuple(offers), segment="loyal", propensities=chances)


MakeSite = Callable[..., World]


@pytest.fixture
def make_site(make_world: Any, tmp_path: Path) -> Iterator[MakeSite]:
    """Sites over one ledger on disk: make_site(holdout_share=…, NAME={terms}, …)."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")

    def make(holdout_share: float = 0.2, **experiments: Any) -> World:
        world: World = make_world(holdout_share, ledger, Mixed(), experiments=experiments)
        return world

    yield make
    ledger.close()


def kinds_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200
    return [offer["kind"] for offer in answer.json()["offers"]]


def decisions_of(ledger: Ledger, unit: str) -> list[dict[str, Any]]:
    with ledger.engine.connect() as connection:
        table = schema.decisions
        query = select(table).where(table.c.unit_id == unit).order_by(table.c.decision_id)
        return [dict(row) for row in connection.execute(query).mappings()]


def held_by(world: World, name: str, unit: str) -> bool:
    study = Study(name, world.settings.experiments[name])
    return bool(takes_part(study, [unit])[0] and groups(study, [unit])[0])


def test_a_held_out_customer_gets_the_slate_without_what_is_covered_and_the_rest_is_a_ghost(
    make_site: MakeSite,
) -> None:
    world = make_site(
        win=WIN_BACK, cross={"kinds": ["cross_sell"], "slice": [0.0, 0.5], "holdout_share": 0.5}
    )
    seen = set()
    for unit in UNITS:
        whole = [kind for kind in KINDS if kind != "win_back" or unit not in UNITS[::4]]
        answer = world.get(f"/v1/customers/{unit}/offers")
        rows = decisions_of(world.ledger, unit)
        mine, ghosts = rows[0], rows[1:]
        assert mine["decision_id"] == answer.json()["attribution_token"] and mine["withheld_by"] is None
        if groups(world.settings.experiment, [unit])[0]:
            assert kinds_of(answer) == [] and (mine["group"], ghosts) == (HOLDOUT, [])
            assert answer.json()["experiment"] == {"name": "always-on", "group": "holdout"}
            continue
        back = {name for name in ("win", "cross") if held_by(world, name, unit)}
        gone = {"win_back" for _ in back & {"win"}} | {"cross_sell" for _ in back & {"cross"}}
        assert kinds_of(answer) == [kind for kind in whole if kind not in gone]
        assert answer.json()["experiment"] == {"name": "always-on", "group": "treated"}
        assert mine["group"] == TREATED
        assert {ghost["withheld_by"] for ghost in ghosts} == {
            f"{name}:1"
            for name, kind in (("win", "win_back"), ("cross", "cross_sell"))
            if name in back and kind in whole
        }
        for row in (mine, *ghosts):
            slate = schema.decision_of(row).slate
            drawn = {key for key in schema.decision_of(row).propensities if key != "treated"}
            assert {f"{offer['kind']}:{offer['product_id']}" for offer in slate} == drawn
        assert {ghost["group"] for ghost in ghosts} <= {HOLDOUT}
        seen.add(frozenset(back))
    assert seen == {frozenset(), frozenset({"win"}), frozenset({"cross"}), frozenset({"win", "cross"})}


def test_only_treated_customers_whom_it_reaches_take_part_with_their_segment(make_site: MakeSite) -> None:
    world = make_site(win=WIN_BACK, part={"kinds": ["for_you"], "slice": [0.25, 0.75], "layer": "site"})
    for unit in UNITS:
        world.get(f"/v1/customers/{unit}/offers")

    free = {unit for unit in UNITS if not groups(world.settings.experiment, [unit])[0]}
    for name, reached in (("win", free - set(UNITS[::4])), ("part", free)):
        study = Study(name, world.settings.experiments[name])
        table = world.ledger.assignments(study)
        inside = {unit for unit in reached if takes_part(study, [unit])[0]}
        assert set(table["unit_id"].to_pylist()) == inside and inside
        assert set(table["stratum"].to_pylist()) == {"loyal"}
        assert altered(table, study) == 0
    assert set(world.ledger.assignments(world.settings.experiment)["stratum"].to_pylist()) == {"loyal"}


def test_a_browser_sees_no_trace_of_an_experiment(make_site: MakeSite) -> None:
    world = make_site(0.0, win=WIN_BACK)
    answers = [world.post("/v1/recommend", {"visitor_id": unit}, key="client") for unit in UNITS]
    kinds = {tuple(kinds_of(answer)) for answer in answers}
    assert kinds == {KINDS, ("for_you", "cross_sell")}
    for answer in answers:
        assert set(answer.json()) == {
            "attribution_token",
            "customer_id",
            "placement",
            "bundle_id",
            "currency",
            "fallback",
            "offers",
        }
        assert all(
            word not in answer.text for word in ("experiment", "withheld", "treated", "holdout", "win:1")
        )


def test_a_visitor_is_held_out_like_anybody_and_a_request_without_a_name_never(make_site: MakeSite) -> None:
    world = make_site(0.0, win=WIN_BACK)
    for unit in UNITS[:20]:
        kinds = kinds_of(world.post("/v1/recommend", {"visitor_id": unit}))
        assert ("win_back" in kinds) is not held_by(world, "win", unit)
    assert kinds_of(world.post("/v1/recommend", {})) == list(KINDS)


@pytest.mark.parametrize("key", ["client", "server"])
def test_a_visitor_who_logged_in_before_has_the_customers_group_and_the_visitors_slate(
    make_site: MakeSite, key: str
) -> None:
    world = make_site(0.3, win=WIN_BACK)
    linked = {f"v{unit}": unit for unit in UNITS}

    def told(visitor: str, customer: str) -> dict[str, str]:
        return {
            "event_id": f"{visitor}-{customer}",
            "event_type": "detail-page-view",
            "occurred_at": "2026-11-22T09:00:00Z",
            "product_id": "22423",
            "visitor_id": visitor,
            "customer_id": customer,
        }

    shared = [told("family", "c01"), told("family", "c02"), told("c02", "c03")]
    assert (
        world.post("/v1/events", [told(*pair) for pair in linked.items()] + shared).json()["accepted"] == 63
    )
    met = set()
    for visitor, unit in [*linked.items(), ("family", "family"), ("c02", "c02"), ("stranger", "stranger")]:
        answer = world.post("/v1/recommend", {"visitor_id": visitor}, key=key)
        out, held = bool(groups(world.settings.experiment, [unit])[0]), held_by(world, "win", unit)
        assert kinds_of(answer) == ([] if out else [kind for kind in KINDS if kind != "win_back" or not held])
        assert answer.json()["customer_id"] is None and answer.json()["fallback"] == "popular"
        assert all(offer["code"] is None for offer in answer.json()["offers"])
        assert answer.json().get("experiment", {}).get("group") == (
            None if key == "client" else HOLDOUT if out else TREATED
        )
        row = world.ledger.decision(answer.json()["attribution_token"])
        assert row is not None and (row.unit_id, row.group) == (unit, HOLDOUT if out else TREATED)
        met.add((out, held))
    assert len(met) == 4
    assigned = set(world.ledger.assignments(world.settings.experiment)["unit_id"].to_pylist())
    assert assigned == {*UNITS, "family", "stranger"}


def test_a_customer_asking_beside_their_visitor_keeps_their_segment(make_site: MakeSite) -> None:
    world = make_site(0.0)
    link = Event("e", "detail-page-view", NOW, "c01", payload={"visitor_id": "v"})
    world.ledger.record_events([link])
    record = recorder(world.ledger, world.settings.experiment)
    named = ToRecord(Decision("d1", "c01", "", NOW, None, []), stratum="loyal")
    record([named, ToRecord(Decision("d2", "v", "", NOW, None, []), anonymous=True)])

    assert world.ledger.assignments(world.settings.experiment)["stratum"].to_pylist() == ["loyal"]


def test_a_customer_with_nothing_left_gets_an_empty_slate_whose_token_is_known(make_site: MakeSite) -> None:
    world = make_site(0.0, all={"kinds": list(KINDS), "holdout_share": 0.5})
    unit = next(unit for unit in UNITS if held_by(world, "all", unit))

    answer = world.get(f"/v1/customers/{unit}/offers").json()

    assert answer["offers"] == [] and answer["experiment"]["group"] == "treated"
    mine, ghost = decisions_of(world.ledger, unit)
    assert (mine["decision_id"], mine["slate"]) == (answer["attribution_token"], "[]")
    assert [offer["kind"] for offer in schema.decision_of(ghost).slate] == [
        kind for kind in KINDS if kind != "win_back" or unit not in UNITS[::4]
    ]


def test_many_at_once_are_told_the_same_as_one_after_another(make_site: MakeSite) -> None:
    world = make_site(win=WIN_BACK)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda unit: kinds_of(world.get(f"/v1/customers/{unit}/offers")), UNITS * 2))
    alone = [kinds_of(world.get(f"/v1/customers/{unit}/offers")) for unit in UNITS]

    assert together == alone * 2
    study = Study("win", world.settings.experiments["win"])
    assert altered(world.ledger.assignments(study), study) == 0


@pytest.mark.parametrize(
    "experiments",
    [
        {},
        {"mail": {"campaigns": ["mail"], "holdout_share": 0.5}},
        {"later": WIN_BACK | {"starts": "2027-01-01"}},
        {"over": WIN_BACK | {"ends": "2026-11-22"}},
        {"other": {"kinds": ["event"]}},
    ],
    ids=lambda terms: next(iter(terms), "none"),
)
def test_what_does_not_reach_the_site_costs_no_query_and_takes_nothing(
    make_site: MakeSite, experiments: dict[str, Any]
) -> None:
    world = make_site(0.0, **experiments)
    texts: list[str] = []
    event.listen(world.ledger.engine, "before_cursor_execute", lambda *given: texts.append(given[2]))
    world.get("/v1/customers/c01/offers")

    before = len([text for text in texts if "assignments" in text])
    assert kinds_of(world.get("/v1/customers/c01/offers")) == list(KINDS)
    assert before == 3  # asked, written, asked again: the permanent holdout alone
    assert len([text for text in texts if "assignments" in text]) == 4
    assert len(decisions_of(world.ledger, "c01")) == 2


def test_the_codes_of_what_is_held_back_are_not_issued(shop: Any, make_world: Any, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "offers.toml").write_text(
        '[cups]\nproducts = ["cup 0", "cup 1", "cup 2", "cup 3"]\nkind = "win_back"\n'
        'incentive = { type = "percent", value = 10 }\npinned = true\n'
    )
    settings = shop.settings.model_copy(update={"offers_file": tmp_path / "offers.toml"})
    service = BundleService(shop_opener(settings), settings.models_dir / "CURRENT", poll_seconds=60)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'codes.sqlite'}")
    world = make_world(service=service, ledger=ledger, experiments={"win": WIN_BACK})
    with_code, held = 0, 0
    for unit in UNITS[:20]:
        offers = world.get(f"/v1/customers/{unit}/offers").json()["offers"]
        with_code += sum(offer["code"] is not None for offer in offers)
        if held_by(world, "win", unit):
            assert not any(offer["kind"] == "win_back" for offer in offers)
            ghosts = [row for row in decisions_of(ledger, unit) if row["withheld_by"]]
            held += len(ghosts)
            assert all(offer["code"] is None for row in ghosts for offer in schema.decision_of(row).slate)

    with ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(schema.codes)).scalar() == with_code > 0
    assert held > 0
    ledger.close()


def test_serving_under_changed_terms_is_refused_at_the_start(shop: Any, tmp_path: Path) -> None:  # noqa: F811
    settings = shop.settings.model_copy(
        update={
            "store": f"sqlite:///{tmp_path / 'terms.sqlite'}",
            "experiments": {"win": Trial(kinds=("win_back",), holdout_share=0.4)},
        }
    )
    ledger = open_ledger(settings.store)
    begun = shop_settings(experiments={"win": WIN_BACK}).experiments["win"]
    ledger.assign(Study("win", begun), ["c01"], NOW)
    ledger.close()

    with pytest.raises(
        ConfigError, match=r"experiments\.win\.holdout_share is 0\.4, .* with 0\.5\. Put that back"
    ):
        shop_app(settings, Secrets(server_keys=SECRETS.server_keys))
