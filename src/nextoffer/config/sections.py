"""What nextoffer.toml may say: every table as a frozen section with its defaults and limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from nextoffer.config.base import (
    Kind,
    Language,
    Money,
    NotNegative,
    Positive,
    Section,
    Share,
    nearest,
)
from nextoffer.config.experiments import Experiment, Trial
from nextoffer.config.incentives import IncentiveTerms, is_taken
from nextoffer.config.measuring import Measuring, Programme, ProgrammeTerms
from nextoffer.config.priors import Value


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


class Campaign(Section):
    """What `export NAME` writes, for whom, through which channel, and in which of its formats (none = its usual one).

    `budget` is the expected cost of incentives, in currency; `priority` decides which campaign of a day goes first
    (the highest). `max_per_customer`: no more messages of this campaign to one customer, ever. A `transactional`
    campaign (an order's own mail) passes the contact caps and quiet hours, never consent.
    """

    channel: str = "email"
    kinds: tuple[Kind, ...] = ()
    format: str | None = None
    n: Positive = 3
    segments: tuple[str, ...] = ()
    budget: Money | None = None
    priority: int = 0
    max_per_customer: Positive | None = None
    transactional: bool = False


class EngineSettings(Section):
    """Where SQL runs and how much of the machine it may take."""

    kind: Literal["duckdb"] = "duckdb"
    memory_limit: str | None = None
    threads: Positive | None = None
    temp_directory: Path | None = None


class Exclude(Section):
    """What is never offered; categories stand for everything below them, products may be patterns (`GIFT*`)."""

    products: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    discounted: bool = False


class OfferSettings(Section):
    """Size, shape and rules of a slate.

    `stacking` of incentives: `exclusive` = one on a slate, `best-of` = the till takes the best one alone,
    `additive` = all, up to `max_total_share` of the prices. `explore_share`: every allowed depth of discount, and
    no offer at all, keep this chance in messages and on the site, so that depth can be learned. `pinned` products
    come first where they are eligible, `buried` ones last (ids or patterns).
    """

    n: Positive = 4
    max_per_kind: Positive = 2
    max_per_category: NotNegative = 0
    max_per_brand: NotNegative = 0
    repurchase_days: NotNegative = 7
    win_back_levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.05, 0.10, 0.15)
    valid_days: Positive = 14
    min_expected_profit: Annotated[float, Field(ge=0)] = 0.0
    exclude: Exclude = Exclude()
    stacking: Literal["exclusive", "best-of", "additive"] = "best-of"
    max_total_share: Share = 0.3
    explore_share: Annotated[float, Field(ge=0.0, le=0.1)] = 0.02
    pinned: tuple[str, ...] = ()
    buried: tuple[str, ...] = ()
    abandoned_hours: NotNegative = 24
    abandoned_days: Positive = 14
    event_days: NotNegative = 7
    points_days: NotNegative = 14
    renewal_days: Positive = 21


class Placement(Section):
    """A place on the site with kinds and a size of its own; a request may ask for less, never for more."""

    kinds: tuple[Kind, ...] = ()
    n: Positive | None = None
    max_per_kind: Positive | None = None


_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


class Contact(Section):
    """How often a customer may be written to, and what one message costs in `currency`.

    `quiet_hours`, as in "21:00-08:00" of the shop's local time: no push is sent then.
    """

    max_per_day: NotNegative = 1
    max_per_week: NotNegative = 3
    cost: Annotated[float, Field(ge=0)] = 0.01
    quiet_hours: str = ""

    @field_validator("quiet_hours")
    @classmethod
    def _two_times(cls, text: str) -> str:
        if text and not _CLOCK.fullmatch(text):
            raise ValueError('quiet hours are two times of day, as in "21:00-08:00"')
        return text


class Gate(Section):
    """How much worse than last night's recipe tonight's may be and still be published."""

    tolerance: Share = 0.05


class Texts(Section):
    """The language of what people read where nobody says otherwise: reports, and customers without a locale."""

    language: Language = "en"


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
    experiments: dict[str, Trial] = {}
    campaigns: dict[str, Campaign] = {}
    incentives: dict[str, IncentiveTerms] = {}
    placements: dict[str, Placement] = {}
    offers_file: Path | None = None
    engine: EngineSettings = EngineSettings()
    offers: OfferSettings = OfferSettings()
    contact: Contact = Contact()
    gate: Gate = Gate()
    value: Value = Value()
    measurement: Measuring = Measuring()
    programme: Programme = Programme()
    programmes: dict[str, ProgrammeTerms] = {}
    texts: Texts = Texts()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no IANA time zone{nearest(name, available_timezones())}")
        return name

    @field_validator("incentives")
    @classmethod
    def _own_names(cls, incentives: dict[str, IncentiveTerms]) -> dict[str, IncentiveTerms]:
        for name in incentives:
            if is_taken(name):
                raise ValueError(f"{name!r} means something else already; give the incentive another name")
        return incentives

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
