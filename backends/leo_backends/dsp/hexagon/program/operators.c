/* Which code of a request is which operator. The host's list, CODES in operators.py, is in the same order. */
#include "operators.h"

static u32 copy_prepare(Model *model) {
    (void)model;
    return DONE;
}

/* The operator `window`: its one input, copied. */
static u32 copy_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    (void)model;
    if (count != 1) return BAD_REQUEST;
    void *copy = scratch(inputs[0].bytes);
    if (copy == NULL) return OUT_OF_MEMORY;
    *output = (Array){inputs[0].bytes, memcpy(copy, inputs[0].data, inputs[0].bytes)};
    return DONE;
}

#define ENTRY(name) {name##_prepare, name##_run}

const Operator OPERATORS[] = {
    ENTRY(copy), ENTRY(tables), ENTRY(energy_gate),     ENTRY(voice_gate), ENTRY(log_mel),
    ENTRY(mfcc), ENTRY(gmm),    ENTRY(dense), ENTRY(motion_features), ENTRY(fuse),
};
const u32 OPERATOR_COUNT = sizeof OPERATORS / sizeof OPERATORS[0];
