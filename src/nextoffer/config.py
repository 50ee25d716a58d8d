"""nextoffer.toml -> frozen Settings: every fault at once, the nearest known key named.

The only reader of the environment: secrets come as NEXTOFFER_... variables, and `${NEXTOFFER_NAME}` inside a
URL of the file is filled in from there, so that no password ever stands in the file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nextoffer.errors import ConfigError

Kind = Literal[
    "cross_sell", "up_sell", "for_you", "abandoned", "replenishment", "event", "renewal", "win_back"
]
Incentive = Literal["none", "percent", "amount", "fixed_price", "free_shipping", "gift", "points"]
Channel = Literal["email", "push", "ads", "site"]
Format = Literal["csv", "mailchimp", "unisender"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """One table of nextoffer.toml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """Where one canonical table comes from: files (CSV, Parquet; globs) or a database query."""

    path: str | None = None
    url: str | None = None
    query: str | None = None
    columns: dict[str, str] = {}
    delimiter: str | None = None
    encoding: str | None = None
    decimal: Literal[".", ","] | None = None
    date_format: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if (self.path is None) == (self.url is None):
            raise ValueError('give either path = "…" or url = "…" with query = "…"')
        if self.url is not None and self.query is None:
            raise ValueError('url needs query = "SELECT …"')
        return self


class History(Section):
    """The shop's tables; only `orders` is needed to train."""

    orders: Source
    products: Source | None = None
    customers: Source | None = None
    interactions: Source | None = None
    subscriptions: Source | None = None
    surveys: Source | None = None


class Margin(Section):
    """What a product earns where its cost is unknown, and the floor no offer may sell below."""

    default_share: Share = 0.3
    floor_share: Share = 0.05


class Experiment(Section):
    """The permanent holdout; a change of the share needs a new version."""

    name: str = "always-on"
    version: Positive = 1
    holdout_share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05


class Campaign(Section):
    """What `export NAME` writes, for whom, and in which format."""

    channel: Channel = "email"
    kinds: tuple[Kind, ...] = ()
    format: Format = "csv"
    n: Positive = 3
    segments: tuple[str, ...] = ()
    budget: Annotated[float, Field(gt=0)] | None = None


class EngineSettings(Section):
    """Where SQL runs and how much of the machine it may take."""

    kind: Literal["duckdb"] = "duckdb"
    memory_limit: str | None = None
    threads: Positive | None = None
    temp_directory: Path | None = None


class OfferSettings(Section):
    """Size and shape of a slate."""

    n: Positive = 4
    max_per_kind: Positive = 2
    repurchase_days: Annotated[int, Field(ge=0)] = 7
    win_back_levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.05, 0.10, 0.15)
    valid_days: Positive = 14
    min_expected_profit: float = 0.0


class Contact(Section):
    """How often a customer may be written to, and what one message costs in `currency`."""

    max_per_day: Annotated[int, Field(ge=0)] = 1
    max_per_week: Annotated[int, Field(ge=0)] = 3
    cost: Annotated[float, Field(ge=0)] = 0.01


class Gate(Section):
    """How much worse than last night's recipe tonight's may be and still be published."""

    tolerance: Share = 0.05


class Prior(Section):
    """How far an offer is believed to lift the odds of buying, until experiments have measured it.

    p_offer / (1 − p_offer) = odds × p_buy / (1 − p_buy). `none` is the odds ratio of showing the offer alone,
    `per_tenth` multiplies it once more for each 10 % of discount. Source of the defaults: one e-mail lifted
    the odds of a purchase 1.5 to 2.2 times in a randomised test of 64,000 customers (Hillstrom 2008); a
    10 % incentive worked 1.5 to 2.5 times as well as the message alone. Reminders of what a customer buys
    anyway are set lower.
    """

    none: Annotated[float, Field(ge=1.0, le=20.0)]
    per_tenth: Annotated[float, Field(ge=1.0, le=20.0)] = 1.4


DEFAULT_PRIORS: dict[str, Prior] = {
    "cross_sell": Prior(none=1.5),
    "up_sell": Prior(none=1.3),
    "for_you": Prior(none=1.5),
    "abandoned": Prior(none=1.5),
    "replenishment": Prior(none=1.2),
    "event": Prior(none=1.5),
    "renewal": Prior(none=1.5),
    "win_back": Prior(none=1.5),
}


class Value(Section):
    """What offers are believed to change."""

    prior: dict[Kind, Prior] = {}

    def prior_of(self, kind: str) -> Prior:
        """The configured prior of a kind, else the documented default."""
        chosen = {str(name): prior for name, prior in self.prior.items()}
        return chosen.get(kind) or DEFAULT_PRIORS[kind]


class Programme(Section):
    """What the loyalty programme costs and is meant to reach, for ROI and the KPI table."""

    costs: Annotated[float, Field(ge=0)] = 0.0
    targets: dict[str, float] = {}


