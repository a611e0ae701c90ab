"""A grammar of short reviews, which makes reviews.tsv.

    python corpora/reviews/grammar.py > corpora/reviews/reviews.tsv

A review has a label, a topic (films, kettles, train rides), and a kind, which is a way of saying what one thinks: a
plain statement, a story, a negation, a contrast, irony and so on. Reviews are made in twos, a positive and a negative
one with the same topic, kind, opener, closer and typing, so that nothing but the opinion tells the labels apart. No
two reviews of a kind and topic hold the same opinion phrases. The phrases are in inventory.txt, by topic, and in
phrases.txt.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

REVIEWS = 5000
SEED = 20261121
LABELS = ("negative", "positive")
SHORTEST, LONGEST = 5, 35  # words; a brief review may have one
HERE = Path(__file__).parent

RATINGS = {"positive": ["5/5", "4/5", "9/10", "👍", "🙂"], "negative": ["1/5", "2/5", "2/10", "👎", "🙁"]}
SHORT_FORMS = {
    "cannot": "can't",
    "will not": "won't",
    **{
        f"{verb} not": f"{verb}n't"
        for verb in ["is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "would", "could", "should"]
    },
    "there is": "there's",
    "i am": "i'm",
    "i would": "i'd",
    "i shall": "i'll",
}
LONG_FORMS = re.compile(rf"\b({'|'.join(SHORT_FORMS)})\b", re.IGNORECASE)


class Review(NamedTuple):
    """A text, its label, and the kind and topic it was made of, which the file does not tell."""

    label: str
    text: str
    kind: str
    topic: str


@dataclass(frozen=True)
class Aspect:
    """A side of the thing reviewed, with what may be said of it under each label."""

    name: str
    plural: bool
    adjectives: dict[str, list[str]]
    predicates: dict[str, list[str]]


@dataclass
class Topic:
    """A kind of thing to review, its vocabulary, and how a review speaks of it."""

    name: str
    many: str
    past: bool
    other: str
    again: str
    openers: list[str] = field(default_factory=list)
    aspects: list[Aspect] = field(default_factory=list)
    stories: dict[str, list[str]] = field(default_factory=dict)
    nouns: dict[str, list[str]] = field(default_factory=dict)

    def names(self) -> dict[str, str]:
        """What fills the gaps of a phrase that has nothing to do with an aspect."""
        this = f"these {self.name}" if self.name == self.many else f"this {self.name}"
        return {"this": this, "many": self.many, "other": self.other, "again": self.again}

    def gaps(self, aspect: Aspect, adjective: str) -> dict[str, str]:
        """What fills the gaps of a phrase about an aspect."""
        was = "were" if aspect.plural else "was"
        be = was if self.past else "are" if aspect.plural else "is"
        verbs = {"be": be, "is": "was" if self.past else "is", "was": was}
        return self.names() | {"a": f"the {aspect.name}", "name": aspect.name, "adj": adjective} | verbs


def _lines(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _split(text: str, mark: str) -> list[str]:
    return [part.strip() for part in text.split(mark)]


def _aspect(line: str) -> Aspect:
    name, rest = _split(line, ":")
    good, bad, does_well, does_badly = _split(rest, "|")
    return Aspect(
        name.removesuffix("*"),
        name.endswith("*"),
        {"positive": _split(good, ","), "negative": _split(bad, ",")},
        {"positive": _split(does_well, ";"), "negative": _split(does_badly, ";")},
    )


def read_topics() -> list[Topic]:
    """The topics of inventory.txt."""
    topics: list[Topic] = []
    for line in _lines("inventory.txt"):
        mark, rest = _split(line.replace(" ", "\n", 1), "\n")
        match mark:
            case "==":
                name, many, tense, other, again = _split(rest, "|")
                topics.append(Topic(name, many, tense == "past", other, again))
            case "=":
                topics[-1].openers = _split(rest, ";")
            case "+" | "-":
                topics[-1].stories["positive" if mark == "+" else "negative"] = _split(rest, ";")
            case ">" | "<":
                topics[-1].nouns["positive" if mark == ">" else "negative"] = _split(rest, ";")
            case _:
                topics[-1].aspects.append(_aspect(line))
    return topics


def read_phrases() -> dict[str, list[str]]:
    """The sections of phrases.txt."""
    sections: dict[str, list[str]] = {}
    for line in _lines("phrases.txt"):
        if line.startswith("== "):
            section = sections.setdefault(line.removeprefix("== "), [])
        else:
            section.append(line)
    return sections


TOPICS = read_topics()
PHRASES = read_phrases()


def opposite(label: str) -> str:
    return LABELS[label == LABELS[0]]


class Writer:
    """Writes one review: `said` are its opinions so far, `used` what they stand in, `left` the aspects to come."""

    def __init__(self, draw: random.Random, topic: Topic, label: str) -> None:
        self.draw = draw
        self.topic = topic
        self.label = label
        self.other = opposite(label)
        self.said: list[str] = []
        self.used: list[str] = []
        self.left = draw.sample(topic.aspects, len(topic.aspects))

    def chance(self, share: float) -> bool:
        return self.draw.random() < share

    def phrase(self, section: str, **gaps: str) -> str:
        """A phrase of this section, filled."""
        choice = self.draw.choice([one for one in PHRASES[section] if one not in self.used])
        self.used.append(choice)
        return choice.format(**self.topic.names() | gaps)

    def opinion(self, options: list[str]) -> str:
        """One of the options, noted as said; none is said twice."""
        choice = self.draw.choice([one for one in options if one not in self.said])
        self.said.append(choice)
        return choice.format(**self.topic.names())

    def adjective(self, label: str) -> dict[str, str]:
        """An aspect and an adjective for it, as gaps to be filled."""
        aspect = self.left.pop()
        adjective = self.draw.choice(aspect.adjectives[label])
        self.said.append(f"{aspect.name} {adjective}")
        return self.topic.gaps(aspect, adjective)

    def turned(self, section: str, label: str, flips: float = 0.65) -> str:
        """A phrase about an aspect that denies the other label's adjective, or affirms this label's."""
        if self.chance(flips):
            gaps = self.adjective(opposite(label))
            self.said.append("not")
            return self.phrase(section.format("flip"), **gaps)
        return self.phrase(section.format("keep"), **self.adjective(label))

    def statement(self, label: str, degree: str = "intensifiers", bare: bool = False) -> str:
        """A plain clause about an aspect; `bare`: without who finds it so."""
        if self.chance(0.4):
            aspect = self.left.pop()
            predicate = self.draw.choice(aspect.predicates[label])
            self.said.append(predicate)
            return f"the {aspect.name} {predicate}"
        aspect = self.left[-1]
        gaps = self.adjective(label)
        turn = self.draw.random()
        if turn < 0.25:
            gaps["adj"] = f"{self.phrase(degree)} {gaps['adj']}"
        elif turn < 0.4:
            gaps["adj"] += f" and {self.opinion([one for one in aspect.adjectives[label] if one != gaps['adj']])}"
        if not bare and self.chance(0.4):
            return self.phrase("ways", **gaps)
        return "{a} {be} {adj}".format(**gaps)

    def claim(self, label: str, alone: bool = False, denied: float = 0.16) -> str:
        """A clause about an aspect or two, which may be a denial; `alone`: it need not fit behind `that`."""
        if not self.chance(denied):
            return self.statement(label)
        if len(self.left) > 2 and self.chance(0.1):
            return self.neither(label)
        if self.chance(0.3):
            return self.turned("{}s that are short", label, flips=1)
        return self.turned("{}s that stand alone" if alone and self.chance(0.5) else "{}s that stand anywhere", label)

    def neither(self, label: str) -> str:
        first, second = self.left.pop().name, self.left.pop().name
        self.said += [first, second]
        return f"neither the {first} nor the {second} {self.opinion(PHRASES[f'neithers {label}'])}"

    def reaction(self, label: str) -> str:
        return self.opinion(PHRASES[f"reactions {label}"])

    def common(self) -> str:
        """What people say first, in the words that they say it with."""
        words = {
            gap: self.draw.choice([one for one in PHRASES[f"words {label}"] if one not in self.said])
            for gap, label in (("word", self.label), ("other", self.other))
        }
        phrase = self.draw.choice([one for one in PHRASES[f"everyday {self.label}"] if one not in self.said])
        self.said += [phrase, *(word for gap, word in words.items() if gap in phrase)]
        article = "an" if words["word"][0] in "aeiou" else "a"
        return phrase.format(**self.topic.names() | words, one=f"{article} {words['word']}")

    def outcome(self, label: str) -> str:
        """A reaction or a story: what it all comes to."""
        return self.reaction(label) if self.chance(0.35) else self.opinion(self.topic.stories[label])

    def half(self, label: str, degree: str = "intensifiers") -> str:
        """One half of a contrast: short, plain or denied."""
        if self.chance(0.65):
            return self.statement(label, degree, bare=True)
        return self.turned("{}s that are short", label, flips=1)

    def minor(self) -> str:
        """What is granted to the other side."""
        return self.half(self.other, "downtoners")

    def reason(self) -> str:
        """What speaks for the label, in a sentence of its own."""
        return self.claim(self.label, alone=True)

    def more(self) -> str:
        """A further sentence for the label."""
        link = self.phrase("links") + " " if self.chance(0.4) else ""
        if self.chance(0.6):
            return link + self.statement(self.label)
        return link + self.opinion(PHRASES[f"reactions {self.label}"] + PHRASES[f"sayings {self.label}"])


def plain(writer: Writer) -> list[str]:
    front = writer.phrase("fronts") + " " if writer.chance(0.4) else ""
    first, second = (writer.statement(writer.label, bare=bool(front)) for _ in range(2))
    joined = writer.draw.choice([f"{first}, and {second}", f"{first}; {second}", f"{first}. {_capital(second)}"])
    return [front + joined] + ([writer.outcome(writer.label)] if writer.chance(0.2) else [])


def everyday(writer: Writer) -> list[str]:
    said = [writer.common() for _ in range(writer.draw.choice([1, 2, 2, 3]))]
    return [*said, writer.statement(writer.label)] if writer.chance(0.4) or len(said) == 1 else said


def brief(writer: Writer) -> list[str]:
    """A few words, as people type them who are asked for a word or two."""
    words = PHRASES[f"brief words {writer.label}"]
    name, turn = writer.topic.name, writer.draw.random()
    if turn < 0.15:
        return [writer.opinion(words)]
    if turn < 0.35:
        aspect = writer.left.pop()
        adjective = writer.draw.choice(aspect.adjectives[writer.label])
        writer.said.append(f"{adjective} {aspect.name}")
        return [f"{adjective} {aspect.name}"]
    if turn < 0.5:
        word = writer.opinion(PHRASES[f"brief words {writer.other}"])
        return [writer.draw.choice([f"not {word}", f"not a bit {word}", f"hardly {_a(word, writer.topic)} {name}"])]
    first, second = writer.opinion(words), writer.opinion(words)
    forms = [f"{first} {name}", f"{_a(first, writer.topic)} {name}", f"{_a(first, writer.topic)}, {second} {name}"]
    return [writer.draw.choice([*forms, forms[-1], f"{first}, {second}", f"{first} and {second}"])]


def _a(word: str, topic: Topic) -> str:
    """A word before the topic's name, with its article if that has one."""
    return word if topic.name == topic.many else f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def exclamation(writer: Writer) -> list[str]:
    if writer.chance(0.4):
        lead = "warm" if writer.label == "positive" else "sour"
        noun = writer.opinion(writer.topic.nouns[writer.label])
        return [writer.phrase(f"{lead} leads", np=noun), writer.reason()]
    word = writer.opinion(PHRASES[f"words {writer.label}"])
    return [f"what {_a(word, writer.topic)} {writer.topic.name}!", writer.reason()]


