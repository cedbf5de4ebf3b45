/* Layers of int8. Words: code, layers, bytes of all tensors together, inputs, outputs, then an offset and a size in bytes
 * for each input and output, then RECORD words a layer. Array 1: constants, at offsets that are multiples of 8. The one
 * input array of a request holds all inputs one after the other, and so does what is given.
 *
 * Tensors are bytes above 0: an int8 is held as its value + 128, so that eight products of unsigned by signed bytes are
 * one instruction. Zero points are told likewise; those of what is multiplied are part of the bias. */
#include "fixed.h"
#include "operators.h"
#include "products.h"
#include "scaling.h"

#define HEAD 5
#define RECORD 28

enum { PRODUCT, DEPTHWISE, SUM, POOL, MEAN, LOOK_UP, SOFTMAX, REQUANTISE, MOVE, FILL, SLOPE, RESIZE };

static inline u8 scaled(i32 sum, i32 factor, i32 shift, Range range) {
    i32 v = saturated32((mul(sum, factor) + ((i64)1 << (shift - 1))) >> shift);
    v = v < range.least - range.zero ? range.least - range.zero : v;
    v = v > range.most - range.zero ? range.most - range.zero : v;
    return (u8)(v + range.zero);
}

/* What is made of the constants of a layer with weights as a model is loaded. */
typedef struct {
    Products products;
    Scaling scaling;
} Prepared;

/* A window over an image: the words that convolutions and pools have alike. */
typedef struct {
    const u8 *x;
    u8 *y;
    i32 height, width, channels, lines, columns, outputs, taps_h, taps_w, stride_h, stride_w, dilation_h, dilation_w, before_h,
        before_w;
} Window;

static Window window(const i32 *r, u8 *tensors) {
    return (Window){tensors + r[1], tensors + r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15], r[16]};
}

/* The pixel that a tap reads; `beyond` where it lies outside. */
static inline const u8 *pixel(const Window *w, i32 line, i32 column, i32 down, i32 across, const u8 *beyond) {
    i32 i = line * w->stride_h + down * w->dilation_h - w->before_h;
    i32 j = column * w->stride_w + across * w->dilation_w - w->before_w;
    if (i < 0 || j < 0 || i >= w->height || j >= w->width) return beyond;
    return w->x + (i * w->width + j) * w->channels;
}

/* Bytes to a row that is filled from its beginning on; up to VECTOR_BYTES behind it may be written over, too. */
static inline void copy(u8 *restrict to, const u8 *restrict from, u32 bytes) {
#ifdef __HVX__
    typedef i32 Vector __attribute__((__vector_size__(VECTOR_BYTES), aligned(1)));
    for (u32 i = 0; i < bytes; i += VECTOR_BYTES) *(Vector *)(to + i) = *(const Vector *)(from + i);
#else
    memcpy(to, from, bytes);
#endif
}

/* The values that a pixel of the output reads, as one row; what fills up its last eight may be anything where the vector
 * unit is, which takes it off again. */
static const u64 *gathered(const Window *w, u32 place, const u8 *beyond, u8 *row, i32 direct) {
    i32 line = (i32)(place / (u32)w->columns), column = (i32)(place % (u32)w->columns);
    if (direct) return (const u64 *)pixel(w, line, column, 0, 0, beyond);
    u8 *to = row;
    i32 i = line * w->stride_h - w->before_h, j = column * w->stride_w - w->before_w;
    u32 run = (u32)(w->taps_w * w->channels);
    i32 unbroken = w->dilation_w == 1 && j >= 0 && j + w->taps_w <= w->width;
    for (i32 down = 0; down < w->taps_h; down++, i += w->dilation_h) {
        if (unbroken && i >= 0 && i < w->height) {
            copy(to, w->x + (i * w->width + j) * w->channels, run);
            to += run;
            continue;
        }
        for (i32 across = 0; across < w->taps_w; across++, to += w->channels)
            copy(to, pixel(w, line, column, down, across, beyond), (u32)w->channels);
    }
    return (const u64 *)row;
}

