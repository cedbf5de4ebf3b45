/* Sound features like other programs'. Words: code, those that `front_end_prepare` reads, in its order. Arrays: 1 window,
 * 2 factors, 3 and 4 first and count of each band, 5 weights, 6 the transform, (bands, cepstra) of 16 bits. */
#include "cepstra.h"
#include "operators.h"
#include "spectrum.h"

enum { ZEROS, REFLECTED, MIRRORED };
enum { NO_ENERGY, RAW, WINDOWED, OF_SPECTRUM };
enum { NO_DELTAS, DIFFERENCES, SLOPES };

typedef struct {
    u32 samples;
    i32 first, beyond;
    Spectrum s; /* its own pre-emphasis is not used */
    i32 signal_preemphasis_q15, frame_preemphasis_q15, remove_mean, lift_max;
    u32 end;
    i32 magnitude;
    u32 bands;
    const i32 *band_first, *band_count;
    const i16 *weights;
    i32 factor_q29;
    i64 floor, offset_q16, least_q16, range_q16, gain_q16, level_q16;
    u32 cepstra, columns;
    i32 *transform; /* (cepstra, bands) of 32 bits */
    i32 transform_q;
    i32 energy;
    u32 energy_at;
    i64 energy_offset_q16, energy_least_q16;
    i32 normalise_mean, deltas, reach;
    u32 parts; /* 0: the points are a power of two */
} FrontEnd;

#define FRONT_END_WORDS (1 + 25 + 16)

u32 front_end_prepare(Model *model) {
    FrontEnd *f = model->prepared = keep(sizeof(FrontEnd));
    if (f == NULL) return OUT_OF_MEMORY;
    if (words(model) != FRONT_END_WORDS) return BAD_REQUEST;
    u32 at = 1;
    Spectrum *s = &f->s;
    f->samples = (u32)word(model, at++);
    f->first = word(model, at++);
    f->beyond = word(model, at++);
    s->frames = (u32)word(model, at++);
    s->frame_samples = (u32)word(model, at++);
    s->hop_samples = (u32)word(model, at++);
    s->points = (u32)word(model, at++);
    s->points_log2 = (u32)word(model, at++);
    f->parts = (u32)word(model, at++);
    f->signal_preemphasis_q15 = word(model, at++);
    f->frame_preemphasis_q15 = word(model, at++);
    f->remove_mean = word(model, at++);
    f->lift_max = word(model, at++);
    f->end = (u32)word(model, at++);
    f->magnitude = word(model, at++);
    f->bands = (u32)word(model, at++);
    f->factor_q29 = word(model, at++);
    f->cepstra = (u32)word(model, at++);
    f->transform_q = word(model, at++);
    f->energy = word(model, at++);
    f->energy_at = (u32)word(model, at++);
    f->columns = (u32)word(model, at++);
    f->normalise_mean = word(model, at++);
    f->deltas = word(model, at++);
    f->reach = word(model, at++);
    i64 *wide[] = {&f->floor,    &f->offset_q16, &f->least_q16,         &f->range_q16,
                   &f->gain_q16, &f->level_q16,  &f->energy_offset_q16, &f->energy_least_q16};
    for (u32 i = 0; i < sizeof wide / sizeof wide[0]; i++, at += 2) *wide[i] = word64(model, at);

    if (s->points_log2 < 2 || s->points_log2 > 11 || s->points > 1u << s->points_log2) return BAD_REQUEST;
    if (s->frame_samples > s->points || s->frame_samples < 1 || s->frames < 1 || s->hop_samples < 1) return BAD_REQUEST;
    if (f->samples < 1 || f->samples > 1u << 24 || (f->samples < 2 && f->beyond == REFLECTED)) return BAD_REQUEST;
    if (f->end < 1 || f->end > s->points / 2 + 1 || f->bands > 1u << 16 || f->cepstra > f->bands) return BAD_REQUEST;
    if (f->columns < f->cepstra || f->columns > f->cepstra + 1 + f->bands) return BAD_REQUEST;
    if ((u64)s->frames * (f->bands + 4 * f->columns) > 1u << 24) return BAD_REQUEST;
    if (f->deltas == SLOPES && (f->reach < 1 || f->reach > 1024)) return BAD_REQUEST;
    if (f->energy != NO_ENERGY && f->energy_at >= f->columns) return BAD_REQUEST;
    int is_fast = s->points == 1u << s->points_log2;
    u32 factors = is_fast ? s->points / 2 + 1 : s->points;
    if (is_fast ? f->parts != 0 : f->parts < 1 || f->parts > s->points || s->points % f->parts != 0) return BAD_REQUEST;
    if (!has(model, 1, s->frame_samples * 2) || !has(model, 2, factors * sizeof(Complex))) return BAD_REQUEST;
    if (!has(model, 3, f->bands * 4) || !has(model, 4, f->bands * 4)) return BAD_REQUEST;
    s->samples = s->frame_samples;
    s->window_q15 = model->arrays[1].data;
    s->factors_q14 = model->arrays[2].data;
    f->band_first = model->arrays[3].data;
    f->band_count = model->arrays[4].data;
    u32 weights = 0;
    for (u32 band = 0; band < f->bands; band++) {
        u32 first = (u32)f->band_first[band], count = (u32)f->band_count[band];
        if (first > f->end || count > f->end - first) return BAD_REQUEST;
        weights += count;
    }
    if (!has(model, 5, weights * 2) || !has(model, 6, f->bands * f->cepstra * 2)) return BAD_REQUEST;
    f->weights = model->arrays[5].data;
    f->transform = keep(f->bands * f->cepstra * 4);
    if (f->transform == NULL) return OUT_OF_MEMORY;
    const i16 *from = model->arrays[6].data;
    for (u32 band = 0; band < f->bands; band++) {
        for (u32 c = 0; c < f->cepstra; c++) f->transform[c * f->bands + band] = *from++;
    }
    return DONE;
}

