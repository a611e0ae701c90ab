/* Sequential recurrent cells over time: the threads, the division of the work, and the choice of instructions.

   The same few headers are compiled for each kind of processor and for two types. The threads are those of the caller's
   own library, an OpenMP runtime passed as three functions: two teams of threads that spin while they wait would take each
   other's cores. */

#define _GNU_SOURCE
#include "helpers.h"
#include "interface.h"
#include "processor.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TILE_ROWS = 16, /* of the processor's tiles */
    TILE_DEPTH = 32,
    AT_ONCE = 128,  /* rows that share a part of a panel */
    DEPTH = 256,    /* of such a part where vectors are long: 64 KB in 32-bit floats, which the second cache keeps */
    FIRST_CACHE = 1 << 15,
    CACHE = 1 << 20,
    PATIENCE = 1 << 14 /* pauses before a thread that waits lets others run, about 0.5 ms */
};

struct team {
    int threads;
    enum share share;
    int (*number)(void);
    atomic_int arrived, round;
};

static int this_thread(const struct team *team) { return team->threads > 1 ? team->number() : 0; }

static void wait_for_everyone(struct team *team) {
    if (team->threads == 1) return;
    const int round = atomic_load(&team->round);
    if (atomic_fetch_add(&team->arrived, 1) == team->threads - 1) {
        atomic_store(&team->arrived, 0);
        atomic_fetch_add(&team->round, 1);
        return;
    }
    for (int waited = 0; atomic_load_explicit(&team->round, memory_order_acquire) == round; waited++) {
        if (waited > PATIENCE)
            sched_yield();
        else
            PAUSE();
    }
}

/* Between phases; threads with sequences of their own need not wait. */
static void wait_for_all(struct team *team) {
    if (team->share == UNITS) wait_for_everyone(team);
}

/* What a thread works on: all units of some sequences, or some vectors of units of all sequences. */
struct part {
    int64_t first_row, last_row, first_vector, last_vector;
};

/* The first sequence of the thread `one`, so that each thread has as many steps to do. */
static int64_t first_sequence(const struct team *team, const struct recurrence *layer, int64_t one) {
    int64_t total = 0, before = 0, row = 0, length = layer->steps;
    for (int64_t time = 0; time < layer->steps; time++) total += layer->rows[time];
    for (; row < layer->batch && before * team->threads < total * one; row++) {
        while (length > 0 && layer->rows[length - 1] <= row) length--;
        before += length;
    }
    return one == team->threads ? layer->batch : row;
}

static struct part part_of(const struct team *team, const struct recurrence *layer, int64_t vectors) {
    const int64_t one = this_thread(team);
    if (team->share == UNITS)
        return (struct part){0, layer->batch, vectors * one / team->threads, vectors * (one + 1) / team->threads};
    return (struct part){first_sequence(team, layer, one), first_sequence(team, layer, one + 1), 0, vectors};
}

struct region {
    void (*work)(void *, struct team *);
    void *job;
    const struct threads *threads;
    const struct recurrence *layer;
    int64_t bytes;
    struct team team;
    atomic_int ready;
};

static void settle(struct region *region, int threads) {
    const struct recurrence *layer = region->layer;
    region->team.threads = threads;
    region->team.number = region->threads->number;
    region->team.share = layer->share != AUTOMATIC                                          ? (enum share)layer->share
                         : region->bytes <= CACHE * 3 / 4 && layer->batch >= 4 * threads ? SEQUENCES
                                                                                            : UNITS;
}

static void enter(void *given) {
    struct region *region = given;
    if (region->threads->number() == 0) {
        settle(region, region->threads->count());
        atomic_store(&region->ready, 1);
    }
    while (!atomic_load(&region->ready)) PAUSE();
    region->work(region->job, &region->team);
}

static void run_team(const struct threads *threads, const struct recurrence *layer, int64_t bytes,
                     void (*work)(void *, struct team *), void *job) {
    struct region region = {.work = work, .job = job, .threads = threads, .layer = layer, .bytes = bytes};
    if (threads->parallel && threads->wanted > 1) {
        threads->parallel(enter, &region, (unsigned)threads->wanted, 0);
        return;
    }
    settle(&region, 1);
    work(job, &region.team);
}

/* ---- tiles ---- */

struct tile_operands {
    int64_t depth, stride;
    const uint16_t *left, *panel;
    int add;
};

#define TILES(name) name##_imitated
#define START(some) struct { int rows; union { float sums[16][16]; uint16_t halves[16][32]; } tiles[8]; } machine = {.rows = some}
#define ROWS_OF(tile) ((tile) < 5 ? machine.rows : 16)
#define LOAD(tile, from, line)                                                                 \
    for (int row = 0; row < ROWS_OF(tile); row++)                                              \
        memcpy(machine.tiles[tile].halves[row], (const char *)(from) + row * (line), 64)
