/* The loop over time, forward and backward, as each thread of a team runs it. Included once for each type and processor.

   Each call packs the weights into panels, so that a product reads them in order. The cell handles a tile of a product at
   once, while it is in the nearest cache. Layer normalisation needs whole rows, which costs a second phase and barrier in
   each step; the gru that resets before its second product has two products, and so two phases. */

/* A product with some rows of the recurrent weights, or, backward, with their transpose. */
struct NAME(product) {
    int64_t depth, gates, row; /* gates: blocks of H columns; row: the first of the weight's */
    int64_t padded;            /* the depth in a panel */
    int transposed;
    char *panels; /* [vectors of units, strips, padded, vectors of a strip, LANES] */
};

struct NAME(worker) {
    const struct recurrence *layer;
    struct team *team;
    struct part part;
    struct NAME(product) first, second; /* the second only if a state is reset before it */
    real *buffer;                       /* [B, G*H], if there is a gain */
    char *operands, *reset_operand;     /* in half precision: [2, B, H] or [2, B, G*H]; [B, H] */
    int64_t operand_stride, operand_bytes;
};

INLINE int64_t NAME(vectors)(int64_t size) { return (size + LANES - 1) / LANES; }

INLINE int64_t NAME(padded)(const struct recurrence *layer, int64_t size) {
    return layer->half >= TILES_IN_HARDWARE ? (size + TILE_DEPTH - 1) / TILE_DEPTH * TILE_DEPTH : size;
}

INLINE int64_t NAME(operand_size)(const struct recurrence *layer) {
    return layer->half >= TILES_IN_HARDWARE ? 2 : (int64_t)sizeof(real);
}

/* The number of the remaining vectors in the next panel. */
INLINE int64_t NAME(panel_vectors)(const struct NAME(product) *product, int64_t left) {
    const int64_t most = REGISTERS >= 32 ? 4 : 2;
    return product->gates > 1 ? 1 : left / ((left + most - 1) / most);
}

/* A panel is multiplied strip by strip. A strip is narrow enough to leave registers for several rows. */
INLINE int64_t NAME(strip)(int64_t columns) { return REGISTERS < 32 && columns == 4 ? 2 : columns; }

/* Rows of a strip that stay in the first cache, or in the second if vectors are long. */
INLINE int64_t NAME(part)(int64_t strip) { return REGISTERS >= 32 ? DEPTH : FIRST_CACHE / (strip * VECTOR_BYTES); }

INLINE char *NAME(panel)(const struct NAME(worker) *worker, const struct NAME(product) *product, int64_t vector) {
    return product->panels + vector * product->padded * product->gates * LANES * worker->operand_bytes;
}

/* Rows `start` and on of a panel's column, at most LANES. */
static void NAME(read_block)(const struct recurrence *layer, const struct NAME(product) *product, int64_t vector,
                             int64_t one, int64_t start, vec block[LANES]) {
    const int64_t unit = (vector + (product->gates > 1 ? 0 : one)) * LANES, gate = product->gates > 1 ? one : 0;
    const int64_t units = layer->size - unit, deep = product->depth - start;
    const lanes used = NAME(first)(units < LANES ? units : LANES);
    const lanes down = NAME(first)(deep < 0 ? 0 : deep < LANES ? deep : LANES); /* none of a row that only pads */
    const real *weight = (const real *)layer->weight + product->row * layer->size;
    for (int64_t lane = 0; lane < LANES; lane++) {
        block[lane] = (vec){0};
        if (product->transposed && lane < deep)
            block[lane] = NAME(load)(weight + (start + lane) * layer->size + unit, used);
        else if (!product->transposed && lane < units && deep > 0) {
            const real *place = weight + (gate * layer->size + unit + lane) * layer->size + start;
            __builtin_prefetch(place + 4 * LANES);
            block[lane] = NAME(load)(place, down);
        }
    }
    if (!product->transposed) NAME(transpose)(block);
}

