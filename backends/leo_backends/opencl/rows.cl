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
