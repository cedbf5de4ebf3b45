// Small steps that both families share: one work-item an output already is the natural cut.

// y[r, o] = exp(x[r, o]) / sum_j exp(x[r, j]), relative to the row's greatest value.
kernel void softmax(global const float *x, int pitch, global float *y, int y_pitch, int outputs) {
  const int o = get_global_id(0), r = get_global_id(1);
  global const float *row = x + r * pitch;
  float most = row[0], sum = 0.0f;
  for (int j = 1; j < outputs; j++)
    most = row[j] > most ? row[j] : most;
  for (int j = 0; j < outputs; j++)
    sum += exp(row[j] - most);
  y[r * y_pitch + o] = exp(row[o] - most) / sum;
}

// y[o] = the mean of x[:, o] over `rows` rows, in blocks of 64 so that single precision keeps up with long windows.
kernel void mean_rows(global const float *x, int pitch, global float *y, int rows) {
  const int o = get_global_id(0);
  float total = 0.0f;
  for (int first = 0; first < rows; first += 64) {
    float sum = 0.0f;
    for (int r = first; r < min(first + 64, rows); r++)
      sum += x[r * pitch + o];
    total += sum;
  }
  y[o] = total / rows;
}

// y[r, :] = cepstra less their means, then, with `deltas`, their first and second differences as Sphinx takes them.
kernel void cepstra(global const float *x, int pitch, global const float *means, global float *y, int y_pitch, int rows,
                    int count, int deltas) {
  const int i = get_global_id(0), r = get_global_id(1), last = rows - 1;
  y[r * y_pitch + i] = x[r * pitch + i] - means[i];
  if (!deltas)
    return;
#define ROW(t) x[clamp(t, 0, last) * pitch + i]
  y[r * y_pitch + count + i] = ROW(r + 2) - ROW(r - 2);
  y[r * y_pitch + 2 * count + i] = (ROW(r + 3) - ROW(r - 1)) - (ROW(r + 1) - ROW(r - 3));
}

// y[i] = the sample at place first + i, less `preemphasis` times the one before it in the signal. Beyond the signal of
// `samples` are zeros (beyond 0), its samples in reverse order without the last one (1) or with it (2).
kernel void edges(global const float *x, int samples, global float *y, int first, int beyond, float preemphasis) {
  const int i = get_global_id(0);
  int at = first + i;
  if (beyond == 0 && (at < 0 || at >= samples)) {
    y[i] = 0.0f;
    return;
  }
  while (at < 0 || at >= samples)
    at = (at < 0 ? 0 : 2 * (samples - 1)) - at + (beyond == 2 ? (at < 0 ? -1 : 1) : 0);
  y[i] = x[at] - (at > 0 ? preemphasis * x[at - 1] : 0.0f);
}

// y[r, o] = the root of x[r, o].
kernel void roots(global const float *x, int pitch, global float *y, int y_pitch) {
  const int o = get_global_id(0), r = get_global_id(1);
  y[r * y_pitch + o] = sqrt(x[r * pitch + o]);
}

// y[r, o] = factor ln(x[r, o] + least), or with `clips` factor ln(x[r, o]) of what is not below `least`.
kernel void logarithms(global const float *x, int pitch, global float *y, int y_pitch, float least, int clips, float factor) {
  const int o = get_global_id(0), r = get_global_id(1);
  const float value = x[r * pitch + o];
  y[r * y_pitch + o] = factor * log(clips ? fmax(value, least) : value + least);
}

// y[o] = the greatest of x[:, o].
kernel void greatest_row(global const float *x, int pitch, global float *y, int rows) {
  const int o = get_global_id(0);
  float most = x[o];
  for (int r = 1; r < rows; r++)
    most = fmax(most, x[r * pitch + o]);
  y[o] = most;
}

// y[r, o] = gain x[r, o] + offset, where x is first raised to `range` below the greatest of most[0 .. columns - 1]; a
// range of 0 raises nothing.
kernel void levels(global const float *x, int pitch, global const float *most, int columns, global float *y, int y_pitch,
                   float range, float gain, float offset) {
  const int o = get_global_id(0), r = get_global_id(1);
  float value = x[r * pitch + o];
  if (range > 0.0f) {
    float greatest = most[0];
    for (int j = 1; j < columns; j++)
      greatest = fmax(greatest, most[j]);
    value = fmax(value, greatest - range);
  }
  y[r * y_pitch + o] = gain * value + offset;
}

// y[r, o] = x[r, o], but for column `at`: the logarithm of the energy of frame r, whose samples begin at r * hop. Their
// mean is subtracted with `centred`, then `preemphasis` times the sample before (the first one stands for its own), and
// each is weighed.
kernel void with_frame_energy(global const float *x, int pitch, global const float *signal, int hop, int samples,
                              global const float *weights, int centred, float preemphasis, float least, global float *y,
                              int y_pitch, int at) {
  const int o = get_global_id(0), r = get_global_id(1);
  if (o != at) {
    y[r * y_pitch + o] = x[r * pitch + o];
    return;
  }
  global const float *frame = signal + r * hop;
  float mean = 0.0f, energy = 0.0f;
  if (centred) {
    for (int i = 0; i < samples; i++)
      mean += frame[i];
    mean /= samples;
  }
  float before = frame[0] - mean;
  for (int i = 0; i < samples; i++) {
    const float here = frame[i] - mean, value = (here - preemphasis * before) * weights[i];
    energy += value * value;
    before = here;
  }
  y[r * y_pitch + at] = log(fmax(energy, least));
}

// y[r, o] = x[r, o], but for column `at`: the logarithm of the sum of the points of spectrum r.
kernel void with_spectrum_energy(global const float *x, int pitch, global const float *spectrum, int spectrum_pitch,
                                 int points, float least, global float *y, int y_pitch, int at) {
  const int o = get_global_id(0), r = get_global_id(1);
  if (o != at) {
    y[r * y_pitch + o] = x[r * pitch + o];
    return;
  }
  float energy = 0.0f;
  for (int k = 0; k < points; k++)
    energy += spectrum[r * spectrum_pitch + k];
  y[r * y_pitch + at] = log(fmax(energy, least));
}

// The slope of column i at row t, over `reach` rows on both sides; the first and the last row stand for those beyond.
float slope(global const float *x, int pitch, int last, int i, int t, int reach) {
  float sum = 0.0f;
  for (int n = 1; n <= reach; n++)
    sum += n * (x[min(t + n, last) * pitch + i] - x[max(t - n, 0) * pitch + i]);
  return sum;
}

// y[r, :] = cepstra less their means, their slopes, and the slopes of those; `scale` is 1 / (2 sum n^2).
kernel void cepstra_slopes(global const float *x, int pitch, global const float *means, global float *y, int y_pitch,
                           int rows, int count, int reach, float scale) {
  const int i = get_global_id(0), r = get_global_id(1), last = rows - 1;
  y[r * y_pitch + i] = x[r * pitch + i] - means[i];
  y[r * y_pitch + count + i] = scale * slope(x, pitch, last, i, r, reach);
  float sum = 0.0f;
  for (int n = 1; n <= reach; n++)
    sum += n * (slope(x, pitch, last, i, min(r + n, last), reach) - slope(x, pitch, last, i, max(r - n, 0), reach));
  y[r * y_pitch + 2 * count + i] = scale * scale * sum;
}
