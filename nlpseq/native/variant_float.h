/* Everything in 32-bit floats, for the processor that the including file has set. */

#define real float
#define integer int32_t
#define LIMIT 87.0f
#define MAGIC 12582912.0f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define BIAS 127
#define MANTISSA 23
#define COEFFICIENTS COEFFICIENTS_float
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
