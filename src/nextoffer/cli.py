"""The command line: the only clock, the only exit code, the only place that prints.

Results go to stdout (with --json one JSON document and nothing else), progress and warnings to stderr.
Exit codes: 0 done; 2 the input or configuration is wrong; 3 the quality gate refused; 1 a defect of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nextoffer.config import Secrets, Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Decides, for every customer of a shop, which offer to make next, and proves what the offers earned.",
    epilog="First time here? `nextoffer demo` shows everything on a made-up shop. Your own data: "
    "`nextoffer init --orders FILE`, then `nextoffer check`, then `nextoffer train`.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="DATE",
        help="First day that counts as not known yet (YYYY-MM-DD). Default: today, so all of yesterday is known.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        from nextoffer import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def configure(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="The shop's configuration.")] = Path("nextoffer.toml"),
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    context.obj = config


@app.command(rich_help_panel="Start")
def init(
    context: typer.Context,
    orders: Annotated[
        Path | None, typer.Option(help="Your order lines (CSV or Parquet): their columns are recognised.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented nextoffer.toml; from an orders file it proposes the column mapping."""
    from nextoffer.errors import ConfigError
    from nextoffer.sources.propose import config_text, propose

    target: Path = context.obj
    if target.exists() and not force:
        fault = "it is there already; edit it, or overwrite it with --force"
        raise ConfigError(str(target), [fault])
    proposal = None if orders is None else propose(orders)
    text = config_text(proposal, target.resolve().parent)
    _write(target, text)
    typer.echo(text)
    _say(f"Written to {target}. Next: nextoffer check")


@app.command(rich_help_panel="Start")
def check(context: typer.Context, json: Json = False) -> None:
    """Read and validate everything, print a report, train nothing."""
    from nextoffer.config import load_rules
    from nextoffer.pipeline import check as checked
    from nextoffer.sources.report import check_json, check_report

    settings = _settings(context)
    load_rules(settings)
    with _progress() as progress, checked(settings, progress) as history:
        kept = _keep_rejects(settings, history)
        if json:
            _print_json(check_json(history) | {"rejects_path": kept})
        else:
            _print(check_report(history, settings, settings.texts.language))
    if kept and not json:
        _say(f"Every refused row, with its reason: {kept}")


@app.command(rich_help_panel="Every night")
def train(
    context: typer.Context,
    as_of: AsOf = None,
    dry_run: Annotated[bool, typer.Option(help="Do everything, but publish nothing.")] = False,
    reteach: Annotated[
        bool | None,
        typer.Option(help="Teach the ranker anew, or go on with the one in service.  [default: once a week]"),
    ] = None,
    json: Json = False,
) -> None:
    """Learn from the history and put a checked bundle in service: the nightly job."""
    from nextoffer.pipeline import train as nightly

    settings, secrets = _settings(context), _secrets()
    moment = _as_of(settings, as_of)
    with _progress() as progress:
        report = nightly(
            settings,
            moment,
            signing_key=secrets.signing_key,
            dry_run=dry_run,
            reteach=reteach,
            progress=progress,
        )
    for warning in report.warnings:
        _say(f"Note: {warning}.")
    if json:
        _print_json(report.to_json())
        return
    if report.published:
        typer.echo(report.bundle_id)
    _say(
        f"Learned from {report.customers:,} customers and {report.products:,} products in "
        f"{sum(report.seconds.values()):.0f} s, {report.peak_rss_mb:,.0f} MiB. "
        + ("Next: nextoffer recommend CUSTOMER_ID" if report.published else "Dry run: nothing was published.")
    )


@app.command(rich_help_panel="Every night")
def backtest(
    context: typer.Context,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="DATE",
            help="First day to score; nothing from it on is learned from. Default: the latest day with a whole "
            "horizon of orders after it.",
        ),
    ] = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="Days to score; default horizon_days.")] = None,
    cuts: Annotated[
        int, typer.Option(min=1, max=24, help="Cut-offs, a horizon apart, the newest at --as-of.")
    ] = 3,
    json: Json = False,
) -> None:
    """Learn before a date and score the days after it, beside named baselines; the same at earlier dates."""
    from nextoffer.backtest.render import rendered
    from nextoffer.pipeline import run_backtest

    settings = _settings(context)
    moment = None if as_of is None else _as_of(settings, as_of)
    with _progress() as progress:
        result = run_backtest(settings, moment, horizon, progress, cuts)
    _print_json(result) if json else _print(rendered(result))