/* A frame in Q30, without its mean. What is beyond the signal stands as `beyond` says. */
static void cut(const FrontEnd *f, const i16 *x, u32 frame, i64 *to) {
    i32 at = f->first + (i32)(frame * f->s.hop_samples), samples = (i32)f->samples, k = f->signal_preemphasis_q15;
    i32 count = (i32)f->s.frame_samples;
    i64 sum = 0;
    for (i32 i = 0; i < count; i++, at++) {
        i32 place = at;
        while (f->beyond != ZEROS && (place < 0 || place >= samples)) {
            i32 again = f->beyond == MIRRORED;
            place = place < 0 ? -place - again : 2 * (samples - 1) - place + again;
        }
        i64 value = 0;
        if (place >= 0 && place < samples) {
            value = (i64)x[place] << 15;
            if (k != 0 && place > 0) value -= mul(x[place - 1], k);
        }
        to[i] = value;
        sum += value;
    }
    if (!f->remove_mean) return;
    i64 mean = divided(sum, count);
    for (i32 i = 0; i < count; i++) to[i] -= mean;
}

/* A frame pre-emphasised by itself, shifted just so far that no point of its spectrum can be above 2^30. Returns by how
 * many bits it is above the Q that it would have if it filled [-1, 1). */
static i32 scale(const FrontEnd *f, const i64 *frame, i64 *emphasised, i32 *to) {
    i32 q = 30, count = (i32)f->s.frame_samples, k = f->frame_preemphasis_q15;
    const i64 *from = frame;
    u64 all = 0;
    if (k != 0) {
        i64 before = frame[0];
        for (i32 i = 0; i < count; i++) {
            i64 here = frame[i];
            emphasised[i] = (i64)((u64)here << 15) - before * k;
            before = here;
        }
        from = emphasised;
        q = 45;
    }
    /* Values have as many bits as their union. */
    for (i32 i = 0; i < count; i++) all |= from[i] < 0 ? 0 - (u64)from[i] : (u64)from[i];
    i32 lift = q - bit_length(all), bits;
    if (lift > f->lift_max) lift = f->lift_max;
    bits = q - 30 + (i32)f->s.points_log2 - lift;
    for (i32 i = 0; i < count; i++) to[i] = (i32)shifted(from[i], bits);
    return lift;
}

/* As spectrum.c does it for itself. */
static void weigh(const FrontEnd *f, const i32 *x, i32 *to) {
    for (u32 i = 0; i < f->s.frame_samples; i++) to[i] = (i32)(mul_add(1 << 14, x[i], f->s.window_q15[i]) >> 15);
}