static void NAME(pack_panel)(const struct NAME(worker) *worker, const struct NAME(product) *product, int64_t vector,
                             int64_t taken) {
    const int64_t columns = product->gates * taken, strip = NAME(strip)(columns);
    char *panel = NAME(panel)(worker, product, vector);
    vec block[LANES];
    for (int64_t start = 0; start < product->padded; start += LANES)
        for (int64_t one = 0; one < columns; one++) {
            NAME(read_block)(worker->layer, product, vector, one, start, block);
            for (int64_t k = start; k < start + LANES && k < product->padded; k++) {
                vec values = block[k - start];
                if (worker->layer->half) values = NAME(rounded)(values);
#if WITH_TILES
                if (worker->operand_bytes == 2) { /* pairs of rows in the halves of a word */
                    uint16_t *place = (uint16_t *)panel + k % 2;
                    if (worker->layer->half == PAIRS)
                        place += (k / 2 * columns + one) * 2 * LANES;
                    else
                        place += ((k / TILE_DEPTH * columns + one) * TILE_DEPTH + k % TILE_DEPTH / 2 * 2) * LANES;
                    for (int64_t lane = 0; lane < LANES; lane++) place[2 * lane] = (uint16_t)(((ints)values)[lane] >> 16);
                    continue;
                }
#endif
                const int64_t before = one - one % strip; /* vectors of the strips before it */
                *(vec *)((real *)panel + (before * product->padded + k * strip + one % strip) * LANES) = values;
            }
        }
}

static void NAME(pack)(const struct NAME(worker) *worker, const struct NAME(product) *product) {
    const struct team *team = worker->team;
    int64_t turn = 0;
    for (int64_t vector = worker->part.first_vector, taken; vector < worker->part.last_vector; vector += taken, turn++) {
        taken = NAME(panel_vectors)(product, worker->part.last_vector - vector);
        if (team->share == UNITS || turn % team->threads == this_thread(team))
            NAME(pack_panel)(worker, product, vector, taken);
    }
}

/* Pass a finished tile to `finish`, or copy it to the buffer if that is NULL. */
static void NAME(pass_on)(const struct NAME(worker) *worker, const struct NAME(product) *product,
                          const struct NAME(step) *step, const struct NAME(tile) *tile, NAME(finish) finish) {
    if (finish) {
        finish(step, tile);
        return;
    }
    const int64_t size = worker->layer->size, width = worker->layer->gates * size;
    for (int64_t row = 0; row < tile->rows; row++)
        for (int64_t gate = 0; gate < product->gates; gate++) {
            real *place = worker->buffer + (tile->row + row) * width + product->row + gate * size + tile->first;
            memcpy(place, tile->product + row * tile->row_stride + gate * LANES,
                   sizeof(real) * (size_t)(tile->last - tile->first));
        }
}

/* The most rows of a tile of sums. */
INLINE int64_t NAME(most_at_once)(const struct NAME(worker) *worker, int64_t strip) {
    const int on_tiles = worker->operand_bytes == 2 && worker->layer->half != PAIRS;
    return on_tiles ? TILE_ROWS : NAME(most_rows)(strip);
}

/* Some rows of a product with a section of a strip, from its row k on. */
INLINE void NAME(multiply_part)(const struct NAME(worker) *worker, int64_t rows, int64_t strip, int64_t k,
                                struct NAME(operands) *operands, real *out) {
#if WITH_PAIRS
    if (worker->layer->half == PAIRS) {
        struct NAME(operands) words = *operands; /* each a pair */
        words.depth /= 2, words.stride /= 2, words.hurry *= 2, words.add = k > 0;
        NAME(multiply_pairs)((int)rows, (int)strip, &words, out);
        return;
    }
#endif
#if WITH_TILES
    if (worker->operand_bytes == 2) {
        const struct tile_operands tiles = {operands->depth, operands->stride, (const uint16_t *)operands->left,
                                            (const uint16_t *)operands->panel, k > 0};
        multiply_tiles[worker->layer->half == TILES_IMITATED]((int)rows, (int)strip, &tiles, out);
        return;
    }
#endif
    (void)worker;
    operands->add = k > 0;
    NAME(multiply)((int)rows, (int)strip, operands, out);
}

