"""The page shows the report's numbers, needs nothing from elsewhere, and takes names as text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edgekit.bench.findings import Accuracy, Endurance, Layer, Profile, Window
from edgekit.bench.opening import CPU
from edgekit.bench.results import BenchReport
from edgekit.report import case_charts
from edgekit.report import latency_charts as charts
from edgekit.report.latency_charts import Named
from edgekit.report.latency_page import render_page
from tests.bench.reports import NOBODY, UNKNOWN, case, report

TIMES = np.random.default_rng(3).gamma(9, 1e-4, 300)
ENDURANCE = Endurance(
    30.0,
    tuple(
        Window(1.0 * second, 9, 1e-3, 2e-3, 40.0 + second, 2.4e9, second > 20)
        for second in range(1, 31)
    ),
)
PROFILE = Profile(
    40,
    1e-3,
    (Layer("conv<1>", "Conv", CPU, (1, 8, 4, 4), 7e-4), Layer("r", "Relu", CPU, None, 1e-4)),
)
FLOAT = replace(
    case(TIMES, path="net_float.onnx"), accuracy=Accuracy(0.925, 1000, "images", "test")
)
PACKED = replace(
    case(TIMES * 1.2, path="net_packed.ekp"),
    file_bytes=300,
    sha256="11" * 32,
    accuracy=Accuracy(0.915, 1000, "images", "test"),
    endurance=ENDURANCE,
    profile=PROFILE,
)
FULL = replace(report(FLOAT, PACKED), warnings=("it was <hot> & loud",))


class Page(HTMLParser):
    """Tables as lists of cells, elements by name, and all text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.data: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"th", "td"}:
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self.data.append(data)
        elif "style" not in self._open:
            self.words += data
            if {"th", "td"} & set(self._open):
                self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_page([FULL]))


def test_the_summary_has_a_row_a_case_with_the_report_s_numbers(page: Page) -> None:
    head, first, second = page.tables[0]

    assert head == [
        "model", "bytes", "top-1", "load ms", "first run ms", "p50 ms", "p95 ms", "items/s",
        "memory",
    ]  # fmt: skip
    assert first[0].split() == ["1", "net_float.onnx"]
    assert second[:3] == ["2 net_packed.ekp", "300", "91.50 %"]
    assert second[3:5] == ["40.0", "4.000"]
    assert float(second[5]) == pytest.approx(1e3 * PACKED.warm.p50_s, abs=6e-4)
    assert float(second[6]) == pytest.approx(1e3 * PACKED.warm.p95_s, abs=6e-4)


def test_the_page_holds_the_whole_report(page: Page) -> None:
    (data,) = page.data

    assert json.loads(data) == json.loads(json.dumps(FULL.to_dict()))


def test_nothing_on_the_page_points_elsewhere(page: Page) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in {"src", "href", "action", "data", "srcset", "poster", "background"}:
                assert value is not None
                assert value.startswith(("#", "data:,")), tag
    text = render_page([FULL])
    assert "@import" not in text
    assert "url(" not in text
    assert set(re.findall(r"https?://[^\"' <]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_nothing_on_the_page_is_a_program(page: Page) -> None:
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]

    assert [attributes["type"] for attributes in scripts] == ["application/json"]
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]


def test_names_that_are_markup_stay_text() -> None:
    hostile = '</script><script>alert(1)</script><img src=x onerror="alert(2)">.onnx'
    shown = replace(
        report(replace(case(TIMES), path=hostile, profile=PROFILE)), warnings=("<b>", "'\"&")
    )

    page = Page(render_page([shown], title="<i>"))

    names = {tag for tag, _ in page.elements}
    assert not {"img", "b", "i"} & names
    assert [dict(attributes)["type"] for tag, attributes in page.elements if tag == "script"] == [
        "application/json"
    ]
    assert json.loads(page.data[0])["cases"][0]["path"] == hostile
    assert "conv<1>" in page.words


def test_warnings_are_words_and_their_absence_is_told(page: Page) -> None:
    assert "it was <hot> & loud" in page.words
    assert "Read these numbers with care" in page.words
    assert "speaks against these numbers" in Page(render_page([report(FLOAT)])).words


