"""The report as a person meets it: points, hover, sorting, filters, selection and keyboard, without a console error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Page, find_chromium
from synthetic_ledger import row, synthetic_folder

from spikeloop.codesign.cli import main

pytestmark = pytest.mark.e2e

OBJECTIVES = [{"metric": "energy_fJ", "goal": "min"}, {"metric": "area_um2", "goal": "min"}]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 designs of two stages and 10 that are infeasible; on the front of each stage stand those of ADC bits 3.

    Energy rises with the bits and with the place in the grid while area falls with the place: of equal bits, no
    design beats another; of more bits, every design is beaten. Only those of the clock have components.
    """
    rows = []
    for index in range(120):
        stage, place, bits = ("analytic", "cycle")[index % 2], index // 8, 3 + index // 2 % 4
        scale = bits * (1.0 + 0.3 * (index % 2))
        costs = {
            "energy_fJ": 1e6 * (2 + place) * scale,
            "area_um2": 1e6 * (30 - place) * scale,
            "latency_ns": 1e3 + index,
        }
        costs["edap_J_s_mm2"] = 1e-30 * costs["energy_fJ"] * costs["area_um2"] * costs["latency_ns"]
        if stage == "cycle":
            costs["by_component"] = components(costs["energy_fJ"], costs["area_um2"])
        rows.append(row(index, {"hw.adc.bits": bits, "hw.dataflow.loop": "<i>layer</i>"}, stage=stage, **costs))
    rows += [row(120 + i, {"hw.adc.bits": 99}, reason="too many bits </script>") for i in range(10)]
    folder = synthetic_folder(tmp_path_factory.mktemp("study"), rows, objectives=OBJECTIVES)
    assert main(["report", str(folder)]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def chromium() -> None:
    """A browser: without one, tests that need it fail where it is asked for and are skipped elsewhere."""
    if find_chromium() is None:
        sentence = "no chromium on this machine; the report is not opened (apt-get install chromium)"
        if os.environ.get("CI") or os.environ.get("SPIKELOOP_NEEDS_BROWSER"):
            pytest.fail(sentence)
        pytest.skip(sentence)


@pytest.fixture(scope="module")
def browser(chromium: None, report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with Page(report, tmp_path_factory.mktemp("profile")) as page:
        page.wait("document.querySelectorAll('#plot-points .scatterlayer .point').length > 0")
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The page without filters and selection; what a test does must leave no error on the console."""
    browser.value("document.getElementById('select-none').click(), document.getElementById('reset').click()")
    yield browser
    assert browser.errors == []


def components(energy_fJ: float, area_um2: float) -> dict[str, dict[str, float]]:
    """One nJ goes into the crossbars of every design, the rest into the ADCs; a quarter of the area is ADCs."""
    return {
        "crossbar": {"energy_fJ": 1e6, "area_um2": 0.75 * area_um2},
        "adc": {"energy_fJ": energy_fJ - 1e6, "area_um2": 0.25 * area_um2},
        "dram": {"energy_fJ": 0.0, "area_um2": 0.0},
    }


def cells(page: Page, key: str) -> list[str]:
    """Texts of a column of the table as it stands, first page."""
    place = page.value(f"column['{key}'] + 2")
    found: list[str] = page.value(
        f"[...document.querySelectorAll('#points-table tbody td:nth-child({place})')].map(cell => cell.textContent)"
    )
    return found


def set_filter(page: Page, key: str, text: str) -> None:
    page.value(
        f"(() => {{ const box = element('filter-' + column['{key}']); box.value = '{text}';"
        "box.dispatchEvent(new Event('input')); })()"
    )


def drawn(page: Page) -> int:
    count: int = page.value("document.querySelectorAll('#plot-points .scatterlayer .point').length")
    return count


def place_of(page: Page, point: int) -> tuple[float, float]:
    """Middle of a drawn point of the front, in the window."""
    page.value("document.getElementById('plot-points').scrollIntoView()")
    box: dict[str, Any] = page.value(
        "(() => { const plot = element('plot-points'), number = plot.data.findIndex(t => (t.customdata || [])"
        f".some(id => view.rows[id][column.point] === {point}));"
        f"const at = plot.data[number].customdata.findIndex(id => view.rows[id][column.point] === {point});"
        "const layer = [...plot.querySelectorAll('.scatterlayer .trace')][number];"
        "const box = layer.querySelectorAll('.point')[at].getBoundingClientRect();"
        "return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })()"
    )
    return box["x"], box["y"]


def test_every_design_is_a_point_and_the_stages_are_kept_apart(page: Page) -> None:
    assert drawn(page) == 120
    names = page.value("element('plot-points').data.filter(t => t.mode === 'markers').map(t => t.name)")
    assert [name for name in names if name.startswith("Pareto front")] == [
        "Pareto front, stage analytic",
        "Pareto front, stage cycle",
    ]
    fronts = page.value(
        "element('plot-points').data.filter(t => (t.name || '').startsWith('Pareto'))"
        ".map(t => t.customdata.map(id => view.rows[id][column.stage] + view.rows[id][column['hw.adc.bits']]))"
    )
    assert [set(kinds) for kinds in fronts] == [{"analytic3"}, {"cycle3"}]
    assert [len(kinds) for kinds in fronts] == [15, 15]


def test_hover_shows_the_whole_design_as_text(page: Page) -> None:
    x, y = place_of(page, 64)
    page.mouse("mouseMoved", x - 40, y - 40)
    page.mouse("mouseMoved", x, y)
    page.wait("document.querySelectorAll('#plot-points .hoverlayer .hovertext').length === 1")
    text = page.value("document.querySelector('#plot-points .hoverlayer .hovertext').textContent")
    for part in ("point: 64", "stage: analytic", "adc.bits: 3", "energy (nJ): 30", "area (mm²): 66", "<i>layer</i>"):
        assert part in text
    assert "Point 64" in page.value("element('detail').textContent")


def test_header_sorts_numbers_as_numbers_and_turns_round(page: Page) -> None:
    click = "document.querySelector('#points-table button[data-key=\"latency_ns\"]').click()"
    page.value(click)
    rising = [float(text) for text in cells(page, "latency_ns")]
    assert rising == sorted(rising)
    assert rising[0] == 1.0
    page.value(click)
    falling = [float(text) for text in cells(page, "latency_ns")]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == pytest.approx(1.119)
    assert page.value("document.querySelectorAll('#points-table th[aria-sort=descending]').length") == 1


@pytest.mark.parametrize(
    ("key", "text", "count"),
    [("hw.adc.bits", "5", 30), ("hw.adc.bits", "<5", 60), ("hw.adc.bits", "4..5", 60), ("stage", "cyc", 60),
     ("status", "infeasible", 10), ("hw.adc.bits", ">=99", 10)],
)  # fmt: skip
def test_filter_holds_for_table_and_plot(page: Page, key: str, text: str, count: int) -> None:
    set_filter(page, key, text)
    assert page.value("state.order.length") == count
    assert drawn(page) == (0 if count == 10 else count)
    assert f"{count} of 130 rows" in page.value("element('count').textContent")


def test_filter_that_is_no_number_is_marked_and_hides_nothing(page: Page) -> None:
    set_filter(page, "hw.adc.bits", "many")
    assert page.value("document.querySelectorAll('#points-table input[aria-invalid=true]').length") == 1
    assert page.value("state.order.length") == 130


def test_click_on_a_point_marks_its_row_and_a_second_click_unmarks_it(page: Page) -> None:
    for wanted in (["112"], []):
        x, y = place_of(page, 112)
        page.mouse("mouseMoved", x - 40, y)
        page.mouse("mouseMoved", x, y)
        # Plotly clicks on what it last hovered over, and it looks some times a second only.
        page.wait("(element('plot-points')._hoverdata || []).some(p => view.rows[p.customdata][column.point] === 112)")
        page.mouse("mousePressed", x, y, button="left")
        page.mouse("mouseReleased", x, y, button="left")
        page.wait(f"state.selected.size === {len(wanted)}")
        place = page.value("column.point + 2")
        marked = f"[...document.querySelectorAll('#points-table tr.selected td:nth-child({place})')]"
        assert page.value(f"{marked}.map(cell => cell.textContent)") == wanted


def test_box_around_points_selects_them(page: Page) -> None:
    (x, y), (far_x, far_y) = place_of(page, 0), place_of(page, 16)
    page.mouse("mouseMoved", x - 12, y - 12)
    page.mouse("mousePressed", x - 12, y - 12, button="left")
    for part in (0.5, 1.0):
        page.mouse("mouseMoved", x - 12 + part * (far_x - x + 24), y - 12 + part * (far_y - y + 24), button="left")
    page.mouse("mouseReleased", far_x + 12, far_y + 12, button="left")
    page.wait("state.selected.size > 0")
    points = set(page.value("[...state.selected].map(id => view.rows[id][column.point])"))
    assert {0, 8, 16} <= points
    assert 64 not in points


def test_row_is_selected_with_the_keyboard_and_shows_in_the_plot(page: Page) -> None:
    page.value("document.querySelector('#points-table tbody input').focus()")
    page.key(" ", 32, " ")
    page.wait("state.selected.size === 1")
    assert page.value("document.activeElement.closest('tr').classList.contains('selected')") is True
    ring = "element('plot-points').data.find(t => t.name === 'selected').customdata"
    assert page.value(f"{ring}.map(id => view.rows[id][column.point])") == [0]
    page.value("element('only-selected').click()")
    assert page.value("state.order.length") == 1


def select_point(page: Page, point: int) -> None:
    page.value(f"select([view.rows.findIndex(row => row[column.point] === {point})], true)")


def comparison(page: Page) -> str:
    text: str = page.value("element('compare-text').textContent")
    return text


def bars(page: Page, quantity: str) -> list[dict[str, Any]]:
    """Bars that are drawn: name, components and values."""
    plot = f"element('plot-compare-{quantity}')"
    found: list[dict[str, Any]] = page.value(
        f"{plot}.hidden ? [] : "
        f"{plot}.data.map(t => ({{name: t.name, y: t.y, x: t.x, text: t.text, hover: t.hovertext}}))"
    )
    return found


def test_selected_design_is_drawn_beside_the_baseline(page: Page) -> None:
    """By hand: point 1 is the cheapest of its front (2 x 3.9 nJ, 30 x 3.9 mm2, 1.001 us), 105 has 15, 17 and 1.105."""
    assert comparison(page) == "Select a design to compare it with the baseline, point 1."
    assert [(bar["name"], bar["y"], bar["x"]) for bar in bars(page, "energy")] == [
        ("baseline, point 1", ["adc", "crossbar"], [6.8, 1])
    ]
    select_point(page, 105)
    assert comparison(page) == (
        "Point 105 has 7.5 × the energy, 1.1 × the latency, 0.567 × the area and "
        "4.69 × the EDAP (energy × latency × area of one inference) of the baseline, point 1."
    )
    own, base = bars(page, "energy")
    assert (own["name"], base["name"]) == ("selected, point 105", "baseline, point 1")
    assert (own["x"], own["text"]) == ([57.5, 1], ["8.46 ×", "1 ×"])
    assert own["hover"][0] == "adc, selected, point 105: 57.5 nJ (98.3 %)<br>8.46 × the baseline's 6.8 nJ"
    own, base = bars(page, "area")
    assert own["x"] == pytest.approx([0.25 * 66.3, 0.75 * 66.3])
    assert base["x"] == pytest.approx([0.25 * 117, 0.75 * 117])
    assert page.value("document.querySelectorAll('#plot-compare-energy .bars .point').length") == 4


def test_selected_design_becomes_the_baseline_and_back(page: Page) -> None:
    select_point(page, 105)
    page.value("element('make-baseline').click()")
    assert comparison(page) == "The selected design is the baseline, point 105."
    select_point(page, 1)
    assert comparison(page).startswith("Point 1 has 0.133 × the energy")
    page.value("element('first-baseline').click()")
    assert comparison(page) == "The selected design is the baseline, point 1."
    assert page.value("[element('make-baseline').disabled, element('first-baseline').disabled]") == [True, True]


def test_what_cannot_be_compared_or_drawn_is_said(page: Page) -> None:
    select_point(page, 64)
    assert comparison(page).startswith("Figures of two stages are not compared: point 64 is of stage analytic and")
    assert bars(page, "energy") == []
    page.value("element('make-baseline').click()")
    select_point(page, 0)
    assert "Point 0 has 0.2 × the energy" in comparison(page)
    assert "Point 0 is not drawn by component: its stage (analytic) keeps totals" in comparison(page)
    assert bars(page, "area") == []
    page.value("element('first-baseline').click()")
    select_point(page, 125)
    assert comparison(page) == "There is nothing to compare: point 125 has no result."
    assert page.value("element('make-baseline').disabled") is True


def test_axes_of_the_plot_can_be_any_metric_and_the_lines_are_drawn(page: Page) -> None:
    page.value("(element('axis-y').value = 'latency_ns', element('axis-y').dispatchEvent(new Event('change')))")
    assert page.value("element('plot-points').layout.yaxis.title.text") == "latency (us), log scale"
    assert page.value("element('plot-points').data.some(t => t.mode === 'lines')") is False
    page.value("(element('axis-y').value = view.y, element('axis-y').dispatchEvent(new Event('change')))")
    inked = "(() => { const c = element('lines'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
    assert page.value(f"{inked} return d.filter((v, i) => i % 4 === 3 && v > 0).length; }})()") > 1000


def test_nothing_is_wider_than_a_narrow_window(chromium: None, report: Path, tmp_path: Path) -> None:
    with Page(report, tmp_path / "profile", width=400, height=900) as page:
        page.wait("document.querySelectorAll('#plot-points .scatterlayer .point').length > 0")
        assert page.value("document.documentElement.scrollWidth") <= 400
        assert page.errors == []
