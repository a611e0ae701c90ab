/* The kinds of processor that have their own code. variants.h includes the header that the macro VARIANTS names once for
   each kind, with these macros: KIND, its name in other names; VECTOR_BYTES and REGISTERS, the width and the number of its
   vectors.

   Code is compiled for whole levels of x86-64, not for single features: v3 has vectors of 32 bytes and fused
   multiply-add, v4 has vectors of 64 bytes. Every processor of a family can run the plain kind: SSE2, or NEON on
   AArch64. */

#ifndef NLPSEQ_PROCESSOR_H
#define NLPSEQ_PROCESSOR_H

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_LEVELS 1
#include <immintrin.h>
#else
#define HAS_LEVELS 0
#endif

#if defined(__aarch64__)
#include <arm_neon.h>
#define PLAIN_REGISTERS 32
#else
#define PLAIN_REGISTERS 16
#endif

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

#if HAS_LEVELS && !defined(__clang__) && __GNUC__ >= 10
#define HAS_PAIRS 1 /* AVX512-BF16 */
#else
#define HAS_PAIRS 0
#endif

#define INLINE static inline __attribute__((always_inline))
#define LOCAL static __attribute__((unused)) /* in a header whose functions are not all used by every file */
#define JOIN(name, variant) name##_##variant
#define EXPAND(name, variant) JOIN(name, variant)
#define NAME(name) EXPAND(name, VARIANT)

/* The functions of all kinds, in order; the last three kinds have the same function. */
#if HAS_LEVELS
#define OF_EACH_KIND(name) {name##_plain, name##_v3, name##_v4, name##_v4, name##_v4}
#else
#define OF_EACH_KIND(name) {name##_plain}
#endif

#endif
