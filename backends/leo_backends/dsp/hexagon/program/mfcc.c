/* Words: code, those of the mel bands, cepstra, Q of the transform, normalise_mean, deltas. Array 6: the transform,
 * (bands, cepstra) of 16 bits. */
#include "cepstra.h"
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
