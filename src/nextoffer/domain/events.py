"""What happened: the event types the ledger knows, and the aliases shops already send."""

from __future__ import annotations

EVENT_TYPES: tuple[str, ...] = (
    "promotion-offered",
    "promotion-clicked",
    "promotion-redeemed",
    "detail-page-view",
    "add-to-cart",
    "remove-from-cart",
    "purchase-complete",
)
SERVER_ONLY: frozenset[str] = frozenset({"promotion-redeemed", "purchase-complete"})
ALIASES: dict[str, str] = {  # Google Analytics 4
    "view_promotion": "promotion-offered",
    "select_promotion": "promotion-clicked",
    "view_item": "detail-page-view",
    "add_to_cart": "add-to-cart",
    "remove_from_cart": "remove-from-cart",
    "purchase": "purchase-complete",
    "refund": "purchase-complete",
    # the words of this project's own documents
    "exposure": "promotion-offered",
    "click": "promotion-clicked",
    "redemption": "promotion-redeemed",
    "order": "purchase-complete",
}
# A purchase that comes back: its quantities and amounts are negative, however they were written.
REFUNDS: frozenset[str] = frozenset({"refund"})


def canonical_type(name: str) -> str | None:
    """The event type a name stands for; None if it stands for none."""
    return name if name in EVENT_TYPES else ALIASES.get(name)
