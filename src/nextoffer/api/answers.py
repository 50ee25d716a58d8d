"""The answers as models, and an example of each: they describe the wire and tests hold every answer to them.

They are not used to build answers: plain dicts are quicker (`wire.py`).
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from nextoffer.api.problems import PREFIX, PROBLEMS
from nextoffer.config import Incentive, Kind
from nextoffer.domain.events import ALIASES, EVENT_TYPES
from nextoffer.tracking.codes import REASONS as CODE_REASONS

Json = dict[str, Any]
MONEY: Final = r"^-?\d+(\.\d+)?$"


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IncentiveModel(_Answer):
    """What the customer gains: `{"type": "none"}`, or `{"type": "percent", "value": "10"}`."""

    type: Incentive
    value: str | None = Field(default=None, description="percent, money, or number of points")
    product_id: str | None = Field(default=None, description="the gift")
    scope: Literal["basket"] | None = Field(default=None, description="absent: it is taken off this product")
    min_order: str | None = Field(default=None, pattern=MONEY, description="least value of the order")


class ReasonModel(_Answer):
    """Why this customer sees this offer; `text` is true for them and may be shown."""

    code: str = Field(description="stable, for programs")
    text: str = Field(description="English or Russian, for people")
    because: list[str] = Field(description="product ids the reason rests on")


class OfferModel(_Answer):
    """One offer, ready to be displayed. Money is a decimal string in the slate's currency."""

    offer_id: str
    kind: Kind
    product_id: str | None = Field(description="null: an offer on the whole basket")
    title: str
    url: str | None
    image_url: str | None
    list_price: str | None = Field(pattern=MONEY)
    final_price: str | None = Field(pattern=MONEY, description="what the customer pays, incentive taken off")
    incentive: IncentiveModel
    incentive_text: str = Field(description="the incentive in the customer's language; empty for none")
    incentive_name: str | None = Field(
        default=None, description="what the shop calls the incentive. Server key only"
    )
    code: str | None = Field(description="code to redeem the incentive with, if one is needed")
    valid_until: str = Field(description="RFC 3339, UTC")
    p_buy: float | None = Field(
        default=None, ge=0, le=1, description="P(bought within the horizon, no offer made). Server key only"
    )
    expected_profit: str | None = Field(
        default=None, pattern=MONEY, description="what making this offer is expected to add. Server key only"
    )
    reason: ReasonModel
    rule: str | None = Field(
        default=None, description="the rule of offers.toml it comes from. Server key only"
    )
    terms: dict[str, float] | None = Field(
        default=None, description="what expected_profit is the sum of, with explain=true. Server key only"
    )


class DroppedModel(_Answer):
    """A candidate that was not offered, the rule that dropped it, and what it was worth."""

    kind: Kind
    product_id: str | None
    reason: str
    incentive: IncentiveModel
    expected_profit: str = Field(pattern=MONEY)
    terms: dict[str, float] = Field(description="they add up to expected_profit")


class ExperimentModel(_Answer):
    """The running experiment, and the group of this customer or visitor in it."""

    name: str
    group: Literal["treated", "holdout", "unassigned"] = Field(
        description="`holdout` gets no offers; `unassigned`: neither customer_id nor visitor_id was given"
    )


class SlateModel(_Answer):
    """The ranked offers of one customer in one placement."""

    attribution_token: str = Field(description="send it back with every event about these offers")
    customer_id: str | None
    placement: str
    bundle_id: str
    currency: str
    experiment: ExperimentModel | None = Field(default=None, description="Server key only")
    fallback: Literal["context", "popular"] | None = Field(
        description="null: made from this customer's own history; `context`: from cart and views alone; "
        "`popular`: nothing is known"
    )
    offers: list[OfferModel] = Field(
        description="best first; empty for the holdout, and without what an experiment holds back"
    )
    dropped: list[DroppedModel] | None = Field(default=None, description="with explain=true; server key only")
    propensities: dict[str, dict[str, float]] | None = Field(
        default=None,
        description="with explain=true: the chance every incentive, and no offer, had for what was drawn",
    )


class RelatedProductModel(_Answer):
    """A product to show beside another."""

    product_id: str
    title: str
    url: str | None
    image_url: str | None
    list_price: str = Field(pattern=MONEY)


class RelatedModel(_Answer):
    """Products that go with one product, best first."""

    attribution_token: str
    results: list[RelatedProductModel]


class OrderLineModel(BaseModel):
    """One line of an order."""

    product_id: str
    quantity: float | str = 1
    unit_price: float | str
    unit_cost: float | str | None = None
    line_discount: float | str | None = None


class OrderModel(BaseModel):
    """The order of a `purchase-complete`. Revenue is the sum of the lines unless given."""

    order_id: str
    lines: list[OrderLineModel]
    discount: float | str | None = Field(default=None, description="taken off the whole order")
    revenue: float | str | None = None
    cost: float | str | None = None
    currency: str | None = None


