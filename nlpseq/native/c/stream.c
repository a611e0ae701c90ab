/* One text, one token at a time: a recurrent stack's products and cells on a few cores.

   A step reads every weight once and does two operations with each, so it runs at the speed of memory, and what is
   left to win is everything that is not reading weights: calls, temporary arrays, waiting for threads. Matrices are cut
   into pieces of rows, which helpers share. A matrix may be given in fewer bits, which is less to read. bf16, the upper halves
   of 32-bit floats, is multiplied in 32 bits. int8 is multiplied in whole numbers: a vector has twice as many of them, and
   the input's rounding to 16 bits is 250 times finer than that of the weights. */

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "helpers.h"
#include "interface.h"
#include "processor.h"

enum {
    GROUP = 16,       /* columns that lie together: floats of a line of the cache, or half of a line's bf16 numbers */
    FAR_AHEAD = 2048, /* bytes from those in use to those asked for: left to itself a processor follows rows more slowly */
    PIECE_BYTES = 1 << 16,
    MOST_INPUT = INT16_MAX, /* size of the largest number of an input of 16 bits */
    MOST_SUMMED = 512       /* products of such a number and an int8 whose sum fits in 32 bits */
};

static inline int64_t row_bytes(const struct matrix *weight) {
    return weight->bits == 8 ? (weight->columns + LINE - 1) / LINE * LINE : weight->columns * weight->bits / 8;
}

/* A number of floats or bf16. */
static inline float number(const struct matrix *weight, int64_t row, int64_t column) {
    const int64_t start = row * weight->columns;
    if (weight->bits == 32) return ((const float *)weight->numbers)[start + column];
    const int64_t within = column % (2 * GROUP), group = column - within;
    const int64_t place = group + 2 * GROUP > weight->columns ? column : group + within % GROUP * 2 + within / GROUP;
    const uint32_t bits = (uint32_t)((const uint16_t *)weight->numbers)[start + place] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

#define VARIANTS "stream.h"
#include "variants.h"

/* out = weight @ input + bias */
void nlpseq_linear(int kind, const struct matrix *weight, const float *bias, const float *input, float *out) {
    static void (*const run[])(const struct matrix *, const float *, const float *, float *) =
        OF_EACH_KIND(multiply_linear_stream);
    run[kind](weight, bias, input, out);
}

/* Advance all layers by one step. The first layer's input comes as its finished product [G*H], as a vector [I], or as
   both, whose products are then added (not under layer normalisation). */
void nlpseq_advance(int kind, const struct layer *layers, int64_t depth, const float *product, const float *input) {
    static void (*const run[])(const struct layer *, int64_t, const float *, const float *) = OF_EACH_KIND(advance_stream);
    run[kind](layers, depth, product, input);
}

/* values = values - log(sum(exp(values))) */
void nlpseq_log_softmax(int kind, float *values, int64_t size) {
    static void (*const run[])(float *, int64_t) = OF_EACH_KIND(log_softmax_stream);
    run[kind](values, size);
}
