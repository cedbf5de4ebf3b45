#include "scaling.h"

static inline i32 limited(i64 v, i32 least, i32 most) {
    i32 whole = saturated32(v);
    whole = whole < least ? least : whole;
    return whole > most ? most : whole;
}

/* What two need not wait for each other is done at once. */
static void one_by_one(const Scaling *by, const i32 *restrict a, const i32 *restrict b, u8 *restrict y, u8 *restrict z, Range range) {
    const i32 *restrict factors = by->factors, *restrict shifts = by->shifts;
    const i64 *restrict halves = by->halves;
    i32 least = range.least - range.zero, most = range.most - range.zero, zero = range.zero;
    u32 count = by->outputs;
    ONE_BY_ONE
    for (u32 i = 0; i < count; i++) {
        i64 first = mul_add(halves[i], a[i], factors[i]) >> shifts[i], second = mul_add(halves[i], b[i], factors[i]) >> shifts[i];
        y[i] = (u8)(limited(first, least, most) + zero);
        z[i] = (u8)(limited(second, least, most) + zero);
    }
}

#ifdef __HVX__

typedef i32 Vector __attribute__((__vector_size__(VECTOR_BYTES)));
typedef i32 VectorPair __attribute__((__vector_size__(2 * VECTOR_BYTES)));
#define LANES 32

/* Of 32 outputs. With a shift of 33 and more the low word of a product has no part in what comes out. */
typedef struct {
    Vector factors, halves, shifts;
} Lanes;

u32 scaling_prepare(Scaling *made, const i32 *factors, const i32 *shifts, const i64 *halves, u32 outputs) {
    *made = (Scaling){outputs, factors, shifts, halves, NULL};
    for (u32 i = 0; i < outputs; i++)
        if (shifts[i] < 33) return DONE;
    u32 groups = (outputs + LANES - 1) / LANES;
    i32 *words = keep(groups * sizeof(Lanes));
    if (words == NULL) return OUT_OF_MEMORY;
    made->vectors = words;
    for (u32 group = 0; group < groups; group++, words += 3 * LANES)
        for (u32 lane = 0; lane < LANES; lane++) {
            u32 i = group * LANES + lane;
            words[lane] = i < outputs ? factors[i] : 0;
            words[LANES + lane] = i < outputs ? 1 << (shifts[i] - 33) : 0;
            words[2 * LANES + lane] = i < outputs ? shifts[i] - 32 : 0;
        }
    return DONE;
}

static inline Vector scaled(Vector sums, const Lanes *by, Vector least, Vector most, Vector zero) {
    VectorPair product = __builtin_HEXAGON_V6_vmpyewuh_64_128B(sums, by->factors);
    product = __builtin_HEXAGON_V6_vmpyowh_64_acc_128B(product, sums, by->factors);
    Vector v = __builtin_HEXAGON_V6_vasrwv_128B(__builtin_HEXAGON_V6_hi_128B(product) + by->halves, by->shifts);
    v = __builtin_HEXAGON_V6_vminw_128B(__builtin_HEXAGON_V6_vmaxw_128B(v, least), most);
    return v + zero;
}

/* Four times 32 sums become a vector of bytes; what is behind the last is whatever is there. */
static void row_of(const Scaling *by, const Vector *sums, u8 *y, Range range, u8 *row) {
    const Lanes *lanes = by->vectors;
    Vector least = __builtin_HEXAGON_V6_lvsplatw_128B(range.least - range.zero);
    Vector most = __builtin_HEXAGON_V6_lvsplatw_128B(range.most - range.zero);
    Vector zero = __builtin_HEXAGON_V6_lvsplatw_128B(range.zero), *to = (Vector *)row;
    u32 groups = (by->outputs + LANES - 1) / LANES;
    for (u32 group = 0; group < groups; group += 4) {
        Vector four[4];
        for (u32 i = 0; i < 4; i++)
            four[i] = group + i < groups ? scaled(sums[group + i], lanes + group + i, least, most, zero) : zero;
        Vector low = __builtin_HEXAGON_V6_vpackeh_128B(four[1], four[0]), high = __builtin_HEXAGON_V6_vpackeh_128B(four[3], four[2]);
        *to++ = __builtin_HEXAGON_V6_vpackeb_128B(high, low);
    }
    memcpy(y, row, by->outputs);
}

void scale_two(const Scaling *by, const i32 *a, const i32 *b, u8 *y, u8 *z, Range range, u8 *row) {
    if (by->vectors == NULL) {
        one_by_one(by, a, b, y, z, range);
        return;
    }
    row_of(by, (const Vector *)a, y, range, row);
    row_of(by, (const Vector *)b, z, range, row);
}

#else

u32 scaling_prepare(Scaling *made, const i32 *factors, const i32 *shifts, const i64 *halves, u32 outputs) {
    *made = (Scaling){outputs, factors, shifts, halves, NULL};
    return DONE;
}

void scale_two(const Scaling *by, const i32 *a, const i32 *b, u8 *y, u8 *z, Range range, u8 *row) {
    (void)row;
    one_by_one(by, a, b, y, z, range);
}

#endif
