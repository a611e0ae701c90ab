/* The arithmetic of each cell between two matrix products, forward and backward: the equations of nlpseq.cells, for a
   vector of units at a time. Included once for each type and processor.

   A product is a tile that was just computed, or rows of a buffer if layer normalisation needs whole rows. In both cases
   gate g of unit u is at row * row_stride + g * gate_stride + u - first. In the backward pass a product has one value for
   each unit, the gradient of the hidden state through the product of the next step; NULL means zero. */

/* One step, as the functions below see it. */
struct NAME(step) {
    const struct recurrence *layer;
    int64_t place;      /* the index of the first sequence in arrays of N */
    int64_t kept_place; /* the same in arrays kept for the backward pass; without training these have one step */
    const real *hidden_before, *memory_before;   /* [B, H] */
    real *hidden_after, *memory_after;           /* [B, H] */
    char *operand, *reset_operand; /* [B, H]: the new state, and r * h, as the next products read them */
    char *grad_operand;            /* [B, G*H]: gradients as the products read them */
    int64_t operand_stride, operand_bytes;
};

struct NAME(tile) {
    int64_t row, rows, first, last; /* sequences, and units first to last */
    const real *product;
    int64_t row_stride, gate_stride;
};

typedef void (*NAME(finish))(const struct NAME(step) *, const struct NAME(tile) *);

/* Pointers for one sequence and vector of units. */
struct NAME(here) {
    lanes used;
    int64_t size; /* H */
    const real *product;     /* may be NULL, backward */
    int64_t gate_stride;
    const real *from_input, *input_bias, *bias, *hidden_before, *memory_before, *mask;
    real *activations, *held, *hidden_after, *memory_after;
    const real *grad_output;
    real *grad_hidden, *grad_memory, *grad_gates, *grad_product;
    char *operand, *reset_operand, *grad_operand;
    int64_t operand_bytes;
    real zoneout;
    int zones, training;
};

INLINE const real *NAME(at)(const void *array, int64_t offset) { return array ? (const real *)array + offset : NULL; }

INLINE struct NAME(here) NAME(locate)(const struct NAME(step) *step, const struct NAME(tile) *tile, int64_t row,
                                      int64_t unit) {
    const struct recurrence *layer = step->layer;
    const int64_t size = layer->size, width = layer->gates * size, sequence = tile->row + row;
    const int64_t place = step->place + sequence, kept = step->kept_place + sequence, state = sequence * size + unit;
    const int64_t inside = row * tile->row_stride + unit - tile->first;
    const int64_t operand = (sequence * step->operand_stride + unit) * step->operand_bytes;
    struct NAME(here) here = {
        .used = NAME(first)(tile->last - unit),
        .size = size,
        .product = NAME(at)(tile->product, inside),
        .gate_stride = tile->gate_stride,
        .from_input = NAME(at)(layer->from_input, place * width + unit),
        .input_bias = NAME(at)(layer->input_bias, unit),
        .bias = NAME(at)(layer->bias, unit),
        .hidden_before = step->hidden_before + state,
        .memory_before = NAME(at)(step->memory_before, state),
        .mask = NAME(at)(layer->masks, place * size + unit),
        .activations = (real *)NAME(at)(layer->activations, kept * width + unit),
        .held = (real *)NAME(at)(layer->held, kept * size + unit),
        .hidden_after = (real *)NAME(at)(step->hidden_after, state),
        .memory_after = (real *)NAME(at)(step->memory_after, state),
        .operand = step->operand ? step->operand + operand : NULL,
        .reset_operand = step->reset_operand ? step->reset_operand + operand : NULL,
        .grad_operand = step->grad_operand ? step->grad_operand + operand : NULL,
        .operand_bytes = step->operand_bytes,
        .grad_output = NAME(at)(layer->grad_outputs, place * size + unit),
        .grad_hidden = (real *)NAME(at)(layer->grad_hidden, state),
        .grad_memory = (real *)NAME(at)(layer->grad_memory, state),
        .grad_gates = (real *)NAME(at)(layer->grad_gates, place * width + unit),
        .grad_product = (real *)NAME(at)(layer->grad_product, place * width + unit),
        .zoneout = (real)layer->zoneout,
        .zones = layer->zoneout != 0,
        .training = layer->training != 0,
    };
    return here;
}

