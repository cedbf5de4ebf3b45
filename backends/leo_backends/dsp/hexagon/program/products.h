/* Sums of products of pixels, unsigned bytes, and weights, signed ones, of several pixels and all outputs at once. */
#ifndef LEO_PRODUCTS_H
#define LEO_PRODUCTS_H

#include "dsp.h"

#ifdef __HVX__
#define PIXELS 4
#else
#define PIXELS 2
#endif

typedef struct {
    u32 outputs;
    u32 steps; /* eights of values of a pixel, whole ones */
    u32 stride; /* from the sums of one pixel to those of the next */
    const void *weights;
    const i32 *bias;
} Products;

/* Of rows of weights, an output each, of so many eights, and an even number of rows. */
u32 products_prepare(Products *made, const u64 *weights, const i32 *bias, u32 outputs, u32 steps);

/* The sums of `count` pixels of at most PIXELS; `rows` has PIXELS of them, those behind `count` may be any.  */
void products_of(const Products *made, const u64 *const *rows, u32 count, i32 *sums);

#endif
