/* Every operator: `prepare` reads what was loaded, `run` computes. What each means is in docs/dsp.md. */
#ifndef LEO_OPERATORS_H
#define LEO_OPERATORS_H

#include "dsp.h"

#define DECLARE(name)                  \
    u32 name##_prepare(Model *model); \
    u32 name##_run(const Model *model, const Array *inputs, u32 count, Array *output)

DECLARE(tables);
DECLARE(energy_gate);
DECLARE(voice_gate);
DECLARE(log_mel);
DECLARE(mfcc);
DECLARE(gmm);
DECLARE(dense);
DECLARE(motion_features);
DECLARE(fuse);

#endif
