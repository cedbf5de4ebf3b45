// The naive family: one work-item an output, every array as the operator's file or the host lays it out. It is what a
// plain C loop becomes when its outer loops are cut off; the tuned family is measured against it.

#define LINEAR 0
#define RELU 1
#define SIGMOID 2
#define TANH 3
#define LOG 4

// y[r, o] = act(b[o] + sum_i x[first + r * pitch + i] * w[i, o]); row r of x begins at first + r * pitch.
kernel void affine(global const float *x, int first, int pitch, global const float *w, global const float *b, global float *y,
                   int inputs, int outputs, int act, float floor_) {
  const int o = get_global_id(0), r = get_global_id(1);
  float sum = b[o];
  for (int i = 0; i < inputs; i++)
    sum += x[first + r * pitch + i] * w[i * outputs + o];
  if (act == RELU)
    sum = sum > 0.0f ? sum : 0.0f;
  if (act == SIGMOID)
    sum = 1.0f / (1.0f + exp(-sum));
  if (act == TANH)
    sum = tanh(sum);
  if (act == LOG)
    sum = log(sum + floor_);
  y[r * outputs + o] = sum;
}

// y[r, o] = (x_r . re[:, o])^2 + (x_r . im[:, o])^2: a point of the power spectrum of frame r.
kernel void power(global const float *x, int first, int pitch, global const float *re, global const float *im, global float *y,
                  int inputs, int outputs) {
  const int o = get_global_id(0), r = get_global_id(1);
  float a = 0.0f, b = 0.0f;
  for (int i = 0; i < inputs; i++) {
    a += x[first + r * pitch + i] * re[i * outputs + o];
    b += x[first + r * pitch + i] * im[i * outputs + o];
  }
  y[r * outputs + o] = a * a + b * b;
}

// y[r, c] = ln sum_m exp(offsets[c, m] - 0.5 sum_d (x[r, d] - means[c, m, d])^2 / variances[c, m, d]), with a running
// greatest term and a sum relative to it.
kernel void gmm(global const float *x, int first, int pitch, global const float *means, global const float *variances,
                global const float *offsets, global float *y, int classes, int components, int dimensions) {
  const int c = get_global_id(1), r = get_global_id(0);
  float most = -INFINITY, sum = 0.0f;
  for (int m = 0; m < components; m++) {
    const int row = (c * components + m) * dimensions;
    float distance = 0.0f;
    for (int d = 0; d < dimensions; d++) {
      const float from_mean = x[first + r * pitch + d] - means[row + d];
      distance += from_mean * from_mean / variances[row + d];
    }
    const float term = offsets[c * components + m] - 0.5f * distance;
    if (term > most) {
      sum = sum * exp(most - term) + 1.0f;
      most = term;
    } else {
      sum += exp(term - most);
    }
  }
  y[r * classes + c] = most + log(sum);
}
