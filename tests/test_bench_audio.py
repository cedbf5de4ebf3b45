"""The published table on this machine: its shape, its words, and what it does with what is not here."""

import json
from dataclasses import replace

import pytest

from leo_runtime import cli
from leo_runtime.documents.hardware import Processor
from leo_runtime.measure import bench_audio
from leo_runtime.measure.bench_audio import COLUMNS, PUBLISHED, Cell, Row, as_json, bench, places, workload_stages
from leo_runtime.report.tables import audio_bench


def row(name: str, *times_us: int | None, measured: bool = True) -> Row:
    return Row(name, tuple(None if t is None else Cell(t, 3, 15) for t in times_us), measured)


def test_every_published_row_has_a_place():
    assert list(places()) == list(PUBLISHED)


def test_stages_have_the_shapes_of_the_paper(tmp_path):
    stages = workload_stages(tmp_path)
    assert stages["gmm features"].output_shape == (500, 39)
    assert stages["gmm model"].output_shape == (16,)
    assert stages["dnn features"].output_shape == (500, 40)
    assert stages["dnn model"].output_shape == (16,)


def test_json_has_the_promised_keys_and_no_other():
    rows = (row("CPU", 4, 3, 2, 1), row("a-GPU", None, None, None, None, measured=False))
    assert as_json(rows) == {
        "rows": [
            {
                "processor": "CPU",
                "gmm_full_us": 4,
                "gmm_model_us": 3,
                "dnn_full_us": 2,
                "dnn_model_us": 1,
                "measured": True,
            },
            {"processor": "a-GPU", **dict.fromkeys(COLUMNS), "measured": False},
        ]
    }


def test_the_table_says_time_spread_factor_and_what_was_published():
    text = audio_bench(
        (row("CPU", 80_000, 60_000, 40_000, 20_000), row("DSP", 160_000, 30_000, 1, 1, measured=False)), PUBLISHED
    )
    cpu, dsp = text.splitlines()[2:4]
    assert "80 ms ±3% +1.0x [+1.0x]" in cpu
    assert "~160 ms -2.0x [-8.8x]" in dsp
    assert "~30 ms +2.0x [-8.6x]" in dsp


def test_what_is_not_here_is_null_with_a_note(monkeypatch, capsys):
    here = places()
    absent = Processor(name="gpu", backend="no-such-backend")
    some = {"CPU": here["CPU"], "a-GPU": replace(here["a-GPU"], model=absent), "DSP-m": here["DSP-m"]}
    monkeypatch.setattr(bench_audio, "places", lambda: some)
    assert cli.main(["bench", "audio", "--json", "--rounds", "1"]) == 0
    out, err = capsys.readouterr()
    cpu, gpu, dsp = json.loads(out)["rows"]
    assert cpu["measured"] and all(cpu[column] > 0 for column in COLUMNS)
    assert cpu["gmm_full_us"] > cpu["gmm_model_us"]
    assert not gpu["measured"] and all(gpu[column] is None for column in COLUMNS)
    assert not dsp["measured"] and all(dsp[column] > 0 for column in COLUMNS)
    assert "not measured: a-GPU: gmm: processor `gpu` wants backend `no-such-backend`" in err


def test_simulated_times_do_not_spread(monkeypatch):
    dsp = {"DSP": places()["DSP"]}
    monkeypatch.setattr(bench_audio, "places", lambda: dsp)
    cells = bench(2)[0].cells
    assert [(cell.spread_percent, cell.runs) for cell in cells] == [(0, 2)] * 4


def test_zero_rounds_are_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["bench", "audio", "--rounds", "0"])
    assert "at least 1" in capsys.readouterr().err
