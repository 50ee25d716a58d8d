"""Experiments in campaigns: what a held-out customer's experiment covers never leaves, and nothing of it is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from tests.flow.test_export import World, held_out, world  # noqa: F401  # a fixture

from nextoffer.config import Campaign, Trial
from nextoffer.domain.tables import SEGMENTS
from nextoffer.errors import ConfigError
from nextoffer.tracking import schema
from nextoffer.tracking.allocation import altered
from nextoffer.tracking.experiments import Study, takes_part
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import open_ledger
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision

Slates = dict[str, list[Mapping[str, Any]]]
WIDE = Campaign(n=6)


def trying(world: World, **trials: Trial) -> World:  # noqa: F811
    campaigns = world.shop.settings.campaigns | {"mail": WIDE, "mail-2": WIDE}
    return world.with_settings(experiments=trials, campaigns=campaigns)


def afresh(world: World) -> World:  # noqa: F811
    """The same shop with a ledger that knows nothing."""
    path = world.folder / f"fresh-{len(list(world.folder.glob('fresh-*.sqlite')))}.sqlite"
    return World(world.folder, world.shop, open_ledger(f"sqlite:///{path}"), world.now)


def enrolled(world: World, name: str) -> dict[str, bool]:  # noqa: F811
    """Who takes part in an experiment, and who of them is held out."""
    table = world.ledger.assignments(Study(name, world.shop.settings.experiments[name]))
    held = [group == HOLDOUT for group in table["group"].to_pylist()]
    return dict(zip(table["unit_id"].to_pylist(), held, strict=True))


def slates_of(decisions: list[Decision], which: Callable[[Decision], bool] = lambda _: True) -> Slates:
    """What each customer's decisions hold together, codes apart."""
    found: Slates = {}
    for one in decisions:
        if which(one):
            found.setdefault(one.unit_id, []).extend({**offer, "code": None} for offer in one.slate)
    return {
        unit: sorted(slate, key=lambda offer: offer["offer_id"]) for unit, slate in found.items() if slate
    }


@pytest.mark.parametrize("allocation", ["hash", "stratified"])
def test_what_leaves_and_the_ghosts_are_the_slates_of_a_shop_without_experiments(
    world: World,  # noqa: F811
    allocation: Any,
) -> None:
    plain = afresh(world)
    plain = trying(plain)
    alone = plain.decisions(plain.export("mail"))
    world = trying(
        world,
        mail=Trial(campaigns=("mail",), kinds=("for_you",), holdout_share=0.5, allocation=allocation),
        refills=Trial(kinds=("replenishment", "cross_sell"), holdout_share=0.4),
        elsewhere=Trial(campaigns=("mail-2",), holdout_share=0.5),
    )
    report = world.export("mail")
    decided = world.decisions(report)

    assert slates_of(decided) == slates_of(alone) != {}
    assert slates_of(decided, lambda one: one.withheld_by is None and one.group == HOLDOUT) == slates_of(
        alone, lambda one: one.group == HOLDOUT
    )
    ghosts = [one for one in decided if one.withheld_by is not None]
    assert {one.withheld_by for one in ghosts} == {"mail:1", "refills:1"}
    assert {one.group for one in ghosts} == {HOLDOUT}
    mail, refills = enrolled(world, "mail"), enrolled(world, "refills")
    leaving = slates_of(decided, lambda one: one.group == TREATED)
    for unit, slate in leaving.items():
        kinds = {offer["kind"] for offer in slate}
        assert not (mail.get(unit) and "for_you" in kinds)
        assert not (refills.get(unit) and kinds & {"replenishment", "cross_sell"})
    assert world.sent(report) == set(leaving)
    assert any(len(slate) < len(slates_of(alone)[unit]) for unit, slate in leaving.items())
    assert (
        world.ledger.assignments(Study("elsewhere", world.shop.settings.experiments["elsewhere"])).num_rows
        == 0
    )