static u32 product(const i32 *r, u8 *tensors, const Prepared *prepared) {
    const Products *products = &prepared->products;
    Window w = window(r, tensors);
    u32 bytes = (u32)r[21] * 8, places = (u32)(w.lines * w.columns), outputs = (u32)w.outputs, stride = products->stride;
    Range range = {r[22], r[23], r[24]};
    u8 *rows = scratch(PIXELS * bytes), *beyond = scratch((u32)w.channels), *unused = scratch(outputs), *row = scratch(outputs);
    i32 *sums = scratch(PIXELS * stride * 4);
    if (row == NULL || rows == NULL || beyond == NULL || sums == NULL || unused == NULL) return OUT_OF_MEMORY;
    memset(rows, 0, PIXELS * bytes);
    memset(beyond, r[25], (u32)w.channels);
    for (u32 place = 0; place < places; place += PIXELS) {
        u32 count = places - place < PIXELS ? places - place : PIXELS;
        const u64 *at[PIXELS];
        for (u32 i = 0; i < PIXELS; i++) at[i] = i < count ? gathered(&w, place + i, beyond, rows + i * bytes, r[26]) : at[0];
        products_of(products, at, count, sums);
        for (u32 i = 0; i < count; i += 2) {
            u8 *y = w.y + (place + i) * outputs, *z = i + 1 < count ? y + outputs : unused;
            scale_two(&prepared->scaling, sums + i * stride, sums + (i + 1) * stride, y, z, range, row);
        }
    }
    return DONE;
}

/* Sums of a pixel's taps, four channels at once: products of bytes are 16 bits, which are widened as they are added. */
static void four_channels(const u8 *const *restrict taps, const i8 *restrict w, u32 count, u32 outputs, const i64 *restrict bias,
                          i64 *restrict sums) {
    for (u32 c = 0; c < outputs; c += 4) {
        i64 low = bias[c / 2], high = bias[c / 2 + 1];
        const i8 *at = w + c;
        for (u32 tap = 0; tap < count; tap++, at += outputs) {
            i64 products = __builtin_HEXAGON_M5_vmpybsu(*(const i32 *)at, *(const i32 *)(taps[tap] + c));
            low = __builtin_HEXAGON_A2_vaddw(low, __builtin_HEXAGON_S2_vsxthw((i32)products));
            high = __builtin_HEXAGON_A2_vaddw(high, __builtin_HEXAGON_S2_vsxthw((i32)(products >> 32)));
        }
        sums[c / 2] = low;
        sums[c / 2 + 1] = high;
    }
}

static void each_channel(const u8 *const *restrict taps, const i8 *restrict w, u32 count, u32 outputs, u32 each, const i32 *restrict bias,
                         i32 *restrict sums) {
    for (u32 o = 0, c = 0, i = 0; o < outputs; o++) {
        i32 sum = bias[o];
        ONE_BY_ONE
        for (u32 tap = 0; tap < count; tap++) sum += (i32)taps[tap][c] * w[tap * outputs + o];
        sums[o] = sum;
        if (++i == each) {
            i = 0;
            c++;
        }
    }
}

static void taps_of(const Window *w, u32 place, const u8 *beyond, const u8 **taps) {
    i32 line = (i32)(place / (u32)w->columns), column = (i32)(place % (u32)w->columns);
    for (i32 down = 0; down < w->taps_h; down++)
        for (i32 across = 0; across < w->taps_w; across++) *taps++ = pixel(w, line, column, down, across, beyond);
}

