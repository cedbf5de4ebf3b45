// Layers of networks over images whose pixels lie VEC-aligned: every pixel has its channels, padded with zeros to whole
// vectors, and around an image there may be a margin of zeros, so that no window has a guard. Values of int8 layers are
// whole numbers in float32, less their zero point: sums of their products are exact below 2^24.
//
//   CONV, DEPTHWISE, ...   which kernel is built
//   SINGLE 1: a work-group is one work-item
//   VEC    lanes of a vector along channels                    4, 8 or 16
//   COLS   vectors a work-item holds at a time
//   ROWS   pixels a work-item holds at a time
//   HALF   1: weights are stored in half precision
//   BEFORE, AFTER   what is done to a sum before and after the residual is added: 0 nothing, LIMITS, SLOPES
//   RESIDUAL        1: another tensor is added
//   WHOLE           1: int8, by the law of leo_runtime/layers/law.py
//   WIDE            1: products of int8 are summed in int, where float32 would not be exact

#pragma OPENCL FP_CONTRACT ON

// On a CPU a work-item is a group: said here, a driver compiles for that alone.
#if SINGLE
#define KERNEL kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
#else
#define KERNEL kernel void
#endif

// The pixels of a line: one a work-item, or all of them.
#if SINGLE
#define EACH_PIXEL(width) for (int column = 0; column < (width); column++)
#else
#define EACH_PIXEL(width) const int column = get_global_id(0);
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define vec JOIN(float, VEC)
#define ivec JOIN(int, VEC)
#define lvec JOIN(long, VEC)
#define to_ivec JOIN(convert_int, VEC)
#define to_lvec JOIN(convert_long, VEC)
#define to_vec JOIN(convert_float, VEC)
#define load(p) JOIN(vload, VEC)(0, p)
#define store(v, p) JOIN(vstore, VEC)(v, 0, p)

#if HALF
typedef half weight;
#define get(p, i) JOIN(vload_half, VEC)(i, p)
#else
typedef float weight;
#define get(p, i) (((global const vec *)(p))[i])
#endif

#define LIMITS 1
#define SLOPES 2

#if WIDE
typedef ivec sum;
#define ZERO (ivec)(0)
#else
typedef vec sum;
#define ZERO (vec)(0.0f)
#endif

#if WHOLE
#define SCALING , global const ivec *restrict whole_bias, global const ivec *restrict factors, global const ivec *restrict shifts
// Scaled and rounded once, halves upwards.
ivec scaled(ivec v, ivec factor, ivec shift) {
  const lvec by = to_lvec(shift);
  return to_ivec((to_lvec(v) * to_lvec(factor) + ((lvec)(1) << (by - 1))) >> by);
}
#else
#define SCALING
#endif

// What follows a sum: arguments, and how they are used for the vector g of channels of one pixel.
#define EPILOGUE                                                                                                       \
  SCALING, global const vec *restrict slopes, float least, float most, global const float *restrict other,             \
      int other_first, int other_line, int other_step, int other_groups, global const vec *restrict slopes_after,       \
      float least_after, float most_after, int own_times, int other_times, int add_shift
#define PASSED                                                                                                         \
  slopes, least, most, other, other_first, other_line, other_step, other_groups, slopes_after, least_after, most_after, \
      own_times, other_times, add_shift

vec activated(vec v, int how, global const vec *slopes, int g, float least, float most) {
  if (how == SLOPES)
    return v > 0.0f ? v : v * slopes[g];
  if (how == LIMITS) {
    v = v < least ? (vec)(least) : v;
    return v > most ? (vec)(most) : v;
  }
  return v;
}

vec finished(vec v, int g, int at, global const vec *slopes, float least, float most,
             global const float *other, int other_first, int other_line, int other_step, int other_groups,
             global const vec *slopes_after, float least_after, float most_after, int own_times,
             int other_times, int add_shift) {
  v = activated(v, BEFORE, slopes, g, least, most);
#if RESIDUAL
  const vec second = g < other_groups ? load(other + at + g * VEC) : (vec)(0.0f);
#if WHOLE
  v = to_vec((to_ivec(v) * own_times + to_ivec(second) * other_times + (1 << (add_shift - 1))) >> add_shift);
#else
  v += second;
#endif
  v = activated(v, AFTER, slopes_after, g, least_after, most_after);
#endif
  return v;
}

