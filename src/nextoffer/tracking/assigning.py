"""Assignments: who is in which group of an experiment, written once, before anything leaves the house.

With the first of them the experiment's terms are registered. From then on they hold: whoever assigns under other
terms is refused, so that no version of an experiment is ever a mixture of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, Engine, select

from nextoffer.config import Experiment, Settings
from nextoffer.domain.arrays import Bools
from nextoffer.errors import ConfigError
from nextoffer.tracking import database, queries
from nextoffer.tracking.allocation import drawn
from nextoffer.tracking.experiments import Study, studies_of, terms_of
from nextoffer.tracking.schema import (
    HOLDOUT,
    TREATED,
    assignments,
    experiments,
    from_micros,
    to_json,
    to_micros,
)

Registered = tuple[str, int, str]  # name, version, terms


def assign(
    engine: Engine,
    experiment: Experiment | Study,
    unit_ids: Sequence[str],
    at: datetime,
    strata: Sequence[str | None] | None,
    sure: set[Registered],
) -> Bools:
    """True for the held-out units, as the ledger says; units not yet there are assigned now, as one list.

    Parameters
    ----------
    strata : the stratum of each unit, None where it is not known; kept with the assignment
    sure : terms known to be registered, so that they are looked up once; added to

    Returns
    -------
    (n,) bool, in the order of `unit_ids`

    Raises
    ------
    ConfigError : the version was begun under other terms; nobody is assigned.
    """
    slugs = strata if strata is not None else [None] * len(unit_ids)
    units = dict(zip(unit_ids, slugs, strict=True))
    with database.reading(engine) as connection:
        found = _found(connection, experiment, list(units))
    missing = {unit: slug for unit, slug in units.items() if unit not in found}
    if missing:
        terms = (experiment.name, experiment.version, to_json(terms_of(experiment)))
        with database.writing(engine) as connection:
            _register(connection, experiment, terms, at, sure)
            found |= _assign_new(connection, experiment, missing, at)
        sure.add(terms)
    held_out: Bools = np.fromiter((found[unit] == HOLDOUT for unit in unit_ids), bool, len(unit_ids))
    return held_out


def refuse_changed_terms(engine: Engine, settings: Settings) -> None:
    """Refuse to go on with experiments configured otherwise than they were begun.

    Raises
    ------
    ConfigError : says of every one of them which term it is, what it was and what to do.
    """
    with database.reading(engine) as connection:
        faults = _changed(connection, [settings.experiment, *studies_of(settings)])
    if faults:
        raise ConfigError("nextoffer.toml", faults)


def _assign_new(
    connection: Connection, experiment: Experiment | Study, units: dict[str, str | None], at: datetime
) -> dict[str, str]:
    moment, there = to_micros(at), dict[str, str]()
    if isinstance(experiment, Study) and experiment.exact:
        # under the lock of its registration: of two lists at once the second sees whom the first assigned
        there = _found(connection, experiment, list(units))
        units = {unit: slug for unit, slug in units.items() if unit not in there}
        moment = _own_moment(connection, experiment, moment)
    units = dict(sorted(units.items()))
    held_out = drawn(experiment, list(units), list(units.values()), from_micros(moment))
    common = {"experiment": experiment.name, "version": experiment.version, "assigned_at": moment}
    rows = [
        common | {"unit_id": unit, "stratum": slug, "group": HOLDOUT if out else TREATED}
        for (unit, slug), out in zip(units.items(), held_out.tolist(), strict=True)
    ]
    if rows:
        connection.execute(_new(connection, assignments), rows)
    # another process may have been first: what is written counts
    return there | _found(connection, experiment, list(units))


def _register(
    connection: Connection,
    experiment: Experiment | Study,
    terms: Registered,
    at: datetime,
    sure: set[Registered],
) -> None:
    """Write the terms if nobody has, and hold to them if somebody did; lists to be split exactly take turns."""
    name, version, text = terms
    exact = isinstance(experiment, Study) and experiment.exact
    if terms in sure and not exact:
        return
    row = {"experiment": name, "version": version, "terms": text, "registered_at": to_micros(at)}
    connection.execute(_new(connection, experiments), [row])
    if exact:
        mine = experiments.c.experiment == name, experiments.c.version == version
        connection.execute(select(experiments.c.version).where(*mine).with_for_update())
    if faults := _changed(connection, [experiment]):
        raise ConfigError("nextoffer.toml", faults)


def _changed(connection: Connection, configured: Iterable[Experiment | Study]) -> list[str]:
    """One line for each term of an experiment that is not as it was registered."""
    registered = {(row.experiment, row.version): row for row in connection.execute(select(experiments))}
    faults = []
    for experiment in configured:
        row = registered.get((experiment.name, experiment.version))
        if row is None:
            continue
        was, now = orjson.loads(row.terms), orjson.loads(to_json(terms_of(experiment)))
        where = "experiment" if isinstance(experiment, Experiment) else f"experiments.{experiment.name}"
        latest = max(version for name, version in registered if name == experiment.name)
        begun = f"version {row.version} began on {from_micros(row.registered_at):%Y-%m-%d} with"
        faults += [
            f"{where}.{term} is {_shown(now.get(term))}, but {begun} {_shown(was.get(term))}. "
            f"Put that back, or set version = {latest + 1}: customers are then drawn anew"
            for term in sorted(was | now)
            if was.get(term) != now.get(term)
        ]
    return faults


def _shown(value: Any) -> str:
    return "absent" if value is None else to_json(value)


def _found(connection: Connection, experiment: Experiment | Study, units: list[str]) -> dict[str, str]:
    """unit -> group of those units that are assigned."""
    found: dict[str, str] = {}
    for chunk in queries.chunks(units):
        found.update(queries.assigned(connection, experiment, chunk))
    return found


def _own_moment(connection: Connection, experiment: Study, moment: int) -> int:
    """A moment no list of this experiment has: each is a draw of its own, which can be repeated.

    Never a later one: an assignment comes before the decisions it is made for.
    """
    table = assignments.c
    mine = table.experiment == experiment.name, table.version == experiment.version
    query = select(table.assigned_at).distinct().where(*mine, table.assigned_at <= moment)
    taken = set(connection.execute(query).scalars())
    while moment in taken:
        moment -= 1
    return moment


def _new(connection: Connection, table: Any) -> Any:
    """An insert that leaves rows alone whose key is there already."""
    return queries.insert(connection.dialect, table).on_conflict_do_nothing()
