"""The options of a training run. torch is not imported here, so that the command line can read them at once."""

from __future__ import annotations

from dataclasses import dataclass

from nlpseq.errors import OptionError
from nlpseq.models.storage import FORMATS
from nlpseq.options import check, option

VALIDATIONS = 8  # in a run that is long enough for them


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The training options of all tasks."""

    epochs: float | None = option(None, "number of passes over the corpus", above=0, usual=True)
    steps: int | None = option(None, "training steps, those before a --resume included", minimum=1, usual=True)
    minutes: float | None = option(
        None,
        "minutes from now, evaluation included [default: 5]",
        above=0,
        usual=True,
    )
    optimiser: str = option("adamw", "optimiser", choices=("adamw", "adam", "sgd", "rmsprop"))
    learning_rate: float | None = option(None, "highest learning rate [default: by optimiser]", above=0, usual=True)
    warm_up: int = option(10, "steps over which the learning rate rises", minimum=0)
    anneal: float = option(0.9, "fraction of the run over which the learning rate falls to zero", minimum=0, maximum=1)
    weight_decay: float | None = option(None, "weight decay of matrices [default: 0.01 for adamw, else 0]", minimum=0)
    clip: float = option(1.0, "largest gradient norm", above=0)
    batch_size: int | None = option(None, "streams or texts in a batch [default: by corpus]", minimum=1, usual=True)
    accumulate: int = option(1, "number of batches whose gradients make one step", minimum=1)
    dropout: float | None = option(
        None,
        "dropout between layers, one mask for each text [default: by task and corpus]",
        minimum=0,
        below=1,
        usual=True,
    )
    embedding_dropout: float = option(0.0, "fraction of the vocabulary whose vectors are dropped", minimum=0, below=1)
    input_dropout: float | None = option(
        None,
        "dropout of embedded tokens, one mask for each text [default: half of --dropout]",
        minimum=0,
        below=1,
    )
    weight_drop: float = option(
        0.0, "fraction of recurrent weights that are set to 0 in each batch", minimum=0, below=1
    )
    average: float = option(0.0, "decay of a moving average of the weights, such as 0.999; 0: none", minimum=0, below=1)
    average_after: int = option(
        0,
        "average the weights of all steps from when this number of validations brought no better model; 0: never",
        minimum=0,
    )
    validations: int | None = option(None, "number of validations in a run [default: up to 8, by budget]", minimum=1)
    patience: int = option(0, "stop after this number of validations without a better model; 0: never", minimum=0)
    precision: str = option(
        "auto", "number format of matrix products' operands", choices=("auto", "fp32", "bf16", "fp16")
    )
    device: str = option(
        "auto",
        "auto: a GPU if one runs the kernels",
        choices=("auto", "cpu", "cuda"),
        usual=True,
    )
    backend: str = option(
        "auto",
        "implementation of the recurrent layers",
        choices=("auto", "native", "eager", "triton", "torch", "plain"),
    )
    random_seed: int = option(1, "seed of initial weights, dropout and the order of texts", minimum=0)
    save_every: int | None = option(
        None, "number of steps between two saves for --resume [default: each 30 s]", minimum=1
    )
    store: str = option(
        "fp32", "number format of weights in the model file; int8: with a scale for each row", choices=FORMATS
    )

    def __post_init__(self) -> None:
        check(self)
        budgets = [name for name in ("epochs", "steps", "minutes") if getattr(self, name) is not None]
        if len(budgets) > 1:
            raise OptionError(" and ".join(budgets), "are different budgets: use one of them")
        if self.average and self.average_after and self.average != type(self).average:
            raise OptionError("average and average_after", "are different averages: use one of them")
        most = max(self.validations or 0, VALIDATIONS)
        if self.average_after >= most:
            what = f"must be below the number of validations, which is at most {most}, was {self.average_after}"
            raise OptionError("average_after", what, f"--validations {VALIDATIONS * 4} --average-after 3")


@dataclass(frozen=True, kw_only=True)
class SoftTargetTraining(TrainingOptions):
    """The training options of models that learn the probabilities which a teacher gives."""

    soft: float = option(
        0.5, "weight in the loss of a --teacher's probabilities; the rest is that of the text", minimum=0, maximum=1
    )
    temperature: float = option(
        1.0, "how much flatter the probabilities of a --teacher are made before they are learned", above=0
    )


@dataclass(frozen=True, kw_only=True)
class LanguageModelTraining(SoftTargetTraining):
    """The training options of a language model."""

    ngram_dropout: float | None = option(
        None, "fraction of n-grams whose vectors are dropped [default: by corpus]", minimum=0, below=1
    )
    sequence_length: int | None = option(None, "steps of back-propagation through time [default: by corpus]", minimum=1)
    softmax: str = option(
        "auto",
        "sampled: estimate the softmax of a large vocabulary from a sample of tokens",
        choices=("auto", "full", "sampled"),
    )


@dataclass(frozen=True, kw_only=True)
class TranslationTraining(TrainingOptions):
    """The training options of a translator."""

    anneal: float = option(0.5, "fraction of the run over which the learning rate falls to zero", minimum=0, maximum=1)

    label_smoothing: float = option(
        0.1, "probability of each target that is spread over the vocabulary", minimum=0, below=1
    )
    word_dropout: float = option(
        0.0, "fraction of the tokens of sources and targets whose vectors are dropped", minimum=0, below=1
    )
    subword_dropout: float = option(
        0.0,
        "cut words into other pieces in each pass: fraction of merges, or of pieces, that are left out",
        minimum=0,
        maximum=1,
    )
    synthetic_share: float = option(
        0.5, "most of the pairs that may be --synthetic: others are read several times in a pass", above=0, below=1
    )
    synthetic_tag: bool = option(True, "put a token before the sources of --synthetic pairs, to tell them apart")
    longest: int = option(200, "most tokens of a text; pairs with a longer text are left out of training", minimum=1)
    batch_tokens: int | None = option(
        None, "most target tokens in a batch, padding included, instead of --batch-size", minimum=1
    )
    criterion: str = option(
        "loss", "score that the best model is chosen by, and that --patience watches", choices=("loss", "bleu")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_tokens is not None and self.batch_size is not None:
            raise OptionError("batch_tokens and batch_size", "are different measures of a batch: use one of them")


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining(SoftTargetTraining):
    """The training options of a classifier."""

    embedding_dropout: float = option(0.2, "fraction of the vocabulary whose vectors are dropped", minimum=0, below=1)
    average: float = option(
        0.99, "decay of a moving average of the weights, such as 0.999; 0: none", minimum=0, below=1
    )
    label_smoothing: float = option(
        0.0, "probability of each text's label that is spread over all labels", minimum=0, below=1
    )
    class_weights: str = option(
        "none", "balanced: give the texts of rare labels more weight", choices=("none", "balanced")
    )
    longest: int = option(1000, "most tokens of a text in training; the middle of a longer one is left out", minimum=8)
    batch_tokens: int = option(16_384, "most tokens in a batch, padding included", minimum=1)
    criterion: str = option(
        "accuracy",
        "score that the best model is chosen by, and that --patience watches; micro-F1 in place of accuracy if a text "
        "has several labels",
        choices=("accuracy", "macro-f1", "loss"),
    )
    adversarial: float = option(
        0.0, "adversarial training: size of the change, in lengths of a token's vector; 0: none", minimum=0
    )
    virtual_adversarial: float = option(
        0.0, "virtual adversarial training: the same, without using the label", minimum=0
    )
    layer_rates: float | None = option(
        None,
        "factor by which each layer learns more slowly than the one above [default: 1; 1.5 with --init-from]",
        minimum=1,
    )
    unfreeze: float | None = option(
        None,
        "fraction of the run after which all layers learn, the last layer first [default: 0; 0.1 with --init-from]",
        minimum=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adversarial and self.virtual_adversarial:
            raise OptionError("adversarial and virtual_adversarial", "are alternatives: use one of them")


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """How a corpus is tokenised."""

    tokens: str = option(
        "auto",
        "tokens [default: by task and corpus]",
        choices=("auto", "char", "byte", "word", "unigram", "bpe"),
        usual=True,
    )
    vocab_size: int | None = option(
        None,
        "largest vocabulary, its 256 bytes included [default: by --tokens]",
        minimum=256,
        maximum=1_000_000,
        usual=True,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.tokens == "byte" and self.vocab_size not in (None, 256):
            raise OptionError("vocab_size", f"is 256 for bytes, was {self.vocab_size}", "--tokens bpe")
