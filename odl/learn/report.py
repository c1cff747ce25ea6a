"""The report of a folder of results: report.json, plots, and report.html, which needs nothing beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from pathlib import Path

from odl.cache_folder import replacing
from odl.errors import InputError
from odl.learn.plots import continual_plots, forgetting_plots, save
from odl.learn.results import Folder, Settings
from odl.learn.summary import Row, columns, rows

_STYLE = """body{font:15px sans-serif;margin:2em auto;max-width:75em;padding:0 1em}table{border-collapse:collapse}
td,th{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:right}td:first-child,th:first-child{text-align:left}
svg{max-width:100%;height:auto}dt{font-weight:bold}"""


def write_report(folder: Folder) -> tuple[Settings, list[Row]]:
    """Write the report into the folder; what it is about and its rows. InputError where there are no results yet."""
    settings, found = folder.settings(), rows(folder.all())
    if not found:
        raise InputError(f"{folder.path} has no results yet")
    plots = save((continual_plots if settings.kind == "continual" else forgetting_plots)(found), folder.path)
    document = {**asdict(settings), "rows": [row.as_json() for row in found]}
    _write(folder.path / "report.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    _write(folder.path / "report.html", _page(settings, found, plots))
    return settings, found


def _page(settings: Settings, found: list[Row], plots: dict[str, str]) -> str:
    title = escape(f"odl learn {settings.kind}: {settings.scenario}")
    shown = columns(settings.kind, found)
    head = "".join(f"<th>{escape(figure.title)}</th>" for figure in shown)
    body = "".join(
        f"<tr><td>{escape(row.method)}</td><td>{escape(row.engine)}</td><td>{len(row.seeds)}</td>"
        + "".join(f"<td>{row.figures[item.key].text(item.digits)}</td>" for item in shown)
        + "</tr>\n"
        for row in found
    )
    meanings = "".join(f"<dt>{escape(item.title)}</dt><dd>{escape(item.meaning)}</dd>\n" for item in shown)
    pictures = "".join(f"<h2>{escape(name.replace('-', ' '))}</h2>\n{text}\n" for name, text in plots.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1>
<p>Split {escape(settings.split)}, {escape(settings.dtype)} precision in C, odl {escape(settings.version)}.
Mean ± standard deviation over seeds.</p>
<table><tr><th>method</th><th>engine</th><th>seeds</th>{head}</tr>
{body}</table>
{pictures}<h2>what the figures mean</h2><dl>
{meanings}</dl></body></html>
"""


def _write(path: Path, text: str) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