#ifdef CONV
// A convolution: the output's lines are (width) pixels, ROWS of them a work-item. A pixel's window is `taps` times
// `segments` unbroken runs of `length` values. Weights: w[group / COLS][tap][segment][value][COLS][VEC].
KERNEL conv(global const float *restrict x, int x_first, int x_line, int x_step, int tap_line, int tap_step, int taps,
                 int segments, int length, global const weight *restrict w, global const vec *restrict bias,
                 global float *restrict y, int y_first, int y_line, int y_step, int width, int groups,
                 int each EPILOGUE) {
  const int tiles = (width + ROWS - 1) / ROWS;
  const int tile = get_global_id(0) % tiles, part = get_global_id(0) / tiles, line = get_global_id(1);
  const int column = tile * ROWS;
  global const float *rows = x + x_first + line * x_line + column * x_step;
  const int last = min(groups, (part + 1) * each);
  for (int group = part * each; group < last; group++) {
    global const weight *restrict ws = w + (size_t)group * taps * segments * length * (COLS * VEC);
    sum sums[ROWS][COLS];
#pragma unroll
    for (int c = 0; c < COLS; c++)
#pragma unroll
      for (int r = 0; r < ROWS; r++)
#if WHOLE
        sums[r][c] = ZERO;
#else
        sums[r][c] = bias[group * COLS + c];
#endif
    for (int tap = 0; tap < taps; tap++)
      for (int segment = 0; segment < segments; segment++) {
        global const float *from = rows + tap * tap_line + segment * tap_step;
        for (int k = 0; k < length; k++) {
#if WIDE
          ivec weights[COLS];
#else
          vec weights[COLS];
#endif
#pragma unroll
          for (int c = 0; c < COLS; c++)
#if WIDE
            weights[c] = to_ivec(get(ws, c));
#else
            weights[c] = get(ws, c);
#endif
          ws += COLS * VEC;
#pragma unroll
          for (int r = 0; r < ROWS; r++) {
#if WIDE
            const ivec value = (ivec)((int)from[r * x_step + k]);
#else
            const vec value = (vec)(from[r * x_step + k]);
#endif
#pragma unroll
            for (int c = 0; c < COLS; c++)
              sums[r][c] = value * weights[c] + sums[r][c];
          }
        }
      }
    const int left = width - column;
#pragma unroll
    for (int c = 0; c < COLS; c++) {
      const int g = group * COLS + c;
#pragma unroll
      for (int r = 0; r < ROWS; r++)
        if (r < left) {
#if WHOLE
          vec v = to_vec(scaled(to_ivec(sums[r][c]) + whole_bias[g], factors[g], shifts[g]));
#else
          vec v = sums[r][c];
#endif
          const int at = other_first + line * other_line + (column + r) * other_step;
          store(finished(v, g, at, PASSED), y + y_first + line * y_line + (column + r) * y_step + g * VEC);
        }
    }
  }
}

#endif

