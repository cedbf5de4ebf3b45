/* What every file of the program shares: types, messages, memory, counters and saturating arithmetic. */
#ifndef LEO_DSP_H
#define LEO_DSP_H

typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define NULL ((void *)0)
#define I16_MAX 32767
#define I16_MIN (-32768)
#define I32_MAX 2147483647
#define I32_MIN (-2147483647 - 1)
#define VECTOR_BYTES 128

/* One array of a message. `data` is aligned to VECTOR_BYTES. */
typedef struct {
    u32 bytes;
    void *data;
} Array;

#define MAX_ARRAYS 256

/* A loaded stage: its parameters are array 0 (32-bit words), the weights are the others. */
typedef struct {
    u32 operator_code;
    u32 count;
    Array arrays[MAX_ARRAYS];
    void *prepared; /* whatever the operator's `prepare` made of the weights */
} Model;

/* What the host is told. */
enum { DONE = 0, BAD_REQUEST = 1, OUT_OF_MEMORY = 2, UNKNOWN_OPERATOR = 3, UNKNOWN_MODEL = 4 };

typedef struct {
    u32 (*prepare)(Model *model);
    u32 (*run)(const Model *model, const Array *inputs, u32 count, Array *output);
} Operator;

extern const Operator OPERATORS[];
extern const u32 OPERATOR_COUNT;

/* Memory that lives as long as the model being loaded, or until the end of the request. NULL when there is none left.
 * Both give blocks aligned to VECTOR_BYTES with VECTOR_BYTES of slack behind them, so that loops may read past an end, and
 * vectors be written over one. */
void *keep(u32 bytes);
void *scratch(u32 bytes);

/* Loops that are short, or of 64 bits: vectors of them are longer than what they replace, and take long to compile. */
#define ONE_BY_ONE _Pragma("clang loop vectorize(disable)")

void *memcpy(void *target, const void *source, u32 bytes);
void *memset(void *target, int value, u32 bytes);

static inline i32 word(const Model *model, u32 index) { return ((const i32 *)model->arrays[0].data)[index]; }
/* Two words from `index` on, the low one first. */
static inline i64 word64(const Model *model, u32 index) {
    return (i64)((u64)(u32)word(model, index) | ((u64)(u32)word(model, index + 1) << 32));
}
static inline u32 words(const Model *model) { return model->arrays[0].bytes / 4; }

/* Whether array `index` is there and holds so many bytes. */
static inline int has(const Model *model, u32 index, u32 bytes) {
    return index < model->count && model->arrays[index].bytes == bytes;
}

/* Products of 32 bits and their sums in 64. Said by name: from (i64)a * b in a loop the compiler often makes three. */
static inline i64 mul(i32 a, i32 b) { return __builtin_HEXAGON_M2_dpmpyss_s0(a, b); }
static inline i64 mul_add(i64 sum, i32 a, i32 b) { return __builtin_HEXAGON_M2_dpmpyss_acc_s0(sum, a, b); }
static inline i64 mul_sub(i64 sum, i32 a, i32 b) { return __builtin_HEXAGON_M2_dpmpyss_nac_s0(sum, a, b); }

static inline i32 sub_sat(i32 a, i32 b) { return __builtin_HEXAGON_A2_subsat(a, b); }
static inline i32 max32(i32 a, i32 b) { return a > b ? a : b; }

#endif
