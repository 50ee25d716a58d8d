"""Who may be written to, over random customer tables: a channel never sees anybody it may not write to."""

from __future__ import annotations

from datetime import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.channels.ads import phone_digits
from nextoffer.channels.audience import ADVICE, address_cause, audience_causes
from nextoffer.channels.built_in import CHANNELS
from nextoffer.pipeline.audience import is_quiet, reachable

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("email", "phone", "push_token", "first_name", "locale")]
    + [(f"consent_{name}", pa.bool_()) for name in CHANNELS]
)
some_text = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "email": some_text
            | st.sampled_from(["ann@example.com", "анна@почта.рф", "a@b@c", "@x", "=1@x.y"]),
            "phone": some_text | st.sampled_from(["+7 999 555-11-11", "8 999 555 11 11", "020 7946 0000"]),
            "push_token": some_text | st.sampled_from(["token-of-ann", "two words are none"]),
            "first_name": some_text,
            "locale": st.sampled_from([None, "en", "ru-RU"]),
            **{f"consent_{name}": st.sampled_from([None, False, True]) for name in CHANNELS},
        }
    ),
    max_size=12,
)


@given(rows, st.sampled_from(sorted(CHANNELS)))
def test_only_a_consent_that_is_true_and_an_address_that_can_be_one_let_a_customer_through(people, name):
    channel = CHANNELS[name]
    table, causes = reachable(channel, pa.Table.from_pylist(people, SCHEMA))
    audience = audience_causes(len(people), causes)

    for row, kept in enumerate(audience.kept.tolist()):
        person, shown = people[row], table.slice(row, 1).to_pylist()[0]
        addresses = [shown[column] for column in channel.address if shown[column] is not None]
        assert all(shown[column] in (None, person[column]) for column in channel.address)
        assert kept == (person[channel.consent] is True and bool(addresses))
        if kept and name == "email":
            assert addresses[0].count("@") == 1 and not addresses[0].startswith(("=", "@"))
        if kept and name == "push":
            assert " " not in addresses[0] and len(addresses[0]) >= 8
        if kept and shown.get("phone") is not None and name == "ads":
            assert phone_digits(shown["phone"])
    assert sum(audience.left_out.values()) + audience.kept.sum() == len(people)
    assert set(causes) <= set(ADVICE)


def test_a_table_without_consent_or_address_reaches_nobody():
    nothing = pa.Table.from_pylist([{}] * 3, SCHEMA)
    for channel in CHANNELS.values():
        table, causes = reachable(channel, nothing)
        assert causes[address_cause("no", channel.address)].all()
        assert causes["no_consent"].all()
        assert len(table) == 3


@pytest.mark.parametrize(
    ("hours", "quiet"),
    [
        ("21:00-08:00", "21:00 23:59 00:00 07:59"),
        ("13:00-14:00", "13:00 13:59"),
        ("00:00-00:00", ""),
        ("", ""),
    ],
)
def test_quiet_hours_begin_at_their_first_minute_and_end_before_their_last(hours: str, quiet: str):
    clocks = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 59)]
    found = {clock for clock in clocks if is_quiet(hours, time.fromisoformat(clock))}

    assert set(quiet.split()) <= found
    assert not {"20:59", "08:00", "12:59", "14:00"} & found
    assert bool(found) == bool(quiet)