/* Some rows of a product with one panel. A strip is read in sections that stay in the nearest caches for all rows. */
static void NAME(multiply_panel)(const struct NAME(worker) *worker, const struct NAME(product) *product, int64_t vector,
                                 int64_t taken, const char *left, int64_t stride, int64_t first, int64_t last,
                                 const struct NAME(step) *step, NAME(finish) finish) {
    real made[AT_ONCE * 4 * LANES] __attribute__((aligned(64)));
    const int64_t size = worker->layer->size, columns = product->gates * taken, bytes = worker->operand_bytes;
    const int64_t strip = NAME(strip)(columns), most = NAME(most_at_once)(worker, strip);
    const int64_t tiles = (last - first + most - 1) / most, line = strip * LANES * bytes;
    const char *panel = NAME(panel)(worker, product, vector), *end = NAME(panel)(worker, product, worker->part.last_vector);
    struct NAME(tile) tile = {.first = vector * LANES, .row_stride = columns * LANES, .gate_stride = LANES};
    tile.last = (vector + taken) * LANES < size ? (vector + taken) * LANES : size;
    for (int64_t start = 0; start < columns; start += strip)
        for (int64_t k = 0, deep; k < product->padded; k += deep) {
            deep = (product->padded - k) / ((product->padded - k + NAME(part)(strip) - 1) / NAME(part)(strip));
            if (bytes == 2) deep = deep / TILE_DEPTH * TILE_DEPTH;
            const int finished = k + deep == product->padded && start + strip == columns;
            struct NAME(operands) operands = {.depth = deep, .stride = stride, .line = columns * LANES};
            operands.hurry = line / tiles;
            operands.panel = (const real *)panel;
            panel += deep * line;
            operands.next = panel == end ? NAME(panel)(worker, product, worker->part.first_vector) : panel;
            real *out = made + start * LANES;
            for (int64_t row = first, rows; row < last; row += rows, out += rows * columns * LANES) {
                rows = (last - row) / ((last - row + most - 1) / most);
                operands.left = (const real *)(left + (row * stride + k) * bytes);
                if (finished) NAME(prepare)(step, row, rows, tile.first, tile.last - tile.first);
                NAME(multiply_part)(worker, rows, strip, k, &operands, out);
                operands.next += deep * operands.hurry;
                if (!finished) continue;
                tile.row = row, tile.rows = rows, tile.product = out - start * LANES;
                NAME(pass_on)(worker, product, step, &tile, finish);
            }
        }
}

/* Rows [first, last) of a product as far as they are this thread's; `left` has rows of `stride` operands. */
static void NAME(multiply_rows)(const struct NAME(worker) *worker, const struct NAME(product) *product, const void *left,
                                int64_t stride, int64_t first, int64_t last, const struct NAME(step) *step,
                                NAME(finish) finish) {
    if (first < worker->part.first_row) first = worker->part.first_row;
    if (last > worker->part.last_row) last = worker->part.last_row;
    for (int64_t vector = worker->part.first_vector, taken; vector < worker->part.last_vector; vector += taken) {
        taken = NAME(panel_vectors)(product, worker->part.last_vector - vector);
        for (int64_t row = first, rows; row < last; row += rows) {
            rows = last - row < AT_ONCE ? last - row : AT_ONCE;
            NAME(multiply_panel)(worker, product, vector, taken, left, stride, row, row + rows, step, finish);
        }
    }
}

/* ---- layer normalisation ---- */

/* A sequence's product in the buffer: gates of it, from column `start` of G*H, become normalised and times their gain. */
static void NAME(normalise)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t row,
                            const struct NAME(product) *product) {
    const struct recurrence *layer = worker->layer;
    const int64_t width = layer->gates * layer->size, start = product->row, place = step->place + row;
    real *normalised = layer->training ? (real *)layer->normalised + place * width + start : NULL;
    const real deviation = NAME(normalise_values)(worker->buffer + row * width + start, (const real *)layer->gain + start,
                                                  normalised, product->gates * layer->size);
    if (layer->training) ((real *)layer->deviation)[place * 2 + (start > 0)] = deviation;
}