def verdict(writer: Writer) -> list[str]:
    if writer.chance(0.5):
        word = writer.opinion(PHRASES[f"words {writer.other}"])
        answer = writer.draw.choice(["hardly", "not a bit", "I beg to differ", "that is not the word", "anything but"])
        return [f"{word}? {_capital(answer)}", writer.reason()]
    word = writer.opinion(PHRASES[f"words {writer.label}"])
    return [writer.draw.choice([word, f"one word: {word}", f"{word}, in a word"]), writer.reason()]


def story(writer: Writer) -> list[str]:
    first = writer.opinion(writer.topic.stories[writer.label])
    turn = writer.draw.random()
    if turn < 0.3:
        return [first]
    if turn < 0.6:
        return [first, writer.phrase("plain leads", np=writer.opinion(writer.topic.nouns[writer.label]))]
    return [first, writer.statement(writer.label)]


def recommendation(writer: Writer) -> list[str]:
    parts = [writer.opinion(PHRASES[f"recommendations {writer.label}"]), writer.reason()]
    return parts if writer.chance(0.5) else parts[::-1]


def comparison(writer: Writer) -> list[str]:
    if writer.chance(0.2):
        noun = writer.opinion(writer.topic.nouns[writer.other])
        return [writer.phrase("comparisons of a noun", np=noun), writer.reason()]
    if writer.chance(0.5):
        return [writer.opinion(PHRASES[f"comparisons {writer.label}"]), writer.reason()]
    return [writer.turned("comparisons that {}", writer.label), writer.turned("{}s that stand alone", writer.label)]