def test_every_table_picture_and_region_has_a_name(page: Page) -> None:
    identifiers = [value for _, attributes in page.elements if (value := attributes.get("id"))]
    assert len(identifiers) == len(set(identifiers))
    for tag, attributes in page.elements:
        if tag in {"section", "aside"} or attributes.get("role") == "region":
            assert attributes["aria-labelledby"] in identifiers
        if tag == "th":
            assert attributes["scope"] in {"row", "col"}
    assert len([tag for tag, _ in page.elements if tag == "caption"]) == len(page.tables)


def test_pictures_are_well_formed_and_tell_their_numbers() -> None:
    named = [Named(1, "net_float.onnx", FLOAT), Named(2, "net_packed.ekp", PACKED)]
    pictures = {
        charts.distributions(named): "net_packed.ekp median",
        charts.in_order(named): "second half",
        charts.cold_starts(named): "decode 10.0 ms, session 30.0 ms, first run 4.000 ms",
        charts.size_against_latency(named): "net_packed.ekp 300 bytes",
        charts.size_against_accuracy(named): "91.50 %",
        case_charts.layer_bars(PROFILE, "s0"): "costliest: conv<1> 87.5%",
        case_charts.under_load(ENDURANCE, "s1"): "the board limited itself in 10 windows",
    }

    for text, words in pictures.items():
        root = ET.fromstring(text)  # noqa: S314 - our own text
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert words in (title.text or "")
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for element in root.iter():
            for name, most in (("x", width), ("x1", width), ("x2", width), ("y", height)):
                assert -1 <= float(element.get(name, "0")) <= most + 1


def test_bars_are_as_high_as_runs_are_many_and_those_beyond_p99_are_told() -> None:
    shown = case([1e-3] * 300 + [1.2e-3] * 100 + [1.5e-3])

    root = ET.fromstring(charts.distributions([Named(1, "a", shown)]))  # noqa: S314 - our own text

    first, second = (float(e.get("height", "0")) for e in root.iter() if e.tag.endswith("rect"))
    assert first == pytest.approx(3 * second, rel=0.01)
    assert "1.000 ms, 1 beyond" in "".join(root.itertext())


@pytest.mark.parametrize(
    "shown",
    [
        report(case([1e-3], cold=False), host=NOBODY, state=UNKNOWN),
        report(case([1e-3] * 50)),
        report(*(case(TIMES, path=f"{i}.onnx") for i in range(12))),
        report(
            replace(
                case(TIMES), endurance=Endurance(1.0, (Window(1.0, 1, 1.0, 1.0, None, None, None),))
            )
        ),
    ],
)
def test_bare_and_crowded_reports_make_a_page(shown: BenchReport) -> None:
    text = render_page([shown])

    assert ">None<" not in text
    assert "nan" not in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)  # noqa: S314 - our own text


def test_several_reports_share_a_page_with_links_to_each() -> None:
    page = Page(render_page([FULL, report(FLOAT, host=NOBODY)], title="Both"))

    links = [a["href"] for tag, a in page.elements if tag == "a" and a.get("class") != "skip"]
    anchors: list[Any] = [a["id"] for tag, a in page.elements if tag == "section"]
    assert links == [f"#{anchor}" for anchor in anchors] == ["#report-1", "#report-2"]
    assert len(page.data) == 2
    assert page.tables[0][1][:3] == ["net_float.onnx", "Raspberry Pi 5 Model B Rev 1.0", "1,000"]
    assert page.tables[0][3][1] == "aarch64"


def test_two_reports_of_one_machine_are_told_apart_by_their_dates() -> None:
    later = replace(FULL, created="2026-02-03T04:05:06+00:00")

    page = Page(render_page([FULL, later]))

    machines = [row[1] for row in page.tables[0][1:]]
    assert machines == [
        f"Raspberry Pi 5 Model B Rev 1.0, {report.created}" for report in (FULL, FULL, later, later)
    ]


def test_the_same_report_gives_the_same_page() -> None:
    assert render_page([FULL]) == render_page([FULL])