@app.command(rich_help_panel="Look")
def recommend(
    context: typer.Context,
    customer_id: Annotated[str | None, typer.Argument(help="One customer.")] = None,
    n: Annotated[int | None, typer.Option(min=1, max=100, help="Places on the slate.")] = None,
    kinds: Annotated[str | None, typer.Option(help="Only these kinds, separated by commas.")] = None,
    explain: Annotated[bool, typer.Option(help="Also list every dropped candidate and why.")] = False,
    all_customers: Annotated[bool, typer.Option("--all", help="Every customer, as Parquet (--out).")] = False,
    out: Annotated[Path | None, typer.Option(help="With --all: the Parquet file to write.")] = None,
    order_by: Annotated[str, typer.Option(help="With --all: expected_profit or p_buy.")] = "expected_profit",
    language: Annotated[str, typer.Option(help="en or ru; default: the customer's own, else en.")] = "",
    json: Json = False,
) -> None:
    """One customer's offers and why, or everyone's. For analysis: ignores holdout, consent and caps."""
    from nextoffer.domain.offers import SlateRequest
    from nextoffer.pipeline import open_shop, recommend_all, recommend_one

    settings = _settings(context)
    shop = open_shop(settings, _secrets().signing_key, _today(settings))
    chosen = _kinds(kinds)
    if all_customers:
        if out is None or order_by not in ("expected_profit", "p_buy"):
            raise typer.BadParameter("--all needs --out FILE, and --order-by is expected_profit or p_buy")
        n_rows = recommend_all(shop, out, n, chosen, order_by)
        _say(f"{n_rows:,} offers written to {out}")
        return
    if customer_id is None:
        raise typer.BadParameter("name a customer, or use --all --out FILE")
    request = SlateRequest(customer_id=customer_id, n=n, kinds=chosen, explain=explain, language=language)
    slate, group = recommend_one(shop, request, _now())
    from nextoffer.offers.render import rendered, slate_json

    _print_json(slate_json(slate, group)) if json else _print(
        rendered(slate, group, shop.bundle, shop.settings.texts.language)
    )


@app.command(rich_help_panel="Look")
def segments(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="One row per customer, as Parquet or CSV.")] = None,
    json: Json = False,
) -> None:
    """Sizes of the segments and how recent, frequent and valuable their customers are."""
    from nextoffer.offers.render import segments_rendered
    from nextoffer.pipeline import open_shop, segment_columns, segment_rows, write_table

    shop = open_shop(_settings(context), _secrets().signing_key)
    rows = segment_rows(shop)
    if out is not None:
        write_table(segment_columns(shop), out)
        _say(f"{len(shop.bundle.customer_ids.ids):,} customers written to {out}")
    _print_json(rows) if json else _print(
        segments_rendered(rows, shop.settings.currency, shop.settings.texts.language)
    )


@app.command(rich_help_panel="Offer")
def export(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The file to write; with --all the folder.")],
    campaign: Annotated[
        str | None, typer.Argument(help="A [campaigns.NAME] of nextoffer.toml; not with --all.")
    ] = None,
    date: Annotated[str | None, typer.Option(help="The run's shop-local date; default today.")] = None,
    all_campaigns: Annotated[bool, typer.Option("--all", help="Every campaign, by its priority.")] = False,
    json: Json = False,
) -> None:
    """Write a campaign's file. Decisions are recorded first; running it twice writes the same rows."""
    from nextoffer.channels.audience import advice
    from nextoffer.pipeline import export as write
    from nextoffer.pipeline import export_all, open_shop
    from nextoffer.pipeline.rule_words import rule_warnings
    from nextoffer.tracking.ledger import open_ledger

    if (campaign is None) != all_campaigns:
        raise typer.BadParameter("name one campaign, or say --all", param_hint="CAMPAIGN")
    settings = _settings(context)
    shop = open_shop(settings, _secrets().signing_key, _day(date) or _today(settings))
    with _progress() as progress, _closing(open_ledger(settings.store)) as ledger:
        when = (_now(), _day(date), progress)
        if campaign is None:
            reports = export_all(shop, ledger, out, *when)
        else:
            reports = [write(shop, ledger, campaign, out, *when)]
    for warning in rule_warnings(shop.bundle, shop.by_hand.rules if shop.by_hand else ()):
        _say(f"Note: {warning}.")
    if json:
        _print_json(reports[0].to_json() if campaign else [report.to_json() for report in reports])
        return
    for report in reports:
        again = " (the same as this run's first time)" if report.repeated else ""
        typer.echo(f"{report.messages:,} messages for {report.run_on} written to {report.path}{again}")
        if report.spending is not None:
            typer.echo(f"  {report.spending.told(settings.currency)}")
        for cause, count in report.left_out.items():
            typer.echo(f"  left out {count:>9,}  {cause}: {advice(cause)}")