def test_nobody_of_the_permanent_holdout_takes_part_and_every_row_has_its_segment(world: World) -> None:  # noqa: F811
    world = trying(
        world,
        by_list=Trial(campaigns=("mail",), allocation="stratified", holdout_share=0.3),
        by_hash=Trial(kinds=("for_you", "cross_sell"), holdout_share=0.3),
        part=Trial(kinds=("for_you",), layer="site", slice=(0.2, 0.6), holdout_share=0.5),
    )
    decided = world.decisions(world.export("mail"))
    permanent, settings = held_out(world, world.ids), world.shop.settings

    assert permanent and not permanent & (
        set(enrolled(world, "by_list")) | set(enrolled(world, "by_hash")) | set(enrolled(world, "part"))
    )
    assert set(enrolled(world, "by_list")) == set(world.ids) - permanent
    reached = {
        one.unit_id for one in decided for offer in one.slate if offer["kind"] in ("for_you", "cross_sell")
    }
    assert set(enrolled(world, "by_hash")) == reached - permanent
    inside = Study("part", settings.experiments["part"])
    assert all(takes_part(inside, list(enrolled(world, "part"))))
    customers = world.shop.bundle.knowledge.customers.segment
    segment = {
        one: SEGMENTS[code] for one, code in zip(world.ids, np.asarray(customers).tolist(), strict=True)
    }
    for experiment in (settings.experiment, *(Study(*item) for item in settings.experiments.items())):
        table = world.ledger.assignments(experiment)
        assert table["stratum"].to_pylist() == [segment[unit] for unit in table["unit_id"].to_pylist()]
        assert table.num_rows and altered(table, experiment) == 0


def test_a_campaigns_list_is_split_exactly_in_each_segment_whoever_gets_an_offer(world: World) -> None:  # noqa: F811
    world = trying(
        world, half=Trial(campaigns=("segment", "nothing"), allocation="stratified", holdout_share=0.5)
    )
    settings = world.shop.settings
    world.export("nothing")  # a budget of nothing: few are offered anything, all are enrolled

    table = world.ledger.assignments(Study("half", settings.experiments["half"])).to_pylist()
    assert len(table) == len(world.ids) - len(held_out(world, world.ids))
    size, held = (
        Counter(row["stratum"] for row in table),
        Counter(row["stratum"] for row in table if row["group"] == HOLDOUT),
    )
    assert all(abs(held[slug] - 0.5 * n) < 1 for slug, n in size.items())
    assert abs(sum(held.values()) - 0.5 * len(table)) < 1

    world.export("segment")
    assert world.ledger.assignments(Study("half", settings.experiments["half"])).to_pylist() == table


def test_a_repeated_run_writes_the_same_file_and_the_same_ghosts(world: World) -> None:  # noqa: F811
    world = trying(world, mail=Trial(kinds=("for_you", "cross_sell"), holdout_share=0.5))
    first = world.export("mail")
    file, decided, taken = Path(first.path).read_bytes(), world.decisions(first), enrolled(world, "mail")
    ended = trying(
        world, mail=Trial(kinds=("for_you", "cross_sell"), holdout_share=0.5, ends=world.now.date())
    )
    again = ended.export("mail", now=world.now + timedelta(hours=3), run_on=world.now.date())

    assert again.repeated and Path(again.path).read_bytes() == file
    assert world.decisions(again) == decided and enrolled(world, "mail") == taken
    assert again.left_out == first.left_out


def test_whoever_is_left_without_a_message_is_counted_under_the_experiment(world: World) -> None:  # noqa: F811
    world = trying(world, all_of_it=Trial(campaigns=("mail",), holdout_share=0.5))
    report = world.export("mail")
    decided = world.decisions(report)
    out = {unit for unit, held in enrolled(world, "all_of_it").items() if held}

    assert report.left_out["experiment"] == len(out) > 0
    assert report.left_out["holdout"] == len(held_out(world, world.ids))
    assert not out & world.sent(report)
    # nothing is left of theirs: there is only the ghost, unless something was drawn for them and not made
    assert all(one.withheld_by == "all_of_it:1" or not one.slate for one in decided if one.unit_id in out)
    assert not any(one.group == TREATED and one.slate for one in decided if one.unit_id in out)


def test_only_what_leaves_has_codes(world: World) -> None:  # noqa: F811
    world = trying(world, half=Trial(kinds=("for_you", "cross_sell", "win_back", "event"), holdout_share=0.5))
    decided = world.decisions(world.export("mail"))
    kept = [offer for one in decided if one.withheld_by is not None for offer in one.slate]
    gone = [offer for one in decided if one.group == TREATED for offer in one.slate if offer["code"]]

    assert any(offer["incentive"]["type"] != "none" for offer in kept) and gone
    assert not any(offer["code"] for offer in kept)
    with world.ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(schema.codes)).scalar() == len(gone)


