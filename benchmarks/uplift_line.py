"""Writes the uplift line of README.md and README.ru.md: offers made to a made-up shop, measured against its truth.

    python benchmarks/uplift_line.py

The shop lives through four weeks twice with the same luck: once with nextoffer's three best offers a week to
every customer outside the holdout, once without any. The difference is the truth; `measure` sees only the
first life.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextoffer.config import Settings, parse_settings
from nextoffer.measurement.experiment import Effect
from nextoffer.measurement.report import measure
from nextoffer.pipeline import OpenShop, open_shop, recommend_all, train
from nextoffer.simulation.effect import planted
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop
from nextoffer.sources.load import load_history
from nextoffer.tracking.ledger import open_ledger

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- uplift: made by `python benchmarks/uplift_line.py` -->", "<!-- /uplift -->"
WEEKS, HOLDOUT = 4, 0.3
LINE = {
    "README.md": (
        "> In a made-up shop whose truth is known, {treated:,} customers got three offers a week for four weeks\n"
        "> and {holdout:,} got none. nextoffer measured **{difference:+.2f} EUR of revenue per customer** (95 %\n"
        "> interval {low:+.2f} to {high:+.2f}); what the offers truly caused was {truth:+.2f}.",
        " The interval includes 0,\n> so `measure` says *not shown*: it takes more customers to prove this.",
    ),
    "README.ru.md": (
        "> В вымышленном магазине, где правда известна, {treated} покупателей четыре недели получали по три\n"
        "> предложения, а {holdout} — ни одного. nextoffer измерил **{difference:+.2f} EUR выручки на покупателя**\n"
        "> (95-процентный интервал от {low:+.2f} до {high:+.2f}); на самом деле они принесли {truth:+.2f}.",
        " Интервал включает 0,\n> поэтому `measure` пишет *not shown*: для доказательства нужно больше покупателей.",
    ),
}


def main() -> None:
    """Live, measure, and put the line between the markers of both files."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        shop = Shop(ShopSettings(customers=15_000, products=1_000, weeks=60))
        shop.write_history(folder)
        start, end = shop.end, shop.end + timedelta(weeks=WEEKS)
        settings = _settings(folder)
        train(settings, start)
        effect, truth = _live_and_measure(shop, settings, folder, start, end)
    figures = {
        "treated": effect.treated.n,
        "holdout": effect.holdout.n,
        "difference": effect.difference,
        "low": effect.low,
        "high": effect.high,
        "truth": truth / effect.treated.n,
    }
    unproven = effect.low <= 0 <= effect.high
    for file, (line, caution) in LINE.items():
        line = line.format(**figures) + (caution if unproven else "")
        text = (ROOT / file).read_text(encoding="utf-8")
        before, _, rest = text.partition(START)
        (ROOT / file).write_text(f"{before}{START}\n{line}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
        print(line)


def _live_and_measure(
    shop: Shop, settings: Settings, folder: Path, start: datetime, end: datetime
) -> tuple[Effect, float]:
    ledger = open_ledger(settings.store)
    opened = open_shop(settings)
    ids = opened.bundle.customer_ids.ids.to_arrow().to_pylist()
    held_out = ledger.assign(settings.experiment, ids, start)
    offers = _offers(opened, folder, [id for id, held in zip(ids, held_out, strict=True) if not held])
    twin = shop.fork()
    lived = [shop.step(shop.week, offers) for _ in range(WEEKS)]
    bare = [twin.step(twin.week) for _ in range(WEEKS)]
    for week, step in enumerate(lived):
        pq.write_table(step.orders, folder / "orders" / f"week-{week}.parquet")
    history = load_history(settings, folder / "history")
    result = measure(
        orders=pq.read_table(history.folder / "orders.parquet"),
        live_orders=ledger.orders(),
        assignments=ledger.assignments(settings.experiment),
        decisions=ledger.decisions(),
        events=ledger.events(),
        customers=None,
        experiment=settings.experiment,
        currency=settings.currency,
        start=start,
        end=end,
        margin_share=settings.margin.default_share,
    )
    ledger.close()
    return dict(result.effects)["revenue"], pc.sum(planted(lived, bare)["revenue_caused"]).as_py()


def _offers(opened: OpenShop, folder: Path, treated: list[str]) -> pa.Table:
    """The three best offers of every treated customer, as the shop's simulation wants them."""
    file = folder / "offers.parquet"
    recommend_all(opened, file, 3, None, "expected_profit")
    table = pq.read_table(file)
    table = table.filter(pc.is_in(table["customer_id"], pa.array(treated)))
    percent = pc.replace_substring(pc.replace_substring(table["incentive"], "percent ", ""), "none", "0")
    return pa.table(
        {
            "customer_id": table["customer_id"],
            "kind": table["kind"],
            "product_id": table["product_id"],
            "level": pc.divide(percent.cast(pa.float64()), 100.0),
        }
    )


def _settings(folder: Path) -> Settings:
    document = {
        "currency": "EUR",
        "experiment": {"holdout_share": HOLDOUT},
        "history": {"orders": {"path": "orders/*.parquet"}, "products": {"path": "products.parquet"}},
    }
    return parse_settings(document, "the made-up shop", folder)


if __name__ == "__main__":
    main()