/* Back through it: from grad_product to grad_bare, and to the operand of the next product. */
static void NAME(normalise_backward)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t row,
                                     const struct NAME(product) *product, char *operand) {
    const struct recurrence *layer = worker->layer;
    const int64_t width = layer->gates * layer->size, start = product->row, place = step->place + row;
    const int64_t size = start ? layer->size : layer->cell == GRU_RESET_BEFORE ? 2 * layer->size : width;
    const real *gain = (const real *)layer->gain + start;
    const real *grad = (const real *)layer->grad_product + place * width + start;
    const real *normalised = (const real *)layer->normalised + place * width + start;
    const real deviation = ((const real *)layer->deviation)[place * 2 + (start > 0)];
    real *bare = (real *)layer->grad_bare + place * width + start;
    if (operand) operand += (row * worker->operand_stride + start) * worker->operand_bytes;
    for (int64_t j = 0; j < size; j += LANES) {
        const lanes used = NAME(first)(size - j);
        NAME(store)(bare + j, NAME(load)(grad + j, used) * NAME(load)(gain + j, used), used);
    }
    const real mean = NAME(total)(bare, NULL, 0, size) / (real)size;
    const real shared = NAME(total)(bare, normalised, 0, size) / (real)size;
    for (int64_t j = 0; j < size; j += LANES) {
        const lanes used = NAME(first)(size - j);
        const vec centred = NAME(load)(bare + j, used) - mean - NAME(load)(normalised + j, used) * shared;
        NAME(store)(bare + j, centred * deviation, used);
        if (operand)
            NAME(give)(operand + j * worker->operand_bytes, worker->operand_bytes, centred * deviation, used);
    }
}

/* This thread's rows of [0, active) in a phase that needs whole rows. */
INLINE void NAME(whole_rows)(const struct NAME(worker) *worker, int64_t active, int64_t *first, int64_t *last) {
    const struct team *team = worker->team;
    *first = worker->part.first_row < active ? worker->part.first_row : active;
    *last = worker->part.last_row < active ? worker->part.last_row : active;
    if (team->share == SEQUENCES) return;
    *first = active * this_thread(team) / team->threads;
    *last = active * (this_thread(team) + 1) / team->threads;
}

/* The cell alone, without a product. */
static void NAME(finish_rows)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t first,
                              int64_t last, NAME(finish) finish) {
    const int64_t size = worker->layer->size, unit = worker->part.first_vector * LANES, end = worker->part.last_vector * LANES;
    if (first < worker->part.first_row) first = worker->part.first_row;
    if (last > worker->part.last_row) last = worker->part.last_row;
    if (first < last && unit < size)
        finish(step, &(struct NAME(tile)){first, last - first, unit, end < size ? end : size, NULL, 0, 0});
}

/* ---- forward ---- */

/* One product and what follows it. */
static void NAME(forward_phase)(const struct NAME(worker) *worker, const struct NAME(product) *product, const void *left,
                                const struct NAME(step) *step, int64_t active, NAME(finish) finish) {
    const struct recurrence *layer = worker->layer;
    const int64_t size = layer->size, width = layer->gates * size;
    NAME(multiply_rows)(worker, product, left, worker->operand_stride, 0, active, step, layer->gain ? NULL : finish);
    wait_for_all(worker->team);
    if (!layer->gain) return;
    int64_t first, last;
    NAME(whole_rows)(worker, active, &first, &last);
    for (int64_t row = first; row < last; row++) {
        NAME(normalise)(worker, step, row, product);
        finish(step, &(struct NAME(tile)){row, 1, 0, size, worker->buffer + row * width + product->row, width, size});
    }
    wait_for_all(worker->team);
}

/* The operands of one slot or step, in half precision; else NULL. Those of two are kept. */
INLINE char *NAME(operand_slot)(const struct NAME(worker) *worker, int64_t slot) {
    const int64_t bytes = worker->layer->batch * worker->operand_stride * worker->operand_bytes;
    return worker->operands ? worker->operands + (slot & 1) * bytes : NULL;
}

