"""Writes what was measured as Markdown and as a chart."""

import html
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from measure import markdown, number  # noqa: E402


def table(results):
    """The Markdown page."""
    columns = results["columns"]
    tasks = results["tasks"]
    ours = columns[0] if columns[0] == "Fovea" else None
    parts = [
        "# Fovea beside its peers\n",
        "Written by `./x bench peers`; do not edit.\n",
        f"- Date: {results['date']}",
        f"- Machine: {results['machine']}",
        f"- Versions: {'; '.join(results['versions'])}",
        f"- Photos{' (made from the samples, enlarged with noise)' if results['photos_made'] else ''}: {photos(results)}\n",
        "## CPU time\n",
        f"CPU milliseconds (user and system) a request, one thread that renders; medians over {results['rounds']} interleaved"
        " rounds. Every request has another width, so that no cache answers."
        + (f" In brackets: how many times the CPU of {ours}." if ours else "") + "\n",
        markdown(["task", *columns], [[f"{name} {task['title']}", *cpu_cells(task, columns, ours)] for name, task in tasks.items()]),
        "## Bytes and quality\n",
        "Bytes of the answer at the nominal width, and its SSIMULACRA2 against Lanczos3 of the fully decoded original in gamma"
        " space / in linear light, means over the photos. 100 is identical; 80 is hard to tell apart, 50 is visibly worse.\n",
        markdown(["task", *columns], [[f"{name} {task['title']}", *quality_cells(task, columns)] for name, task in tasks.items()]),
        "## Memory\n",
        f"Peak resident memory in MiB of a fresh server with {results['threads']} threads that render: after a few T1 one after"
        " the other, and after 32 T7 at once.\n",
        markdown(["", *results["memory"]], memory_rows(results["memory"])),
        *more(results),
        "“Fovea” is a later variant of an original that was asked for before; “first” the first one, which also makes the mezzanines"
        " where the original has any; “direct” has them off.\n",
        "“Quick” is the same peer at its encoders' quick settings: sharp with WebP effort 2 and AVIF effort 0 (its defaults are"
        " 4), oximg with `PRESET=fast OXIMG_DCT_MARGIN=1.7` (mozjpeg baseline, shrink-on-load). A dash: the peer does not do it.",
    ]
    return "\n".join(parts) + "\n"


def more(results):
    """What was measured beside the tasks: a page, load, and hang-ups."""
    parts = []
    if results.get("page"):
        parts += [
            "## A page\n",
            f"CPU milliseconds of all variants of one photo that a page asks for, six at once: {results['page_title']}. sharp with AVIF"
            " effort 0.\n",
            markdown(["", *results["page"]], [["a 12 MP photo", *(number(cell) for cell in results["page"].values())]]),
        ]
    if results.get("load"):
        counts = list(next(iter(results["load"].values())))
        rows = [
            [title, *(f"{cells[at]['per_core']:.1f} · {cells[at]['p50_ms']:.0f} / {cells[at]['p99_ms']:.0f}" for at in counts)]
            for title, cells in results["load"].items()
        ]
        parts += [
            "## Load\n",
            f"T1 with {results['threads']} threads that render and so many requests at once: answers a second and core · median / 99th"
            " percentile in wall milliseconds (on a machine that others use too).\n",
            markdown(["", *(f"{count} at once" for count in counts)], rows),
        ]
    if results.get("abandoned"):
        parts += [
            "## Hang-ups\n",
            "CPU seconds that a server still spends after 24 clients that asked for T7 have left.\n",
            markdown(["", *results["abandoned"]], [["after the hang-up", *(number(cell) for cell in results["abandoned"].values())]]),
        ]
    return parts


def photos(results):
    """The originals with their sizes."""
    found = [f"`{file}` {width}×{height}" for files in results["photos"].values() for file, (width, height) in files.items()]
    return ", ".join(found)


