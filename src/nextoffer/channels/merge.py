"""Merge fields: what a message can say of one offer, as texts."""

from __future__ import annotations

from datetime import UTC

from nextoffer.domain.offers import Offer


def merge_fields(offer: Offer) -> dict[str, str]:
    """Every field of an offer; what it does not have is empty: an offer on the whole basket has no product.

    Prices and `min_order` are decimal strings, `incentive` is said in the customer's language, `valid_until` is a
    moment in UTC and `until` its date there.
    """
    until = offer.valid_until.astimezone(UTC) if offer.valid_until.tzinfo else offer.valid_until
    return {
        "offer_id": offer.offer_id,
        "kind": offer.kind,
        "product_id": offer.product_id or "",
        "title": offer.title or offer.incentive_text,
        "url": offer.url or "",
        "image_url": offer.image_url or "",
        "list_price": offer.list_price or "",
        "final_price": offer.final_price or "",
        "incentive": offer.incentive_text,
        "min_order": offer.incentive.get("min_order", ""),
        "code": offer.code or "",
        "valid_until": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        "until": f"{until:%Y-%m-%d}",
        "reason": offer.reason.text,
    }