@app.command(rich_help_panel="Offer")
def offers(context: typer.Context, json: Json = False) -> None:
    """Your own rules of offers.toml: whom each reaches, what it is expected to cost and earn, and what conflicts."""
    from nextoffer.pipeline import open_shop
    from nextoffer.pipeline.offers_report import offers_report
    from nextoffer.pipeline.offers_table import rules_rendered

    shop = open_shop(_settings(context), _secrets().signing_key)
    with _progress() as progress:
        report = offers_report(shop, _now(), progress)
    _print_json(report.to_json()) if json else _print(rules_rendered(report))


@app.command(rich_help_panel="Offer")
def codes(
    context: typer.Context,
    campaign: Annotated[str, typer.Argument(help="A campaign that was exported.")],
    out: Annotated[Path, typer.Option(help="The file to write: CSV, or Parquet.")],
    date: Annotated[str | None, typer.Option(help="The run's shop-local date; default today.")] = None,
    json: Json = False,
) -> None:
    """Write the codes of a campaign's run with their terms, for the shop's own till."""
    from nextoffer.pipeline import write_table
    from nextoffer.tracking.counts import codes_table
    from nextoffer.tracking.ledger import open_ledger

    settings = _settings(context)
    run_on = _day(date) or _now().astimezone(settings.zone).date()
    with _closing(open_ledger(settings.store)) as ledger:
        table = codes_table(ledger, campaign, run_on)
    write_table(table, out)
    if json:
        _print_json(
            {"campaign": campaign, "run_on": run_on.isoformat(), "path": str(out), "codes": table.num_rows}
        )
        return
    typer.echo(f"{table.num_rows:,} codes of {campaign} on {run_on} written to {out}")


@app.command(rich_help_panel="Offer")
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    insecure: Annotated[bool, typer.Option(help="Without keys; on the loopback address only.")] = False,
) -> None:
    """Serve the API: offers, related products, events. Keys come from NEXTOFFER_SERVER_KEYS, …_CLIENT_KEYS."""
    from nextoffer.api.server import serve as run
    from nextoffer.pipeline.selftest import verify_self_test

    run(_settings(context), _secrets(), host, port, workers, insecure, verify_self_test)


@app.command(rich_help_panel="Prove")
def record(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or NDJSON of events or orders.")],
    json: Json = False,
) -> None:
    """Import exposures, clicks, redemptions or orders; what is there already is not written again."""
    from dataclasses import asdict

    from nextoffer.pipeline import record as import_file
    from nextoffer.tracking.ledger import open_ledger

    settings = _settings(context)
    with _closing(open_ledger(settings.store)) as ledger:
        report = import_file(settings, ledger, file, _now())
    if json:
        _print_json(asdict(report))
        return
    rejected = len(report.rejected)
    typer.echo(
        f"{report.read:,} rows read: {report.accepted:,} new, {report.duplicates:,} known, {rejected:,} rejected"
    )
    for row, field, reason in report.rejected[:10]:
        typer.echo(f"  row {row}, {field}: {reason}")


