/* The loop over time, forward and backward, as each thread of a team runs it. Included once for each type and processor.

   Weights are packed once a call into panels, so that a product reads them in order. A tile of a product goes through the
   cell at once, while it is in the nearest cache. Layer normalisation has to see whole rows, and so costs a second phase
   and barrier a step; the gru that resets before its second product has two products, and so two phases. */

/* A product with some rows of the recurrent weights, or, backward, with their transpose. */
struct NAME(product) {
    int64_t depth, gates, row; /* gates: blocks of H columns; row: the first of the weight's */
    int transposed;
    real *panels; /* [vectors of units, depth, gates, LANES] */
};

struct NAME(worker) {
    const struct recurrence *layer;
    struct team *team;
    struct part part;
    struct NAME(product) first, second; /* the second only where a state is reset before it */
    real *buffer;                       /* [B, G*H], where there is a gain */
    real *operands, *reset_operand;     /* in half precision: [2, B, H] or [2, B, G*H]; [B, H] */
};

INLINE int64_t NAME(vectors)(int64_t size) { return (size + LANES - 1) / LANES; }

/* How many of the vectors that are left make the next panel. */
INLINE int64_t NAME(panel_vectors)(const struct NAME(product) *product, int64_t left) {
    return product->gates > 1 ? 1 : left / ((left + 3) / 4);
}

INLINE real *NAME(panel)(const struct NAME(product) *product, int64_t vector) {
    return product->panels + vector * product->depth * product->gates * LANES;
}

static void NAME(pack_panel)(const struct recurrence *layer, const struct NAME(product) *product, int64_t vector,
                             int64_t taken) {
    const real *weight = layer->weight;
    const int64_t size = layer->size, columns = product->gates * taken;
    real *panel = NAME(panel)(product, vector);
    const int64_t units = size - vector * LANES;
    if (product->transposed) {
        for (int64_t k = 0; k < product->depth; k++)
            for (int64_t one = 0; one < columns; one++) {
                const real *place = weight + (product->row + k) * size + (vector + one) * LANES;
                const vec values = NAME(load)(place, NAME(first)(units - one * LANES));
                *(vec *)(panel + (k * columns + one) * LANES) = layer->half ? NAME(rounded)(values) : values;
            }
        return;
    }
    for (int64_t start = 0; start < product->depth; start += LANES)
        for (int64_t one = 0; one < columns; one++) {
            const int64_t unit = product->gates > 1 ? 0 : one * LANES, gate = product->gates > 1 ? one : 0;
            const int64_t row = product->row + gate * size + vector * LANES + unit;
            const int64_t deep = product->depth - start < LANES ? product->depth - start : LANES;
            vec block[LANES];
            for (int64_t lane = 0; lane < LANES; lane++) {
                const real *place = weight + (row + lane) * size + start;
                block[lane] = unit + lane < units ? NAME(load)(place, NAME(first)(deep)) : (vec){0};
            }
            NAME(transpose)(block);
            for (int64_t k = 0; k < deep; k++)
                *(vec *)(panel + ((start + k) * columns + one) * LANES) =
                    layer->half ? NAME(rounded)(block[k]) : block[k];
        }
}

static void NAME(pack)(const struct NAME(worker) *worker, const struct NAME(product) *product) {
    const struct team *team = worker->team;
    int64_t turn = 0;
    for (int64_t vector = worker->part.first_vector, taken; vector < worker->part.last_vector; vector += taken, turn++) {
        taken = NAME(panel_vectors)(product, worker->part.last_vector - vector);
        if (team->share == UNITS || turn % team->threads == this_thread(team))
            NAME(pack_panel)(worker->layer, product, vector, taken);
    }
}

/* A tile that is made goes to `finish`, or into the buffer where that is NULL. */
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

