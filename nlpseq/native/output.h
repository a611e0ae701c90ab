/* The output layer of many texts, for one kind of processor: PROCESSOR is its name, and ROWS texts and VECTORS * LANES
   tokens are what its registers hold at a time. For step.c alone. */

#define JOINED(first, second) first##_##second
#define NAMED(first, second) JOINED(first, second)
#define FINISH NAMED(finish, PROCESSOR)
#define MULTIPLY_BLOCK NAMED(multiply_block, PROCESSOR)
#define MULTIPLY_CHUNKS NAMED(multiply_chunks, PROCESSOR)

/* Write a row's logits of a chunk, and sum them up if that is asked for. */
static inline void FINISH(const struct output *output, int64_t row, int64_t chunk, const float *values) {
    const int64_t start = chunk * CHUNK, left = output->vocabulary - start;
    memcpy(output->logits + row * output->vocabulary + start, values, 4 * (size_t)(left < CHUNK ? left : CHUNK));
    if (!output->maxima) return;
    float most[LANES], sums[LANES] = {0};
    memcpy(most, values, sizeof most);
    for (int one = LANES; one < CHUNK; one += LANES)
        for (int lane = 0; lane < LANES; lane++)
            most[lane] = values[one + lane] > most[lane] ? values[one + lane] : most[lane];
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) most[lane] = most[lane + half] > most[lane] ? most[lane + half] : most[lane];
    const float largest = most[0];
    for (int one = 0; one < CHUNK; one += LANES)
        for (int lane = 0; lane < LANES; lane++) sums[lane] += exponential(values[one + lane] - largest);
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    output->maxima[row * output->chunks + chunk] = largest;
    output->sums[row * output->chunks + chunk] = sums[0];
}

/* The logits of `rows` rows, a constant where this is used. */
static inline __attribute__((always_inline)) void MULTIPLY_BLOCK(
    const struct output *output, int64_t row, int64_t chunk, int rows) {
    const float *weight = output->weight + chunk * output->size * CHUNK, *bias = output->bias + chunk * CHUNK;
    const float *features = output->features + row * output->size;
    float values[ROWS * CHUNK] __attribute__((aligned(64)));
    for (int column = 0; column < CHUNK; column += VECTORS * LANES) {
        lanes sums[ROWS][VECTORS];
        for (int one = 0; one < rows; one++)
            for (int vector = 0; vector < VECTORS; vector++)
                sums[one][vector] = *(const lanes *)(bias + column + vector * LANES);
        for (int64_t place = 0; place < output->size; place++) {
            const float *numbers = weight + place * CHUNK + column;
            for (int vector = 0; vector < VECTORS; vector++)
                __builtin_prefetch(numbers + AHEAD_PLACES * CHUNK + vector * LANES);
            for (int one = 0; one < rows; one++)
                for (int vector = 0; vector < VECTORS; vector++)
                    sums[one][vector] +=
                        *(const lanes *)(numbers + vector * LANES) * features[one * output->size + place];
        }
        for (int one = 0; one < rows; one++)
            for (int vector = 0; vector < VECTORS; vector++)
                *(lanes *)(values + one * CHUNK + column + vector * LANES) = sums[one][vector];
    }
    for (int one = 0; one < rows; one++) FINISH(output, row + one, chunk, values + one * CHUNK);
}

static void MULTIPLY_CHUNKS(const void *argument, int64_t first, int64_t last) {
    const struct output *output = argument;
    for (int64_t chunk = first; chunk < last; chunk++) {
        int64_t row = 0;
        for (; row + ROWS <= output->rows; row += ROWS) MULTIPLY_BLOCK(output, row, chunk, ROWS);
        for (; row < output->rows; row++) MULTIPLY_BLOCK(output, row, chunk, 1);
    }
}

#undef JOINED
#undef NAMED
#undef FINISH
#undef MULTIPLY_BLOCK
#undef MULTIPLY_CHUNKS
#undef PROCESSOR
#undef ROWS
#undef VECTORS