def cpu_cells(task, columns, ours):
    """CPU and the ratio to ours."""
    base = task["columns"].get(ours, {}).get("cpu_ms")
    cells = []
    for column in columns:
        value = task["columns"].get(column, {}).get("cpu_ms")
        if value is None:
            cells.append("–")
        elif base and column != ours:
            cells.append(f"{number(value)} ({number(value / base)}×)")
        else:
            cells.append(f"**{number(value)}**" if column == ours else number(value))
    return cells


def quality_cells(task, columns):
    """Bytes and both scores."""
    cells = []
    for column in columns:
        cell = task["columns"].get(column)
        cells.append(f"{cell['bytes']:.0f} · {cell['gamma']:.1f} / {cell['linear']:.1f}" if cell else "–")
    return cells


def memory_rows(memory):
    """One row a measure."""
    at_once = []
    for cell in memory.values():
        refused = "" if cell["T7_at_once_ok"] == 32 else f" ({cell['T7_at_once_ok']} of 32 answered)"
        at_once.append(f"{cell['T7_at_once_mib']:.0f}{refused}")
    return [["after T1", *(f"{cell['T1_mib']:.0f}" for cell in memory.values())], ["32 T7 at once", *at_once]]


PANEL_W, PANEL_GAP, MARGIN = 440, 32, 20
BAR_H, ROW_H, LABEL_W, VALUE_W, HEAD_H = 12, 18, 98, 60, 30
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1d2430 } .note, .name { fill: #5b6675 }
.title { font-size: 16px; font-weight: 600 } .head { font-weight: 600 }
.page { fill: #ffffff } .bar { fill: #a9b4c2 } .ours { fill: #c2410c }
@media (prefers-color-scheme: dark) {
  text { fill: #e8ecf2 } .note, .name { fill: #9aa6b5 }
  .page { fill: #14181f } .bar { fill: #556274 } .ours { fill: #fb923c }
}
"""


def chart(results):
    """CPU time as bars, a panel for each task on its own scale."""
    columns = results["columns"]
    panels = []
    for name, task in results["tasks"].items():
        values = [(column, task["columns"][column]["cpu_ms"]) for column in columns if column in task["columns"]]
        if values:
            panels.append((f"{name} · {task['title']}", values))
    note = f"each task on its own scale; one thread; {results['machine'].split(',')[0]}; {results['date']}"
    return page("CPU milliseconds a request, less is better", note, panels)


def page(title, note, panels):
    """An SVG of panels, two in a row; a panel is its title and its values by name."""
    body, top = [], MARGIN + 52
    for at in range(0, len(panels), 2):
        row = panels[at : at + 2]
        for side, (name, values) in enumerate(row):
            drawn = panel(name, values)
            body.append(f'<g transform="translate({MARGIN + side * (PANEL_W + PANEL_GAP)} {top})">{drawn}</g>')
        top += max(HEAD_H + ROW_H * len(values) + 12 for _, values in row)
    width, height = MARGIN * 2 + PANEL_W * 2 + PANEL_GAP, top + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>"
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>'
        f'<text class="title" x="{MARGIN}" y="{MARGIN + 14}">{html.escape(title)}</text>'
        f'<text class="note" x="{MARGIN}" y="{MARGIN + 34}">{html.escape(note)}</text>'
        f"{''.join(body)}</svg>\n"
    )


def panel(title, values):
    """One task: names on the left, bars, and numbers behind them."""
    longest = max(value for _, value in values)
    drawn = [f'<text class="head" y="14">{html.escape(title)}</text>']
    for row, (column, value) in enumerate(values):
        y = HEAD_H - 6 + row * ROW_H
        length = max(1.0, (PANEL_W - LABEL_W - VALUE_W) * value / longest)
        kind = "bar ours" if column.lower().startswith("fovea") else "bar"
        drawn.append(f'<text class="name" y="{y + 10}">{html.escape(column)}</text>')
        drawn.append(f'<rect class="{kind}" x="{LABEL_W}" y="{y}" width="{length:.1f}" height="{BAR_H}" rx="2"/>')
        drawn.append(f'<text x="{LABEL_W + length + 6:.1f}" y="{y + 10}">{number(value)}</text>')
    return "".join(drawn)
