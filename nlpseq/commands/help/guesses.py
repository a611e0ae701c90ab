"""What users of other programs type, and what it is called here.

The answers to a guess are tried in order, and the first one that the command has is used. An answer is typed as it
stands, or it is one of these:

    --flag          takes the value of the guess
    --flag VALUE    takes VALUE, unless the guess has a value of the same kind
    --flag =VALUE   takes VALUE in any case
    ARGUMENT        the value without a flag, if the command has an argument
    < or >          the value as standard input, if the command is a filter, or as standard output
    NAME=           the value as a variable of the environment
    an empty text   the flag is left out

Names are in lower case with `-` for `_`, but for flags of a single letter.
"""

from __future__ import annotations

from collections.abc import Mapping

ARGUMENT, READ, WRITE, LEAVE_OUT = "ARGUMENT", "<", ">", ""

Answers = tuple[str, ...]


def _table(rows: Mapping[str, Answers]) -> dict[str, Answers]:
    """The answers to each guess, from the answers to several guesses with spaces between them."""
    return {guess: answers for guesses, answers in rows.items() for guess in guesses.split()}


FLAGS = _table(
    {
        # the budget and the optimiser
        "lr learningrate lrate eta step-size": ("--learning-rate",),
        "epoch num-epochs n-epochs nepochs max-epochs num-train-epochs passes": ("--epochs", "--minutes =30"),
        "max-steps num-steps n-steps train-steps iterations iters max-iters max-iter updates": (
            "--steps",
            "--minutes =30",
        ),
        "steps epochs": ("--minutes =30",),
        "time timeout time-limit max-time max-minutes autotune-duration": ("--minutes",),
        "batch bs batchsize train-batch-size per-device-train-batch-size": ("--batch-size",),
        "optimizer optim opt": ("--optimiser",),
        "wd l2 decay": ("--weight-decay",),
        "grad-clip clip-grad clip-norm clipnorm max-grad-norm gradient-clip gradient-clipping": ("--clip",),
        "warmup warmup-steps lr-warmup": ("--warm-up",),
        "accum accum-count grad-accum accumulation gradient-accumulation-steps": ("--accumulate",),
        "ema": ("--average 0.999",),
        "early-stop early-stopping": ("--patience 3",),
        "metric monitor metric-for-best-model": ("--criterion",),
        "smoothing label-smooth": ("--label-smoothing",),
        "class-weight balanced": ("--class-weights balanced",),
        "drop dropout-rate": ("--dropout",),
        "seq-length seq-len bptt block-size max-seq-length": ("--sequence-length", "--longest"),
        "save-steps save-interval save-checkpoint-steps checkpoint-every": ("--save-every",),
        # the model
        "hidden hidden-dim hidden-units n-hidden nhid hid units rnn-size rnn-hidden d-model": ("--hidden-size",),
        "layer n-layer n-layers num-layers nlayers depth dec-layers": ("--layers",),
        "enc-layers": ("--encoder-layers",),
        "emb emb-dim emb-size embed-dim embed-size embedding-dim emsize dim word-vec-size": ("--embedding-size",),
        "rnn-type rnn rnn-cell cell-type arch architecture model-type": ("--cell",),
        "lstm": ("--cell lstm",),
        "gru": ("--cell gru",),
        "layer-normalization layer-norm layernorm": ("--layer-normalisation",),
        "bidir bi brnn": ("--bidirectional",),
        "tie tie-weights tied-weights share-embeddings": ("--tied",),
        "ngram n-grams wordngrams word-ngrams": ("--ngrams",),
        "bucket": ("--ngram-buckets",),
        "tokenizer tokeniser tokenization tokenisation level": ("--tokens", "--tokeniser"),
        "char char-level": ("--tokens char",),
        "word word-level": ("--tokens word",),
        "bpe": ("--tokens bpe",),
        "vocab vocabulary vocabulary-size max-vocab max-features num-words": ("--vocab-size",),
        # files
        "o output output-file outfile output-dir out-dir model-dir save save-dir save-model": (
            "--out",
            "--output",
            WRITE,
        ),
        "npy": ("--output",),
        "data data-path data-dir dataset corpus train train-file train-data train-path": (ARGUMENT,),
        "i input input-file file": (ARGUMENT, READ),
        "dev val validation val-data validation-data dev-file valid-file eval-file": ("--valid",),
        "src src-train train-src source-file": ("--source", READ),
        "tgt trg tgt-train target-file ref reference references": ("--target",),
        "model-path model-file model-name checkpoint ckpt load load-model": ("--model", "--init-from"),
        "model pretrained pretrained-model from-pretrained finetune fine-tune init warm-start": (
            "--init-from",
            "--model",
        ),
        "continue resume-from resume-from-checkpoint resume-training": ("--resume",),
        "f force clobber overwrite-output-dir": ("--overwrite",),
        "c cfg yaml config-file params": ("--config",),
        "text-col text-field": ("--text-column",),
        "label-col label-field target-column labels": ("--label-column", "--labels-only"),
        # the machine and the screen
        "gpu gpus gpu-id gpuid use-gpu cuda use-cuda": ("--device cuda",),
        "cpu no-gpu no-cuda": ("--device cpu",),
        "fp16 half amp mixed-precision": ("--precision fp16", "--precision bf16"),
        "bf16": ("--precision bf16",),
        "int8 quantise quantize quantisation quantization": ("--precision int8", "--store int8"),
        "fp32": ("--precision fp32",),
        "j jobs n-jobs thread threads num-threads workers num-workers": ("NLPSEQ_THREADS=",),
        "s silent no-progress": ("--quiet",),
        "verbose debug progress": (LEAVE_OUT,),
        "v": ("--version", LEAVE_OUT),
        "V version": ("--version", "nlpseq --version"),
        "? usage": ("--help",),
        "full-help long-help": ("--help-all",),
        "as-json json-output": ("--json",),
        "json-lines jsonlines ndjson": ("--jsonl", "--json"),
        # generating and translating
        "prompt prefix prime primetext start start-string start-text": ("--seed", ARGUMENT),
        "text": (ARGUMENT, "--seed"),
        "max-tokens max-new-tokens max-length max-len len num-tokens n-tokens gen-length": ("--length", "--longest"),
        "min-length min-len": ("--shortest",),
        "n num count num-samples n-samples num-return-sequences": ("--samples", "--n-best", "--top"),
        "k top-n topn num-neighbours num-neighbors": ("--top", "--top-k"),
        "l2-normalise l2-normalize normalize unit normed": ("--normalise",),
        "pool pooling-mode": ("--pooling",),
        "temp": ("--temperature",),
        "p": ("--seed",),
        "t": ("--temperature",),
        "topk": ("--top-k",),
        "topp nucleus": ("--top-p",),
        "rep-penalty repeat-penalty": ("--repetition-penalty",),
        "eos until stop-at": ("--stop",),
        "greedy": ("--beam 1", "--temperature 0"),
        "seed random-state rng": ("--random-seed",),
        "beams beam-size beam-width num-beams": ("--beam",),
        "nbest num-best": ("--n-best",),
        "alpha len-pen lenpen length-alpha": ("--length-penalty",),
        "replace-unk": ("--replace-unknown",),
        "confidence min-confidence": ("--threshold",),
    }
)

