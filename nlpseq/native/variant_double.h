/* Everything in 64-bit floats, for the processor that the including file has set. */

#define real double
#define integer int64_t
#define LIMIT 708.0
#define MAGIC 6755399441055744.0
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define BIAS 1023
#define MANTISSA 52
#define COEFFICIENTS COEFFICIENTS_double
#include "vectors.h"
#include "cells.h"
#include "loop.h"
#undef real
#undef integer
#undef LIMIT
#undef MAGIC
#undef LN2_HIGH
#undef LN2_LOW
#undef BIAS
#undef MANTISSA
#undef COEFFICIENTS
#undef vec
#undef ints
#undef lanes
#undef WITH_TILES
