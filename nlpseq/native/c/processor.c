/* Which kinds of processor this one is. */

#define _GNU_SOURCE
#include "interface.h"
#include "processor.h"

int nlpseq_recurrence_has_tiles(void);

static const char *const NAMES[] =
#if HAS_LEVELS
    {"sse2", "avx2", "avx512", "avx512bf16", "amx"};
#elif defined(__aarch64__)
    {"neon"};
#else
    {"plain"};
#endif

int nlpseq_interface(void) { return INTERFACE; }

/* The best kind that this processor is, a number for all other functions. Kinds before it are there, too. */
int nlpseq_best_kind(void) {
#if HAS_LEVELS
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) return 0;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512cd") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 1;
#if HAS_PAIRS
    if (__builtin_cpu_supports("avx512bf16")) return nlpseq_recurrence_has_tiles() ? 4 : 3;
#endif
    return 2;
#else
    return 0;
#endif
}

const char *nlpseq_kind_name(int kind) { return NAMES[kind]; }
