/* Words: code, frames, first column, classes, components, dimensions, average, slope shift. Arrays:
 * 1 middles (32 bits), 2 shifts (32 bits), 3 means and 4 slopes (classes, components, dimensions, 16 bits), 5 constants
 * (classes, components, 32 bits). */
#include "fixed.h"
#include "operators.h"

typedef struct {
    u32 frames, first, classes, components, dimensions, average, fours;
    i32 slope_shift;
    const i32 *middles, *shifts, *constants;
    i64 *pairs; /* means and slopes as `score` reads them */
    u32 class_words; /* how many words of 64 bits of them a class has */
} Gmm;

#ifdef __HVX__

/* Sixty-four components are in the lanes of a vector. Sums of squares are added in 32 bits without a sign, saturating:
 * a sum of 2^32 - 1 or more is more than any constant makes up for, the score is the least of all. */
typedef i32 Vector __attribute__((__vector_size__(VECTOR_BYTES)));
typedef i32 Pair __attribute__((__vector_size__(2 * VECTOR_BYTES)));
#define LANES 64

static u32 lay_out(const Model *model, Gmm *gmm) {
    u32 groups = (gmm->components + LANES - 1) / LANES, bytes = gmm->classes * groups * gmm->dimensions * 2 * VECTOR_BYTES;
    const i16 *means = model->arrays[3].data, *slopes = model->arrays[4].data;
    i16 *to = keep(bytes);
    if (to == NULL) return OUT_OF_MEMORY;
    gmm->pairs = (i64 *)to;
    gmm->class_words = groups * gmm->dimensions * 2 * VECTOR_BYTES / 8;
    memset(to, 0, bytes);
    for (u32 c = 0; c < gmm->classes; c++, to += 4 * gmm->class_words) {
        for (u32 m = 0; m < gmm->components; m++) {
            i16 *lane = to + m / LANES * gmm->dimensions * 2 * LANES + m % LANES;
            for (u32 d = 0; d < gmm->dimensions; d++, lane += 2 * LANES) {
                lane[0] = *means++;
                lane[LANES] = *slopes++;
            }
        }
    }
    return DONE;
}

static inline Vector moved(Vector products, Vector halves, i32 bits) {
    return __builtin_HEXAGON_V6_vasrw_128B(__builtin_HEXAGON_V6_vaddw_128B(products, halves), bits);
}

/* The squared distances of a group: of its even components, and of its odd ones. */
static inline void distances(const Gmm *gmm, const i16 *z, const Vector *pairs, i32 shift, Vector *even, Vector *odd) {
    i32 half = (1 << shift) >> 1;
    Vector halves = __builtin_HEXAGON_V6_lvsplatw_128B(half);
    Vector evens = __builtin_HEXAGON_V6_vd0_128B(), odds = evens;
    for (u32 d = 0; d < gmm->dimensions; d++, pairs += 2) {
        Vector away = __builtin_HEXAGON_V6_vsubhsat_128B(__builtin_HEXAGON_V6_lvsplath_128B(z[d]), pairs[0]);
        Pair products = __builtin_HEXAGON_V6_vmpyhv_128B(away, pairs[1]);
        Vector low = __builtin_HEXAGON_V6_lo_128B(products), high = __builtin_HEXAGON_V6_hi_128B(products), steps;
        if (shift >= 1 && shift <= 15) {
            steps = __builtin_HEXAGON_V6_vasrwhrndsat_128B(high, low, shift);
        } else {
            steps = __builtin_HEXAGON_V6_vsatwh_128B(moved(high, halves, shift), moved(low, halves, shift));
        }
        Pair squares = __builtin_HEXAGON_V6_vmpyhv_128B(steps, steps);
        evens = __builtin_HEXAGON_V6_vadduwsat_128B(evens, __builtin_HEXAGON_V6_lo_128B(squares));
        odds = __builtin_HEXAGON_V6_vadduwsat_128B(odds, __builtin_HEXAGON_V6_hi_128B(squares));
    }
    *even = evens;
    *odd = odds;
}

/* Each component's score, log2 in Q16; gives the greatest. */
static i32 score(const Gmm *gmm, const i16 *z, const i32 *constants, const i64 *pairs, i32 *scores) {
    u32 even[LANES / 2] __attribute__((aligned(VECTOR_BYTES))), odd[LANES / 2] __attribute__((aligned(VECTOR_BYTES)));
    const Vector *group = (const Vector *)pairs;
    i32 greatest = I32_MIN;
    for (u32 first = 0; first < gmm->components; first += LANES, group += 2 * gmm->dimensions) {
        u32 count = gmm->components - first < LANES ? gmm->components - first : LANES;
        distances(gmm, z, group, gmm->slope_shift, (Vector *)even, (Vector *)odd);
        for (u32 m = 0; m < count; m++) {
            u32 distance = m % 2 == 0 ? even[m / 2] : odd[m / 2];
            i32 one = saturated32((i64)constants[first + m] - distance);
            scores[first + m] = one;
            greatest = max32(greatest, one);
        }
    }
    return greatest;
}

#else

/* For each component, by turns: four means, four slopes; filled up with zeros. */
static u32 lay_out(const Model *model, Gmm *gmm) {
    u32 mixtures = gmm->classes * gmm->components;
    const i16 *means = model->arrays[3].data, *slopes = model->arrays[4].data;
    i16 *to = keep(mixtures * gmm->fours * 16);
    if (to == NULL) return OUT_OF_MEMORY;
    gmm->pairs = (i64 *)to;
    gmm->class_words = 2 * gmm->components * gmm->fours;
    memset(to, 0, mixtures * gmm->fours * 16);
    for (u32 m = 0; m < mixtures; m++, to += gmm->fours * 8) {
        for (u32 d = 0; d < gmm->dimensions; d++) {
            to[(d / 4) * 8 + d % 4] = *means++;
            to[(d / 4) * 8 + 4 + d % 4] = *slopes++;
        }
    }
    return DONE;
}

/* Two products, rounded, saturated to 16 bits: 2^30 and a half of at most 2^29 fit 32 bits. */
static inline u32 scaled(i32 away, i32 slope, i64 halves, i32 bits) {
    i64 products = __builtin_HEXAGON_M2_vmpy2s_s0(away, slope);
    return (u32)__builtin_HEXAGON_S2_vsatwh(__builtin_HEXAGON_S2_asr_r_vw(__builtin_HEXAGON_A2_vaddw(products, halves), bits));
}

/* Each component's score, log2 in Q16; gives the greatest. */
static i32 score(const Gmm *gmm, const i16 *z16, const i32 *constants, const i64 *pairs, i32 *scores) {
    const i64 *z = (const i64 *)z16;
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

#endif

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
        for (u32 c = 0; c < classes; c++, constants += gmm->components, pairs += gmm->class_words) {
            i32 greatest = score(gmm, z, constants, pairs, scores);
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