#ifdef DEPTHWISE
#define COLUMNS ((ROWS - 1) * STRIDE + (TAPS_W - 1) * DILATION + 1)
// A depthwise convolution: a line of the output and a vector of channels a work-item, ROWS pixels at a time. Weights:
// w[group][tap down][tap across][VEC].
KERNEL depthwise(global const float *restrict x, int x_first, int x_line, int x_step, int tap_line,
                      global const weight *restrict w, global const vec *restrict bias, global float *restrict y,
                      int y_first, int y_line, int y_step, int width, int each, int groups EPILOGUE) {
  const int line = get_global_id(1);
  for (int group = get_global_id(0) * each; group < min(groups, (int)(get_global_id(0) + 1) * each); group++) {
    global const float *lines = x + x_first + line * x_line + group * VEC;
    for (int column = 0; column < width; column += ROWS) {
      vec sums[ROWS];
#pragma unroll
      for (int r = 0; r < ROWS; r++)
#if WHOLE
        sums[r] = (vec)(0.0f);
#else
        sums[r] = bias[group];
#endif
#pragma unroll
      for (int down = 0; down < TAPS_H; down++) {
        global const float *from = lines + down * tap_line + column * STRIDE * x_step;
        vec values[COLUMNS];
#pragma unroll
        for (int i = 0; i < COLUMNS; i++)
          values[i] = load(from + i * x_step);
#pragma unroll
        for (int across = 0; across < TAPS_W; across++) {
          const vec weights = get(w, (group * TAPS_H + down) * TAPS_W + across);
#pragma unroll
          for (int r = 0; r < ROWS; r++)
            sums[r] = values[r * STRIDE + across * DILATION] * weights + sums[r];
        }
      }
#pragma unroll
      for (int r = 0; r < ROWS; r++)
        if (column + r < width) {
#if WHOLE
          vec v = to_vec(scaled(to_ivec(sums[r]) + whole_bias[group], factors[group], shifts[group]));
#else
          vec v = sums[r];
#endif
          const int at = other_first + line * other_line + (column + r) * other_step;
          store(finished(v, group, at, PASSED), y + y_first + line * y_line + (column + r) * y_step + group * VEC);
        }
    }
  }
}
#endif

#ifdef PAIRS
#define SUM 0
#define DIFFERENCE 1
#define PRODUCT 2
#define GREATER 3
#define SLOPED 4
// Two tensors, value by value. SPLAT 1: the second (2: the first) has one channel, repeated along the other's.
KERNEL pairs(global const float *restrict a_, int a_first, int a_line, int a_step, global const float *restrict b_,
             int b_first, int b_line, int b_step, global float *restrict y_, int y_first, int y_line, int y_step, int width,
             int groups, int channels, float least, float most, int a_times, int b_times, int add_shift) {
  const int line = get_global_id(1);
  EACH_PIXEL(width) {
    global const float *a = a_ + a_first + line * a_line + column * a_step;
    global const float *b = b_ + b_first + line * b_line + column * b_step;
    global float *y = y_ + y_first + line * y_line + column * y_step;
    for (int g = 0; g < groups; g++) {
#if SPLAT == 2
      const vec first = (vec)(*a);
#else
      const vec first = load(a + g * VEC);
#endif
#if SPLAT == 1
      const vec second = (vec)(*b);
#else
      const vec second = load(b + g * VEC);
#endif
#if WHOLE
      vec v = to_vec((to_ivec(first) * a_times + to_ivec(second) * b_times + (1 << (add_shift - 1))) >> add_shift);
#elif PAIRS == SUM
      vec v = first + second;
#elif PAIRS == DIFFERENCE
      vec v = first - second;
#elif PAIRS == PRODUCT
      vec v = first * second;
#elif PAIRS == GREATER
      vec v = first > second ? first : second;
#else
      vec v = first >= 0.0f ? first : first * second;
#endif
      v = activated(v, LIMITS, 0, 0, least, most);
#if SPLAT
      // What lies behind the channels stays 0.
      float values[VEC];
      store(v, values);
      for (int i = 0; i < min(VEC, channels - g * VEC); i++)
        y[g * VEC + i] = values[i];
#else
      store(v, y + g * VEC);
#endif
    }
  }
}
#endif