class EventModel(BaseModel):
    """Something that happened."""

    event_id: str = Field(max_length=256, description="your own unique id: sending it twice counts once")
    event_type: str = Field(
        description=f"{', '.join(EVENT_TYPES)}; also understood: {', '.join(ALIASES)}",
        json_schema_extra={"enum": [*EVENT_TYPES, *ALIASES]},
    )
    occurred_at: str = Field(description="RFC 3339; without a zone it is the shop's local time")
    customer_id: str | None = None
    visitor_id: str | None = None
    product_id: str | None = None
    offer_id: str | None = None
    attribution_token: str | None = None
    order: OrderModel | None = None


class RejectedModel(_Answer):
    """One event that was not recorded; correct it and send it again."""

    index: int = Field(description="place in the array that was sent, from 0")
    field: str
    reason: str


class EventsModel(_Answer):
    """accepted + duplicates + rejected = events sent. What is accepted is on disk."""

    accepted: int
    duplicates: int
    rejected: list[RejectedModel]


class CodeOrderModel(BaseModel):
    """The order a code is for: its lines, or its total where no code is for one product."""

    order_id: str | None = Field(default=None, description="needed to redeem and to roll back")
    lines: list[OrderLineModel] = []
    total: float | str | None = Field(default=None, description="else the sum of the lines, less `discount`")
    discount: float | str | None = Field(default=None, description="what is taken off already")
    shipping: float | str | None = Field(default=None, description="what free shipping saves")
    currency: str | None = None


class CodeRequestModel(BaseModel):
    """Who uses a code, and for which order."""

    customer_id: str
    order: CodeOrderModel


class CodeModel(_Answer):
    """Whether a code holds for this customer and order, and what it takes off."""

    valid: bool
    incentive: dict[str, str] | None = Field(description="null unless the code is this customer's")
    reasons: list[str] = Field(description=f"empty if valid, else why not: {', '.join(CODE_REASONS)}")
    discount: str = Field(
        pattern=MONEY, description="taken off this order; how codes add up is the shop's business"
    )
    currency: str
    product_id: str | None = Field(description="what it is taken off; null: the whole order")


class SegmentsModel(_Answer):
    """Sizes and RFM ranges of the segments."""

    bundle_id: str
    segments: list[dict[str, Any]]


class BundlesModel(_Answer):
    """The trained bundles and which one serves."""

    serving: str
    customers: int
    products: int
    bundles: list[dict[str, Any]]


class ArmModel(_Answer):
    """One group: its customers, how many of them bought, and the mean of all."""

    n: int
    n_buyers: int
    mean: float


class EffectModel(BaseModel):
    """What offers changed per customer: treated minus held out, with its 95 % interval."""

    treated: ArmModel
    holdout: ArmModel
    verdict: Literal["win", "loss", "not shown", "too few buyers"]
    difference: float | None = Field(description="null: too few bought to say anything")
    low: float | None = Field(description="null: without bound, or not known")
    high: float | None
    p: float | None
    n_more: int | None = Field(description="about how many customers are missing for an answer")


class MeasurementModel(BaseModel):
    """What the offers earned, over all experiments; the permanent holdout's readout stands at the top as well."""

    from_: str = Field(alias="from")
    until: str
    currency: str
    experiment: dict[str, Any]
    checks: dict[str, Any] = Field(description="`blocked` says why there is no readout; null: there is one")
    incremental: dict[str, EffectModel] = Field(description="by metric: caused, everybody assigned counted")
    triggered: dict[str, EffectModel] = Field(
        description="among those offered something, or who would have been"
    )
    segments: list[dict[str, Any]] = Field(
        description="effects on profit, with `q`: the share of false finds"
    )
    kinds: list[dict[str, Any]]
    attributed: dict[str, Any] = Field(description="what may be put down to offers: not caused")
    roi: dict[str, Any] = Field(description="percent: attributed, and incremental with its interval")
    experiments: list[dict[str, Any]]
    kpis: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]]


class LiveModel(_Answer):
    """The process runs."""

    status: Literal["live"]


class ReadyModel(_Answer):
    """A bundle serves and the ledger can be reached."""

    status: Literal["ready"]
    bundle_id: str
    as_of: str
    age_hours: float
    warnings: list[str] = Field(description="what an operator should look at; empty is good")


class FaultModel(_Answer):
    """One of several faults."""

    field: str
    detail: str


class ProblemModel(_Answer):
    """RFC 9457 problem. `type` is stable; `detail` is for people."""

    type: str = Field(description=", ".join(f"`{PREFIX}{slug}`" for slug in PROBLEMS))
    title: str
    status: int
    detail: str
    field: str | None = None
    errors: list[FaultModel] | None = None


