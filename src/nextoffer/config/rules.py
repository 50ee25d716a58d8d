"""offers.toml -> Rules: a marketer's own offers, every fault at once, the nearest known key named.

What needs a trained shop to be checked (products, categories, customers) is checked by `nextoffer offers` and is a
warning, because a catalogue changes every night; what the two files say to each other is checked here.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from nextoffer.config.base import Channel, Kind, Language, Section, Segment, nearest
from nextoffer.config.incentives import IncentiveTerms, is_taken
from nextoffer.config.load import fault_line
from nextoffer.config.sections import Settings
from nextoffer.errors import ConfigError

MAX_RULES = 32_000  # a rule travels as int16
_SHOWN = 30  # faults: beyond these, the reader mends and asks again
_TAKEN_OFF = ("percent", "amount", "fixed_price")  # incentives that lower a price


def _in_order(pair: tuple[float, float] | None) -> tuple[float, float] | None:
    if pair is not None and (math.isnan(pair[0]) or math.isnan(pair[1]) or pair[0] > pair[1]):
        raise ValueError(f"a range is [least, most], both included; {list(pair)} holds nothing")
    return pair


class Rfm(Section):
    """Ranges, both ends included: days since the last order, number of orders, spend in currency; `inf` is no end."""

    recency_days: tuple[float, float] | None = None
    frequency: tuple[float, float] | None = None
    monetary: tuple[float, float] | None = None

    _ranges = field_validator("recency_days", "frequency", "monetary")(_in_order)


class Audience(Section):
    """Who is meant: every condition given must hold; none given means everybody, also whoever is not known yet.

    Parameters
    ----------
    segments, customers : one of these
    bought_category, not_bought_category : bought (never bought) something of the category or below it
    last_purchase_days : days since the last purchase of `bought_category`; without one, since the last order
    """

    segments: tuple[Segment, ...] = ()
    rfm: Rfm = Rfm()
    bought_category: str | None = None
    not_bought_category: str | None = None
    last_purchase_days: tuple[float, float] | None = None
    customers: tuple[str, ...] = ()

    _range = field_validator("last_purchase_days")(_in_order)

    @field_validator("segments", mode="before")
    @classmethod
    def _known(cls, given: object) -> object:
        for word in given if isinstance(given, list) else ():
            if word not in get_args(Segment):
                raise ValueError(f"there is no segment {word!r}{nearest(str(word), get_args(Segment))}")
        return given


Sentence = Annotated[str, Field(min_length=1, max_length=300)]


class Rule(Section):
    """One offer of the marketer: to whom, what, with which incentive, when and where.

    Offered is `product`, each of `products`, the best for the customer of `category` and `brand`, or, with none of
    them, the whole basket. It competes as `kind` by its expected profit; of the offers of one product to one
    customer the one of the highest `priority` is made (learned ones have 0), and `pinned` ones come first. Days are
    the shop's, both included. Without `channels`, `placements` and `campaigns` it may be made everywhere.
    """

    name: str
    audience: Audience = Audience()
    product: str | None = None
    products: tuple[str, ...] = ()
    category: str | None = None
    brand: str | None = None
    kind: Kind = "for_you"
    incentive: str | IncentiveTerms | None = None
    first_day: date | None = Field(default=None, alias="from")
    last_day: date | None = Field(default=None, alias="until")
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    pinned: bool = False
    channels: tuple[str, ...] = ()
    placements: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()
    text: dict[Language, Sentence] = {}

    @model_validator(mode="after")
    def _makes_sense(self) -> Rule:
        named = [bool(self.product), bool(self.products), bool(self.category or self.brand)]
        if sum(named) > 1:
            raise ValueError("name what is offered once: product, or products, or category and brand")
        if self.first_day and self.last_day and self.first_day > self.last_day:
            raise ValueError(f"from = {self.first_day} is after until = {self.last_day}: swap them")
        if isinstance(self.incentive, IncentiveTerms) and self.incentive.kinds:
            raise ValueError(
                "an incentive of one rule has no kinds; put it under [incentives] of nextoffer.toml"
            )
        return self

    @property
    def wanted(self) -> tuple[str, ...]:
        """The products named, each once; empty for a category, a brand or the whole basket."""
        return (self.product,) if self.product else tuple(dict.fromkeys(self.products))

    @property
    def is_basket(self) -> bool:
        """Whether it is an offer on the whole basket."""
        return not (self.wanted or self.category or self.brand)

    def runs_on(self, day: date) -> bool:
        """Whether the rule is in force on a day of the shop's calendar."""
        return (self.first_day is None or self.first_day <= day) and (
            self.last_day is None or day <= self.last_day
        )

    def said(self, language: str) -> str | None:
        """The marketer's own words in that language; None: the shop's general sentence is true as well."""
        return {str(code): sentence for code, sentence in self.text.items()}.get(language)


