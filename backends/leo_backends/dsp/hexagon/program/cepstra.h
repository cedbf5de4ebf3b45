/* What is done to rows of cepstra: their means subtracted, and differences appended. */
#ifndef LEO_CEPSTRA_H
#define LEO_CEPSTRA_H

#include "fixed.h"

static void subtract_means(i32 *cepstra, u32 frames, u32 width) {
    for (u32 c = 0; c < width; c++) {
        i64 sum = 0;
        for (u32 frame = 0; frame < frames; frame++) sum += cepstra[frame * width + c];
        i32 mean = (i32)divided(sum, frames);
        for (u32 frame = 0; frame < frames; frame++) cepstra[frame * width + c] = sub_sat(cepstra[frame * width + c], mean);
    }
}

/* The first and the last row stand for those beyond. */
static inline const i32 *row(const i32 *cepstra, i32 frames, u32 width, i32 frame) {
    return cepstra + (u32)(frame < 0 ? 0 : frame >= frames ? frames - 1 : frame) * width;
}

static void add_deltas(const i32 *cepstra, i32 frames, u32 width, i32 *to) {
    for (i32 t = 0; t < frames; t++, to += 3 * width) {
        const i32 *at[7];
        for (i32 i = 0; i < 7; i++) at[i] = row(cepstra, frames, width, t + i - 3);
        for (u32 c = 0; c < width; c++) {
            to[c] = at[3][c];
            to[width + c] = sub_sat(at[5][c], at[1][c]);
            to[2 * width + c] = sub_sat(sub_sat(at[6][c], at[2][c]), sub_sat(at[4][c], at[0][c]));
        }
    }
}

#endif
