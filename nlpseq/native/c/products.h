/* Products of whole matrices. Included once for each kind of processor.

   A matrix is packed into panels [depth, PANEL] of a few vectors. A block of rows of the left operand stays in the second
   cache while panels are read, and a section of a panel stays in the first cache while the block's rows are read. A row's
   result is the same to the bit, whichever rows are beside it and whichever thread computes it. */

#define VARIANT EXPAND(float, KIND)
#define DOUBLES 0
#include "type.h"
#include "vectors.h"
#include "multiply.h"

#undef PANEL_VECTORS
#undef PANEL
#define PANEL_VECTORS (REGISTERS >= 32 ? 4 : 2)
#define PANEL (PANEL_VECTORS * LANES)

/* The pieces of a product: `blocks` of rows, and in each block `groups` of panels or, with sums, of chunks. */
struct NAME(grid) {
    const struct product *product;
    int64_t rows_at_once, units, groups, blocks;
};

/* ---- packing ---- */

/* LANES rows of the matrix as columns, from `column` on. */
static void NAME(pack_vector)(const struct product *product, int64_t column, float *place) {
    const int64_t left = product->columns - column, depth = product->depth;
    vec block[LANES];
    for (int64_t start = 0; start < depth; start += LANES) {
        const int64_t deep = depth - start < LANES ? depth - start : LANES;
        for (int64_t one = 0; one < LANES; one++) {
            block[one] = (vec){0};
            if (one < left)
                block[one] = NAME(load)(product->matrix + (column + one) * depth + start, NAME(first)(deep));
        }
        NAME(transpose)(block);
        for (int64_t one = 0; one < deep; one++) *(vec *)(place + (start + one) * PANEL) = block[one];
    }
}

static int64_t NAME(panels)(int64_t columns) { return (columns + PANEL - 1) / PANEL; }

static void NAME(pack)(const struct product *product, float *packed) {
    for (int64_t panel = 0; panel < NAME(panels)(product->columns); panel++)
        for (int64_t one = 0; one < PANEL_VECTORS; one++)
            NAME(pack_vector)(product, panel * PANEL + one * LANES, packed + panel * product->depth * PANEL + one * LANES);
}

static int64_t NAME(packed_size)(int64_t depth, int64_t columns) { return NAME(panels)(columns) * depth * PANEL; }

/* ---- a block of rows ---- */

/* Some rows of the left operand, or a section of each. */
struct NAME(rows) {
    const float *numbers;
    int64_t count, stride, deep;
};

INLINE int64_t NAME(tile_rows)(int64_t left) { return left / ((left + USUAL - 1) / USUAL); }

/* Rows times a panel [deep, PANEL] into `out`, whose rows are `line` numbers apart; `next` is what is read after it. */
static void NAME(multiply_rows_by)(const struct NAME(rows) *left, const float *panel, const float *next, float *out,
                                   int64_t line, int add) {
    const int64_t tiles = (left->count + USUAL - 1) / USUAL;
    struct NAME(operands) operands = {.stride = left->stride, .line = line, .hurry = PANEL * (int64_t)sizeof(float) / tiles};
    for (int64_t k = 0, deep; k < left->deep; k += deep) {
        deep = (left->deep - k) / ((left->deep - k + DEPTH - 1) / DEPTH);
        operands.depth = deep, operands.add = add || k, operands.panel = panel + k * PANEL;
        operands.next = (const char *)(k + deep < left->deep ? operands.panel + deep * PANEL : next);
        for (int64_t row = 0, rows; row < left->count; row += rows) {
            rows = NAME(tile_rows)(left->count - row);
            operands.left = left->numbers + row * left->stride + k;
            NAME(multiply)((int)rows, PANEL_VECTORS, &operands, out + row * line);
            operands.next += deep * operands.hurry;
        }
    }
}

/* One panel into `out`, of which only some columns exist. */
static void NAME(multiply_edge)(const struct NAME(rows) *left, const float *panel, float *out, int64_t line, int add,
                                int64_t columns) {
    float made[MOST_BLOCK * PANEL] __attribute__((aligned(64)));
    for (int64_t row = 0; add && row < left->count; row++)
        memcpy(made + row * PANEL, out + row * line, sizeof(float) * (size_t)columns);
    NAME(multiply_rows_by)(left, panel, panel, made, PANEL, add);
    for (int64_t row = 0; row < left->count; row++)
        memcpy(out + row * line, made + row * PANEL, sizeof(float) * (size_t)columns);
}