/* Some rows of a product with one panel. The panel is taken in parts that stay in the nearest cache for all rows. */
static void NAME(multiply_panel)(const struct NAME(worker) *worker, const struct NAME(product) *product, int64_t vector,
                                 int64_t taken, const real *left, int64_t stride, int64_t first, int64_t last,
                                 const struct NAME(step) *step, NAME(finish) finish) {
    real made[AT_ONCE * 4 * LANES] __attribute__((aligned(64)));
    const int64_t size = worker->layer->size, columns = product->gates * taken, most = NAME(most_rows)(columns);
    const int64_t tiles = (last - first + most - 1) / most;
    const real *panel = NAME(panel)(product, vector);
    const real *end = NAME(panel)(product, worker->part.last_vector), *start = NAME(panel)(product, worker->part.first_vector);
    struct NAME(tile) tile = {.first = vector * LANES, .row_stride = columns * LANES, .gate_stride = LANES};
    tile.last = (vector + taken) * LANES < size ? (vector + taken) * LANES : size;
    for (int64_t k = 0, deep; k < product->depth; k += deep) {
        deep = (product->depth - k) / ((product->depth - k + DEPTH - 1) / DEPTH);
        struct NAME(operands) operands = {.depth = deep, .stride = stride, .add = k > 0};
        const int finished = k + deep == product->depth;
        operands.panel = panel + k * columns * LANES;
        operands.hurry = columns * VECTOR_BYTES / tiles;
        const real *next = operands.panel + operands.depth * columns * LANES;
        operands.next = (const char *)(next < end ? next : start);
        real *out = made;
        for (int64_t row = first, rows; row < last; row += rows, out += rows * columns * LANES) {
            rows = (last - row) / ((last - row + most - 1) / most);
            operands.left = left + row * stride + k;
            if (finished) NAME(prepare)(step, row, rows, tile.first, tile.last - tile.first);
            NAME(multiply)((int)rows, (int)columns, &operands, out);
            operands.next += operands.depth * operands.hurry;
            if (!finished) continue;
            tile.row = row, tile.rows = rows, tile.product = out;
            NAME(pass_on)(worker, product, step, &tile, finish);
        }
    }
}

static void NAME(multiply_rows)(const struct NAME(worker) *worker, const struct NAME(product) *product, const real *left,
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

INLINE real NAME(total)(const real *values, const real *others, real shift, int64_t size) {
    vec sums = {0};
    real sum = 0;
    int64_t j = 0;
    for (; j + LANES <= size; j += LANES)
        sums += (NAME(load)(values + j, NAME(first)(LANES)) - shift) * (others ? NAME(load)(others + j, NAME(first)(LANES)) - shift : (vec){0} + 1);
    for (; j < size; j++) sum += (values[j] - shift) * (others ? others[j] - shift : 1);
    for (int64_t lane = 0; lane < LANES; lane++) sum += sums[lane];
    return sum;
}

/* A sequence's product in the buffer: gates of it, from column `start` of G*H, become normalised and times their gain. */
static void NAME(normalise)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t row,
                            const struct NAME(product) *product) {
    const struct recurrence *layer = worker->layer;
    const int64_t width = layer->gates * layer->size, start = product->row, size = product->gates * layer->size;
    real *values = worker->buffer + row * width + start;
    const real *gain = (const real *)layer->gain + start;
    const real mean = NAME(total)(values, NULL, 0, size) / (real)size;
    const real variance = NAME(total)(values, values, mean, size) / (real)size;
    const real deviation = 1 / (real)sqrt((double)variance + 1e-5);
    const int64_t place = step->place + row;
    real *normalised = layer->training ? (real *)layer->normalised + place * width + start : NULL;
    if (layer->training) ((real *)layer->deviation)[place * 2 + (start > 0)] = deviation;
    for (int64_t j = 0; j < size; j += LANES) {
        const vec value = (NAME(load)(values + j, NAME(first)(size - j)) - mean) * deviation;
        if (normalised) NAME(store)(normalised + j, value, NAME(first)(size - j));
        NAME(store)(values + j, value * NAME(load)(gain + j, NAME(first)(size - j)), NAME(first)(size - j));
    }
}

