#include "matrix.h"

#ifdef __HVX__

/* Thirty-two outputs are in the lanes of a vector, two inputs are in each lane. The vector unit adds up 32 bits only:
 * every weight is split into 256 * high + low, low from 0 to 255, so that 128 steps of two products fit:
 * 128 * 2 * 2^15 * 255 < 2^31. The scalar side then adds up 64 bits. */
typedef i32 Vector __attribute__((__vector_size__(VECTOR_BYTES)));
#define LANES 32
#define STEPS_THAT_FIT 128

u32 matrix_stride(u32 columns) { return (columns + 3) & ~3u; }

u32 matrix_from_columns(Matrix *matrix, const i16 *weights, u32 columns, u32 rows) {
    u32 stride = matrix_stride(columns), groups = (rows + LANES - 1) / LANES, pairs = stride / 2;
    i16 *data = keep(groups * pairs * 2 * VECTOR_BYTES);
    if (data == NULL) return OUT_OF_MEMORY;
    *matrix = (Matrix){rows, columns, stride, data};
    for (u32 group = 0; group < groups; group++) {
        for (u32 k = 0; k < pairs; k++, data += 4 * LANES) {
            for (u32 lane = 0; lane < LANES; lane++) {
                u32 row = group * LANES + lane;
                for (u32 i = 0; i < 2; i++) {
                    u32 column = 2 * k + i;
                    i16 weight = row < rows && column < columns ? weights[column * rows + row] : 0;
                    data[2 * lane + i] = (i16)(weight >> 8);
                    data[2 * LANES + 2 * lane + i] = (i16)(weight & 255);
                }
            }
        }
    }
    return DONE;
}

void matrix_product(const Matrix *matrix, const i16 *x, u32 rows, i64 *out) {
    i32 high[LANES] __attribute__((aligned(VECTOR_BYTES))), low[LANES] __attribute__((aligned(VECTOR_BYTES)));
    u32 pairs = matrix->stride / 2;
    for (u32 r = 0; r < rows; r++, x += matrix->stride) {
        const Vector *weights = (const Vector *)matrix->data;
        for (u32 first = 0; first < matrix->rows; first += LANES) {
            u32 count = matrix->rows - first < LANES ? matrix->rows - first : LANES;
            for (u32 done = 0; done < pairs; done += STEPS_THAT_FIT) {
                u32 steps = pairs - done < STEPS_THAT_FIT ? pairs - done : STEPS_THAT_FIT;
                const i32 *inputs = (const i32 *)x + done;
                Vector highs = __builtin_HEXAGON_V6_vd0_128B(), lows = highs;
                for (u32 k = 0; k < steps; k++, weights += 2) {
                    highs = __builtin_HEXAGON_V6_vdmpyhsat_acc_128B(highs, weights[0], inputs[k]);
                    lows = __builtin_HEXAGON_V6_vdmpyhsat_acc_128B(lows, weights[1], inputs[k]);
                }
                *(Vector *)high = highs;
                *(Vector *)low = lows;
                if (done == 0) {
                    for (u32 lane = 0; lane < count; lane++) out[first + lane] = (i64)high[lane] * 256 + low[lane];
                } else {
                    for (u32 lane = 0; lane < count; lane++) out[first + lane] += (i64)high[lane] * 256 + low[lane];
                }
            }
        }
        out += matrix->rows;
    }
}

#else

/* Four products and their sum of 64 bits are one instruction. Two rows times two rows use everything loaded twice; a row
 * that is left over goes with four. Behind the last row of weights there are three of zeros. */
u32 matrix_stride(u32 columns) { return (columns + 3) & ~3u; }

u32 matrix_from_columns(Matrix *matrix, const i16 *weights, u32 columns, u32 rows) {
    u32 stride = matrix_stride(columns);
    i16 *data = keep((rows + 3) * stride * 2);
    if (data == NULL) return OUT_OF_MEMORY;
    *matrix = (Matrix){rows, columns, stride, data};
    for (u32 n = 0; n < rows; n++, data += stride) {
        for (u32 k = 0; k < columns; k++) data[k] = weights[k * rows + n];
        for (u32 k = columns; k < stride; k++) data[k] = 0;
    }
    memset(data, 0, 3 * stride * 2);
    return DONE;
}

static inline i64 add_four(i64 sum, u64 a, u64 b) { return __builtin_HEXAGON_M2_vrmac_s0(sum, (i64)a, (i64)b); }

static void two_rows(const Matrix *matrix, const u64 *restrict x, i64 *restrict out) {
    u32 words = matrix->stride / 4, count = matrix->rows;
    const u64 *x0 = x, *x1 = x + words, *w0 = (const u64 *)matrix->data;
    i64 *out0 = out, *out1 = out + count;
    for (u32 n = 0; n < count; n += 2, w0 += 2 * words) {
        const u64 *w1 = w0 + words;
        i64 a = 0, b = 0, c = 0, d = 0;
        for (u32 k = 0; k < words; k++) {
            u64 x0k = x0[k], x1k = x1[k], w0k = w0[k], w1k = w1[k];
            a = add_four(a, x0k, w0k);
            b = add_four(b, x0k, w1k);
            c = add_four(c, x1k, w0k);
            d = add_four(d, x1k, w1k);
        }
        out0[n] = a;
        out1[n] = c;
        if (n + 1 < count) {
            out0[n + 1] = b;
            out1[n + 1] = d;
        }
    }
}

static void one_row(const Matrix *matrix, const u64 *restrict x, i64 *restrict out) {
    u32 words = matrix->stride / 4, count = matrix->rows;
    const u64 *w0 = (const u64 *)matrix->data;
    for (u32 n = 0; n < count; n += 4, w0 += 4 * words) {
        const u64 *w1 = w0 + words, *w2 = w1 + words, *w3 = w2 + words;
        i64 a = 0, b = 0, c = 0, d = 0;
        for (u32 k = 0; k < words; k++) {
            u64 xk = x[k];
            a = add_four(a, xk, w0[k]);
            b = add_four(b, xk, w1[k]);
            c = add_four(c, xk, w2[k]);
            d = add_four(d, xk, w3[k]);
        }
        out[n] = a;
        if (n + 1 < count) out[n + 1] = b;
        if (n + 2 < count) out[n + 2] = c;
        if (n + 3 < count) out[n + 3] = d;
    }
}

void matrix_product(const Matrix *matrix, const i16 *x, u32 rows, i64 *out) {
    for (; rows >= 2; rows -= 2, x += 2 * matrix->stride, out += 2 * matrix->rows) two_rows(matrix, (const u64 *)x, out);
    if (rows == 1) one_row(matrix, (const u64 *)x, out);
}

#endif
