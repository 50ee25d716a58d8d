"""The end of the demo's story: weeks under the offers, and what was planted beside what is measured."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from rich.markup import escape

from nextoffer import pipeline
from nextoffer.demo.teller import Teller, shown, table
from nextoffer.demo.town import CAMPAIGN, EFFECT, Town
from nextoffer.measurement.experiment import Effect
from nextoffer.measurement.report import Measurement, page
from nextoffer.pipeline import ExportReport, OpenShop
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.schema import TREATED

MAILINGS = 8  # weeks with a campaign


def live(teller: Teller, town: Town, shop: OpenShop, ledger: Ledger) -> None:
    """A mailing a week to the treated; what they do comes back through `record` and the shop's order files."""
    day = town.now.date()
    file = f"campaigns/{CAMPAIGN}-{day}-events.csv"
    teller.heading(f"{MAILINGS} weeks go by, a mailing each Monday", f"nextoffer record {file}")
    orders = events = messages = redeemed = 0
    with teller.working("living") as progress:
        for week in range(1, MAILINGS + 1):
            progress(f"week {week} of {MAILINGS}")
            report = mail(town, shop, ledger)
            decisions = ledger.decisions_of_run(CAMPAIGN, town.now.date())
            rows, path = town.live_week(decisions)
            recorded = pipeline.record(town.settings, ledger, path)
            messages += report.messages
            events += recorded.accepted
            redeemed += rows.redemptions.num_rows
            orders += len(rows.orders["order_id"].unique())
    teller.say(
        f"{messages:,} messages went to the treated; those held out got nothing. {events:,} events were recorded "
        f"(offers shown, clicked, used), {orders:,} orders joined the shop's order files, {redeemed:,} lines of them "
        "with a discount from a message. A real shop also trains each night; here one bundle serves all weeks."
    )


def mail(town: Town, shop: OpenShop, ledger: Ledger) -> ExportReport:
    """This Monday's campaign file; the first one was written before, and is the same again."""
    day = town.now.date()
    out = town.folder / "campaigns" / f"{CAMPAIGN}-{day}.csv"
    return pipeline.export(shop, ledger, CAMPAIGN, out, town.now, day)


def tell_measured(teller: Teller, town: Town, ledger: Ledger) -> None:
    """What the holdout says the offers caused, beside what they really caused."""
    until, file = town.now.date(), town.folder / "report.html"
    command = f"nextoffer measure --until {until} --html {file.name}"
    teller.heading("What did the offers earn? Treated minus held out", command)
    with teller.working("measuring") as progress:
        measured = pipeline.measure_shop(town.settings, ledger, None, town.now, progress)
        progress("report")
        file.write_text(page(measured, town.settings.texts.language, town.now), encoding="utf-8")
    checks = measured.main.checks
    if checks.blocked is not None:
        teller.say(f"[yellow]No readout: {escape(checks.blocked)}.[/yellow]")
        return
    truth = planted_means(town.planted(), ledger.assignments(town.settings.experiment))
    effects = dict(measured.main.effects)
    rows = [(name, *_effect_row(planted, effects[name])) for name, planted in truth.items()]
    names = ("per treated customer", "planted", "measured", "95 % interval", "verdict")
    teller.show(table(names, rows))
    teller.say(f"\n[bold]{_verdict(truth['revenue'], effects['revenue'], measured.currency)}[/bold]")
    teller.say(
        f"\nPlanted is what the offers really caused: the same weeks were also lived without them. Measured is what "
        f"any shop can know. {checks.n_treated:,} customers were treated, {checks.n_holdout:,} held out. "
        f"Offers are made {EFFECT:.0f} times as strong here as they usually are, or a shop this small would see "
        "nothing in so few weeks."
    )
    teller.say(f"\n{_attributed(measured)}")
    teller.say(
        f"\nThe whole report, one file that opens without a network: [bold]{escape(shown(file))}[/bold]. It says who "
        "was compared and who was left out, what each segment and kind earned, and every KPI."
    )


def planted_means(planted: pa.Table, assignments: pa.Table) -> dict[str, float]:
    """What was caused per treated customer: orders, revenue and margin."""
    treated = assignments.filter(pc.equal(assignments["group"], TREATED))
    theirs = planted.join(treated.select(["unit_id"]), "customer_id", "unit_id", join_type="inner")
    return {
        name: (pc.sum(theirs[f"{name}_caused"]).as_py() or 0.0) / max(treated.num_rows, 1)
        for name in ("orders", "revenue", "margin")
    }


def _effect_row(truth: float, effect: Effect) -> tuple[str, str, str, str]:
    if effect.difference is None or effect.low is None or effect.high is None:
        return f"{truth:+.2f}", "–", "–", effect.verdict
    return (
        f"{truth:+.2f}",
        f"{effect.difference:+.2f}",
        f"{effect.low:+.2f} … {effect.high:+.2f}",
        effect.verdict,
    )


def _verdict(truth: float, effect: Effect, currency: str) -> str:
    """One line: planted against measured, and whether the interval holds the truth."""
    if effect.difference is None or effect.low is None or effect.high is None:
        more = f": about {effect.n_more:,} more customers are needed" if effect.n_more else ""
        return f"Revenue: planted {truth:+.2f} {currency}, too few bought to measure it{more}."
    line = (
        f"Revenue: planted {truth:+.2f} {currency}, measured {effect.difference:+.2f} "
        rf"\[{effect.low:+.2f}, {effect.high:+.2f}]"
    )
    if effect.low <= truth <= effect.high:
        return f"{line}: the interval holds the truth."
    return f"{line}: this time the interval misses the truth, as one in twenty does."


def _attributed(measured: Measurement) -> str:
    found = measured.main.attributed
    roi = found.note if found.roi_percent is None else f"{found.roi_percent:+,.0f} %"
    return (
        f"ROI [italic]attributed[/italic]: {roi}. It counts {found.n_orders:,} orders within days of an opened or used "
        "offer, bought anyway or not: the number most tools show, and why the holdout is there."
    )
