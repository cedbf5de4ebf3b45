/* Words: code, rows, inputs, layers, activation, softmax, average, normalises, then for each layer its outputs and the Q
 * of its weights. Arrays: 1 means, 2 slopes (16 bits), 3 shifts (empty unless it normalises), then for each layer its
 * weights (inputs, outputs) of 16 bits and its bias of 32 bits. */
#include "fixed.h"
#include "matrix.h"
#include "operators.h"

enum { RELU, SIGMOID, TANH, LINEAR };

#define MAX_LAYERS 64
/* So many rows go through all layers together: enough to use what is loaded twice, few enough for a small memory. */
#define BLOCK_ROWS 8
#define BLOCK_Q_MAX 24

typedef struct {
    Matrix weights;
    i32 weights_q;
    const i32 *bias_q16;
} Layer;

typedef struct {
    u32 rows, inputs, layers, activation, softmax, average, normalises, widest_stride, widest;
    const i32 *means_q16, *shifts;
    const i16 *slopes;
    Layer layer[MAX_LAYERS];
} Dense;

u32 dense_prepare(Model *model) {
    Dense *net = model->prepared = keep(sizeof(Dense));
    if (net == NULL) return OUT_OF_MEMORY;
    if (words(model) < 8) return BAD_REQUEST;
    net->rows = (u32)word(model, 1);
    net->inputs = (u32)word(model, 2);
    net->layers = (u32)word(model, 3);
    net->activation = (u32)word(model, 4);
    net->softmax = (u32)word(model, 5);
    net->average = (u32)word(model, 6);
    net->normalises = (u32)word(model, 7);
    if (net->layers < 1 || net->layers > MAX_LAYERS || words(model) != 8 + 2 * net->layers) return BAD_REQUEST;
    if (net->rows < 1 || net->inputs < 1 || net->inputs > 1u << 20) return BAD_REQUEST;
    u32 normalised = net->normalises ? net->inputs : 0, columns = net->inputs;
    if (!has(model, 1, normalised * 4) || !has(model, 2, normalised * 2) || !has(model, 3, normalised * 4)) return BAD_REQUEST;
    net->means_q16 = model->arrays[1].data;
    net->slopes = model->arrays[2].data;
    net->shifts = model->arrays[3].data;
    net->widest_stride = matrix_stride(columns);
    net->widest = 0;
    for (u32 l = 0; l < net->layers; l++) {
        u32 outputs = (u32)word(model, 8 + 2 * l);
        if (outputs < 1 || (u64)outputs * columns > 1u << 27) return BAD_REQUEST;
        if (!has(model, 4 + 2 * l, outputs * columns * 2) || !has(model, 5 + 2 * l, outputs * 4)) return BAD_REQUEST;
        u32 status = matrix_from_columns(&net->layer[l].weights, model->arrays[4 + 2 * l].data, columns, outputs);
        if (status != DONE) return status;
        net->layer[l].weights_q = word(model, 9 + 2 * l);
        net->layer[l].bias_q16 = model->arrays[5 + 2 * l].data;
        columns = outputs;
        if (matrix_stride(columns) > net->widest_stride) net->widest_stride = matrix_stride(columns);
        if (columns > net->widest) net->widest = columns;
    }
    return DONE;
}

/* How far a row is shifted so that its greatest magnitude has 15 bits, and its Q is at most BLOCK_Q_MAX. */
static inline i32 block_bits(u64 greatest, i32 q) { return max32(max32(bit_length(greatest) - 15, 0), q - BLOCK_Q_MAX); }

static inline u64 magnitude(i64 x) { return x < 0 ? 0 - (u64)x : (u64)x; }

/* A row of inputs as 16 bits; gives its Q. */
static i32 take_row(const Dense *net, const i32 *restrict x, i16 *restrict values) {
    u32 n = net->inputs;
    if (net->normalises) {
        const i32 *restrict means = net->means_q16, *restrict shifts = net->shifts;
        const i16 *restrict slopes = net->slopes;
        for (u32 i = 0; i < n; i++) values[i] = (i16)saturated16(shifted(mul(sub_sat(x[i], means[i]), slopes[i]), shifts[i]));
        return 11;
    }
    u32 greatest = 0;
    for (u32 i = 0; i < n; i++) {
        u32 size = x[i] < 0 ? 0 - (u32)x[i] : (u32)x[i];
        if (size > greatest) greatest = size;
    }
    i32 bits = block_bits(greatest, 16);
    for (u32 i = 0; i < n; i++) values[i] = (i16)saturated16(shifted(x[i], bits));
    return 16 - bits;
}

