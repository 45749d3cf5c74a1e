"""One self-contained HTML page: charts as inline SVG, pictures as data URIs, dark and light as the reader likes it.

A page can be mailed, kept beside a run or opened years later: nothing is fetched from anywhere.
"""

import base64
import html
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

#: Colours that charts are drawn with -> the page's variables that replace them, so that one chart suits both grounds.
THEME = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--second)",
    "#060606": "var(--error)",
    "#070707": "var(--warning)",
    "#080808": "var(--note)",
    "#090909": "var(--goal)",
    "#0a0a0a": "var(--block)",
    "#0b0b0b": "var(--card)",
    "#0c0c0c": "var(--good)",
}
INK, MUTED, LINE, ACCENT, SECOND, ERROR, WARNING, NOTE, GOAL, BLOCK, CARD, GOOD = THEME

_STYLE = """
:root { color-scheme: light dark;
  --ink: #1f2430; --muted: #667085; --line: #dfe3ea; --page: #f5f6f8; --card: #ffffff; --accent: #3b4cc0;
  --second: #c2571a; --error: #c0262d; --warning: #a86400; --note: #2b6cb0; --goal: #8fd99b; --block: #778899;
  --good: #14804a; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6e9ef; --muted: #98a2b3; --line: #323a47; --page: #12151b; --card: #1b2029; --accent: #8da2fb;
  --second: #f2a05f; --error: #ff7b80; --warning: #f0b84b; --note: #7fb6f2; --goal: #2f6b3c; --block: #8796a8;
  --good: #5ccb8f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 2px; }
p { margin: 0 0 12px; } .muted, figcaption, .sub { color: var(--muted); } .sub { margin-bottom: 12px; font-size: 14px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 16px; min-width: 116px; }
.tile b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: 13px; }
.grid { display: grid; grid-template-columns: repeat(12, minmax(0, 1fr)); gap: 16px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  grid-column: span 12; min-width: 0; }
section.half { grid-column: span 6; } section.tall { grid-row: span 2; }
@media (max-width: 820px) { section.half { grid-column: span 12; } main { padding: 20px 12px; } }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
/* What is wider than the screen scrolls; a shade at the edge, which the content's end covers, says that there is more. */
.chart, .scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--card) 12px, transparent) left / 32px 100% no-repeat local,
  linear-gradient(to left, var(--card) 12px, transparent) right / 32px 100% no-repeat local,
  linear-gradient(to right, var(--muted), transparent) left / 9px 100% no-repeat scroll,
  linear-gradient(to left, var(--muted), transparent) right / 9px 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--muted); padding: 6px 14px 6px 0;
  border-bottom: 1px solid var(--line); }
td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td:first-child { overflow-wrap: break-word; }
tr:last-child td { border-bottom: 0; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.badge { display: inline-block; border-radius: 99px; padding: 1px 10px; white-space: nowrap;
  font-size: 12.5px; font-weight: 600; border: 1px solid currentColor; }
.error { color: var(--error); } .warning { color: var(--warning); }
.note { color: var(--note); } .good { color: var(--good); }
details summary { cursor: pointer; color: var(--muted); font-size: 13.5px; margin-top: 2px; }
details ul { margin: 6px 0 0; padding-left: 18px; font-size: 13.5px; columns: 2 320px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 12px; }
figure { margin: 0; } figcaption { font-size: 12.5px; margin-top: 3px; text-align: center; }
img { width: 100%; display: block; border-radius: 6px; background: #ffffff; }
video { width: 100%; object-fit: contain; object-position: top; border-radius: 8px; background: #ffffff; display: block; }
.films { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 16px; }
footer { color: var(--muted); font-size: 13px; margin-top: 24px; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: Of the browser's tab; plain text.
        parts: HTML of the page's body, in order.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Text as HTML: what a store says of itself must not become markup."""
    return html.escape(str(text))


def section(title: str, content: str, *, about: str = "", width: str = "") -> str:
    """A card with a heading.

    Args:
        title: Plain text.
        content: HTML.
        about: What one sees, in a line; plain text.
        width: "" for all of the page, "half", or "half tall" beside two others.
    """
    sub = f'<p class="sub">{escape(about)}</p>' if about else ""
    return f'<section class="{width}"><h2>{escape(title)}</h2>{sub}<div class="chart">{content}</div></section>'


def grid(sections: Iterable[str]) -> str:
    """Sections side by side, as many as fit."""
    return '<div class="grid">' + "\n".join(sections) + "</div>"


def tiles(values: Iterable[tuple[object, str, str]]) -> str:
    """A row of numbers: each with what it counts, and a class for its colour or nothing."""
    cells = (
        f'<div class="tile"><b class="{colour}">{escape(value)}</b><span>{escape(of)}</span></div>'
        for value, of, colour in values
    )
    return '<div class="tiles">' + "".join(cells) + "</div>"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table; cells are HTML.

    Args:
        headings: Plain text.
        rows: Cells of each row.
        numbers: Which columns hold numbers, to be set flush right.
    """

    def cell(tag: str, place: int, content: str) -> str:
        return f'<{tag} class="number">{content}</{tag}>' if place in numbers else f"<{tag}>{content}</{tag}>"

    head = "".join(cell("th", place, escape(heading)) for place, heading in enumerate(headings))
    body = "".join(
        "<tr>" + "".join(cell("td", place, content) for place, content in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def contact_sheet(pictures: Iterable[tuple[UInt8[np.ndarray, "height width 3"], str]]) -> str:
    """Small pictures with a line below each."""
    return (
        '<div class="sheet">'
        + "".join(
            f'<figure><img alt="{escape(words)}" src="{png_uri(picture)}"><figcaption>{escape(words)}</figcaption></figure>'
            for picture, words in pictures
        )
        + "</div>"
    )


_ROOM = 0.22


def films(videos: Iterable[tuple[bytes, str]], size: tuple[int, int] | None = None) -> str:
    """MP4 films inside the page, with a line below each.

    Args:
        videos: films and lines.
        size: width and height of all, where their lowest part shall stay clear of the player's controls.
    """
    room = "" if size is None else f' style="aspect-ratio: {size[0]} / {(1 + _ROOM) * size[1]:.0f}"'
    return (
        '<div class="films">'
        + "".join(
            f'<figure><video controls loop muted playsinline{room} src="{_data("video/mp4", film)}"></video>'
            f"<figcaption>{escape(words)}</figcaption></figure>"
            for film, words in videos
        )
        + "</div>"
    )


def png_uri(picture: UInt8[np.ndarray, "height width 3"]) -> str:
    """The address of an RGB picture that lies inside the page."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return _data("image/png", encoded.tobytes())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
