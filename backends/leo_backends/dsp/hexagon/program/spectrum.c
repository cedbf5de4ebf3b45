#include "spectrum.h"

#include "fixed.h"

u32 spectrum_prepare(const Model *model, Spectrum *s) {
    if (words(model) < 1 + SPECTRUM_WORDS) return BAD_REQUEST;
    s->frames = (u32)word(model, 1);
    s->frame_samples = (u32)word(model, 2);
    s->hop_samples = (u32)word(model, 3);
    s->points = (u32)word(model, 4);
    s->points_log2 = (u32)word(model, 5);
    s->preemphasis_q15 = word(model, 6);
    if (s->points_log2 < 2 || s->points_log2 > 10 || s->points != 1u << s->points_log2) return BAD_REQUEST;
    if (s->frame_samples > s->points || s->frame_samples < 1 || s->frames < 1 || s->hop_samples < 1) return BAD_REQUEST;
    u64 samples = (u64)(s->frames - 1) * s->hop_samples + s->frame_samples;
    if (samples > 1u << 24) return BAD_REQUEST;
    s->samples = (u32)samples;
    if (!has(model, 1, s->frame_samples * 2) || !has(model, 2, (s->points / 2 + 1) * sizeof(Complex))) return BAD_REQUEST;
    s->window_q15 = model->arrays[1].data;
    s->factors_q14 = model->arrays[2].data;
    return DONE;
}

u32 spectrum_begin(const Spectrum *s, const Array *signal, SpectrumRun *run) {
    if (signal->bytes < s->samples * 2) return BAD_REQUEST;
    run->signal = scratch(s->samples * 4);
    run->z = scratch(s->points / 2 * sizeof(Complex));
    run->power = scratch((s->points / 2 + 1) * 8);
    if (run->signal == NULL || run->z == NULL || run->power == NULL) return OUT_OF_MEMORY;
    const i16 *restrict x = signal->data;
    i32 *restrict to = run->signal;
    i32 before = 0, bits = (i32)s->points_log2, preemphasis = s->preemphasis_q15;
    u32 samples = s->samples;
    for (u32 i = 0; i < samples; i++) {
        i32 here = x[i], emphasised = (i32)((u32)here << 15) - before * preemphasis;
        /* A shift of bits + 1 that rounds, without the bit more that adding a half to 32 bits may need. */
        to[i] = ((emphasised >> bits) + 1) >> 1;
        before = here;
    }
    return DONE;
}

static inline u64 pair(Complex z) { return ((u64)(u32)z.i << 32) | (u32)z.r; }
static inline u64 load(const Complex *z) { return *(const u64 *)z; }
static inline void store(Complex *z, u64 value) { *(u64 *)z = value; }
static inline u64 add(u64 a, u64 b) { return (u64)__builtin_HEXAGON_A2_vaddw((i64)a, (i64)b); }
static inline u64 subtract(u64 a, u64 b) { return (u64)__builtin_HEXAGON_A2_vsubw((i64)a, (i64)b); }

/* z times factor, each part rounded from Q14. */
static inline u64 turn(u64 z, u64 factor) {
    i32 r = (i32)z, i = (i32)(z >> 32), cos = (i32)factor, sin = (i32)(factor >> 32);
    i64 turned_r = mul_sub(mul_add(8192, r, cos), i, sin), turned_i = mul_add(mul_add(8192, r, sin), i, cos);
    return pair((Complex){(i32)(turned_r >> 14), (i32)(turned_i >> 14)});
}

static inline void butterfly(Complex *low, Complex *high, u64 factor) {
    u64 a = load(low), b = turn(load(high), factor);
    store(low, add(a, b));
    store(high, subtract(a, b));
}

