"""A day's report as one self-contained HTML page: no script, no remote asset. Pure.

Every figure links to the table it was counted from. The drawings are inline SVG whose
colours follow the page's, light, dark or on paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from returns_pipeline.reporting.day import (
    DayReport,
    Light,
    PastDay,
    State,
    amount_text,
    amounts_text,
    counted,
    sums,
)
from returns_pipeline.reporting.sections import (
    CODE,
    COUNT,
    INSTANT,
    MONEY,
    Section,
    account_name,
    sections,
)

_SIGNS = {State.GOOD: ("✓", "in order"), State.WATCH: ("!", "watch"), State.BAD: ("✕", "act now")}


def page(report: DayReport) -> bytes:
    """The page, UTF-8. Times are written in the merchant's zone."""
    zone = ZoneInfo(report.time_zone)
    day = report.business_date
    title = f"Returns of {day:%A} {day.day} {day:%B %Y}"
    closed = "closed " + _time(report.closed_at, zone) if report.closed_at else "not closed"
    made = _time(report.made_at, zone)
    style = resources.files("returns_pipeline.reporting").joinpath("page.css").read_text("utf-8")
    details = "".join(_section(section, zone) for section in sections(report))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{escape(f"{title} · {report.merchant}")}</title>
<style>{style}</style></head><body><main>
<header><h1>{escape(title)}</h1>
<p>{escape(report.merchant)} · the day is <strong>{closed}</strong> · seen at {made}
{escape(report.time_zone)}</p></header>
<ul class="lights">{"".join(_light(light) for light in report.lights())}</ul>
<div class="cards">{_cards(report)}</div>
<div class="panels">{_panels(report)}</div>
{details}
{_sources(report, zone)}
</main></body></html>
""".encode()


def _light(light: Light) -> str:
    sign, word = _SIGNS[light.state]
    return (
        f'<li class="{light.state.value}"><a href="#{light.anchor}">'
        f'<span class="sign" aria-hidden="true">{sign}</span>'
        f"<span><b>{escape(light.name)}</b> <small>{word}</small><br>{escape(light.says)}</span>"
        "</a></li>"
    )


def _cards(report: DayReport) -> str:
    cards = (
        ("received", "Received", str(len(report.received)), "units into the warehouse"),
        ("moved", "Restocked", str(len(report.movements)), "units posted to Linnworks"),
        (
            "held",
            "Held",
            str(len({h.item_id for h in report.held})),
            f"units, {amounts_text(_held_once(report))} waiting",
        ),
        (
            "refunds",
            "Refunded",
            amounts_text(sums(report.carried_out())),
            f"for {counted(len(report.carried_out()), 'unit')}",
        ),
        (
            "exchanges",
            "Exchanged",
            str(len(report.replacements)),
            "replacements ordered",
        ),
        (
            "exposure",
            "Exposure",
            amounts_text(sums(report.exposure)) if report.exposure else "none",
            f"in {counted(len(report.exposure), 'original')} missing, replaced already",
        ),
        (
            "tasks",
            "Exceptions",
            str(len(report.tasks)),
            f"open, {amounts_text(sums(report.tasks))} at risk",
        ),
    )
    return "".join(
        f'<a class="card" href="#{anchor}"><span>{name}</span><b>{escape(figure)}</b>'
        f"<small>{escape(says)}</small></a>"
        for anchor, name, figure, says in cards
    )


def _held_once(report: DayReport) -> dict[str, int]:
    """The money of held units, a unit counted once whatever gates hold it."""
    return sums({h.item_id: h for h in report.held}.values())


def _panels(report: DayReport) -> str:
    outcomes = report.outcomes()
    places = [
        (
            f"{r['location']}{' (written off)' if r['scrapped'] else ''}",
            r["units"],
            "bar-good" if r["sellable"] else "bar-watch",
            f"moved-{_slug(r['location'])}",
            "sellable" if r["sellable"] else "not sellable",
        )
        for r in report.by_location()
    ]
    reasons = [
        (
            f"{r['gate']}: {r['code'].replace('_', ' ').lower()}",
            r["units"],
            "bar-bad",
            f"held-{_slug(r['gate'] + ': ' + r['code'])}",
            amounts_text(r["amounts"]),
        )
        for r in report.held_by_reason()
    ]
    refunds = [
        (
            f"{r['state']}, {r['tender'].replace('_', ' ')}",
            amount_text(r["amount_minor"], r["currency"]),
            counted(r["units"], "unit"),
            f"refunds-{_slug(r['state'])}",
        )
        for r in report.refunds_by_state()
    ]
    owners = [
        (
            r["owner"],
            f"{r['open']} open",
            " · ".join(
                (
                    f"{r['overdue']} overdue",
                    f"worst {r['worst']}",
                    f"oldest {counted(r['oldest_days'], 'day')}",
                    f"{amounts_text(r['amounts'])} at risk",
                )
            ),
            f"tasks-{_slug(r['owner'])}",
        )
        for r in report.by_owner()
    ]
    balances = [
        (
            account_name(b.account, b.role),
            amount_text(b.amount_minor, b.currency),
            counted(b.units, "unit"),
            f"balances-{_slug(account_name(b.account, b.role))}",
        )
        for b in report.balances
    ]
    received = [
        (
            name.capitalize(),
            units,
            _OUTCOME_BARS.get(name, "bar-watch"),
            "received-" + _slug(name),
            "",
        )
        for name, units in outcomes.most_common()
    ]
    return "".join(
        (
            _panel("Received units: where they stand now", _bars(received)),
            _panel("Restocked, by location", _bars(places)),
            _panel("Refunds", _list(refunds)),
            _panel("Held, and why", _bars(reasons)),
            _panel("Exceptions, by owner", _list(owners)),
            _panel("Open balances at the day's end", _list(balances)),
            _panel("The last two weeks: received and restocked", _weeks(report.history)),
            _panel("Every unit known, by stage", _list(_stages(report))),
        )
    )


_OUTCOME_BARS = {
    "restocked": "bar-good",
    "scrapped": "bar-watch",
    "nothing to book": "bar-plain",
    "held": "bar-bad",
}


def _stages(report: DayReport) -> list[tuple[str, str, str, str]]:
    total = sum(report.stages.values())
    rows = [
        (stage.replace("_", " "), f"{units:,}", "", "")
        for stage, units in sorted(report.stages.items(), key=lambda item: -item[1])
    ]
    return [*rows, ("all", f"{total:,}", "", "")]


def _panel(title: str, body: str) -> str:
    return f"<section class=panel><h2>{escape(title)}</h2>{body}</section>"


def _list(rows: Iterable[tuple[str, str, str, str]]) -> str:
    found = list(rows)
    if not found:
        return "<p class=none>nothing</p>"
    lines = (
        f"<tr><td>{_linked(name, anchor)}<td class=num>{escape(figure)}"
        f"<td class=note>{escape(note)}</tr>"
        for name, figure, note, anchor in found
    )
    return f"<table>{''.join(lines)}</table>"


def _linked(text: str, anchor: str) -> str:
    return f'<a href="#{anchor}">{escape(text)}</a>' if anchor else escape(text)


def _bars(rows: Sequence[tuple[str, int, str, str, str]]) -> str:
    """Horizontal bars, the length the units; the figure stands beside it, not in colour only."""
    if not rows:
        return "<p class=none>nothing</p>"
    most = max(units for _, units, *_ in rows)
    lines = (
        f"<tr><td>{_linked(name, anchor)}<td class=num>{units}<td class=bar>"
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{kind}" width="{100 * units / most:.1f}" height="10" rx="1"/></svg>'
        f"<td class=note>{escape(note)}</tr>"
        for name, units, kind, anchor, note in rows
    )
    return f"<table class=bars>{''.join(lines)}</table>"


def _weeks(history: Sequence[PastDay]) -> str:
    """Two columns a day: received and restocked."""
    most = max((max(d.received, d.restocked) for d in history), default=0)
    if not most:
        return "<p class=none>nothing in these weeks</p>"
    width, height, base = 32, 84, 96
    parts = []
    for place, one in enumerate(history):
        x = place * width
        for offset, value, kind in ((4, one.received, "received"), (15, one.restocked, "good")):
            tall = height * value / most
            parts.append(
                f'<rect class="bar-{kind}" x="{x + offset}" y="{base - tall:.1f}" width="10" '
                f'height="{tall:.1f}" rx="1"/>'
            )
            if value:
                top = base - tall - 2.5
                parts.append(f'<text x="{x + offset + 5}" y="{top:.1f}">{value}</text>')
        parts.append(f'<text x="{x + 14.5}" y="108">{one.day.day}</text>')
    said = "; ".join(f"{d.day}: {d.received} received, {d.restocked} restocked" for d in history)
    return (
        f'<svg class=weeks viewBox="0 -8 {width * len(history)} 122" role="img" '
        f'aria-label="{escape(said)}"><line x1="0" x2="{width * len(history)}" y1="{base}" '
        f'y2="{base}"/>{"".join(parts)}</svg>'
        '<p class=key><i class="bar-received"></i> received <i class="bar-good"></i> restocked</p>'
    )


# --- detail tables ----------------------------------------------------------------


def _section(section: Section, zone: ZoneInfo) -> str:
    head = f'<section class=detail id="{section.anchor}"><h2>{escape(section.title)} '
    head += f"<small>{len(section.rows)}</small></h2><p>{escape(section.note)}</p>"
    if not section.rows:
        return f"{head}<p class=none>nothing</p></section>"
    shown = [i for i in range(len(section.columns)) if i != section.group]
    titles = "".join(
        f"<th{_class(section.columns[i].kind)}>{escape(section.columns[i].title)}" for i in shown
    )
    bodies = []
    for name, rows in section.grouped():
        lines = "".join(
            "<tr>" + "".join(_cell(section.columns[i].kind, row[i], zone) for i in shown) + "</tr>"
            for row in rows
        )
        group = ""
        if section.group is not None:
            group = (
                f'<tr class=group><th colspan="{len(shown)}" scope=rowgroup>{escape(name)} '
                f"<small>{len(rows)}</small></th></tr>"
            )
        bodies.append(f'<tbody id="{section.anchor}-{_slug(name)}">{group}{lines}</tbody>')
    return (
        f"{head}<div class=wide><table><thead><tr>{titles}</tr></thead>"
        f"{''.join(bodies)}</table></div></section>"
    )


_LONG = 37  # longer than any vendor's id: it may be broken
_CLASSES = {MONEY: "num", COUNT: "num", CODE: "code", INSTANT: "time"}


def _class(kind: str) -> str:
    return f" class={_CLASSES[kind]}" if kind in _CLASSES else ""


def _cell(kind: str, value: Any, zone: ZoneInfo) -> str:
    text = str(value)
    if kind == MONEY:
        minor, currency = value
        text = amount_text(minor, currency) if minor is not None and currency else ""
    elif kind == INSTANT:
        text = _time(value, zone)
    if kind == CODE and len(text) > _LONG:
        return f'<td class="code hash">{escape(text)}'
    return f"<td{_class(kind)}>{escape(text)}"


def _time(at: datetime | None, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}" if at else "never"


def _sources(report: DayReport, zone: ZoneInfo) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}<td>read up to {_time(at, zone)}</tr>"
        for name, at in report.read_at.items()
    )
    batches = "".join(
        f"<tr><td class=code>{escape(b.id)}<td>{escape(b.kind)}, {escape(b.state)}, debit "
        f"{amount_text(b.total('debit'), b.currency)} = credit "
        f"{amount_text(b.total('credit'), b.currency)}"
        f'<td class="code hash">{escape(b.hash)}</tr>'
        for b in report.batches
    )
    if report.reconciled is not None:
        last = report.reconciled
        rows += (
            f"<tr><td>Reconciliation<td>{_time(last.at, zone)}: "
            f"{counted(last.differences, 'difference')}, {counted(last.calls, 'vendor call')}</tr>"
        )
    return (
        '<section class=detail id="sources"><h2>Where this comes from</h2>'
        f"<table>{rows}{batches}</table><p>The story of any unit, return, order or batch line, "
        "back to what the vendor sent: <code>returns-pipeline explain KEY</code>.</p></section>"
    )


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())
