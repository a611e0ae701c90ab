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

INLINE void NAME(multiply_fixed)(const int rows, const int vectors, const struct NAME(operands) *given, real *out) {
    const int64_t depth = given->depth, stride = given->stride, hurry = given->hurry, line = given->line;
    const real *left = given->left, *panel = given->panel;
    const char *next = given->next;
    vec sums[MOST_ROWS][4];
#pragma GCC unroll 16
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 4
        for (int one = 0; one < vectors; one++)
            sums[row][one] = (vec){0};
    for (int64_t k = 0; k < depth; k++) {
        vec right[4];
        __builtin_prefetch(next + k * hurry, 0, 2);
#pragma GCC unroll 4
        for (int one = 0; one < vectors; one += IN_LINE) __builtin_prefetch(panel + ((k + AHEAD) * vectors + one) * LANES);
#pragma GCC unroll 4
        for (int one = 0; one < vectors; one++) right[one] = *(const vec *)(panel + (k * vectors + one) * LANES);
#pragma GCC unroll 16
        for (int row = 0; row < rows; row++) {
            const real value = left[row * stride + k];
#pragma GCC unroll 4
            for (int one = 0; one < vectors; one++) sums[row][one] += value * right[one];
        }
    }
#pragma GCC unroll 16
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 4
        for (int one = 0; one < vectors; one++) {
            vec *place = (vec *)(out + row * line + one * LANES);
            if (given->add) sums[row][one] += *place;
            *place = sums[row][one];
        }
}

#undef FIXED
#define FIXED(rows, vectors)                             \
    case (vectors)*16 + (rows):                          \
        NAME(multiply_fixed)(rows, vectors, given, out); \
        break;

LOCAL void NAME(multiply)(int rows, int vectors, const struct NAME(operands) *given, real *out) {
    switch (vectors * 16 + rows) {
        FIXED(1, 1) FIXED(2, 1) FIXED(3, 1) FIXED(4, 1) FIXED(5, 1) FIXED(6, 1) FIXED(7, 1) FIXED(8, 1)
        FIXED(1, 2) FIXED(2, 2) FIXED(3, 2) FIXED(4, 2) FIXED(5, 2) FIXED(6, 2)
        FIXED(1, 3) FIXED(2, 3) FIXED(3, 3) FIXED(4, 3)
        FIXED(1, 4) FIXED(2, 4) FIXED(3, 4)
#if REGISTERS >= 32
        FIXED(9, 1) FIXED(10, 1) FIXED(11, 1) FIXED(12, 1)
        FIXED(7, 2) FIXED(8, 2) FIXED(9, 2) FIXED(10, 2) FIXED(11, 2) FIXED(12, 2)
        FIXED(5, 3) FIXED(6, 3) FIXED(7, 3) FIXED(8, 3)
        FIXED(4, 4) FIXED(5, 4) FIXED(6, 4)
#endif
    }
}

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
