"""[experiments.NAME]: what may stand there, and one clear line for everything that may not, all in one run."""

from __future__ import annotations

import tomllib
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.config import Settings, Trial, parse_settings
from nextoffer.errors import ConfigError

SHOP = """\
currency = "EUR"
[history.orders]
path = "orders.csv"
[campaigns.spring-mail]
[campaigns.win-back]
[campaigns.banner]
channel = "site"
"""


def settings_of(text: str) -> Settings:
    return parse_settings(tomllib.loads(SHOP + text), "nextoffer.toml", Path("/shop"))


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        settings_of(text)
    return error.value.faults


def test_everything_an_experiment_may_say_is_read() -> None:
    settings = settings_of(
        '[experiments.half]\nversion = 2\nholdout_share = 0.5\ncampaigns = ["win-back"]\nkinds = ["win_back"]\n'
        'layer = "mail"\nslice = [0.0, 0.4]\nallocation = "stratified"\nstarts = 2026-03-01\nends = 2026-04-01\n'
    )

    assert settings.experiments["half"] == Trial(
        version=2,
        holdout_share=0.5,
        campaigns=("win-back",),
        kinds=("win_back",),
        layer="mail",
        slice=(0.0, 0.4),
        allocation="stratified",
        starts=date(2026, 3, 1),
        ends=date(2026, 4, 1),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            '[experiments.a]\ncampaigns = ["winback"]',
            "experiments.a.campaigns: there is no campaign 'winback'; did you mean 'win-back'?; "
            "there are: spring-mail, win-back, banner",
        ),
        (
            '[experiments.a]\ncampaigns = ["banner"]',
            "experiments.a.campaigns: 'banner' is shown on the site and has no list; name kinds instead",
        ),
        (
            "[experiments.a]\nholdout_share = 0.1",
            "experiments.a: name the campaigns or the kinds it keeps back",
        ),
        (
            '[experiments.a]\nkinds = ["winback"]',
            "experiments.a.kinds.0: input should be 'cross_sell', 'up_sell', 'for_you', 'abandoned', "
            "'replenishment', 'event', 'renewal' or 'win_back' (it is 'winback')",
        ),
        ('[experiments.a]\nkind = ["win_back"]', "experiments.a.kind: unknown key; did you mean 'kinds'?"),
        (
            '[experiments.a]\nkinds = ["event"]\nallocation = "stratified"',
            "experiments.a: stratified needs campaigns: only a campaign has a fixed list",
        ),
        (
            '[experiments.a]\nkinds = ["event"]\nslice = [0.5, 0.5]',
            "experiments.a: slice goes from a smaller share to a larger one, as in [0.0, 0.5]",
        ),
        (
            '[experiments.a]\nkinds = ["event"]\nstarts = 2026-03-01\nends = 2026-03-01',
            "experiments.a: starts must lie before ends (the first day without it)",
        ),
        (
            '[experiments.always-on]\nkinds = ["event"]',
            "experiments.always-on: the permanent holdout is called 'always-on' already; take another name",
        ),
        (
            '[experiments."a:1"]\nkinds = ["event"]',
            "experiments.a:1: 'a:1' cannot be a name: it must not be empty, 'layer', or hold a colon",
        ),
        (
            '[experiments.layer]\nkinds = ["event"]',
            "experiments.layer: 'layer' cannot be a name: it must not be empty, 'layer', or hold a colon",
        ),
        (
            '[experiments.a]\nkinds = ["event"]\nlayer = "site"\nslice = [0.0, 0.6]\n'
            '[experiments.b]\nkinds = ["win_back"]\nlayer = "site"\nslice = [0.5, 1.0]',
            "experiments.b.slice: [0.5, 1] and [0, 0.6] of experiments.a overlap in layer 'site' on some days; "
            "give each a part of its own, or another layer",
        ),
        (
            '[experiments.a]\nkinds = ["event"]\n[experiments.b]\nkinds = ["win_back"]\nlayer = "a"',
            "experiments.b.slice: [0, 1] and [0, 1] of experiments.a overlap in layer 'a' on some days; "
            "give each a part of its own, or another layer",
        ),
    ],
)
def test_a_fault_is_one_line_that_says_where_and_what_to_do(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert found.startswith(fault)


def test_every_fault_is_told_at_once_whatever_else_is_wrong() -> None:
    faults = faults_of(
        '[offers]\nn = 0\n[experiments.always-on]\ncampaigns = ["sprin-mail"]\n[experiments.b]\nkinds = []\n'
        '[experiments.c]\nkinds = ["event"]\nlayer = "always-on"\n'
    )
    starts = [
        "experiments.always-on",
        "experiments.always-on.campaigns",
        "experiments.b",
        "experiments.c.slice",
    ]
    assert sorted(fault.split(":")[0] for fault in faults) == [*starts, "offers.n"]


def test_slices_may_follow_each_other_in_room_or_in_time() -> None:
    settings = settings_of(
        '[experiments.a]\nkinds = ["event"]\nlayer = "x"\nslice = [0.0, 0.5]\n'
        '[experiments.b]\nkinds = ["event"]\nlayer = "x"\nslice = [0.5, 1.0]\nends = 2026-04-01\n'
        '[experiments.c]\nkinds = ["event"]\nlayer = "x"\nslice = [0.5, 1.0]\nstarts = 2026-04-01\n'
        '[experiments.d]\nkinds = ["event"]\nlayer = "y"\n[experiments.e]\nkinds = ["event"]\n'
    )
    assert len(settings.experiments) == 5


@given(st.lists(st.integers(0, 100), min_size=2, max_size=6, unique=True))
def test_parts_that_only_touch_never_overlap_and_a_third_over_two_always_does(cuts: list[int]) -> None:
    cuts.sort()
    parts = {
        f"e{at}": {"kinds": ["event"], "layer": "x", "slice": [low / 100, high / 100]}
        for at, (low, high) in enumerate(pairwise(cuts))
    }
    document = {"currency": "EUR", "history": {"orders": {"path": "o.csv"}}, "experiments": parts}
    parse_settings(document, "nextoffer.toml", Path("/shop"))

    over = {"kinds": ["event"], "layer": "x", "slice": [cuts[0] / 100, cuts[-1] / 100]}
    with pytest.raises(ConfigError) as error:
        parse_settings(document | {"experiments": parts | {"over": over}}, "nextoffer.toml", Path("/shop"))
    assert len(error.value.faults) == len(parts)


def test_it_runs_from_the_first_day_to_the_day_before_its_end() -> None:
    trial = Trial(kinds=("event",), starts=date(2026, 3, 1), ends=date(2026, 3, 3))
    days = [date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)]
    assert [trial.runs_on(day) for day in days] == [False, True, True, False]
    assert Trial(kinds=("event",)).runs_on(date.min) and Trial(kinds=("event",)).runs_on(date.max)
