/* Work that is shared out among threads. */

#ifndef NLPSEQ_HELPERS_H
#define NLPSEQ_HELPERS_H

#include "interface.h"

/* Rows 0 to `rows`, in pieces of `piece` of them, the last one shorter. */
struct job {
    void (*run)(const void *argument, int64_t first, int64_t last);
    const void *argument;
    int64_t rows, piece;
};

/* Do a job, with helpers or alone. */
void nlpseq_share(struct job job, int alone);

#endif
