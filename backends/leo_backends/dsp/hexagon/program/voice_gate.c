/* Words: code, those of the spectrum, first, end, log2 of their count in Q16, then in 64 bits: floor, level, contrast,
 * fraction. */
#include "fixed.h"
#include "operators.h"
#include "spectrum.h"

typedef struct {
    Spectrum spectrum;
    u32 first, end;
    i32 count_log2_q16;
    i64 floor, level_q16, contrast_q16, fraction_q16;
} VoiceGate;

u32 voice_gate_prepare(Model *model) {
    VoiceGate *gate = keep(sizeof(VoiceGate));
    if (gate == NULL) return OUT_OF_MEMORY;
    u32 status = spectrum_prepare(model, &gate->spectrum), at = 1 + SPECTRUM_WORDS;
    if (status != DONE) return status;
    if (words(model) != at + 11) return BAD_REQUEST;
    gate->first = (u32)word(model, at);
    gate->end = (u32)word(model, at + 1);
    gate->count_log2_q16 = word(model, at + 2);
    gate->floor = word64(model, at + 3);
    gate->level_q16 = word64(model, at + 5);
    gate->contrast_q16 = word64(model, at + 7);
    gate->fraction_q16 = word64(model, at + 9);
    if (gate->first >= gate->end || gate->end > gate->spectrum.points / 2 + 1) return BAD_REQUEST;
    model->prepared = gate;
    return DONE;
}

u32 voice_gate_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const VoiceGate *gate = model->prepared;
    SpectrumRun run;
    i32 *result = scratch(4);
    if (count != 1) return BAD_REQUEST;
    if (result == NULL) return OUT_OF_MEMORY;
    u32 status = spectrum_begin(&gate->spectrum, &inputs[0], &run), voiced = 0;
    if (status != DONE) return status;
    for (u32 frame = 0; frame < gate->spectrum.frames; frame++) {
        spectrum_power(&gate->spectrum, &run, frame, gate->first, gate->end);
        i64 total = 0, logs = 0;
        for (u32 k = gate->first; k < gate->end; k++) {
            i64 power = run.power[k] > gate->floor ? run.power[k] : gate->floor;
            total += power;
            logs += log2_q16((u64)power);
        }
        i32 total_log2 = log2_q16((u64)total);
        i64 contrast = (i64)total_log2 - gate->count_log2_q16 - divided(logs, gate->end - gate->first);
        voiced += total_log2 > gate->level_q16 && contrast > gate->contrast_q16;
    }
    *result = saturated32(divided((i64)voiced << 16, gate->spectrum.frames) - gate->fraction_q16);
    *output = (Array){4, result};
    return DONE;
}
