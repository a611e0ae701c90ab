/* The product of a few rows with a packed panel. Included once for each type and kind of processor.

   A tile of sums is held in registers while both operands go by, so its size is what a processor's registers hold: 12 sums
   and what they are made of in 16, 24 in 32. A row's sums are added up in the same order whatever rows are beside it. */

#ifndef MOST_ROWS
#define MOST_ROWS 12
#define AHEAD 6 /* rows of a panel that are asked for before they are needed */
#endif

/* A piece of a product: a panel is [depth, vectors, LANES], and a row of `out` begins `line` numbers after the one before it.
   out = left [rows, depth] @ panel, or with `add` out += that; rows of `left` are `stride` apart. Meanwhile `hurry` bytes
   a row of the panel are asked for from `next` on: what is read next. */
struct NAME(operands) {
    int64_t depth, stride, hurry, line;
    const real *left, *panel;
    const char *next;
    int add;
};

/* Vectors of a panel that lie in one line of a cache. */
#undef IN_LINE
#define IN_LINE (64 / VECTOR_BYTES)

#undef SUMS
#undef ADD_PRODUCT
#define SUMS(name) NAME(name)
#define ADD_PRODUCT(sum, number, vector) ((sum) + (number) * (vector))
#include "sums.h"

/* The largest number of rows of a tile that is `vectors` wide. */
INLINE int64_t NAME(most_rows)(int64_t vectors) {
    static const int8_t most[2][5] = {{0, 8, 6, 4, 3}, {0, 12, 12, 8, 6}};
    return most[REGISTERS >= 32][vectors];
}

/* As many products with sums as it takes to know how fast they can be: `times` times 12 vectors of them, and no memory. */
LOCAL void NAME(multiply_in_registers)(const void *argument, int64_t first, int64_t last) {
    const int64_t times = *(const int64_t *)argument;
    for (int64_t one = first; one < last; one++) {
        vec sums[12], factor = (vec){0} + (real)0.5;
        for (int sum = 0; sum < 12; sum++) sums[sum] = factor + (real)sum;
        for (int64_t turn = 0; turn < times; turn++)
#pragma GCC unroll 12
            for (int sum = 0; sum < 12; sum++) sums[sum] = sums[sum] * factor + factor;
        for (int sum = 1; sum < 12; sum++) sums[0] += sums[sum];
        volatile real kept = sums[0][0];
        (void)kept;
    }
}
