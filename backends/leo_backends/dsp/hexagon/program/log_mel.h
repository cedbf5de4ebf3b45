/* Log energies of mel bands: an operator, and the first half of another. */
#ifndef LEO_LOG_MEL_H
#define LEO_LOG_MEL_H

#include "spectrum.h"

#define LOG_MEL_WORDS (SPECTRUM_WORDS + 5)

typedef struct {
    Spectrum spectrum;
    u32 bands;
    const i32 *first, *count;
    const i16 *weights;
    i64 floor, offset_q16;
} LogMel;

/* Read the words from index 1 on (the spectrum's, bands, then in 64 bits floor and offset), and arrays 1 to 5 (the
 * spectrum's two; first and count of each band; weights). */
u32 log_mel_read(const Model *model, LogMel *log_mel);

/* (frames, bands) logarithms in Q16 in scratch memory. */
u32 log_mel_compute(const LogMel *log_mel, const Array *signal, i32 **logs);

#endif