#ifdef ALONE
#define LIMITED 0
#define SLOPE 1
#define SIGMOID 2
#define SWISH 3
#define DEQUANTISED 4
#define QUANTISED 5
#define REQUANTISED 6
#define LOOKED_UP 7
// One value each. `table` is what LOOKED_UP gives for the value and `offset`.
KERNEL alone(global const float *restrict x_, int x_first, int x_line, int x_step, global float *restrict y_, int y_first,
             int y_line, int y_step, int width, int channels, float least, float most, float slope,
             global const float *restrict table, int offset, int factor, int shift) {
  const int line = get_global_id(1);
  EACH_PIXEL(width) {
    global const float *x = x_ + x_first + line * x_line + column * x_step;
    global float *y = y_ + y_first + line * y_line + column * y_step;
    for (int c = 0; c < channels; c++) {
      float v = x[c];
#if ALONE == SLOPE
      v = v >= 0.0f ? v : v * slope;
#elif ALONE == SIGMOID
      v = 1.0f / (1.0f + exp(-v));
#elif ALONE == SWISH
      v = v * clamp(v + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f);
#elif ALONE == DEQUANTISED
      v = v * slope;
#elif ALONE == QUANTISED
      v = rint(v * slope);
#elif ALONE == REQUANTISED
      v = (float)(((long)v * factor + ((long)1 << (shift - 1))) >> shift);
#elif ALONE == LOOKED_UP
      v = table[(int)v + offset];
#endif
      v = v < least ? least : v;
      y[c] = v > most ? most : v;
    }
  }
}
#endif

#ifdef POOL
#define GREATEST 0
#define AVERAGE 1
// The greatest or the mean of a window's values that lie in the image. WHOLE means are rounded halves away from 0, of
// values with their zero point.
KERNEL pool(global const float *restrict x, int x_first, int x_line, int x_step, int height, int width_in, int down,
                 int across, int stride_h, int stride_w, int before_h, int before_w, global float *restrict y, int y_first,
                 int y_line, int y_step, int width, float least, float most, int zero) {
  const int g = get_global_id(0), line = get_global_id(1);
  const int top = max(line * stride_h - before_h, 0), bottom = min(line * stride_h - before_h + down, height);
  for (int column = 0; column < width; column++) {
    const int left = max(column * stride_w - before_w, 0), right = min(column * stride_w - before_w + across, width_in);
#if POOL == GREATEST
    vec v = (vec)(-INFINITY);
#else
    vec v = (vec)(0.0f);
#endif
    for (int i = top; i < bottom; i++)
      for (int j = left; j < right; j++) {
        const vec one = load(x + x_first + i * x_line + j * x_step + g * VEC);
#if POOL == GREATEST
        v = v > one ? v : one;
#else
        v += one;
#endif
      }
#if POOL == AVERAGE
    const int count = (bottom - top) * (right - left);
#if WHOLE
    const ivec total = to_ivec(v) + count * zero;
    const ivec size = (JOIN(convert_int, VEC)(abs(total)) + count / 2) / count;
    v = to_vec((total < 0 ? -size : size) - zero);
#else
    v = v / (float)count;
#endif
#endif
    store(activated(v, LIMITS, 0, 0, least, most), y + y_first + line * y_line + column * y_step + g * VEC);
  }
}
#endif

#ifdef MOVE
// Values moved: `each` runs of `length` a work-item, of size0 * size1 * size2 runs in all.
KERNEL move(global const float *restrict x_, int x_first, int x0, int x1, int x2, int x_inner, global float *restrict y_,
            int y_first, int y0, int y1, int y2, int y_inner, int size1, int size2, int length, int each) {
  const int parts = size2 / each, number = get_global_id(0);
  const int i0 = number / (size1 * parts), i1 = number / parts % size1, first = number % parts * each;
  for (int i2 = first; i2 < first + each; i2++) {
    global const float *x = x_ + x_first + i0 * x0 + i1 * x1 + i2 * x2;
    global float *y = y_ + y_first + i0 * y0 + i1 * y1 + i2 * y2;
    if (x_inner == 1 && y_inner == 1) {
      int i = 0;
      for (; i + VEC <= length; i += VEC)
        store(load(x + i), y + i);
      for (; i < length; i++)
        y[i] = x[i];
    } else {
      for (int i = 0; i < length; i++)
        y[i * y_inner] = x[i * x_inner];
    }
  }
}
#endif