/* Sizes 1 and 2 together: their factors are 1 and -j, which turn without a product and without rounding. */
static void first_two_steps(Complex *z, u32 half) {
    for (u32 at = 0; at < half; at += 4) {
        u64 z0 = load(z + at), z1 = load(z + at + 1), z2 = load(z + at + 2), z3 = load(z + at + 3);
        u64 a0 = add(z0, z1), a1 = subtract(z0, z1), a2 = add(z2, z3), a3 = subtract(z2, z3);
        u64 turned = pair((Complex){(i32)(a3 >> 32), -(i32)a3});
        store(z + at, add(a0, a2));
        store(z + at + 1, add(a1, turned));
        store(z + at + 2, subtract(a0, a2));
        store(z + at + 3, subtract(a1, turned));
    }
}

/* The transform of `half` complex points that lie in bit-reversed order, in place. */
static void transform(Complex *z, u32 half, const Complex *factors) {
    if (half == 2) {
        u64 a = load(z), b = load(z + 1);
        store(z, add(a, b));
        store(z + 1, subtract(a, b));
    }
    if (half < 4) return;
    first_two_steps(z, half);
    for (u32 size = 4, stride = half / 4; size < half; size *= 2, stride /= 2) {
        u32 groups = stride / 2;
        /* The longer of the two loops is the inner one. */
        if (groups > size) {
            for (u32 k = 0; k < size; k++) {
                u64 factor = load(factors + k * stride);
                Complex *low = z + k;
                for (u32 g = 0; g < groups; g++, low += 2 * size) butterfly(low, low + size, factor);
            }
        } else {
            for (u32 g = 0; g < groups; g++) {
                Complex *low = z + g * 2 * size;
                const Complex *factor = factors;
                for (u32 k = 0; k < size; k++, factor += stride) butterfly(low + k, low + size + k, load(factor));
            }
        }
    }
}

static inline i32 windowed(i32 x, i32 weight) { return (i32)(mul_add(1 << 14, x, weight) >> 15); }

/* A frame's samples, windowed, two to a point, in bit-reversed order, filled up with zeros. */
static void fill(const Spectrum *s, const i32 *restrict x, Complex *restrict z, u32 half) {
    const i16 *restrict weight = s->window_q15;
    u32 shift = 33 - s->points_log2, whole = s->frame_samples / 2;
    for (u32 i = 0; i < whole; i++) {
        u32 to = (u32)__builtin_HEXAGON_S2_brev((i32)i) >> shift;
        store(z + to, pair((Complex){windowed(x[2 * i], weight[2 * i]), windowed(x[2 * i + 1], weight[2 * i + 1])}));
    }
    for (u32 i = whole; i < half; i++) store(z + ((u32)__builtin_HEXAGON_S2_brev((i32)i) >> shift), 0);
    if (s->frame_samples % 2 != 0) {
        z[(u32)__builtin_HEXAGON_S2_brev((i32)whole) >> shift].r = windowed(x[2 * whole], weight[2 * whole]);
    }
}

void spectrum_power(const Spectrum *s, const SpectrumRun *run, u32 frame, u32 first, u32 end) {
    const i32 *x = run->signal + frame * s->hop_samples;
    u32 half = s->points / 2;
    Complex *z = run->z;
    const Complex *restrict factors = s->factors_q14;
    i64 *restrict power = run->power;
    fill(s, x, z, half);
    transform(z, half, factors);
    for (u32 k = first; k < end; k++) {
        Complex here = z[k & (half - 1)], there = z[(half - k) & (half - 1)], factor = factors[k];
        i32 even_r = here.r + there.r, even_i = here.i - there.i, odd_r = here.r - there.r, odd_i = here.i + there.i;
        i64 real = mul_add(mul_add(mul_add(1 << 14, even_r, 1 << 14), odd_r, factor.i), odd_i, factor.r);
        i64 imaginary = mul_add(mul_sub(mul_add(1 << 14, even_i, 1 << 14), odd_r, factor.r), odd_i, factor.i);
        i32 r = (i32)(real >> 15), i = (i32)(imaginary >> 15);
        power[k] = mul_add(mul(r, r), i, i);
    }
}
