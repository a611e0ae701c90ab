/* What Python hands to the compiled code: its structures are repeated in nlpseq/native, field by field.

   INTERFACE is a number that both sides know. It changes with every change of a structure or of a function's arguments,
   so that a library of another version is refused and not called. */

#ifndef NLPSEQ_INTERFACE_H
#define NLPSEQ_INTERFACE_H

#include <stdint.h>

#define INTERFACE 13

/* An OpenMP runtime's own functions; `parallel` is NULL where there is one thread only. */
struct threads {
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
    int (*number)(void), (*count)(void);
    int64_t wanted;
};

/* The cells: the number of each, and its name in the functions of cells.h. In the order of CELLS in
   nlpseq/native/recurrence.py. */
#define EACH_CELL(CELL)                        \
    CELL(RNN_TANH, rnn_tanh)                   \
    CELL(RNN_RELU, rnn_relu)                   \
    CELL(RNN_SIGMOID, rnn_sigmoid)             \
    CELL(LSTM, lstm)                           \
    CELL(GRU, gru)                             \
    CELL(GRU_RESET_BEFORE, gru_reset_before)   \
    CELL(MINGRU, mingru)                       \
    CELL(MINLSTM, minlstm)

#define CELL_NUMBER(number, name) number,
enum cell { EACH_CELL(CELL_NUMBER) };

/* ---- one layer over time ----

   T steps, B sequences, H units, G gate blocks; N is the number of real steps of all sequences, B*T where all are of one
   length. Sequences are sorted by length, longest first, so the active ones of a step are its first rows[t], and their
   places in arrays of N begin at offsets[t]. All numbers are of one type, 32-bit or 64-bit floats. */

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


/* ---- one step of one text ---- */

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
    float *from_input, *from_hidden, *reset; /* room: [G*H], [G*H], [3 * H] */
    float *hidden, *memory;                  /* the state: [H], and [H] or NULL */
    double zoneout;
};

/* ---- products of matrices ---- */

enum { CHUNK = 64 }; /* columns whose largest is looked for together */

/* out [rows, columns] = left [rows, depth] @ matrix' + bias, the matrix [columns, depth] being given packed.

   `bias` is NULL or has whole chunks; its numbers beyond the columns stand for logits there. Unless they are NULL: `maxima`
   and `sums` [rows, chunks] get of each chunk the largest x and the sum of exp(x - largest), and `log_sums` [rows] what
   log(sum(exp(x))) over all columns is. With `targets` [rows] there is no `out`: `losses` [rows] are log_sums less x of the
   target's column. Both need a bias. */
struct product {
    int64_t rows, columns, depth;
    const float *left, *matrix, *packed, *bias; /* `matrix` is for packing only */
    float *out, *maxima, *sums;
    double *log_sums;
    const int64_t *targets;
    double *losses;
};

#endif
