"""What steers a training run. torch is not imported here, so that the command line can read it at no cost."""

from __future__ import annotations

from dataclasses import dataclass

from nlpseq.errors import OptionError
from nlpseq.options import check, option


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a model is trained, whatever its task."""

    epochs: float | None = option(None, "train for so many passes over the corpus", above=0)
    steps: int | None = option(None, "train for so many steps", minimum=1)
    minutes: float | None = option(None, "train for about so many minutes, all in all [default: 5]", above=0)
    optimiser: str = option("adamw", "optimiser", choices=("adamw", "adam", "sgd", "rmsprop"))
    learning_rate: float | None = option(None, "highest learning rate [default: by optimiser]", above=0)
    warm_up: int = option(10, "steps over which the learning rate rises", minimum=0)
    anneal: float = option(0.9, "share of the run over which the rate falls to zero", minimum=0, maximum=1)
    weight_decay: float | None = option(
        None, "decay of weights that are not tables [default: 0.01 for adamw]", minimum=0
    )
    clip: float = option(1.0, "largest gradient norm", above=0)
    batch_size: int | None = option(None, "streams, or sequences, in a batch [default: by corpus]", minimum=1)
    accumulate: int = option(1, "batches in one step", minimum=1)
    dropout: float | None = option(
        None, "locked dropout between layers [default: by task and corpus]", minimum=0, below=1
    )
    embedding_dropout: float = option(0.0, "share of tokens whose vectors are dropped", minimum=0, below=1)
    input_dropout: float | None = option(
        None, "locked dropout of embedded tokens [default: half of --dropout]", minimum=0, below=1
    )
    weight_drop: float = option(0.0, "dropout of recurrent weights", minimum=0, below=1)
    average: float = option(0.0, "decay of a moving average of the weights, as 0.999; 0: none", minimum=0, below=1)
    validations: int = option(8, "validations in a run", minimum=1)
    patience: int = option(0, "stop after so many validations without progress; 0: never", minimum=0)
    precision: str = option("auto", "operands of matrix products", choices=("auto", "fp32", "bf16", "fp16"))
    device: str = option(
        "auto",
        "where to train; auto: on a GPU that can run our kernels, if there is one",
        choices=("auto", "cpu", "cuda"),
    )
    backend: str = option(
        "auto", "what runs layers over time", choices=("auto", "native", "eager", "triton", "torch", "plain")
    )
    random_seed: int = option(1, "seed of weights, dropout and order", minimum=0)
    save_every: int | None = option(None, "save for resuming every so many steps [default: each 30 s]", minimum=1)

    def __post_init__(self) -> None:
        check(self)
        given = [name for name in ("epochs", "steps", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(" and ".join(given), "are different budgets: give one of them")


@dataclass(frozen=True, kw_only=True)
class LanguageModelTraining(TrainingOptions):
    """How a language model is trained."""

    sequence_length: int | None = option(None, "steps of back-propagation through time", minimum=1)
    softmax: str = option(
        "auto",
        "sampled: estimate a large vocabulary's softmax from some words",
        choices=("auto", "full", "sampled"),
    )


@dataclass(frozen=True, kw_only=True)
class TranslationTraining(TrainingOptions):
    """How a translator is trained."""

    label_smoothing: float = option(0.1, "share of each target that is spread over the vocabulary", minimum=0, below=1)
    longest: int = option(200, "tokens beyond which a text is left out of training", minimum=1)
    batch_tokens: int | None = option(
        None, "target tokens in a batch, padding included, in place of a number of pairs", minimum=1
    )
    criterion: str = option(
        "loss", "what the best model is chosen by, and --patience waits for", choices=("loss", "bleu")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_tokens is not None and self.batch_size is not None:
            raise OptionError("batch_tokens and batch_size", "are different measures of a batch: give one of them")


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining(TrainingOptions):
    """How a classifier is trained."""

    embedding_dropout: float = option(0.2, "share of tokens whose vectors are dropped", minimum=0, below=1)
    average: float = option(0.99, "decay of a moving average of the weights, as 0.999; 0: none", minimum=0, below=1)
    label_smoothing: float = option(0.0, "share of each text that is spread over all labels", minimum=0, below=1)
    class_weights: str = option("none", "balanced: count a rare label's texts for more", choices=("none", "balanced"))
    longest: int = option(1000, "tokens of a text that are trained on, from its begin and its end", minimum=8)
    batch_tokens: int = option(16_384, "most tokens in a batch, padding included", minimum=1)
    criterion: str = option(
        "accuracy",
        "what the best model is chosen by, and --patience waits for",
        choices=("accuracy", "macro-f1", "loss"),
    )
    adversarial: float = option(
        0.0, "size of a worst-case change of a text's vectors, in those of a token; 0: none", minimum=0
    )
    virtual_adversarial: float = option(0.0, "the same, worst for what the model says and not for the label", minimum=0)
    layer_rates: float | None = option(
        None,
        "by how much a layer learns more slowly than that above it [default: 1, or 1.5 from a model to start from]",
        minimum=1,
    )
    unfreeze: float | None = option(
        None,
        "share of the run over which layers begin to learn, the last first [default: 0, or 0.1 from a model]",
        minimum=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adversarial and self.virtual_adversarial:
            raise OptionError("adversarial and virtual_adversarial", "are two kinds of one thing: give one of them")


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """How a corpus becomes tokens."""

    tokens: str = option(
        "auto",
        "what a token is [default: by task and corpus]",
        choices=("auto", "char", "byte", "word", "unigram", "bpe"),
    )
    vocab_size: int | None = option(
        None,
        "largest vocabulary, its 256 bytes included [default: by tokens]",
        minimum=256,
        maximum=1_000_000,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.tokens == "byte" and self.vocab_size not in (None, 256):
            raise OptionError("vocab_size", f"is 256 for bytes, was {self.vocab_size}", "--tokens bpe")