class Settings(Section):
    """One shop: everything nextoffer.toml says, with relative paths resolved against its folder."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    timezone: str = "UTC"
    models_dir: Path = Path("models")
    store: str = "sqlite:///var/nextoffer.sqlite"
    seed: Annotated[int, Field(ge=0)] = 0
    horizon_days: Positive = 28
    max_reject_share: Share = 0.02
    exclude_products: tuple[str, ...] = ()
    history: History
    margin: Margin = Margin()
    experiment: Experiment = Experiment()
    campaigns: dict[str, Campaign] = {}
    engine: EngineSettings = EngineSettings()
    offers: OfferSettings = OfferSettings()
    contact: Contact = Contact()
    gate: Gate = Gate()
    value: Value = Value()
    programme: Programme = Programme()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no IANA time zone{_nearest(name, available_timezones())}")
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def work_dir(self) -> Path:
        """Scratch and reports (rejects, canonical tables) beside the bundles."""
        return self.models_dir / ".work"


class Secrets(Section):
    """Keys from the environment; empty means none was set."""

    server_keys: tuple[str, ...] = ()
    client_keys: tuple[str, ...] = ()
    signing_key: str | None = None


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check nextoffer.toml.

    Raises
    ------
    ConfigError : the file is missing or not TOML, or it has faults; all are listed at once.
    """
    environ = os.environ if environ is None else environ
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            str(path), ["there is no such file; write one with: nextoffer init --orders YOUR_ORDERS.csv"]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"the file cannot be read: {error}"]) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), [f"not valid TOML: {error}"]) from None
    faults: list[str] = []
    document = _fill_in(document, environ, faults)
    return parse_settings(document, str(path), path.resolve().parent, faults)


def parse_settings(
    document: Mapping[str, Any], where: str, folder: Path, faults: list[str] | None = None
) -> Settings:
    """Check a parsed document; relative paths are relative to `folder`."""
    faults = faults or []
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        faults += [_fault(dict(item), document) for item in error.errors()]
        raise ConfigError(where, faults) from None
    if faults:
        raise ConfigError(where, faults)
    return _resolved(settings, folder)


def read_secrets(environ: Mapping[str, str] | None = None) -> Secrets:
    """NEXTOFFER_SERVER_KEYS, NEXTOFFER_CLIENT_KEYS (comma-separated) and NEXTOFFER_SIGNING_KEY."""
    environ = os.environ if environ is None else environ

    def keys(name: str) -> tuple[str, ...]:
        return tuple(key.strip() for key in environ.get(name, "").split(",") if key.strip())

    return Secrets(
        server_keys=keys("NEXTOFFER_SERVER_KEYS"),
        client_keys=keys("NEXTOFFER_CLIENT_KEYS"),
        signing_key=environ.get("NEXTOFFER_SIGNING_KEY") or None,
    )


def _resolved(settings: Settings, folder: Path) -> Settings:
    def source(item: Source | None) -> Source | None:
        if item is not None and item.url is not None and re.match(r"sqlite:///[^/:]", item.url):
            return item.model_copy(
                update={"url": f"sqlite:///{folder / item.url.removeprefix('sqlite:///')}"}
            )
        if item is None or item.path is None:
            return item
        return item.model_copy(update={"path": str(folder / item.path)})

    history = settings.history.model_copy(
        update={name: source(getattr(settings.history, name)) for name in History.model_fields}
    )
    store = settings.store
    if store.startswith("sqlite:///") and not store.startswith("sqlite:////"):
        store = f"sqlite:///{folder / store.removeprefix('sqlite:///')}"
    engine = settings.engine
    if engine.temp_directory is not None:
        engine = engine.model_copy(update={"temp_directory": folder / engine.temp_directory})
    return settings.model_copy(
        update={
            "history": history,
            "models_dir": folder / settings.models_dir,
            "store": store,
            "engine": engine,
        }
    )


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _fill_in(node: Any, environ: Mapping[str, str], faults: list[str]) -> Any:
    """Replace ${NEXTOFFER_NAME} in every string of the document."""
    if isinstance(node, dict):
        return {key: _fill_in(value, environ, faults) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill_in(value, environ, faults) for value in node]
    if not isinstance(node, str):
        return node

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if not name.startswith("NEXTOFFER_"):
            faults.append(f"${{{name}}}: only variables that start with NEXTOFFER_ are read")
        elif name not in environ:
            faults.append(f"${{{name}}}: the environment variable {name} is not set")
        return environ.get(name, "") if name.startswith("NEXTOFFER_") else ""

    return _VARIABLE.sub(value_of, node)


def _fault(error: dict[str, Any], document: Mapping[str, Any]) -> str:
    """One line for one fault: where, what it is, what to do."""
    path = [str(part) for part in error["loc"] if part != "[key]"]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        return f"{key}: unknown key{_nearest(path[-1], known)}"
    if error["type"] == "missing":
        return f"{key}: required, but absent"
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    shown = "" if isinstance(given, dict | list) or repr(given) in message else f" (it is {given!r})"
    return f"{key}: {message[:1].lower()}{message[1:]}{shown}" if key else message


def _known_keys(path: list[str]) -> list[str]:
    """Keys the schema knows at `path`, e.g. ["history", "orders"] or ["campaigns", "any-name"]."""
    section: type[Section] = Settings
    parts = iter(path)
    for part in parts:
        field = section.model_fields.get(part)
        inner = _section_of(field.annotation) if field else None
        if field is None or inner is None:
            return []
        if get_origin(field.annotation) is dict:
            next(parts, None)  # the free name of one table among several
        section = inner
    return list(section.model_fields)


def _section_of(annotation: Any) -> type[Section] | None:
    """The Section inside `Section`, `Section | None` or `dict[str, Section]`."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
