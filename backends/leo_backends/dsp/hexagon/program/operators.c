/* Which code of a request is which operator. */
#include "operators.h"

u32 copy_prepare(Model *model) {
    (void)model;
    return DONE;
}

/* The operator `window`: its one input, copied. */
u32 copy_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    (void)model;
    if (count != 1) return BAD_REQUEST;
    void *copy = scratch(inputs[0].bytes);
    if (copy == NULL) return OUT_OF_MEMORY;
    *output = (Array){inputs[0].bytes, memcpy(copy, inputs[0].data, inputs[0].bytes)};
    return DONE;
}

#define X(name) {name##_prepare, name##_run},
const Operator OPERATORS[] = {PROGRAMS};
#undef X
const u32 OPERATOR_COUNT = sizeof OPERATORS / sizeof OPERATORS[0];