def test_whoever_would_have_had_a_message_is_capped_like_whoever_had_it(world: World) -> None:  # noqa: F811
    world = trying(
        world,
        all_of_it=Trial(campaigns=("mail",), holdout_share=0.5),
        some=Trial(campaigns=("once",), kinds=("for_you",), holdout_share=0.5),
    )
    first = slates_of(world.decisions(world.export("mail")))
    second = world.export("mail-2")
    out = {unit for unit, held in enrolled(world, "all_of_it").items() if held}
    assert out & set(first) and held_out(world, world.ids) & set(first)
    assert not set(slates_of(world.decisions(second))) & set(first)  # nobody of any group
    assert second.left_out["contact_cap"] > 0

    later = world.now + timedelta(days=10)
    world = world.with_settings(
        campaigns=world.shop.settings.campaigns | {"once": Campaign(n=6, max_per_customer=2)}
    )
    world.export("once", later, later.date())
    partly = {one.unit_id for one in world.ledger.decisions_of_run("once", later.date()) if one.withheld_by}
    assert partly & world.sent(
        world.export("once", later + timedelta(days=2), later.date() + timedelta(days=2))
    )
    third = world.export("once", later + timedelta(days=4), later.date() + timedelta(days=4))
    assert world.sent(third) == set() and third.left_out["campaign_cap"] > 0


def test_before_its_start_and_from_its_end_everybody_gets_everything(world: World) -> None:  # noqa: F811
    first = world.now.date()
    trial = Trial(
        campaigns=("mail",),
        holdout_share=0.5,
        starts=first + timedelta(days=2),
        ends=first + timedelta(days=4),
    )
    world = trying(world, mail=trial)

    def ghosts(days: int) -> int:
        report = world.export("mail", world.now + timedelta(days=days), first + timedelta(days=days))
        return sum(one.withheld_by is not None for one in world.decisions(report))

    world = world.with_settings(
        contact=world.shop.settings.contact.model_copy(update={"max_per_day": 9, "max_per_week": 99})
    )
    assert ghosts(1) == 0 and enrolled(world, "mail") == {}
    assert ghosts(2) > 0 and ghosts(3) > 0
    taken = enrolled(world, "mail")
    assert ghosts(4) == 0 and enrolled(world, "mail") == taken


def test_terms_that_changed_since_the_first_assignment_stop_the_export_before_anything_is_written(
    world: World,  # noqa: F811
) -> None:
    world = trying(world, mail=Trial(campaigns=("mail",), holdout_share=0.5))
    world.export("mail")
    changed = trying(world, mail=Trial(campaigns=("mail",), holdout_share=0.4))
    out = world.folder / "mail-2.out"

    with pytest.raises(
        ConfigError, match=r"experiments\.mail\.holdout_share is 0\.4, but version 1 began on .* with 0\.5"
    ):
        changed.export("mail-2")
    assert not out.exists()
    trying(world, mail=Trial(campaigns=("mail",), holdout_share=0.4, version=2)).export("mail-2")


def test_another_experiment_moves_nobody(world: World) -> None:  # noqa: F811
    mine = Trial(kinds=("for_you",), holdout_share=0.3)
    listed = Trial(campaigns=("mail",), allocation="stratified", holdout_share=0.3)
    others = {
        f"{name}{share}": Trial(kinds=("for_you", "cross_sell"), holdout_share=share)
        for name, share in product("az", (0.2, 0.5))
    }
    found = []
    for more in ({}, others):
        one = trying(afresh(world), mine=mine, listed=listed, **more)
        one.export("mail")
        found.append((enrolled(one, "mine"), enrolled(one, "listed")))
        one.ledger.close()
    assert found[0] == found[1] and all(found[0])
    assert list(found[0][0].values()) == groups(Study("mine", mine), list(found[0][0])).tolist()


def test_of_one_layer_nobody_is_in_two_experiments(world: World) -> None:  # noqa: F811
    def part(low: float, high: float) -> Trial:
        return Trial(kinds=("for_you", "cross_sell"), layer="site", slice=(low, high), holdout_share=0.5)

    world = trying(world, a=part(0.0, 0.3), b=part(0.3, 0.7), c=part(0.7, 1.0))
    decided = world.decisions(world.export("mail"))
    members = [set(enrolled(world, name)) for name in "abc"]

    assert all(members) and sum(map(len, members)) == len(set.union(*members))
    reached = {
        one.unit_id for one in decided for offer in one.slate if offer["kind"] in ("for_you", "cross_sell")
    }
    assert set.union(*members) == reached - held_out(world, world.ids)
