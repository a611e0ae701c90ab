/* One step of one text. Included once for each kind of processor.

   The cells are those of cells.h, with a batch of one. Only the products differ: they multiply one vector, and read the
   weights in the order in which they are in memory. */

#define VARIANT EXPAND(stream, KIND)
#define DOUBLES 0
#include "type.h"
#include "vectors.h"
#include "multiply.h"
#include "cells.h"

#undef CHAINS
#define CHAINS (IN_LINE < 2 ? 1 : 2) /* independent sums of a row */

#define shorts NAME(shorts)
typedef int16_t shorts __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(int16_t)), may_alias));

struct NAME(linear) {
    struct matrix weight;
    const float *bias, *input; /* [rows] or NULL, [columns] */
    float unit;                /* with int8: what 1 of the rounded input stands for */
    float *out;                /* [rows] */
};

/* ---- products ---- */

/* Add the products of the first `whole` columns to the sums of four rows. */
INLINE void NAME(sum_floats)(const float *numbers, int64_t columns, int64_t whole, const float *input, vec sums[4][CHAINS]) {
    for (int64_t column = 0; column < whole; column += GROUP)
#pragma GCC unroll 4
        for (int row = 0; row < 4; row++) {
            const float *place = numbers + row * columns + column;
            __builtin_prefetch((const char *)place + FAR_AHEAD);
#pragma GCC unroll 4
            for (int one = 0; one < IN_LINE; one++)
                sums[row][one % CHAINS] += *(const vec *)(place + one * LANES) * *(const vec *)(input + column + one * LANES);
        }
}

/* The same of bf16, whose columns lie in pairs. */
INLINE void NAME(sum_halves)(const uint16_t *numbers, int64_t columns, int64_t whole, const float *input, vec sums[4][CHAINS]) {
    for (int64_t column = 0; column < whole; column += 2 * GROUP)
#pragma GCC unroll 4
        for (int row = 0; row < 4; row++) {
            const uint16_t *place = numbers + row * columns + column;
            __builtin_prefetch((const char *)place + FAR_AHEAD);
#pragma GCC unroll 4
            for (int one = 0; one < IN_LINE; one++) {
                const ints both = *(const ints *)(place + one * 2 * LANES);
                const float *values = input + column + one * LANES;
                sums[row][0] += (vec)(both << 16) * *(const vec *)values;
                sums[row][CHAINS - 1] += (vec)(both & (integer)0xFFFF0000) * *(const vec *)(values + GROUP);
            }
        }
}

static void NAME(multiply_vector)(const void *argument, int64_t first, int64_t last) {
    const struct NAME(linear) *job = argument;
    const struct matrix *weight = &job->weight;
    const int64_t columns = weight->columns, whole = columns - columns % (weight->bits == 16 ? 2 * GROUP : GROUP);
    int64_t row = first;
    for (; row + 4 <= last; row += 4) {
        vec sums[4][CHAINS] = {{{0}}};
        if (weight->bits == 16)
            NAME(sum_halves)((const uint16_t *)weight->numbers + row * columns, columns, whole, job->input, sums);
        else
            NAME(sum_floats)((const float *)weight->numbers + row * columns, columns, whole, job->input, sums);
        for (int one = 0; one < 4; one++) {
            const vec both = sums[one][0] + (CHAINS > 1 ? sums[one][CHAINS - 1] : (vec){0});
            float sum = 0;
            for (int lane = 0; lane < LANES; lane++) sum += both[lane];
            for (int64_t column = whole; column < columns; column++)
                sum += number(weight, row + one, column) * job->input[column];
            job->out[row + one] = job->bias ? sum + job->bias[row + one] : sum;
        }
    }
    for (; row < last; row++) {
        float sum = job->bias ? job->bias[row] : 0;
        for (int64_t column = 0; column < columns; column++) sum += number(weight, row, column) * job->input[column];
        job->out[row] = sum;
    }
}