/* Back through it: from grad_product to grad_bare, and to the operand of the next product. */
static void NAME(normalise_backward)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t row,
                                     const struct NAME(product) *product, real *operand) {
    const struct recurrence *layer = worker->layer;
    const int64_t width = layer->gates * layer->size, start = product->row, place = step->place + row;
    const int64_t size = start ? layer->size : layer->cell == GRU_RESET_BEFORE ? 2 * layer->size : width;
    const real *gain = (const real *)layer->gain + start;
    const real *grad = (const real *)layer->grad_product + place * width + start;
    const real *normalised = (const real *)layer->normalised + place * width + start;
    const real deviation = ((const real *)layer->deviation)[place * 2 + (start > 0)];
    real *bare = (real *)layer->grad_bare + place * width + start;
    for (int64_t j = 0; j < size; j += LANES)
        NAME(store)(bare + j, NAME(load)(grad + j, NAME(first)(size - j)) * NAME(load)(gain + j, NAME(first)(size - j)), NAME(first)(size - j));
    const real mean = NAME(total)(bare, NULL, 0, size) / (real)size;
    const real shared = NAME(total)(bare, normalised, 0, size) / (real)size;
    for (int64_t j = 0; j < size; j += LANES) {
        const vec value = NAME(load)(bare + j, NAME(first)(size - j)) - mean - NAME(load)(normalised + j, NAME(first)(size - j)) * shared;
        NAME(store)(bare + j, value * deviation, NAME(first)(size - j));
        if (operand) NAME(store)(operand + row * width + start + j, NAME(rounded)(value * deviation), NAME(first)(size - j));
    }
}

/* This thread's part of rows [0, active) in a phase that takes rows as a whole. */
INLINE void NAME(whole_rows)(const struct NAME(worker) *worker, int64_t active, int64_t *first, int64_t *last) {
    const struct team *team = worker->team;
    *first = worker->part.first_row < active ? worker->part.first_row : active;
    *last = worker->part.last_row < active ? worker->part.last_row : active;
    if (team->share == SEQUENCES) return;
    *first = active * this_thread(team) / team->threads;
    *last = active * (this_thread(team) + 1) / team->threads;
}

/* ---- forward ---- */

