from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_study import synthetic_study, synthetic_view

from spikeloop.codesign import report_breakdown
from spikeloop.codesign.report import render_report, write_report
from spikeloop.codesign.report_breakdown import page_breakdown
from spikeloop.codesign.report_plots import report_plots
from spikeloop.codesign.results import StudyResults

STUDY = synthetic_study()


class _Page(HTMLParser):
    """Tags and visible text of a page, as a browser would take them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.texts.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(STUDY)


@pytest.fixture(scope="module")
def page(html: str) -> _Page:
    parsed = _Page()
    parsed.feed(html)
    return parsed


def test_report_has_two_scripts_and_loads_nothing(page: _Page) -> None:
    assert sum(tag == "script" for tag, _ in page.tags) == 2  # plotly once, the plots once
    assert not any({"src", "href", "srcset"} & set(attrs) for _, attrs in page.tags)
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_plotly_is_embedded_once(html: str) -> None:
    from plotly.offline import get_plotlyjs

    assert html.count(get_plotlyjs()) == 1


def test_hostile_texts_stay_text(html: str, page: _Page) -> None:
    text = " ".join(page.texts)
    assert "<b>against</b>" in text
    assert "</script><script>alert(1)</script>" in text
    assert "<script>alert(1)" not in html


def test_points_without_a_result_are_counted_by_reason_and_a_long_list_says_what_it_leaves_out() -> None:
    reasons = tuple(("infeasible", f"reason {i}", 2, i) for i in range(250))
    text = render_report(dataclasses.replace(STUDY, view=synthetic_view(STUDY.points, reasons=reasons)))
    assert "Points without a result (500)" in text
    assert "reason 199" in text
    assert "reason 200" not in text
    assert "and 50 more reasons; the ledger holds them all" in text


def test_hostile_texts_cannot_leave_the_plot_script() -> None:
    point = dataclasses.replace(STUDY.points[0], settings={"<img src=x onerror=alert(1)>": "</script>"})
    study = dataclasses.replace(STUDY, view=synthetic_view((point, *STUDY.points[1:])))
    script = render_report(study).rsplit("<script>", 1)[1]
    assert script.count("</script>") == 1
    assert "<img" not in script
    assert "\\u003cimg" in script


def test_front_table_names_every_front_design_and_a_unit_in_every_header(html: str, page: _Page) -> None:
    assert all(f"<td>{p.name}</td>" in html for p in STUDY.front)
    for header in ("energy (nJ)", "latency (us)", "area (mm²)", "EDAP (J s mm²)", "accuracy (%)", "ADC (bit)"):
        assert header in page.texts


def test_report_says_what_to_build_why_and_how_it_was_made(page: _Page) -> None:
    text = " ".join(page.texts)
    picked = STUDY.picked
    assert picked is not None
    assert f"Build {picked.name}." in text
    assert STUDY.pick_reason in text
    assert STUDY.study_hash in text
    assert "spikesim2023" in text
    assert "scaled from 65 nm" in text
    assert "spikeloop explore study.yaml" in text
    assert "96.0 to 99.0" in text  # the teacher's interval


def test_treemap_and_stacks_add_up_to_the_picked_design() -> None:
    picked = STUDY.picked
    assert picked is not None
    plots = report_plots(STUDY)
    tree = plots["tree"]["data"][0]
    assert sum(tree["values"]) == pytest.approx(picked.area_um2 / 1e6, rel=1e-12)
    assert len(set(tree["ids"])) == len(tree["ids"])
    assert set(tree["parents"]) <= {"", *tree["ids"]}
    for name, whole in (("energy", picked.energy_fJ), ("area", picked.area_um2)):
        assert sum(sum(trace["x"]) for trace in plots[name]["data"]) == pytest.approx(whole / 1e6, rel=1e-12)
    front = {f"{p.name} (picked)" if p.picked else p.name: p.energy_fJ / 1e6 for p in STUDY.front}
    shown = plots["front_energy"]["data"][0]["y"]
    for number, bar in enumerate(shown):
        own = sum(trace["x"][number] for trace in plots["front_energy"]["data"])
        assert own == pytest.approx(front[bar], rel=1e-12)


def test_component_has_the_same_colour_in_every_plot() -> None:
    plots = report_plots(STUDY)
    tree = plots["tree"]["data"][0]
    colours = dict(zip(tree["ids"], tree["marker"]["colors"], strict=True))
    for name in ("energy", "front_area"):
        for trace in plots[name]["data"]:
            if trace["name"] in ("adc", "crossbar", "noc"):
                assert trace["marker"]["color"] == colours[trace["name"]]


def test_results_without_cells_still_make_a_page() -> None:
    points = tuple(dataclasses.replace(point, cells=()) for point in STUDY.points)
    plots = report_plots(dataclasses.replace(STUDY, points=points))
    assert {"latency", "front_energy", "front_area"} == set(plots)


def test_components_of_the_page_are_those_of_the_designs_and_add_up_to_them() -> None:
    assert STUDY.view is not None
    found = page_breakdown(STUDY.view)
    assert found["baseline"] == next(i for i, point in enumerate(STUDY.points) if point.picked)
    assert found["components"][:3] == ["adc", "crossbar", "membrane_memory"]  # 38, 14 and 12 % of the energy
    assert set(found["energy"]) == set(found["area"]) == {str(i) for i in range(len(STUDY.points))}
    for place, point in enumerate(STUDY.points):
        assert sum(found["energy"][str(place)]) == pytest.approx(point.energy_fJ / 1e6, rel=1e-4)
        assert sum(found["area"][str(place)]) == pytest.approx(point.area_um2 / 1e6, rel=1e-4)


def test_page_that_is_full_keeps_the_components_of_the_pick_and_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    view = synthetic_study().view
    assert view is not None
    view = dataclasses.replace(view, front=frozenset(row.key for row in view.rows[-4:]))
    monkeypatch.setattr(report_breakdown, "BREAKDOWN_POINTS", 6)
    found = page_breakdown(view)
    n = len(view.rows)
    assert set(found["energy"]) == {str(i) for i in (found["baseline"], 0, *range(n - 4, n))}
    assert found["left_out"] == [i for i in range(1, n - 4) if i != found["baseline"]]


def test_rows_without_components_have_none_and_the_baseline_is_the_cheapest_of_the_front() -> None:
    view = synthetic_study().view
    assert view is not None
    bare = [
        dataclasses.replace(row, metrics={k: v for k, v in row.metrics.items() if k != "by_component"})
        for row in view.rows
    ]
    costs = [row.metrics["edap_J_s_mm2"] for row in bare[:5]]
    view = dataclasses.replace(view, rows=tuple(bare), choice=None, front=frozenset(row.key for row in bare[:5]))
    found = page_breakdown(view)
    assert (found["components"], found["energy"], found["area"], found["left_out"]) == ([], {}, {}, [])
    assert found["baseline"] == costs.index(min(costs))
    nothing = page_breakdown(dataclasses.replace(view, rows=(), front=frozenset()))
    assert nothing["baseline"] is None


def test_weak_numbers_stand_below_the_pictures_or_are_said_to_be_none(page: _Page) -> None:
    text = " ".join(page.texts)
    assert "How far to trust these pictures." in text
    assert text.count("adc: energy per conversion scaled from 65 nm") == 1
    clean = render_report(dataclasses.replace(STUDY, warnings=()))
    assert "How far to trust these pictures." not in clean
    assert "No doubted number and no assumption" in clean


def test_same_results_give_the_same_bytes_without_a_clock(tmp_path: Path, html: str) -> None:
    write_report(tmp_path / "report.html", synthetic_study())
    assert (tmp_path / "report.html").read_text("utf-8") == html
    own = html.split("</style>")[0] + html.rsplit("</head>", 1)[1]
    assert not re.search(r"\b20\d\d-\d\d-\d\d", own)


def test_empty_study_still_makes_a_page() -> None:
    empty = StudyResults(name="none", study_hash="0", points=(), pick_reason="no design has a result yet")
    text = render_report(empty)
    assert "no design has a result yet" in text
    assert "Where the picked design spends" not in text
