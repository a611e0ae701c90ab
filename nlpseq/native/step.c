/* One text, one token at a time: a recurrent stack's products and cells on a few cores.

   A step reads every weight once and does two operations with each, so it runs at the speed of memory, and what is
   left to win is everything that is not reading weights: calls, temporary arrays, waiting for threads. Matrices are cut
   into pieces of rows. The caller takes pieces from the front, helpers from the back; a helper that the system has put
   aside is not waited for unless it holds a piece, so a busy machine slows a step down by its share and not by a time
   slice. A matrix may be given as bf16, the upper halves of 32-bit floats, which is half as much to read; arithmetic is
   in 32 bits either way. Each processor's own instructions are used through clones that the loader chooses from.

   Many texts at once, as in a search, are products of matrices, which a library of them does well; but an output layer
   is followed by passes over all of its numbers. Here these are made while a piece of them is in the cache. */

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#else
#define PAUSE() ((void)0)
#endif

enum {
    LANES = 16,
    AHEAD = 2048, /* bytes from those in use to those asked for: left to itself a processor follows rows more slowly */
    PIECE_BYTES = 1 << 16,
    PATIENCE = 2000 /* pauses before a helper goes to sleep, about 0.1 ms */
};

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES), aligned(2), may_alias));

enum cell { RNN_TANH, RNN_RELU, RNN_SIGMOID, LSTM, GRU, GRU_RESET_BEFORE, MINGRU, MINLSTM };

/* A matrix [rows, columns]: 32-bit floats, or bf16 where `halved`. Each 32 columns of bf16 lie in 16 words, the first 16
   in their lower halves and the others in the upper ones, so that a shift and a mask make floats of them; the columns
   that are left over lie one after another. */
struct matrix {
    const void *numbers;
    int64_t rows, columns, halved;
};

/* One layer. Shapes as in torch.nn: weight_ih [G*H, I], weight_hh [G*H, H], the rest [G*H]; a gain may be NULL. A parallel
   cell has nothing with _hh. */
struct layer {
    int64_t cell, gates, hidden_size;
    struct matrix weight_ih, weight_hh;
    const float *bias_ih, *gain_ih, *bias_hh, *gain_hh;
    float *from_input, *from_hidden, *reset; /* room: [G*H], [G*H], [H] */
    float *hidden, *memory;                  /* the state: [H], and [H] or NULL */
    double zoneout;
};

/* ---- products ---- */

struct product {
    struct matrix weight;
    const float *bias, *input; /* [rows] or NULL, [columns] */
    float *out;                /* [rows] */
};

static inline float total(lanes values) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += values[lane];
    return sum;
}

