/* Vectors of `real`, their functions, and the product of a few rows with a packed panel. Included once for each type and
   processor, which say how wide a vector is, VECTOR_BYTES, and how many there are, REGISTERS. */

#define vec NAME(vec)
#define ints NAME(ints)
typedef real vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef integer ints __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#undef LANES
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(real)))

/* The first lanes of a vector, those in use. */
#if VECTOR_BYTES == 64
#define lanes uint32_t
INLINE lanes NAME(first)(int64_t count) { return count >= LANES ? ~0u : (1u << count) - 1; }
#if MANTISSA == 23
INLINE vec NAME(load)(const real *place, lanes used) { return (vec)_mm512_maskz_loadu_ps((__mmask16)used, place); }
INLINE void NAME(store)(real *place, vec values, lanes used) {
    _mm512_mask_storeu_ps(place, (__mmask16)used, (__m512)values);
}
#else
INLINE vec NAME(load)(const real *place, lanes used) { return (vec)_mm512_maskz_loadu_pd((__mmask8)used, place); }
INLINE void NAME(store)(real *place, vec values, lanes used) {
    _mm512_mask_storeu_pd(place, (__mmask8)used, (__m512d)values);
}
#endif
#else
#define lanes int64_t
INLINE lanes NAME(first)(int64_t count) { return count; }
INLINE vec NAME(load)(const real *place, lanes used) {
    if (used >= LANES) return *(const vec *)place;
    vec values = {0};
    for (int64_t lane = 0; lane < used; lane++) values[lane] = place[lane];
    return values;
}
INLINE void NAME(store)(real *place, vec values, lanes used) {
    if (used >= LANES)
        *(vec *)place = values;
    else
        for (int64_t lane = 0; lane < used; lane++) place[lane] = values[lane];
}
#endif

INLINE vec NAME(choose)(ints condition, vec chosen, vec other) {
    return (vec)((condition & (ints)chosen) | (~condition & (ints)other));
}

/* x, or what is nearest to it in [-limit, limit]; NaN stays NaN. */
INLINE vec NAME(within)(vec x, vec limit) {
#if VECTOR_BYTES == 64 && MANTISSA == 23
    return (vec)_mm512_max_ps((__m512)-limit, _mm512_min_ps((__m512)limit, (__m512)x));
#else
    x = NAME(choose)(x > limit, limit, x);
    return NAME(choose)(x < -limit, -limit, x);
#endif
}

/* exp(x) - 1 with full relative precision, for |x| <= LIMIT; beyond it the value there. NaN stays NaN. */
INLINE vec NAME(exponential_minus_one)(vec x) {
    x = NAME(within)(x, (vec){0} + LIMIT);
    const vec shifted = x * (real)1.44269504088896340736 + MAGIC; /* the whole part ends up in the lowest bits */
    const vec whole = shifted - MAGIC;
    const vec rest = x - whole * LN2_HIGH - whole * LN2_LOW;
    vec value = (vec){0} + COEFFICIENTS[0];
#pragma GCC unroll 16
    for (unsigned one = 1; one < sizeof COEFFICIENTS / sizeof *COEFFICIENTS; one++) value = value * rest + COEFFICIENTS[one];
    value = value * rest * rest + rest;
    const vec power = (vec)(((ints)shifted + BIAS) << MANTISSA);
    return value * power + (power - 1);
}

INLINE vec NAME(reciprocal)(vec x) {
#if VECTOR_BYTES == 64 && MANTISSA == 23
    const vec guess = (vec)_mm512_rcp14_ps((__m512)x); /* 14 bits, and twice as many after a step of Newton's */
    return guess * (2 - x * guess);
#else
    return 1 / x;
#endif
}

INLINE vec NAME(sigmoid)(vec x) { return NAME(reciprocal)(NAME(exponential_minus_one)(-x) + 2); }

INLINE vec NAME(hyperbolic_tangent)(vec x) {
    const vec grown = NAME(exponential_minus_one)(x + x);
    return grown * NAME(reciprocal)(grown + 2);
}