/* One product and what follows it. */
static void NAME(forward_phase)(const struct NAME(worker) *worker, const struct NAME(product) *product, const real *left,
                                const struct NAME(step) *step, int64_t active, NAME(finish) finish) {
    const struct recurrence *layer = worker->layer;
    const int64_t size = layer->size, width = layer->gates * size;
    NAME(multiply_rows)(worker, product, left, size, 0, active, step, layer->gain ? NULL : finish);
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

static struct NAME(step) NAME(make_step)(const struct NAME(worker) *worker, int64_t time, int backward) {
    const struct recurrence *layer = worker->layer;
    const int64_t before = layer->reverse ? time + 1 : time, after = layer->reverse ? time : time + 1;
    const int64_t slot = layer->batch * layer->size;
    real *hidden = layer->hidden, *memory = layer->memory, *operands = worker->operands;
    return (struct NAME(step)){
        .layer = layer,
        .place = layer->offsets[time],
        .kept_place = layer->training ? layer->offsets[time] : 0,
        .hidden_before = hidden + before * slot,
        .hidden_after = hidden + after * slot,
        .memory_before = layer->training ? NAME(at)(memory, before * slot) : memory,
        .memory_after = layer->training ? (real *)NAME(at)(memory, after * slot) : memory,
        .operand = operands && !backward ? operands + (after & 1) * slot : NULL,
        .reset_operand = worker->reset_operand,
        .grad_operand = operands && backward && !layer->gain ? operands + (time & 1) * slot * layer->gates : NULL,
    };
}

static void NAME(forward)(const struct NAME(worker) *worker) {
    const struct recurrence *layer = worker->layer;
    const int64_t slot = layer->batch * layer->size;
    for (int64_t turn = 0; turn < layer->steps; turn++) {
        const int64_t time = layer->reverse ? layer->steps - 1 - turn : turn;
        const struct NAME(step) step = NAME(make_step)(worker, time, 0);
        const int64_t before = layer->reverse ? time + 1 : time;
        const real *left = worker->operands ? worker->operands + (before & 1) * slot : step.hidden_before;
        const NAME(finish) finish = NAME(forward_of)[layer->cell];
        if (layer->cell != GRU_RESET_BEFORE) {
            NAME(forward_phase)(worker, &worker->first, left, &step, layer->rows[time], finish);
            continue;
        }
        const real *gated = (const real *)layer->held + step.kept_place * layer->size;
        NAME(forward_phase)(worker, &worker->first, left, &step, layer->rows[time], NAME(finish_reset));
        if (worker->reset_operand) gated = worker->reset_operand;
        NAME(forward_phase)(worker, &worker->second, gated, &step, layer->rows[time], finish);
    }
}

/* ---- backward ---- */

/* The gradients of a step as the product reads them: rows of G*H. */
INLINE const real *NAME(sent_by)(const struct NAME(worker) *worker, int64_t time) {
    const struct recurrence *layer = worker->layer;
    const int64_t width = layer->gates * layer->size;
    if (worker->operands) return worker->operands + (time & 1) * layer->batch * width;
    return (const real *)layer->grad_bare + layer->offsets[time] * width;
}

/* The cell alone, where no later step sends anything back. */
static void NAME(finish_rows)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t first,
                              int64_t last, NAME(finish) finish) {
    const int64_t size = worker->layer->size, unit = worker->part.first_vector * LANES, end = worker->part.last_vector * LANES;
    if (first < worker->part.first_row) first = worker->part.first_row;
    if (last > worker->part.last_row) last = worker->part.last_row;
    if (first < last && unit < size)
        finish(step, &(struct NAME(tile)){first, last - first, unit, end < size ? end : size, NULL, 0, 0});
}

/* The gradient of the hidden state after a step, through the product of the step that ran after it (`later`, -1 for
   none), and with it back through the cell. */
static void NAME(backward_phase)(const struct NAME(worker) *worker, const struct NAME(step) *step, int64_t time,
                                 int64_t later) {
    const struct recurrence *layer = worker->layer;
    const int64_t width = layer->gates * layer->size, active = layer->rows[time];
    const int64_t sending = later < 0 ? 0 : layer->rows[later], both = active < sending ? active : sending;
    const NAME(finish) finish = NAME(backward_of)[layer->cell];
    const real *left = later < 0 ? NULL : NAME(sent_by)(worker, later);
    if (!layer->gain) {
        NAME(multiply_rows)(worker, &worker->first, left, width, 0, both, step, finish);
        NAME(multiply_rows)(worker, &worker->first, left, width, both, sending, step, NAME(finish_carry));
        NAME(finish_rows)(worker, step, both, active, finish);
        wait_for_all(worker->team);
        return;
    }
    NAME(multiply_rows)(worker, &worker->first, left, width, 0, sending, step, NAME(finish_carry));
    wait_for_all(worker->team);
    const int resets = layer->cell == GRU_RESET_BEFORE;
    real *operand = worker->operands ? worker->operands + (time & 1) * layer->batch * width : NULL;
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
    const int64_t width = layer->gates * layer->size, active = layer->rows[time];
    const real *left = NAME(sent_by)(worker, time) + worker->second.row;
    NAME(multiply_rows)(worker, &worker->second, left, width, 0, active, step, NAME(finish_reset_backward));
    wait_for_all(worker->team);
    if (!layer->gain) return;
    real *operand = worker->operands ? worker->operands + (time & 1) * layer->batch * width : NULL;
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
    if (layer->want_first && later >= 0)
        NAME(multiply_rows)(worker, &worker->first, NAME(sent_by)(worker, later), layer->gates * layer->size, 0,
                            layer->rows[later], &step, NAME(finish_carry));
}