static u32 depthwise(const i32 *r, u8 *tensors, const u8 *constants, const Prepared *prepared) {
    Window w = window(r, tensors);
    const i8 *weights = (const i8 *)(constants + r[17]);
    const void *bias = constants + r[18];
    u32 outputs = (u32)w.outputs, each = (u32)r[21], places = (u32)(w.lines * w.columns), count = (u32)(w.taps_h * w.taps_w);
    Range range = {r[22], r[23], r[24]};
    i32 *sums[2] = {scratch((outputs + 1) * 4), scratch((outputs + 1) * 4)};
    u8 *beyond = scratch((u32)w.channels), *unused = scratch(outputs), *row = scratch(outputs);
    const u8 **taps = scratch(count * sizeof *taps);
    if (sums[0] == NULL || sums[1] == NULL || beyond == NULL || unused == NULL || row == NULL || taps == NULL) return OUT_OF_MEMORY;
    memset(beyond, r[25], (u32)w.channels);
    for (u32 place = 0; place < places; place += 2) {
        u32 next = place + 1 < places ? place + 1 : place;
        for (u32 i = 0; i < 2; i++) {
            taps_of(&w, i == 0 ? place : next, beyond, taps);
            if (each == 1 && outputs % 4 == 0)
                four_channels(taps, weights, count, outputs, bias, (i64 *)sums[i]);
            else
                each_channel(taps, weights, count, outputs, each, bias, sums[i]);
        }
        u8 *z = next == place ? unused : w.y + next * outputs;
        scale_two(&prepared->scaling, sums[0], sums[1], w.y + place * outputs, z, range, row);
    }
    return DONE;
}

static void sum(const i32 *r, u8 *tensors) {
    const u8 *restrict a = tensors + r[1], *restrict b = tensors + r[2];
    u8 *restrict y = tensors + r[3];
    i32 first = r[5], second = r[6], bias = r[7], shift = r[8], zero = r[9], least = r[10], most = r[11];
    for (i32 i = 0; i < r[4]; i++) {
        i32 v = ((i32)((u32)(a[i] * first) + (u32)(b[i] * second) + (u32)bias) >> shift) + zero;
        v = v < least ? least : v;
        y[i] = (u8)(v > most ? most : v);
    }
}

/* The greatest or the mean of what lies in the image; means of values less `offset`, halves away from 0. */
static u32 pool(const i32 *r, u8 *tensors) {
    Window w = window(r, tensors);
    i32 average = r[17], offset = r[18], least = r[19], most = r[20];
    i32 *totals = scratch((u32)w.channels * 4);
    if (totals == NULL) return OUT_OF_MEMORY;
    u8 *y = w.y;
    for (i32 line = 0; line < w.lines; line++)
        for (i32 column = 0; column < w.columns; column++, y += w.channels) {
            i32 count = 0;
            memset(totals, 0, (u32)w.channels * 4);
            for (i32 down = 0; down < w.taps_h; down++)
                for (i32 across = 0; across < w.taps_w; across++) {
                    const u8 *x = pixel(&w, line, column, down, across, NULL);
                    if (x == NULL) continue;
                    count++;
                    if (average)
                        for (i32 c = 0; c < w.channels; c++) totals[c] += x[c];
                    else
                        for (i32 c = 0; c < w.channels; c++) totals[c] = max32(totals[c], x[c]);
                }
            ONE_BY_ONE
            for (i32 c = 0; c < w.channels; c++) {
                i32 v = totals[c];
                if (average) {
                    v -= count * offset;
                    u32 size = (u32)(v < 0 ? -v : v) + (u32)count / 2;
                    v = (v < 0 ? -(i32)(size / (u32)count) : (i32)(size / (u32)count)) + offset;
                }
                v = v < least ? least : v;
                y[c] = (u8)(v > most ? most : v);
            }
        }
    return DONE;
}

static void mean(const i32 *r, u8 *tensors) {
    Range range = {r[9], r[10], r[11]};
    for (i32 outer = 0; outer < r[3]; outer++)
        for (i32 inner = 0; inner < r[5]; inner++) {
            const u8 *x = tensors + r[1] + outer * r[4] * r[5] + inner;
            i32 total = -r[4] * r[6];
            ONE_BY_ONE
            for (i32 i = 0; i < r[4]; i++) total += x[i * r[5]];
            tensors[r[2] + outer * r[5] + inner] = scaled(total, r[7], r[8], range);
        }
}

