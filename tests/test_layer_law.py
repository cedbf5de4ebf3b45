"""The arithmetic of int8 layers: one rounding, halves upwards; sums as XNNPACK's."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.layers import law

scales = st.floats(2.0**-31, 2.0**10, width=32, exclude_max=True)
sums = st.integers(-(2**31), 2**31 - 1)


@given(sums, scales)
def test_a_sum_is_rounded_once(total: int, scale: float) -> None:
    """A float32 is 24 bits: nothing is lost before the one rounding."""
    exact = Fraction(total) * Fraction(scale)
    assert law.scaled(np.array([total]), [law.multiplier(scale)])[0] == math.floor(exact + Fraction(1, 2))


@given(scales)
def test_a_multiplier_fits_32_bits(scale: float) -> None:
    one = law.multiplier(scale)
    assert (2**30 <= one.factor < 2**31 or one.factor == 0) and 1 <= one.shift <= 62


@pytest.mark.parametrize("total", [-(2**31), -1, 0, 2**31 - 1])
def test_a_scale_too_small_for_any_sum_gives_0(total: int) -> None:
    assert law.scaled(np.array([total]), [law.multiplier(2.0**-40)])[0] == 0


def test_a_scale_that_rounds_up_to_the_next_power_is_met() -> None:
    scale = 1 - 2.0**-40
    assert law.multiplier(scale) == law.Multiplier(2**30, 30)


@pytest.mark.parametrize("scale", [0.0, -1.0, 2.0**30, math.inf, math.nan])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="its values would be scaled by"):
        law.multiplier(scale)
    with pytest.raises(ValueError, match=f"its values would be scaled by {scale}"):
        law.multipliers(np.array([1.0, scale]))


@given(st.lists(st.one_of(scales, st.floats(2.0**-60, 2.0**29), st.just(1 - 2.0**-40)), max_size=9))
def test_many_scales_have_the_multipliers_of_each(many: list[float]) -> None:
    assert law.multipliers(np.array(many)) == tuple(law.multiplier(one) for one in many)


@given(scales, st.lists(scales, max_size=9), scales)
def test_many_ratios_are_those_of_each(scale: float, others: list[float], out: float) -> None:
    with np.errstate(all="ignore"):
        each = [law.ratio(scale, one, out=out) for one in others]
        np.testing.assert_array_equal(law.ratios(scale, others, out), each)


@given(st.integers(-(2**16), 2**16), st.floats(2.0**-20, 2.0**8, exclude_max=True, width=32))
def test_two_steps_round_twice(value: int, scale: float) -> None:
    """TensorFlow Lite's: the first to the nearest, halves upwards, the second halves away from 0."""
    by = law.two_steps(scale)
    first = math.floor(Fraction(value * 2**by.left * by.factor, 2**31) + Fraction(1, 2))
    second = Fraction(abs(first), 2**by.right)
    expected = int(math.copysign(math.floor(second + Fraction(1, 2)), first))
    assert law.scaled_in_two(np.array([value]), by)[0] == expected
    assert abs(expected - Fraction(value) * Fraction(scale)) <= 1


@pytest.mark.parametrize("scale", [0.0, -1.0, 2.0**8, math.inf, math.nan])
def test_a_scale_that_two_steps_do_not_have_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="its values would be scaled by"):
        law.two_steps(scale)


@given(
    st.floats(2.0**-10, 2.0**8, exclude_max=True, width=32),
    st.floats(2.0**-10, 2.0**8, exclude_max=True, width=32),
    st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
)
def test_a_sum_of_two_is_near_the_real_one(
    first: float, second: float, zeros: tuple[int, int], values: tuple[int, int]
) -> None:
    """Its multipliers have 20 bits: the error is below 2^-12 of the greater scale, and a half."""
    how = law.addition(first, second, zeros)
    total = values[0] * how.first + values[1] * how.second + how.bias
    assert -(2**31) <= total < 2**31, "it fits 32 bits"
    real = first * (values[0] - zeros[0]) + second * (values[1] - zeros[1])
    assert abs((total >> how.shift) - real) <= 0.5 + max(first, second) * 2.0**-11


@pytest.mark.parametrize("scale", [2.0**-11, 2.0**8])
def test_scales_that_xnnpack_does_not_add_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="an input's values"):
        law.addition(scale, 1.0, (0, 0))