/* To bf16, to the nearest and of two the even one, kept in the upper half of 32 bits. */
INLINE vec NAME(rounded)(vec x) {
#if MANTISSA == 23
    const ints bits = (ints)x;
    return (vec)((bits + 0x7FFF + ((bits >> 16) & 1)) & (integer)0xFFFF0000);
#else
    return x;
#endif
}

#if VECTOR_BYTES == 64 && MANTISSA == 23
#define WITH_TILES 1
/* The same, as 16 bits each. */
INLINE void NAME(store_short)(uint16_t *place, vec values, lanes used) {
    const ints bits = (ints)NAME(rounded)(values);
    _mm512_mask_cvtepi32_storeu_epi16(place, (__mmask16)used, _mm512_srli_epi32((__m512i)bits, 16));
}
#else
#define WITH_TILES 0
#endif

/* Turn rows into columns, by exchanging ever larger blocks. */
INLINE void NAME(transpose)(vec rows[LANES]) {
#if defined(__clang__) /* has no shuffle whose places are computed */
    for (int64_t one = 0; one < LANES; one++)
        for (int64_t lane = 0; lane < one; lane++) {
            const real value = rows[one][lane];
            rows[one][lane] = rows[lane][one];
            rows[lane][one] = value;
        }
#else
#pragma GCC unroll 4
    for (int64_t block = 1; block < LANES; block *= 2) {
        ints low, high; /* places in the first row and, from LANES on, the second */
        for (integer lane = 0; lane < LANES; lane++) {
            low[lane] = lane & block ? lane - block + LANES : lane;
            high[lane] = lane & block ? lane + LANES : lane + block;
        }
#pragma GCC unroll 16
        for (int64_t one = 0; one < LANES; one++) {
            if (one & block) continue;
            const vec first = rows[one], second = rows[one + block];
            rows[one] = __builtin_shuffle(first, second, low);
            rows[one + block] = __builtin_shuffle(first, second, high);
        }
    }
#endif
}

/* ---- products ---- */

/* Part of a product: a panel is [depth, vectors, LANES] and out [rows, vectors, LANES]. out = left [rows, depth] @ panel,
   or with `add` out += that. Meanwhile `hurry` bytes a row of the panel are asked for from `next` on: what is read next. */
struct NAME(operands) {
    int64_t depth, stride, hurry;
    const real *left, *panel;
    const char *next;
    int add;
};

INLINE void NAME(multiply_fixed)(const int rows, const int vectors, const struct NAME(operands) *given, real *out) {
    const int64_t depth = given->depth, stride = given->stride, hurry = given->hurry;
    const real *left = given->left, *panel = given->panel;
    const char *next = given->next;
    vec sums[MOST_ROWS][4];
#pragma GCC unroll 16
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 4
        for (int one = 0; one < vectors; one++)
            sums[row][one] = given->add ? *(const vec *)(out + (row * vectors + one) * LANES) : (vec){0};
    for (int64_t k = 0; k < depth; k++) {
        vec right[4];
        __builtin_prefetch(next + k * hurry, 0, 2);
#pragma GCC unroll 4
        for (int one = 0; one < vectors; one++) __builtin_prefetch(panel + ((k + AHEAD) * vectors + one) * LANES);
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
        for (int one = 0; one < vectors; one++) *(vec *)(out + (row * vectors + one) * LANES) = sums[row][one];
}

#define FIXED(rows, vectors)                                                            \
    case (vectors)*16 + (rows):                                                         \
        NAME(multiply_fixed)(rows, vectors, given, out);           \
        break;

static void NAME(multiply)(int rows, int vectors, const struct NAME(operands) *given, real *out) {
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

/* How many rows a tile of so many vectors may have. */
INLINE int64_t NAME(most_rows)(int64_t vectors) {
    static const int8_t most[2][5] = {{0, 8, 6, 4, 3}, {0, 12, 12, 8, 6}};
    return most[REGISTERS >= 32][vectors];
}
