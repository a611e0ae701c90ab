/* The product of a few rows with a packed panel: a tile of sums in registers. Included once for each kind of product, with two
   macros: SUMS(name), its functions' names, and ADD_PRODUCT(sum, number, vector). */

INLINE void SUMS(multiply_fixed)(const int rows, const int vectors, const struct NAME(operands) *given, real *out) {
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
            for (int one = 0; one < vectors; one++) sums[row][one] = ADD_PRODUCT(sums[row][one], value, right[one]);
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
        SUMS(multiply_fixed)(rows, vectors, given, out); \
        break;

LOCAL void SUMS(multiply)(int rows, int vectors, const struct NAME(operands) *given, real *out) {
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
