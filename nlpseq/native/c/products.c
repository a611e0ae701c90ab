/* Products of whole matrices: packing, and the choice among kinds of processor. */

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "helpers.h"
#include "interface.h"
#include "processor.h"

enum {
    DEPTH = 512,        /* rows of a panel that stay in the first cache */
    DEEPEST = 1024,     /* numbers of a row in one pass over the panels */
    MOST_BLOCK = 96,    /* rows of a block */
    BLOCK = 48 * 1024,  /* numbers of a block: 192 KB */
    USUAL = 6,          /* rows of a tile */
    WORTH = 1 << 19,    /* multiplications of a piece, at least */
    PIECES = 64
};

#define VARIANTS "products.h"
#include "variants.h"

/* Make a product, with helpers or alone. */
void nlpseq_multiply(int kind, const struct product *product, int alone) {
    static void (*const run[])(const struct product *, int) = OF_EACH_KIND(multiply_matrices_float);
    run[kind](product, alone);
}

/* How many floats a matrix takes when it is packed. */
int64_t nlpseq_packed_size(int kind, int64_t depth, int64_t columns) {
    static int64_t (*const run[])(int64_t, int64_t) = OF_EACH_KIND(packed_size_float);
    return run[kind](depth, columns);
}

/* Pack the matrix of a product. */
void nlpseq_pack(int kind, const struct product *product, float *packed) {
    static void (*const run[])(const struct product *, float *) = OF_EACH_KIND(pack_float);
    run[kind](product, packed);
}

/* Multiply and add in registers alone, `pieces` times: 24 operations of a whole vector `times` times. The number of floats
   in a vector. */
int nlpseq_multiply_in_registers(int kind, int64_t times, int64_t pieces) {
    static void (*const run[])(const void *, int64_t, int64_t) = OF_EACH_KIND(multiply_in_registers_float);
    static const int lanes[] = {4, 8, 16, 16};
    nlpseq_share((struct job){run[kind], &times, pieces, 1}, 0);
    return lanes[kind];
}
