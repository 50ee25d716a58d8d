"""Slates, segments and bundles as a person reads them on a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nextoffer.bundle.bundle import Bundle
from nextoffer.bundle.store import BundleEntry
from nextoffer.domain.kinds import TERMS
from nextoffer.domain.offers import Slate, dropped_json, offer_json
from nextoffer.domain.wording import drop_text, segment_name

if TYPE_CHECKING:
    from rich.console import RenderableType


def slate_json(slate: Slate, group: str) -> dict[str, Any]:
    """A slate as `recommend --json` prints it."""
    return {
        "customer_id": slate.customer_id,
        "bundle_id": slate.bundle_id,
        "currency": slate.currency,
        "segment": slate.segment,
        "experiment": {"group": group},
        "fallback": slate.fallback,
        "offers": [offer_json(offer, slate.currency) for offer in slate.offers],
        "dropped": [dropped_json(dropped, slate.currency) for dropped in slate.dropped],
    }


def rendered(slate: Slate, group: str, bundle: Bundle, language: str = "en") -> RenderableType:
    """A slate with its reasons; with `explain`, every dropped candidate and the rule that dropped it."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    head = (
        f"[bold]{escape(slate.customer_id or '')}[/bold]  segment {segment_name(slate.segment, language)}, "
        f"group {group}, as of {bundle.as_of:%Y-%m-%d}"
    )
    table = Table(title=head, title_justify="left", show_lines=True)
    for name, justify in (("#", "right"), ("offer", "left"), ("price", "right"), ("why", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal, by way of a tuple
    table.add_column("p(buy)", justify="right")
    table.add_column("expected profit", justify="right")
    for rank, offer in enumerate(slate.offers, 1):
        cut = f"[strike]{offer.list_price}[/strike] " if offer.final_price != offer.list_price else ""
        gain = f"\n[green]{escape(offer.incentive_text)}[/green]" if offer.incentive_text else ""
        table.add_row(
            str(rank),
            f"[bold]{escape(offer.title)}[/bold]\n{offer.kind}  {escape(offer.product_id or 'whole basket')}{gain}",
            f"{cut}{offer.final_price or ''}",
            escape(offer.reason.text),
            f"{offer.p_buy:.1%}",
            f"{offer.expected_profit:.3f}",
        )
    parts: list[Any] = [table] if slate.offers else [head, "No offer is worth making to this customer now."]
    if any(offer.terms for offer in slate.offers):
        parts.append(_terms(slate))
    if slate.dropped:
        parts.append(_dropped(slate, bundle, language))
    return Group(*parts)


def segments_rendered(rows: Sequence[dict[str, Any]], currency: str, language: str = "en") -> RenderableType:
    """Segments with their sizes and medians."""
    from rich.table import Table

    table = Table(title=f"Segments (medians; money in {currency})", title_justify="left")
    for name in ("segment", "customers", "share", "of revenue", "days since", "orders", "spent"):
        table.add_column(name, justify="left" if name == "segment" else "right")
    for row in rows:
        table.add_row(
            segment_name(row["segment"], language),
            f"{row['customers']:,}",
            f"{row['share']:.1%}",
            f"{row['revenue_share']:.1%}",
            f"{row['recency_days']['median']:.0f}",
            f"{row['frequency']['median']:.0f}",
            f"{row['monetary']['median']:,.0f}",
        )
    return table


def bundles_json(entries: Sequence[BundleEntry]) -> list[dict[str, Any]]:
    """Bundles as `bundles --json` prints them."""
    return [
        {
            "bundle_id": entry.bundle_id,
            "in_service": entry.in_service,
            "as_of": entry.manifest.as_of.isoformat() if entry.manifest else None,
            "fault": entry.fault,
            "quality": dict(entry.manifest.quality) if entry.manifest else None,
        }
        for entry in entries
    ]


def bundles_rendered(entries: Sequence[BundleEntry]) -> RenderableType:
    """Which bundles there are, newest first, and which one serves."""
    from rich.table import Table

    if not entries:
        return "No bundle yet. Make the first with: nextoffer train"
    table = Table()
    for name in ("bundle", "as of", "ndcg@10", "state"):
        table.add_column(name)
    for entry in entries:
        quality = dict(entry.manifest.quality) if entry.manifest else {}
        ours = quality.get("tasks", {}).get("next_purchase", {}).get("nextoffer", {})
        state = entry.fault or ("[green]in service[/green]" if entry.in_service else "")
        as_of = f"{entry.manifest.as_of:%Y-%m-%d %H:%M}" if entry.manifest else ""
        table.add_row(entry.bundle_id, as_of, f"{ours['ndcg@10']:.3f}" if ours else "not judged", state)
    return table


def _terms(slate: Slate) -> RenderableType:
    """What each offer on the slate is worth, term by term."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"What they are worth, in {slate.currency}", title_justify="left")
    table.add_column("offer")
    for name in (*TERMS, "expected profit"):
        table.add_column(name, justify="right")
    for offer in slate.offers:
        cells = [f"{value:+.3f}" if value else "·" for value in (offer.terms or {}).values()]
        table.add_row(
            f"{offer.kind} {escape(offer.product_id or '')}", *cells, f"{offer.expected_profit:+.3f}"
        )
    return table


def _dropped(slate: Slate, bundle: Bundle, language: str) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Not offered", title_justify="left")
    for name in ("kind", "product", "title", "incentive", "worth", "why not"):
        table.add_column(name, justify="right" if name == "worth" else "left")
    for dropped in slate.dropped:
        row = -1 if dropped.product_id is None else bundle.product_row(dropped.product_id)
        title = bundle.catalogue.title[row] if row >= 0 else None
        incentive = " ".join(dropped.incentive.get(key, "") for key in ("type", "value")).strip()
        table.add_row(
            dropped.kind,
            escape(dropped.product_id or ""),
            escape(title or ""),
            incentive,
            f"{dropped.expected_profit:+.3f}",
            f"{dropped.reason}: {drop_text(dropped.reason, language)}",
        )
    return table
