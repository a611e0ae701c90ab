/* The arguments that Python passes to the compiled code. nlpseq/native repeats these structures, field by field.

   INTERFACE is the version of this file. It changes with every change of a structure or of a function's arguments, and
   Python refuses a library of another version. */

#ifndef NLPSEQ_INTERFACE_H
#define NLPSEQ_INTERFACE_H

#include <stdint.h>

#define INTERFACE 15

/* Functions of an OpenMP runtime; `parallel` is NULL if there is only one thread. */
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

   T steps, B sequences, H units, G gate blocks; N is the number of real steps of all sequences, B*T if all have the same
   length. Sequences are sorted by length, longest first, so the first rows[t] sequences are active in step t, and their
   entries in arrays of N start at offsets[t]. All numbers have the same type, 32-bit or 64-bit floats. */

/* How threads divide the work. AUTOMATIC divides the sequences if the weights fit into a core's cache, which needs no
   waiting, and otherwise the units, which needs a barrier in every step. */
enum share { AUTOMATIC, UNITS, SEQUENCES };

/* Operands of the products: unchanged; rounded to bf16 and multiplied in 32 bits; multiplied on the processor's tiles; on
   imitated tiles; or in pairs, by an instruction that adds two products to each sum. The last three need AVX-512 and 32-bit
   floats, and their operands have 16 bits. */
enum half { FULL, ROUNDED, TILES_IN_HARDWARE, TILES_IMITATED, PAIRS };

struct recurrence {
    int64_t cell, gates, steps, batch, size;
    int64_t reverse;  /* from the last step to the first */
    int64_t training; /* keep the values that the backward pass needs */
    int64_t half;     /* operands of the products are rounded to bf16: `enum half` */
    int64_t share;
    int64_t want_first; /* backward: compute the gradient of the first hidden state */
    double zoneout;
    const int64_t *rows, *offsets;         /* [T] */
    const void *weight, *bias, *gain;      /* [G*H, H], [G*H], [G*H] or NULL; all NULL for a parallel cell */
    const void *from_input, *input_bias;   /* [N, G*H]; [G*H], or NULL if from_input includes it */
    const void *masks;                     /* [N, H] of 0 and 1, or NULL */
    void *hidden, *memory;                 /* [T + 1, B, H]: the state before step t in slot t, or t + 1 in reverse */
    void *activations;                     /* [N, G*H], may be from_input; without training [B, G*H], if used at all */
    void *held;                            /* gru: W_n h + b_n; gru-reset-before: r * h. As activations, but of H */
    void *normalised, *deviation;          /* [N, G*H], [N, 2], if there is a gain */
    const void *grad_outputs;              /* [N, H] */
    void *grad_hidden, *grad_memory;       /* [B, H]: of the last state on entry, of the first on return */
    void *grad_gates;                      /* [N, G*H], of the input's product */
    void *grad_product;                    /* [N, G*H], of the hidden state's product; may be grad_gates */
    void *grad_bare;                       /* [N, G*H], of that product before normalisation; may be grad_product */
};

/* Without training `memory` is [B, H] and changed in place. */


/* ---- one step of one text ---- */

/* A matrix [rows, columns] of numbers of 32 bits (floats), 16 (bf16) or 8 (int8).

   Each 32 columns of bf16 are in 16 words, the first 16 columns in the lower halves and the last 16 in the upper halves, so
   that a shift and a mask turn them into floats. The remaining columns are one after another.

   Rows of int8 are filled up with zeros to whole LINEs of columns. Each LINE is in 32 words of 16 bits, the first 32 columns
   in the lower halves. A number of row r counts scales[r] times. It is multiplied with an input of 16 bits, for which
   `rounded` has room: as many numbers as a row. */
enum { LINE = 64 };

struct matrix {
    const void *numbers;
    int64_t rows, columns, bits;
    const float *scales; /* [rows] */
    int16_t *rounded;
};

/* One layer. Shapes as in torch.nn: weight_ih [G*H, I], weight_hh [G*H, H], the rest [G*H]; a gain may be NULL. A parallel
   cell uses no field that ends in _hh. */
struct layer {
    int64_t cell, gates, hidden_size;
    struct matrix weight_ih, weight_hh;
    const float *bias_ih, *gain_ih, *bias_hh, *gain_hh;
    float *from_input, *from_hidden, *reset; /* buffers: [G*H], [G*H], [3 * H] */
    float *hidden, *memory;                  /* the state: [H], and [H] or NULL */
    double zoneout;
};

/* ---- products of matrices ---- */

enum { CHUNK = 64 }; /* columns that have a maximum together */

/* out [rows, columns] = left [rows, depth] @ matrix' + bias; the matrix [columns, depth] is packed.

   `bias` is NULL or has whole chunks; its numbers beyond the columns are the logits there. `maxima` and `sums` [rows,
   chunks] get the largest x of each chunk and the sum of exp(x - largest), and `log_sums` [rows] gets log(sum(exp(x)))
   over all columns, unless they are NULL. With `targets` [rows] `out` is not written, and `losses` [rows] get log_sums minus
   the x of the target's column. Both need a bias. */
struct product {
    int64_t rows, columns, depth;
    const float *left, *matrix, *packed, *bias; /* `matrix` is for packing only */
    float *out, *maxima, *sums;
    double *log_sums;
    const int64_t *targets;
    double *losses;
};

#endif
