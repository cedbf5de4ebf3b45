/* Words: code, those of the mel bands, cepstra, Q of the transform, normalise_mean, deltas. Array 6: the transform,
 * (bands, cepstra) of 16 bits. */
#include "fixed.h"
#include "log_mel.h"
#include "operators.h"

typedef struct {
    LogMel mel;
    u32 cepstra;
    i32 transform_q, normalise_mean, deltas;
    i32 *transform; /* (cepstra, bands) of 32 bits */
} Mfcc;

u32 mfcc_prepare(Model *model) {
    Mfcc *mfcc = model->prepared = keep(sizeof(Mfcc));
    if (mfcc == NULL) return OUT_OF_MEMORY;
    u32 status = log_mel_read(model, &mfcc->mel), at = 1 + LOG_MEL_WORDS, bands = mfcc->mel.bands;
    if (status != DONE) return status;
    if (words(model) != at + 4) return BAD_REQUEST;
    mfcc->cepstra = (u32)word(model, at);
    mfcc->transform_q = word(model, at + 1);
    mfcc->normalise_mean = word(model, at + 2);
    mfcc->deltas = word(model, at + 3);
    if (mfcc->cepstra > bands || !has(model, 6, bands * mfcc->cepstra * 2)) return BAD_REQUEST;
    mfcc->transform = keep(bands * mfcc->cepstra * 4);
    if (mfcc->transform == NULL) return OUT_OF_MEMORY;
    const i16 *from = model->arrays[6].data;
    for (u32 band = 0; band < bands; band++) {
        for (u32 c = 0; c < mfcc->cepstra; c++) mfcc->transform[c * bands + band] = *from++;
    }
    return DONE;
}

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

u32 mfcc_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const Mfcc *mfcc = model->prepared;
    u32 frames = mfcc->mel.spectrum.frames, bands = mfcc->mel.bands, width = mfcc->cepstra;
    i32 *logs;
    if (count != 1) return BAD_REQUEST;
    u32 status = log_mel_compute(&mfcc->mel, &inputs[0], &logs);
    if (status != DONE) return status;
    i32 *cepstra = scratch(frames * width * 4);
    if (cepstra == NULL) return OUT_OF_MEMORY;
    for (u32 frame = 0; frame < frames; frame++) {
        const i32 *log = logs + frame * bands, *factor = mfcc->transform;
        for (u32 c = 0; c < width; c++, factor += bands) {
            i64 sum = 0;
            for (u32 band = 0; band < bands; band++) sum = mul_add(sum, log[band], factor[band]);
            cepstra[frame * width + c] = saturated32(shifted(sum, mfcc->transform_q));
        }
    }
    if (mfcc->normalise_mean) subtract_means(cepstra, frames, width);
    *output = (Array){frames * width * 4, cepstra};
    if (mfcc->deltas) {
        i32 *wide = scratch(frames * width * 12);
        if (wide == NULL) return OUT_OF_MEMORY;
        add_deltas(cepstra, (i32)frames, width, wide);
        *output = (Array){frames * width * 12, wide};
    }
    return DONE;
}
