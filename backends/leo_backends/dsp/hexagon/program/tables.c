/* Keeps the tables of the functions, which the host loads before any stage. */
#include "fixed.h"
#include "operators.h"

const i32 *LOG2_TABLE, *EXP2_TABLE, *TANH_TABLE;

u32 tables_prepare(Model *model) {
    if (!has(model, 1, 257 * 4) || !has(model, 2, 257 * 4) || !has(model, 3, 513 * 4)) return BAD_REQUEST;
    LOG2_TABLE = model->arrays[1].data;
    EXP2_TABLE = model->arrays[2].data;
    TANH_TABLE = model->arrays[3].data;
    return DONE;
}

/* The functions by themselves, value by value, so that they can be tested at every input. */
enum { SHIFTED, DIVIDED, LOG2, EXP2, LN, TANH, SIGMOID };

u32 tables_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    if (count != 2 || inputs[0].bytes != inputs[1].bytes || words(model) != 2) return BAD_REQUEST;
    u32 values = inputs[0].bytes / 8;
    const i64 *x = inputs[0].data, *y = inputs[1].data;
    i64 *results = scratch(values * 8);
    if (results == NULL) return OUT_OF_MEMORY;
    for (u32 i = 0; i < values; i++) {
        switch (word(model, 1)) {
        case SHIFTED: results[i] = shifted(x[i], (i32)y[i]); break;
        case DIVIDED: results[i] = divided(x[i], y[i]); break;
        case LOG2: results[i] = log2_q16((u64)x[i]); break;
        case EXP2: results[i] = exp2_q30((u64)x[i]); break;
        case LN: results[i] = ln_q16((i32)x[i]); break;
        case TANH: results[i] = tanh_q15(x[i]); break;
        case SIGMOID: results[i] = sigmoid_q15(x[i]); break;
        default: return BAD_REQUEST;
        }
    }
    *output = (Array){values * 8, results};
    return DONE;
}
