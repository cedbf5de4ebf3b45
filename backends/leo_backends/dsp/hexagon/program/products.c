#include "products.h"

#ifdef __HVX__

/* Thirty-two outputs are in the lanes of a vector, four values in each lane. Weights are held as theirs + 128, so that
 * both factors are unsigned, and 128 times the sum of a pixel's values is taken off at the end. All of that is modulo
 * 2^32, where the sum itself fits. */
typedef i32 Vector __attribute__((__vector_size__(VECTOR_BYTES)));
#define LANES 32

u32 products_prepare(Products *made, const u64 *weights, const i32 *bias, u32 outputs, u32 steps) {
    u32 groups = (outputs + LANES - 1) / LANES, words = 2 * steps;
    u32 *data = keep(groups * words * VECTOR_BYTES);
    i32 *first = keep(groups * VECTOR_BYTES);
    if (data == NULL || first == NULL) return OUT_OF_MEMORY;
    *made = (Products){outputs, steps, groups * LANES, data, first};
    for (u32 output = 0; output < groups * LANES; output++) first[output] = output < outputs ? bias[output] : 0;
    const u32 *old = (const u32 *)weights;
    for (u32 group = 0; group < groups; group++)
        for (u32 k = 0; k < words; k++)
            for (u32 lane = 0; lane < LANES; lane++) {
                u32 output = group * LANES + lane;
                *data++ = (output < outputs ? old[output * words + k] : 0) ^ 0x80808080u;
            }
    return DONE;
}

static inline Vector add_four(Vector sums, Vector weights, i32 values) {
    return __builtin_HEXAGON_V6_vrmpyub_acc_128B(sums, weights, values);
}

/* What is in the sums for the weights' 128. */
static Vector surplus(const u64 *row, u32 steps) {
    i64 sum = 0;
    for (u32 k = 0; k + 1 < steps; k += 2) sum = __builtin_HEXAGON_A2_vraddub_acc(sum, (i64)row[k], (i64)row[k + 1]);
    if (steps % 2) sum = __builtin_HEXAGON_A2_vraddub_acc(sum, (i64)row[steps - 1], 0);
    return __builtin_HEXAGON_V6_lvsplatw_128B((i32)(((u32)sum + (u32)(sum >> 32)) << 7));
}

void products_of(const Products *made, const u64 *const *rows, u32 count, i32 *sums) {
    const Vector *restrict w = made->weights, *bias = (const Vector *)made->bias;
    const i32 *restrict p = (const i32 *)rows[0], *restrict q = (const i32 *)rows[1];
    const i32 *restrict r = (const i32 *)rows[2], *restrict s = (const i32 *)rows[3];
    u32 words = 2 * made->steps, groups = made->stride / LANES;
    Vector *to = (Vector *)sums, of_p = surplus(rows[0], made->steps);
    if (count == 1) {
        for (u32 group = 0; group < groups; group++) {
            Vector a = bias[group];
            for (u32 k = 0; k < words; k++) a = add_four(a, *w++, p[k]);
            to[group] = a - of_p;
        }
        return;
    }
    Vector of_q = surplus(rows[1], made->steps), of_r = surplus(rows[2], made->steps), of_s = surplus(rows[3], made->steps);
    for (u32 group = 0; group < groups; group++, to++) {
        Vector a = bias[group], b = a, c = a, d = a;
        for (u32 k = 0; k < words; k++) {
            Vector v = *w++;
            a = add_four(a, v, p[k]);
            b = add_four(b, v, q[k]);
            c = add_four(c, v, r[k]);
            d = add_four(d, v, s[k]);
        }
        to[0] = a - of_p;
        to[groups] = b - of_q;
        to[2 * groups] = c - of_r;
        to[3 * groups] = d - of_s;
    }
}

#else

u32 products_prepare(Products *made, const u64 *weights, const i32 *bias, u32 outputs, u32 steps) {
    *made = (Products){outputs, steps, outputs + 1, weights, bias};
    return DONE;
}

static inline i64 add_eight(i64 sum, u64 weights, u64 values) {
    return __builtin_HEXAGON_M5_vrmacbsu(sum, (i64)weights, (i64)values);
}

static inline i32 total(i64 pair) { return (i32)((u32)pair + (u32)(pair >> 32)); }

/* Two pixels by two outputs. */
static inline void four_sums(const u64 *restrict a, const u64 *restrict b, const u64 *restrict w, u32 steps, const i32 *restrict bias,
                             i32 *restrict of_a, i32 *restrict of_b) {
    const u64 *restrict v = w + steps;
    i64 aw = (i64)(u32)bias[0], av = (i64)(u32)bias[1], bw = aw, bv = av;
    for (u32 k = 0; k < steps; k++) {
        u64 first = w[k], second = v[k], p = a[k], q = b[k];
        aw = add_eight(aw, first, p);
        av = add_eight(av, second, p);
        bw = add_eight(bw, first, q);
        bv = add_eight(bv, second, q);
    }
    of_a[0] = total(aw);
    of_a[1] = total(av);
    of_b[0] = total(bw);
    of_b[1] = total(bv);
}

void products_of(const Products *made, const u64 *const *rows, u32 count, i32 *sums) {
    const u64 *weights = made->weights;
    (void)count;
    for (u32 o = 0; o < made->outputs; o += 2)
        four_sums(rows[0], rows[1], weights + o * made->steps, made->steps, made->bias + o, sums + o, sums + made->stride + o);
}

#endif
