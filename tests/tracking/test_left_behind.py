"""What a customer looked at or carted in earlier visits, told from events newest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nextoffer.tracking.queries import left_behind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def test_the_newest_word_about_the_cart_counts_and_what_was_bought_is_left_out() -> None:
    events = [
        ("tea", "remove-from-cart", ago(1)),
        ("cup", "detail-page-view", ago(2)),
        ("tea", "add-to-cart", ago(3)),
        ("pot", "add-to-cart", ago(5)),
        ("cup", "add-to-cart", ago(30)),
        ("jam", "add-to-cart", ago(40)),
    ]

    left = left_behind(events, frozenset({"jam"}), NOW)

    assert left == (("tea", False, 1.0), ("cup", True, 2.0), ("pot", True, 5.0))
