/* Frames of a signal and their power spectra. */
#ifndef LEO_SPECTRUM_H
#define LEO_SPECTRUM_H

#include "dsp.h"

typedef struct {
    i32 r, i;
} __attribute__((aligned(8))) Complex;

#define SPECTRUM_WORDS 6

typedef struct {
    u32 samples; /* what the frames reach to, of a signal that may be longer */
    u32 frames, frame_samples, hop_samples, points, points_log2;
    i32 preemphasis_q15;
    const i16 *window_q15;
    const Complex *factors_q14; /* cos and -sin of 2 pi k / points, k = 0 to points / 2 */
} Spectrum;

/* What one request needs besides: the whole signal scaled, one frame's points, and its power. */
typedef struct {
    i32 *signal;
    Complex *z;
    i64 *power;
} SpectrumRun;

/* Read the words from index 1 on (frames, frame_samples, hop_samples, points, log2 of points, preemphasis),
 * and arrays 1 (window) and 2 (factors). */
u32 spectrum_prepare(const Model *model, Spectrum *spectrum);

/* Take scratch memory, and scale a signal of 16 bits. */
u32 spectrum_begin(const Spectrum *spectrum, const Array *signal, SpectrumRun *run);

/* The power of one frame at the points `first` to `end` - 1, into run->power[first] and so on. */
void spectrum_power(const Spectrum *spectrum, const SpectrumRun *run, u32 frame, u32 first, u32 end);

#endif
