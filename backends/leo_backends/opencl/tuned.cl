// The tuned family. Parameters, given as -D options and searched by the tuner:
//
//   VEC    lanes of a vector along outputs (components)        1, 2, 4, 8 or 16
//   COLS   vectors a work-item
//   ROWS   rows (frames) a work-item
//   LX     work-items a work-group, side by side along outputs; neighbours read neighbouring vectors
//   ORDER  1: neighbouring work-groups take neighbouring rows, 0: neighbouring outputs
//   STAGE  0, or how many values of each row a work-group brings to local memory at a time
//   HALF   1: weights are stored in half precision; sums are in single
//
// Weights are repacked when a stage is loaded so that every work-item reads one unbroken stream:
// w[work-group along outputs][input][COLS][LX][VEC]. Rows and outputs are padded to whole tiles, so that no kernel has
// a guard: what lies in the padding is computed and never read. `fma` and `fmax` are calls on some CPU devices; a
// contracted a * b + c and a select are not.

#pragma OPENCL FP_CONTRACT ON

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#if VEC == 1
#define vec float
#define ivec int
#define as_ivec as_int
#define as_vec as_float
#define put(v, p) (*(p) = (v))
#else
#define vec JOIN(float, VEC)
#define ivec JOIN(int, VEC)
#define as_ivec JOIN(as_int, VEC)
#define as_vec JOIN(as_float, VEC)
#define put(v, p) JOIN(vstore, VEC)(v, 0, p)
#endif

#if HALF
typedef half weight;
#if VEC == 1
#define get(p, i) vload_half(i, p)
#else
#define get(p, i) JOIN(vload_half, VEC)(i, p)
#endif
#else
typedef float weight;
#define get(p, i) (((global const vec *)(p))[i])
#endif

#define LINEAR 0
#define RELU 1
#define SIGMOID 2
#define TANH 3
#define LOG 4
#define POWER 5

// 2^x: x is cut into a whole part, which becomes the exponent, and a rest in [-0.5, 0.5], whose power of two is its
// Taylor series of eight terms (relative error below 1e-8, so single precision's own rounding is what is left).
vec exp2_(vec x) {
  x = x < -126.0f ? (vec)(-126.0f) : x;
  x = x > 127.0f ? (vec)(127.0f) : x;
  const vec shifted = x + 12582912.0f; // 1.5 * 2^23: the sum's lowest bits hold the nearest whole number
  const vec f = x - (shifted - 12582912.0f);
  vec p = (vec)(1.5252734e-5f);
  p = p * f + 1.5403530e-4f;
  p = p * f + 1.3333558e-3f;
  p = p * f + 9.6181291e-3f;
  p = p * f + 5.5504109e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  return as_vec(as_ivec(p) + (as_ivec(shifted) << 23));
}

#define LOG2_E 1.44269504f
#define LN_2 0.69314718f

#ifdef AFFINE
#if ACT == POWER
#define OUT (COLS / 2)
#define RESULT(r, c) (sums[r][2 * (c)] * sums[r][2 * (c)] + sums[r][2 * (c) + 1] * sums[r][2 * (c) + 1])
#else
#define OUT COLS
#define RESULT(r, c) activate(sums[r][c], floor_)
#endif

vec activate(vec v, float floor_) {
#if ACT == RELU
  return v > 0.0f ? v : (vec)(0.0f);
#elif ACT == SIGMOID
  return 1.0f / (1.0f + exp2_(v * -LOG2_E));
#elif ACT == TANH
  return 1.0f - 2.0f / (1.0f + exp2_(v * (2.0f * LOG2_E)));
#elif ACT == LOG
  return log(v + floor_);
#else
  return v;
#endif
}

// y[r, :] = act(b + x_r W), a tile of ROWS x (COLS * VEC) a work-item, held in registers; x_r begins at first + r * pitch.
// ACT == POWER: even and odd vectors are real and imaginary parts, and y is the sum of their squares.
kernel __attribute__((reqd_work_group_size(ORDER ? 1 : LX, ORDER ? LX : 1, 1))) void
affine(global const float *restrict x, int first, int pitch, global const weight *restrict w, global const vec *restrict b,
       global float *restrict y, int inputs, int outputs, float floor_) {
  const int column = get_global_id(ORDER ? 1 : 0), tile = get_global_id(ORDER ? 0 : 1);
  const int lx = column % LX, group = column / LX;
  const int y_pitch = (outputs + OUT * LX * VEC - 1) / (OUT * LX * VEC) * (OUT * LX * VEC);
  global const float *rows = x + first + (size_t)tile * ROWS * pitch;
  w += (size_t)group * inputs * (COLS * LX * VEC);
  b += group * (COLS * LX);
  vec sums[ROWS][COLS];
#pragma unroll
  for (int c = 0; c < COLS; c++)
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      sums[r][c] = b[c * LX + lx];

#if STAGE
  local float staged[ROWS][STAGE];
  for (int done = 0; done < inputs; done += STAGE) {
    const int count = min(STAGE, inputs - done);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int r = 0; r < ROWS; r++)
      for (int i = lx; i < count; i += LX)
        staged[r][i] = rows[r * pitch + done + i];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < count; k++) {
      const int at = (done + k) * (COLS * LX) + lx;
#define VALUE(r) staged[r][k]
#else
  {
    for (int k = 0; k < inputs; k++) {
      const int at = k * (COLS * LX) + lx;
#define VALUE(r) rows[(r)*pitch + k]
#endif
      vec weights[COLS];
#pragma unroll
      for (int c = 0; c < COLS; c++)
        weights[c] = get(w, at + c * LX);
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const vec value = (vec)(VALUE(r));
#pragma unroll
        for (int c = 0; c < COLS; c++)
          sums[r][c] = value * weights[c] + sums[r][c];
      }
    }
  }

