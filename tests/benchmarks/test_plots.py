"""Plots are pictures that a browser can read, and show the figures that they were given."""

import math
import re
from xml.etree import ElementTree as ET

import pytest
from support_programs import programs_of

(plots,) = programs_of("benchmarks", "plots")
SVG = "{http://www.w3.org/2000/svg}"


def drawn(*plot, **options):
    return ET.fromstring(plots.picture(list(plot), **options))  # noqa: S314 - ours


def words(svg):
    return [one.text for one in svg.iter(f"{SVG}text")]


def lines(*points, **options):
    return plots.Lines("A title", [plots.Series("a line", points)], "seconds", "a second", **options)


def strokes(svg):
    return [one.get("d") for one in svg.iter(f"{SVG}path") if one.get("stroke")]


def test_a_line_rises_where_its_values_do_and_is_named():
    svg = drawn(lines((0.0, 0.0), (5.0, 5.0), (10.0, 10.0)))
    (path,) = strokes(svg)
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]

    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert {"A title", "a line", "seconds", "a second", "10"} <= set(words(svg))


def test_a_gap_is_not_drawn_over():
    (path,) = strokes(drawn(lines((0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, 1.0), (4.0, 1.0))))

    assert path.count("M") == 2
    assert "nan" not in path


def test_on_a_logarithmic_axis_equal_ratios_are_equally_far_apart():
    (path,) = strokes(drawn(lines((1e3, 1.0), (1e4, 1.0), (1e6, 1.0), log_x=True)))
    first, second, third = (float(x) for x in re.findall(r"[ML]([\d.]+)", path))

    assert third - second == pytest.approx(2 * (second - first), abs=0.2)


def test_a_bar_is_as_tall_as_its_value_and_an_objective_lies_across():
    svg = drawn(plots.Bars("Rates", ["one", "two"], [("start", [1.0, 2.0])], "a second", limit=1.5))
    tall = [float(one.get("height")) for one in svg.iter(f"{SVG}rect") if one.get("height") != "8"]

    assert tall[1] == pytest.approx(2 * tall[0], abs=0.2)
    assert [one for one in svg.iter(f"{SVG}path") if one.get("stroke-dasharray")]


@pytest.mark.parametrize(
    "plot",
    [
        lines(),
        lines((1.0, 0.0)),
        lines((0.0, math.nan)),
        lines((1e3, 1.0), log_x=True),
        plots.Bars("None", [], [], ""),
    ],
)
def test_hardly_anything_to_show_is_a_picture_too(plot):
    assert drawn(plot).get("width") == str(2 * plots.WIDTH)


def test_plots_stand_beside_and_below_each_other_and_a_long_legend_makes_room():
    many = plots.Lines("Many", [plots.Series(f"a rather long name {n}", [(0.0, 1.0)]) for n in range(9)], "", "")
    svg = drawn(many, lines((0.0, 1.0)), lines((0.0, 1.0)))
    places = [re.findall(r"\d+", one.get("transform")) for one in svg.iter(f"{SVG}g")]

    assert [x for x, _ in places] == ["0", str(plots.WIDTH), "0"]
    assert int(places[2][1]) > plots.HEIGHT


def test_words_cannot_end_the_picture():
    assert "<b>&" in words(drawn(plots.Bars("<b>&", ["one"], [("a", [1.0])], "")))


def test_it_is_readable_on_a_dark_page():
    assert "prefers-color-scheme: dark" in plots.picture([lines((0.0, 1.0))])
