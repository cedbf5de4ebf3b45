/* The DSP's arithmetic, as docs/dsp.md defines it: shifts that round, divisions, and functions by table. */
#ifndef LEO_FIXED_H
#define LEO_FIXED_H

#include "dsp.h"

/* The host gives these tables first of all: their definition is in one place only. */
extern const i32 *LOG2_TABLE; /* 257 of Q16 */
extern const i32 *EXP2_TABLE; /* 257 of Q30 */
extern const i32 *TANH_TABLE; /* 513 of Q15 */

#define LN2_Q31 1488522236
#define LOG2E_Q14 23637

/* x / 2^bits, halves rounded up, bits above 62 as 62; x << -bits for negative bits. */
static inline i64 shifted(i64 x, i32 bits) {
    if (bits <= 0) return (i64)((u64)x << -bits);
    if (bits > 62) bits = 62;
    return (x + ((i64)1 << (bits - 1))) >> bits;
}

/* x / divisor for a divisor above 0, halves rounded away from 0. */
static inline i64 divided(i64 x, i64 divisor) {
    u64 magnitude = x < 0 ? 0 - (u64)x : (u64)x;
    u64 quotient = (magnitude + (u64)(divisor / 2)) / (u64)divisor;
    return x < 0 ? -(i64)quotient : (i64)quotient;
}

/* How many bits x >= 0 has. */
static inline i32 bit_length(u64 x) { return 64 - (i32)__builtin_HEXAGON_S2_cl0p(x); }
static inline i32 bit_length32(u32 x) { return 32 - (i32)__builtin_HEXAGON_S2_cl0(x); }

/* log2 of x >= 1, in Q16. */
static inline i32 log2_q16(u64 x) {
    i32 exponent = bit_length(x) - 1;
    u32 mantissa = (u32)(exponent > 30 ? x >> (exponent - 30) : x << (30 - exponent));
    u32 entry = (mantissa >> 22) & 255, rest = (mantissa >> 6) & 0xFFFF;
    i32 low = LOG2_TABLE[entry];
    return (exponent << 16) + low + (i32)(((u32)(LOG2_TABLE[entry + 1] - low) * rest) >> 16);
}

/* 2^-x for x >= 0 in Q16, in Q30. */
static inline i32 exp2_q30(u64 x) {
    if (x >= (u64)31 << 16) return 0;
    u32 low = (u32)x, entry = (low >> 8) & 255, rest = low & 255;
    i32 high = EXP2_TABLE[entry];
    return (high - (i32)(((u32)(high - EXP2_TABLE[entry + 1]) * rest) >> 8)) >> (low >> 16);
}

/* From log2 to natural logarithm, both in Q16. */
static inline i64 ln_q16(i32 log2) { return shifted((i64)log2 * LN2_Q31, 31); }

/* tanh of x in Q12, in Q15. */
static inline i32 tanh_q15(i64 x) {
    u64 magnitude = x < 0 ? 0 - (u64)x : (u64)x;
    u32 size = magnitude > (8 << 12) - 1 ? (8 << 12) - 1 : (u32)magnitude;
    u32 entry = size >> 6, rest = size & 63;
    i32 low = TANH_TABLE[entry];
    i32 value = low + (i32)(((u32)(TANH_TABLE[entry + 1] - low) * rest) >> 6);
    return x < 0 ? -value : x > 0 ? value : 0;
}

/* 1 / (1 + exp(-x)) of x in Q12, in Q15. */
static inline i32 sigmoid_q15(i64 x) { return (tanh_q15(shifted(x, 1)) + (1 << 15)) >> 1; }

/* The same, saturated to 32 bits as if nothing overflowed between. */
static inline i32 narrowed(i64 x, i32 bits) {
    if (bits >= 0) return __builtin_HEXAGON_A2_sat(shifted(x, bits));
    return __builtin_HEXAGON_A2_sat((i64)((u64)(i64)__builtin_HEXAGON_A2_sat(x) << (bits < -31 ? 31 : -bits)));
}

static inline i32 saturated16(i64 x) { return x > I16_MAX ? I16_MAX : x < I16_MIN ? I16_MIN : (i32)x; }
static inline i32 saturated32(i64 x) { return __builtin_HEXAGON_A2_sat(x); }

#endif