/* A hidden layer's sums, in Q q, as the next one's inputs; gives their Q. */
static i32 activate(u32 activation, i64 *restrict sums, u32 n, i32 q, i16 *restrict values) {
    if (activation == SIGMOID || activation == TANH) {
        for (u32 i = 0; i < n; i++) {
            i32 x = narrowed(sums[i], q - 12);
            values[i] = (i16)(activation == SIGMOID ? sigmoid_q15(x) : tanh_q15(x));
        }
        return 15;
    }
    u64 greatest = 0;
    for (u32 i = 0; i < n; i++) {
        if (activation == RELU && sums[i] < 0) sums[i] = 0;
        u64 size = magnitude(sums[i]);
        if (size > greatest) greatest = size;
    }
    i32 bits = block_bits(greatest, q);
    for (u32 i = 0; i < n; i++) values[i] = (i16)saturated16(shifted(sums[i], bits));
    return q - bits;
}

static void softmax(i32 *x, u32 n) {
    i32 greatest = I32_MIN;
    i64 total = 0;
    for (u32 i = 0; i < n; i++) greatest = max32(greatest, x[i]);
    for (u32 i = 0; i < n; i++) {
        u32 below = (u32)greatest - (u32)x[i];
        x[i] = exp2_q30((u64)shifted((i64)((u64)below * LOG2E_Q14), 14));
        total += x[i];
    }
    for (u32 i = 0; i < n; i++) x[i] = (i32)divided((i64)x[i] << 16, total);
}

/* Rows from one block through every layer. */
static void run_block(const Dense *net, const i32 *x, u32 rows, i16 *values, i64 *sums, i32 *to) {
    i32 q[BLOCK_ROWS];
    u32 stride = matrix_stride(net->inputs), n = net->inputs;
    for (u32 r = 0; r < rows; r++) {
        q[r] = take_row(net, x + r * n, values + r * stride);
        for (u32 k = n; k < stride; k++) values[r * stride + k] = 0;
    }
    for (u32 l = 0; l < net->layers; l++) {
        const Layer *layer = &net->layer[l];
        n = layer->weights.rows;
        stride = matrix_stride(n);
        matrix_product(&layer->weights, values, rows, sums);
        for (u32 r = 0; r < rows; r++) {
            i64 *row = sums + r * n;
            i32 sums_q = q[r] + layer->weights_q;
            const i32 *restrict bias = layer->bias_q16;
            for (u32 i = 0; i < n; i++) row[i] += shifted(bias[i], 16 - sums_q);
            if (l + 1 < net->layers) {
                q[r] = activate(net->activation, row, n, sums_q, values + r * stride);
                for (u32 k = n; k < stride; k++) values[r * stride + k] = 0;
            } else {
                for (u32 i = 0; i < n; i++) to[r * n + i] = narrowed(row[i], sums_q - 16);
                if (net->softmax) softmax(to + r * n, n);
            }
        }
    }
}

u32 dense_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const Dense *net = model->prepared;
    u32 outputs = net->layer[net->layers - 1].weights.rows;
    if (count != 1 || inputs[0].bytes != (u64)net->rows * net->inputs * 4) return BAD_REQUEST;
    i16 *values = scratch(BLOCK_ROWS * net->widest_stride * 2);
    i64 *sums = scratch(BLOCK_ROWS * net->widest * 8);
    i32 *result = scratch(net->rows * outputs * 4);
    if (values == NULL || sums == NULL || result == NULL) return OUT_OF_MEMORY;
    for (u32 r = 0; r < net->rows; r += BLOCK_ROWS) {
        u32 rows = net->rows - r < BLOCK_ROWS ? net->rows - r : BLOCK_ROWS;
        run_block(net, (const i32 *)inputs[0].data + r * net->inputs, rows, values, sums, result + r * outputs);
    }
    *output = (Array){(net->average ? 1 : net->rows) * outputs * 4, result};
    if (net->average && net->rows > 1) {
        for (u32 i = 0; i < outputs; i++) {
            i64 sum = 0;
            for (u32 r = 0; r < net->rows; r++) sum += result[r * outputs + i];
            result[i] = (i32)divided(sum, net->rows);
        }
    }
    return DONE;
}
