/* One layer of a recurrent cell over time, forward and backward: what the two entry points are given.

   T steps, B sequences, H units, G gate blocks; N is the number of real steps of all sequences, B*T where all are of one
   length. Sequences are sorted by length, longest first, so the active ones of a step are its first rows[t], and their
   places in arrays of N begin at offsets[t]. All numbers are of one type, 32-bit or 64-bit floats. */

#ifndef NLPSEQ_RECURRENCE_H
#define NLPSEQ_RECURRENCE_H

#include <stdint.h>

enum cell { RNN_TANH, RNN_RELU, RNN_SIGMOID, LSTM, GRU, GRU_RESET_BEFORE, MINGRU, MINLSTM };

/* Who does what: AUTOMATIC lets the threads share the sequences where the weights fit into a core's cache, which needs
   no waiting, and else the units, which needs a barrier in every step. */
enum share { AUTOMATIC, UNITS, SEQUENCES };

/* Operands as they are given; rounded to bf16 and multiplied in 32 bits; multiplied on the processor's tiles, or on ones
   that are imitated. The last two are for AVX-512 and 32-bit floats only. */
enum half { FULL, ROUNDED, TILES_IN_HARDWARE, TILES_IMITATED };

struct recurrence {
    int64_t cell, gates, steps, batch, size;
    int64_t reverse;  /* from the last step to the first */
    int64_t training; /* keep what the backward pass needs */
    int64_t half;     /* operands of the products are rounded to bf16: `enum half` */
    int64_t share;
    int64_t want_first; /* backward: the gradient of the first hidden state is wanted */
    double zoneout;
    const int64_t *rows, *offsets;         /* [T] */
    const void *weight, *bias, *gain;      /* [G*H, H], [G*H], [G*H] or NULL; none for a parallel cell */
    const void *from_input, *input_bias;   /* [N, G*H]; [G*H], or NULL where it is added already */
    const void *masks;                     /* [N, H] of 0 and 1, or NULL */
    void *hidden, *memory;                 /* [T + 1, B, H]: the state before step t in slot t, or t + 1 in reverse */
    void *activations;                     /* [N, G*H], may be from_input; without training [B, G*H], if used at all */
    void *held;                            /* gru: W_n h + b_n; gru-reset-before: r * h. As activations, but of H */
    void *normalised, *deviation;          /* [N, G*H], [N, 2], where there is a gain */
    const void *grad_outputs;              /* [N, H] */
    void *grad_hidden, *grad_memory;       /* [B, H]: given of the last state, made of the first */
    void *grad_gates;                      /* [N, G*H], of the input's product */
    void *grad_product;                    /* [N, G*H], of the hidden state's product; may be grad_gates */
    void *grad_bare;                       /* [N, G*H], of that product before normalisation; may be grad_product */
};

/* Without training `memory` is [B, H] and changed in place. */

#endif
