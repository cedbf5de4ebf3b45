/* What follows a sum: scaled and rounded once, halves upwards; about a zero point, within limits. */
#ifndef LEO_SCALING_H
#define LEO_SCALING_H

#include "fixed.h"

typedef struct {
    i32 zero, least, most;
} Range;

/* What the sums of each output are scaled by: (sum * factor + half) >> shift, with half = 1 << (shift - 1). */
typedef struct {
    u32 outputs;
    const i32 *factors, *shifts;
    const i64 *halves;
    const void *vectors; /* The same for the vector unit; NULL where that does not compute it. */
} Scaling;

u32 scaling_prepare(Scaling *made, const i32 *factors, const i32 *shifts, const i64 *halves, u32 outputs);

/* Two pixels' sums, which are aligned to VECTOR_BYTES, as bytes. `row` takes the outputs, and VECTOR_BYTES more. */
void scale_two(const Scaling *by, const i32 *a, const i32 *b, u8 *y, u8 *z, Range range, u8 *row);

#endif
