/* The program's beginning, its two system calls, its memory, and the loop that serves the host.
 *
 * A message is a header of four little-endian words and a payload. A payload is a word that counts arrays, a word of
 * length in bytes for each, and the arrays, each at the next multiple of 8.
 *
 *     host -> here   LOAD, model, payload bytes, 0     payload: [operator code, parameters...], weights...
 *                    RUN,  model, payload bytes, 0     payload: inputs
 *     here -> host   status, packets, instructions, payload bytes     payload: one array, without a count
 *
 * The packets and instructions are of the operator alone: what is read and written is not counted.
 */
#include "dsp.h"

#define MODELS 256
#define KEPT_BYTES (96u << 20)
#define REQUEST_BYTES (32u << 20)
#define SCRATCH_BYTES (64u << 20)

enum { LOAD = 1, RUN = 2 };
enum { READ = 63, WRITE = 64, EXIT = 94 };

static u8 kept_memory[KEPT_BYTES] __attribute__((aligned(VECTOR_BYTES)));
static u8 request_memory[REQUEST_BYTES] __attribute__((aligned(VECTOR_BYTES)));
static u8 scratch_memory[SCRATCH_BYTES] __attribute__((aligned(VECTOR_BYTES)));
static u32 kept_used, scratch_used;
static Model models[MODELS];

__asm__(".globl _start\n_start:\n  r29 = and(r29, #-128)\n  call serve\n");

static i32 system_call(i32 number, i32 a, i32 b, i32 c) {
    register i32 r0 __asm__("r0") = a;
    register i32 r1 __asm__("r1") = b;
    register i32 r2 __asm__("r2") = c;
    register i32 r6 __asm__("r6") = number;
    __asm__ volatile("trap0(#1)" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r6) : "memory");
    return r0;
}

/* The counters have no name in the assembler: these are the encoded moves of control registers 20 and 21 to r0. */
static inline u32 packets(void) {
    register u32 r0 __asm__("r0");
    __asm__ volatile(".word 0x6a14c000" : "=r"(r0)::"memory");
    return r0;
}

static inline u32 instructions(void) {
    register u32 r0 __asm__("r0");
    __asm__ volatile(".word 0x6a15c000" : "=r"(r0)::"memory");
    return r0;
}

static void leave(i32 code) {
    for (;;) system_call(EXIT, code, 0, 0);
}

/* The end of the host's pipe is the end of the program. */
static void receive(void *target, u32 bytes) {
    for (u8 *at = target; bytes > 0;) {
        i32 got = system_call(READ, 0, (i32)at, (i32)bytes);
        if (got <= 0) leave(got == 0 ? 0 : 1);
        at += got;
        bytes -= (u32)got;
    }
}

static void discard(u32 bytes) {
    while (bytes > 0) {
        u32 part = bytes < REQUEST_BYTES ? bytes : REQUEST_BYTES;
        receive(request_memory, part);
        bytes -= part;
    }
}

static void send(const void *source, u32 bytes) {
    for (const u8 *at = source; bytes > 0;) {
        i32 sent = system_call(WRITE, 1, (i32)at, (i32)bytes);
        if (sent <= 0) leave(1);
        at += sent;
        bytes -= (u32)sent;
    }
}

static void *take(u8 *memory, u32 size, u32 *used, u32 bytes) {
    u32 rounded = (bytes + 2 * VECTOR_BYTES - 1) & ~(u32)(VECTOR_BYTES - 1);
    if (rounded < bytes || rounded > size - *used) return NULL;
    void *block = memory + *used;
    *used += rounded;
    return block;
}

void *keep(u32 bytes) { return take(kept_memory, KEPT_BYTES, &kept_used, bytes); }
void *scratch(u32 bytes) { return take(scratch_memory, SCRATCH_BYTES, &scratch_used, bytes); }

/* Read the arrays of a payload into memory from `allocate`; `count` gets how many there are. */
static u32 unpack(u32 bytes, void *(*allocate)(u32), Array *arrays, u32 *count) {
    const u32 *head = (const u32 *)request_memory;
    if (bytes < 4 || head[0] > MAX_ARRAYS || 4 + 4 * head[0] > bytes) return BAD_REQUEST;
    u32 at = 4 + 4 * head[0];
    for (u32 i = 0; i < head[0]; i++) {
        at = (at + 7) & ~7u;
        u32 length = head[1 + i];
        if (at > bytes || length > bytes - at) return BAD_REQUEST;
        arrays[i].bytes = length;
        arrays[i].data = allocate(length);
        if (arrays[i].data == NULL) return OUT_OF_MEMORY;
        memcpy(arrays[i].data, request_memory + at, length);
        at += length;
    }
    *count = head[0];
    return DONE;
}

static u32 load(Model *model, u32 bytes) {
    u32 before = kept_used;
    model->count = 0;
    model->prepared = NULL;
    u32 status = unpack(bytes, keep, model->arrays, &model->count);
    if (status == DONE && (model->count == 0 || words(model) == 0)) status = BAD_REQUEST;
    if (status == DONE) {
        model->operator_code = (u32)word(model, 0);
        status = model->operator_code < OPERATOR_COUNT ? OPERATORS[model->operator_code].prepare(model) : UNKNOWN_OPERATOR;
    }
    if (status != DONE) {
        model->count = 0;
        kept_used = before;
    }
    return status;
}

/* The arrays of the request in hand; static, for they are too many for a stack. */
static Array inputs[MAX_ARRAYS];

__attribute__((used)) static void serve(void) {
    for (;;) {
        u32 header[4], reply[4] = {DONE, 0, 0, 0};
        Array output = {0, NULL};
        receive(header, sizeof header);
        u32 bytes = header[2], count = 0;
        scratch_used = 0;
        if (bytes > REQUEST_BYTES) {
            discard(bytes);
            reply[0] = OUT_OF_MEMORY;
        } else {
            receive(request_memory, bytes);
            Model *model = header[1] < MODELS ? &models[header[1]] : NULL;
            if (model == NULL) {
                reply[0] = UNKNOWN_MODEL;
            } else if (header[0] == LOAD) {
                u32 p = packets(), i = instructions();
                reply[0] = load(model, bytes);
                reply[1] = packets() - p;
                reply[2] = instructions() - i;
            } else if (header[0] != RUN) {
                reply[0] = BAD_REQUEST;
            } else if (model->count == 0) {
                reply[0] = UNKNOWN_MODEL;
            } else if ((reply[0] = unpack(bytes, scratch, inputs, &count)) == DONE) {
                u32 p = packets(), i = instructions();
                reply[0] = OPERATORS[model->operator_code].run(model, inputs, count, &output);
                reply[1] = packets() - p;
                reply[2] = instructions() - i;
            }
        }
        reply[3] = reply[0] == DONE ? output.bytes : 0;
        send(reply, sizeof reply);
        send(output.data, reply[3]);
    }
}
