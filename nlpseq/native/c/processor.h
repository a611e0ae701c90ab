/* The kinds of processor that there is code for. A file with the macro VARIANTS, a header's name, includes that header
   once for each kind, with these macros set: KIND, its name in other names; VECTOR_BYTES and REGISTERS, how wide its
   vectors are and how many it has.

   Levels of x86-64 are taken whole and not by single features: v3 has vectors of 32 bytes and products with sums in one
   instruction, v4 vectors of 64. The plain kind is what every processor of its family has: SSE2, or NEON on AArch64. */

#ifndef NLPSEQ_PROCESSOR_H
#define NLPSEQ_PROCESSOR_H

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_LEVELS 1
#include <immintrin.h>
#else
#define HAS_LEVELS 0
#endif

#if defined(__aarch64__)
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

#define INLINE static inline __attribute__((always_inline))
#define LOCAL static __attribute__((unused)) /* in a header that not every file needs whole */
#define JOIN(name, variant) name##_##variant
#define EXPAND(name, variant) JOIN(name, variant)
#define NAME(name) EXPAND(name, VARIANT)

/* The functions of all kinds, in their order; the last two are of one. */
#if HAS_LEVELS
#define OF_EACH_KIND(name) {name##_plain, name##_v3, name##_v4, name##_v4}
#else
#define OF_EACH_KIND(name) {name##_plain}
#endif

#endif