def expectation(writer: Writer) -> list[str]:
    if writer.chance(0.3):
        noun = writer.opinion(writer.topic.nouns[writer.other])
        return [writer.phrase("expectations of a noun", np=noun), writer.reason()]
    if writer.chance(0.4):
        return [writer.opinion(PHRASES[f"expectations {writer.label}"]), writer.reason()]
    parts = [writer.turned("expectations that {}", writer.label)]
    return parts + ([writer.reason()] if writer.chance(0.6) else [])


def question(writer: Writer) -> list[str]:
    if writer.chance(0.4):
        return [writer.opinion(PHRASES[f"questions {writer.label}"]), writer.reason()]
    flip = writer.chance(0.65)
    gaps = writer.adjective(writer.other if flip else writer.label)
    writer.said.append("asked")
    answer = writer.phrase("answers that flip" if flip else "answers that keep")
    return ["{be} {a} {adj}?".format(**gaps), answer] + ([writer.reason()] if writer.chance(0.6) else [])


def negation(writer: Writer) -> list[str]:
    alone = "alone" if writer.chance(0.5) else "anywhere"
    first = writer.turned(f"{{}}s that stand {alone}", writer.label, flips=0.8)
    second = writer.neither(writer.label) if writer.chance(0.15) else writer.claim(writer.label, alone=True, denied=0.7)
    return [first, second]


