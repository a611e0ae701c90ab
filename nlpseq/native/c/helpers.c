/* Threads that help with jobs which are over in less time than it takes to wake one.

   A job is cut into pieces of rows. The caller takes pieces from the front, helpers from the back; a helper that the
   system has put aside is not waited for unless it holds a piece, so a busy machine slows a job down by its share and not
   by a time slice. A helper that finds nothing to do looks for a while before it sleeps. In training, torch's OpenMP
   threads do the same: two teams that both spin while they wait would take each other's cores. */

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "helpers.h"
#include "processor.h"

enum { PATIENCE = 200000 /* nanoseconds that a helper looks for work before it sleeps */ };

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

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *help(void *unused) {
    for (;;) {
        for (int64_t since = nanoseconds(); nanoseconds() - since < PATIENCE;)
            for (int looked = 0; looked < 16; looked++) {
                if (work_on_one(1)) since = nanoseconds();
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

/* Set the number of threads that work on jobs, the caller included. Only the first call counts. */
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

static void share_with_helpers(struct job job) {
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

void nlpseq_share(struct job job, int alone) {
    if (alone)
        job.run(job.argument, 0, job.rows);
    else
        share_with_helpers(job);
}
