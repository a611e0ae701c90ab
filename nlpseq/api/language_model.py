"""A language model in Python: continue texts, score lines, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, overload

from nlpseq import tasks
from nlpseq.api.model import Texts, TrainedModel, as_list, check_text, make_options
from nlpseq.api.paths import as_names, as_path
from nlpseq.decoding.generation import GenerationOptions, Generator, TextStream
from nlpseq.decoding.sampling import SamplingOptions
from nlpseq.errors import OptionError
from nlpseq.evaluation.adaptation import AdaptationOptions, Adaptive
from nlpseq.evaluation.comparison.resampling import ResamplingOptions, when_confident
from nlpseq.evaluation.floors.baseline import Report
from nlpseq.evaluation.floors.language_model import ORDER, kneser_ney_baseline
from nlpseq.evaluation.line_scores import LineScore, LineScorer
from nlpseq.evaluation.neural_cache import CacheReading
from nlpseq.evaluation.reader import placed
from nlpseq.evaluation.scores import Note, Score, say_nothing
from nlpseq.evaluation.text_scores import chosen_text, read_text, tokenised_scores
from nlpseq.models import language_model


class LanguageModel(TrainedModel):
    """A language model."""

    task = tasks.LANGUAGE_MODEL
    precisions = ("fp32", "bf16", "int8")

    def __init__(self, path: str | bytes | Path, *, device: str = "cpu", precision: str = "fp32") -> None:
        """Raises ModelFileError if there is no such model, BackendError if there is no such device."""
        self.model, self.options = language_model.load(as_path(path), precision)
        self.device = device
        self._placed = placed(self.model, device)
        self._scorer: LineScorer | None = None

    @classmethod
    def load(cls, path: str | bytes | Path, *, device: str = "cpu", precision: str = "fp32") -> LanguageModel:
        """The language model in a file or run folder; `precision` is fp32, bf16 or int8, of its matrices."""
        return cls(path, device=device, precision=precision)

    @overload
    def generate(self, prompt: str = "", *, echo: bool = True, **options: Any) -> str: ...

    @overload
    def generate(self, prompt: Texts, *, echo: bool = True, **options: Any) -> list[str]: ...

    def generate(self, prompt: str | Texts = "", *, echo: bool = True, **options: Any) -> str | list[str]:
        """A text that continues a prompt, or a list of texts for a list of prompts; `echo` puts the prompt before it.

        Options: `length` (500 tokens), `stop` (a list of texts), `random_seed`, `state` (a file that `stream().save`
        wrote), and those of sampling: `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty`,
        `repetition_window`. Raises OptionError for an option that is unknown or out of range.
        """
        prompts = as_list(prompt, "prompt")
        groups = self._generator(options).continue_each(prompts)
        texts = [made for group in groups for made in group.finish()]
        whole = [made.prompt * echo + made.take() for made in texts]
        return whole[0] if isinstance(prompt, str) else whole

    def samples(self, prompt: str = "", count: int = 2, *, echo: bool = True, **options: Any) -> list[str]:
        """`count` texts that continue one prompt; options as of `generate`."""
        if not isinstance(count, int) or count < 1:
            raise OptionError("count", f"must be a whole number of at least 1, was {count!r}")
        groups = self._generator(options).samples(check_text(prompt, "prompt"), count)
        return [made.prompt * echo + made.take() for group in groups for made in group.finish()]

    def stream(self, prompt: str = "", **options: Any) -> TextStream:
        """A text that continues a prompt, as an iterator of pieces that are yielded as they are drawn.

        The prompt is not among them. `TextStream.save` writes the state, from which `state` continues. Options as of
        `generate`.
        """
        return self._generator(options).stream(check_text(prompt, "prompt"))

    def _generator(self, options: dict[str, Any]) -> Generator:
        state = options.pop("state", None)
        generation, sampling = make_options([GenerationOptions, SamplingOptions], options, "generation")
        generator = Generator(self._placed, self.options, sampling, generation)
        if state is not None:
            generator.resume(as_path(state))
        return generator

    @overload
    def score(self, lines: str) -> LineScore: ...

    @overload
    def score(self, lines: Texts) -> list[LineScore]: ...

    def score(self, lines: str | Texts) -> LineScore | list[LineScore]:
        """How likely a line is, or each of several, by itself after a newline: nats, tokens, perplexity."""
        if self._scorer is None:
            self._scorer = LineScorer(self._placed, self.options)
        scores = self._scorer.score(as_list(lines, "lines"))
        return scores[0] if isinstance(lines, str) else scores

    def evaluate(
        self,
        *corpora: object,
        held_out: bool = False,
        confidence: bool = False,
        note: Note = say_nothing,
        **options: Any,
    ) -> list[Score]:
        """The scores of a text, its corpora one after another, every token predicted once.

        `held_out` takes the end that training would hold out. Without corpora the text is the one that training was
        validated on. `note` is called with what a reader of the scores should know. With `confidence` each score has a
        95 % interval, by the options `samples`, `random_seed` and `block_bytes`. A model may adapt to the text, by the
        options `cache`, `cache_theta` and `cache_lambda`, or `dynamic`, `dynamic_decay` and `dynamic_tokens`. Raises
        CorpusError for a corpus that cannot be read, or is too short for intervals.
        """
        return self.report(*corpora, held_out=held_out, confidence=confidence, note=note, **options).scores

    def report(
        self,
        *corpora: object,
        held_out: bool = False,
        baseline: bool = False,
        order: int = ORDER,
        confidence: bool = False,
        note: Note = say_nothing,
        **options: Any,
    ) -> Report:
        """The scores of a text and, with `baseline`, those of n-grams of up to `order` tokens of the training text.

        As `evaluate`; raises ModelFileError if the training text is needed and is gone or has changed.
        """
        adaptation, chosen = make_options([AdaptationOptions, ResamplingOptions], options, "evaluation")
        adaptive, resampling = _adaptive(adaptation), when_confident(chosen, confidence=confidence)
        if confidence and adaptive is not None:
            what = "finds no interval for a model that adapts to the text: its blocks depend on each other"
            raise OptionError("confidence", what, "leave out --confidence, or --cache and --dynamic")
        evaluated = chosen_text(self.model, as_names(corpora), held_out=held_out)
        text = read_text(self.model, evaluated, note, by_line=confidence)
        baselines = [kneser_ney_baseline(self.model, text, order, note)] if baseline else []
        return Report(tokenised_scores(self._placed, self.options, text, adaptive, resampling), baselines)


def _adaptive(adaptation: AdaptationOptions) -> Adaptive | None:
    """How a model adapts; None if it does not. Imports torch for `dynamic`."""
    if adaptation.dynamic is not None:
        from nlpseq.training.dynamic_evaluation import DynamicReading

        return DynamicReading(adaptation)
    return None if adaptation.cache is None else CacheReading(adaptation)
