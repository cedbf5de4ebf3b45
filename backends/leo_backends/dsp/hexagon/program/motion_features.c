/* Words: code, samples, channels, bands, log2 of samples in Q16, then in 64 bits the floor. Arrays: 1 cosines and 2 sines
 * (samples, 16 bits), 3 the band of each point, -1 for none, 4 how often its power counts (32 bits). */
#include "fixed.h"
#include "operators.h"

typedef struct {
    u32 samples, channels, bands, points;
    i32 samples_log2_q16;
    i64 floor_q32;
    const i16 *cosines, *sines;
    const i32 *band_of, *energy;
} Motion;

u32 motion_features_prepare(Model *model) {
    Motion *motion = model->prepared = keep(sizeof(Motion));
    if (motion == NULL) return OUT_OF_MEMORY;
    if (words(model) != 7) return BAD_REQUEST;
    motion->samples = (u32)word(model, 1);
    motion->channels = (u32)word(model, 2);
    motion->bands = (u32)word(model, 3);
    motion->samples_log2_q16 = word(model, 4);
    motion->floor_q32 = word64(model, 5);
    motion->points = motion->samples / 2 + 1;
    if (motion->samples < 1 || motion->samples > 1u << 16 || motion->channels < 1 || motion->channels > 1u << 10) return BAD_REQUEST;
    if (motion->bands > 1u << 16) return BAD_REQUEST;
    if (!has(model, 1, motion->samples * 2) || !has(model, 2, motion->samples * 2)) return BAD_REQUEST;
    if (!has(model, 3, motion->points * 4) || !has(model, 4, motion->points * 4)) return BAD_REQUEST;
    motion->cosines = model->arrays[1].data;
    motion->sines = model->arrays[2].data;
    motion->band_of = model->arrays[3].data;
    motion->energy = model->arrays[4].data;
    for (u32 k = 0; k < motion->points; k++) {
        if (motion->band_of[k] < -1 || motion->band_of[k] >= (i32)motion->bands) return BAD_REQUEST;
    }
    return DONE;
}

static inline i64 dot(const i16 *a, const i16 *b, u32 fours) {
    i64 sum = 0;
    for (u32 i = 0; i < fours; i++) sum = __builtin_HEXAGON_M2_vrmac_s0(sum, ((const i64 *)a)[i], ((const i64 *)b)[i]);
    return sum;
}

static i32 log_of(i64 energy, i32 q, i64 divisor_log2_q16) {
    i64 log = (i64)log2_q16(energy > 1 ? (u64)energy : 1) - divisor_log2_q16 - ((i64)(2 * q) << 16);
    return saturated32(shifted(log * LN2_Q31, 31));
}

/* A channel's mean; its values without it as 16 bits in Q *q, filled up with zeros. */
static i32 centre(const i32 *x, u32 samples, u32 channels, i16 *values, u32 stride, i32 *q) {
    i64 sum = 0;
    u32 greatest = 0;
    for (u32 i = 0; i < samples; i++) sum += x[i * channels];
    i32 mean = (i32)divided(sum, samples);
    for (u32 i = 0; i < samples; i++) {
        i32 away = sub_sat(x[i * channels], mean);
        u32 size = away < 0 ? 0 - (u32)away : (u32)away;
        if (size > greatest) greatest = size;
    }
    i32 bits = max32(bit_length32(greatest) - 15, 0);
    for (u32 i = 0; i < samples; i++) values[i] = (i16)saturated16(shifted(sub_sat(x[i * channels], mean), bits));
    for (u32 i = samples; i < stride; i++) values[i] = 0;
    *q = 16 - bits;
    return mean;
}

u32 motion_features_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const Motion *motion = model->prepared;
    u32 samples = motion->samples, channels = motion->channels, width = 2 + motion->bands, stride = (samples + 3) & ~3u;
    if (count != 1 || inputs[0].bytes != samples * channels * 4) return BAD_REQUEST;
    i16 *values = scratch(channels * stride * 2), *cosines = scratch(stride * 2), *sines = scratch(stride * 2);
    i32 *q = scratch(channels * 4), *result = scratch(channels * width * 4);
    i64 *floors = scratch(channels * 8), *energies = scratch(channels * motion->bands * 8);
    if (values == NULL || cosines == NULL || sines == NULL || q == NULL) return OUT_OF_MEMORY;
    if (result == NULL || floors == NULL || energies == NULL) return OUT_OF_MEMORY;
    memset(energies, 0, channels * motion->bands * 8);
    memset(cosines, 0, stride * 2);
    memset(sines, 0, stride * 2);
    for (u32 c = 0; c < channels; c++) {
        i16 *x = values + c * stride;
        result[c * width] = centre((const i32 *)inputs[0].data + c, samples, channels, x, stride, &q[c]);
        floors[c] = shifted(motion->floor_q32, 32 - 2 * q[c]);
        i64 energy = dot(x, x, stride / 4) + (i64)((u64)floors[c] * samples);
        result[c * width + 1] = log_of(energy, q[c], motion->samples_log2_q16);
    }
    for (u32 k = 0; k < motion->points; k++) {
        if (motion->band_of[k] < 0) continue;
        /* The row of the transform for this point, for all channels: cos and sin of 2 pi i k / samples. */
        for (u32 i = 0, turn = 0; i < samples; i++) {
            cosines[i] = motion->cosines[turn];
            sines[i] = motion->sines[turn];
            turn += k;
            if (turn >= samples) turn -= samples;
        }
        for (u32 c = 0; c < channels; c++) {
            i64 real = shifted(dot(values + c * stride, cosines, stride / 4), 15);
            i64 imaginary = shifted(dot(values + c * stride, sines, stride / 4), 15);
            i64 power = (real * real + imaginary * imaginary) * motion->energy[k];
            energies[c * motion->bands + (u32)motion->band_of[k]] += power;
        }
    }
    for (u32 c = 0; c < channels; c++) {
        i64 floor = (i64)((u64)floors[c] * samples * samples);
        for (u32 b = 0; b < motion->bands; b++) {
            i64 energy = energies[c * motion->bands + b] + floor;
            result[c * width + 2 + b] = log_of(energy, q[c], 2 * (i64)motion->samples_log2_q16);
        }
    }
    *output = (Array){channels * width * 4, result};
    return DONE;
}