/* sums + a * b, with two products in each lane; which two is left to the processor. */
INLINE ints NAME(add_products)(ints sums, shorts a, shorts b) {
#if VECTOR_BYTES == 64
    return sums + (ints)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif VECTOR_BYTES == 32
    return sums + (ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return sums + (ints)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    const int32x4_t more = vmlal_s16((int32x4_t)sums, vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
    return (ints)vmlal_high_s16(more, (int16x8_t)a, (int16x8_t)b);
#else
    const ints one = (ints)a, other = (ints)b;
    return sums + (one << 16 >> 16) * (other << 16 >> 16) + (one >> 16) * (other >> 16);
#endif
}

/* The products of whole rows of int8 with an input of 16 bits. */
INLINE void NAME(sum_bytes)(const int rows, const int8_t *numbers, int64_t bytes, const int16_t *input, int64_t totals[4]) {
    for (int row = 0; row < rows; row++) totals[row] = 0;
    for (int64_t start = 0; start < bytes; start += MOST_SUMMED * LANES) {
        const int64_t end = start + MOST_SUMMED * LANES < bytes ? start + MOST_SUMMED * LANES : bytes;
        ints sums[4] = {{0}};
        for (int64_t column = start; column < end; column += LINE)
#pragma GCC unroll 4
            for (int row = 0; row < rows; row++) {
                const int8_t *place = numbers + row * bytes + column;
                __builtin_prefetch(place + FAR_AHEAD);
#pragma GCC unroll 4
                for (int one = 0; one < IN_LINE; one++) {
                    const shorts both = *(const shorts *)(place + one * VECTOR_BYTES);
                    const int16_t *values = input + column + one * VECTOR_BYTES / 2;
                    sums[row] = NAME(add_products)(sums[row], both << 8 >> 8, *(const shorts *)values);
                    sums[row] = NAME(add_products)(sums[row], both >> 8, *(const shorts *)(values + LINE / 2));
                }
            }
        for (int row = 0; row < rows; row++)
            for (int lane = 0; lane < LANES; lane++) totals[row] += sums[row][lane];
    }
}

static void NAME(multiply_bytes)(const void *argument, int64_t first, int64_t last) {
    const struct NAME(linear) *job = argument;
    const struct matrix *weight = &job->weight;
    const int64_t bytes = row_bytes(weight);
    for (int64_t row = first, rows = 4; row < last; row += rows) {
        int64_t totals[4];
        const int8_t *numbers = (const int8_t *)weight->numbers + row * bytes;
        if (row + 4 <= last)
            NAME(sum_bytes)(4, numbers, bytes, weight->rounded, totals);
        else
            NAME(sum_bytes)(1, numbers, bytes, weight->rounded, totals), rows = 1;
        for (int64_t one = 0; one < rows; one++) {
            const float sum = (float)totals[one] * job->unit * weight->scales[row + one];
            job->out[row + one] = job->bias ? sum + job->bias[row + one] : sum;
        }
    }
}

/* Round an input to 16 bits. What 1 of them stands for; NaN if one of the numbers is not finite. */
static float NAME(round_input)(const float *input, int64_t columns, int16_t *rounded) {
    ints most = {0};
    for (int64_t j = 0; j < columns; j += LANES) {
        const ints size = (ints)NAME(load)(input + j, NAME(first)(columns - j)) & INT32_MAX; /* in the order of floats */
        most = (ints)NAME(choose)(size > most, (vec)size, (vec)most);
    }
    int32_t bits = 0;
    for (int lane = 0; lane < LANES; lane++) bits = most[lane] > bits ? most[lane] : bits;
    float largest;
    memcpy(&largest, &bits, 4);
    const int64_t filled = (columns + LINE - 1) / LINE * LINE;
    memset(rounded + columns, 0, (size_t)(filled - columns) * sizeof *rounded);
    if (!(largest > 1e-30f && largest < INFINITY)) {
        memset(rounded, 0, (size_t)columns * sizeof *rounded);
        return largest - largest;
    }
    const float scale = MOST_INPUT / largest;
    for (int64_t j = 0; j < columns; j++) rounded[j] = (int16_t)(int32_t)(input[j] * scale + MAGIC - MAGIC);
    return largest / MOST_INPUT;
}

/* out = weight @ input + bias */
static void NAME(multiply_linear)(const struct matrix *weight, const float *bias, const float *input, float *out) {
    struct NAME(linear) linear = {.weight = *weight, .bias = bias, .input = input, .out = out};
    const int64_t piece = PIECE_BYTES / row_bytes(weight) / 4 * 4 + 4;
    if (weight->bits == 8) {
        linear.unit = NAME(round_input)(input, weight->columns, weight->rounded);
        nlpseq_share((struct job){NAME(multiply_bytes), &linear, weight->rows, piece}, 0);
    } else {
        nlpseq_share((struct job){NAME(multiply_vector), &linear, weight->rows, piece}, 0);
    }
}

/* ---- a step ---- */

/* The product of some rows of weight_hh, normalised where the layer asks for it. */
static void NAME(project_hidden)(const struct layer *layer, const float *hidden, int64_t first, int64_t rows) {
    struct matrix some = layer->weight_hh;
    some.numbers = (const char *)some.numbers + first * row_bytes(&some);
    if (some.scales) some.scales += first;
    some.rows = rows;
    float *out = layer->from_hidden + first;
    NAME(multiply_linear)(&some, NULL, hidden, out);
    if (layer->gain_hh) NAME(normalise_values)(out, layer->gain_hh + first, NULL, rows);
}

/* The input's product of a layer, without its bias: that of `input`, plus `product` if it is not NULL. */
static const float *NAME(project_input)(const struct layer *layer, const float *product, const float *input) {
    if (!input) return product;
    NAME(multiply_linear)(&layer->weight_ih, product, input, layer->from_input);
    if (layer->gain_ih) NAME(normalise_values)(layer->from_input, layer->gain_ih, NULL, layer->weight_ih.rows);
    return layer->from_input;
}

static void NAME(advance_layer)(const struct layer *layer, const float *from_input, const float *input_bias) {
    const int64_t size = layer->hidden_size, rows = layer->gates * size;
    const struct recurrence as_layer = {
        .cell = layer->cell, .gates = layer->gates, .steps = 1, .batch = 1, .size = size, .zoneout = layer->zoneout,
        .bias = layer->bias_hh, .from_input = from_input, .input_bias = input_bias,
        .activations = layer->reset, .held = layer->reset + 2 * size,
    };
    const struct NAME(step) step = {
        .layer = &as_layer, .hidden_before = layer->hidden, .hidden_after = layer->hidden,
        .memory_before = layer->memory, .memory_after = layer->memory,
    };
    struct NAME(tile) tile = {.rows = 1, .last = size, .product = layer->from_hidden, .gate_stride = size};
    if (layer->cell == GRU_RESET_BEFORE) {
        NAME(project_hidden)(layer, layer->hidden, 0, 2 * size);
        NAME(finish_reset)(&step, &tile);
        NAME(project_hidden)(layer, as_layer.held, 2 * size, size);
        tile.product += 2 * size;
    } else if (layer->weight_hh.numbers) {
        NAME(project_hidden)(layer, layer->hidden, 0, rows);
    }
    NAME(forward_of)[layer->cell](&step, &tile);
}

static void NAME(advance)(const struct layer *layers, int64_t depth, const float *product, const float *input) {
    NAME(advance_layer)(layers, NAME(project_input)(layers, product, input), product ? NULL : layers->bias_ih);
    for (const struct layer *layer = layers + 1; layer < layers + depth; layer++)
        NAME(advance_layer)(layer, NAME(project_input)(layer, NULL, layer[-1].hidden), layer->bias_ih);
}

/* ---- what follows it ---- */

/* values = values - log(sum(exp(values))) */
static void NAME(log_softmax)(float *values, int64_t size) {
    float largest = values[0];
    for (int64_t j = 1; j < size; j++) largest = values[j] > largest ? values[j] : largest;
    double sum = 0;
    for (int64_t start = 0; start < size; start += 4096) {
        vec sums = {0};
        const int64_t end = start + 4096 < size ? start + 4096 : size;
        int64_t j = start;
        for (; j + LANES <= end; j += LANES) sums += NAME(exponential)(*(const vec *)(values + j) - largest);
        for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
        for (; j < end; j++) sum += exp((double)(values[j] - largest));
    }
    const float offset = largest + (float)log(sum);
    for (int64_t j = 0; j < size; j++) values[j] -= offset;
}

#undef shorts
#undef VARIANT
#undef DOUBLES