def contrast(writer: Writer) -> list[str]:
    if writer.chance(0.35):
        main, section = writer.half(writer.label), "contrasts that weigh"
    else:
        main, section = writer.outcome(writer.label), "contrasts"
    return [writer.phrase(section, minor=writer.minor(), main=main)]


def concession(writer: Writer) -> list[str]:
    main = writer.outcome(writer.label) if writer.chance(0.6) else writer.statement(writer.label)
    if writer.chance(0.45):
        return [writer.phrase("concessions with a noun", main=main, **writer.adjective(writer.other))]
    return [writer.phrase("concessions", minor=writer.minor(), main=main)]


def hearsay(writer: Writer) -> list[str]:
    if writer.chance(0.4):
        tale = _capital(writer.opinion(writer.topic.stories[writer.other]))
        return [writer.phrase("hearsay of a story", said=tale), writer.reason()]
    denied = writer.chance(0.75)
    said = writer.opinion(PHRASES[f"sayings {writer.other if denied else writer.label}"])
    writer.said.append("heard")
    section = "hearsay that is denied" if denied else "hearsay that is affirmed"
    return [writer.phrase(section, said=said), writer.reason()]


def irony(writer: Writer) -> list[str]:
    lead = "sour" if writer.label == "positive" else "warm"
    noun = writer.opinion(writer.topic.nouns[writer.label])
    parts = [writer.phrase(f"{lead} leads", np=noun)]
    turn = writer.draw.random()
    if turn < 0.3:
        parts.append(writer.opinion(PHRASES[f"reveals {writer.label}"]))
    elif turn < 0.65:
        parts.append(writer.claim(writer.label))
    return parts


