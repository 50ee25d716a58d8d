"""What a row must satisfy, one SQL condition per rule: the first that holds gives the row its verdict.

In every condition `raw_<column>` is the cell as the shop wrote it and `<column>` what was read from it. An
*exclusion* leaves out rows that are right but not wanted (postage, cancelled orders); a *rule* rejects rows
that are wrong. Exclusions are asked first: what is left out anyway cannot be at fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from nextoffer.domain.events import ALIASES, EVENT_TYPES
from nextoffer.domain.tables import EVENTS, Column, Table
from nextoffer.errors import ConfigError
from nextoffer.sources.cells import END_YEAR, FIRST_YEAR
from nextoffer.texts import Said, said

ABSURD = 1e9  # a price or quantity from here on is a slip of the keyboard
ABSURD_AMOUNT = 1e12  # of one line; minor units of a whole history then still fit 64 bits
CANCELLED = (
    "cancelled", "canceled", "voided", "void", "failed", "refunded", "expired",
    "отменен", "отменён", "отменено", "отменена", "отмена", "аннулирован", "аннулировано", "возврат",
    "wc-cancelled", "wc-failed", "wc-refunded",
)  # fmt: skip
MALFORMED = "malformed-line"
SUPERSEDED = "superseded"
_WORDS = {
    "quantity": said("a number, such as 6 or 0.75"),
    "price": said("an amount, such as 12.50"),
    "money": said("an amount, such as 12.50"),
    "moment": said("a date or a moment, such as 2026-03-31 14:05"),
    "date": said("a date, such as 1990-03-31"),
    "integer": said("a whole number, such as 120"),
    "number": said("a number, such as 12.5"),
    "flag": said("yes or no (true, false, 1, 0)"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason to leave a row out: its code, the column at fault, when it holds, what to do about it."""

    code: str
    column: str
    condition: str
    advice: Said
    rejects: bool = True


def rules_of(
    table: Table, mapped: frozenset[str], exclude_products: tuple[str, ...], newest: date | None = None
) -> tuple[Rule, ...]:
    """All rules of a table, in the order they are asked, for the columns that are mapped.

    `newest` is the day of the shop's newest order, where it is known: the present, as far as its data tell.
    """
    columns = [column for column in table.columns if column.name in mapped]
    return (
        *_exclusions(table, mapped, exclude_products),
        *(_missing(column) for column in columns if column.required),
        *_absurd(table, mapped),
        *(_unparsable(column) for column in columns if column.type in _WORDS),
        *_values(table, mapped),
        *_births(table, mapped, newest),
    )


def expected(column: Column) -> Said:
    """What a cell of this column should hold, in words."""
    return _WORDS.get(column.type) or said("filled in")


def verdict(rules: tuple[Rule, ...]) -> str:
    """SQL for the position of the first rule that holds, NULL for a good row."""
    cases = " ".join(f"WHEN {rule.condition} THEN {place}" for place, rule in enumerate(rules))
    return f"CASE {cases} END"


def excluded_product(patterns: tuple[str, ...], column: str) -> str:
    """SQL for "the id is one of these": ids and shell patterns, upper and lower case alike, or /regex/.

    Raises
    ------
    ConfigError : a /regex/ that is none.
    """
    tests, ids = [], []
    for pattern in patterns:
        if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
            _refuse_bad_regex(pattern[1:-1])
            tests.append(f"regexp_matches({column}, {literal(pattern[1:-1])}, 'i')")
        elif re.search(r"[*?\[]", pattern):
            tests.append(f"lower({column}) GLOB {literal(pattern.lower())}")
        else:
            ids.append(literal(pattern.strip().lower()))
    if ids:
        tests.insert(0, f"lower({column}) IN ({', '.join(ids)})")
    return f"({' OR '.join(tests)})"


def literal(text: str) -> str:
    """A text inside SQL."""
    return "'" + text.replace("'", "''") + "'"


def _refuse_bad_regex(pattern: str) -> None:
    import duckdb

    try:
        with duckdb.connect() as con:
            con.execute("SELECT regexp_matches('', ?)", [pattern]).fetchall()
    except duckdb.Error as error:
        raise ConfigError(
            "nextoffer.toml", [f"exclude_products: /{pattern}/ is no pattern: {error}"]
        ) from None


