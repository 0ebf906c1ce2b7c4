"""Drawings: what they hold, and that a page can hold many of them."""

import re

from auditor.reports import charts
from auditor.reports.canvas import drawing
from auditor.reports.charts import Axis, Effect, Effects, Panel, Point, Series, Spot


def line(name: str = "sgd", index: int = 0) -> Series:
    return Series(name, index, (Point(0.9, 0.8, 0.95), None, Point(0.4)), (0.0, 0.05, 0.1))


def test_a_drawing_names_its_groups_axes_and_title_as_text() -> None:
    axis = Axis("ε", ticks=((0.0, "0"), (0.1, "8/255")))
    svg = charts.curves(
        "one", "Robust <accuracy>", (Panel((line(), line("adamw", 1)), Axis("Accuracy", "share")),), axis
    )
    assert '<title id="one-title">Robust &lt;accuracy&gt;</title>' in svg
    assert "<desc>Accuracy against ε; for sgd, adamw.</desc>" in svg
    words = re.findall(r">([^<>\n]+)</text>", svg)
    assert {"sgd", "adamw", "Accuracy", "ε", "8/255"} <= set(words)


def test_two_drawings_share_no_identity() -> None:
    pair = [charts.dots(name, "t", ["a"], [Series("sgd", 0, (Point(0.5, 0.4, 0.6),))], Axis("x")) for name in "ab"]
    one, other = (set(re.findall(r'\bid="([^"]+)"', svg)) for svg in pair)
    assert one
    assert not one & other


def test_the_same_numbers_give_the_same_drawing() -> None:
    drawn = [
        charts.scatter("p", "t", [Spot("sgd", 0, Point(1.0), Point(0.5, 0.4, 0.6))], Axis("x"), Axis("y", "share"))
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert "20" not in re.findall(r"<!--.*?-->", drawn[0])


def test_a_settled_effect_is_filled_and_an_open_one_is_not() -> None:
    effects = (
        Effect(Point(-0.1, -0.2, -0.05), "fail", settled=True),
        Effect(Point(0.0, -0.1, 0.1), "unsure", settled=False),
    )
    svg = charts.forest(
        "f", "t", ["a", "b"], [Effects("adamw − sgd", 1, effects)], Axis("d", "difference", reference=0)
    )
    assert re.search(r"fill: var\(--fail\)", svg)
    assert re.search(r"fill: var\(--paper\); stroke: var\(--unsure\)", svg)
    assert not re.search(r"fill: var\(--unsure\)", svg)


def test_a_drawing_loads_nothing_and_claims_no_font() -> None:
    svg = charts.curves("c", "t", (Panel((line(),), Axis("y")),), Axis("x"))
    assert "http" not in svg
    assert "font-family" not in svg
    assert "<style" not in svg


def test_long_names_stand_below_each_other_in_a_legend_instead_of_running_out_of_the_drawing() -> None:
    with drawing("legend", "Names", 7.2, 3.0) as canvas:
        for k in range(6):
            canvas.axes.plot([0, 1], [0, k], label=f"adamw~no-decay@pruned-{k}0 - adamw~no-decay")
        canvas.legend()
        (legend,) = canvas.figure.legends
        canvas.figure.draw_without_rendering()
        assert legend.get_window_extent().width <= canvas.figure.bbox.width
