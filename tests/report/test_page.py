"""The page in a real browser: quiet, alone, whole, and usable by hand and by key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, find_chromium

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, whole: Path) -> Browser:
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(whole / "report" / "index.html")
    return browser


def test_no_complaint_and_no_request(page: Browser, whole: Path) -> None:
    assert page.complaints == []
    outside = [url for url in page.requests if not url.startswith(("data:", "file:"))]
    assert outside == []
    assert [url for url in page.requests if url.startswith("file:")] == [
        (whole / "report" / "index.html").absolute().as_uri()
    ]


def test_every_figure_is_there_and_has_a_size(page: Browser) -> None:
    sizes = page.evaluate(
        "[...document.querySelectorAll('figure.drawing')].map(f => {"
        " const b = f.querySelector('svg').getBBox(); return [f.id, b.width, b.height] })"
    )
    assert len(sizes) == 11
    assert all(width > 300 and height > 50 for _, width, height in sizes)
    images = page.evaluate("[...document.querySelectorAll('svg image')].map(i => i.href.baseVal.slice(0, 5))")
    assert set(images) == {"data:"}


def test_hover_and_keys_name_the_points(page: Browser) -> None:
    page.evaluate("document.querySelector('#cost_quality').scrollIntoView({behavior: 'instant'})")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # scroll hides
    where: dict[str, Any] = page.evaluate(
        "(() => { const p = JSON.parse(document.querySelector('[data-points=cost_quality]').textContent)"
        ".find(q => q.text.startsWith('cov '));"
        " const s = document.querySelector('#cost_quality svg');"
        " const m = new DOMPoint(p.x, p.y).matrixTransform(s.getScreenCTM());"
        " return {x: m.x, y: m.y, text: p.text} })()"
    )
    page.move(where["x"] + 1, where["y"] + 1)
    assert page.evaluate("document.querySelector('#tip').textContent") == where["text"]
    assert page.evaluate("document.querySelector('#tip').hidden") is False
    page.move(2, 2)
    assert page.evaluate("document.querySelector('#tip').hidden") is True
    page.evaluate("document.querySelector('#cost_quality .scroll').focus({preventScroll: true})")
    page.press("ArrowRight")
    first = page.evaluate("document.querySelector('#tip').textContent")
    page.press("ArrowRight")
    assert page.evaluate("document.querySelector('#tip').textContent") != first
    page.press("Escape")
    assert page.evaluate("document.querySelector('#tip').hidden") is True


def test_every_link_leads_somewhere(page: Browser) -> None:
    assert page.evaluate("[...document.querySelectorAll('a')].every(a => document.querySelector(a.hash))") is True


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(browser: Browser, whole: Path, dark: bool) -> None:
    """Contrast of 4.5 to 1 (WCAG 2.2 AA) for every text of the page and of its figures."""
    browser.open(whole / "report" / "index.html", dark=dark)
    pairs = browser.evaluate(
        "(() => { const ground = getComputedStyle(document.body).backgroundColor; const seen = new Set();"
        " for (const e of document.querySelectorAll('body *')) {"
        "  if (e.closest('#tip') || ![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;"
        "  const s = getComputedStyle(e); if (s.display == 'none' || e.closest('script, style')) continue;"
        "  seen.add(e instanceof SVGElement ? s.fill : s.color) }"
        " return [...seen].map(c => [c, ground]) })()"
    )
    assert len(pairs) >= 4
    low = {text: round(_contrast(text, ground), 2) for text, ground in pairs if _contrast(text, ground) < 4.5}
    assert low == {}


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_phone_scrolls_down_and_not_sideways(browser: Browser, whole: Path) -> None:
    browser.open(whole / "report" / "index.html", width=390, height=844, phone=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_hostile_names_run_nothing(browser: Browser, build: Any) -> None:
    from fake_study import FakeStudy

    script = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
    verdict = build(
        FakeStudy(name=script, automatic_arms=("cov", script), num_trials=2, images=False, single_arms=False)
    )
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(verdict.page)
    assert browser.evaluate("window.hit") is None
    assert browser.complaints == []
    assert len([url for url in browser.requests if not url.startswith("data:")]) == 1


def test_prints_on_a4_without_losing_a_column(browser: Browser, whole: Path) -> None:
    browser.open(whole / "report" / "index.html", width=688, height=1000)  # A4 less its margins, in CSS pixels
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    wide = browser.evaluate(
        "[...document.querySelectorAll('table, svg')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.closest('figure').id)"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert wide == []