/* Points that are no power of two, dealt out to parts: each part's own transform, then a point's sum over all parts. */
static void power_by_parts(const FrontEnd *f, const i32 *weighed, Complex *part_points, i64 *power) {
    u32 points = f->s.points, count = f->s.frame_samples, parts = f->parts, size = points / parts;
    const Complex *factors = f->s.factors_q14;
    for (u32 part = 0; part < parts; part++) {
        for (u32 r = 0; r < size; r++) {
            i64 real = 1 << 13, imaginary = 1 << 13;
            u32 turn = 0, step = parts * r;
            for (u32 i = part; i < count; i += parts) {
                real = mul_add(real, weighed[i], factors[turn].r);
                imaginary = mul_add(imaginary, weighed[i], factors[turn].i);
                turn += step;
                if (turn >= points) turn -= points;
            }
            part_points[r * parts + part] = (Complex){(i32)(real >> 14), (i32)(imaginary >> 14)};
        }
    }
    for (u32 k = 0, r = 0; k < f->end; k++) {
        i64 real = 1 << 13, imaginary = 1 << 13;
        const Complex *z = part_points + r * parts;
        u32 turn = 0;
        for (u32 part = 0; part < parts; part++) {
            Complex factor = factors[turn];
            real = mul_sub(mul_add(real, z[part].r, factor.r), z[part].i, factor.i);
            imaginary = mul_add(mul_add(imaginary, z[part].r, factor.i), z[part].i, factor.r);
            turn += k;
            if (turn >= points) turn -= points;
        }
        i32 x = (i32)(real >> 14), y = (i32)(imaginary >> 14);
        power[k] = mul_add(mul(x, x), y, y);
        if (++r == size) r = 0;
    }
}

/* The greatest integer whose square is not above x < 2^62, bit by bit. */
static u32 root(u64 x) {
    u64 result = 0, bit = (u64)1 << 60;
    while (bit > x) bit >>= 2;
    for (; bit != 0; bit >>= 2) {
        if (x >= result + bit) {
            x -= result + bit;
            result = (result >> 1) + bit;
        } else {
            result >>= 1;
        }
    }
    return (u32)result;
}

static i32 to_roots(i64 *power, u32 end) {
    /* Powers have as many bits as their union. */
    u64 all = 0;
    for (u32 k = 0; k < end; k++) all |= (u64)power[k];
    i32 bits = (62 - bit_length(all)) / 2;
    for (u32 k = 0; k < end; k++) power[k] = root((u64)power[k] << (2 * bits));
    return bits;
}

/* Of a spectrum that is `lift` bits above what it stands for. */
static void to_logs(const FrontEnd *f, const i64 *spectrum, i32 lift, i32 *to) {
    i64 floor = lift > 0 ? (i64)((u64)f->floor << lift) : f->floor >> -lift;
    const i16 *weight = f->weights;
    for (u32 band = 0; band < f->bands; band++) {
        const i64 *points = spectrum + f->band_first[band];
        u32 count = (u32)f->band_count[band];
        u64 all = 0;
        i64 energy = 0;
        for (u32 k = 0; k < count; k++) all |= (u64)points[k];
        i32 bits = max32(bit_length(all) - 30, 0);
        for (u32 k = 0; k < count; k++) energy = mul_add(energy, (i32)(points[k] >> bits), weight[k]);
        weight += count;
        energy += floor >> bits;
        i64 log = f->least_q16;
        if (energy != 0 || f->floor != 0) {
            i64 log2 = (i64)log2_q16(energy > 1 ? (u64)energy : 1) + ((i64)(bits - lift) << 16) + f->offset_q16;
            log = saturated32(shifted(log2 * f->factor_q29, 29));
            if (log < f->least_q16) log = f->least_q16;
        }
        to[band] = (i32)log;
    }
}

static i32 energy_of(const FrontEnd *f, const i64 *frame, const i32 *weighed, const i64 *spectrum, i32 lift) {
    i64 energy = 0;
    i32 bits = -2 * lift;
    if (f->energy == RAW) {
        bits = 0;
        for (u32 i = 0; i < f->s.frame_samples; i++) {
            i32 value = (i32)shifted(frame[i], 10);
            energy = mul_add(energy, value, value);
        }
    } else if (f->energy == WINDOWED) {
        for (u32 i = 0; i < f->s.frame_samples; i++) energy = mul_add(energy, weighed[i], weighed[i]);
    } else {
        u64 all = 0;
        for (u32 k = 0; k < f->end; k++) all |= (u64)spectrum[k];
        i32 narrower = max32(bit_length(all) - 50, 0);
        for (u32 k = 0; k < f->end; k++) energy += spectrum[k] >> narrower;
        bits += narrower;
    }
    if (energy == 0) return (i32)f->energy_least_q16;
    i64 log2 = (i64)log2_q16((u64)energy) + ((i64)bits << 16) + f->energy_offset_q16;
    i64 log = saturated32(shifted(log2 * LN2_Q31, 31));
    return (i32)(log < f->energy_least_q16 ? f->energy_least_q16 : log);
}

