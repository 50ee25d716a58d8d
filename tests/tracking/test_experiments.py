"""Experiments: groups nobody can choose or change, lists split exactly, and slates of which nothing is lost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from sqlalchemy import delete, insert, select, update

from nextoffer.config import Experiment, Settings, Trial, parse_settings
from nextoffer.domain.arrays import Bools
from nextoffer.errors import ConfigError
from nextoffer.tracking import schema
from nextoffer.tracking.allocation import altered, drawn
from nextoffer.tracking.assigning import refuse_changed_terms
from nextoffer.tracking.experiments import Study, held_out_of, running, takes_part, withhold
from nextoffer.tracking.holdout import groups, hash_bits, hash_share
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.schema import HOLDOUT, TREATED, Decision

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
IDS = [f"C{number:06d}" for number in range(50_000)]
SEGMENTS = ("champions", "loyal", "lost", None)


def study(name: str = "mail", **terms: Any) -> Study:
    return Study(name, Trial(**({"kinds": ("win_back",)} | terms)))


def exact(name: str = "mail", **terms: Any) -> Study:
    return Study(name, Trial(**({"campaigns": ("spring",), "allocation": "stratified"} | terms)))


# -- who is drawn


@given(st.lists(st.integers(0, 100), max_size=4, unique=True))
@settings(max_examples=20)
def test_the_parts_of_a_layer_share_no_customer_and_leave_none_out(cuts: list[int]) -> None:
    edges = sorted({0, 100, *cuts})
    parts = [
        takes_part(study(f"e{low}", layer="site", slice=(low / 100, high / 100)), IDS[:5_000])
        for low, high in pairwise(edges)
    ]
    assert np.sum(parts, axis=0).tolist() == [1] * 5_000


def test_the_layer_of_an_experiment_is_its_own_unless_another_is_named() -> None:
    one, other = study("a", slice=(0.0, 0.5)), study("b", slice=(0.0, 0.5))
    together = study("b", layer="a", slice=(0.0, 0.5))

    assert takes_part(one, IDS).tolist() == takes_part(together, IDS).tolist()
    assert abs((takes_part(one, IDS) == takes_part(other, IDS)).mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Experiment(holdout_share=0.2), study("mail", holdout_share=0.2)),
        (study("mail", holdout_share=0.2), study("site", holdout_share=0.2)),
        (study("mail", version=1, holdout_share=0.2), study("mail", version=2, holdout_share=0.2)),
        (study("a", holdout_share=0.2), study("b", holdout_share=0.2)),
    ],
)
def test_the_groups_of_one_experiment_say_nothing_about_those_of_another(one: Any, other: Any) -> None:
    first, second = groups(one, IDS), groups(other, IDS)
    assert chi2_contingency(np.histogram2d(first, second, 2)[0]).pvalue > 0.001


def test_a_layers_slices_say_nothing_about_any_group() -> None:
    for version in range(1, 6):
        one = study("mail", version=version, layer="site", holdout_share=0.5)
        place = (hash_share("layer:site", IDS) * 10).astype(int)
        for group in (groups(one, IDS), groups(Experiment(version=version, holdout_share=0.5), IDS)):
            assert chi2_contingency(np.histogram2d(place, group, (10, 2))[0]).pvalue > 0.001


# -- lists that are split exactly


def one_by_one(
    experiment: Study, units: Sequence[str], strata: Sequence[str | None], at: datetime
) -> set[str]:
    """The same draw in fractions, customer by customer."""
    share = Fraction(str(experiment.holdout_share))
    start = Fraction(str(hash_share(f"{experiment.label}:start", [str(schema.to_micros(at))])[0]))
    bits = dict(zip(units, hash_bits(experiment.label, units).tolist(), strict=True))
    held, passed = set(), Fraction(0)
    for stratum in sorted(set(strata), key=lambda one: one or ""):
        inside = [unit for unit, one in zip(units, strata, strict=True) if one == stratum]
        upto = passed + share * len(inside)
        k = math.floor(upto + start) - math.floor(passed + start)
        held |= set(sorted(inside, key=lambda unit: (bits[unit], unit))[:k])
        passed = upto
    return held


lists = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=60)


@given(lists, st.integers(1, 500), st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_each_stratum_gets_its_share_to_within_one_and_so_does_the_list(
    strata: list[str | None], mille: int, second: int, shuffle: Any
) -> None:
    one, at = exact(holdout_share=mille / 1000), NOON + timedelta(seconds=second)
    rows = list(zip(IDS, strata, strict=False))
    shuffle.shuffle(rows)
    units, strata = [unit for unit, _ in rows], [stratum for _, stratum in rows]

    held = drawn(one, units, strata, at)

    assert abs(held.sum() - Fraction(mille, 1000) * len(units)) < 1
    for stratum in set(strata):
        inside = np.array([own == stratum for own in strata])
        assert abs(held[inside].sum() - Fraction(mille, 1000) * int(inside.sum())) < 1
    assert {unit for unit, out in zip(units, held.tolist(), strict=True) if out} == one_by_one(
        one, units, strata, at
    )


def test_over_many_lists_nobodys_chance_differs_from_the_share() -> None:
    strata = ["loyal"] * 3 + ["lost"] * 4 + [None]
    one = exact(holdout_share=0.15)
    units = IDS[: len(strata)]
    n = 1_000
    times = sum(drawn(one, units, strata, NOON + timedelta(minutes=m)).astype(int) for m in range(n))
    by_stratum = np.array([times[:3].sum() / 3, times[3:7].sum() / 4, times[7]]) / n
    assert np.all(np.abs(by_stratum - 0.15) < 4 * np.sqrt(0.15 * 0.85 / n))


def test_customers_of_the_same_hash_are_told_apart_by_their_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "nextoffer.tracking.allocation.hash_bits", lambda _, ids: np.zeros(len(ids), np.uint32)
    )
    held = drawn(exact(holdout_share=0.5), ["b", "d", "a", "c"], None, NOON)
    assert held.tolist() == [True, False, True, False]


def test_a_long_list_is_split_exactly_in_every_segment(ledger: Ledger) -> None:
    ids = IDS[:6_000]
    strata = [("champions", "loyal", "lost")[number % 3] for number in range(len(ids))]
    one = exact(holdout_share=0.1)

    held = ledger.assign(one, ids, NOON, strata)

    assert held.sum() == 600
    for slug in set(strata):
        inside = np.array(strata) == slug
        assert abs(held[inside].sum() - 0.1 * inside.sum()) < 1
    table = ledger.assignments(one)
    assert Counter(table["stratum"].to_pylist()) == Counter(strata)
    assert altered(table, one) == 0


def test_who_is_enrolled_keeps_the_group_and_who_comes_later_is_split_likewise(ledger: Ledger) -> None:
    one, strata = exact(holdout_share=0.2), ["loyal"] * 500
    first = ledger.assign(one, IDS[:100], NOON, strata[:100])
    again = ledger.assign(one, IDS[:500], NOON, strata)  # at the same moment: `export --all` has one
    last = ledger.assign(one, IDS[499::-1], NOON - timedelta(days=1), strata)

    assert first.sum() == 20 and again[:100].tolist() == first.tolist()
    assert again[100:].sum() == 80 and last[::-1].tolist() == again.tolist()
    moments = [moment.replace(tzinfo=UTC) for moment in ledger.assignments(one)["assigned_at"].to_pylist()]
    assert set(moments) == {NOON, NOON - timedelta(microseconds=1)}  # never after what it is decided for
    assert altered(ledger.assignments(one), one) == 0


def test_two_lists_at_once_are_two_draws_and_nobody_is_in_both(url: str) -> None:
    one = exact(holdout_share=0.25)
    ledgers = [open_ledger(url) for _ in range(4)]
    lists = [IDS[start : start + 400] for start in (0, 100, 200, 300)]
    with ThreadPoolExecutor(4) as pool:
        held = list(
            pool.map(lambda of: of[0].assign(one, of[1], NOON).tolist(), zip(ledgers, lists, strict=True))
        )

    table = ledgers[0].assignments(one)
    groups_now = dict(zip(table["unit_id"].to_pylist(), table["group"].to_pylist(), strict=True))
    assert table.num_rows == 700 and altered(table, one) == 0
    for ids, out in zip(lists, held, strict=True):
        assert out == [groups_now[unit] == HOLDOUT for unit in ids]
    for ledger in ledgers:
        ledger.close()


# -- taking part


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 0.5), st.booleans()), max_size=3),
    st.integers(20, 200),
)
@settings(max_examples=40)
def test_another_experiment_never_moves_anybodys_group(others: list[tuple[str, float, bool]], n: int) -> None:
    mine = [study("mine", holdout_share=0.3), exact("list", holdout_share=0.3)]
    more = {name: (exact if by_list else study)(name, holdout_share=share) for name, share, by_list in others}
    free = np.flatnonzero(~groups(Experiment(holdout_share=0.1), IDS[:n]))

    def grouped(studies: list[Study]) -> dict[str, dict[str, bool]]:
        found: dict[str, dict[str, bool]] = {}

        def assign(one: Study, units: Sequence[str], at: datetime, strata: Sequence[str | None]) -> Bools:
            out = drawn(one, units, strata, at)
            found[one.name] = dict(zip(units, out.tolist(), strict=True))
            return out

        held_out_of(assign, studies, IDS[:n], [None] * n, NOON, lambda _: free)
        return {name: found[name] for name in ("mine", "list")}

    assert grouped([*more.values(), *mine]) == grouped(mine)


def test_only_the_units_asked_for_and_inside_the_slice_are_assigned(ledger: Ledger) -> None:
    half = study(slice=(0.0, 0.5), holdout_share=0.5)
    units, some = IDS[:400], np.arange(0, 400, 2)

    found = held_out_of(ledger.assign, [half], units, ["loyal"] * 400, NOON, lambda _: some)

    inside = {units[at] for at in some.tolist()} & {
        unit for unit, takes in zip(units, takes_part(half, units).tolist(), strict=True) if takes
    }
    table = ledger.assignments(half)
    assert set(table["unit_id"].to_pylist()) == inside
    assert set(table["stratum"].to_pylist()) == {"loyal"}
    held = {unit for unit, studies in zip(units, found, strict=True) if studies}
    assert held == {unit for unit in inside if groups(half, [unit])[0]}


def test_an_experiment_that_reaches_nobody_asks_the_ledger_nothing() -> None:
    def never(*_: Any) -> Any:
        raise AssertionError

    nobody = np.zeros(0, dtype=np.int64)
    assert held_out_of(never, [study()], ["a", "b"], [None, None], NOON, lambda _: nobody) == [(), ()]


# -- what is held back


KINDS = ("win_back", "cross_sell", "event", "for_you")
offers = st.lists(
    st.builds(
        lambda kind, product: {"kind": kind, "product_id": product},
        st.sampled_from(KINDS),
        st.sampled_from("pq"),
    ),
    max_size=6,
)
studies = st.lists(
    st.builds(
        lambda name, kinds, campaigns: study(name, kinds=kinds, campaigns=campaigns),
        st.sampled_from("abcd"),
        st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True).map(tuple),
        st.sampled_from([(), ("spring",), ("autumn",)]),
    ),
    max_size=4,
    unique_by=lambda one: one.name,
)


@given(offers, studies, st.sampled_from([None, "spring"]))
def test_what_leaves_and_the_ghosts_are_the_slate_everybody_would_get(
    slate: list[dict[str, str]], holding: list[Study], campaign: str | None
) -> None:
    chances = {"treated": 0.9} | {f"{one['kind']}:{one['product_id']}": {"none": 0.98} for one in slate}
    decision = Decision("d", "u", TREATED, NOON, "b", slate, campaign=campaign, propensities=chances)

    left, ghosts = withhold(decision, holding)

    together = [*left.slate, *(offer for ghost in ghosts for offer in ghost.slate)]
    assert sorted(map(str, together)) == sorted(map(str, slate))
    assert list(left.slate) == [one for one in slate if not any(of.covers(one, campaign) for of in holding)]
    assert (left.decision_id, left.group, left.withheld_by) == ("d", TREATED, None)
    labels = {one.label: one for one in holding}
    for ghost in ghosts:
        assert ghost.group == HOLDOUT and ghost.slate and ghost.decision_id == f"d:{ghost.withheld_by[:-2]}"
        assert all(labels[ghost.withheld_by].covers(offer, campaign) for offer in ghost.slate)
        assert (ghost.unit_id, ghost.at, ghost.campaign, ghost.bundle_id) == ("u", NOON, campaign, "b")
    assert len({ghost.withheld_by for ghost in ghosts}) == len(ghosts)
    parts = [dict(one.propensities or {}) for one in (left, *ghosts)]
    assert all(part.pop("treated") == 0.9 for part in parts)
    assert {key: value for part in parts for key, value in part.items()} == {
        key: value for key, value in chances.items() if key != "treated"
    }


def test_a_ghost_comes_back_from_the_ledger_as_it_was_recorded(ledger: Ledger) -> None:
    decision = Decision(
        "d",
        "u",
        TREATED,
        NOON,
        "b",
        [{"kind": "win_back", "product_id": "p"}],
        campaign="spring",
        run_on=date(2026, 3, 10),
    )
    left, ghosts = withhold(decision, [study()])
    ledger.record_decisions([left, *ghosts])

    assert ledger.decisions_of_run("spring", date(2026, 3, 10)) == [left, *ghosts]
    assert ledger.contacts(["u"], NOON, UTC)[0].tolist() == [1]  # as the message would have been


# -- terms


def shop(permanent: Experiment | None = None, **trials: Trial) -> Settings:
    document: dict[str, Any] = {"currency": "EUR", "history": {"orders": {"path": "o.csv"}}}
    plain = parse_settings(document, "nextoffer.toml", Path("/shop"))
    return plain.model_copy(update={"experiment": permanent or Experiment(), "experiments": trials})


BEGUN = Trial(kinds=("win_back", "event"), holdout_share=0.2, starts=date(2026, 3, 1), ends=date(2026, 4, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"holdout_share": 0.3}, "holdout_share is 0.3, but version 1 began on 2026-03-10 with 0.2. "),
        (
            {"kinds": ("event",)},
            'kinds is ["event"], but version 1 began on 2026-03-10 with ["event","win_back"]. ',
        ),
        ({"campaigns": ("spring",)}, 'campaigns is ["spring"], but version 1 began on 2026-03-10 with []. '),
        ({"layer": "site"}, 'layer is "site", but version 1 began on 2026-03-10 with "mail". '),
        ({"slice": (0.0, 0.5)}, "slice is [0.0,0.5], but version 1 began on 2026-03-10 with [0.0,1.0]. "),
        ({"starts": None}, 'starts is absent, but version 1 began on 2026-03-10 with "2026-03-01". '),
    ],
)
def test_a_changed_term_is_refused_with_both_values_and_the_next_version(
    ledger: Ledger, change: dict[str, Any], said: str
) -> None:
    ledger.assign(Study("mail", BEGUN), ["ann"], NOON)
    changed = BEGUN.model_copy(update=change)

    with pytest.raises(ConfigError) as error:
        refuse_changed_terms(ledger.engine, shop(mail=changed))
    (fault,) = error.value.faults
    assert fault == f"experiments.mail.{said}Put that back, or set version = 2: customers are then drawn anew"

    before = ledger.assignments(Study("mail", changed)).to_pylist()
    with pytest.raises(ConfigError, match="Put that back"):
        ledger.assign(Study("mail", changed), ["bob"], NOON)
    assert ledger.assignments(Study("mail", changed)).to_pylist() == before
    refuse_changed_terms(ledger.engine, shop(mail=changed.model_copy(update={"version": 2})))


def test_the_end_may_move_and_the_order_of_a_list_says_nothing(ledger: Ledger) -> None:
    ledger.assign(Study("mail", BEGUN), ["ann"], NOON)
    refuse_changed_terms(
        ledger.engine, shop(mail=BEGUN.model_copy(update={"ends": None, "kinds": ("event", "win_back")}))
    )


def test_the_share_of_the_permanent_holdout_needs_a_new_version_too(ledger: Ledger) -> None:
    ledger.assign(Experiment(version=3), ["ann"], NOON)
    ledger.assign(Study("mail", BEGUN), ["ann"], NOON)

    with pytest.raises(ConfigError) as error:
        refuse_changed_terms(
            ledger.engine,
            shop(
                Experiment(version=3, holdout_share=0.2), mail=BEGUN.model_copy(update={"holdout_share": 0.1})
            ),
        )
    assert [fault.split(" is ")[0] for fault in error.value.faults] == [
        "experiment.holdout_share",
        "experiments.mail.holdout_share",
    ]
    assert "set version = 4" in error.value.faults[0]


def test_before_anybody_is_assigned_everything_may_change(ledger: Ledger) -> None:
    ledger.assign(Study("mail", BEGUN), [], NOON)
    refuse_changed_terms(ledger.engine, shop(mail=BEGUN))
    refuse_changed_terms(ledger.engine, shop(mail=BEGUN.model_copy(update={"holdout_share": 0.5})))


def test_terms_are_registered_once_with_the_first_assignment(ledger: Ledger) -> None:
    ledger.assign(Study("mail", BEGUN), ["ann"], NOON)
    ledger.assign(Study("mail", BEGUN), ["bob"], NOON + timedelta(days=1))
    ledger.assign(Experiment(), ["ann"], NOON)

    with ledger.engine.connect() as connection:
        rows = connection.execute(select(schema.experiments).order_by(schema.experiments.c.experiment)).all()
    assert [(row.experiment, row.version, row.registered_at, row.terms) for row in rows] == [
        ("always-on", 1, schema.to_micros(NOON), '{"holdout_share":0.05,"name":"always-on","version":1}'),
        (
            "mail",
            1,
            schema.to_micros(NOON),
            '{"allocation":"hash","campaigns":[],"holdout_share":0.2,"kinds":["event","win_back"],"layer":"mail",'
            '"salt":"mail:1","slice":[0.0,1.0],"starts":"2026-03-01"}',
        ),
    ]


def test_an_experiment_older_than_its_registration_is_registered_silently(ledger: Ledger) -> None:
    ledger.assign(Experiment(), ["ann"], NOON)
    with ledger.engine.begin() as connection:
        connection.execute(delete(schema.experiments))

    reopened = open_ledger(ledger.engine.url.render_as_string(hide_password=False))
    refuse_changed_terms(reopened.engine, shop())
    reopened.assign(Experiment(), ["ann", "bob"], NOON)

    with pytest.raises(ConfigError):
        refuse_changed_terms(reopened.engine, shop(Experiment(holdout_share=0.5)))
    reopened.close()


def test_which_experiments_run_on_a_day_and_in_which_order() -> None:
    settings = shop(
        b=Trial(kinds=("event",)),
        a=Trial(kinds=("event",), starts=date(2026, 3, 2)),
        c=Trial(kinds=("event",), ends=date(2026, 3, 2)),
    )
    assert [one.name for one in running(settings, date(2026, 3, 1))] == ["b", "c"]
    assert [one.name for one in running(settings, date(2026, 3, 2))] == ["a", "b"]


# -- a ledger edited by hand


@pytest.mark.parametrize(
    "one",
    [Experiment(holdout_share=0.2), study(holdout_share=0.2), exact(holdout_share=0.2)],
    ids=["all", "hash", "exact"],
)
def test_a_group_changed_by_hand_is_found(ledger: Ledger, one: Experiment | Study) -> None:
    held = ledger.assign(one, IDS[:300], NOON, ["loyal", "lost", None] * 100)
    assert altered(ledger.assignments(one), one) == 0
    moved = [IDS[int(np.flatnonzero(held)[3])], IDS[int(np.flatnonzero(~held)[7])]]
    table = schema.assignments

    with ledger.engine.begin() as connection:
        for unit, group in zip(moved, (TREATED, HOLDOUT), strict=True):
            connection.execute(update(table).where(table.c.unit_id == unit).values(group=group))

    assert altered(ledger.assignments(one), one) == 2
    shuffled = ledger.assignments(one).take(pa.array(np.random.default_rng(1).permutation(300)))
    assert altered(shuffled, one) == 2


def test_customers_put_in_by_hand_are_found(ledger: Ledger) -> None:
    one = study(holdout_share=0.2)
    ledger.assign(one, IDS[:50], NOON)
    rows = [
        {"experiment": "mail", "version": 1, "unit_id": unit, "group": HOLDOUT, "assigned_at": 0}
        for unit in IDS[100:150]
    ]
    with ledger.engine.begin() as connection:
        connection.execute(insert(schema.assignments), rows)
    assert altered(ledger.assignments(one), one) == int((~groups(one, IDS[100:150])).sum())


def test_terms_changed_in_the_database_alone_show_in_the_groups(ledger: Ledger) -> None:
    ledger.assign(exact(holdout_share=0.2), IDS[:1_000], NOON)
    assert altered(ledger.assignments(exact()), exact(holdout_share=0.3)) == 100


def test_an_experiment_without_customers_is_unaltered(ledger: Ledger) -> None:
    assert [altered(ledger.assignments(one), one) for one in (Experiment(), study(), exact())] == [0, 0, 0]