/* The same for the sequence after it: cheaper than to work it all out anew. */
INLINE void NAME(next_row)(struct NAME(here) *here, const struct NAME(step) *step, const struct NAME(tile) *tile) {
#define FORWARD(field, stride) here->field = here->field ? here->field + (stride) : NULL
    const int64_t size = here->size, width = step->layer->gates * size;
    const int64_t operand = step->operand_stride * step->operand_bytes;
    FORWARD(product, tile->row_stride);
    FORWARD(from_input, width);
    FORWARD(hidden_before, size);
    FORWARD(memory_before, size);
    FORWARD(mask, size);
    FORWARD(activations, width);
    FORWARD(held, size);
    FORWARD(hidden_after, size);
    FORWARD(memory_after, size);
    FORWARD(operand, operand);
    FORWARD(reset_operand, operand);
    FORWARD(grad_operand, operand);
    FORWARD(grad_output, size);
    FORWARD(grad_hidden, size);
    FORWARD(grad_memory, size);
    FORWARD(grad_gates, width);
    FORWARD(grad_product, width);
#undef FORWARD
}

INLINE void NAME(ask_for)(const void *array, int64_t row, int64_t width, int64_t unit, int64_t count) {
    const char *place = (const char *)((const real *)array + row * width + unit);
    if (array)
        for (int64_t byte = 0; byte < count * (int64_t)sizeof(real); byte += 64) __builtin_prefetch(place + byte);
}

/* Prefetch the memory that a tile needs while its product is computed. It is spread over as many addresses as there are
   sequences and gates, which no processor predicts. */
INLINE void NAME(prepare)(const struct NAME(step) *step, int64_t row, int64_t rows, int64_t unit, int64_t count) {
    const struct recurrence *layer = step->layer;
    const int64_t size = layer->size, width = layer->gates * size;
    for (int64_t one = row; one < row + rows; one++) {
        const int64_t place = step->place + one;
        for (int64_t gate = 0; gate < layer->gates; gate++) {
            const int64_t column = gate * size + unit;
            NAME(ask_for)(layer->grad_outputs ? layer->activations : layer->from_input, place, width, column, count);
            NAME(ask_for)(layer->grad_gates, place, width, column, count);
        }
        NAME(ask_for)(layer->grad_outputs, place, size, unit, count);
        NAME(ask_for)(step->memory_before, one, size, unit, count);
    }
}

/* ---- forward ---- */

/* The input's product for a gate. */
INLINE vec NAME(from_input)(const struct NAME(here) *here, int64_t gate) {
    const vec product = NAME(load)(here->from_input + gate * here->size, here->used);
    if (!here->input_bias) return product;
    return product + NAME(load)(here->input_bias + gate * here->size, here->used);
}

/* A gate before its activation. */
INLINE vec NAME(summed)(const struct NAME(here) *here, int64_t gate) {
    return NAME(from_input)(here, gate) +
           NAME(load)(here->product + gate * here->gate_stride, here->used) +
           NAME(load)(here->bias + gate * here->size, here->used);
}

INLINE void NAME(keep)(const struct NAME(here) *here, int64_t gate, vec activation) {
    if (here->training) NAME(store)(here->activations + gate * here->size, activation, here->used);
}

/* Hand a value on as the next product's operand. */
INLINE void NAME(give)(char *place, int64_t bytes, vec value, lanes used) {
#if WITH_TILES
    if (bytes == 2) {
        NAME(store_short)((uint16_t *)place, value, used);
        return;
    }
#endif
    (void)bytes;
    NAME(store)((real *)place, NAME(rounded)(value), used);
}

/* The fraction of the old state that zoneout keeps. */
INLINE vec NAME(share)(const struct NAME(here) *here) {
    if (here->mask) return NAME(load)(here->mask, here->used);
    return (vec){0} + here->zoneout;
}

INLINE vec NAME(zoned)(const struct NAME(here) *here, vec fresh, const real *before) {
    if (!here->zones) return fresh;
    return fresh + NAME(share)(here) * (NAME(load)(before, here->used) - fresh);
}

