"""The report of a real audit in a real browser: it fits the screen, can be read, prints whole, asks nobody."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

pytestmark = pytest.mark.browser

AUDIT = """\
schema: auditor/audit/1
name: browser
seed: 3
profile: quick
data: {source: digits, limit: {train: 300, test: 150}}
subjects:
  - id: mlp
    train: {architecture: mlp, kwargs: {hidden: [16]}, optimizers: [sgd, adamw], seeds: 2, epochs: 4, tune: off}
probes:
  evasion.linf: {epsilons: [0.05, 0.1], samples: 60, queries: 20}
"""
OVERFLOW = """
const wide = [...document.querySelectorAll('body *')].filter(e => {
  for (let p = e.parentElement; p; p = p.parentElement) {
    const o = getComputedStyle(p).overflowX;
    if (o === 'auto' || o === 'scroll' || o === 'hidden') return false;
  }
  return e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest('svg');
});
const root = document.documentElement;
return [root.scrollWidth - root.clientWidth, wide.slice(0, 3).map(e => e.outerHTML.slice(0, 120))];
"""
CONTRAST = """
function luminance(c) {
  const linear = x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => linear(x / 255));
  return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
}
function behind(e) {
  for (let p = e; p; p = p.parentElement) {
    const c = getComputedStyle(p).backgroundColor;
    if (!/rgba\\(.*, 0\\)$|transparent/.test(c) && !/^rgba/.test(c)) return c;
  }
  return 'rgb(255, 255, 255)';
}
const poor = [];
for (const e of document.querySelectorAll('p, td, th, li, h1, h2, h3, h4, a, summary, caption, dt, dd, span')) {
  if (!e.textContent.trim() || e.closest('svg') || e.closest('.skip') || !e.getClientRects().length) continue;
  const color = getComputedStyle(e).color, back = behind(e);
  if (!/^rgb\\(/.test(color) || !/^rgb\\(/.test(back)) continue;
  const a = luminance(color), b = luminance(back);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push([e.tagName, e.textContent.trim().slice(0, 40), color, back, ratio.toFixed(2)]);
}
return poor.slice(0, 5);
"""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, shell_at: Callable[[Path], Any]) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "audit.yaml").write_text(AUDIT)
    ended = shell_at(folder)("run", "audit.yaml", "--out", "bundle")
    assert ended.code in (0, 1, 3), ended.err
    return folder / "bundle" / "looks" / "report.html"


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
        "--disable-component-update",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


def see(
    browser: webdriver.Chrome, report: Path, *, width: int = 1280, scheme: str = "light", media: str = "screen"
) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.get(report.as_uri())


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_nothing_but_wide_tables_in_their_own_box_reaches_past_the_screen(
    browser: webdriver.Chrome, report: Path, width: int
) -> None:
    see(browser, report, width=width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    over, elements = browser.execute_script(OVERFLOW)
    assert over <= 0, elements
    assert elements == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(browser: webdriver.Chrome, report: Path, scheme: str) -> None:
    see(browser, report, scheme=scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script(CONTRAST) == []


def test_dark_and_light_differ(browser: webdriver.Chrome, report: Path) -> None:
    shades = []
    for scheme in ("light", "dark"):
        see(browser, report, scheme=scheme)
        shades.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert shades[0] != shades[1]


def test_the_page_asks_for_nothing_but_itself_and_breaks_no_rule_of_its_own(
    browser: webdriver.Chrome, report: Path
) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    see(browser, report)
    requests = [
        entry["message"]
        for entry in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    asked = [r for r in requests if report.name not in r and '"url":"data:' not in r]
    assert asked == []
    assert browser.get_log("browser") == []


def test_every_link_inside_the_page_leads_somewhere(browser: webdriver.Chrome, report: Path) -> None:
    see(browser, report)
    lost = browser.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))"
        ".filter(id => id && !document.getElementById(id))"
    )
    assert lost == []


def test_print_shows_what_is_folded_away_on_the_screen(browser: webdriver.Chrome, report: Path) -> None:
    see(browser, report, media="print")
    hidden = browser.execute_script(
        "return [...document.querySelectorAll('details:not([open])')]"
        ".filter(d => d.lastElementChild && d.lastElementChild !== d.querySelector('summary')"
        " && d.lastElementChild.getBoundingClientRect().height === 0).length"
    )
    assert hidden == 0


def test_the_verdicts_of_contrasts_are_seen_without_scrolling(browser: webdriver.Chrome, report: Path) -> None:
    see(browser, report)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('table.contrasts td.reason')].map(e => "
        "[e.getBoundingClientRect().right, e.closest('.scroll').getBoundingClientRect().right])"
    )
    assert boxes
    assert all(cell <= box + 1 for cell, box in boxes)