/* ---- the team ---- */

struct NAME(job) {
    const struct recurrence *layer;
    int backward;
    real *memory; /* room for panels, buffer and operands, in this order */
};

INLINE int64_t NAME(panel_room)(const struct recurrence *layer) {
    return NAME(vectors)(layer->size) * LANES * layer->gates * layer->size;
}

/* How many numbers a call needs room for. */
static int64_t NAME(room)(const struct recurrence *layer, int backward) {
    const int64_t slot = layer->batch * layer->size;
    int64_t room = NAME(panel_room)(layer) + (layer->gain ? layer->gates * slot : 0);
    if (layer->half) room += 2 * slot * (backward ? layer->gates : 1) + slot;
    return room;
}

static struct NAME(worker) NAME(make_worker)(const struct NAME(job) *job, struct team *team) {
    const struct recurrence *layer = job->layer;
    const int64_t size = layer->size, slot = layer->batch * size, resets = layer->cell == GRU_RESET_BEFORE;
    struct NAME(worker) worker = {.layer = layer, .team = team, .part = part_of(team, layer, NAME(vectors)(size))};
    const int64_t gates = resets ? 2 : layer->gates, split = NAME(vectors)(size) * LANES * gates * size;
    worker.first = (struct NAME(product)){size, gates, 0, job->backward, job->memory};
    worker.second = (struct NAME(product)){size, 1, 2 * size, job->backward, job->memory + split};
    if (job->backward) worker.first.depth = gates * size, worker.first.gates = 1;
    real *next = job->memory + NAME(panel_room)(layer);
    if (layer->gain) worker.buffer = next, next += layer->gates * slot;
    if (layer->half) worker.operands = next, worker.reset_operand = next + 2 * slot * (job->backward ? layer->gates : 1);
    return worker;
}

/* The first state as the first product reads it; and in reverse, where a sequence begins later than the first step. */
static void NAME(begin)(const struct NAME(job) *job, real *operands) {
    const struct recurrence *layer = job->layer;
    const int64_t size = layer->size, slot = layer->batch * size, start = layer->reverse ? layer->steps : 0;
    real *states[] = {layer->hidden, layer->training ? layer->memory : NULL};
    for (int one = 0; one < 2; one++)
        for (int64_t time = layer->steps - 2; states[one] && layer->reverse && time >= 0; time--) {
            const int64_t old = layer->rows[time + 1] * size, fresh = layer->rows[time] * size - old;
            memcpy(states[one] + (time + 1) * slot + old, states[one] + start * slot + old, sizeof(real) * (size_t)fresh);
        }
    for (int64_t j = 0; operands && j < slot; j += LANES) {
        const vec value = NAME(rounded)(NAME(load)(states[0] + start * slot + j, NAME(first)(slot - j)));
        NAME(store)(operands + j, value, NAME(first)(slot - j));
        NAME(store)(operands + slot + j, value, NAME(first)(slot - j));
    }
}

static void NAME(work)(void *given, struct team *team) {
    const struct NAME(job) *job = given;
    const struct NAME(worker) worker = NAME(make_worker)(job, team);
    if (!job->backward && this_thread(team) == 0) NAME(begin)(job, worker.operands);
    NAME(pack)(&worker, &worker.first);
    if (job->layer->cell == GRU_RESET_BEFORE) NAME(pack)(&worker, &worker.second);
    wait_for_everyone(team);
    (job->backward ? NAME(backward) : NAME(forward))(&worker);
}

static int NAME(run)(const struct recurrence *layer, int backward, const struct threads *threads) {
    struct NAME(job) job = {layer, backward, NULL};
    void *memory;
    if (posix_memalign(&memory, 64, sizeof(real) * (size_t)(NAME(room)(layer, backward) + LANES))) return 1;
    job.memory = memory;
    const int64_t bytes = NAME(panel_room)(layer) * (int64_t)sizeof(real);
    run_team(threads, layer, bytes, NAME(work), &job);
    free(memory);
    return 0;
}