INLINE void NAME(show)(const struct NAME(here) *here, vec hidden) {
    hidden = NAME(zoned)(here, hidden, here->hidden_before);
    NAME(store)(here->hidden_after, hidden, here->used);
    if (here->operand) NAME(give)(here->operand, here->operand_bytes, hidden, here->used);
}

INLINE void NAME(rnn_forward)(const struct NAME(here) *here, const int cell) {
    vec value = NAME(summed)(here, 0);
    if (cell == RNN_TANH) value = NAME(hyperbolic_tangent)(value);
    if (cell == RNN_SIGMOID) value = NAME(sigmoid)(value);
    if (cell == RNN_RELU) value = NAME(choose)(value < 0, (vec){0}, value);
    NAME(keep)(here, 0, value);
    NAME(show)(here, value);
}

/* Up to the new memory and the gate that shows it, in two steps, for a processor to have more than one row's in work. */
INLINE void NAME(lstm_remember)(const struct NAME(here) *here, vec made[2]) {
    const vec admitted = NAME(sigmoid)(NAME(summed)(here, 0)), kept = NAME(sigmoid)(NAME(summed)(here, 1));
    const vec candidate = NAME(hyperbolic_tangent)(NAME(summed)(here, 2)), shown = NAME(sigmoid)(NAME(summed)(here, 3));
    NAME(keep)(here, 0, admitted);
    NAME(keep)(here, 1, kept);
    NAME(keep)(here, 2, candidate);
    NAME(keep)(here, 3, shown);
    const vec memory = kept * NAME(load)(here->memory_before, here->used) + admitted * candidate;
    NAME(store)(here->memory_after, NAME(zoned)(here, memory, here->memory_before), here->used);
    made[0] = memory, made[1] = shown;
}

INLINE void NAME(lstm_show)(const struct NAME(here) *here, const vec made[2]) {
    NAME(show)(here, made[1] * NAME(hyperbolic_tangent)(made[0]));
}

INLINE void NAME(blend)(const struct NAME(here) *here, vec update, vec candidate) {
    NAME(show)(here, candidate + update * (NAME(load)(here->hidden_before, here->used) - candidate));
}

INLINE void NAME(gru_forward)(const struct NAME(here) *here) {
    const vec reset = NAME(sigmoid)(NAME(summed)(here, 0)), update = NAME(sigmoid)(NAME(summed)(here, 1));
    const vec product = NAME(load)(here->product + 2 * here->gate_stride, here->used) +
                        NAME(load)(here->bias + 2 * here->size, here->used);
    const vec candidate = NAME(hyperbolic_tangent)(NAME(from_input)(here, 2) + reset * product);
    NAME(keep)(here, 0, reset);
    NAME(keep)(here, 1, update);
    NAME(keep)(here, 2, candidate);
    if (here->training) NAME(store)(here->held, product, here->used);
    NAME(blend)(here, update, candidate);
}

/* The second form of the gru, up to the product of r * h; `product` holds two gates. */
INLINE void NAME(reset_forward)(const struct NAME(here) *here) {
    const vec reset = NAME(sigmoid)(NAME(summed)(here, 0));
    NAME(store)(here->activations, reset, here->used);
    NAME(store)(here->activations + here->size, NAME(sigmoid)(NAME(summed)(here, 1)), here->used);
    const vec gated = reset * NAME(load)(here->hidden_before, here->used);
    NAME(store)(here->held, gated, here->used);
    if (here->reset_operand) NAME(give)(here->reset_operand, here->operand_bytes, gated, here->used);
}

/* And from there on; `product` holds the last gate only. */
INLINE void NAME(gru_reset_before_forward)(const struct NAME(here) *here) {
    const vec candidate = NAME(hyperbolic_tangent)(NAME(from_input)(here, 2) +
                                                   NAME(load)(here->product, here->used) +
                                                   NAME(load)(here->bias + 2 * here->size, here->used));
    NAME(keep)(here, 2, candidate);
    NAME(blend)(here, NAME(load)(here->activations + here->size, here->used), candidate);
}

