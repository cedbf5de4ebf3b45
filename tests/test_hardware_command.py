"""`leo-runtime hardware`: what a machine is shown as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leo_runtime import cli, shipped
from leo_runtime.documents.hardware import Hardware
from leo_runtime.report import hardware_text
from leo_runtime.terminal import Look

MACHINE = Hardware.from_dict(
    {
        "format": "leo-hardware/1",
        "name": "phone",
        "processors": [
            {
                "name": "cpu",
                "backend": "cpu",
                "lanes": 4,
                "active_mw": 900,
                "wake_energy_nj": 1500,
                "idle_timeout_us": 9,
            },
            {"name": "dsp", "backend": "dsp", "memory_bytes": 524_288, "options": {"arithmetic": "hexagon"}},
            {"name": "cloud", "backend": "cpu", "remote": True},
        ],
        "radios": [
            {"name": "lte", "awake_mw": 1200, "wake_latency_us": 260_000, "tail_us": 11_000_000, "tail_mw": 1060}
        ],
        "links": [
            {"source": "cpu", "target": "cloud", "latency_us": 35_000, "bytes_per_s": 700_000, "radio": "lte"},
            {"source": "cpu", "target": "dsp", "energy_nj": 13_200, "energy_pj_per_byte": 500},
        ],
    }
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["hardware", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_machine_is_shown_with_all_of_its_parts() -> None:
    assert (
        hardware_text.text(MACHINE, Look(80))
        == """\
phone; powers in mW: of a lane that runs, awake and asleep

processor  backend  lanes  active  awake  asleep  wakes in  wake uJ  sleeps in
---------  -------  -----  ------  -----  ------  --------  -------  ---------
cpu        cpu          4     900      0       0      0 us      1.5  9 us
dsp        dsp          1       0      0       -         -        -  never
cloud      cpu          1       0      0       -         -        -  never

dsp: memory 512 KiB, arithmetic = hexagon
cloud: it is elsewhere: no sensor is there

radio  lanes  awake mW  wakes in  wake uJ  tail  tail mW
-----  -----  --------  --------  -------  ----  -------
lte        1      1200    260 ms        0  11 s     1060

link        takes  kB/s  uJ each  nJ/byte  over
----------  -----  ----  -------  -------  ----
cpu->cloud  35 ms  700         0        0  lte
cpu->dsp     0 us  any      13.2      0.5  -

Any of it can be changed for a run: see `leo-runtime replay --set help`.
"""
    )


@pytest.mark.parametrize("name", shipped.names("hardware"))
def test_every_shipped_machine_fits_a_terminal_with_every_source(name: str, capsys) -> None:
    status, out, err = run(capsys, "show", name)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    machine = shipped.hardware(name)
    words = " ".join(out.split())
    for processor in machine.processors:
        for field in processor.sources:
            assert f"processors.{processor.name}.{field} " in words


def test_its_json_is_the_document(capsys, tmp_path: Path) -> None:
    status, out, _ = run(capsys, "show", "snapdragon-800", "--json")
    assert status == 0
    assert Hardware.from_json(out) == shipped.hardware("snapdragon-800")
    MACHINE.to_file(tmp_path / "own.json")
    assert Hardware.from_json(run(capsys, "show", str(tmp_path / "own.json"), "--json")[1]) == MACHINE


def test_all_that_ship_are_listed(capsys) -> None:
    status, out, _ = run(capsys)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == list(shipped.names("hardware"))
    assert json.loads(run(capsys, "list", "--json")[1]) == list(shipped.names("hardware"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show",), "`hardware show` shows one machine\nhint: one of arm-board, host, "),
        (("show", "wach"), "no hardware is called `wach`\nhint: did you mean `watch`? one of arm-board"),
        (("list", "watch"), "`hardware list` takes no name, got `watch`\nhint: `hardware show watch` shows it\n"),
    ],
)
def test_what_is_wrong_is_said_with_the_way_out(capsys, arguments: tuple[str, ...], says: str) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(says)