static void softmax(const i32 *r, u8 *tensors, const u8 *constants) {
    const i32 *powers = (const i32 *)(constants + r[5]);
    for (i32 row = 0; row < r[3]; row++) {
        const u8 *x = tensors + r[1] + row * r[4];
        u8 *y = tensors + r[2] + row * r[4];
        i32 greatest = 0;
        i64 total = 0;
        for (i32 i = 0; i < r[4]; i++) greatest = max32(greatest, x[i]);
        ONE_BY_ONE
        for (i32 i = 0; i < r[4]; i++) total += powers[greatest - x[i]];
        for (i32 i = 0; i < r[4]; i++) {
            i64 share = ((i64)powers[greatest - x[i]] * 512 + total) / (2 * total);
            y[i] = (u8)(share > 255 ? 255 : share);
        }
    }
}

static void move(const i32 *r, u8 *tensors) {
    for (i32 i = 0; i < r[3]; i++)
        for (i32 j = 0; j < r[4]; j++)
            for (i32 k = 0; k < r[5]; k++) {
                const u8 *x = tensors + r[1] + i * r[6] + j * r[7] + k * r[8];
                u8 *y = tensors + r[2] + i * r[9] + j * r[10] + k * r[11];
                if (r[13] == 1)
                    memcpy(y, x, (u32)r[12]);
                else
                    for (i32 n = 0; n < r[12]; n++) y[n] = x[n * r[13]];
            }
}

/* What a value is scaled by in two rounded steps; the second halves away from 0. */
typedef struct {
    i32 factor, left, right, half, below;
} Steps;

static Steps steps(const i32 *r) { return (Steps){r[0], r[1], r[2], r[2] ? 1 << (r[2] - 1) : 0, r[2] != 0}; }

static void slope(const i32 *r, u8 *tensors, const u8 *constants) {
    const i32 *restrict slopes = (const i32 *)(constants + r[5]);
    const u8 *restrict x = tensors + r[1];
    u8 *restrict y = tensors + r[2];
    Steps above = steps(r + 7), under = steps(r + 10);
    for (i32 place = 0; place < r[3]; place++, x += r[4], y += r[4]) {
        ONE_BY_ONE
        for (i32 c = 0; c < r[4]; c++) {
            i32 v = x[c] - r[6], is_under = v < 0;
            v = (i32)((u32)(is_under ? v * slopes[c] : v) << (is_under ? under.left : above.left));
            v = (i32)((mul(v, is_under ? under.factor : above.factor) + ((i64)1 << 30)) >> 31);
            v += (is_under ? under.half : above.half) - (v < 0 ? (is_under ? under.below : above.below) : 0);
            v = (v >> (is_under ? under.right : above.right)) + r[13];
            v = v < 0 ? 0 : v;
            y[c] = (u8)(v > 255 ? 255 : v);
        }
    }
}

/* Between two lines and two columns, whose places and weights (of 2048) are told. */
static void resize(const i32 *r, u8 *tensors, const u8 *constants) {
    const i32 *down = (const i32 *)(constants + r[6]);
    u8 *restrict y = tensors + r[2];
    for (i32 line = 0; line < r[3]; line++, down += 3) {
        const u8 *top = tensors + r[1] + down[0], *bottom = tensors + r[1] + down[1];
        const i32 *across = (const i32 *)(constants + r[7]);
        for (i32 column = 0; column < r[4]; column++, across += 3, y += r[5]) {
            const u8 *restrict a = top + across[0], *restrict b = top + across[1];
            const u8 *restrict c = bottom + across[0], *restrict d = bottom + across[1];
            ONE_BY_ONE
            for (i32 i = 0; i < r[5]; i++) {
                i32 t = (a[i] << 11) + (b[i] - a[i]) * across[2], v = (c[i] << 11) + (d[i] - c[i]) * across[2];
                y[i] = (u8)(((t << 11) + (v - t) * down[2] + (1 << 21)) >> 22);
            }
        }
    }
}