/* The parallel cells: no product of theirs but the input's, and so no gate of a product to be summed with it. */
INLINE void NAME(mingru_forward)(const struct NAME(here) *here) {
    const vec update = NAME(sigmoid)(NAME(from_input)(here, 0)), candidate = NAME(from_input)(here, 1);
    const vec before = NAME(load)(here->hidden_before, here->used);
    NAME(keep)(here, 0, update);
    NAME(keep)(here, 1, candidate);
    NAME(show)(here, before + update * (candidate - before));
}

INLINE void NAME(minlstm_forward)(const struct NAME(here) *here) {
    const vec forget = NAME(sigmoid)(NAME(from_input)(here, 0)), admit = NAME(sigmoid)(NAME(from_input)(here, 1));
    const vec candidate = NAME(from_input)(here, 2), kept = forget / (forget + admit);
    NAME(keep)(here, 0, forget);
    NAME(keep)(here, 1, admit);
    NAME(keep)(here, 2, candidate);
    NAME(show)(here, candidate + kept * (NAME(load)(here->hidden_before, here->used) - candidate));
}

/* ---- backward ---- */

INLINE vec NAME(through_sigmoid)(vec grad, vec output) { return grad * output * (1 - output); }
INLINE vec NAME(through_tanh)(vec grad, vec output) { return grad * (1 - output * output); }

INLINE vec NAME(activation)(const struct NAME(here) *here, int64_t gate) {
    return NAME(load)(here->activations + gate * here->size, here->used);
}

INLINE void NAME(send_operand)(const struct NAME(here) *here, int64_t gate, vec grad) {
    char *place = here->grad_operand;
    if (place) NAME(give)(place + gate * here->size * here->operand_bytes, here->operand_bytes, grad, here->used);
}

/* A gradient of both products. */
INLINE void NAME(send)(const struct NAME(here) *here, int64_t gate, vec grad) {
    NAME(store)(here->grad_gates + gate * here->size, grad, here->used);
    if (here->grad_product != here->grad_gates) NAME(store)(here->grad_product + gate * here->size, grad, here->used);
    NAME(send_operand)(here, gate, grad);
}

/* The gradient of the hidden state after the step, and what of it zoneout leads past the step. */
INLINE vec NAME(receive)(const struct NAME(here) *here, vec *past) {
    vec grad = NAME(load)(here->grad_hidden, here->used) + NAME(load)(here->grad_output, here->used);
    if (here->product) grad += NAME(load)(here->product, here->used);
    *past = (vec){0};
    if (!here->zones) return grad;
    *past = grad * NAME(share)(here);
    return grad - *past;
}

INLINE void NAME(rnn_backward)(const struct NAME(here) *here, const int cell) {
    const vec output = NAME(activation)(here, 0);
    vec past, grad = NAME(receive)(here, &past);
    if (cell == RNN_TANH) grad = NAME(through_tanh)(grad, output);
    if (cell == RNN_SIGMOID) grad = NAME(through_sigmoid)(grad, output);
    if (cell == RNN_RELU) grad = NAME(choose)(output > 0, grad, (vec){0});
    NAME(send)(here, 0, grad);
    NAME(store)(here->grad_hidden, past, here->used);
}

INLINE void NAME(lstm_backward)(const struct NAME(here) *here) {
    const vec admitted = NAME(activation)(here, 0), kept = NAME(activation)(here, 1);
    const vec candidate = NAME(activation)(here, 2), shown = NAME(activation)(here, 3);
    const vec before = NAME(load)(here->memory_before, here->used);
    const vec squashed = NAME(hyperbolic_tangent)(kept * before + admitted * candidate);
    vec past, grad_hidden = NAME(receive)(here, &past);
    NAME(store)(here->grad_hidden, past, here->used);
    vec grad_memory = NAME(load)(here->grad_memory, here->used);
    past = (vec){0};
    if (here->zones) {
        past = grad_memory * NAME(share)(here);
        grad_memory -= past;
    }
    grad_memory += NAME(through_tanh)(grad_hidden * shown, squashed);
    NAME(store)(here->grad_memory, grad_memory * kept + past, here->used);
    NAME(send)(here, 0, NAME(through_sigmoid)(grad_memory * candidate, admitted));
    NAME(send)(here, 1, NAME(through_sigmoid)(grad_memory * before, kept));
    NAME(send)(here, 2, NAME(through_tanh)(grad_memory * admitted, candidate));
    NAME(send)(here, 3, NAME(through_sigmoid)(grad_hidden * squashed, shown));
}