OFFER_EXAMPLE: Final[Json] = {
    "offer_id": "9f0c4a51d2f04c8e",
    "kind": "replenishment",
    "product_id": "85123A",
    "title": "White hanging heart T-light holder",
    "url": "https://shop.example/p/85123A",
    "image_url": "https://shop.example/i/85123A.jpg",
    "list_price": "2.55",
    "final_price": "2.55",
    "incentive": {"type": "none"},
    "incentive_text": "",
    "incentive_name": "none",
    "code": None,
    "valid_until": "2026-12-06T00:00:00Z",
    "p_buy": 0.31,
    "expected_profit": "0.42",
    "reason": {
        "code": "due-for-refill",
        "text": "You buy this about every 4 weeks; the last one was 27 days ago.",
        "because": ["85123A"],
    },
}
SLATE_EXAMPLE: Final[Json] = {
    "attribution_token": "5f7c2f3c7d0f4c2c9a3e6b1d8e4f9a10",
    "customer_id": "17850",
    "placement": "home",
    "bundle_id": "2026-11-22T00-00Z-3f9c1e",
    "currency": "GBP",
    "experiment": {"name": "always-on", "group": "treated"},
    "fallback": None,
    "offers": [OFFER_EXAMPLE],
}
RECOMMEND_EXAMPLE: Final[Json] = {
    "visitor_id": "browser-8d1f",
    "placement": "cart",
    "n": 3,
    "cart": [{"product_id": "85123A", "quantity": 2}],
    "viewed": ["22423"],
    "filter": {"max_price": "20.00"},
}
EVENTS_EXAMPLE: Final[list[Json]] = [
    {
        "event_id": "e-1001",
        "event_type": "promotion-clicked",
        "occurred_at": "2026-11-22T09:15:00Z",
        "attribution_token": "5f7c2f3c7d0f4c2c9a3e6b1d8e4f9a10",
        "offer_id": "9f0c4a51d2f04c8e",
    },
    {
        "event_id": "e-1002",
        "event_type": "purchase-complete",
        "occurred_at": "2026-11-22T09:20:00Z",
        "customer_id": "17850",
        "attribution_token": "5f7c2f3c7d0f4c2c9a3e6b1d8e4f9a10",
        "order": {
            "order_id": "581587",
            "lines": [{"product_id": "85123A", "quantity": 6, "unit_price": "2.55"}],
        },
    },
]
RELATED_EXAMPLE: Final[Json] = {
    "attribution_token": SLATE_EXAMPLE["attribution_token"],
    "results": [{name: OFFER_EXAMPLE[name] for name in RelatedProductModel.model_fields}],
}
EVENTS_ANSWER_EXAMPLE: Final[Json] = {
    "accepted": 1,
    "duplicates": 0,
    "rejected": [{"index": 1, "field": "event_type", "reason": "purchase-complete needs a server key"}],
}
CODE_REQUEST_EXAMPLE: Final[Json] = {
    "customer_id": "17850",
    "order": {"order_id": "581588", "lines": [{"product_id": "85123A", "quantity": 6, "unit_price": "2.55"}]},
}
CODE_EXAMPLE: Final[Json] = {
    "valid": True,
    "incentive": {"type": "percent", "value": "10"},
    "reasons": [],
    "discount": "1.50",
    "currency": "GBP",
    "product_id": "85123A",
}
SEGMENTS_EXAMPLE: Final[Json] = {
    "bundle_id": SLATE_EXAMPLE["bundle_id"],
    "segments": [{"segment": "champions", "customers": 412, "recency_days": [0, 31]}],
}
BUNDLES_EXAMPLE: Final[Json] = {
    "serving": SLATE_EXAMPLE["bundle_id"],
    "customers": 4372,
    "products": 3684,
    "bundles": [{"bundle_id": SLATE_EXAMPLE["bundle_id"], "as_of": "2026-11-22T00:00:00Z"}],
}
READY_EXAMPLE: Final[Json] = {
    "status": "ready",
    "bundle_id": SLATE_EXAMPLE["bundle_id"],
    "as_of": "2026-11-22T00:00:00Z",
    "age_hours": 7.5,
    "warnings": [],
}
_EFFECT_EXAMPLE: Final[Json] = {
    "treated": {"n": 9500, "n_buyers": 1520, "mean": 7.31},
    "holdout": {"n": 500, "n_buyers": 76, "mean": 6.9},
    "verdict": "not shown",
    "difference": 0.41,
    "low": -0.62,
    "high": 1.38,
    "p": 0.43,
    "n_more": 210000,
}
MEASUREMENT_EXAMPLE: Final[Json] = {
    "from": "2026-09-01T00:00:00+00:00",
    "until": "2026-11-22T00:00:00+00:00",
    "currency": "GBP",
    "experiment": {"name": "always-on", "version": 1},
    "checks": {
        "n_treated": 9500,
        "n_holdout": 500,
        "split_p": 1.0,
        "contaminated_share": 0.0,
        "blocked": None,
    },
    "incremental": {"profit": _EFFECT_EXAMPLE},
    "triggered": {},
    "segments": [],
    "kinds": [],
    "attributed": {"n_orders": 310, "revenue": "9120.40", "cost": "812.00", "roi_percent": 1023.2},
    "roi": {"attributed_percent": 1023.2, "incremental_percent": 381.1, "low": -824.5, "high": 1514.9},
    "experiments": [],
    "kpis": {
        "window": {"average_order": 31.2},
        "before": {"average_order": 30.1},
        "members": None,
        "non_members": None,
    },
    "tables": {},
}
