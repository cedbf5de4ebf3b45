/* Words: code, inputs, values of each, Q of the weights. Array 1: a weight of 16 bits an input. The one input array of
 * a request holds all inputs one after the other. */
#include "fixed.h"
#include "operators.h"

u32 fuse_prepare(Model *model) {
    if (words(model) != 4 || !has(model, 1, (u32)word(model, 1) * 2)) return BAD_REQUEST;
    return (u32)word(model, 2) < 1u << 24 ? DONE : BAD_REQUEST;
}

u32 fuse_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    u32 stages = (u32)word(model, 1), values = (u32)word(model, 2);
    const i16 *weights = model->arrays[1].data;
    if (count != 1 || inputs[0].bytes != (u64)stages * values * 4) return BAD_REQUEST;
    const i32 *x = inputs[0].data;
    i32 *result = scratch(values * 4);
    if (result == NULL) return OUT_OF_MEMORY;
    for (u32 v = 0; v < values; v++) {
        i64 total = 0;
        for (u32 s = 0; s < stages; s++) total = mul_add(total, x[s * values + v], weights[s]);
        result[v] = saturated32(shifted(total, word(model, 3)));
    }
    *output = (Array){values * 4, result};
    return DONE;
}