/* Backward of h = n + z * (h' - n): stores the gradient of z, keeps that of h', and returns that of n. */
INLINE vec NAME(blend_backward)(const struct NAME(here) *here) {
    const vec update = NAME(activation)(here, 1), candidate = NAME(activation)(here, 2);
    vec past, grad = NAME(receive)(here, &past);
    const vec direct = grad * update;
    NAME(store)(here->grad_hidden, direct + past, here->used);
    const vec difference = NAME(load)(here->hidden_before, here->used) - candidate;
    NAME(send)(here, 1, NAME(through_sigmoid)(grad * difference, update));
    return NAME(through_tanh)(grad - direct, candidate);
}

INLINE void NAME(gru_backward)(const struct NAME(here) *here) {
    const vec reset = NAME(activation)(here, 0), grad_candidate = NAME(blend_backward)(here);
    const vec grad_product = grad_candidate * reset;
    NAME(send)(here, 0, NAME(through_sigmoid)(grad_candidate * NAME(load)(here->held, here->used), reset));
    NAME(store)(here->grad_gates + 2 * here->size, grad_candidate, here->used);
    NAME(store)(here->grad_product + 2 * here->size, grad_product, here->used);
    NAME(send_operand)(here, 2, grad_product);
}

INLINE void NAME(gru_reset_before_backward)(const struct NAME(here) *here) {
    const vec grad_candidate = NAME(blend_backward)(here);
    NAME(send)(here, 2, grad_candidate);
}

INLINE void NAME(mingru_backward)(const struct NAME(here) *here) {
    const vec update = NAME(activation)(here, 0), candidate = NAME(activation)(here, 1);
    vec past, grad = NAME(receive)(here, &past);
    NAME(store)(here->grad_hidden, grad - grad * update + past, here->used);
    const vec difference = candidate - NAME(load)(here->hidden_before, here->used);
    NAME(send)(here, 0, NAME(through_sigmoid)(grad * difference, update));
    NAME(send)(here, 1, grad * update);
}

INLINE void NAME(minlstm_backward)(const struct NAME(here) *here) {
    const vec forget = NAME(activation)(here, 0), admit = NAME(activation)(here, 1);
    const vec candidate = NAME(activation)(here, 2), kept = forget / (forget + admit);
    vec past, grad = NAME(receive)(here, &past);
    NAME(store)(here->grad_hidden, grad * kept + past, here->used);
    const vec difference = NAME(load)(here->hidden_before, here->used) - candidate;
    const vec grad_kept = NAME(through_sigmoid)(grad * difference, kept); /* of log f - log i */
    NAME(send)(here, 0, grad_kept * (1 - forget));
    NAME(send)(here, 1, -grad_kept * (1 - admit));
    NAME(send)(here, 2, grad - grad * kept);
}

/* Through r * h, whose gradient is in `product`. */
INLINE void NAME(reset_backward)(const struct NAME(here) *here) {
    const vec reset = NAME(activation)(here, 0), before = NAME(load)(here->hidden_before, here->used);
    const vec grad = NAME(load)(here->product, here->used);
    NAME(store)(here->grad_hidden, NAME(load)(here->grad_hidden, here->used) + grad * reset, here->used);
    NAME(send)(here, 0, NAME(through_sigmoid)(grad * before, reset));
}

/* ---- tables ---- */

/* What a cell does with a tile. In the most common case, no zoneout, no half precision and a whole vector of units, the
   compiler is told so. */
INLINE int NAME(is_common)(const struct NAME(step) *step, const struct NAME(tile) *tile, int64_t unit) {
    return step->layer->zoneout == 0 && !step->layer->half && tile->last - unit >= LANES;
}

INLINE void NAME(make_common)(struct NAME(here) *here) {
    here->zones = 0, here->operand = here->reset_operand = here->grad_operand = NULL;
    here->used = NAME(first)(LANES);
}

