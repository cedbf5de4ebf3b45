#include "log_mel.h"

#include "fixed.h"
#include "operators.h"

u32 log_mel_read(const Model *model, LogMel *mel) {
    u32 status = spectrum_prepare(model, &mel->spectrum), at = 1 + SPECTRUM_WORDS, points = mel->spectrum.points / 2 + 1;
    if (status != DONE) return status;
    if (words(model) < 1 + LOG_MEL_WORDS) return BAD_REQUEST;
    mel->bands = (u32)word(model, at);
    mel->floor = word64(model, at + 1);
    mel->offset_q16 = word64(model, at + 3);
    if (mel->bands > 1u << 16 || !has(model, 3, mel->bands * 4) || !has(model, 4, mel->bands * 4)) return BAD_REQUEST;
    mel->first = model->arrays[3].data;
    mel->count = model->arrays[4].data;
    u32 weights = 0;
    for (u32 band = 0; band < mel->bands; band++) {
        if ((u32)mel->first[band] > points || (u32)mel->count[band] > points - (u32)mel->first[band]) return BAD_REQUEST;
        weights += (u32)mel->count[band];
    }
    if (!has(model, 5, weights * 2)) return BAD_REQUEST;
    mel->weights = model->arrays[5].data;
    return DONE;
}

u32 log_mel_compute(const LogMel *mel, const Array *signal, i32 **logs) {
    SpectrumRun run;
    u32 status = spectrum_begin(&mel->spectrum, signal, &run), points = mel->spectrum.points / 2 + 1;
    if (status != DONE) return status;
    i32 *to = *logs = scratch(mel->spectrum.frames * mel->bands * 4);
    if (to == NULL) return OUT_OF_MEMORY;
    for (u32 frame = 0; frame < mel->spectrum.frames; frame++) {
        spectrum_power(&mel->spectrum, &run, frame, 0, points);
        const i16 *weight = mel->weights;
        for (u32 band = 0; band < mel->bands; band++) {
            const i64 *power = run.power + mel->first[band];
            u32 count = (u32)mel->count[band];
            /* Powers have as many bits as their union. */
            u64 all = 0;
            i64 energy = 0;
            for (u32 k = 0; k < count; k++) all |= (u64)power[k];
            i32 bits = max32(bit_length(all) - 30, 0);
            for (u32 k = 0; k < count; k++) energy = mul_add(energy, (i32)(power[k] >> bits), weight[k]);
            weight += count;
            energy += mel->floor >> bits;
            i64 log = (i64)log2_q16(energy > 1 ? (u64)energy : 1) + (bits << 16) + mel->offset_q16;
            *to++ = saturated32(shifted(log * LN2_Q31, 31));
        }
    }
    return DONE;
}

u32 log_mel_prepare(Model *model) {
    LogMel *mel = model->prepared = keep(sizeof(LogMel));
    if (mel == NULL) return OUT_OF_MEMORY;
    return words(model) == 1 + LOG_MEL_WORDS ? log_mel_read(model, mel) : BAD_REQUEST;
}

u32 log_mel_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const LogMel *mel = model->prepared;
    i32 *logs;
    if (count != 1) return BAD_REQUEST;
    u32 status = log_mel_compute(mel, &inputs[0], &logs);
    if (status == DONE) *output = (Array){mel->spectrum.frames * mel->bands * 4, logs};
    return status;
}
