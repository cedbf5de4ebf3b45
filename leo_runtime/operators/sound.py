"""Sound: is it loud, does it hold a voice, and the features that classifiers read.

An array of `n` samples cut into frames of `frame_samples`, one every `hop_samples`, has
`1 + (n - frame_samples) // hop_samples` whole frames; what is left at the end is not used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from leo_runtime.errors import GraphError
from leo_runtime.operators import presets
from leo_runtime.operators.definition import (
    AboveZero,
    Keeping,
    NotNegative,
    Operator,
    Shape,
    Work,
    shown,
    values,
    without_later_defaults,
)
from leo_runtime.operators.presets import expanded
from leo_runtime.schema import Positive, Quantity, Value


class EnergyGateParameters(Value):
    """When a signal is loud enough."""

    threshold_dbfs: float
    """Decibels relative to full scale: a mean square of 1 is 0 dBFS, so that a full-scale sine is at -3.01 dBFS."""


def _energy_gate_shape(_params: EnergyGateParameters, _shapes: Sequence[Shape]) -> Shape:
    return (1,)


def _energy_gate_work(_params: EnergyGateParameters, shapes: Sequence[Shape]) -> Work:
    return Work(values(shapes[0]), 4 * values(shapes[0], (1,)))


ENERGY_GATE = Operator(
    name="energy_gate",
    summary="A silence filter: 10 log10(max(mean(x^2), 1e-10)) - threshold_dbfs, in decibels, over all samples of "
    "all channels. Output: (1,), above 0 where the signal is louder than the threshold.",
    parameters=EnergyGateParameters,
    output_shape=_energy_gate_shape,
    work=_energy_gate_work,
    is_gate=True,
)


class SpectrumParameters(Value):
    """How a signal becomes power spectra: frames, window, discrete Fourier transform."""

    sample_rate_hz: Positive = 16_000
    frame_samples: Positive = 400
    hop_samples: Positive = 160
    fft_samples: Positive = 512
    """Points of the transform, a power of two, at least `frame_samples`; a frame is filled up with zeros."""
    window: Literal["hann", "hamming", "povey", "blackman", "rectangular"] = "hann"
    """Symmetric: `a - (1 - a) cos(2 pi i / (frame_samples - 1))` with a = 0.5 (hann) or 0.54 (hamming); hann to the
    power of 0.85 (povey); `0.42 - 0.5 cos(2 pi i / (frame_samples - 1)) + 0.08 cos(4 pi i / (frame_samples - 1))`
    (blackman); 1 (rectangular)."""
    preemphasis: NotNegative = 0.0
    """y[i] = x[i] - preemphasis * x[i - 1] over the whole signal, x[-1] = 0, before frames are cut."""
    scale: AboveZero = 1.0
    """Samples are multiplied by this first; 32768 gives the integers of 16-bit audio back."""


def frame_count(samples: int, frame_samples: int, hop_samples: int) -> int:
    """Whole frames in so many samples. Raises `GraphError` when there is none."""
    if samples < frame_samples:
        raise GraphError(f"{samples} samples are less than one frame of {frame_samples}")
    return 1 + (samples - frame_samples) // hop_samples


def _signal(shapes: Sequence[Shape], operator: str) -> int:
    if len(shapes[0]) != 1:
        raise GraphError(f"`{operator}` takes one channel, an array (samples,), got {shown(shapes[0])}")
    return shapes[0][0]


def _check_spectrum(params: SpectrumParameters) -> None:
    if params.fft_samples < params.frame_samples or params.fft_samples & (params.fft_samples - 1):
        raise GraphError(
            f"fft_samples must be a power of two and at least frame_samples ({params.frame_samples}), "
            f"got {params.fft_samples}"
        )
    _check_frame(params)


def _check_frame(params: SpectrumParameters) -> None:
    if params.frame_samples < 2:
        raise GraphError("frame_samples must be at least 2, got 1")


def _spectrum_macs(params: SpectrumParameters, frames: int) -> int:
    """Window and power: 1 and 2 a point; a real transform of N points: about N log2 N."""
    points = params.fft_samples
    return frames * (params.frame_samples + points * (points.bit_length() - 1) + points)


class VoiceGateParameters(SpectrumParameters):
    """When a signal holds a voice."""

    low_hz: NotNegative = 300.0
    """The speech band: the transform's points from here on,"""
    high_hz: AboveZero = 3400.0
    """up to and including here."""
    threshold_dbfs: float = -50.0
    """A frame whose level in the speech band is not above this holds no voice."""
    threshold_contrast: AboveZero = 1.6
    """A frame whose spectral contrast is not above this holds no voice; white noise has 0.58 (Euler's constant)."""
    fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """The gate opens when more than this part of the frames holds a voice."""


