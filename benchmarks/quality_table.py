"""Writes the table of measured quality into README.md and README.ru.md, from backtests.

    nextoffer backtest --as-of 2011-11-11 --cuts 1 --json > online-retail.json         # in the shop's folder
    python benchmarks/quality_table.py --synthetic "Online Retail=online-retail.json"

`--synthetic` adds a made-up shop of 5,000 customers, judged on the last 28 days of its two years. Online Retail
is the order file of a British gift shop (UCI Machine Learning Repository, data set 352).
"""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nextoffer.config import parse_settings
from nextoffer.pipeline import run_backtest
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- quality: made by `python benchmarks/quality_table.py` -->", "<!-- /quality -->"

Backtest = dict[str, Any]

# (task, measure): the measures worth a line in the README.
LINES = (
    ("next_purchase", "recall@10"),
    ("next_purchase", "ndcg@10"),
    ("explore", "recall@10"),
    ("explore", "ndcg@10"),
    ("up_sell", "ndcg@5"),
    ("replenishment", "pr_auc"),
    ("lapse", "roc_auc"),
)
WORDS = {
    "en": {
        "head": "| {title} | measure | nextoffer | peers, best first |",
        "buyers": "{title}, from {day}: {buyers:,} of {customers:,} customers bought",
        "next_purchase": "what a customer buys next",
        "explore": "what they buy for the first time",
        "up_sell": "which dearer variant they take",
        "replenishment": "which product they buy again",
        "lapse": "who buys nothing",
        "popularity": "popularity",
        "popularity_28": "popularity of 28 days",
        "trending": "trending",
        "last_basket": "last basket",
        "als": "ALS",
        "item_item": "item-item",
        "personal_frequency": "personal frequency",
        "poisson_gamma": "Poisson-Gamma",
        "mean_gap": "mean gap",
        "recency": "recency",
    },
    "ru": {
        "head": "| {title} | мера | nextoffer | соперники, лучшие первыми |",
        "buyers": "{title}, с {day}: купили {buyers} из {customers} покупателей",
        "next_purchase": "что покупатель купит следующим",
        "explore": "что он купит впервые",
        "up_sell": "какой вариант подороже возьмёт",
        "replenishment": "какой товар купит снова",
        "lapse": "кто не купит ничего",
        "popularity": "популярность",
        "popularity_28": "популярность за 28 дней",
        "trending": "растущий спрос",
        "last_basket": "последняя корзина",
        "als": "ALS",
        "item_item": "товар к товару",
        "personal_frequency": "личная частота",
        "poisson_gamma": "Пуассон — гамма",
        "mean_gap": "средний промежуток",
        "recency": "давность",
    },
}


def main() -> None:
    """Read or run the backtests, and put their tables between the markers of both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="*", metavar="TITLE=FILE.json")
    parser.add_argument("--synthetic", action="store_true", help="also judge a made-up shop")
    asked = parser.parse_args()
    named = {
        title: json.loads(Path(file).read_text())
        for title, _, file in (pair.partition("=") for pair in asked.results)
    }
    titles = {language: {title: title for title in named} for language in ("en", "ru")}
    if asked.synthetic:
        named["synthetic"] = judge_synthetic()
        titles["en"]["synthetic"], titles["ru"]["synthetic"] = "Synthetic shop", "Синтетический магазин"
    for language, file in (("en", "README.md"), ("ru", "README.ru.md")):
        tables = [table(titles[language][name], result, language) for name, result in named.items()]
        put_between(ROOT / file, START, END, "\n\n".join(tables))


def judge_synthetic() -> Backtest:
    """Backtest of a made-up shop, one horizon before its end."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        shop = Shop(ShopSettings(customers=5_000, products=1_000))
        shop.write_history(folder)
        history = {
            "orders": {"path": "orders/*.parquet"},
            "products": {"path": "products.parquet"},
        }
        settings = parse_settings({"currency": "EUR", "history": history}, "synthetic", folder)
        return run_backtest(settings, shop.end - timedelta(days=settings.horizon_days), n_cuts=1)


def table(title: str, result: Backtest, language: str) -> str:
    """One data set as a Markdown table; nextoffer is bold where no peer is ahead of it."""
    words = WORDS[language]
    about = words["buyers"].format(
        title=title, day=result["as_of"][:10], buyers=result["buyers"], customers=result["customers"]
    )
    rows = [words["head"].format(title=about), "| --- | --- | --- | --- |"]
    for task, measure in LINES:
        methods = {
            name: figures[measure] for name, figures in result["tasks"][task].items() if measure in figures
        }
        if "nextoffer" not in methods:
            continue
        ours = methods.pop("nextoffer")
        peers = sorted(methods.items(), key=lambda peer: (-peer[1], peer[0]))
        figure = f"**{ours:.3f}**" if all(ours >= value for _, value in peers) else f"{ours:.3f}"
        listed = " · ".join(f"{words[name]} {value:.3f}" for name, value in peers)
        rows.append(f"| {words[task]} | {measure} | {figure} | {listed} |")
    return "\n".join(rows)


def put_between(path: Path, start: str, end: str, text: str) -> None:
    """Replace what stands between two markers of a file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
