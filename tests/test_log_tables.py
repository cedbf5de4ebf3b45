"""What a log holds as Parquet: whole, the same twice, and readable by pandas and DuckDB."""

import sys
from pathlib import Path
from typing import Any

import pytest

import run_logs
from leo_runtime.errors import DocumentError, InputError, MissingExtraError
from leo_runtime.replay.log_reader import read_log
from leo_runtime.report import log_tables
from leo_runtime.report.log_tables import TABLES, write_tables
from leo_runtime.report.study_tables import write_rows


@pytest.fixture
def parquet() -> Any:
    return pytest.importorskip("pyarrow.parquet", reason="needs the extra `tables`", exc_type=ImportError)


@pytest.fixture
def tables(parquet: Any, tmp_path: Path) -> Path:
    with read_log(run_logs.write(tmp_path / "run", *run_logs.usual())) as log:
        write_tables(log, tmp_path / "tables")
    return tmp_path / "tables"


def test_every_table_has_its_rows(parquet: Any, tables: Path) -> None:
    rows = {name: parquet.read_table(tables / f"{name}.parquet").to_pylist() for name in TABLES}
    assert {name: len(found) for name, found in rows.items()} == {
        "frames": 3,
        "graphs": 6,
        "stages": 6,
        "transfers": 3,
        "loads": 0,
        "energy": 3 * (2 + 1 + 1 + 1 + 2) + 1,
    }
    assert rows["stages"][0]["graphs"] == ["knock", "level"]
    assert rows["graphs"][0]["latency_us"] == 422_000
    assert rows["energy"][-1] == {
        "cause": "idle tail",
        "resource": "dsp",
        "graph": "",
        "frame": None,
        "stage": "",
        "at_us": 0,
        "until_us": 10_000_000,
        "nj": 50_000_000,
    }


def test_energy_sums_to_all_that_the_run_used(parquet: Any, tables: Path, tmp_path: Path) -> None:
    with read_log(tmp_path / "run") as log:
        assert log.end is not None
        assert sum(parquet.read_table(tables / "energy.parquet").column("nj").to_pylist()) == log.end.nj


def test_the_same_log_gives_the_same_bytes(tables: Path, tmp_path: Path) -> None:
    with read_log(tmp_path / "run") as log:
        write_tables(log, tmp_path / "again")
    for name in TABLES:
        assert (tables / f"{name}.parquet").read_bytes() == (tmp_path / "again" / f"{name}.parquet").read_bytes()


def test_rows_are_written_in_groups(parquet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tables, "ROWS", 4)
    with read_log(run_logs.write(tmp_path, *run_logs.usual(5))) as log:
        write_tables(log, tmp_path)
    file = parquet.ParquetFile(tmp_path / "graphs.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 4, 2]
    assert file.schema_arrow.metadata[b"format"] == b"leo-tables/1"
    assert b'"policy":"exact"' in file.schema_arrow.metadata[b"run"]


def test_a_run_without_frames_has_tables_without_rows(parquet: Any, tmp_path: Path) -> None:
    with read_log(run_logs.write(tmp_path, run_logs.head())) as log:
        write_tables(log, tmp_path)
    assert parquet.read_table(tmp_path / "stages.parquet").num_rows == 0


def test_what_was_there_stays_where_the_log_is_damaged(parquet: Any, tables: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in tables.iterdir()}
    parts = run_logs.usual()
    parts[3]["stages"][0]["lane"] = -1
    with (
        read_log(run_logs.write(tmp_path / "bad", *parts)) as log,
        pytest.raises(DocumentError, match=r"log\.jsonl:4: expected at least 0, got -1, at \$\.stages\[0\]\.lane"),
    ):
        write_tables(log, tables)
    assert {path.name: path.read_bytes() for path in tables.iterdir()} == before


def test_a_number_that_no_table_holds_is_told(parquet: Any, tmp_path: Path) -> None:
    parts = run_logs.usual(1)
    parts[1]["graphs"][0]["deadline_us"] = 10**30
    with (
        read_log(run_logs.write(tmp_path, *parts)) as log,
        pytest.raises(DocumentError, match="a number of it is too great for a table"),
    ):
        write_tables(log, tmp_path / "out")


def test_a_folder_that_cannot_be_is_told(parquet: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with read_log(run_logs.write(tmp_path / "run", *run_logs.usual(1))) as log, pytest.raises(InputError):
        write_tables(log, tmp_path / "file" / "out")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        read_log(run_logs.write(tmp_path, *run_logs.usual(1))) as log,
        pytest.raises(MissingExtraError, match="needs the extra `tables`"),
    ):
        write_tables(log, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pyarrow_that_does_not_go_with_numpy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Any:
        raise ImportError("requires NumPy 2.0 or newer")

    monkeypatch.setattr(log_tables, "import_module", refuse)
    with (
        read_log(run_logs.write(tmp_path, *run_logs.usual(1))) as log,
        pytest.raises(InputError, match=r"cannot be used here \(requires NumPy") as raised,
    ):
        write_tables(log, tmp_path / "out")
    assert "pyarrow<26" in raised.value.hint
    with pytest.raises(InputError, match=r"cannot be used here \(requires NumPy"):
        write_rows(tmp_path / "rows.parquet", [{"cell": 0}])


def test_pandas_reads_them(tables: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed", exc_type=ImportError)
    energy = pandas.read_parquet(tables / "energy.parquet")
    assert energy.groupby("cause").nj.sum()["idle tail"] == 50_000_000


def test_duckdb_reads_them(tables: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed", exc_type=ImportError)
    rows = duckdb.sql(f"SELECT graph, sum(nj) FROM '{tables}/energy.parquet' GROUP BY graph ORDER BY graph").fetchall()
    assert [graph for graph, _ in rows] == ["", "knock", "level"]
