"""A code is issued once, holds for its customer on its terms, and is redeemed no more often than allowed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks import postgres
from nextoffer.errors import BadRecordError, CampaignError, LedgerError
from nextoffer.tracking.code_text import ALPHABET, fresh_codes
from nextoffer.tracking.codes import REASONS, Ask, Grant, Verdict
from nextoffer.tracking.counts import codes_table, redemptions_of, used, used_by
from nextoffer.tracking.discounts import Basket, parse_basket
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.reach import event_made, messages_of
from nextoffer.tracking.schema import Decision

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TEN = {"type": "percent", "value": "10"}


def grant(unit: str = "ann", offer: str = "f1", **terms: Any) -> Grant:
    usual: dict[str, Any] = {
        "incentive": TEN,
        "currency": "GBP",
        "valid_from": NOON,
        "valid_until": NOON + 14 * DAY,
    }
    return Grant(unit, offer, **(usual | terms))


def ask(code: str, order_id: str | None = "o1", customer: str = "ann", **order: Any) -> Ask:
    return Ask(code, customer, parse_basket({"order_id": order_id, "total": "20.00"} | order, "GBP"))


def rows(ledger: Ledger, query: str) -> list[tuple[Any, ...]]:
    with ledger.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_the_same_offer_of_the_same_customer_has_the_same_code_for_ever(ledger: Ledger) -> None:
    asked = [grant("bob"), grant("ann"), grant("ann", "f2"), grant("bob")]
    first = ledger.codes.issue(asked)

    assert first[0] == first[3] and len(set(first)) == 3
    assert ledger.codes.issue(asked[::-1]) == first[::-1]
    assert ledger.codes.issue([]) == []


def test_granted_again_a_code_holds_for_the_longer_of_both_times(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant()])
    ledger.codes.issue([grant(valid_until=NOON + 30 * DAY)])
    ledger.codes.issue([grant(valid_until=NOON + DAY)])

    assert ledger.codes.validate(ask(code), NOON + 29 * DAY).valid
    assert not ledger.codes.validate(ask(code), NOON + 30 * DAY).valid


def test_a_code_is_validated_as_often_as_wanted_and_redeemed_once(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant(decision_id="d1", product_id=None)])
    yes = Verdict(True, (), TEN, 200)

    assert ledger.codes.validate(ask(code.lower().replace("-", "")), NOON) == yes
    assert ledger.codes.redeem(ask(code), NOON) == yes
    assert ledger.codes.redeem(ask(code, total="99.00"), NOON + DAY) == yes  # the same order: the same answer
    assert ledger.codes.validate(ask(code), NOON) == yes
    assert ledger.codes.redeem(ask(code, "o2"), NOON) == Verdict(False, ("used-already",), TEN)
    assert rows(ledger, "SELECT code, order_id, unit_id, discount FROM redemptions") == [
        (code, "o1", "ann", 200)
    ]


def test_a_redemption_tells_measurement_of_it(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant(decision_id="d1", product_id="tea")])
    line = {"product_id": "tea", "quantity": 1, "unit_price": "20.00"}
    for _ in range(2):
        ledger.codes.redeem(ask(code, lines=[line], total=None), NOON)

    (event,) = ledger.events().to_pylist()
    assert (
        event["type"],
        event["decision_id"],
        event["offer_id"],
        event["unit_id"],
        event["product_id"],
    ) == (
        "promotion-redeemed",
        "d1",
        "f1",
        "ann",
        "tea",
    )
    assert event["at"] == NOON.replace(tzinfo=None)
    assert orjson.loads(event["payload"]) == {"code": code, "order_id": "o1", "discount": "2.00"}


def mistyped(code: str) -> str:
    return code[:-1] + ALPHABET[(ALPHABET.index(code[-1]) + 1) % 32]


@pytest.mark.parametrize(
    ("terms", "order", "when", "reason"),
    [
        ({}, {"customer": "bob"}, NOON, "other-customer"),
        ({}, {"currency": "EUR"}, NOON, "wrong-currency"),
        ({}, {}, NOON - timedelta(microseconds=1), "not-yet-valid"),
        ({}, {}, NOON + 14 * DAY, "expired"),
        ({"min_order": 2001}, {}, NOON, "minimum-order"),
        ({"product_id": "tea"}, {}, NOON, "product-missing"),
        (
            {"product_id": "tea"},
            {"lines": [{"product_id": "jam", "quantity": 1, "unit_price": 9}]},
            NOON,
            "product-missing",
        ),
        ({"quota_key": "ten", "quota": 0}, {}, NOON, "quota-exhausted"),
        ({"quota_key": "ten", "per_customer": 0}, {}, NOON, "customer-limit"),
    ],
)
def test_each_fault_has_its_one_reason(
    ledger: Ledger, terms: dict[str, Any], order: dict[str, Any], when: datetime, reason: str
) -> None:
    (code,) = ledger.codes.issue([grant(**terms)])

    for answer in (
        ledger.codes.validate(ask(code, **order), when),
        ledger.codes.redeem(ask(code, **order), when),
    ):
        assert (answer.valid, answer.reasons, answer.discount) == (False, (reason,), 0)
        assert reason in REASONS
        assert (answer.incentive is None) == (reason == "other-customer")
    assert rows(ledger, "SELECT * FROM redemptions") == rows(ledger, "SELECT * FROM events") == []
    assert ledger.codes.redeem(ask(code), NOON).valid == (not terms)  # a refusal used nothing up


def test_a_code_that_was_mistyped_or_never_issued_is_told_apart(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant()])

    answers = [
        ledger.codes.redeem(ask(text), NOON) for text in (mistyped(code), fresh_codes(1)[0], "SPRING", "")
    ]
    assert [answer.reasons for answer in answers] == [("wrong-checksum",)] + [("unknown-code",)] * 3


def test_all_that_stands_against_a_code_is_told(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant(min_order=5000, product_id="tea")])

    answer = ledger.codes.validate(ask(code), NOON + 20 * DAY)

    assert answer.reasons == ("expired", "minimum-order", "product-missing")


def test_what_a_cancelled_order_used_can_be_used_again_by_another_order(ledger: Ledger) -> None:
    limits: dict[str, Any] = {"quota_key": "ten", "quota": 1, "per_customer": 1}
    code, other = ledger.codes.issue([grant(**limits), grant("bob", **limits)])
    assert ledger.codes.redeem(ask(code), NOON).valid
    assert ledger.codes.redeem(ask(other, customer="bob"), NOON).reasons == ("quota-exhausted",)

    for _ in range(2):
        assert ledger.codes.rollback(ask(code), NOON + DAY) == Verdict(True, (), TEN, 200)

    assert ledger.codes.redeem(ask(code), NOON).reasons == ("rolled-back",)
    assert rows(ledger, "SELECT unit_id, used FROM quotas ORDER BY unit_id") == [
        ("", 0),
        ("ann", 0),
        ("bob", 0),
    ]
    assert ledger.codes.redeem(ask(code, "o2"), NOON).valid
    assert rows(ledger, f"SELECT used FROM codes WHERE code = '{code}'") == [(1,)]


def test_measurement_does_not_see_a_redemption_whose_order_was_cancelled(ledger: Ledger) -> None:
    codes = ledger.codes.issue([grant(), grant("ann", "f2")])
    for code in codes:
        assert ledger.codes.redeem(ask(code), NOON).valid
    ledger.codes.rollback(ask(codes[0]), NOON)

    events = ledger.events(NOON - DAY, NOON + DAY)

    assert events["event_id"].to_pylist() == [f"redeemed:{codes[1]}:o1"]


def test_only_what_was_redeemed_can_be_rolled_back(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant()])

    assert ledger.codes.rollback(ask(code), NOON).reasons == ("not-redeemed",)
    assert ledger.codes.rollback(ask(code, customer="bob"), NOON).reasons == ("other-customer",)
    assert ledger.codes.rollback(ask(mistyped(code)), NOON).reasons == ("wrong-checksum",)


def test_a_redemption_without_an_order_id_is_refused(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant()])

    assert ledger.codes.validate(ask(code, None), NOON).valid
    with pytest.raises(BadRecordError, match=r"order.order_id must say for which order"):
        ledger.codes.redeem(ask(code, None), NOON)
    assert ledger.codes.redeem(ask(code), NOON).valid


def test_many_decided_at_once_are_decided_like_one_by_one(ledger: Ledger) -> None:
    limits: dict[str, Any] = {"quota_key": "ten", "quota": 3, "per_customer": 2}
    codes = ledger.codes.issue([grant("ann", f"f{n}", **limits) for n in range(3)] + [grant("bob", **limits)])
    asks = [ask(code, f"o{at}") for at, code in enumerate(codes[:3])] + [ask(codes[3], customer="bob")]
    answers = ledger.codes.redeem_all([*asks, asks[0], ask("nonsense")], NOON)

    assert sum(answer.valid for answer in answers[:3]) == 2  # of ann's three
    assert all("customer-limit" in answer.reasons for answer in answers[:3] if not answer.valid)
    assert answers[3].valid and answers[4] == answers[0] and answers[5].reasons == ("unknown-code",)
    assert rows(ledger, "SELECT unit_id, used FROM quotas ORDER BY unit_id") == [
        ("", 3),
        ("ann", 2),
        ("bob", 1),
    ]


def test_a_code_may_be_for_several_orders(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant(max_uses=2)])

    answers = [ledger.codes.redeem(ask(code, order_id), NOON) for order_id in ("o1", "o2", "o1", "o3")]

    assert [answer.reasons for answer in answers] == [(), (), (), ("used-already",)]


def test_uses_from_before_an_incentive_was_limited_count(ledger: Ledger) -> None:
    first, other, cancelled = ledger.codes.issue(
        [grant(offer=offer, quota_key="ten") for offer in ("f1", "f2", "f3")]
    )
    ledger.codes.redeem(ask(first, "o1"), NOON)
    ledger.codes.redeem(ask(cancelled, "o0"), NOON)
    ledger.codes.rollback(ask(cancelled, "o0"), NOON)
    (late,) = ledger.codes.issue([grant("bob", quota_key="ten", quota=1)])
    ledger.codes.issue([grant(offer="f4", quota_key="ten", per_customer=1)])

    assert ledger.codes.redeem(ask(late, "o2", "bob"), NOON).reasons == ("quota-exhausted",)
    assert ledger.codes.redeem(ask(other, "o3"), NOON).reasons == ("quota-exhausted", "customer-limit")
    assert ledger.codes.rollback(ask(first, "o1"), NOON).valid
    assert ledger.codes.redeem(ask(late, "o2", "bob"), NOON).valid
    assert ledger.codes.redeem(ask(other, "o3"), NOON).reasons == ("quota-exhausted",)


def test_a_quota_that_is_raised_holds_for_codes_that_were_issued_before(ledger: Ledger) -> None:
    codes = ledger.codes.issue([grant(unit, quota_key="ten", quota=1) for unit in ("ann", "bob")])
    assert ledger.codes.redeem(ask(codes[0]), NOON).valid
    assert not ledger.codes.redeem(ask(codes[1], customer="bob"), NOON).valid

    ledger.codes.issue([grant("eve", quota_key="ten", quota=2)])

    assert ledger.codes.redeem(ask(codes[1], customer="bob"), NOON).valid


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["redeem", "rollback"]), st.integers(0, 3), st.integers(0, 4)), max_size=25
    ),
    st.integers(0, 3),
    st.integers(0, 2),
)
def test_no_sequence_of_redemptions_and_rollbacks_breaks_a_limit(
    sqlite_ledger: Ledger, doings: list[tuple[str, int, int]], quota: int, per_customer: int
) -> None:
    ledger, key = sqlite_ledger, fresh_codes(1)[0]  # each example its own incentive in the same ledger
    units = ["ann", "ann", "bob", "eve"]
    codes = ledger.codes.issue(
        [
            grant(unit, f"{key}{at}", quota_key=key, quota=quota, per_customer=per_customer)
            for at, unit in enumerate(units)
        ]
    )
    for what, at, order in doings:
        doing = ask(codes[at], f"{key}{order}", units[at])
        getattr(ledger.codes, what)(doing, NOON)

        live = rows(
            ledger,
            f"SELECT code, unit_id FROM redemptions WHERE quota_key = '{key}' AND rolled_back_at IS NULL",
        )
        by_unit = {unit: sum(one == unit for _, one in live) for unit in units}
        assert len({code for code, _ in live}) == len(live) <= quota
        assert max(by_unit.values()) <= per_customer
        counted = dict(rows(ledger, f"SELECT unit_id, used FROM quotas WHERE quota_key = '{key}'"))
        assert counted == {"": len(live), **by_unit}


def test_threads_redeem_each_code_once_and_never_oversell(ledger: Ledger) -> None:
    codes = ledger.codes.issue([grant("ann", f"f{n}", quota_key="ten", quota=7) for n in range(10)])

    def client(number: int) -> int:
        order = codes[number:] + codes[:number]
        if number % 2:
            return sum(
                ledger.codes.redeem(ask(code, f"o{number}-{at}"), NOON).valid for at, code in enumerate(order)
            )
        asks = [ask(code, f"o{number}-{at}") for at, code in enumerate(order)]
        return sum(verdict.valid for verdict in ledger.codes.redeem_all(asks, NOON))

    with ThreadPoolExecutor(6) as pool:
        told = sum(pool.map(client, range(6)))

    assert told == 7 == len(rows(ledger, "SELECT DISTINCT code FROM redemptions")) == ledger.events().num_rows
    assert rows(ledger, "SELECT used FROM quotas") == [(7,)]


def test_threads_that_redeem_and_roll_back_the_same_codes_leave_true_counts(ledger: Ledger) -> None:
    codes = ledger.codes.issue(
        [grant("ann", f"f{n}", quota_key="ten", quota=3, per_customer=3) for n in range(4)]
    )

    def client(number: int) -> None:
        for turn in range(6):
            doing = ask(codes[(turn * 3 + number) % 4], f"o{turn % 3}-{number % 2}")
            ledger.codes.redeem_all([doing, ask(codes[turn % 4], f"x{turn}-{number}")], NOON)
            ledger.codes.rollback(doing, NOON)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))

    live = rows(ledger, "SELECT count(*) FROM redemptions WHERE rolled_back_at IS NULL")
    assert live[0][0] <= 3
    assert set(rows(ledger, "SELECT used FROM quotas")) == set(live)
    assert rows(ledger, "SELECT sum(used) FROM codes") == live


CLIENT = """
import sys
from datetime import UTC, datetime
from nextoffer.tracking.codes import Ask
from nextoffer.tracking.discounts import Basket
from nextoffer.tracking.ledger import open_ledger
url, name, *codes = sys.argv[1:]
ledger = open_ledger(url, checkpoints=False)
sys.stdin.readline()
noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
print(sum(ledger.codes.redeem(Ask(code, "ann", Basket(f"{name}-{code}", 2000)), noon).valid for code in codes))
"""


def test_processes_redeem_each_code_once(url: str, ledger: Ledger) -> None:
    codes = ledger.codes.issue([grant("ann", f"f{n}") for n in range(40)])
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, url, str(number), *codes[number * 7 :], *codes[: number * 7]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    told = [client.communicate("go\n", timeout=60)[0] for client in clients]

    assert sum(map(int, told)) == 40 == len(rows(ledger, "SELECT * FROM redemptions"))
    assert set(rows(ledger, "SELECT used FROM codes")) == {(1,)}


def test_a_refused_attempt_waits_for_no_writer(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextoffer.tracking.database.BUSY_SECONDS", 0.05)
    ledger = open_ledger(sqlite_url)
    (code,) = ledger.codes.issue([grant()])
    other = open_ledger(sqlite_url)
    with other.engine.connect().execution_options(nextoffer_write=True) as connection, connection.begin():
        assert ledger.codes.redeem(ask(code), NOON - DAY).reasons == ("not-yet-valid",)
        with pytest.raises(LedgerError, match="another process has been writing"):
            ledger.codes.redeem(ask(code), NOON)
    assert ledger.codes.redeem(ask(code), NOON).valid
    other.close()
    ledger.close()


def test_a_lookup_whose_connection_died_is_one_clear_error_and_the_next_succeeds(
    postgresql: postgres.Server, new_postgresql: str
) -> None:
    ledger = open_ledger(new_postgresql)
    (code,) = ledger.codes.issue([grant()])
    postgresql.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'new%'")

    with pytest.raises(LedgerError, match="is running and can be written"):
        ledger.codes.validate(ask(code), NOON)
    assert ledger.codes.validate(ask(code), NOON).valid
    assert ledger.codes.redeem(ask(code), NOON).valid
    ledger.close()


def test_uses_are_counted_by_incentive_and_by_customer(ledger: Ledger) -> None:
    units = ["ann", "ann", "bob", "eve"]
    codes = ledger.codes.issue(
        [grant(unit, f"f{at}", quota_key="ten" if at else "five") for at, unit in enumerate(units)]
    )
    for at, (code, unit) in enumerate(zip(codes, units, strict=True)):
        assert ledger.codes.redeem(ask(code, f"o{at}", unit), NOON + at * DAY).valid
    ledger.codes.rollback(ask(codes[3], "o3", "eve"), NOON)

    assert used(ledger, ["none", "ten", "five"]).tolist() == [0, 2, 1]
    assert used_by(ledger, ["eve", "ann", "bob", "ann"], ["five", "ten"]).tolist() == [
        [0, 0],
        [1, 1],
        [0, 1],
        [1, 1],
    ]
    assert used_by(ledger, ["ann"], []).shape == (1, 0)
    assert redemptions_of(ledger, ["ann", "eve", "bob"]).tolist() == [2, 0, 1]
    assert redemptions_of(ledger, ["ann", "eve", "bob"], NOON + DAY).tolist() == [1, 0, 1]
    assert redemptions_of(ledger, []).tolist() == []


def offer_of(kind: str) -> dict[str, Any]:
    """As a slate has it; a title may hold anything."""
    code = {"event": "birthday", "for_you": "similar-customers"}[kind]
    return {"kind": kind, "title": 'a "code":"birthday"', "reason": {"code": code}}


def test_event_offers_and_messages_of_a_campaign_are_counted_but_for_the_run_itself(ledger: Ledger) -> None:
    day = date(2026, 3, 10)

    def sent(name: str, unit: str, kind: str, **more: Any) -> Decision:
        run: dict[str, Any] = {"campaign": "c", "run_on": day} | more
        return Decision(name, unit, "treated", NOON, "b1", [offer_of(kind)], **run)

    ledger.record_decisions(
        [
            sent("d1", "ann", "event"),
            sent("d2", "bob", "for_you"),
            sent("d3", "eve", "event", campaign=None, run_on=None, placement="home"),
            sent("d4", "bob", "event", run_on=day - DAY),
        ]
    )
    units = ["eve", "ann", "bob", "new"]

    # a message about an occasion is one too many once another was sent; what the site shows of it is the same one
    assert event_made(ledger, units, NOON + DAY, message=True).tolist() == [False, True, True, False]
    assert event_made(ledger, units, NOON + DAY, True, ("c", day)).tolist() == [False, False, True, False]
    assert event_made(ledger, units, NOON + DAY, message=False).tolist() == [False] * 4
    later = NOON + 60 * DAY
    assert event_made(ledger, units, later, message=False).tolist() == [True, True, True, False]
    assert event_made(ledger, units, later + 300 * DAY, message=True).tolist() == [False] * 4
    assert messages_of(ledger, "c", units, day + DAY).tolist() == [0, 1, 2, 0]
    assert messages_of(ledger, "c", units, day).tolist() == [0, 0, 1, 0]


def test_the_file_of_codes_holds_those_of_the_runs_messages_with_their_terms(ledger: Ledger) -> None:
    day = date(2026, 3, 10)
    codes = ledger.codes.issue(
        [
            grant("bob", min_order=1050, product_id="tea", decision_id="d2", campaign="c", run_on=day),
            grant("ann", incentive={"type": "gift", "product_id": "cup"}, campaign="earlier"),
            grant("eve", campaign="c", run_on=day - DAY),
        ]
    )
    for name, unit, code in (("d2", "bob", codes[0]), ("d1", "ann", codes[1]), ("d3", "joe", None)):
        slate = [{"offer_id": "f1", "code": code}]
        ledger.record_decisions([Decision(name, unit, "treated", NOON, "b1", slate, "c", run_on=day)])

    table = codes_table(ledger, "c", day)

    assert table["code"].to_pylist() == [codes[1], codes[0]]
    assert table.select(
        ["customer_id", "incentive", "value", "gift", "product_id", "min_order"]
    ).to_pylist() == [
        {
            "customer_id": "ann",
            "incentive": "gift",
            "value": None,
            "gift": "cup",
            "product_id": None,
            "min_order": "0.00",
        },
        {
            "customer_id": "bob",
            "incentive": "percent",
            "value": "10",
            "gift": None,
            "product_id": "tea",
            "min_order": "10.50",
        },
    ]
    assert table["valid_until"].to_pylist() == ["2026-03-24T12:00:00Z"] * 2
    with pytest.raises(
        CampaignError, match=r"did not run on 2026-03-11, so it has no codes. Run `nextoffer export c"
    ):
        codes_table(ledger, "c", day + DAY)


def test_a_run_without_codes_is_an_empty_file(ledger: Ledger) -> None:
    day = date(2026, 3, 10)
    ledger.record_decisions([Decision("d1", "ann", "treated", NOON, "b1", [{"code": None}], "c", run_on=day)])

    assert codes_table(ledger, "c", day).num_rows == 0
    assert "code" in codes_table(ledger, "c", day).column_names


def test_an_order_that_names_no_currency_is_taken_as_the_codes(ledger: Ledger) -> None:
    (code,) = ledger.codes.issue([grant()])

    assert ledger.codes.validate(Ask(code, "ann", Basket(None, 1000)), NOON).discount == 100
