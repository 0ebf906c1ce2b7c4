"""The HTML report: safe, still, honest, and the same every time."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from auditor.bundle import Facts
from auditor.policy import Findings
from auditor.record import AuditRecord, Caveat
from auditor.reports import html

HOSTILE = "<script>alert('x')</script>"


class Page(HTMLParser):
    """What a reader of the markup finds: tags with their attributes, and the text of each element."""

    VOID = frozenset({"meta", "img", "link", "br", "path", "use", "hr"})

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open[-1] == tag, f"{tag} closes inside {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.text.append((self.open[-1], data.strip()))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(rendered: bytes) -> Page:
    return Page(rendered)


def test_every_element_is_closed_where_it_was_opened(page: Page) -> None:
    assert page.open == []


def test_the_same_bundle_gives_the_same_bytes(rendered: bytes, facts: Facts, findings: Findings) -> None:
    assert rendered == html.render(facts, findings)


def test_the_page_is_small(rendered: bytes) -> None:
    assert len(rendered) < 500_000


def test_the_page_forbids_itself_to_load_anything(page: Page) -> None:
    policies = [m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_nothing_on_the_page_asks_for_anything_outside(rendered: bytes) -> None:
    text = rendered.decode()
    page = Page(text.encode())
    loads = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in {"src", "href", "srcset"}
    ]
    assert loads
    assert all(value is not None and value.startswith(("#", "data:image/png;base64,")) for value in loads)
    assert not {"script", "iframe", "object", "embed", "link"} & {tag for tag, _ in page.tags}
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_every_link_on_the_page_leads_somewhere(page: Page) -> None:
    places = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(places) == len(set(places))
    wanted = {str(a.get("href"))[1:] for tag, a in page.tags if tag in {"a", "use"}}
    labelled = {name for _, a in page.tags for name in str(a.get("aria-labelledby", "")).split()}
    assert wanted | labelled <= set(places)


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_table_has_a_caption_and_scoped_headings(page: Page) -> None:
    assert len(page.named("table")) == len(page.named("caption")) > 10
    assert all(th.get("scope") in {"row", "col"} for th in page.named("th"))


def test_every_drawing_has_a_name_and_every_picture_a_text(page: Page) -> None:
    drawings = page.named("svg")
    assert len(drawings) >= 5
    assert len(page.named("figure")) == len(drawings) + 1  # the pictures
    assert all(d["role"] == "img" and d["aria-labelledby"] for d in drawings)
    pictures = [str(i["alt"]) for i in page.named("img")]
    assert pictures == ["", "", "A row of class zero before and after the change; afterwards read as one",
                        "", "", "A row of class one before and after the change; afterwards read as two"]  # fmt: skip


def test_drawings_take_their_colours_from_the_page(rendered: bytes) -> None:
    text = rendered.decode()
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--c1)" in drawings
    assert "var(--ink)" in drawings
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawings)) == set()


def test_hostile_names_are_shown_and_not_obeyed(bundle: Callable[..., Facts], findings: Findings) -> None:
    record = bundle().record
    dataset = record.dataset.model_copy(update={"classes": (HOSTILE, "$x$", "two"), "licence": HOSTILE, "id": HOSTILE})
    audit = record.audit.model_copy(update={"name": HOSTILE})
    results = (*record.results[:1], record.results[1].model_copy(update={"outcome": "errored", "reason": HOSTILE}))
    caveat = Caveat(flag=HOSTILE, severity="suspicious", evidence=HOSTILE)
    results = (results[0].model_copy(update={"caveats": (caveat,)}), results[1])
    measured = tuple(
        m.model_copy(update={"at": {"class": HOSTILE}}) if m.at.get("class") == "zero" else m
        for m in record.measurements
    )
    changed = bundle(
        dataset=dataset, audit=audit, results=results, measurements=measured, config={"card": {"owners": [HOSTILE]}}
    )
    found = findings.findings[0].model_copy(update={"reason": HOSTILE, "title": HOSTILE, "rule": HOSTILE})
    text = html.render(
        changed, findings.model_copy(update={"findings": (found,), "summary": HOSTILE, "notes": (HOSTILE,)})
    ).decode()
    assert "<script" not in text.lower()
    assert text.count("&lt;script&gt;") >= 12
    Page(text.encode())


def numbers_in(page: bytes, section: str) -> dict[float, str]:
    """The rounded text of every number in a section, by its exact value."""
    text = page.decode()
    start = text.index(f'<section id="{section}"')
    cut = text[start : text.index("</section>", start)]
    return {float(exact): shown for exact, shown in re.findall(r'<data value="([^"]+)">([^<]+)</data>', cut)}


def test_every_number_of_the_scorecard_is_the_records(rendered: bytes, facts: Facts) -> None:
    shown = numbers_in(rendered, "scorecard")
    recorded = {m.value for m in facts.record.measurements}
    assert shown.keys() <= recorded
    assert {m.value for m in facts.record.measurements if m.metric == "robust_accuracy"} <= shown.keys()
    assert shown[0.17] == "≤ 17.0\u202f%"
    assert shown[0.9412] == "94.1\u202f%"
    assert shown[0.5731] == "≥ 0.573"


def test_a_group_is_shown_and_not_its_members(rendered: bytes) -> None:
    text = rendered.decode()
    scorecard = text[text.index('<section id="scorecard"') : text.index('<section id="findings"')]
    assert re.findall(r'scope="col" class="number">([^<]+)<', scorecard) == ["sgd", "adamw", "rmsprop"]


def test_each_state_of_a_finding_stands_in_words_beside_its_colour(rendered: bytes) -> None:
    text = rendered.decode()
    for words in (
        "1 fail",
        "1 inconclusive",
        "1 not assessed",
        "1 waived",
        "1 pass",
        "about 300 more rows would settle it",
    ):
        assert words.lower() in text.lower(), words
    assert "Waived by W-1." in text
    assert "waiver W-1 ends in 10 days" in text


def test_all_72_subcategories_are_listed_once(rendered: bytes) -> None:
    text = rendered.decode()
    rows = re.findall(
        r'<th scope="row" class="id"><span class="text">((?:GOVERN|MAP|MEASURE|MANAGE) \d+\.\d+)</span>', text
    )
    assert len(rows) == len(set(rows)) == 72


def states_of(page: bytes) -> dict[str, str]:
    """The state of each subcategory of the AI RMF as the page shows it."""
    row = r'<th scope="row" class="id"><span class="text">([A-Z]+ \d+\.\d+)</span></th>'
    return dict(re.findall(row + r'\s*<td class="">.*?</span>([a-z ]+)</span>', page.decode()))


def test_a_subcategory_is_measured_only_by_a_reliable_completed_result(
    rendered: bytes, bundle: Callable[..., Facts], findings: Findings
) -> None:
    facts = bundle()
    assert states_of(rendered)["MEASURE 2.10"] == "measured"
    spoilt = tuple(
        r.model_copy(update={"reliability": "invalid"}) if r.probe == "privacy.membership" else r
        for r in facts.record.results
    )
    changed = bundle(results=spoilt)
    assert states_of(html.render(changed, findings))["MEASURE 2.10"] == "not assessed"


def test_the_page_never_says_compliant(rendered: bytes) -> None:
    text = rendered.decode().lower()
    assert "compliant" not in text
    assert "voluntary" in text


def test_missing_evidence_is_never_shown_as_a_pass(bundle: Callable[..., Facts], findings: Findings) -> None:
    facts = bundle()
    skipped = tuple(
        r.model_copy(update={"outcome": "skipped", "reason": "no time", "samples": None, "gallery": None})
        for r in facts.record.results
    )
    empty = bundle(results=skipped, measurements=(), contrasts=(), arrays={})
    missing = findings.findings[2]
    judged = findings.model_copy(
        update={
            "findings": (missing,),
            "contrasts": (),
            "verdict": "inconclusive",
            "exit_code": 3,
            "summary": "Nothing ran.",
        }
    )
    text = html.render(empty, judged).decode()
    body = text[text.index("<body>") :]
    assert 'class="banner unsure"' in body
    assert "INCONCLUSIVE" in body
    assert "no time" in body
    scorecard = body[body.index('id="scorecard"') : body.index('id="findings"')]
    assert "not measured" in scorecard
    assert 'class="chip pass"' not in body[: body.index('id="framework"')].replace(
        'class="chip pass"><span class="icon" aria-hidden="true">✓</span>0 pass', ""
    )
    assert "<data" not in scorecard
    assert set(states_of(text.encode()).values()) == {"not assessed"}


def test_an_interrupted_audit_says_so_before_anything_else(bundle: Callable[..., Facts], findings: Findings) -> None:
    audit = AuditRecord(name="cut", seed=1, profile="quick", plan_sha256="0" * 64, complete=False)
    text = html.render(bundle(audit=audit), findings).decode()
    header = text[text.index("<header") : text.index("</header>")]
    assert "INCOMPLETE" in header
    assert "interrupted" in header
    assert 'class="banner unsure"' in header


def test_a_card_that_states_nothing_says_that_nothing_was_stated(
    bundle: Callable[..., Facts], findings: Findings
) -> None:
    text = html.render(bundle(config={"card": None}), findings).decode()
    card = text[text.index("<h3>Model card</h3>") : text.index("<h3>Dataset card</h3>")]
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", card))
    assert {facts[k] for k in ("Intended use", "Out of scope", "Owners", "Contact", "Limitations")} == {"not stated"}


def test_rendering_needs_neither_torch_nor_a_probe() -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['scipy'] = None; sys.modules['sklearn'] = None\n"
        "import auditor.reports.html, auditor.reports.markdown\n"
        "assert 'matplotlib' not in sys.modules and not any(m.startswith('auditor.attacks') for m in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_text_has_enough_contrast_in_light_and_in_dark() -> None:
    from importlib.resources import files

    style = (files("auditor.reports.templates") / "style.css").read_text()
    light, dark = (dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media")[:2])
    for colours in (light, dark):
        pairs = [(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("paper", "card")]
        pairs += [(tone, f"{tone}-wash") for tone in ("pass", "fail", "unsure", "none", "waived", "part")]
        for ink, ground in pairs:
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for index in range(1, 9):
            assert contrast(colours[f"c{index}"], colours["card"]) >= 3, index


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_probe_that_nobody_here_knows_gets_a_table_and_a_curve(
    bundle: Callable[..., Facts], findings: Findings
) -> None:
    from auditor.record import Measurement, Result

    record = bundle().record
    fields: dict[str, Any] = {
        "probe": "acme.fog",
        "metric": "visibility",
        "n": 10,
        "better": "higher",
        "kind": "estimate",
    }
    seen = tuple(
        Measurement(of="mlp/sgd", at={"density": d}, value=v, low=v - 0.1, high=v + 0.1, **fields)
        for d, v in ((0.5, 2.5), (0.1, 12.25))
    )
    result = Result(probe="acme.fog", version=3, subject="mlp/sgd/0", outcome="completed")
    changed = bundle(results=(*record.results, result), measurements=(*record.measurements, *seen))
    text = html.render(changed, findings).decode()
    section = text[text.index('id="probe-acme-fog"') :]
    section = section[: section.index("</section>")]
    assert 'aria-labelledby="chart-acme-fog-visibility-title"' in section
    assert [text for _, text in re.findall(r'<data value="([^"]+)">([^<]+)</data>', section)] == ["12.2", "2.500"]


@pytest.mark.parametrize("classes", [2, 100])
def test_few_and_many_classes_are_shown_readably(
    bundle: Callable[..., Facts], findings: Findings, classes: int
) -> None:
    record = bundle().record
    names = tuple(f"class {i}" for i in range(classes))
    counts = tuple(range(1, classes + 1))
    dataset = record.dataset.model_copy(
        update={"classes": names, "class_counts": {"train": counts, "test": counts}, "shape": (9,)}
    )
    text = html.render(bundle(dataset=dataset, arrays=many(record, classes)), findings).decode()
    assert text.count("Confusion matrix of sgd" if classes == 2 else "Commonest confusions of sgd") == 3
    assert f"the commonest class has {classes} times the training rows of the rarest" in text
    assert len(text) < 500_000


def many(record: Any, classes: int) -> dict[str, Any]:
    """Samples in which one answer in ten is wrong, and exemplars without pictures."""
    import numpy as np

    label = np.arange(10 * classes) % classes
    wrong = np.where(np.arange(10 * classes) < classes, (label + 1) % classes, label)
    one = {"row": label.astype(str), "label": label, "prediction": wrong}
    vectors = np.arange(18, dtype=np.float32).reshape(2, 9)
    shown = {"before": vectors, "after": vectors + 1, "label": label[:2], "prediction": label[:2]}
    return {
        name: shown if name.startswith("gallery") else one
        for result in record.results
        for name in (result.samples, result.gallery)
        if name
    }


def test_one_loaded_model_without_seeds_or_contrasts_is_a_report_of_its_own(
    bundle: Callable[..., Facts], findings: Findings
) -> None:
    from auditor.record import SubjectRecord

    record = bundle().record
    subject = SubjectRecord(
        id="released", group="released", config="released", access=("labels",), loaded={"format": "onnx"}
    )
    results = tuple(r.model_copy(update={"subject": "released"}) for r in record.results if r.subject == "mlp/sgd/0")
    measured = tuple(
        m.model_copy(update={"of": "released", "seeds": None}) for m in record.measurements if m.of == "mlp/sgd"
    )
    facts = bundle(subjects=(subject,), results=results, measurements=measured, contrasts=(), arrays=files_for(record))
    text = html.render(facts, findings.model_copy(update={"findings": (), "contrasts": ()})).decode()
    assert "nothing to compare" in text
    assert "loaded from onnx" in text
    assert numbers_in(text.encode(), "scorecard")[0.31] == "≤ 31.0\u202f%"


def files_for(record: Any) -> dict[str, Any]:
    import numpy as np

    empty = {"row": np.array(["a"]), "label": np.array([0]), "prediction": np.array([0])}
    return {n: empty for r in record.results for n in (r.samples, r.gallery) if n and r.subject == "mlp/sgd/0"}


def test_members_without_a_common_number_are_shown_as_their_range(
    bundle: Callable[..., Facts], findings: Findings
) -> None:
    record = bundle().record
    alone = tuple(
        m.model_copy(update={"of": f"mlp/sgd/{s}", "value": m.value + s / 100, "seeds": None})
        for m in record.measurements
        if m.of == "mlp/sgd"
        for s in range(2)
    )
    text = html.render(bundle(measurements=alone, contrasts=()), findings).decode()
    scorecard = text[text.index('<section id="scorecard"') : text.index('<section id="findings"')]
    assert "94.1–95.1\u202f%" in scorecard
    assert "2 seeds, least to greatest" in scorecard
