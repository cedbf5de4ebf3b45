/* What the compiler calls by itself where there is no library: copies, and divisions the processor does not have. */
#include "dsp.h"

/* Without this the compiler would turn the loop of memcpy into a call of memcpy. */
#define PLAIN(name) __attribute__((no_builtin(name)))

PLAIN("memcpy") void *memcpy(void *target, const void *source, u32 bytes) {
    u8 *to = target;
    const u8 *from = source;
    if ((((u32)to | (u32)from) & 7) == 0) {
        for (; bytes >= 8; bytes -= 8, to += 8, from += 8) *(u64 *)to = *(const u64 *)from;
    }
    for (; bytes > 0; bytes--) *to++ = *from++;
    return target;
}

PLAIN("memset") void *memset(void *target, int value, u32 bytes) {
    u8 *to = target;
    if (((u32)to & 7) == 0) {
        u64 eight = 0x0101010101010101ull * (u8)value;
        for (; bytes >= 8; bytes -= 8, to += 8) *(u64 *)to = eight;
    }
    for (; bytes > 0; bytes--) *to++ = (u8)value;
    return target;
}

/* The optimised copy the compiler prefers for whole, aligned eights. */
void *copy_eights(void *target, const void *source, u32 bytes) __asm__("__hexagon_memcpy_likely_aligned_min32bytes_mult8bytes");
void *copy_eights(void *target, const void *source, u32 bytes) { return memcpy(target, source, bytes); }

static inline u64 divide(u64 a, u64 b, u64 *rest) {
    if (b == 0) {
        *rest = a;
        return 0;
    }
    if (a < b) {
        *rest = a;
        return 0;
    }
    u32 shift = (u32)(__builtin_clzll(b) - __builtin_clzll(a));
    u64 quotient = 0;
    for (u64 part = b << shift;; part >>= 1) {
        quotient <<= 1;
        if (a >= part) {
            a -= part;
            quotient |= 1;
        }
        if (shift-- == 0) break;
    }
    *rest = a;
    return quotient;
}

static inline u32 divide32(u32 a, u32 b, u32 *rest) {
    if (b == 0 || a < b) {
        *rest = a;
        return 0;
    }
    u32 shift = (u32)(__builtin_clz(b) - __builtin_clz(a)), quotient = 0;
    for (u32 part = b << shift;; part >>= 1) {
        quotient <<= 1;
        if (a >= part) {
            a -= part;
            quotient |= 1;
        }
        if (shift-- == 0) break;
    }
    *rest = a;
    return quotient;
}

static inline u64 magnitude(i64 a) { return a < 0 ? 0 - (u64)a : (u64)a; }
static inline u32 magnitude32(i32 a) { return a < 0 ? 0 - (u32)a : (u32)a; }

u32 udivsi3(u32 a, u32 b) __asm__("__hexagon_udivsi3");
u32 udivsi3(u32 a, u32 b) {
    u32 rest;
    return divide32(a, b, &rest);
}

u32 umodsi3(u32 a, u32 b) __asm__("__hexagon_umodsi3");
u32 umodsi3(u32 a, u32 b) {
    u32 rest;
    divide32(a, b, &rest);
    return rest;
}

i32 divsi3(i32 a, i32 b) __asm__("__hexagon_divsi3");
i32 divsi3(i32 a, i32 b) {
    u32 rest, quotient = divide32(magnitude32(a), magnitude32(b), &rest);
    return (i32)((a < 0) != (b < 0) ? 0 - quotient : quotient);
}

i32 modsi3(i32 a, i32 b) __asm__("__hexagon_modsi3");
i32 modsi3(i32 a, i32 b) {
    u32 rest;
    divide32(magnitude32(a), magnitude32(b), &rest);
    return (i32)(a < 0 ? 0 - rest : rest);
}

u64 udivdi3(u64 a, u64 b) __asm__("__hexagon_udivdi3");
u64 udivdi3(u64 a, u64 b) {
    u64 rest;
    return divide(a, b, &rest);
}

u64 umoddi3(u64 a, u64 b) __asm__("__hexagon_umoddi3");
u64 umoddi3(u64 a, u64 b) {
    u64 rest;
    divide(a, b, &rest);
    return rest;
}

i64 divdi3(i64 a, i64 b) __asm__("__hexagon_divdi3");
i64 divdi3(i64 a, i64 b) {
    u64 rest, quotient = divide(magnitude(a), magnitude(b), &rest);
    return (i64)((a < 0) != (b < 0) ? 0 - quotient : quotient);
}

i64 moddi3(i64 a, i64 b) __asm__("__hexagon_moddi3");
i64 moddi3(i64 a, i64 b) {
    u64 rest;
    divide(magnitude(a), magnitude(b), &rest);
    return (i64)(a < 0 ? 0 - rest : rest);
}