static struct NAME(step) NAME(make_step)(const struct NAME(worker) *worker, int64_t time, int backward) {
    const struct recurrence *layer = worker->layer;
    const int64_t before = layer->reverse ? time + 1 : time, after = layer->reverse ? time : time + 1;
    const int64_t slot = layer->batch * layer->size;
    real *hidden = layer->hidden, *memory = layer->memory;
    return (struct NAME(step)){
        .layer = layer,
        .place = layer->offsets[time],
        .kept_place = layer->training ? layer->offsets[time] : 0,
        .hidden_before = hidden + before * slot,
        .hidden_after = hidden + after * slot,
        .memory_before = layer->training ? NAME(at)(memory, before * slot) : memory,
        .memory_after = layer->training ? (real *)NAME(at)(memory, after * slot) : memory,
        .operand = backward ? NULL : NAME(operand_slot)(worker, after),
        .reset_operand = worker->reset_operand,
        .grad_operand = backward && !layer->gain ? NAME(operand_slot)(worker, time) : NULL,
        .operand_stride = worker->operand_stride,
        .operand_bytes = worker->operand_bytes,
    };
}

static void NAME(forward)(const struct NAME(worker) *worker) {
    const struct recurrence *layer = worker->layer;
    for (int64_t turn = 0; turn < layer->steps; turn++) {
        const int64_t time = layer->reverse ? layer->steps - 1 - turn : turn;
        const struct NAME(step) step = NAME(make_step)(worker, time, 0);
        const int64_t before = layer->reverse ? time + 1 : time;
        const void *left = NAME(operand_slot)(worker, before);
        if (!left) left = step.hidden_before;
        const NAME(finish) finish = NAME(forward_of)[layer->cell];
        if (!layer->weight) {
            NAME(finish_rows)(worker, &step, 0, layer->rows[time], finish);
            continue;
        }
        if (layer->cell != GRU_RESET_BEFORE) {
            NAME(forward_phase)(worker, &worker->first, left, &step, layer->rows[time], finish);
            continue;
        }
        const void *gated = (const real *)layer->held + step.kept_place * layer->size;
        NAME(forward_phase)(worker, &worker->first, left, &step, layer->rows[time], NAME(finish_reset));
        if (worker->reset_operand) gated = worker->reset_operand;
        NAME(forward_phase)(worker, &worker->second, gated, &step, layer->rows[time], finish);
    }
}

/* ---- backward ---- */

/* The gradients of a step as the product reads them, from a gate on. */
INLINE const void *NAME(sent_by)(const struct NAME(worker) *worker, int64_t time, int64_t gate) {
    const struct recurrence *layer = worker->layer;
    const int64_t width = layer->gates * layer->size, column = gate * layer->size;
    if (worker->operands) return NAME(operand_slot)(worker, time) + column * worker->operand_bytes;
    return (const real *)layer->grad_bare + layer->offsets[time] * width + column;
}

/* The gradient of the hidden state after a step, through the product of the step that ran after it (`later`, -1 for
   none), and with it back through the cell. */
static void NAME(backward_phase)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t time,
                                 int64_t later) {
    const struct recurrence *layer = worker->layer;
    const int64_t stride = worker->operand_stride, active = layer->rows[time];
    const int64_t sending = later < 0 ? 0 : layer->rows[later], both = active < sending ? active : sending;
    const NAME(finish) finish = NAME(backward_of)[layer->cell];
    if (!layer->weight) {
        NAME(finish_rows)(worker, step, 0, active, finish);
        return;
    }
    const void *left = later < 0 ? NULL : NAME(sent_by)(worker, later, 0);
    if (!layer->gain) {
        NAME(multiply_rows)(worker, &worker->first, left, stride, 0, both, step, finish);
        NAME(multiply_rows)(worker, &worker->first, left, stride, both, sending, step, NAME(finish_carry));
        NAME(finish_rows)(worker, step, both, active, finish);
        wait_for_all(worker->team);
        return;
    }
    NAME(multiply_rows)(worker, &worker->first, left, stride, 0, sending, step, NAME(finish_carry));
    wait_for_all(worker->team);
    const int resets = layer->cell == GRU_RESET_BEFORE;
    char *operand = NAME(operand_slot)(worker, time);
    int64_t first, last;
    NAME(whole_rows)(worker, active, &first, &last);
    for (int64_t row = first; row < last; row++) {
        finish(step, &(struct NAME(tile)){row, 1, 0, layer->size, NULL, 0, 0});
        NAME(normalise_backward)(worker, step, row, resets ? &worker->second : &worker->first, operand);
    }
    wait_for_all(worker->team);
}