static inline float number(const struct matrix *weight, int64_t row, int64_t column) {
    const int64_t start = row * weight->columns;
    if (!weight->halved) return ((const float *)weight->numbers)[start + column];
    const int64_t within = column % (2 * LANES), group = column - within;
    const int64_t place = group + 2 * LANES > weight->columns ? column : group + within % LANES * 2 + within / LANES;
    const uint32_t bits = (uint32_t)((const uint16_t *)weight->numbers)[start + place] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Rows first to last, four at a time. */
FOR_EACH_PROCESSOR
static void multiply_rows(const void *argument, int64_t first, int64_t last) {
    const struct product *job = argument;
    const struct matrix *weight = &job->weight;
    const int64_t columns = weight->columns, whole = columns - columns % (weight->halved ? 2 * LANES : LANES);
    const float *input = job->input;
    int64_t row = first;
    for (; row + 4 <= last; row += 4) {
        lanes sums[4] = {{0}, {0}, {0}, {0}};
        if (weight->halved) {
            const uint16_t *numbers = (const uint16_t *)weight->numbers + row * columns;
            for (int64_t column = 0; column < whole; column += 2 * LANES) {
                const lanes values = *(const lanes *)(input + column);
                const lanes others = *(const lanes *)(input + column + LANES);
                for (int one = 0; one < 4; one++) {
                    const uint16_t *place = numbers + one * columns + column;
                    __builtin_prefetch((const char *)place + AHEAD);
                    const words both = *(const words *)place;
                    sums[one] += (lanes)(both << 16) * values + (lanes)(both & 0xFFFF0000) * others;
                }
            }
        } else {
            const float *numbers = (const float *)weight->numbers + row * columns;
            for (int64_t column = 0; column < whole; column += LANES) {
                const lanes values = *(const lanes *)(input + column);
                for (int one = 0; one < 4; one++) {
                    const float *place = numbers + one * columns + column;
                    __builtin_prefetch((const char *)place + AHEAD);
                    sums[one] += *(const lanes *)place * values;
                }
            }
        }
        for (int one = 0; one < 4; one++) {
            float sum = total(sums[one]);
            for (int64_t column = whole; column < columns; column++)
                sum += number(weight, row + one, column) * input[column];
            job->out[row + one] = job->bias ? sum + job->bias[row + one] : sum;
        }
    }
    for (; row < last; row++) {
        float sum = job->bias ? job->bias[row] : 0;
        for (int64_t column = 0; column < columns; column++) sum += number(weight, row, column) * input[column];
        job->out[row] = sum;
    }
}

/* ---- the helpers ---- */

/* Work that is cut into pieces of `piece` rows, the last one shorter. */
struct job {
    void (*run)(const void *argument, int64_t first, int64_t last);
    const void *argument;
    int64_t rows, piece;
};

static struct {
    _Atomic uint64_t free_pieces; /* [front, back): front in the upper half, back in the lower */
    _Atomic int64_t unfinished;
    _Atomic int sleeping;
    atomic_flag taken; /* by a caller; another thread that calls meanwhile works alone */
    struct job job;
    pthread_mutex_t lock;
    pthread_cond_t work;
    int helpers;
} pool = {.taken = ATOMIC_FLAG_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

static int any_free(void) {
    const uint64_t pieces = atomic_load(&pool.free_pieces);
    return pieces >> 32 < (pieces & UINT32_MAX);
}

/* Take a piece from the front or the back and do it; 0 where none is left. */
static int work_on_one(int from_back) {
    uint64_t pieces = atomic_load(&pool.free_pieces);
    uint64_t front, back;
    do {
        front = pieces >> 32, back = pieces & UINT32_MAX;
        if (front >= back) return 0;
    } while (!atomic_compare_exchange_weak(&pool.free_pieces, &pieces, from_back ? pieces - 1 : pieces + (1ull << 32)));
    const int64_t first = (int64_t)(from_back ? back - 1 : front) * pool.job.piece;
    const int64_t last = first + pool.job.piece < pool.job.rows ? first + pool.job.piece : pool.job.rows;
    pool.job.run(pool.job.argument, first, last);
    atomic_fetch_sub(&pool.unfinished, 1);
    return 1;
}

static void *help(void *unused) {
    for (;;) {
        for (int waited = 0; waited < PATIENCE; waited++) {
            if (work_on_one(1)) waited = 0;
            PAUSE();
        }
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_add(&pool.sleeping, 1);
        while (!any_free()) pthread_cond_wait(&pool.work, &pool.lock);
        atomic_fetch_sub(&pool.sleeping, 1);
        pthread_mutex_unlock(&pool.lock);
    }
    return unused;
}

/* Let so many threads work on jobs, the caller among them. Only the first call counts. */
void nlpseq_start(int threads) {
    if (atomic_flag_test_and_set(&pool.taken)) return;
    while (pool.helpers < threads - 1) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, help, NULL)) break;
        pthread_detach(thread);
        pool.helpers++;
    }
    atomic_flag_clear(&pool.taken);
}

static void share(struct job job) {
    const int64_t pieces = (job.rows + job.piece - 1) / job.piece;
    if (pieces < 2 || !pool.helpers || atomic_flag_test_and_set(&pool.taken)) {
        job.run(job.argument, 0, job.rows);
        return;
    }
    pool.job = job;
    atomic_store(&pool.unfinished, pieces);
    atomic_store(&pool.free_pieces, (uint64_t)pieces);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.work);
        pthread_mutex_unlock(&pool.lock);
    }
    while (work_on_one(0)) continue;
    while (atomic_load(&pool.unfinished)) PAUSE();
    atomic_flag_clear(&pool.taken);
}

/* out = weight @ input + bias */
void nlpseq_product(const struct matrix *weight, const float *bias, const float *input, float *out) {
    const int64_t row_bytes = weight->columns * (weight->halved ? 2 : 4);
    const struct product product = {*weight, bias, input, out};
    share((struct job){multiply_rows, &product, weight->rows, PIECE_BYTES / row_bytes / 4 * 4 + 4});
}

/* ---- functions of single values ---- */

/* exp(x) to two units in the last place, for x in [-87, 88]; beyond it the nearer end's value. NaN stays NaN. */
static inline float exponential(float x) {
    x = x < -87 ? -87 : x;
    x = x > 88 ? 88 : x;
    const float shifted = x * 1.44269504f + 12582912.0f; /* the whole part ends up in the lowest bits */
    const float whole = shifted - 12582912.0f;
    const float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f; /* ln 2 in two parts */
    float value = 1.0f / 5040;
    value = value * rest + 1.0f / 720;
    value = value * rest + 1.0f / 120;
    value = value * rest + 1.0f / 24;
    value = value * rest + 1.0f / 6;
    value = value * rest + 0.5f;
    value = value * rest + 1.0f;
    value = value * rest + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, 4);
    bits = (bits + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return value * power;
}

