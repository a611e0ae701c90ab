/* Work that is divided among threads. */

#ifndef NLPSEQ_HELPERS_H
#define NLPSEQ_HELPERS_H

#include "interface.h"

/* Rows 0 to `rows`, in pieces of `piece` rows; the last piece may be shorter. */
struct job {
    void (*run)(const void *argument, int64_t first, int64_t last);
    const void *argument;
    int64_t rows, piece;
};

/* Run a job, with the helper threads or alone. */
void nlpseq_share(struct job job, int alone);

#endif
