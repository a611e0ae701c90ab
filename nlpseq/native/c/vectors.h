/* Vectors of `real` and their functions. Included once for each type and kind of processor. */

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
#elif VECTOR_BYTES == 32 && MANTISSA == 23
    return (vec)_mm256_max_ps((__m256)-limit, _mm256_min_ps((__m256)limit, (__m256)x));
#elif VECTOR_BYTES == 16 && defined(__SSE2__) && MANTISSA == 23
    return (vec)_mm_max_ps((__m128)-limit, _mm_min_ps((__m128)limit, (__m128)x));
#else
    x = NAME(choose)(x > limit, limit, x);
    return NAME(choose)(x < -limit, -limit, x);
#endif
}

/* exp(x) = (what is returned + 1) * power, for |x| <= LIMIT; beyond it the value there. NaN stays NaN. */
INLINE vec NAME(grown)(vec x, vec *power) {
    x = NAME(within)(x, (vec){0} + LIMIT);
    const vec shifted = x * (real)1.44269504088896340736 + MAGIC; /* the whole part ends up in the lowest bits */
    const vec whole = shifted - MAGIC;
    const vec rest = x - whole * LN2_HIGH - whole * LN2_LOW;
    vec value = (vec){0} + COEFFICIENTS[0];
#pragma GCC unroll 16
    for (unsigned one = 1; one < sizeof COEFFICIENTS / sizeof *COEFFICIENTS; one++) value = value * rest + COEFFICIENTS[one];
    *power = (vec)(((ints)shifted + BIAS) << MANTISSA);
    return value * rest * rest + rest;
}

/* exp(x) - 1 with full relative precision, as far as that goes. */
INLINE vec NAME(exponential_minus_one)(vec x) {
    vec power;
    const vec value = NAME(grown)(x, &power);
    return value * power + (power - 1);
}

/* exp(x), as far as that goes. */
INLINE vec NAME(exponential)(vec x) {
    vec power;
    return (NAME(grown)(x, &power) + 1) * power;
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
#define WITH_PAIRS HAS_PAIRS
/* The same, as 16 bits each. */
INLINE void NAME(store_short)(uint16_t *place, vec values, lanes used) {
    const ints bits = (ints)NAME(rounded)(values);
    _mm512_mask_cvtepi32_storeu_epi16(place, (__mmask16)used, _mm512_srli_epi32((__m512i)bits, 16));
}
#else
#define WITH_TILES 0
#define WITH_PAIRS 0
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

/* ---- layer normalisation ---- */

/* The sum of (a - shift) * (b - shift), or of a - shift where b is NULL. */
INLINE real NAME(total)(const real *a, const real *b, real shift, int64_t size) {
    vec sums = {0};
    real sum = 0;
    int64_t j = 0;
    for (; j + LANES <= size; j += LANES) {
        const vec one = *(const vec *)(a + j) - shift;
        if (b)
            sums += one * (*(const vec *)(b + j) - shift);
        else
            sums += one;
    }
    for (; j < size; j++) sum += (a[j] - shift) * (b ? b[j] - shift : 1);
    for (int64_t lane = 0; lane < LANES; lane++) sum += sums[lane];
    return sum;
}

/* Values become normalised and times their gain; what they were before the gain goes to `normalised`, unless that is NULL.
   The inverse of their deviation. */
INLINE real NAME(normalise_values)(real *values, const real *gain, real *normalised, int64_t size) {
    const real mean = NAME(total)(values, NULL, 0, size) / (real)size;
    const real variance = NAME(total)(values, values, mean, size) / (real)size;
    const real deviation = 1 / (real)sqrt((double)variance + 1e-5);
    for (int64_t j = 0; j < size; j += LANES) {
        const lanes used = NAME(first)(size - j);
        const vec value = (NAME(load)(values + j, used) - mean) * deviation;
        if (normalised) NAME(store)(normalised + j, value, used);
        NAME(store)(values + j, value * NAME(load)(gain + j, used), used);
    }
    return deviation;
}
