/* The product of a few rows with a packed panel, of bf16 numbers: each 32 bits hold two numbers of a row, or of a column of
   the panel, and one instruction adds both products to a sum (AVX512-BF16). Otherwise it is the product of multiply.h. */

#if WITH_PAIRS
#pragma GCC push_options
#pragma GCC target("avx512bf16")
#undef SUMS
#undef ADD_PRODUCT
#define SUMS(name) NAME(name##_pairs)
#define ADD_PRODUCT(sum, number, vector) \
    ((vec)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)_mm512_set1_ps(number), (__m512bh)(vector)))
#include "sums.h"
#pragma GCC pop_options
#endif
