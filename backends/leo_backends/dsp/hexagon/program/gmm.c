/* Words: code, frames, first column, classes, components, dimensions, average, slope shift. Arrays:
 * 1 middles (32 bits), 2 shifts (32 bits), 3 means and 4 slopes (classes, components, dimensions, 16 bits), 5 constants
 * (classes, components, 32 bits). */
#include "fixed.h"
#include "operators.h"

typedef struct {
    u32 frames, first, classes, components, dimensions, average, fours;
    i32 slope_shift;
    const i32 *middles, *shifts, *constants;
    i64 *pairs; /* for each component, by turns: four means, four slopes; filled up with zeros */
} Gmm;

static u32 lay_out(const Model *model, Gmm *gmm) {
    u32 mixtures = gmm->classes * gmm->components;
    const i16 *means = model->arrays[3].data, *slopes = model->arrays[4].data;
    i16 *to = keep(mixtures * gmm->fours * 16);
    if (to == NULL) return OUT_OF_MEMORY;
    gmm->pairs = (i64 *)to;
    memset(to, 0, mixtures * gmm->fours * 16);
    for (u32 m = 0; m < mixtures; m++, to += gmm->fours * 8) {
        for (u32 d = 0; d < gmm->dimensions; d++) {
            to[(d / 4) * 8 + d % 4] = *means++;
            to[(d / 4) * 8 + 4 + d % 4] = *slopes++;
        }
    }
    return DONE;
}

u32 gmm_prepare(Model *model) {
    Gmm *gmm = model->prepared = keep(sizeof(Gmm));
    if (gmm == NULL) return OUT_OF_MEMORY;
    if (words(model) != 8) return BAD_REQUEST;
    gmm->frames = (u32)word(model, 1);
    gmm->first = (u32)word(model, 2);
    gmm->classes = (u32)word(model, 3);
    gmm->components = (u32)word(model, 4);
    gmm->dimensions = (u32)word(model, 5);
    gmm->average = (u32)word(model, 6);
    gmm->slope_shift = word(model, 7);
    u64 mixtures = (u64)gmm->classes * gmm->components;
    if (mixtures == 0 || mixtures > 1u << 20 || gmm->dimensions == 0 || gmm->dimensions > 1u << 12) return BAD_REQUEST;
    if (gmm->first > 1u << 24 || gmm->frames == 0 || gmm->frames > 1u << 24) return BAD_REQUEST;
    if (gmm->slope_shift < 0 || gmm->slope_shift > 30) return BAD_REQUEST;
    u32 values = (u32)mixtures * gmm->dimensions * 2;
    if (!has(model, 1, gmm->dimensions * 4) || !has(model, 2, gmm->dimensions * 4)) return BAD_REQUEST;
    if (!has(model, 3, values) || !has(model, 4, values) || !has(model, 5, (u32)mixtures * 4)) return BAD_REQUEST;
    gmm->middles = model->arrays[1].data;
    gmm->shifts = model->arrays[2].data;
    gmm->constants = model->arrays[5].data;
    gmm->fours = (gmm->dimensions + 3) / 4;
    return lay_out(model, gmm);
}

/* Two products, rounded, saturated to 16 bits: 2^30 and a half of at most 2^29 fit 32 bits. */
static inline u32 scaled(i32 away, i32 slope, i64 halves, i32 bits) {
    i64 products = __builtin_HEXAGON_M2_vmpy2s_s0(away, slope);
    return (u32)__builtin_HEXAGON_S2_vsatwh(__builtin_HEXAGON_S2_asr_r_vw(__builtin_HEXAGON_A2_vaddw(products, halves), bits));
}

/* Each component's score, log2 in Q16; gives the greatest. */
static i32 score(const Gmm *gmm, const i64 *z, const i32 *constants, const i64 *pairs, i32 *scores) {
    i32 bits = gmm->slope_shift, half = (1 << bits) >> 1, greatest = I32_MIN;
    i64 halves = (i64)(((u64)(u32)half << 32) | (u32)half);
    for (u32 m = 0; m < gmm->components; m++) {
        i64 distance = 0;
        for (u32 k = 0; k < gmm->fours; k++, pairs += 2) {
            i64 away = __builtin_HEXAGON_A2_vsubhs(z[k], pairs[0]), slopes = pairs[1];
            u32 low = scaled((i32)away, (i32)slopes, halves, bits);
            u32 high = scaled((i32)(away >> 32), (i32)(slopes >> 32), halves, bits);
            i64 steps = (i64)(((u64)high << 32) | low);
            distance = __builtin_HEXAGON_M2_vrmac_s0(distance, steps, steps);
        }
        scores[m] = saturated32(constants[m] - distance);
        greatest = max32(greatest, scores[m]);
    }
    return greatest;
}

u32 gmm_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const Gmm *gmm = model->prepared;
    u32 classes = gmm->classes, rows = gmm->average ? 1 : gmm->frames;
    u32 columns = count == 1 ? inputs[0].bytes / 4 / gmm->frames : 0;
    if (inputs[0].bytes != columns * gmm->frames * 4 || columns < gmm->first + gmm->dimensions) return BAD_REQUEST;
    i16 *z = scratch(gmm->fours * 8);
    i32 *scores = scratch(gmm->components * 4), *result = scratch(rows * classes * 4);
    i64 *sums = scratch(classes * 8);
    if (z == NULL || scores == NULL || result == NULL || sums == NULL) return OUT_OF_MEMORY;
    memset(z, 0, gmm->fours * 8);
    memset(sums, 0, classes * 8);
    for (u32 frame = 0; frame < gmm->frames; frame++) {
        const i32 *x = (const i32 *)inputs[0].data + frame * columns + gmm->first, *constants = gmm->constants;
        const i64 *pairs = gmm->pairs;
        for (u32 d = 0; d < gmm->dimensions; d++) {
            z[d] = (i16)saturated16(shifted((i64)x[d] - gmm->middles[d], gmm->shifts[d]));
        }
        for (u32 c = 0; c < classes; c++, constants += gmm->components, pairs += 2 * gmm->components * gmm->fours) {
            i32 greatest = score(gmm, (const i64 *)z, constants, pairs, scores);
            u64 total = 0;
            for (u32 m = 0; m < gmm->components; m++) total += (u32)exp2_q30((u32)greatest - (u32)scores[m]);
            i32 log = (i32)ln_q16(saturated32((i64)greatest + log2_q16(total) - (30 << 16)));
            if (gmm->average) {
                sums[c] += log;
            } else {
                result[frame * classes + c] = log;
            }
        }
    }
    if (gmm->average) {
        for (u32 c = 0; c < classes; c++) result[c] = (i32)divided(sums[c], gmm->frames);
    }
    *output = (Array){rows * classes * 4, result};
    return DONE;
}