#define STORE(tile, to, line)                                                                  \
    for (int row = 0; row < machine.rows; row++)                                               \
        memcpy((char *)(to) + row * (line), machine.tiles[tile].halves[row], 64)
#define ZERO(tile) memset(&machine.tiles[tile], 0, sizeof machine.tiles[tile])
#define DOT(to, left, right)                                                                    \
    for (int row = 0; row < machine.rows; row++)                                                \
        for (int pair = 0; pair < 16; pair++)                                                   \
            for (int column = 0; column < 32; column++)                                         \
                machine.tiles[to].sums[row][column / 2] +=                                      \
                    widened(machine.tiles[left].halves[row][2 * pair + column % 2]) *           \
                    widened(machine.tiles[right].halves[pair][column])

static inline float widened(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

#include "tiles.h"
#undef TILES
#undef START
#undef LOAD
#undef STORE
#undef ZERO
#undef DOT

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#include <cpuid.h>
#include <sys/syscall.h>
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16")
#define TILES(name) name##_in_hardware
#define START(rows) configure_tiles(rows)
#define LOAD(tile, from, line) _tile_loadd(tile, from, line)
#define STORE(tile, to, line) _tile_stored(tile, to, line)
#define ZERO(tile) _tile_zero(tile)
#define DOT(to, left, right) _tile_dpbf16ps(to, left, right)

static _Thread_local int configured_rows;

static void configure_tiles(int rows) {
    if (configured_rows == rows) return;
    struct {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } configuration = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) configuration.bytes[tile] = 64, configuration.rows[tile] = tile < 5 ? (uint8_t)rows : 16;
    _tile_loadconfig(&configuration);
    configured_rows = rows;
}

static void release_tiles(void) {
    if (configured_rows) _tile_release();
    configured_rows = 0;
}

#include "tiles.h"
#pragma GCC pop_options

/* Whether the processor has tiles, the system lets us use them, and they multiply as the imitated ones do. */
int nlpseq_recurrence_has_tiles(void) {
    enum { BF16 = 1 << 22, TILE = 1 << 24, REQUEST = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & BF16) || !(d & TILE)) return 0;
    if (syscall(SYS_arch_prctl, REQUEST, TILE_DATA)) return 0;
    uint16_t left[9 * 64], panel[64 * 4 * 16];
    float found[9 * 4 * 16], wanted[9 * 4 * 16];
    for (int j = 0; j < 9 * 64; j++) left[j] = (uint16_t)(0x3F80 + j * 37 % 256);
    for (int j = 0; j < 64 * 4 * 16; j++) panel[j] = (uint16_t)(0xBF80 - j * 61 % 512);
    const struct tile_operands given = {64, 64, left, panel, 0};
    multiply_in_hardware(9, 4, &given, found);
    release_tiles();
    multiply_imitated(9, 4, &given, wanted);
    for (int j = 0; j < 9 * 4 * 16; j++)
        if (!(fabsf(found[j] - wanted[j]) <= 1e-4f * fabsf(wanted[j]))) return 0;
    return 1;
}
#else
#define multiply_in_hardware multiply_imitated
static void release_tiles(void) {}
int nlpseq_recurrence_has_tiles(void) { return 0; }
#endif

LOCAL void (*const multiply_tiles[])(int, int, const struct tile_operands *, float *) = {multiply_in_hardware,
                                                                                          multiply_imitated};

/* ---- the kinds ---- */

#define VARIANTS "recurrence_variants.h"
#include "variants.h"

typedef int (*variant)(const struct recurrence *, int, const struct threads *);

static const variant RUN[][2] = {
#if HAS_LEVELS
    {run_float_plain, run_double_plain},
    {run_float_v3, run_double_v3},
    {run_float_v4, run_double_v4},
    {run_float_v4, run_double_v4},
    {run_float_v4, run_double_v4},
#else
    {run_float_plain, run_double_plain},
#endif
};

/* Run a layer forward or backward with the instructions of a kind, on at most threads->wanted threads. Returns 1 if there
   is not enough memory, else 0. */
int nlpseq_recurrence(const struct recurrence *layer, int backward, int doubles, int kind, const struct threads *threads) {
    return RUN[kind][doubles != 0](layer, backward, threads);
}

/* One step of a layer of 32-bit floats without training or normalisation, from the hidden state's `product`; `hidden` is
   [2, B, H], before and after the step. Not for a cell that resets before its product. */
void nlpseq_finish_step(int kind, const struct recurrence *layer, const float *product) {
    static void (*const run[])(const struct recurrence *, const void *) = OF_EACH_KIND(finish_step_float);
    run[kind](layer, product);
}