/* Panels of a group for a block of rows, one section of the depth after the other, so rows stay in the second cache. */
static void NAME(multiply_block)(const struct NAME(grid) *grid, int64_t row, int64_t count, int64_t first, int64_t last) {
    const struct product *product = grid->product;
    for (int64_t k = 0, deep; k < product->depth; k += deep) {
        deep = product->depth - k;
        deep /= (deep + DEEPEST - 1) / DEEPEST;
        const struct NAME(rows) left = {product->left + row * product->depth + k, count, product->depth, deep};
        for (int64_t panel = first; panel < last; panel++) {
            const int64_t column = panel * PANEL, columns = product->columns - column;
            const float *numbers = product->packed + (panel * product->depth + k) * PANEL;
            const float *next = panel + 1 < last ? numbers + product->depth * PANEL : numbers;
            float *out = product->out + row * product->columns + column;
            const int add = product->bias || k;
            for (int64_t one = 0; product->bias && !k && one < count; one++)
                memcpy(out + one * product->columns, product->bias + column,
                       sizeof(float) * (size_t)(columns < PANEL ? columns : PANEL));
            if (columns < PANEL)
                NAME(multiply_edge)(&left, numbers, out, product->columns, add, columns);
            else
                NAME(multiply_rows_by)(&left, numbers, next, out, product->columns, add);
        }
    }
}

/* ---- sums over columns ---- */

/* The largest of a chunk's values, and the sum of exp(x - largest). */
static float NAME(summarise)(const float values[CHUNK], float *sum) {
    float most[LANES];
    memcpy(most, values, sizeof most);
    for (int one = LANES; one < CHUNK; one += LANES)
        for (int lane = 0; lane < LANES; lane++)
            most[lane] = values[one + lane] > most[lane] ? values[one + lane] : most[lane];
    float largest = most[0];
    for (int lane = 1; lane < LANES; lane++) largest = most[lane] > largest ? most[lane] : largest;
    vec sums = {0};
    for (int one = 0; one < CHUNK; one += LANES) sums += NAME(exponential)(*(const vec *)(values + one) - largest);
    *sum = 0;
    for (int lane = 0; lane < LANES; lane++) *sum += sums[lane];
    return largest;
}

/* The logits of a chunk in `values` [count, CHUNK]. */
static void NAME(multiply_chunk)(const struct NAME(grid) *grid, const struct NAME(rows) *left, int64_t chunk, float *values) {
    const struct product *product = grid->product;
    for (int64_t one = 0; one < left->count; one++)
        memcpy(values + one * CHUNK, product->bias + chunk * CHUNK, sizeof(float) * CHUNK);
    for (int64_t place = 0; place < CHUNK && chunk * CHUNK + place < product->columns; place += PANEL) {
        const float *panel = product->packed + (chunk * CHUNK + place) * product->depth;
        const int more = chunk * CHUNK + place + PANEL < product->columns;
        NAME(multiply_rows_by)(left, panel, more ? panel + product->depth * PANEL : panel, values + place, CHUNK, 1);
    }
}

/* Chunks of a group for a block of rows, with what is asked for of each. */
static void NAME(multiply_with_sums)(const struct NAME(grid) *grid, int64_t row, int64_t count, int64_t first, int64_t last) {
    const struct product *product = grid->product;
    const struct NAME(rows) left = {product->left + row * product->depth, count, product->depth, product->depth};
    float values[MOST_BLOCK * CHUNK] __attribute__((aligned(64)));
    double whole[MOST_BLOCK], largest[MOST_BLOCK], chosen[MOST_BLOCK];
    for (int64_t one = 0; one < count; one++) whole[one] = 0, largest[one] = -1e300, chosen[one] = 0;
    for (int64_t chunk = first; chunk < last; chunk++) {
        const int64_t start = chunk * CHUNK, columns = product->columns - start < CHUNK ? product->columns - start : CHUNK;
        NAME(multiply_chunk)(grid, &left, chunk, values);
        for (int64_t one = 0; one < count; one++) {
            const float *made = values + one * CHUNK;
            float sum, most = NAME(summarise)(made, &sum);
            if (!product->targets) {
                memcpy(product->out + (row + one) * product->columns + start, made, sizeof(float) * (size_t)columns);
                product->maxima[(row + one) * grid->units + chunk] = most;
                product->sums[(row + one) * grid->units + chunk] = sum;
                continue;
            }
            const int64_t target = product->targets[row + one] - start;
            if (target >= 0 && target < columns) chosen[one] = made[target];
            if (most > largest[one]) whole[one] *= exp(largest[one] - most), largest[one] = most;
            whole[one] += sum * exp(most - largest[one]);
        }
    }
    for (int64_t one = 0; product->targets && one < count; one++)
        product->losses[row + one] = largest[one] + log(whole[one]) - chosen[one];
}