#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int c = 0; c < OUT; c++)
      put(RESULT(r, c), y + (size_t)(tile * ROWS + r) * y_pitch + ((group * OUT + c) * LX + lx) * VEC);
}
#endif

#ifdef GMM
// y[r, c] = ln of the mixture's density. A component's exponent, in powers of two, is
// offsets - sum_d (x_d scales_d - centres_d)^2 with scales = sqrt(0.5 log2(e) / variance), centres = mean * scale: two
// multiply-adds a dimension. The sum over components goes along with a running greatest exponent, lane by lane.
// w[class][tile of components][dimension][scale, centre][COLS][LX][VEC]; padding components have offset -1e30.
kernel __attribute__((reqd_work_group_size(LX, 1, 1))) void
gmm(global const float *restrict x, int first, int pitch, global const weight *restrict w, global const vec *restrict offsets,
    global float *restrict y, int classes, int components, int dimensions) {
  const int lx = get_local_id(0), tile = get_group_id(0), class_ = get_group_id(1);
  const int tiles = (components + COLS * LX * VEC - 1) / (COLS * LX * VEC);
  global const float *rows = x + first + (size_t)tile * ROWS * pitch;
  w += (size_t)class_ * tiles * dimensions * (2 * COLS * LX * VEC);
  offsets += (size_t)class_ * tiles * (COLS * LX);
  vec most[ROWS], sum[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    most[r] = (vec)(-1e30f);
    sum[r] = (vec)(0.0f);
  }
  for (int t = 0; t < tiles; t++) {
    vec term[ROWS][COLS];
#pragma unroll
    for (int c = 0; c < COLS; c++)
#pragma unroll
      for (int r = 0; r < ROWS; r++)
        term[r][c] = offsets[(t * COLS + c) * LX + lx];
    for (int d = 0; d < dimensions; d++) {
      const int at = (t * dimensions + d) * (2 * COLS * LX) + lx;
      vec scales[COLS], centres[COLS];
#pragma unroll
      for (int c = 0; c < COLS; c++) {
        scales[c] = get(w, at + c * LX);
        centres[c] = get(w, at + (COLS + c) * LX);
      }
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const vec value = (vec)(rows[r * pitch + d]);
#pragma unroll
        for (int c = 0; c < COLS; c++) {
          const vec from_mean = value * scales[c] - centres[c];
          term[r][c] = term[r][c] - from_mean * from_mean;
        }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      vec greatest = most[r];
#pragma unroll
      for (int c = 0; c < COLS; c++)
        greatest = term[r][c] > greatest ? term[r][c] : greatest;
      sum[r] = sum[r] * exp2_(most[r] - greatest);
#pragma unroll
      for (int c = 0; c < COLS; c++)
        sum[r] = sum[r] + exp2_(term[r][c] - greatest);
      most[r] = greatest;
    }
  }

  // The lanes' sums, of all work-items of the group, become one.
  local float lane_most[LX * VEC], lane_sum[LX * VEC];
  for (int r = 0; r < ROWS; r++) {
    barrier(CLK_LOCAL_MEM_FENCE);
#if VEC == 1
    lane_most[lx] = most[r];
    lane_sum[lx] = sum[r];
#else
    JOIN(vstore, VEC)(most[r], lx, lane_most);
    JOIN(vstore, VEC)(sum[r], lx, lane_sum);
#endif
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lx == 0) {
      float greatest = lane_most[0], total = 0.0f;
      for (int i = 1; i < LX * VEC; i++)
        greatest = lane_most[i] > greatest ? lane_most[i] : greatest;
      for (int i = 0; i < LX * VEC; i++)
        total += lane_sum[i] * exp2(lane_most[i] - greatest);
      y[(size_t)(tile * ROWS + r) * classes + class_] = (greatest + log2(total)) * LN_2;
    }
  }
}
#endif