KINDS: dict[Callable[[Writer], list[str]], int] = {
    plain: 14,
    everyday: 18,
    brief: 14,
    exclamation: 6,
    verdict: 6,
    story: 9,
    recommendation: 9,
    comparison: 7,
    expectation: 8,
    question: 8,
    negation: 7,
    contrast: 11,
    concession: 10,
    hearsay: 5,
    irony: 7,
}


@dataclass(frozen=True)
class Frame:
    """What the two reviews of a pair share: what is said around the opinion, and how it is typed."""

    opener: str
    closer: str
    contracted: bool
    rated: int | None
    typing: str

    @classmethod
    def drawn(cls, draw: random.Random, topic: Topic) -> Frame:
        return cls(
            opener=draw.choice(topic.openers * 3 + PHRASES["openers"]) if draw.random() < 0.45 else "",
            closer=draw.choice(PHRASES["closers"]) if draw.random() < 0.12 else "",
            contracted=draw.random() < 0.4,
            rated=draw.randrange(5) if draw.random() < 0.03 else None,
            typing=draw.choices(["neat", "small", "open", "loud", "dots"], [70, 10, 9, 6, 5])[0],
        )

    def text(self, parts: list[str], label: str) -> str:
        """The review, put together and typed."""
        parts = [part for part in (self.opener, *parts, self.closer) if part]
        text = " ".join(_sentence(part) for part in parts)
        if self.contracted:
            text = LONG_FORMS.sub(lambda match: match[0][0] + SHORT_FORMS[match[0].lower()][1:], text)
        match self.typing:
            case "small":
                text = text.lower()
            case "open":
                text = text.removesuffix(".")
            case "loud":
                text = re.sub(r"[.!]$", "!!", text)
            case "dots":
                text = re.sub(r"\. ", "... ", text, count=1)
        return text if self.rated is None else f"{text} {RATINGS[label][self.rated]}"


def _capital(text: str) -> str:
    """Text with its first letter large, be it behind a quotation mark."""
    return re.sub(r"^\W*\w", lambda match: match[0].upper(), text)


def _sentence(text: str) -> str:
    """A clause as a sentence."""
    text = re.sub(r'(: ")(\w)', lambda match: match[1] + match[2].upper(), _capital(text))
    return text if text[-1] in ".?!" else text + "."


def reviews(count: int = REVIEWS, seed: int = SEED) -> list[Review]:
    """So many reviews, half of them positive, in random order."""
    draw = random.Random(seed)
    texts: set[str] = set()
    skeletons: set[tuple[str, ...]] = set()
    found: list[Review] = []
    while len(found) < count:
        topic = TOPICS[len(found) // 2 % len(TOPICS)]
        kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
        frame = Frame.drawn(draw, topic)
        for label in LABELS:
            while True:
                writer = Writer(draw, topic, label)
                parts = kind(writer) + ([writer.more()] if kind is not brief and writer.chance(0.45) else [])
                text = (replace(frame, opener="", closer="") if kind is brief else frame).text(parts, label)
                skeleton = (topic.name, kind.__name__, *sorted(writer.said))
                key, words = text.lower().rstrip(".!"), len(text.split())
                if (kind is brief or SHORTEST <= words <= LONGEST) and key not in texts and skeleton not in skeletons:
                    break
            texts.add(key)
            skeletons.add(skeleton)
            found.append(Review(label, text, kind.__name__, topic.name))
    draw.shuffle(found)
    return found


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write("label\ttext\n" + "".join(f"{one.label}\t{one.text}\n" for one in reviews()))
