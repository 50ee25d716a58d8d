"""What the columns of an orders file look like, and which canonical column each could be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nextoffer.domain.tables import ORDERS, Column
from nextoffer.sources import cells
from nextoffer.sources.checks import literal
from nextoffer.sources.files import Origin, name_of
from nextoffer.sources.synonyms import COUNTRIES, NOT_GOODS, ORDER_COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOOKED_AT = 20_000  # rows whose values are judged, in blocks over the whole file; codes are taken from all
_BLOCK = 50  # rows of one order stay together
_ENOUGH = 0.9  # of the filled cells must fit the column's type


@dataclass(frozen=True, slots=True)
class Look:
    """What the values of one source column look like; shares are of its filled cells."""

    name: str
    sample: str
    filled: float
    distinct: float
    moments: float
    numbers: float
    whole: float
    usual: float


def plain(name: str) -> str:
    """A column's name without case, spaces and signs."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def make_rows(con: DuckDBPyConnection, origin: Origin) -> dict[str, str]:
    """Tables `all_rows` and `rows` (the first of them) of text cells c0, c1, …; {source column: cell}."""
    staged = origin.stage(list(origin.columns))
    names = {column: f"c{place}" for place, column in enumerate(origin.columns)}
    listed = ", ".join(
        f"filled(CAST({name_of(column)} AS VARCHAR)) AS {name}" for column, name in names.items()
    )
    con.execute(f"CREATE VIEW all_rows AS SELECT row, {listed} FROM ({staged.sql})")
    step = max(staged.read // LOOKED_AT, 1)
    con.execute(f"CREATE TABLE rows AS SELECT * FROM all_rows WHERE row // {_BLOCK} % {step} = 0")
    return names


def decimal_of(con: DuckDBPyConnection, names: list[str], delimiter: str | None) -> str:
    """The decimal mark, judged from the columns that hold nothing but numbers."""
    tests = ", ".join(
        f"avg(CASE WHEN coalesce(comma_number({name}), dot_number({name})) IS NULL THEN 1 ELSE 0 END) "
        f"FILTER ({name} IS NOT NULL)"
        for name in names
    )
    bad = con.execute(f"SELECT {tests} FROM rows").fetchall()[0]
    numeric = [
        name for name, share in zip(names, bad, strict=True) if share is not None and share < 1 - _ENOUGH
    ]
    return cells.decimal_mark(con, "rows", numeric, delimiter)


def look_at(con: DuckDBPyConnection, column: str, name: str, decimal: str) -> Look:
    number = f"TRY_CAST({'comma' if decimal == ',' else 'dot'}_number({name}) AS DOUBLE)"
    style, _ = cells.date_style(con, "rows", name, "moment", None)
    moment = cells.local_moment(style, name)
    zoned = f"coalesce({moment}, TRY_CAST({name} AS TIMESTAMP))" if style == "ISO" else moment
    known_years = f"year({zoned}) BETWEEN {cells.FIRST_YEAR} AND {cells.END_YEAR}"
    found = con.execute(
        f"SELECT min_by({name}, row), count({name}) / greatest(count(*), 1), "
        f"count(DISTINCT {name}) / greatest(count({name}), 1), "
        f"count(*) FILTER ({known_years}) / greatest(count({name}), 1), "
        f"count({number}) / greatest(count({name}), 1), "
        f"count(*) FILTER ({number} = round({number})) / greatest(count({name}), 1), "
        f"coalesce(median(abs({number})), 0) FROM rows"
    ).fetchall()[0]
    return Look(column, str(found[0] or ""), *(float(share) for share in found[1:]))


def _fits(column: Column, look: Look) -> bool:
    """Whether the values could be those of the column."""
    if column.type == "moment":
        return look.moments >= _ENOUGH
    if column.type in cells.NUMBERS:
        return look.numbers >= _ENOUGH and (
            column.type == "price" or look.moments < _ENOUGH or look.usual < 1e6
        )
    if column.name in ("order_id", "product_id"):
        return look.filled >= _ENOUGH
    return True


def assign(
    con: DuckDBPyConnection, looks: list[Look], names: Mapping[str, str]
) -> dict[str, tuple[Look, float]]:
    """One source column for each canonical one: by name where the values agree, else by values alone."""
    ranked = []
    for canonical, known in ORDER_COLUMNS.items():
        column = ORDERS.column(canonical) or Column(canonical, "text", "")
        for look in looks:
            word = plain(look.name)
            place = known.index(word) if word in known else None
            if word == plain(canonical):
                ranked.append((1.0, canonical, look))
            elif place is not None and _fits(column, look):
                ranked.append((round(0.95 - 0.4 * place / len(known), 2), canonical, look))
    chosen: dict[str, tuple[Look, float]] = {}
    for confidence, canonical, look in sorted(ranked, key=lambda item: (-item[0], item[1], item[2].name)):
        if canonical not in chosen and all(look is not taken for taken, _ in chosen.values()):
            chosen[canonical] = (look, confidence)
    if "product_id" not in chosen and "title" in chosen:
        chosen["product_id"] = (chosen["title"][0], 0.4)  # a shop without codes: the name is the product
    _guess(con, looks, names, chosen)
    return {name: chosen[name] for name in ORDER_COLUMNS if name in chosen}


def _guess(
    con: DuckDBPyConnection,
    looks: list[Look],
    names: Mapping[str, str],
    chosen: dict[str, tuple[Look, float]],
) -> None:
    """Required columns whose name says nothing, from what their values look like."""

    def take(canonical: str, found: list[Look]) -> None:
        free = [look for look in found if all(look is not taken for taken, _ in chosen.values())]
        if canonical not in chosen and free:
            chosen[canonical] = (free[0], 0.3)

    take("ordered_at", [look for look in looks if look.moments >= 0.95 and look.filled >= 0.95])
    numbers = [look for look in looks if look.numbers >= 0.95 and look.filled >= 0.95 and look.moments < 0.5]
    take("unit_price", [look for look in numbers if look.whole < 0.9])
    take("quantity", sorted((look for look in numbers if look.whole > 0.99 and look.usual <= 20),
                            key=lambda look: look.distinct))  # fmt: skip
    if "order_id" not in chosen and "ordered_at" in chosen:
        moment = names[chosen["ordered_at"][0].name]
        free = [
            look
            for look in looks
            if look.filled >= 0.99 and 0.01 < look.distinct < 0.9 and look.moments < 0.5
        ]
        take("order_id", [look for look in free if _one_moment_each(con, names[look.name], moment)])


def _one_moment_each(con: DuckDBPyConnection, name: str, moment: str) -> bool:
    """Order numbers repeat within one moment: (nearly) each value goes with one."""
    moments = f"SELECT count(DISTINCT {moment}) AS n FROM rows GROUP BY {name}"
    query = f"SELECT avg(CASE WHEN n = 1 THEN 1 ELSE 0 END) FROM ({moments})"
    return float(con.execute(query).fetchall()[0][0] or 0) > 0.95


def date_note(
    con: DuckDBPyConnection, chosen: Mapping[str, tuple[Look, float]], names: Mapping[str, str]
) -> tuple[str, ...]:
    """A note where day and month cannot be told apart."""
    if "ordered_at" not in chosen:
        return ()
    style, rival = cells.date_style(con, "all_rows", names[chosen["ordered_at"][0].name], "moment", None)
    if rival is None:
        return ()
    return (
        f"ordered_at reads as {style} and as {rival}; {style} was taken, set date_format if that is wrong",
    )


def place_of(con: DuckDBPyConnection, names: Mapping[str, str]) -> tuple[str, str]:
    """Currency and time zone to begin with: the file's own, else its usual country's, else its script's."""
    by_word = {plain(column): name for column, name in names.items()}

    def usual(*words: str) -> str:
        name = next((by_word[word] for word in words if word in by_word), None)
        found = con.execute(f"SELECT mode({name}) FROM rows").fetchall() if name else [(None,)]
        return str(found[0][0] or "")

    country = usual("country", "shippingcountry", "billingcountry", "страна").casefold()
    currency, zone = COUNTRIES.get(country, ("EUR", "UTC"))
    if country not in COUNTRIES and any("а" <= letter <= "я" for word in by_word for letter in word):
        currency, zone = "RUB", "Europe/Moscow"
    own = usual("currency", "currencycode", "валюта").upper()
    return (own if len(own) == 3 and own.isascii() and own.isalpha() else currency), zone


def not_goods(
    con: DuckDBPyConnection, chosen: Mapping[str, tuple[Look, float]], names: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Postage, fees and corrections among the product codes, each with its title.

    A code without any digit where almost all have one is suspect if it is short or its title or the code
    itself names no goods; a code with digits only if its whole title says so.
    """
    if "product_id" not in chosen:
        return ()
    code = names[chosen["product_id"][0].name]
    title = names[chosen["title"][0].name] if "title" in chosen else code
    words = "|".join(NOT_GOODS)
    somewhere = literal(f"(^|[^\\p{{L}}])({words})($|[^\\p{{L}}])")
    inside = literal("(fee|fees|charges|postage|shipping|delivery|доставка)$")
    query = f"""
      WITH codes AS (SELECT {code} AS code, coalesce(mode({title}), '') AS title FROM all_rows
                     WHERE {code} IS NOT NULL GROUP BY 1),
      marked AS (SELECT *, regexp_matches(code, '[0-9]') AS digit FROM codes),
      shape AS (SELECT avg(CASE WHEN digit THEN 1 ELSE 0 END) AS share FROM marked)
      SELECT code, title FROM marked, shape
      WHERE regexp_full_match(lower(trim(title)), {literal(words)})
         OR (share > 0.95 AND NOT digit AND (length(code) <= 4
             OR regexp_matches(lower(title), {somewhere}) OR regexp_matches(lower(code), {inside})))
      ORDER BY code"""
    found: dict[str, tuple[str, str]] = {}
    for code_, title_ in con.execute(query).fetchall():
        found.setdefault(code_.casefold(), (code_, title_))
    return tuple(found.values())
