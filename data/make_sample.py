"""Makes data/sample: a year of a small made-up shop, as three CSV files such as a shop system exports.

    .venv/bin/python data/make_sample.py

The same version writes the same bytes. Nobody in it exists; all addresses end in example.com.
"""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop

HERE = Path(__file__).parent
SHOP = ShopSettings(customers=450, products=120, weeks=60, rate=0.12, basket_median=2.0)
# Named as shops name them, so that `nextoffer init` has something to recognise.
ORDERS = {
    "order_id": "Order number",
    "ordered_at": "Order date",
    "customer_id": "Customer",
    "product_id": "SKU",
    "quantity": "Qty",
    "unit_price": "Price",
}
PRODUCTS = "product_id title category brand price unit_cost url image_url repeatable shelf_life_days".split()
CUSTOMERS = "customer_id email first_name locale consent_email".split()


def main(folder: Path = HERE / "sample") -> None:
    """Write orders.csv, products.csv and customers.csv into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as made:
        paths = Shop(SHOP, world_seed=7, luck_seed=7).write_history(Path(made))
        orders = pq.read_table(paths.orders).sort_by([("ordered_at", "ascending"), ("order_id", "ascending")])
        moments = pc.strftime(orders["ordered_at"], format="%Y-%m-%d %H:%M")
        orders = orders.set_column(orders.column_names.index("ordered_at"), "ordered_at", moments)
        tables = {
            "orders": orders.select(list(ORDERS)).rename_columns(list(ORDERS.values())),
            "products": pq.read_table(paths.products).select(PRODUCTS),
            "customers": pq.read_table(paths.customers).select(CUSTOMERS),
        }
    for name, table in tables.items():
        _write(table, folder / f"{name}.csv")


def _write(table: pa.Table, path: Path) -> None:
    """As a shop would export it: plain numbers, nothing for a missing value."""
    columns = [table[name].cast(pa.string()).to_pylist() for name in table.column_names]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(zip(*columns, strict=True))


if __name__ == "__main__":
    main()