/* Back through the product of r * h. */
static void NAME(reset_phase)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t time) {
    const struct recurrence *layer = worker->layer;
    const int64_t stride = worker->operand_stride, active = layer->rows[time];
    const void *left = NAME(sent_by)(worker, time, 2);
    NAME(multiply_rows)(worker, &worker->second, left, stride, 0, active, step, NAME(finish_reset_backward));
    wait_for_all(worker->team);
    if (!layer->gain) return;
    char *operand = NAME(operand_slot)(worker, time);
    int64_t first, last;
    NAME(whole_rows)(worker, active, &first, &last);
    for (int64_t row = first; row < last; row++)
        NAME(normalise_backward)(worker, step, row, &worker->first, operand);
    wait_for_all(worker->team);
}

static void NAME(backward)(const struct NAME(worker) *worker) {
    const struct recurrence *layer = worker->layer;
    int64_t later = -1;
    struct NAME(step) step;
    for (int64_t turn = layer->steps - 1; turn >= 0; turn--) {
        const int64_t time = layer->reverse ? layer->steps - 1 - turn : turn;
        step = NAME(make_step)(worker, time, 1);
        NAME(backward_phase)(worker, &step, time, later);
        if (layer->cell == GRU_RESET_BEFORE) NAME(reset_phase)(worker, &step, time);
        later = time;
    }
    if (layer->want_first && later >= 0 && layer->weight)
        NAME(multiply_rows)(worker, &worker->first, NAME(sent_by)(worker, later, 0), worker->operand_stride, 0,
                            layer->rows[later], &step, NAME(finish_carry));
}

/* ---- the team ---- */

struct NAME(job) {
    const struct recurrence *layer;
    int backward;
    char *memory; /* room for panels, buffer and operands, in this order, each from a new line of the cache on */
};