#ifdef STORED
// Between what crosses a stage's border, which has no padding, and the device's own places.
KERNEL widen(global const STORED *restrict x_, global float *restrict y_, int y_first, int y_line, int y_step, int width,
             int channels, int zero) {
  const int line = get_global_id(1);
  EACH_PIXEL(width) {
    global const STORED *x = x_ + (line * width + column) * channels;
    global float *y = y_ + y_first + line * y_line + column * y_step;
    for (int c = 0; c < channels; c++)
      y[c] = (float)((int)x[c] - zero);
  }
}

KERNEL narrow(global const float *restrict x_, int x_first, int x_line, int x_step, global STORED *restrict y_, int width,
              int channels, int zero) {
  const int line = get_global_id(1);
  EACH_PIXEL(width) {
    global const float *x = x_ + x_first + line * x_line + column * x_step;
    global STORED *y = y_ + (line * width + column) * channels;
    for (int c = 0; c < channels; c++)
      y[c] = (STORED)((int)x[c] + zero);
  }
}
#endif

#ifdef MEAN
// Means along a middle axis of (outer, count, inner) values.
KERNEL mean(global const float *restrict x, global float *restrict y, int count, int inner, int factor, int shift,
                 float least, float most) {
  const int i = get_global_id(0), outer = get_global_id(1);
  x += (size_t)outer * count * inner + i;
  float total = 0.0f;
#if WHOLE
  int whole = 0;
  for (int j = 0; j < count; j++)
    whole += (int)x[(size_t)j * inner];
  total = (float)(((long)whole * factor + ((long)1 << (shift - 1))) >> shift);
  total = clamp(total, least, most);
#else
  for (int j = 0; j < count; j++)
    total += x[(size_t)j * inner];
  total /= (float)count;
#endif
  y[outer * inner + i] = total;
}

#endif

#ifdef SOFTMAX
// Shares of powers, along rows. WHOLE: of a table of powers by how far a value is below the greatest.
KERNEL softmax(global const float *restrict x, global float *restrict y, int length, float beta, global const int *table) {
  const int row = get_global_id(0);
  x += row * length;
  y += row * length;
  float greatest = x[0];
  for (int i = 1; i < length; i++)
    greatest = x[i] > greatest ? x[i] : greatest;
#if WHOLE
  long total = 0;
  for (int i = 0; i < length; i++)
    total += table[(int)(greatest - x[i])];
  for (int i = 0; i < length; i++)
    y[i] = (float)min((int)(((long)table[(int)(greatest - x[i])] * 512 + total) / (2 * total)), 255);
#else
  float total = 0.0f;
  for (int i = 0; i < length; i++)
    total += exp((x[i] - greatest) * beta);
  for (int i = 0; i < length; i++)
    y[i] = exp((x[i] - greatest) * beta) / total;
#endif
}

#endif

#ifdef RESIZE
// Each pixel between two lines and two columns, by weights.
KERNEL resize(global const float *restrict x, int x_first, int x_line, int x_step, global const int *restrict lines,
              global const float *restrict line_weights, global const int *restrict columns,
              global const float *restrict column_weights, global float *restrict y, int y_first, int y_line, int y_step,
              int width, int groups) {
  const int line = get_global_id(1);
  const int top = lines[2 * line] * x_line + x_first, bottom = lines[2 * line + 1] * x_line + x_first;
  const float down = line_weights[line];
  EACH_PIXEL(width) {
    const int left = columns[2 * column] * x_step, right = columns[2 * column + 1] * x_step;
    const float along = column_weights[column];
    for (int g = 0; g < groups; g++) {
      const vec upper = load(x + top + left + g * VEC), lower = load(x + bottom + left + g * VEC);
      const vec upper_right = load(x + top + right + g * VEC), lower_right = load(x + bottom + right + g * VEC);
      const vec near = upper + (lower - upper) * down, far = upper_right + (lower_right - upper_right) * down;
      store(near + (far - near) * along, y + y_first + line * y_line + column * y_step + g * VEC);
    }
  }
}
#endif
