"""Which tile a kernel takes, with no device at hand."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_backends.opencl import tuning
from leo_backends.opencl.tune import MOST_SUMS, conv_tiles, is_sensible, single_conv, space, tune
from leo_backends.opencl.tuning import Shape, Tile, TunedEntry, TunedTable, Tuning, cut, user_table_path, vector_width
from leo_runtime import cli
from leo_runtime.errors import DocumentError, MissingExtraError

CPU = {"platform": "P", "name": "one", "type": "cpu", "vector_width": 8}
GPU = {"platform": "Q", "name": "two", "type": "gpu", "vector_width": 1}
SHIPPED = Path(tuning.__file__).with_name("tuned.json")

kernels = st.sampled_from(["affine", "power", "gmm"])
sizes = st.integers(1, 3000)
shapes = st.builds(Shape, sizes, sizes, sizes)


def table(*entries: TunedEntry, **device: str | int) -> TunedTable:
    return TunedTable(format="leo-tuned/1", device=device or CPU, tuner="by hand", entries=entries)


def entry(shape: tuple[int, int, int], **tile: int) -> TunedEntry:
    rows, inputs, outputs = shape
    return TunedEntry(kernel="affine", rows=rows, inputs=inputs, outputs=outputs, tile=Tile(**tile))


@given(kernels, shapes, st.sampled_from([CPU, GPU, {}]))
def test_the_rule_gives_a_tile_that_wastes_less_than_one_vector_a_group(kernel, shape, device):
    tile = Tuning(device).rule(kernel, shape)
    assert tile.rows <= shape.rows
    assert kernel != "power" or tile.cols % 2 == 0
    assert cut(tile, kernel, shape) == tile
    per_output = 2 if kernel == "power" else 1
    assert tile.width <= max(2, 2 * -(-shape.outputs // tile.vec)) * tile.vec * per_output


def test_the_nearest_shape_that_was_tuned_stands_in():
    found = Tuning(CPU, (table(entry((500, 512, 512), rows=6), entry((1, 512, 512), rows=1, cols=8)),))
    assert found.tile("affine", Shape(400, 500, 512)).rows == 6
    assert found.tile("affine", Shape(2, 512, 512)).cols == 8
    assert found.tile("gmm", Shape(500, 39, 128)) == found.rule("gmm", Shape(500, 39, 128))
    assert found.tile("affine", Shape(500, 2, 2)) == found.rule("affine", Shape(500, 2, 2))


def test_the_first_table_that_knows_decides():
    mine, shipped = table(entry((500, 512, 512), rows=3)), table(entry((500, 512, 512), rows=6))
    assert Tuning(CPU, (mine, shipped)).tile("affine", Shape(500, 512, 512)).rows == 3


def test_a_table_is_for_the_devices_whose_properties_it_names():
    assert table(platform="P", type="cpu").fits(CPU)
    assert not table(platform="P", type="gpu").fits(CPU)


def test_the_users_table_goes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = user_table_path(CPU)
    assert path.is_relative_to(tmp_path)
    assert user_table_path(GPU) != path
    path.parent.mkdir(parents=True)
    table(entry((9, 9, 9), rows=2)).to_file(path)
    assert Tuning.of_device(CPU).tile("affine", Shape(9, 9, 9)).rows == 2
    path.write_text("no table")
    assert Tuning.of_device(CPU).tables == ()


def test_what_ships_is_valid_and_sensible():
    shipped = TunedTable.from_file(SHIPPED)
    assert shipped.entries
    for one in shipped.entries:
        assert is_sensible(one.kernel, one.shape, one.tile), one
        assert one.after_ns <= one.before_ns


def test_a_power_tile_of_odd_vectors_is_refused():
    with pytest.raises(DocumentError, match=r"even number of vectors, at \$\.entries\[0\]\.tile\.cols"):
        TunedTable.from_dict(
            {
                "format": "leo-tuned/1",
                "device": {},
                "tuner": "by hand",
                "entries": [{"kernel": "power", "rows": 1, "inputs": 1, "outputs": 1, "tile": {"cols": 3}}],
            }
        )


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("kernel", ["affine", "power", "gmm"])
def test_there_is_something_to_search(kernel, device):
    choices = space(kernel, Shape(500, 400, 512), device)
    assert all(choices.values())
    assert set(choices) == {"VEC", "COLS", "ROWS", "LX", "ORDER", "STAGE"}


@given(shapes, st.sampled_from([CPU, GPU, {**CPU, "vector_width": 16}]))
def test_tiles_of_a_convolution_waste_no_vector(shape, device):
    """The rule's is one of those that are tried, on a CPU that has no table."""
    vectors = -(-shape.outputs // vector_width(device))
    tried = conv_tiles(shape, device)
    for tile in (*tried, Tuning(device).rule("conv", shape)):
        assert vectors % tile.cols == 0 and tile.vec == vector_width(device)
        assert tile.rows * tile.cols <= MOST_SUMS
    assert tried and all(tile.rows <= shape.rows for tile in tried)


def test_a_convolution_is_tried_alone_in_its_tile():
    plan = single_conv(Shape(50, 16, 40), Tile(vec=8, cols=5, rows=4), CPU)
    (step,) = plan.steps
    assert step.kernel == "conv" and {"-DROWS=4", "-DCOLS=5", "-DVEC=8"} <= set(step.options)


@pytest.mark.skipif(importlib.util.find_spec("kernel_tuner") is not None, reason="the extra `tune` is installed")
def test_tuning_without_its_extra_names_it(capsys):
    with pytest.raises(MissingExtraError) as caught:
        tune({}, [], tries=1)
    assert caught.value.hint == "pip install 'leo-runtime[tune]'"


def test_tuning_what_cannot_be_tuned_is_said(capsys):
    assert cli.main(["tune", "cpu"]) == 2
    assert "backend `cpu` of processor `cpu` has nothing to tune" in capsys.readouterr().err
    assert cli.main(["tune", "npu"]) == 2
    assert "has no processor `npu`" in capsys.readouterr().err
