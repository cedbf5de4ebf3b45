/* Exact products of 16-bit integers: what the dense layers, the mixtures, the mel bands and the cosines come down to. */
#ifndef LEO_MATRIX_H
#define LEO_MATRIX_H

#include "dsp.h"

/* `rows` rows of weights, each the `columns` inputs of one output. `data` is laid out as matrix.c likes it. */
typedef struct {
    u32 rows, columns;
    u32 stride; /* values in a row of the other factor: `columns` rounded up, filled with zeros */
    i16 *data;
} Matrix;

/* Lay out weights given as (columns, rows), as a network's are. DONE or OUT_OF_MEMORY. */
u32 matrix_from_columns(Matrix *matrix, const i16 *weights, u32 columns, u32 rows);

/* Values in a row of the other factor for so many columns. */
u32 matrix_stride(u32 columns);

/* out[r * matrix->rows + n] = sum over k of x[r * stride + k] * weights[k][n], for `rows` rows of x. */
void matrix_product(const Matrix *matrix, const i16 *x, u32 rows, i64 *out);

#endif