/* Some units of a tile in two passes over its rows, since the second waits long for the first. */
INLINE void NAME(lstm_rows)(const struct NAME(step) *step, const struct NAME(tile) *tile, int64_t unit, const int common) {
    vec made[MOST_ROWS][2];
    for (int64_t start = 0, end; start < tile->rows; start = end) {
        end = start + MOST_ROWS < tile->rows ? start + MOST_ROWS : tile->rows;
        struct NAME(here) here = NAME(locate)(step, tile, start, unit);
        if (common) NAME(make_common)(&here);
        struct NAME(here) again = here;
        for (int64_t row = start; row < end; row++, NAME(next_row)(&here, step, tile))
            NAME(lstm_remember)(&here, made[row - start]);
        for (int64_t row = start; row < end; row++, NAME(next_row)(&again, step, tile))
            NAME(lstm_show)(&again, made[row - start]);
    }
}

LOCAL void NAME(finish_lstm)(const struct NAME(step) *step, const struct NAME(tile) *tile) {
    for (int64_t unit = tile->first; unit < tile->last; unit += LANES)
        if (NAME(is_common)(step, tile, unit))
            NAME(lstm_rows)(step, tile, unit, 1);
        else
            NAME(lstm_rows)(step, tile, unit, 0);
}

#undef FINISH
#define FINISH(name, call)                                                                              \
    LOCAL void NAME(finish_##name)(const struct NAME(step) *step, const struct NAME(tile) *tile) {      \
        for (int64_t unit = tile->first; unit < tile->last; unit += LANES) {                            \
            struct NAME(here) here = NAME(locate)(step, tile, 0, unit);                                 \
            if (NAME(is_common)(step, tile, unit)) {                                                    \
                NAME(make_common)(&here);                                                               \
                for (int64_t row = 0; row < tile->rows; row++, NAME(next_row)(&here, step, tile)) call; \
            } else {                                                                                    \
                for (int64_t row = 0; row < tile->rows; row++, NAME(next_row)(&here, step, tile)) call; \
            }                                                                                           \
        }                                                                                               \
    }

FINISH(rnn_tanh, NAME(rnn_forward)(&here, RNN_TANH))
FINISH(rnn_relu, NAME(rnn_forward)(&here, RNN_RELU))
FINISH(rnn_sigmoid, NAME(rnn_forward)(&here, RNN_SIGMOID))
FINISH(gru, NAME(gru_forward)(&here))
FINISH(reset, NAME(reset_forward)(&here))
FINISH(gru_reset_before, NAME(gru_reset_before_forward)(&here))
FINISH(mingru, NAME(mingru_forward)(&here))
FINISH(minlstm, NAME(minlstm_forward)(&here))
FINISH(mingru_backward, NAME(mingru_backward)(&here))
FINISH(minlstm_backward, NAME(minlstm_backward)(&here))
FINISH(rnn_tanh_backward, NAME(rnn_backward)(&here, RNN_TANH))
FINISH(rnn_relu_backward, NAME(rnn_backward)(&here, RNN_RELU))
FINISH(rnn_sigmoid_backward, NAME(rnn_backward)(&here, RNN_SIGMOID))
FINISH(lstm_backward, NAME(lstm_backward)(&here))
FINISH(gru_backward, NAME(gru_backward)(&here))
FINISH(gru_reset_before_backward, NAME(gru_reset_before_backward)(&here))
FINISH(reset_backward, NAME(reset_backward)(&here))
/* The gradient of sequences that the step before does not see, and of the first state. */
FINISH(carry, NAME(store)(here.grad_hidden, NAME(load)(here.grad_hidden, here.used) +
                                                NAME(load)(here.product, here.used), here.used))

/* A function of each cell, in the order of enum cell. */
#define FORWARD_OF(number, name) NAME(finish_##name),
#define BACKWARD_OF(number, name) NAME(finish_##name##_backward),
static const NAME(finish) NAME(forward_of)[] = {EACH_CELL(FORWARD_OF)};
LOCAL const NAME(finish) NAME(backward_of)[] = {EACH_CELL(BACKWARD_OF)};
#undef FORWARD_OF
#undef BACKWARD_OF