static void level(const FrontEnd *f, i32 *logs, u32 count) {
    i64 least = I32_MIN;
    if (f->range_q16 != 0) {
        i32 greatest = I32_MIN;
        for (u32 i = 0; i < count; i++) greatest = max32(greatest, logs[i]);
        least = greatest - f->range_q16;
    }
    for (u32 i = 0; i < count; i++) {
        i64 log = logs[i] < least ? least : logs[i];
        logs[i] = saturated32(shifted(log * f->gain_q16, 16) + f->level_q16);
    }
}

/* The slope of column c at row t of rows that are `pitch` apart. */
static i32 slope(const i32 *rows, i32 frames, u32 pitch, i32 t, i32 reach, u32 c, i64 divisor) {
    i64 sum = 0;
    for (i32 i = 1; i <= reach; i++) {
        sum += (i64)i * ((i64)row(rows, frames, pitch, t + i)[c] - row(rows, frames, pitch, t - i)[c]);
    }
    return saturated32(divided(sum, divisor));
}

static void add_slopes(const FrontEnd *f, const i32 *rows, i32 *to) {
    i32 frames = (i32)f->s.frames, reach = f->reach;
    u32 width = f->columns;
    i64 divisor = (i64)reach * (reach + 1) * (2 * reach + 1) / 3;
    for (i32 t = 0; t < frames; t++) {
        for (u32 c = 0; c < width; c++) {
            to[(u32)t * 3 * width + c] = rows[(u32)t * width + c];
            to[(u32)t * 3 * width + width + c] = slope(rows, frames, width, t, reach, c, divisor);
        }
    }
    for (i32 t = 0; t < frames; t++) {
        for (u32 c = 0; c < width; c++) {
            to[(u32)t * 3 * width + 2 * width + c] = slope(to + width, frames, 3 * width, t, reach, c, divisor);
        }
    }
}

u32 front_end_run(const Model *model, const Array *inputs, u32 count, Array *output) {
    const FrontEnd *f = model->prepared;
    u32 frames = f->s.frames, bands = f->bands, width = f->columns, samples = f->s.frame_samples;
    if (count != 1 || inputs[0].bytes < f->samples * 2) return BAD_REQUEST;
    i64 *frame = scratch(samples * 8), *emphasised = scratch(samples * 8);
    SpectrumRun run = {scratch(samples * 4), scratch(f->s.points * sizeof(Complex)), scratch((f->s.points / 2 + 1) * 8)};
    i32 *weighed = scratch(samples * 4), *logs = scratch(frames * bands * 4);
    i32 *energies = scratch(frames * 4);
    if (frame == NULL || emphasised == NULL || run.signal == NULL || run.z == NULL || run.power == NULL) return OUT_OF_MEMORY;
    if (weighed == NULL || logs == NULL || energies == NULL) return OUT_OF_MEMORY;
    for (u32 t = 0; t < frames; t++) {
        cut(f, inputs[0].data, t, frame);
        i32 lift = scale(f, frame, emphasised, run.signal);
        if (f->parts != 0 || f->energy == WINDOWED) weigh(f, run.signal, weighed);
        if (f->parts != 0) {
            power_by_parts(f, weighed, run.z, run.power);
        } else {
            spectrum_power(&f->s, &run, 0, 0, f->end);
        }
        if (f->energy != NO_ENERGY) energies[t] = energy_of(f, frame, weighed, run.power, lift);
        lift = f->magnitude ? lift + to_roots(run.power, f->end) : 2 * lift;
        to_logs(f, run.power, lift, logs + t * bands);
    }
    level(f, logs, frames * bands);
    *output = (Array){frames * bands * 4, logs};
    if (f->cepstra == 0) return DONE;
    i32 *rows = scratch(frames * width * 4);
    if (rows == NULL) return OUT_OF_MEMORY;
    for (u32 t = 0; t < frames; t++) {
        const i32 *log = logs + t * bands, *factor = f->transform;
        for (u32 c = 0; c < f->cepstra; c++, factor += bands) {
            i64 sum = 0;
            for (u32 band = 0; band < bands; band++) sum = mul_add(sum, log[band], factor[band]);
            rows[t * width + c] = saturated32(shifted(sum, f->transform_q));
        }
        if (f->energy != NO_ENERGY) rows[t * width + f->energy_at] = energies[t];
    }
    if (f->normalise_mean) subtract_means(rows, frames, width);
    *output = (Array){frames * width * 4, rows};
    if (f->deltas == NO_DELTAS) return DONE;
    i32 *wide = scratch(frames * width * 12);
    if (wide == NULL) return OUT_OF_MEMORY;
    if (f->deltas == SLOPES) {
        add_slopes(f, rows, wide);
    } else {
        add_deltas(rows, (i32)frames, width, wide);
    }
    *output = (Array){frames * width * 12, wide};
    return DONE;
}