def _voice_gate_shape(params: VoiceGateParameters, shapes: Sequence[Shape]) -> Shape:
    _check_spectrum(params)
    _check_band(params)
    step_hz = params.sample_rate_hz / params.fft_samples
    if math.floor(params.high_hz / step_hz) - math.ceil(params.low_hz / step_hz) < 1:
        raise GraphError(f"fewer than two points of the transform lie from {params.low_hz:g} to {params.high_hz:g} Hz")
    frame_count(_signal(shapes, "voice_gate"), params.frame_samples, params.hop_samples)
    return (1,)


def _voice_gate_work(params: VoiceGateParameters, shapes: Sequence[Shape]) -> Work:
    frames = frame_count(shapes[0][0], params.frame_samples, params.hop_samples)
    band = int((params.high_hz - params.low_hz) * params.fft_samples / params.sample_rate_hz)
    return Work(_spectrum_macs(params, frames) + 2 * frames * band, 4 * values(shapes[0], (1,)))


VOICE_GATE = Operator(
    name="voice_gate",
    summary="A voice detector. With p the power spectrum of a frame at the points of the speech band: its level "
    "is 10 log10(2 sum(p) / (fft_samples sum(w^2))) with w the window (the mean square the band had "
    "before the window), its contrast is ln(mean(p)) - mean(ln(p)), the logarithm of one over the "
    "spectral flatness (J. D. Johnston, IEEE JSAC 6(2), 1988): a voice's harmonics and formants stand "
    "out, noise is flat. Points of no more than 1e-12 of full scale count as 1e-12. A frame holds a voice "
    "when both are above their thresholds. Output: (1,), the part of frames that hold a voice, minus "
    "`fraction`; above 0 where there is a voice.",
    parameters=VoiceGateParameters,
    output_shape=_voice_gate_shape,
    work=_voice_gate_work,
    is_gate=True,
)


