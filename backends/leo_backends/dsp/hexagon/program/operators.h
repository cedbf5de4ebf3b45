/* Every operator: `prepare` reads what was loaded, `run` computes. What each means is in docs/dsp.md. */
#ifndef LEO_OPERATORS_H
#define LEO_OPERATORS_H

#include "dsp.h"

/* PROGRAMS is X(name) for each, in the order of their codes: the host gives it to the compiler. */
#define X(name)                        \
    u32 name##_prepare(Model *model); \
    u32 name##_run(const Model *model, const Array *inputs, u32 count, Array *output);
PROGRAMS
#undef X

#endif