def load_rules(settings: Settings) -> tuple[Rule, ...]:
    """The marketer's rules, in the order of the file; none where the shop has no offers.toml.

    Raises
    ------
    ConfigError : the file is missing or not TOML, or it has faults; all are listed at once
    """
    if settings.offers_file is None:
        return ()
    where = str(settings.offers_file)
    try:
        text = Path(settings.offers_file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(where, ["there is no such file; it is named by offers_file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(where, [f"the file cannot be read: {error}"]) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where, [f"not valid TOML: {error}"]) from None
    return parse_rules(document, where, settings)


def parse_rules(document: dict[str, Any], where: str, settings: Settings) -> tuple[Rule, ...]:
    """Check a parsed offers.toml against itself and against nextoffer.toml."""
    if len(document) > MAX_RULES:
        raise ConfigError(where, [f"it has {len(document):,} rules; at most {MAX_RULES:,} are read"])
    faults: list[str] = []
    rules = []
    for name, table in document.items():
        rule = _rule(name, table, faults)
        if rule is not None:
            faults += [f"{name}.{fault}" for fault in _disagreements(rule, settings)]
            rules.append(rule)
    if faults:
        left = len(faults) - _SHOWN
        raise ConfigError(where, faults[:_SHOWN] + ([f"and {left:,} more"] if left > 0 else []))
    return tuple(rules)


def inline_incentives(rules: Sequence[Rule]) -> list[tuple[str, IncentiveTerms]]:
    """The incentives rules bring with them, each under its rule's name: what `Menu.of` is given as `more`."""
    return [(rule.name, rule.incentive) for rule in rules if isinstance(rule.incentive, IncentiveTerms)]


def _rule(name: str, table: object, faults: list[str]) -> Rule | None:
    if not isinstance(table, dict):
        faults.append(f'{name}: a rule is a table: [{name}] with product = "…" and so on below it')
        return None
    if "name" in table:
        faults.append(f"{name}.name: unknown key; the name of a rule stands in its brackets")
        return None
    try:
        rule = Rule.model_validate({"name": name, **table})
    except ValidationError as error:
        # what is no name of an incentive was meant as its terms
        told: list[dict[str, Any]] = [dict(item) for item in error.errors() if "str" not in item["loc"]]
        for item in told:
            item["loc"] = tuple(part for part in item["loc"] if "IncentiveTerms" not in str(part))
        faults += [_under(name, fault_line(item, Rule)) for item in told]
        return None
    return rule if not rule.is_basket else _off_the_basket(rule)


def _under(name: str, line: str) -> str:
    """A fault of one key stands under its rule; one of the whole rule has no key."""
    key = line.partition(":")[0]
    return f"{name}.{line}" if key.replace(".", "").replace("_", "").isalnum() else f"{name}: {line}"


def _off_the_basket(rule: Rule) -> Rule:
    """An incentive that does not say what it is taken off is taken off what is offered: here the basket."""
    terms = rule.incentive
    if not isinstance(terms, IncentiveTerms) or "scope" in terms.model_fields_set:
        return rule
    if terms.type not in ("percent", "amount"):
        return rule
    return rule.model_copy(update={"incentive": terms.model_copy(update={"scope": "basket"})})


def _disagreements(rule: Rule, settings: Settings) -> Iterator[str]:
    """What a rule says that nextoffer.toml does not know, as `key: what is wrong`."""
    terms: IncentiveTerms | None = None
    if isinstance(rule.incentive, str):
        terms = settings.incentives.get(rule.incentive)
        if terms is None and rule.incentive != "none":
            hint = nearest(rule.incentive, settings.incentives)
            yield f"incentive: nextoffer.toml has no [incentives.{rule.incentive}]{hint}"
    elif rule.incentive is not None:
        terms = rule.incentive
        if rule.name in settings.incentives:
            yield f"incentive: [incentives.{rule.name}] of nextoffer.toml has this name; rename the rule"
        if is_taken(rule.name):
            yield f"incentive: an incentive cannot be called {rule.name!r}, as its rule is; rename the rule"
    if terms is not None and rule.is_basket and terms.type in _TAKEN_OFF and terms.scope == "product":
        yield (
            f"incentive: {terms.type} is taken off a product, and the rule offers the whole basket: name a product"
            + ("" if terms.type == "fixed_price" else ', or write scope = "basket"')
        )
    channels = dict.fromkeys((*get_args(Channel), *(one.channel for one in settings.campaigns.values())))
    for word in rule.channels:
        if word not in channels:
            yield f"channels: there is no channel {word!r}{nearest(word, channels)}"
    for key, known in (("campaigns", settings.campaigns), ("placements", settings.placements)):
        for word in getattr(rule, key):
            if word not in known:
                yield f"{key}: nextoffer.toml has no [{key}.{word}]{nearest(word, known)}"
