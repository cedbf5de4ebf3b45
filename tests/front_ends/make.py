"""Makes `references.npz`, the values that the programs themselves give for `chirp.wav`.

    python -m venv made
    made/bin/pip install librosa torch torchaudio openai-whisper python_speech_features kaldi-native-fbank
    made/bin/python tests/front_ends/make.py

It keeps the arrays that no package gives (`expected_...`: SOURCES.md says whose they are), and prints the versions.
"""

import wave
from importlib.metadata import version
from pathlib import Path

import kaldi_native_fbank
import librosa
import numpy as np
import python_speech_features
import torch
import torchaudio
import whisper

HERE = Path(__file__).parent
RATE_HZ = 16_000
PACKAGES = ("kaldi-native-fbank", "librosa", "openai-whisper", "python_speech_features", "torch", "torchaudio")


def of_librosa(sound):
    mel = librosa.feature.melspectrogram
    short = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 40}
    mfcc = librosa.feature.mfcc(y=sound, sr=RATE_HZ)
    return {
        "librosa_log_mel": librosa.power_to_db(mel(y=sound, sr=RATE_HZ)).T,
        "librosa_log_mel_short": librosa.power_to_db(mel(y=sound, sr=RATE_HZ, **short)).T,
        "librosa_mfcc": mfcc.T,
        "librosa_mfcc_delta": librosa.feature.delta(mfcc).T,
    }


def of_torchaudio(sound):
    transforms, deltas = torchaudio.transforms, torchaudio.functional.compute_deltas
    mel = transforms.MelSpectrogram(RATE_HZ)(torch.from_numpy(sound))
    mfcc = transforms.MFCC(RATE_HZ)(torch.from_numpy(sound))
    integers = torch.from_numpy(sound * 32768)[None]
    kaldi = torchaudio.compliance.kaldi
    return {
        "torchaudio_log_mel": transforms.AmplitudeToDB("power")(mel).T,
        "torchaudio_mfcc_deltas": torch.cat([mfcc, deltas(mfcc), deltas(deltas(mfcc))]).T,
        "torchaudio_kaldi_log_mel": kaldi.fbank(integers),
        "torchaudio_kaldi_mfcc": kaldi.mfcc(integers, use_energy=True),
    }


def of_whisper(sound):
    return {"whisper_log_mel": whisper.log_mel_spectrogram(sound).T}


def of_python_speech_features(sound):
    integers = sound.astype(np.float64) * 32768
    mfcc, delta = python_speech_features.mfcc(integers), python_speech_features.delta
    return {
        "python_speech_features_log_mel": python_speech_features.logfbank(integers),
        "python_speech_features_mfcc_deltas": np.hstack([mfcc, delta(mfcc, 2), delta(delta(mfcc, 2), 2)]),
    }


def of_kaldi(sound):
    fbank, mfcc = kaldi_native_fbank.FbankOptions, kaldi_native_fbank.MfccOptions
    made = {}
    for name, options, extractor, change in (
        ("kaldi_log_mel", fbank(), kaldi_native_fbank.OnlineFbank, {}),
        ("kaldi_log_mel_mirrored", fbank(), kaldi_native_fbank.OnlineFbank, {"snip_edges": False}),
        ("kaldi_mfcc", mfcc(), kaldi_native_fbank.OnlineMfcc, {}),
        ("kaldi_mfcc_windowed", mfcc(), kaldi_native_fbank.OnlineMfcc, {"raw_energy": False}),
        ("kaldi_mfcc_zeroth", mfcc(), kaldi_native_fbank.OnlineMfcc, {"use_energy": False}),
    ):
        options.frame_opts.dither = 0
        for key, value in change.items():
            setattr(options.frame_opts if key == "snip_edges" else options, key, value)
        running = extractor(options)
        running.accept_waveform(RATE_HZ, (sound * 32768).tolist())
        running.input_finished()
        made[name] = [running.get_frame(i) for i in range(running.num_frames_ready)]
    return made


def main():
    with wave.open(str(HERE / "chirp.wav")) as file:
        sound = (np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768).astype(np.float32)
    made = {}
    if (HERE / "references.npz").exists():
        with np.load(HERE / "references.npz") as before:
            made |= {name: before[name] for name in before if name.startswith("expected_")}
    for program in (of_librosa, of_torchaudio, of_whisper, of_python_speech_features, of_kaldi):
        made |= {name: np.asarray(values, np.float32) for name, values in program(sound).items()}
    np.savez_compressed(HERE / "references.npz", **made)
    for package in PACKAGES:
        print(f"{package} {version(package)}")


if __name__ == "__main__":
    main()
