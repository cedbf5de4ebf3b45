"""The tables of a replay, and the figures in them."""

import pytest

from leo_runtime.replay.figures import Pipeline, ProcessorUse, Total
from leo_runtime.report.layout import Energies, number
from leo_runtime.report.replay_tables import (
    answers_table,
    causes_table,
    found_table,
    policies_table,
    shares_table,
    uses_table,
)
from leo_runtime.terminal import WIDE

PIPELINE = Pipeline(
    graph="ears",
    frames=10,
    answered=7,
    failed=1,
    detections=3,
    right=2,
    false=1,
    labels=4,
    missed=2,
    latency_median_us=4,
    latency_p95_us=95_000,
    latency_p99_us=1_000_000,
    latency_within_ppm=0,
    late=2,
    deadline_misses=3,
    over_gaps=0,
)
SILENT = Pipeline("eyes", 5, 0, 5, 0, None, None, 0, 0, 0, 0, 0, 0, 0, 5, 0)
MILLIJOULES = Energies.up_to(50_000_000)


def cells(text: str) -> list[list[str]]:
    """The rows of a table without its rules, in cells that were two spaces apart."""
    rows = [line for line in text.splitlines() if set(line) - {"-", " "}]
    return [row.split() for row in rows]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (12.3, "12.30"),
        (0.1, "0.10"),
        (0.0996, "0.1"),
        (0.0042, "0.0042"),
        (3e-9, "3e-9"),
        (1e6, "1000000.00"),
    ],
)
def test_a_number_that_is_small_keeps_two_digits(value, shown):
    assert number(value, 2) == shown


@pytest.mark.parametrize(
    ("greatest_nj", "shown"),
    [
        (0, "-"),
        (7, "7 nJ"),
        (9_999, "9999 nJ"),
        (10_000, "10.000 uJ"),
        (46_200_000_000, "46.200 J"),
        (9_527_690_000, "9527.7 mJ"),
        (3 * 10**15, "3000.0 kJ"),
        (10**18, "1000.0 MJ"),
        (10**21, "1000000 MJ"),
    ],
)
def test_energies_are_in_the_unit_that_suits_the_greatest(greatest_nj, shown):
    energies = Energies.up_to(greatest_nj)
    assert (f"{energies.text(greatest_nj)} {energies.unit}" if greatest_nj else energies.text(0)) == shown


def test_no_energy_reads_as_nothing_that_is_something():
    for greatest_nj in (1, 10**6, 10**12, 10**18):
        assert float(Energies.up_to(greatest_nj).text(1)) > 0


def test_answers_have_totals_and_no_latency_where_there_is_none():
    assert cells(answers_table([PIPELINE, SILENT])) == [
        ["pipeline", "frames", "answered", "failed", "late", "median", "ms", "p95", "ms", "p99", "ms"],
        ["ears", "10", "7", "1", "2", "0.004", "95.00", "1000.00"],
        ["eyes", "5", "0", "5", "0", "-", "-", "-"],
        ["total", "15", "7", "6", "2"],
    ]
    assert "total" not in answers_table([PIPELINE])


def test_findings_are_summed_over_those_that_can_be_judged():
    assert cells(found_table([PIPELINE, SILENT]))[1:] == [
        ["ears", "3", "2", "1", "4", "2"],
        ["eyes", "0", "-", "-", "0", "0"],
        ["total", "3", "2", "1", "4", "2"],
    ]
    assert found_table([SILENT]) == ""


USES = (
    ProcessorUse("cpu", 4, 10_000, 1, {"run": 30_000_000, "wake-up": 500_000}),
    ProcessorUse("dsp", 0, 0, 0, {}),
    ProcessorUse("cpu -> dsp", 2, 30, 0, {"transfer": 40}),
    ProcessorUse("dsp -> cpu", 1, 20, 0, {"transfer": 60}),
)


def test_uses_are_summed():
    assert cells(uses_table(USES, MILLIJOULES))[1:] == [
        ["cpu", "4", "0.01", "1", "30.500"],
        ["dsp", "0", "0", "0", "-"],
        ["cpu", "->", "dsp", "2", "3e-5", "0", "4e-5"],
        ["dsp", "->", "cpu", "1", "2e-5", "0", "6e-5"],
        ["total", "7", "0.01", "1", "30.500"],
    ]


def test_causes_stand_beside_processors_and_all_links():
    assert cells(causes_table(USES, ["cpu", "dsp"], MILLIJOULES, WIDE)) == [
        ["energy", "mJ", "cpu", "dsp", "links", "total"],
        ["run", "30.000", "-", "-", "30.000"],
        ["wake-up", "0.500", "-", "-", "0.500"],
        ["transfer", "-", "-", "0.0001", "0.0001"],
        ["total", "30.500", "-", "0.0001", "30.500"],
    ]


def test_shares_are_in_the_order_of_the_pipelines_and_what_is_nobodys_comes_last():
    by_graph = {"": {"asleep": 1_000_000}, "eyes": {"run": 2_000_000, "asleep": 0}}
    assert cells(shares_table(by_graph, ["ears", "eyes"], MILLIJOULES, WIDE)) == [
        ["energy", "mJ", "run", "asleep", "total"],
        ["ears", "-", "-", "-"],
        ["eyes", "2.000", "-", "2.000"],
        ["(no", "pipeline)", "-", "1.000", "1.000"],
        ["total", "2.000", "1.000", "3.000"],
    ]


def test_policies_are_compared_with_the_first_that_costs_anything():
    totals = [Total("a", "virtual", nj, 0, 0, 0, 3) for nj in (0, 20_000_000, 1_000)]
    assert [row[2:] for row in cells(policies_table(totals, MILLIJOULES))[1:]] == [
        ["-", "0x", "0", "0", "3"],
        ["20.000", "1.00x", "0", "0", "3"],
        ["0.001", "5e-5x", "0", "0", "3"],
    ]
