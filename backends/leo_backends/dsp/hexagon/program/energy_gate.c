/* Words: code, values, log2 of their count in Q16, then in 64 bits: the floor, decibels an octave in Q29, threshold. */
#include "fixed.h"
#include "operators.h"

u32 energy_gate_prepare(Model *model) { return words(model) == 9 ? DONE : BAD_REQUEST; }

u32 energy_gate_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    u32 values = (u32)word(model, 1);
    i32 *result = scratch(4);
    if (count != 1 || inputs[0].bytes != values * 2) return BAD_REQUEST;
    if (result == NULL) return OUT_OF_MEMORY;
    const i16 *x = inputs[0].data;
    i64 total = 0;
    u32 fours = values / 4;
    for (u32 i = 0; i < fours; i++) {
        i64 four = ((const i64 *)x)[i];
        total = __builtin_HEXAGON_M2_vrmac_s0(total, four, four);
    }
    for (u32 i = 4 * fours; i < values; i++) total += x[i] * x[i];
    if (total < word64(model, 3)) total = word64(model, 3);
    i64 mean_log2 = (i64)log2_q16((u64)total) - word(model, 2) - (30 << 16);
    *result = saturated32(shifted(mean_log2 * word64(model, 5), 29) - word64(model, 7));
    *output = (Array){4, result};
    return DONE;
}