FOR_EACH_PROCESSOR
static void sigmoid(float *values, int64_t size) {
    for (int64_t j = 0; j < size; j++) values[j] = 1 / (1 + exponential(-values[j]));
}

FOR_EACH_PROCESSOR
static void hyperbolic_tangent(float *values, int64_t size) {
    for (int64_t j = 0; j < size; j++) values[j] = 2 / (1 + exponential(-2 * values[j])) - 1;
}

FOR_EACH_PROCESSOR
static void add(float *values, const float *others, int64_t size) {
    for (int64_t j = 0; j < size; j++) values[j] += others[j];
}

FOR_EACH_PROCESSOR
static void multiply(float *values, const float *others, int64_t size) {
    for (int64_t j = 0; j < size; j++) values[j] *= others[j];
}

/* state = fresh, but for the share of the old state that zoneout keeps */
FOR_EACH_PROCESSOR
static void renew(float *state, const float *fresh, float kept, int64_t size) {
    for (int64_t j = 0; j < size; j++) state[j] = fresh[j] + kept * (state[j] - fresh[j]);
}

/* ---- cells: the equations of nlpseq.cells ---- */

static void normalise(float *values, const float *gain, const float *bias, int64_t size) {
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < size; j++) sum += values[j];
    const double mean = sum / (double)size;
    for (int64_t j = 0; j < size; j++) squares += (values[j] - mean) * (values[j] - mean);
    const float scale = (float)(1 / sqrt(squares / (double)size + 1e-5));
    for (int64_t j = 0; j < size; j++) values[j] = (values[j] - (float)mean) * scale * gain[j] + bias[j];
}

/* The product with some rows of weight_hh, normalised where the layer asks for it. */
static void project_hidden(const struct layer *layer, const float *hidden, int64_t first, int64_t rows) {
    struct matrix some = layer->weight_hh;
    some.numbers = (const char *)some.numbers + first * some.columns * (some.halved ? 2 : 4);
    some.rows = rows;
    float *out = layer->from_hidden + first;
    const float *bias = layer->bias_hh + first;
    nlpseq_product(&some, layer->gain_hh ? NULL : bias, hidden, out);
    if (layer->gain_hh) normalise(out, layer->gain_hh + first, bias, rows);
}

/* The cell itself. Its gates are worked out in place, in from_input; for the second form of the gru, whose hidden state
   is reset before its product, the caller has put that product into from_hidden. */
static void step(const struct layer *layer) {
    const int64_t size = layer->hidden_size;
    const float kept = (float)layer->zoneout;
    float *gates = layer->from_input, *from_hidden = layer->from_hidden, *hidden = layer->hidden;
    const int gated = layer->cell == GRU || layer->cell == GRU_RESET_BEFORE;
    float *candidate = gates + 2 * size;

    if (layer->cell == MINGRU) {
        float *update = gates;
        candidate = gates + size;
        sigmoid(update, size);
        for (int64_t j = 0; j < size; j++) candidate[j] = hidden[j] + update[j] * (candidate[j] - hidden[j]);
        renew(hidden, candidate, kept, size);
        return;
    }
    if (layer->cell == MINLSTM) {
        float *forget = gates, *admit = gates + size;
        sigmoid(gates, 2 * size);
        for (int64_t j = 0; j < size; j++)
            candidate[j] += forget[j] / (forget[j] + admit[j]) * (hidden[j] - candidate[j]);
        renew(hidden, candidate, kept, size);
        return;
    }
    if (gated) {
        float *reset = gates, *update = gates + size;
        add(gates, from_hidden, 2 * size);
        sigmoid(gates, 2 * size);
        if (layer->cell == GRU) multiply(from_hidden + 2 * size, reset, size);
        add(candidate, from_hidden + 2 * size, size);
        hyperbolic_tangent(candidate, size);
        for (int64_t j = 0; j < size; j++) candidate[j] += update[j] * (hidden[j] - candidate[j]);
        renew(hidden, candidate, kept, size);
        return;
    }
    add(gates, from_hidden, layer->gates * size);
    if (layer->cell == LSTM) {
        float *admitted = gates, *forgotten = gates + size, *shown = gates + 3 * size;
        sigmoid(gates, 2 * size);
        hyperbolic_tangent(candidate, size);
        sigmoid(shown, size);
        multiply(candidate, admitted, size);
        multiply(forgotten, layer->memory, size);
        add(candidate, forgotten, size);
        memcpy(admitted, candidate, 4 * (size_t)size);
        hyperbolic_tangent(admitted, size);
        multiply(shown, admitted, size);
        renew(layer->memory, candidate, kept, size);
        renew(hidden, shown, kept, size);
        return;
    }
    if (layer->cell == RNN_TANH) hyperbolic_tangent(gates, size);
    if (layer->cell == RNN_SIGMOID) sigmoid(gates, size);
    if (layer->cell == RNN_RELU)
        for (int64_t j = 0; j < size; j++) gates[j] = gates[j] < 0 ? 0 : gates[j];
    renew(hidden, gates, kept, size);
}

