"""The contract of plug-ins, for their authors' tests: one call each, an AssertionError with one sentence on failure.

```python
from nextoffer.testing import check_channel, check_offer_kind, check_source


def test_my_kind() -> None:
    check_offer_kind(my_shop.gift_cards.candidates)
```

nextoffer's own kinds, sources and channels pass the same checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.channels.contract import fault_of as fault_of_channel
from nextoffer.config import Campaign, History, Settings, Source
from nextoffer.domain.offers import Candidates, Offer, Reason, Slate
from nextoffer.errors import NextOfferError
from nextoffer.features.diary import Diary
from nextoffer.offers.batch import Batch, KindFunction, KindSettings, make_batch
from nextoffer.offers.contract import fault_of

if TYPE_CHECKING:
    from nextoffer.channels.channel import Channel
    from nextoffer.sources.opening import Opener

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def check_offer_kind(kind: KindFunction, bundle: Bundle | None = None) -> Candidates:
    """Run a kind over every customer of a small made-up shop, or of `bundle`; returns its candidates.

    It must return well-formed candidates, each product of a kind once for a customer; be pure; change nothing it
    is given; give the same for any split of customers into batches; and bear customers and shops of which little
    is known.

    Raises
    ------
    AssertionError : it does not
    """
    bundle = bundle or small_bundle()
    n, when = len(bundle.customer_ids.ids), KindSettings(bundle.as_of.date())

    def run(rows: Sequence[int] | np.ndarray, shop: Bundle) -> Candidates:
        batch = _frozen(make_batch(shop, np.asarray(rows, dtype=np.int64)))
        try:
            found = kind(batch, shop, when)
        except Exception as error:
            raise AssertionError(f"it raised {type(error).__name__}: {error}") from error
        fault = fault_of(found, len(batch.rows), len(shop.catalogue))
        _refuse_if(fault, f"{fault}")
        return found.take(np.lexsort((found.product, found.kind, found.customer)))

    whole = run(range(n), bundle)
    key = np.stack([whole.customer, whole.kind, whole.product], axis=1)
    _refuse_if(
        len(np.unique(key, axis=0)) < len(key), "it offers a customer the same product twice under one kind"
    )
    _refuse_if(not _same(whole, run(range(n), bundle)), "it gives other candidates when asked again")
    for size in (1, 7):
        rows = np.arange(min(n, 5 * size))
        parts = [_moved(run(rows[at : at + size], bundle), at) for at in range(0, len(rows), size)]
        alone, together = Candidates.concat(parts), whole.take(whole.customer < len(rows))
        _refuse_if(
            not _same(alone, together), f"batches of {size} give other candidates than one batch of all"
        )
    _refuse_if(len(run([], bundle)) > 0, "it makes candidates for nobody")
    run(range(n), replace(bundle, diary=Diary()))
    return whole


def check_source(
    open_source: Opener, source: Source, table: str = "orders", settings: Settings | None = None
) -> None:
    """Open a source twice and read it through the shop's own checks, as `nextoffer check` does.

    Parameters
    ----------
    source : a `[history.…]` section that stands for some rows; `table` is the canonical table they are of

    Raises
    ------
    AssertionError : its columns, rows or row numbers are not in order, or its rows are all refused
    """
    from nextoffer.sources.load import load_table

    with TemporaryDirectory() as folder:
        first, again = (_staged(open_source, source, Path(folder) / turn) for turn in ("first", "again"))
        _refuse_if(first != again, "it gives other rows when opened again")
        _, rows = first
        _refuse_if(not rows, "it has no row")
        numbers = [row[0] for row in rows]
        _refuse_if(
            len(set(numbers)) < len(rows) or min(numbers) < 1, "its column `row` does not number its rows"
        )
        orders = source if table == "orders" else Source(path="-")
        history = History(**{"orders": orders, table: source})
        usual = Settings(currency="EUR", history=history, max_reject_share=1.0)
        shop = usual if settings is None else settings.model_copy(update={"history": history})
        try:
            report = load_table(shop, table, Path(folder) / "out", open_source)
        except NextOfferError as error:
            raise AssertionError(f"its rows cannot be read as {table}: {error}") from error
        counted = report.accepted + report.rejected + report.excluded
        _refuse_if(report.read != counted, f"{report.read} rows were read, {counted} accounted for")
        _refuse_if(
            report.accepted == 0, f"all its {report.read} rows are refused: {dict(report.rejected_by_rule)}"
        )


def check_channel(channel: Channel, address: dict[str, str]) -> None:
    """Write messages through a channel; nobody may appear in its file but those it was given this time.

    The pipeline hands a channel nobody of the holdout and nobody who lacks its consent or address; this proves
    that the channel names a real consent, refuses what is no address, and remembers nobody from another run.

    Parameters
    ----------
    address : a valid text for each of the channel's address columns; `{n}` in it stands for a number, so that
        customers differ

    Raises
    ------
    AssertionError : it does not keep to the contract
    """
    fault = fault_of_channel(channel)
    _refuse_if(fault, f"{fault}")
    _check_addresses(channel, address)
    messages = [_message(number, address) for number in range(5)]
    for format_ in channel.formats:
        campaign = Campaign(channel=channel.name, format=format_)
        with TemporaryDirectory() as folder:

            def written(some: Sequence[Any], name: str, to: str = folder, run: Campaign = campaign) -> bytes:
                path = Path(to) / name
                left_out = channel.write(path, some, run)
                _refuse_if(sum(left_out.values()) > len(some), "it leaves out more messages than it got")
                _refuse_if(not path.is_file(), "it wrote no file")
                mode = S_IMODE(path.stat().st_mode)
                _refuse_if(mode & 0o077, f"others can read its file (mode {mode:o}); addresses are personal")
                return path.read_bytes()

            every = written(messages, "every")
            _refuse_if(
                every != written(messages[::-1], "turned"), "the order of the messages changes its file"
            )
            some = written(messages[:2], "every")  # the same path: a run that is repeated
            _refuse_if(some != written(messages[:2], "other"), "what it wrote before changes its file")
            for gone in messages[2:]:
                traces = [gone.customer_id, gone.decision_id, *gone.address.values()]
                seen = next((trace for trace in traces if trace.encode() in some), None)
                _refuse_if(seen, f"its file names {seen!r}, who got no message this time")
            nobody = written([], "nobody")
            _refuse_if(
                any(m.customer_id.encode() in nobody for m in messages),
                "it writes to somebody without a message",
            )


def _check_addresses(channel: Channel, address: dict[str, str]) -> None:
    import pyarrow as pa

    _refuse_if(
        set(address) - set(channel.address), f"address columns are {channel.address}, not {tuple(address)}"
    )
    for column, text in address.items():
        texts = [text.replace("{n}", "1000"), "", " ", "x\ny", "\x00"]
        good = channel.valid(column, pa.array(texts, pa.string()))
        _refuse_if(np.shape(good) != (len(texts),), "its valid does not say one thing of each text")
        _refuse_if(not good[0], f"its valid refuses {texts[0]!r}")
        for at in range(1, len(texts)):
            _refuse_if(good[at], f"its valid takes {texts[at]!r} for an address ({column})")


@cache
def small_bundle() -> Bundle:
    """A made-up shop of 120 customers and 60 products after a year, learned from as the nightly job does."""
    from datetime import timedelta

    from nextoffer.bundle.bundle import CustomerIds, StoredCandidates
    from nextoffer.engines.duckdb import DuckDBEngine
    from nextoffer.features.catalogue import read_catalogue
    from nextoffer.features.diary import read_diary
    from nextoffer.models.recipe import Kitchen, Past, learn_all
    from nextoffer.models.taught import fit_taught
    from nextoffer.sources.load import load_history

    with TemporaryDirectory() as name:
        folder = Path(name)
        settings, as_of = _made_up(folder)
        history = load_history(settings, folder / "history")
        with DuckDBEngine(settings.engine, folder) as engine:
            engine.tables(history.folder)
            catalogue = read_catalogue(engine, settings.currency, settings.margin.default_share)
            kitchen = Kitchen(engine, history.folder, folder, catalogue, 28, 0)
            past = Past(kitchen, history.first_order_at, stride=1, n_cuts=1)
            lesson = past.cut(as_of - timedelta(days=28)).lesson
            learned = learn_all(kitchen, as_of, None)
            ids = learned.customer_ids
            diary = read_diary(engine, folder / "diary", ids, catalogue.ids, as_of, "UTC", 28)
        taught = fit_taught([lesson], as_of, 28, 0)
    no_rows: Any = np.zeros(0, np.int64)
    none = StoredCandidates(np.zeros(len(ids) + 1, np.int64), *[no_rows] * 5)
    parts = CustomerIds(ids), catalogue, learned.knowledge, taught, none
    return Bundle.make("small", as_of, *parts, diary=diary)


def _made_up(folder: Path) -> tuple[Settings, datetime]:
    from nextoffer.config import parse_settings
    from nextoffer.simulation.settings import ShopSettings
    from nextoffer.simulation.shop import Shop

    made = ShopSettings(
        customers=120, products=60, weeks=52, rate=0.16, interactions=True, subscriptions=True
    )
    shop = Shop(made)
    shop.write_history(folder)
    names = ("products", "customers", "interactions", "subscriptions")
    tables = {name: {"path": f"{name}.parquet"} for name in names}
    document = {"currency": "EUR", "history": {"orders": {"path": "orders/*.parquet"}, **tables}}
    return parse_settings(document, "nextoffer.toml", folder), shop.end


def _message(number: int, address: dict[str, str]) -> Any:
    from nextoffer.channels.channel import Message

    customer = f"customer-{number}-of-the-check"
    offer = Offer(
        offer_id=f"offer-{number}",
        kind="for_you",
        product_id="P1",
        title="Tea",
        url="https://shop.example/p/1",
        image_url=None,
        list_price="2.55",
        final_price="2.30",
        incentive={"type": "percent", "value": "10"},
        incentive_text="10% off",
        code=f"CODE{number}",
        valid_until=datetime(2026, 12, 6, 23, 59, 59, tzinfo=UTC),
        p_buy=0.1,
        expected_profit=0.4,
        reason=Reason("popular-now", "Popular in the shop now."),
    )
    return Message(
        address={column: text.replace("{n}", str(1000 + number)) for column, text in address.items()},
        first_name="Ann",
        locale="en",
        customer_id=customer,
        decision_id=f"decision-{number}-of-the-check",
        segment="loyal",
        slate=Slate(customer, "bundle", "EUR", "loyal", None, (offer,)),
        at=AT,
    )


def _staged(
    open_source: Opener, source: Source, scratch: Path
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Columns and rows of a source, as its SQL gives them."""
    import duckdb

    from nextoffer.sources.files import Origin

    scratch.mkdir()
    try:
        origin = open_source(source, scratch)
        _refuse_if(not isinstance(origin, Origin), f"it returned {type(origin).__name__}, not an Origin")
        names = origin.columns
        _refuse_if(
            not names or len(set(names)) < len(names), f"its columns {names} are not each of another name"
        )
        staged = origin.stage(list(names))
        rows = duckdb.sql(f"SELECT * FROM ({staged.sql}) ORDER BY row").fetchall()
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"it raised {type(error).__name__}: {error}") from error
    counted = len(rows) + len(staged.malformed)
    _refuse_if(staged.read != counted, f"it says it has {staged.read} rows, and has {counted}")
    return names, rows


def _frozen(batch: Batch) -> Batch:
    """The batch with arrays that cannot be changed."""
    arrays = [batch.rows, *(getattr(batch.scored, part.name) for part in fields(batch.scored))]
    for one in arrays:
        for array in one.values() if isinstance(one, dict) else [one]:
            array.setflags(write=False)
    return batch


def _moved(found: Candidates, start: int) -> Candidates:
    return replace(found, customer=found.customer + np.int32(start))


def _same(one: Candidates, other: Candidates) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Candidates.__slots__)


def _refuse_if(wrong: object, sentence: str) -> None:
    if wrong:
        raise AssertionError(sentence)


__all__ = ["check_channel", "check_offer_kind", "check_source", "small_bundle"]