class LogMelParameters(SpectrumParameters):
    """Log energies of mel bands. docs/front-ends.md has a table of the presets, and what to look out for."""

    like: Literal["htk", "kaldi", "librosa", "python_speech_features", "sphinx", "torchaudio", "whisper"] | None = None
    """A preset: the parameters under which that program's values come out. Each that is given besides goes before it.
    None as soon as it is read: what holds is in the parameters themselves."""
    fft_samples: Positive = 512
    """Points of the transform, at least `frame_samples`; a frame is filled up with zeros. At most 2048 on the DSP."""
    periodic_window: bool = False
    """Whether the window has frame_samples in the place of frame_samples - 1, as librosa's and PyTorch's do."""
    edges: Literal["whole", "filled", "centred_zeros", "centred_reflected", "mirrored"] = "whole"
    """Which frames there are. `whole`: those that lie in the signal. `filled`: one more where samples are left over (or
    there are too few for any), filled up with zeros. `centred_zeros`: frame t is centred on sample t * hop_samples,
    zeros stand for what is beyond the signal. `centred_reflected`: the same, and beyond are the samples in reverse
    order, the last one not repeated. `mirrored`: frame t is centred on sample (t + 0.5) * hop_samples, beyond are the
    samples in reverse order, the last one repeated (Kaldi's `--snip-edges=false`)."""
    drop_last_frame: bool = False
    """Whether the last frame is left out, as Whisper does."""
    remove_mean: bool = False
    """Whether each frame's mean is subtracted before all else (Kaldi's `--remove-dc-offset`)."""
    preemphasis_in: Literal["signal", "frame"] = "signal"
    """`signal`: `preemphasis` as above. `frame`: in each frame by itself, its first sample standing for the one before
    it, so that y[0] = (1 - preemphasis) x[0]."""
    spectrum: Literal["power", "magnitude", "periodogram"] = "power"
    """What bands weigh: |X[k]|^2, |X[k]|, or |X[k]|^2 / fft_samples."""
    bands: Positive = 40
    low_hz: NotNegative = 20.0
    """Where the first band begins,"""
    high_hz: AboveZero = 7600.0
    """and where the last one ends; at most half the sample rate."""
    mel: Literal["htk", "slaney"] = "htk"
    """What mel are: 2595 log10(1 + f / 700); or f / 66.67 up to 1000 Hz, and above 15 + 27 ln(f / 1000) / ln 6.4
    (M. Slaney, Auditory Toolbox, 1998)."""
    triangles_in: Literal["hz", "mel"] = "hz"
    """On which axis a band's two sides are straight."""
    round_to_bins: bool | Literal["down"] = False
    """Whether the bands' corners are rounded to points of the transform, as Sphinx does (`-round_filters`). `down`: to
    point floor((fft_samples + 1) f / sample_rate_hz)."""
    unit_area: bool = False
    """Whether each band's triangle is divided by half its width in Hz, as Sphinx (`-unit_area`) and Slaney do."""
    floor: AboveZero = 1e-6
    """Keeps a band's energy from 0 before its logarithm, in the units of `scale` squared (of `scale`: magnitude)."""
    floor_by: Literal["adding", "clipping"] = "adding"
    """`adding`: it is added to the energy. `clipping`: an energy below it is raised to it."""
    log: Literal["ln", "log10", "decibels"] = "ln"
    """The logarithm; decibels are 10 log10."""
    log_range: NotNegative = 0.0
    """Above 0: what is further than this below the greatest value of the whole window is raised to there."""
    log_gain: AboveZero = 1.0
    """At last, values are multiplied by this,"""
    log_offset: float = 0.0
    """and this is added to them."""
    streaming: bool = False
    """Whether rows are kept from run to run, so that only those of samples that are new are computed. Rows then lie
    every hop from where the stage started, wherever the window lies. It takes `edges = "whole"`, and nothing that reads
    other rows: no `drop_last_frame`, `log_range`, `normalise_mean` or `deltas`."""

    @model_validator(mode="before")
    @classmethod
    def _as_preset(cls, given: Any) -> Any:
        """Put the parameters of a preset in its place, so that two ways to write a stage are one stage."""
        return expanded(given, presets.LOG_MEL)

    @model_serializer(mode="wrap")
    def _where_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is at its default and was not always there, so that profiles go on to know stages by it."""
        return without_later_defaults(self, dump(self), _LATER)

    @property
    def is_plain(self) -> bool:
        """Whether its steps are those of before there were presets; tables (window, bands, cosines) may be any."""
        fields = type(self).model_fields
        return all(getattr(self, name) == fields[name].default for name in _STEPS if name in fields)


_STEPS = (
    "edges",
    "drop_last_frame",
    "remove_mean",
    "preemphasis_in",
    "spectrum",
    "floor_by",
    "log",
    "log_range",
    "log_gain",
    "log_offset",
    "energy",
    "delta_window",
)
"""Parameters that make a stage do something else, not only with other numbers."""

_LATER = (
    *_STEPS,
    "like",
    "periodic_window",
    "mel",
    "triangles_in",
    "first_cepstrum",
    "energy_at",
    "energy_floor",
    "dct",
    "streaming",
)
"""Parameters that stages of before do not have."""


def feature_frames(params: LogMelParameters, samples: int) -> int:
    """How many frames `edges` makes of so many samples. Raises `GraphError` where there is none."""
    match params.edges:
        case "whole":
            frames = frame_count(samples, params.frame_samples, params.hop_samples)
        case "filled":
            frames = 1 + max(0, -(-(samples - params.frame_samples) // params.hop_samples))
        case "mirrored":
            frames = (samples + params.hop_samples // 2) // params.hop_samples
        case "centred_zeros" | "centred_reflected":
            least = params.fft_samples // 2 + 1 if params.edges == "centred_reflected" else 1
            if samples < least:
                raise GraphError(
                    f"{samples} samples cannot be reflected at their ends, which takes {least} (half of fft_samples "
                    f"{params.fft_samples}, and one)",
                    hint='give it a longer window, or edges = "centred_zeros"',
                )
            whole = samples + params.fft_samples // 2 * 2 - params.fft_samples
            frames = 1 + whole // params.hop_samples
    frames -= params.drop_last_frame
    if frames < 1:
        raise GraphError(f"{samples} samples are less than one frame", hint="give it a longer window")
    return frames


def first_sample(params: LogMelParameters) -> int:
    """Where in the signal the first frame begins; below 0 before it."""
    match params.edges:
        case "centred_zeros" | "centred_reflected":
            return (params.fft_samples - params.frame_samples) // 2 - params.fft_samples // 2
        case "mirrored":
            return params.hop_samples // 2 - params.frame_samples // 2
    return 0


def _check_features(params: LogMelParameters) -> None:
    if params.fft_samples < params.frame_samples:
        raise GraphError(
            f"fft_samples must be at least frame_samples ({params.frame_samples}), got {params.fft_samples}"
        )
    _check_frame(params)
    _check_band(params)


def _check_band(params: VoiceGateParameters | LogMelParameters) -> None:
    if not params.low_hz < params.high_hz <= params.sample_rate_hz / 2:
        raise GraphError(
            f"expected low_hz < high_hz <= {params.sample_rate_hz / 2:g} (half the sample rate), "
            f"got {params.low_hz:g} and {params.high_hz:g}"
        )


_ALONE = {"edges": "whole", "drop_last_frame": False, "log_range": 0.0, "normalise_mean": False, "deltas": False}
"""What parameters are where a row depends on its own frame alone."""


def _not_alone(params: LogMelParameters) -> dict[str, tuple[object, object]]:
    """By parameter its value, and the one with which rows stand alone, where it is another."""
    found = {name: (getattr(params, name, alone), alone) for name, alone in _ALONE.items()}
    return {name: (value, alone) for name, (value, alone) in found.items() if value != alone}


def _check_streaming(params: LogMelParameters) -> None:
    if params.streaming:
        for name, (value, alone) in _not_alone(params).items():
            raise GraphError(
                f"`streaming` keeps rows, and `{name}` = {_written(value)} makes a row depend on more than its frame",
                hint=f"set {name} = {_written(alone)}, or compute the whole window each time: streaming = false",
            )


def _written(value: object) -> str:
    """As a workload has it."""
    return str(value).lower() if isinstance(value, bool) else json.dumps(value)


def kept_values(rows: Shape, frame_samples: int) -> int:
    """At most so many values are kept of rows that are computed once: the rows, and the samples of those to come."""
    return values(rows) + frame_samples + 1


def new_frames(fresh: int, frames: int, hop_samples: int) -> int:
    """How many frames so many new samples complete at most, of those in a window."""
    return min(frames, -(-fresh // hop_samples))


def _frames_so_far(frame_samples: int, hop_samples: int, samples: int) -> int:
    return 0 if samples < frame_samples else frame_count(samples, frame_samples, hop_samples)


def _log_mel_shape(params: LogMelParameters, shapes: Sequence[Shape]) -> Shape:
    _check_features(params)
    _check_streaming(params)
    return (feature_frames(params, _signal(shapes, "log_mel")), params.bands)


def _log_mel_work(params: LogMelParameters, shapes: Sequence[Shape]) -> Work:
    frames = feature_frames(params, shapes[0][0])
    return Work(
        _log_mel_macs(params, frames), 4 * values(shapes[0], (frames, params.bands), (_log_mel_tables(params),))
    )


def _log_mel_macs(params: LogMelParameters, frames: int) -> int:
    # Neighbouring triangles overlap by half: each point of the transform counts in two bands.
    macs = _spectrum_macs(params, frames) + frames * (params.fft_samples + params.bands)
    if params.remove_mean:
        macs += 2 * frames * params.frame_samples
    if params.preemphasis_in == "frame":
        macs += frames * params.frame_samples
    if params.log_range:
        macs += 2 * frames * params.bands
    return macs


def _log_mel_tables(params: LogMelParameters) -> int:
    return params.fft_samples


def _log_mel_keeps(params: LogMelParameters) -> Keeping | None:
    return _feature_keeping(_log_mel_shape, _log_mel_macs, _log_mel_tables) if params.streaming else None


def _feature_keeping(
    shape: Callable[[Any, Sequence[Shape]], Shape], macs: Callable[[Any, int], int], tables: Callable[[Any], int]
) -> Keeping:
    """Of features whose rows stand alone: rows of what is new are computed, and the others copied."""

    def state_bytes(params: LogMelParameters, shapes: Sequence[Shape]) -> int:
        return 4 * kept_values(shape(params, shapes), params.frame_samples)

    def work(params: LogMelParameters, shapes: Sequence[Shape], fresh: int) -> Work:
        rows = shape(params, shapes)
        return Work(
            macs(params, new_frames(fresh, rows[0], params.hop_samples)), 4 * (fresh + values(rows) + tables(params))
        )

    return Keeping(state_bytes, work, _feature_rows_so_far)


def _feature_rows_so_far(params: LogMelParameters, samples: int) -> int:
    return _frames_so_far(params.frame_samples, params.hop_samples, samples)


def _feature_rows(params: LogMelParameters) -> Callable[[Any, int], int] | None:
    return None if _not_alone(params) else _feature_rows_so_far


LOG_MEL = Operator(
    name="log_mel",
    summary="ln(e + floor) of the energies e of mel bands, or as `floor_by`, `log`, `log_range`, `log_gain` and "
    "`log_offset` say. The power spectrum of a frame is |X[k]|^2, k = 0 to fft_samples / 2. `bands` triangles of "
    "height 1, whose corners lie evenly from low_hz to high_hz in mel, 2595 log10(1 + f / 700) (D. O'Shaughnessy, "
    "Speech Communication, 1987), each reaching from the peak of the one before to the peak of the one after, weigh "
    "the points by their frequency. Output: (frames, bands).",
    parameters=LogMelParameters,
    output_shape=_log_mel_shape,
    work=_log_mel_work,
    keeps=_log_mel_keeps,
    rows=_feature_rows,
)


class MfccParameters(LogMelParameters):
    """Mel-frequency cepstral coefficients. docs/front-ends.md has a table of the presets, and what to look out for.

    `like = "sphinx"` is the front end of pocketsphinx's en-us model, but for its noise removal.
    """

    like: Literal["htk", "kaldi", "librosa", "python_speech_features", "sphinx", "torchaudio"] | None = None
    """A preset: the parameters under which that program's values come out. Each that is given besides goes before it.
    None as soon as it is read: what holds is in the parameters themselves."""
    cepstra: Positive = 13
    """So many coefficients of the cosine transform of `log_mel`,"""
    first_cepstrum: Quantity = 0
    """from this one on: 0 is the zeroth (the frame's level), which HTK leaves out."""
    dct: Literal["orthonormal", "htk"] = "orthonormal"
    """s[0] is sqrt(1 / bands), or sqrt(2 / bands) as are all others (htk)."""
    lifter: Quantity = 0
    """L > 0 multiplies coefficient i by 1 + L / 2 * sin(i pi / L)."""
    energy: Literal["none", "raw", "windowed", "spectrum"] = "none"
    """A column of ln(max(e, energy_floor)): e is the sum of squares of a frame times `scale` squared, of `raw` before
    its own pre-emphasis and window, of `windowed` behind them; of `spectrum` it is the sum of all points 0 to
    fft_samples / 2 of the spectrum."""
    energy_at: Literal["first", "last"] = "first"
    """In the place of the first coefficient, or behind the last one, so that a row is one wider."""
    energy_floor: AboveZero = 1e-6
    """In the units of `scale` squared."""
    normalise_mean: bool = False
    """Whether each column's mean over the window's frames is subtracted (before deltas are taken)."""
    deltas: bool = False
    """Whether first and second differences follow the columns, so that a row is three times as wide."""
    delta_window: Quantity = 0
    """0: differences as Sphinx takes them. W > 0: regression over W frames on both sides, d[t] = sum_i i (c[t + i] -
    c[t - i]) / (2 sum_i i^2), i = 1 to W, and the same of d, the first and last row standing for those beyond."""

    @model_validator(mode="before")
    @classmethod
    def _as_preset(cls, given: Any) -> Any:
        return expanded(given, presets.MFCC)

    @property
    def columns(self) -> int:
        """How wide a row is before deltas."""
        return self.cepstra + (self.energy != "none" and self.energy_at == "last")


def _mfcc_shape(params: MfccParameters, shapes: Sequence[Shape]) -> Shape:
    _check_features(params)
    _check_streaming(params)
    if params.first_cepstrum + params.cepstra > params.bands:
        first = f" from {params.first_cepstrum} on" if params.first_cepstrum else ""
        raise GraphError(f"{params.cepstra} cepstra{first} cannot come from {params.bands} bands")
    frames = feature_frames(params, _signal(shapes, "mfcc"))
    return (frames, params.columns * (3 if params.deltas else 1))


def _mfcc_work(params: MfccParameters, shapes: Sequence[Shape]) -> Work:
    rows = _mfcc_shape(params, shapes)
    return Work(_mfcc_macs(params, rows[0]), 4 * values(shapes[0], rows, (_mfcc_tables(params),)))


def _mfcc_macs(params: MfccParameters, frames: int) -> int:
    width = params.columns * (3 if params.deltas else 1)
    macs = _log_mel_macs(params, frames) + frames * (params.bands * params.cepstra + 3 * width)
    if params.energy != "none":
        macs += frames * params.frame_samples
    if params.deltas:
        macs += 2 * params.delta_window * frames * 2 * params.columns
    return macs


def _mfcc_tables(params: MfccParameters) -> int:
    return params.fft_samples + params.bands * params.cepstra


def _mfcc_keeps(params: MfccParameters) -> Keeping | None:
    return _feature_keeping(_mfcc_shape, _mfcc_macs, _mfcc_tables) if params.streaming else None


MFCC = Operator(
    name="mfcc",
    summary="The cosine transform (DCT-II) of `log_mel`: c[i] = s[i] sum_j m[j] cos(pi i (j + 0.5) / "
    "bands), s[0] = sqrt(1 / bands), s[i] = sqrt(2 / bands) (Davis and Mermelstein, IEEE TASSP 28(4), "
    "1980), then the lifter, energy, mean normalisation, and differences d[t] = c[t + 2] - c[t - 2], dd[t] = d[t "
    "+ 1] - d[t - 1] as Sphinx takes them (`-feat 1s_c_d_dd`), the first and last row standing for those "
    "beyond the window, or regression deltas (S. Young et al., The HTK Book, 5.9). Output: (frames, columns), or "
    "(frames, 3 columns) with deltas, where the columns are `cepstra`, and one of energy behind them.",
    parameters=MfccParameters,
    output_shape=_mfcc_shape,
    work=_mfcc_work,
    keeps=_mfcc_keeps,
    rows=_feature_rows,
)


MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES, MICRO_BANDS = 480, 160, 40


class MicroFeaturesParameters(Value):
    """How often the front end of TensorFlow Lite Micro starts afresh."""

    streaming: bool = False
    """False: for every window. True: its noise reduction and gain go on from run to run, as they do where one is built
    in, and only rows of samples that are new are computed; rows lie every 10 ms from where the stage started."""

    @model_serializer(mode="wrap")
    def _where_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what was not always there, so that profiles go on to know stages by it."""
        return without_later_defaults(self, dump(self), ("streaming",))


def _micro_features_shape(_params: MicroFeaturesParameters, shapes: Sequence[Shape]) -> Shape:
    return (
        frame_count(_signal(shapes, "micro_features"), MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES),
        MICRO_BANDS,
    )


def _micro_features_macs(frames: int) -> int:
    return frames * (MICRO_FRAME_SAMPLES + 512 * 9 + 512 + 512)


def _micro_features_work(params: MicroFeaturesParameters, shapes: Sequence[Shape]) -> Work:
    rows = _micro_features_shape(params, shapes)
    return Work(_micro_features_macs(rows[0]), 4 * values(shapes[0], rows))


def _micro_features_state(params: MicroFeaturesParameters, shapes: Sequence[Shape]) -> int:
    rows = _micro_features_shape(params, shapes)
    return 4 * (kept_values(rows, MICRO_FRAME_SAMPLES) + MICRO_BANDS)


def _micro_features_new_work(params: MicroFeaturesParameters, shapes: Sequence[Shape], fresh: int) -> Work:
    rows = _micro_features_shape(params, shapes)
    return Work(_micro_features_macs(new_frames(fresh, rows[0], MICRO_HOP_SAMPLES)), 4 * (fresh + values(rows)))


def _micro_features_so_far(_params: MicroFeaturesParameters, samples: int) -> int:
    return _frames_so_far(MICRO_FRAME_SAMPLES, MICRO_HOP_SAMPLES, samples)


def _micro_features_keeps(params: MicroFeaturesParameters) -> Keeping | None:
    if not params.streaming:
        return None
    return Keeping(_micro_features_state, _micro_features_new_work, _micro_features_so_far)


MICRO_FEATURES = Operator(
    name="micro_features",
    summary="The features that TensorFlow Lite Micro's audio front end computes and microWakeWord's models read: "
    "40 bands every 10 ms from 30 ms of 16 kHz audio, with its noise reduction and automatic gain started "
    "afresh for every window, unless `streaming`. They are what the package pymicro-features gives. "
    "Output: (frames, 40).",
    parameters=MicroFeaturesParameters,
    output_shape=_micro_features_shape,
    work=_micro_features_work,
    keeps=_micro_features_keeps,
    rows=lambda _params: _micro_features_so_far,
    sample_rate_hz=16_000,
)


OPERATORS = (ENERGY_GATE, VOICE_GATE, LOG_MEL, MFCC, MICRO_FEATURES)