/* log(sum(exp(x))) of rows first to last, from what is known of their chunks. */
static void NAME(sum_rows)(const void *argument, int64_t first, int64_t last) {
    const struct NAME(grid) *grid = argument;
    for (int64_t row = first; row < last; row++) {
        const float *maxima = grid->product->maxima + row * grid->units, *sums = grid->product->sums + row * grid->units;
        float largest = maxima[0];
        for (int64_t chunk = 1; chunk < grid->units; chunk++) largest = maxima[chunk] > largest ? maxima[chunk] : largest;
        double whole = 0;
        for (int64_t chunk = 0; chunk < grid->units; chunk += LANES) {
            const lanes used = NAME(first)(grid->units - chunk < LANES ? grid->units - chunk : LANES);
            const vec values = NAME(load)(sums + chunk, used) *
                               NAME(exponential)(NAME(load)(maxima + chunk, used) - largest);
            for (int lane = 0; lane < LANES; lane++) whole += values[lane];
        }
        grid->product->log_sums[row] = (double)largest + log(whole);
    }
}

/* ---- the whole ---- */

static void NAME(multiply_pieces)(const void *argument, int64_t first, int64_t last) {
    const struct NAME(grid) *grid = argument;
    for (int64_t piece = first; piece < last; piece++) {
        const int64_t row = piece / grid->groups * grid->rows_at_once, group = piece % grid->groups;
        const int64_t left = grid->product->rows - row, count = left < grid->rows_at_once ? left : grid->rows_at_once;
        (grid->product->maxima || grid->product->targets ? NAME(multiply_with_sums) : NAME(multiply_block))(
            grid, row, count, grid->units * group / grid->groups, grid->units * (group + 1) / grid->groups);
    }
}

/* Cut a product into pieces that are worth sharing out. */
static void NAME(cut)(struct NAME(grid) *grid) {
    const struct product *product = grid->product;
    const int sums = product->maxima || product->targets;
    int64_t rows = BLOCK / (sums || product->depth < DEEPEST ? product->depth : DEEPEST);
    rows = (rows < 4 * USUAL ? 4 * USUAL : rows > MOST_BLOCK ? MOST_BLOCK : rows) / USUAL * USUAL;
    grid->blocks = (product->rows + rows - 1) / rows;
    grid->rows_at_once = ((product->rows + grid->blocks - 1) / grid->blocks + USUAL - 1) / USUAL * USUAL;
    grid->blocks = (product->rows + grid->rows_at_once - 1) / grid->rows_at_once;
    grid->units = sums ? (product->columns + CHUNK - 1) / CHUNK : NAME(panels)(product->columns);
    const int64_t worth = product->rows * product->columns * product->depth / WORTH;
    grid->groups = product->targets ? 1 : ((worth < PIECES ? worth : PIECES) + grid->blocks - 1) / grid->blocks;
    if (grid->groups > grid->units) grid->groups = grid->units;
    if (grid->groups < 1) grid->groups = 1;
}

static void NAME(multiply_matrices)(const struct product *product, int alone) {
    if (!product->rows) return;
    struct NAME(grid) grid = {.product = product};
    NAME(cut)(&grid);
    nlpseq_share((struct job){NAME(multiply_pieces), &grid, grid.blocks * grid.groups, 1}, alone);
    if (product->log_sums) nlpseq_share((struct job){NAME(sum_rows), &grid, product->rows, 32}, alone);
}

#undef VARIANT
#undef DOUBLES
