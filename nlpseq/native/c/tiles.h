/* Part of a product of bf16 numbers on the processor's matrix tiles (AMX). Included twice: with its instructions, and with
   the same few operations in plain C, so that everything but the instructions can be tested anywhere. LOAD, STORE, ZERO
   and DOT are the operations; tiles 0 to 3 are sums [rows, 16], 4 is the left operand [rows, 32] and 5 to 7 parts of the
   panel [16 pairs of 32, 16, 2]. */

static void TILES(multiply)(int rows, int columns, const struct tile_operands *given, float *out) {
    const int64_t line = columns * 64;
    START(rows);
    if (given->add) {
        LOAD(0, out, line);
        if (columns > 1) LOAD(1, out + 16, line);
        if (columns > 2) LOAD(2, out + 32, line);
        if (columns > 3) LOAD(3, out + 48, line);
    } else {
        ZERO(0);
        ZERO(1);
        ZERO(2);
        ZERO(3);
    }
    const uint16_t *panel = given->panel;
    for (int64_t k = 0; k < given->depth; k += 32, panel += columns * 512) {
        LOAD(4, given->left + k, given->stride * 2);
        LOAD(5, panel, 64);
        DOT(0, 4, 5);
        if (columns > 1) {
            LOAD(6, panel + 512, 64);
            DOT(1, 4, 6);
        }
        if (columns > 2) {
            LOAD(7, panel + 1024, 64);
            DOT(2, 4, 7);
        }
        if (columns > 3) {
            LOAD(5, panel + 1536, 64);
            DOT(3, 4, 5);
        }
    }
    STORE(0, out, line);
    if (columns > 1) STORE(1, out + 16, line);
    if (columns > 2) STORE(2, out + 32, line);
    if (columns > 3) STORE(3, out + 48, line);
}