def _exclusions(table: Table, mapped: frozenset[str], exclude_products: tuple[str, ...]) -> list[Rule]:
    rules = []
    if "product_id" in mapped and exclude_products and table.name != "surveys":
        condition = excluded_product(exclude_products, "product_id")
        rules.append(
            Rule(
                "excluded-product", "product_id", condition, said("named by exclude_products"), rejects=False
            )
        )
    if table.name == "orders" and "status" in mapped:
        words = ", ".join(literal(word) for word in CANCELLED)
        condition = f"lower(status) IN ({words})"
        rules.append(
            Rule("cancelled-order", "status", condition, said("its status says it did not happen"), False)
        )
    if table.name == "interactions":
        words = ", ".join(literal(word) for word in (*EVENT_TYPES, *ALIASES) if event_of(word) not in EVENTS)
        rules.append(
            Rule("other-event", "event", f"event IN ({words})", said("not a view or a cart event"), False)
        )
    return rules


def event_of(word: str) -> str:
    """The canonical event a word stands for (GA4 names included), else the word."""
    return ALIASES.get(word, word)


def _missing(column: Column) -> Rule:
    condition = f"raw_{column.name} IS NULL"
    return Rule(f"missing-{column.name}", column.name, condition, said("fill the cell in at the source"))


def _unparsable(column: Column) -> Rule:
    condition = f"(raw_{column.name} IS NOT NULL AND {column.name} IS NULL)"
    return Rule(
        f"unparsable-{column.name}",
        column.name,
        condition,
        said("it must be {expected}", expected=expected(column)),
    )


def _absurd(table: Table, mapped: frozenset[str]) -> list[Rule]:
    """Numbers too large to be meant, and moments before shops kept them."""
    rules = []
    for column in table.columns:
        if column.name not in mapped:
            continue
        if column.type in ("price", "quantity", "money"):
            condition = f"abs(size_{column.name}) >= {ABSURD:.0f}"
            rules.append(Rule(f"absurd-{column.name}", column.name, condition, said("too large to be meant")))
        if column.type == "moment":
            years = f"NOT (year({column.name}) BETWEEN {FIRST_YEAR} AND {END_YEAR - 1})"
            advice = said(
                "a year between {first} and {last} is expected; check date_format",
                first=str(FIRST_YEAR),
                last=str(END_YEAR),
            )
            rules.append(Rule(f"absurd-{column.name}", column.name, years, advice))
    return rules


def _values(table: Table, mapped: frozenset[str]) -> list[Rule]:
    """What the values themselves must satisfy."""
    not_positive = said("gifts and adjustments say nothing about what customers pay for")
    known = ", ".join(literal(word) for word in EVENTS)
    cost = Rule(
        "negative-cost", "unit_cost", "unit_cost < 0", said("a cost is 0 or more; leave it empty if unknown")
    )
    line = f"abs(CAST(quantity AS DOUBLE) * CAST(unit_price AS DOUBLE)) >= {ABSURD_AMOUNT:.0f}"
    rules: dict[str, list[Rule]] = {
        "orders": [
            Rule("zero-quantity", "quantity", "quantity = 0", said("nothing was bought or returned")),
            Rule("price-not-positive", "unit_price", "unit_price <= 0", not_positive),
            Rule("absurd-amount", "unit_price", line, said("quantity times price is too large to be meant")),
            cost,
        ],
        "products": [
            Rule("price-not-positive", "price", "price <= 0", said("a product needs a price to be offered")),
            cost,
        ],
        "interactions": [
            Rule(
                "unknown-event",
                "event",
                f"event NOT IN ({known})",
                said("it must be one of {words}", words=", ".join(EVENTS)),
            ),
            Rule(
                "missing-visitor", "visitor_id", _nobody(mapped), said("customer_id or visitor_id is needed")
            ),
        ],
        "subscriptions": [
            Rule(
                "ends-before-start",
                "ends_at",
                "ends_at < started_at",
                said("the last day comes after the first"),
            ),
        ],
        "surveys": [
            Rule(
                "unknown-kind",
                "kind",
                "lower(kind) NOT IN ('nps', 'csi', 'review')",
                said("nps, csi or review"),
            ),
        ],
    }
    return [
        rule for rule in rules.get(table.name, []) if rule.column in mapped or rule.code == "missing-visitor"
    ]


def _births(table: Table, mapped: frozenset[str], newest: date | None) -> list[Rule]:
    """Nobody is born after the shop's newest order: a year mistyped, or day, month and year in another order."""
    if table.name != "customers" or "birth_date" not in mapped or newest is None:
        return []
    advice = said("it is after the newest order ({day}); check the year, and date_format", day=str(newest))
    return [Rule("birthday-in-future", "birth_date", f"birth_date > DATE '{newest}'", advice)]


def _nobody(mapped: frozenset[str]) -> str:
    tests = [f"{name} IS NULL" for name in ("customer_id", "visitor_id") if name in mapped]
    return f"({' AND '.join(tests)})" if tests else "TRUE"