static u32 layer(const i32 *r, u8 *tensors, const u8 *constants, const Prepared *prepared) {
    switch (r[0]) {
        case PRODUCT: return product(r, tensors, prepared);
        case DEPTHWISE: return depthwise(r, tensors, constants, prepared);
        case SUM: sum(r, tensors); return DONE;
        case POOL: return pool(r, tensors);
        case MEAN: mean(r, tensors); return DONE;
        case LOOK_UP:
            for (i32 i = 0; i < r[3]; i++) tensors[r[2] + i] = constants[r[4] + tensors[r[1] + i]];
            return DONE;
        case SOFTMAX: softmax(r, tensors, constants); return DONE;
        case REQUANTISE:
            ONE_BY_ONE
            for (i32 i = 0; i < r[3]; i++)
                tensors[r[2] + i] = scaled(tensors[r[1] + i] - r[4], r[5], r[6], (Range){r[7], r[8], r[9]});
            return DONE;
        case MOVE: move(r, tensors); return DONE;
        case SLOPE: slope(r, tensors, constants); return DONE;
        case RESIZE: resize(r, tensors, constants); return DONE;
        case FILL: memset(tensors + r[1], r[3], (u32)r[2]); return DONE;
    }
    return BAD_REQUEST;
}

static u32 prepare(Prepared *made, const i32 *r, const u8 *constants) {
    const i32 *bias = (const i32 *)(constants + r[18]), *factors = (const i32 *)(constants + r[19]), *shifts = (const i32 *)(constants + r[20]);
    u32 status = scaling_prepare(&made->scaling, factors, shifts, (const i64 *)(constants + r[27]), (u32)r[8]);
    if (status != DONE || r[0] != PRODUCT) return status;
    return products_prepare(&made->products, (const u64 *)(constants + r[17]), bias, (u32)r[8], (u32)r[21]);
}

u32 layers_prepare(Model *model) {
    if (words(model) < HEAD || model->count != 2) return BAD_REQUEST;
    u32 count = (u32)word(model, 1), taken = (u32)word(model, 3), given = (u32)word(model, 4);
    if (taken > 1u << 16 || given > 1u << 16 || count > 1u << 16) return BAD_REQUEST;
    if (words(model) != HEAD + 2 * (taken + given) + RECORD * count) return BAD_REQUEST;
    Prepared *prepared = model->prepared = keep(count * sizeof *prepared + 1);
    if (prepared == NULL) return OUT_OF_MEMORY;
    const i32 *r = (const i32 *)model->arrays[0].data + HEAD + 2 * (taken + given);
    for (u32 i = 0; i < count; i++, r += RECORD) {
        u32 status = r[0] == PRODUCT || r[0] == DEPTHWISE ? prepare(prepared + i, r, model->arrays[1].data) : DONE;
        if (status != DONE) return status;
    }
    return DONE;
}

u32 layers_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const i32 *head = model->arrays[0].data;
    u32 taken = (u32)head[3], given = (u32)head[4];
    const i32 *borders = head + HEAD, *records = borders + 2 * (taken + given);
    u8 *tensors = scratch((u32)head[2]);
    if (count != 1) return BAD_REQUEST;
    if (tensors == NULL) return OUT_OF_MEMORY;
    u32 done = 0;
    for (u32 i = 0; i < taken; i++) {
        u32 bytes = (u32)borders[2 * i + 1];
        if (bytes > inputs[0].bytes - done) return BAD_REQUEST;
        memcpy(tensors + borders[2 * i], (const u8 *)inputs[0].data + done, bytes);
        done += bytes;
    }
    if (done != inputs[0].bytes) return BAD_REQUEST;
    for (i32 i = 0; i < head[1]; i++) {
        u32 status = layer(records + RECORD * i, tensors, model->arrays[1].data, (const Prepared *)model->prepared + i);
        if (status != DONE) return status;
    }
    u32 size = 0;
    for (u32 i = taken; i < taken + given; i++) size += (u32)borders[2 * i + 1];
    u8 *result = scratch(size);
    if (result == NULL) return OUT_OF_MEMORY;
    *output = (Array){size, result};
    for (u32 i = taken; i < taken + given; i++) {
        memcpy(result, tensors + borders[2 * i], (u32)borders[2 * i + 1]);
        result += borders[2 * i + 1];
    }
    return DONE;
}
