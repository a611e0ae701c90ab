/* The type that the headers after this one are for: 64-bit floats where DOUBLES, else 32-bit ones. */

#undef real
#undef integer
#undef vec
#undef ints
#undef lanes
#undef LIMIT
#undef MAGIC
#undef LN2_HIGH
#undef LN2_LOW
#undef BIAS
#undef MANTISSA
#undef COEFFICIENTS
#undef WITH_TILES
#undef WITH_PAIRS

#if DOUBLES
#define real double
#define integer int64_t
#define LIMIT 708.0
#define MAGIC 6755399441055744.0
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define BIAS 1023
#define MANTISSA 52
#define COEFFICIENTS                                                                                           \
    ((const double[]){1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320,   \
                      1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 0.5})
#else
#define real float
#define integer int32_t
#define LIMIT 87.0f
#define MAGIC 12582912.0f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define BIAS 127
#define MANTISSA 23
#define COEFFICIENTS ((const float[]){1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f})
#endif