TRAINING = {
    "language-model language_model languagemodel char-rnn rnn text": ("lm",),
    "classifier classification classify text-classification supervised reviews": ("sentiment",),
    "translator translate mt nmt seq2seq": ("translation",),
}

COMMANDS = {  # by the group in which they are typed
    "nlpseq": _table(
        {
            "fit learn finetune": ("train",),
            "lm language-model": ("train lm",),
            "supervised sentiment classifier": ("train sentiment",),
            "seq2seq nmt translator": ("train translation",),
            "sample complete completion continue gen infer inference write": ("generate",),
            "predict predict-prob label tag categorize categorise classification": ("classify",),
            "mt translation": ("translate",),
            "test eval perplexity ppl bleu validate": ("evaluate",),
            "logprob likelihood surprisal rank": ("score",),
            "tokenise tokenizer tokeniser tok bpe spm": ("tokenize",),
            "encode": ("tokenize encode",),
            "vector vectors vectorize vectorise embedding embeddings": ("embed",),
            "print-sentence-vectors print-word-vectors encode-text features": ("embed",),
            "nn knn similar similarity most-similar neighbours neighbors search": ("nearest",),
            "decode detok detokenize detokenise": ("tokenize decode",),
            "data dataset datasets corpora": ("corpus",),
            "list ls models": ("runs", "corpus list"),
            "info describe summary": ("inspect model",),
            "explain words": ("inspect words",),
            "attention": ("inspect attention",),
            "benchmark speed": ("bench",),
            "version": ("--version",),
        }
    ),
    "nlpseq train": _table(TRAINING),
    "nlpseq corpus": _table({"ls": ("list",), "cat print": ("show",), "validate": ("check",)}),
    "nlpseq tokenize": _table(
        {"fit learn build": ("train",), "tokenize tokenise": ("encode",), "detok detokenize detokenise": ("decode",)}
    ),
    "nlpseq inspect": _table({"info summary describe": ("model",), "explain": ("words",), "alignment": ("attention",)}),
    "nlpseq bench": _table({"cell": ("cells",), "generate sample": ("decode",)}),
}