@app.command(rich_help_panel="Prove")
def measure(
    context: typer.Context,
    start: Annotated[
        str | None, typer.Option("--from", help="First day; default: the first assignment.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="First day that does not count; default today.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only customers of this segment.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only customers this kind was, or would be, offered to.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Only what was bought in it, as in 'Food > Tea'.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="Hold KPIs against: previous, year_ago; or compare quarter, half_year, year.")
    ] = "previous",
    full: Annotated[bool, typer.Option("--full", help="Show every table.")] = False,
    plan: Annotated[
        str | None,
        typer.Option(help="Before it starts: what a campaign or experiment of this name could find."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report as one HTML file.")] = None,
    json: Json = False,
) -> None:
    """What the offers caused (treated minus holdout, with intervals), and how the shop does."""
    from nextoffer.measurement.render import sheet_rendered
    from nextoffer.measurement.report import page, render, to_json
    from nextoffer.pipeline import as_of_moment, asked_filter, asked_preset, measure_shop, past, plan_shop
    from nextoffer.tracking.ledger import open_ledger

    settings = _settings(context)
    now, language = _now(), settings.texts.language
    if plan is not None:
        with _progress() as progress:
            sheet = plan_shop(settings, plan, now, _as_of(settings, until), _secrets().signing_key, progress)
        told = {"plan": sheet.records(settings.currency), "notes": list(sheet.notes)}
        return _print_json(told) if json else _print(sheet_rendered(sheet, settings.currency, language))
    first = as_of_moment(settings, _day(start), now) if start else None
    part, preset = asked_filter(segment, kind, category), asked_preset(against)
    end = past(_as_of(settings, until), now)
    with _progress() as progress, _closing(open_ledger(settings.store)) as ledger:
        result = measure_shop(settings, ledger, first, end, progress, part, preset)
    for warning in result.warnings:
        _say(f"Note: {warning}.")
    if html is not None:
        _write(html, page(result, language, now.astimezone(settings.zone)))
        _say(f"Report written to {html}")
    _print_json(to_json(result)) if json else _print(render(result, language, full))


@app.command(rich_help_panel="Every night")
def bundles(
    context: typer.Context,
    action: Annotated[str | None, typer.Argument(help="rollback or prune; nothing lists them.")] = None,
    bundle_id: Annotated[str | None, typer.Argument(help="With rollback: the bundle to serve again.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="With prune: how many to keep.")] = 7,
    json: Json = False,
) -> None:
    """List the bundles and which one serves; go back to an earlier one; remove old ones."""
    from nextoffer.bundle.store import list_bundles, prune, rollback
    from nextoffer.offers.render import bundles_json, bundles_rendered

    settings, secrets = _settings(context), _secrets()
    if action == "rollback" and bundle_id:
        typer.echo(rollback(settings.models_dir, bundle_id, secrets.signing_key))
    elif action == "prune":
        removed = prune(settings.models_dir, keep)
        typer.echo(f"removed {len(removed)}: {', '.join(removed) or 'nothing to remove'}")
    elif action is None:
        entries = list_bundles(settings.models_dir)
        _print_json(bundles_json(entries)) if json else _print(bundles_rendered(entries))
    else:
        raise typer.BadParameter("use: bundles, bundles rollback BUNDLE_ID, or bundles prune --keep N")


@app.command(rich_help_panel="Start")
def demo(
    customers: Annotated[int, typer.Option(min=200, max=200_000, help="Size of the made-up shop.")] = 3_000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another shop.")] = 7,
    directory: Annotated[Path, typer.Option("--dir", help="Where it is made.")] = Path("nextoffer-demo"),
) -> None:
    """A made-up shop, end to end: history, training, offers, campaign, API, and what the offers earned."""
    from nextoffer.demo import run_demo

    run_demo(customers, seed, directory)


def main() -> None:
    """Run a command; every error of ours is one message and an exit code, never a traceback."""
    from nextoffer.errors import GateRefusedError, NextOfferError

    try:
        app()
    except GateRefusedError as error:
        _fail(str(error), 3)
    except NextOfferError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("Stopped. What served before still serves; nothing half-done is left behind.", 130)
    except Exception as error:
        _fail(f"A defect of nextoffer, please report it: {type(error).__name__}: {error}\n{_trace(error)}", 1)


def _settings(context: typer.Context) -> Settings:
    from nextoffer.config import load_settings

    path: Path = context.obj
    return load_settings(path)


def _secrets() -> Secrets:
    from nextoffer.config import read_secrets

    return read_secrets()


def _now() -> datetime:
    """The present moment: with api/app.py, the only reading of the clock."""
    return datetime.now(UTC)  # noqa: TID251 — the entry point reads the clock


def _today(settings: Settings) -> date:
    """The shop's calendar day."""
    return _now().astimezone(settings.zone).date()


def _as_of(settings: Settings, text: str | None) -> datetime:
    from nextoffer.pipeline import as_of_moment

    return as_of_moment(settings, _day(text), _now())


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; write it as 2026-11-22") from None


def _kinds(text: str | None) -> tuple[str, ...] | None:
    from nextoffer.plugins import OFFER_KINDS

    if text is None:
        return None
    kinds = tuple(kind.strip() for kind in text.split(",") if kind.strip())
    if unknown := [kind for kind in kinds if kind not in OFFER_KINDS]:
        raise typer.BadParameter(f"there is no kind {unknown[0]!r}; there are: {', '.join(OFFER_KINDS)}")
    return kinds


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """On a terminal one moving line with the time passed; in a pipe one line per stage. On stderr."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage: print(stage, file=sys.stderr, flush=True)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda stage: bar.update(task, description=escape(stage))


@contextmanager
def _closing(ledger: Any) -> Iterator[Any]:
    try:
        yield ledger
    finally:
        ledger.close()


def _keep_rejects(settings: Settings, history: Any) -> str | None:
    """Copy the rejects out of the job's folder, which is about to go; None if every row was good."""
    import shutil

    import pyarrow.parquet as pq

    if history.rejects_path is None or pq.read_metadata(history.rejects_path).num_rows == 0:
        return None
    kept = settings.work_dir / "rejects.parquet"
    shutil.copyfile(history.rejects_path, kept)
    return str(kept)


def _write(path: Path, text: str) -> None:
    from nextoffer.errors import ConfigError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be written: {error.strerror or error}"]) from None


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)


def _print_json(document: Any) -> None:
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    typer.echo(orjson.dumps(document, option=options, default=str).decode())


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _fail(message: str, code: int) -> None:
    typer.echo(f"nextoffer: {message}", err=True)
    sys.exit(code)


def _trace(error: Exception) -> str:
    """Where the details of a defect were written; the user's screen stays readable."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="nextoffer-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    return f"Details: {file.name}"