static void project_inputs(const struct layer *layer, const float *input) {
    nlpseq_product(&layer->weight_ih, layer->gain_ih ? NULL : layer->bias_ih, input, layer->from_input);
    if (layer->gain_ih) normalise(layer->from_input, layer->gain_ih, layer->bias_ih, layer->weight_ih.rows);
}

/* Advance all layers by one step. The first layer's input comes as its finished product [G*H], as a vector [I], or as
   both, whose products are then added (not under layer normalisation). */
void nlpseq_advance(const struct layer *layers, int64_t depth, const float *product, const float *input) {
    for (const struct layer *layer = layers; layer < layers + depth; layer++) {
        const int64_t size = layer->hidden_size, rows = layer->gates * size;
        if (layer > layers)
            project_inputs(layer, layer[-1].hidden);
        else if (!product)
            project_inputs(layer, input);
        else if (input)
            nlpseq_product(&layer->weight_ih, product, input, layer->from_input);
        else
            memcpy(layer->from_input, product, 4 * (size_t)rows);
        if (layer->cell == GRU_RESET_BEFORE) {
            project_hidden(layer, layer->hidden, 0, rows - size);
            memcpy(layer->reset, layer->from_input, 4 * (size_t)size);
            add(layer->reset, layer->from_hidden, size);
            sigmoid(layer->reset, size);
            multiply(layer->reset, layer->hidden, size);
            project_hidden(layer, layer->reset, rows - size, size);
        } else if (layer->weight_hh.numbers) {
            project_hidden(layer, layer->hidden, 0, rows);
        }
        step(layer);
    }
}

/* values = values - log(sum(exp(values))) */
FOR_EACH_PROCESSOR
void nlpseq_log_softmax(float *values, int64_t size) {
    float largest = values[0];
    for (int64_t j = 1; j < size; j++) largest = values[j] > largest ? values[j] : largest;
    double sum = 0;
    for (int64_t start = 0; start < size; start += 4096) {
        float sums[LANES] = {0};
        const int64_t end = start + 4096 < size ? start + 4096 : size;
        int64_t j = start;
        for (; j + LANES <= end; j += LANES)
            for (int lane = 0; lane < LANES; lane++) sums[lane] += exponential(values[j + lane] - largest);
        for (; j < end; j++) sums[0] += exponential(values[j] - largest);
        for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
    }
    const float offset = largest + (float)log(sum);
    for (int64_t j = 0; j < size; j++) values[j] -= offset;
}

/* ---- the output layer of many texts ---- */

enum { CHUNK = 64, AHEAD_PLACES = 8 };

/* Logits = features @ weight' + bias; unless `maxima` is NULL, of each chunk of the vocabulary the largest, and the sum of
   exp(logit - largest). */
struct output {
    const float *features;         /* [rows, size] */
    const float *weight, *bias;    /* [chunks, size, CHUNK], [chunks, CHUNK]; what is beyond the vocabulary has a bias of -1e30 */
    float *logits, *maxima, *sums; /* [rows, vocabulary], [rows, chunks], [rows, chunks] */
    int64_t rows, size, vocabulary, chunks;
};

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PROCESSOR avx512
#define ROWS 6
#define VECTORS 4
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,fma")
#include "output.h"
#pragma GCC pop_options

#define PROCESSOR avx2
#define ROWS 2
#define VECTORS 2
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#include "output.h"
#pragma GCC pop_options
#endif

#define PROCESSOR plain
#define ROWS 2
#define VECTORS 1
#include "output.h"

/* Fill in an output's logits, maxima and sums. */
void nlpseq_output(const struct output *output) {
    void (*run)(const void *, int64_t, int64_t) = multiply_chunks_plain;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        run = multiply_chunks_avx512;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        run = multiply_chunks_avx2;
#endif
    share((struct job){run, output, output->chunks, 1});
}