INLINE int64_t NAME(line)(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* What a worker has of the job's memory; without any, how much it would need. */
static int64_t NAME(lay_out)(const struct NAME(job) *job, struct NAME(worker) *worker) {
    const struct recurrence *layer = worker->layer;
    const int64_t size = layer->size, resets = layer->cell == GRU_RESET_BEFORE, columns = NAME(vectors)(size) * LANES;
    const int64_t gates = resets ? 2 : layer->gates, width = layer->gates * size, bytes = NAME(operand_size)(layer);
    worker->first = (struct NAME(product)){.depth = size, .gates = gates, .transposed = job->backward};
    worker->second = (struct NAME(product)){.depth = size, .gates = 1, .row = 2 * size, .transposed = job->backward};
    if (job->backward) worker->first.depth = gates * size, worker->first.gates = 1;
    if (!layer->weight) worker->first.depth = 0;
    worker->first.padded = NAME(padded)(layer, worker->first.depth);
    worker->second.padded = NAME(padded)(layer, size);
    worker->operand_bytes = bytes;
    worker->operand_stride = NAME(padded)(layer, job->backward ? width : size);
    char *next = job->memory;
    worker->first.panels = next, next += NAME(line)(worker->first.padded * worker->first.gates * columns * bytes);
    if (resets) worker->second.panels = next, next += NAME(line)(worker->second.padded * columns * bytes);
    if (layer->gain) worker->buffer = (real *)next, next += NAME(line)(layer->batch * width * (int64_t)sizeof(real));
    if (layer->half) {
        const int64_t slot = layer->batch * worker->operand_stride * bytes;
        worker->operands = next, next += NAME(line)(2 * slot + TILE_DEPTH * bytes);
        worker->reset_operand = next, next += NAME(line)(slot + TILE_DEPTH * bytes);
    }
    return next - job->memory;
}

/* The first state for the first product; in reverse also where a sequence starts after the first step. */
static void NAME(begin)(const struct NAME(worker) *worker) {
    const struct recurrence *layer = worker->layer;
    const int64_t size = layer->size, slot = layer->batch * size, start = layer->reverse ? layer->steps : 0;
    real *states[] = {layer->hidden, layer->training ? layer->memory : NULL};
    for (int one = 0; one < 2; one++)
        for (int64_t time = layer->steps - 2; states[one] && layer->reverse && time >= 0; time--) {
            const int64_t old = layer->rows[time + 1] * size, fresh = layer->rows[time] * size - old;
            memcpy(states[one] + (time + 1) * slot + old, states[one] + start * slot + old, sizeof(real) * (size_t)fresh);
        }
    for (int64_t row = 0; layer->half && row < layer->batch; row++)
        for (int64_t j = 0; j < size; j += LANES) {
            const lanes used = NAME(first)(size - j);
            const vec value = NAME(load)(states[0] + start * slot + row * size + j, used);
            const int64_t place = (row * worker->operand_stride + j) * worker->operand_bytes;
            NAME(give)(NAME(operand_slot)(worker, 0) + place, worker->operand_bytes, value, used);
            NAME(give)(NAME(operand_slot)(worker, 1) + place, worker->operand_bytes, value, used);
        }
}

static void NAME(work)(void *given, struct team *team) {
    const struct NAME(job) *job = given;
    struct NAME(worker) worker = {.layer = job->layer, .team = team};
    worker.part = part_of(team, job->layer, NAME(vectors)(job->layer->size));
    NAME(lay_out)(job, &worker);
    if (!job->backward && this_thread(team) == 0) NAME(begin)(&worker);
    if (job->layer->weight) NAME(pack)(&worker, &worker.first);
    if (worker.second.panels) NAME(pack)(&worker, &worker.second);
    wait_for_everyone(team);
    (job->backward ? NAME(backward) : NAME(forward))(&worker);
    if (job->layer->half == TILES_IN_HARDWARE) release_tiles();
}

static int NAME(run)(const struct recurrence *layer, int backward, const struct threads *threads) {
    struct NAME(job) job = {layer, backward, NULL};
    struct NAME(worker) worker = {.layer = layer};
    const int64_t bytes = NAME(lay_out)(&job, &worker);
    char *memory = malloc((size_t)bytes + 128);  /* GNU's posix_memalign, until 2.38, leaves holes that nothing fits into */
    if (!memory) return 1;
    job.memory = memory + (64 - (uintptr_t)memory % 64);
    if (layer->half) {
        NAME(lay_out)(&job, &worker);
        memset(worker.operands, 0, (size_t)(job.memory + bytes - worker.operands));
    }
    run_team(threads, layer, worker.first.padded * worker.first.gates * NAME(vectors)(layer->size) * LANES * worker.operand_bytes,
             NAME(work), &job);
    free(memory);
    return 0;
}

/* ---- one step of many sequences, from a product computed elsewhere ---- */

struct NAME(finished) {
    const struct recurrence *layer;
    const real *product; /* [B, G*H], or NULL for a parallel cell */
};

static void NAME(finish_some)(const void *argument, int64_t first, int64_t last) {
    const struct NAME(finished) *given = argument;
    const struct recurrence *layer = given->layer;
    const int64_t size = layer->size, width = layer->gates * size;
    real *hidden = layer->hidden, *memory = layer->memory;
    const struct NAME(step) step = {
        .layer = layer, .hidden_before = hidden, .hidden_after = hidden + layer->batch * size,
        .memory_before = memory, .memory_after = memory,
    };
    NAME(forward_of)[layer->cell](&step, &(struct NAME(tile)){
        .row = first, .rows = last - first, .last = size,
        .product = NAME(at)(given->product, first * width), .row_stride = width, .gate_stride = size,
    });
}

LOCAL void NAME(finish_step)(const struct recurrence *layer, const void *product) {
    const struct NAME(finished) given = {layer, product};
    nlpseq_share((struct job){NAME(finish_some), &given, layer->batch, 16}, 0);
}
