"""An older ledger becomes today's with all that was in it; a new one is the same as an upgraded one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from nextoffer.config import Experiment
from nextoffer.errors import LedgerError
from nextoffer.tracking import migrations
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.schema import SCHEMA_VERSION, metadata

# What the first release made, in its own words.
FIRST_RELEASE = """
CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY);
CREATE TABLE assignments (experiment VARCHAR NOT NULL, version INTEGER NOT NULL, unit_id VARCHAR NOT NULL,
  "group" VARCHAR NOT NULL, assigned_at BIGINT NOT NULL, PRIMARY KEY (experiment, version, unit_id));
CREATE TABLE decisions (decision_id VARCHAR NOT NULL PRIMARY KEY, unit_id VARCHAR NOT NULL,
  "group" VARCHAR NOT NULL, at BIGINT NOT NULL, campaign VARCHAR, placement VARCHAR, run_on VARCHAR,
  bundle_id VARCHAR, slate TEXT NOT NULL, propensities TEXT);
CREATE INDEX decisions_of_run ON decisions (campaign, run_on);
CREATE INDEX decisions_of_unit ON decisions (unit_id, at);
CREATE TABLE events (event_id VARCHAR NOT NULL PRIMARY KEY, decision_id VARCHAR, offer_id VARCHAR,
  unit_id VARCHAR, product_id VARCHAR, type VARCHAR NOT NULL, at BIGINT NOT NULL, payload TEXT);
CREATE INDEX events_of_unit ON events (unit_id, at);
CREATE TABLE orders (order_id VARCHAR NOT NULL PRIMARY KEY, unit_id VARCHAR, at BIGINT NOT NULL,
  revenue BIGINT NOT NULL, cost BIGINT, currency VARCHAR NOT NULL, lines TEXT NOT NULL);
CREATE INDEX orders_of_unit ON orders (unit_id, at);
INSERT INTO schema_version VALUES (1);
INSERT INTO assignments VALUES ('always-on', 1, 'ann', 'holdout', 1);
INSERT INTO decisions VALUES ('d1', 'ann', 'holdout', 1, 'spring', NULL, '2026-03-10', 'b1', '[]', NULL);
INSERT INTO events VALUES ('e1', 'd1', NULL, 'ann', NULL, 'promotion-clicked', 2, NULL);
INSERT INTO orders VALUES ('o1', 'ann', 3, 100, NULL, 'GBP', '[]');
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "postgresql":
        yield request.getfixturevalue("new_postgresql")
        return
    url: str = request.getfixturevalue("sqlite_url")
    Path(str(sa.make_url(url).database)).parent.mkdir()
    yield url


@pytest.fixture
def first_release(empty: str) -> str:
    """The URL of a ledger as the first release left it, with a row in every table."""
    run(empty, *FIRST_RELEASE.strip().split(";\n"))
    return empty


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.rstrip(";"))
    engine.dispose()


def versions(ledger: Ledger) -> tuple[int, str]:
    with ledger._engine.connect() as connection:
        number, name = (
            connection.exec_driver_sql(query).scalar_one()
            for query in ("SELECT version FROM schema_version", "SELECT version_num FROM alembic_version")
        )
    return number, name


def differences(ledger: Ledger) -> list[object]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with ledger._engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_a_ledger_of_the_first_release_is_upgraded_with_all_that_is_in_it(first_release: str) -> None:
    ledger = open_ledger(first_release)

    assert versions(ledger) == (SCHEMA_VERSION, migrations.revision_of(SCHEMA_VERSION))
    assert differences(ledger) == []
    assert ledger.assignments(Experiment())["group"].to_pylist() == ["holdout"]
    assert [table.num_rows for table in (ledger.decisions(), ledger.events(), ledger.orders())] == [1, 1, 1]
    ledger.close()


def test_a_new_ledger_has_the_tables_that_the_steps_make(empty: str) -> None:
    from alembic import command
    from alembic.config import Config

    engine = sa.create_engine(empty)
    config = Config()
    config.set_main_option("script_location", str(migrations.FOLDER))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    stepped = Ledger(engine)
    assert differences(stepped) == []
    engine.dispose()


def test_every_format_has_its_step() -> None:
    from alembic.script import ScriptDirectory

    steps = [script.revision for script in ScriptDirectory(str(migrations.FOLDER)).walk_revisions()]

    assert steps[::-1] == [migrations.revision_of(version) for version in range(1, SCHEMA_VERSION + 1)]


def test_a_new_ledger_is_stamped_and_opened_again_as_it_is(url: str) -> None:
    for _ in range(2):
        ledger = open_ledger(url)
        assert versions(ledger) == (SCHEMA_VERSION, migrations.revision_of(SCHEMA_VERSION))
        assert differences(ledger) == []
        ledger.close()


def test_a_step_that_fails_leaves_the_ledger_as_it_was(first_release: str) -> None:
    run(first_release, "CREATE TABLE redemptions (mine INTEGER)")  # somebody's own table is in the way

    with pytest.raises(LedgerError, match="redemptions"):
        open_ledger(first_release)

    engine = sa.create_engine(first_release)
    tables = sa.inspect(engine).get_table_names()
    engine.dispose()
    assert "codes" not in tables and "alembic_version" not in tables


OPEN = """
import sys
from nextoffer.tracking.ledger import open_ledger
open_ledger(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def opener(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", OPEN, url], stdout=subprocess.PIPE, text=True)


def test_processes_that_open_an_old_ledger_at_once_take_turns(first_release: str) -> None:
    workers = [opener(first_release) for _ in range(2)]

    said = [worker.communicate(timeout=60)[0].strip() for worker in workers]
    assert set(said) <= {"True", "False"} and "True" in said
    assert [worker.returncode for worker in workers] == [0, 0]
    ledger = open_ledger(first_release)
    assert versions(ledger)[0] == SCHEMA_VERSION
    ledger.close()


def test_neither_a_new_nor_an_up_to_date_ledger_imports_alembic(sqlite_url: str) -> None:
    assert [opener(sqlite_url).communicate()[0].strip() for _ in range(2)] == ["False", "False"]
