"""A synchronous grammar of small English and German sentences, which makes pairs.tsv.

    python corpora/english-german/grammar.py > corpora/english-german/pairs.tsv

Both sides are spelled from one plan: who, does what, to whom, when, where. German agrees as German does: articles and
adjectives in gender, case and number, verbs in person; the finite verb is second in a main clause, first in a question
and last in a subordinate clause, and what is not finite stands at the clause's end.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import NamedTuple

PAIRS = 9000
SEED = 20261121


class Noun(NamedTuple):
    """English singular and plural, German gender (m, f, n), singular and plural."""

    english: str
    english_plural: str
    gender: str
    german: str
    german_plural: str


class Verb(NamedTuple):
    """Forms of a verb, who does it (p: people, a: animals too) and what it is done to (kinds of NOUNS, or "")."""

    english: str
    third: str
    past: str
    german: str
    i: str
    you: str
    he: str
    participle: str
    auxiliary: str
    who: str
    what: str


def _nouns(text: str) -> list[Noun]:
    return [Noun(*(part.strip() for part in line.split(","))) for line in text.strip().splitlines()]


NOUNS = {
    "person": _nouns("""
        man, men, m, Mann, Männer
        woman, women, f, Frau, Frauen
        child, children, n, Kind, Kinder
        girl, girls, n, Mädchen, Mädchen
        teacher, teachers, m, Lehrer, Lehrer
        friend, friends, m, Freund, Freunde
        sister, sisters, f, Schwester, Schwestern
        brother, brothers, m, Bruder, Brüder
        doctor, doctors, f, Ärztin, Ärztinnen
        baker, bakers, m, Bäcker, Bäcker
        queen, queens, f, Königin, Königinnen
        king, kings, m, König, Könige
        neighbour, neighbours, f, Nachbarin, Nachbarinnen
        guest, guests, m, Gast, Gäste"""),
    "animal": _nouns("""
        dog, dogs, m, Hund, Hunde
        cat, cats, f, Katze, Katzen
        horse, horses, n, Pferd, Pferde
        bird, birds, m, Vogel, Vögel
        mouse, mice, f, Maus, Mäuse
        cow, cows, f, Kuh, Kühe
        pig, pigs, n, Schwein, Schweine
        goat, goats, f, Ziege, Ziegen
        fox, foxes, m, Fuchs, Füchse
        duck, ducks, f, Ente, Enten"""),
    "food": _nouns("""
        apple, apples, m, Apfel, Äpfel
        cake, cakes, m, Kuchen, Kuchen
        egg, eggs, n, Ei, Eier
        soup, soups, f, Suppe, Suppen
        pear, pears, f, Birne, Birnen
        carrot, carrots, f, Karotte, Karotten
        sausage, sausages, f, Wurst, Würste
        loaf, loaves, n, Brot, Brote"""),
    "thing": _nouns("""
        book, books, n, Buch, Bücher
        letter, letters, m, Brief, Briefe
        hat, hats, m, Hut, Hüte
        lamp, lamps, f, Lampe, Lampen
        chair, chairs, m, Stuhl, Stühle
        clock, clocks, f, Uhr, Uhren
        picture, pictures, n, Bild, Bilder
        bag, bags, f, Tasche, Taschen
        key, keys, m, Schlüssel, Schlüssel
        knife, knives, n, Messer, Messer
        flower, flowers, f, Blume, Blumen
        ball, balls, m, Ball, Bälle"""),
}

ADJECTIVES = {
    kind: dict(pair.split(":") for pair in text.split())
    for kind, text in {
        "person": "old:alt young:jung small:klein friendly:freundlich tired:müde rich:reich",
        "animal": "old:alt young:jung small:klein big:groß black:schwarz white:weiß wild:wild",
        "food": "small:klein big:groß good:gut fresh:frisch cold:kalt expensive:teuer",
        "thing": "new:neu old:alt small:klein big:groß red:rot green:grün beautiful:schön",
    }.items()
}
IRREGULAR_STEMS = {"teuer": "teur", "müde": "müd"}

VERBS = [
    Verb(*(part.strip() for part in line.split(",")))
    for line in """
        see, sees, saw, sehen, sehe, siehst, sieht, gesehen, haben, a, person animal food thing
        find, finds, found, finden, finde, findest, findet, gefunden, haben, a, person animal food thing
        look for, looks for, looked for, suchen, suche, suchst, sucht, gesucht, haben, a, person animal food thing
        love, loves, loved, lieben, liebe, liebst, liebt, geliebt, haben, p, person animal
        know, knows, knew, kennen, kenne, kennst, kennt, gekannt, haben, p, person
        visit, visits, visited, besuchen, besuche, besuchst, besucht, besucht, haben, p, person
        help, helps, helped, helfen, helfe, hilfst, hilft, geholfen, haben, p, DATIVE
        thank, thanks, thanked, danken, danke, dankst, dankt, gedankt, haben, p, DATIVE
        follow, follows, followed, folgen, folge, folgst, folgt, gefolgt, sein, a, DATIVE
        hear, hears, heard, hören, höre, hörst, hört, gehört, haben, a, person animal
        eat, eats, ate, essen, esse, isst, isst, gegessen, haben, a, food
        buy, buys, bought, kaufen, kaufe, kaufst, kauft, gekauft, haben, p, animal food thing
        sell, sells, sold, verkaufen, verkaufe, verkaufst, verkauft, verkauft, haben, p, animal food thing
        take, takes, took, nehmen, nehme, nimmst, nimmt, genommen, haben, p, food thing
        paint, paints, painted, malen, male, malst, malt, gemalt, haben, p, person animal thing
        carry, carries, carried, tragen, trage, trägst, trägt, getragen, haben, p, animal food thing
        write, writes, wrote, schreiben, schreibe, schreibst, schreibt, geschrieben, haben, p, WRITTEN
        need, needs, needed, brauchen, brauche, brauchst, braucht, gebraucht, haben, p, person food thing
        sleep, sleeps, slept, schlafen, schlafe, schläfst, schläft, geschlafen, haben, a,
        work, works, worked, arbeiten, arbeite, arbeitest, arbeitet, gearbeitet, haben, p,
        play, plays, played, spielen, spiele, spielst, spielt, gespielt, haben, a,
        laugh, laughs, laughed, lachen, lache, lachst, lacht, gelacht, haben, p,
        swim, swims, swam, schwimmen, schwimme, schwimmst, schwimmt, geschwommen, sein, a,
        wait, waits, waited, warten, warte, wartest, wartet, gewartet, haben, a,
        sing, sings, sang, singen, singe, singst, singt, gesungen, haben, p,
        stay, stays, stayed, bleiben, bleibe, bleibst, bleibt, geblieben, sein, a,
        give, gives, gave, geben, gebe, gibst, gibt, gegeben, haben, p, GIFT
        show, shows, showed, zeigen, zeige, zeigst, zeigt, gezeigt, haben, p, GIFT
        bring, brings, brought, bringen, bringe, bringst, bringt, gebracht, haben, p, GIFT
    """.strip().splitlines()
]

DEFINITE = {"nom": "der die das die", "acc": "den die das die", "dat": "dem der dem den"}
LIKE_DIESER = {"nom": "er e es e", "acc": "en e es e", "dat": "em er em en"}
LIKE_EIN = {"nom": "- e - e", "acc": "en e - e", "dat": "em er em en"}
WEAK = {"nom": "e e e en", "acc": "en e e en", "dat": "en en en en"}
MIXED = {"nom": "er e es en", "acc": "en e es en", "dat": "en en en en"}
BARE = {"nom": "- - - e", "acc": "- - - e", "dat": "- - - en"}  # in the plural without an article
GENDERS = "mfnp"

PRONOUNS = {  # English subject and object; German nominative, accusative, dative; person
    "i": ("I", "me", "ich", "mich", "mir", "i"),
    "you": ("you", "you", "du", "dich", "dir", "you"),
    "he": ("he", "him", "er", "ihn", "ihm", "he"),
    "she": ("she", "her", "sie", "sie", "ihr", "he"),
    "we": ("we", "us", "wir", "uns", "uns", "they"),
    "they": ("they", "them", "sie", "sie", "ihnen", "they"),
}
AUXILIARIES = {
    "haben": {"i": "habe", "you": "hast", "he": "hat", "they": "haben"},
    "sein": {"i": "bin", "you": "bist", "he": "ist", "they": "sind"},
    "werden": {"i": "werde", "you": "wirst", "he": "wird", "they": "werden"},
    "can": {"i": "kann", "you": "kannst", "he": "kann", "they": "können"},
    "must": {"i": "muss", "you": "musst", "he": "muss", "they": "müssen"},
    "may": {"i": "darf", "you": "darfst", "he": "darf", "they": "dürfen"},
}
TIMES = {
    "present": {"today": "heute", "now": "jetzt", "often": "oft", "every day": "jeden Tag", "on Monday": "am Montag"},
    "past": {"yesterday": "gestern", "last week": "letzte Woche", "in the morning": "am Morgen"},
    "future": {"tomorrow": "morgen", "soon": "bald", "next year": "nächstes Jahr"},
}
PLACES = {
    "in the garden": "im Garten", "in the kitchen": "in der Küche", "under the table": "unter dem Tisch",
    "behind the house": "hinter dem Haus", "at the market": "auf dem Markt", "on the bridge": "auf der Brücke",
    "by the river": "am Fluss", "next to the church": "neben der Kirche", "in the forest": "im Wald",
    "in the old town": "in der Altstadt", "between the trees": "zwischen den Bäumen",
}  # fmt: skip


@dataclass(frozen=True)
class Phrase:
    """Somebody or something: its English as subject and object, its German by case, and its person."""

    subject: str
    object: str
    german: dict[str, str]
    person: str
    pronoun: bool = False
    indefinite: bool = False
    denied: dict[str, str] | None = None  # the German with kein, where "a" can be denied


def _ending(table: dict[str, str], case: str, gender: str) -> str:
    return table[case].split()[GENDERS.index(gender)].replace("-", "")


def decline(noun: Noun, article: str, adjective: str, plural: bool, case: str) -> str:
    """A German noun phrase: article, adjective and noun in gender, case and number."""
    gender = "p" if plural else noun.gender
    words = []
    endings = MIXED
    if article == "der":
        words.append(_ending(DEFINITE, case, gender))
        endings = WEAK
    elif article == "dies":
        words.append(article + _ending(LIKE_DIESER, case, gender))
        endings = WEAK
    elif article:
        words.append(article + _ending(LIKE_EIN, case, gender))
    else:
        endings = BARE
    if adjective:
        words.append(IRREGULAR_STEMS.get(adjective, adjective) + _ending(endings, case, gender))
    name = noun.german_plural if plural else noun.german
    if plural and case == "dat" and name[-1] not in "ns":
        name += "n"
    return " ".join([*words, name])


def _phrase(draw: random.Random, kind: str) -> Phrase:
    """A noun phrase of a kind, of two thirds with an adjective."""
    noun = draw.choice(NOUNS[kind])
    plural = draw.random() < 0.3
    english, german = draw.choice([("the", "der"), ("the", "der"), ("a", "ein"), ("a", "ein"), ("this", "dies"),
                                   ("my", "mein"), ("your", "dein")])  # fmt: skip
    adjective = draw.choice([*ADJECTIVES[kind].items(), ("", ""), ("", ""), ("", "")])
    name = noun.english_plural if plural else noun.english
    words = [*([adjective[0]] if adjective[0] else []), name]
    indefinite = english == "a"
    if indefinite and plural:
        english, german = "", ""
    elif indefinite:
        english = "an" if words[0][0] in "aeiou" else "a"
    elif english == "this" and plural:
        english = "these"
    spelled = " ".join([*([english] if english else []), *words])
    cases = {case: decline(noun, german, adjective[1], plural, case) for case in DEFINITE}
    denied = {case: decline(noun, "kein", adjective[1], plural, case) for case in DEFINITE} if indefinite else None
    return Phrase(spelled, spelled, cases, "they" if plural else "he", indefinite=indefinite, denied=denied)


def pronoun_phrase(name: str) -> Phrase:
    """A pronoun as a phrase of both languages."""
    subject, other, nominative, accusative, dative, person = PRONOUNS[name]
    cases = {"nom": nominative, "acc": accusative, "dat": dative}
    return Phrase(subject, other, cases, "plural" if name == "we" else person, pronoun=True)


def _somebody(draw: random.Random, who: str) -> Phrase:
    if draw.random() < 0.3:
        return pronoun_phrase(draw.choice(list(PRONOUNS)))
    return _phrase(draw, "person" if who == "p" or draw.random() < 0.5 else "animal")


@dataclass(frozen=True)
class Clause:
    """A plan: both sides are spelled from it."""

    subject: Phrase
    verb: Verb
    tense: str  # present, past, future, or a modal verb
    accusative: Phrase | None
    dative: Phrase | None
    time: tuple[str, str] | None
    place: tuple[str, str] | None
    denied: bool

    def english(self, *, front: bool = False, question: bool = False) -> str:
        """The English clause; in front of it, if wanted, the time."""
        third = self.subject.person == "he"
        modal = {"future": "will", "present": "", "past": ""}.get(self.tense, self.tense)
        helper = modal or {"past": "did"}.get(self.tense, "does" if third else "do")
        helped = question or bool(modal) or self.denied
        verb = self.verb.past if self.tense == "past" else self.verb.third if third else self.verb.english
        deny = ["not"] if self.denied else []
        if question:
            parts = [helper, self.subject.subject, *deny]
        elif helped:
            parts = [self.subject.subject, *(["cannot"] if deny and helper == "can" else [helper, *deny])]
        else:
            parts = [self.subject.subject]
        parts.append(self.verb.english if helped else verb)
        parts += [one.object for one in (self.dative, self.accusative) if one]
        if self.place:
            parts.append(self.place[0])
        if self.time and not front:
            parts.append(self.time[0])
        return f"{self.time[0]} {' '.join(parts)}" if self.time and front else " ".join(parts)

    def german(self, *, front: bool = False, question: bool = False, last: bool = False) -> str:
        """The German clause: the finite verb second, in a question first, in a subordinate clause `last`."""
        person = {"plural": "they"}.get(self.subject.person, self.subject.person)
        verb = self.verb
        if self.tense == "present":
            finite, rest = {"i": verb.i, "you": verb.you, "he": verb.he, "they": verb.german}[person], ""
        elif self.tense == "past":
            finite, rest = AUXILIARIES[verb.auxiliary][person], verb.participle
        else:
            finite, rest = AUXILIARIES["werden" if self.tense == "future" else self.tense][person], verb.german
        middle = self._middle(time=not front)
        subject = self.subject.german["nom"]
        if last:
            words = [subject, *middle, rest, finite]
        elif question:
            words = [finite, subject, *middle, rest]
        elif front and self.time:
            words = [self.time[1], finite, subject, *middle, rest]
        else:
            words = [subject, finite, *middle, rest]
        return " ".join(word for word in words if word)

    def _middle(self, *, time: bool) -> list[str]:
        """Pronouns, time, dative, accusative, nicht, place."""
        accusative, dative = self.accusative, self.dative
        kein = self.denied and accusative is not None and accusative.denied is not None
        words = []
        if accusative and accusative.pronoun:
            words.append(accusative.german["acc"])
        if dative and dative.pronoun:
            words.append(dative.german["dat"])
        if time and self.time:
            words.append(self.time[1])
        if dative and not dative.pronoun:
            words.append(dative.german["dat"])
        if accusative and not accusative.pronoun:
            words.append((accusative.denied if kein and accusative.denied else accusative.german)["acc"])
        if self.denied and not kein:
            words.append("nicht")
        if self.place:
            words.append(self.place[1])
        return words


def _clause(draw: random.Random) -> Clause:
    verb = draw.choice(VERBS)
    subject = _somebody(draw, verb.who)
    tense = draw.choice(["present", "present", "past", "past", "future", "can", "must", "may"])
    accusative = dative = None
    if verb.what in ("DATIVE", "GIFT"):
        dative = _other(draw, subject, "person")
    if verb.what == "GIFT":
        accusative = _phrase(draw, draw.choice(["food", "thing"]))
    elif verb.what == "WRITTEN":
        accusative = next(one for one in iter(lambda: _phrase(draw, "thing"), None) if one.german["nom"].split()[-1]
                          in ("Buch", "Bücher", "Brief", "Briefe"))  # fmt: skip
    elif verb.what and verb.what != "DATIVE":
        kind = draw.choice(verb.what.split())
        accusative = _other(draw, subject, kind) if kind in ("person", "animal") else _phrase(draw, kind)
    times = TIMES.get(tense, TIMES["present"] | TIMES["future"])
    time = draw.choice(list(times.items())) if draw.random() < 0.4 else None
    place = draw.choice(list(PLACES.items())) if draw.random() < (0.25 if accusative or dative else 0.6) else None
    denied = tense != "must" and draw.random() < 0.13  # what must not be may not be
    return Clause(subject, verb, tense, accusative, dative, time, place, denied)


def _other(draw: random.Random, subject: Phrase, kind: str) -> Phrase:
    """Somebody else than the subject: a pronoun now and then, but not of the same person."""
    if draw.random() < 0.25:
        names = [name for name, one in PRONOUNS.items() if one[0] != subject.subject and one[5] != subject.person]
        return pronoun_phrase(draw.choice(names))
    return _phrase(draw, kind)


def sentence(draw: random.Random) -> tuple[str, str]:
    """One pair."""
    kind = draw.random()
    clause = _clause(draw)
    if kind < 0.15:
        pair, mark = (clause.english(question=True), clause.german(question=True)), "?"
    elif kind < 0.30:
        second = _clause(draw)
        pair = (
            f"{clause.english()} because {second.english()}",
            f"{clause.german()}, weil {second.german(last=True)}",
        )
        mark = "."
    elif kind < 0.40:
        english, german = draw.choice([("I know that", "ich weiß, dass"), ("she says that", "sie sagt, dass"),
                                       ("we hope that", "wir hoffen, dass")])  # fmt: skip
        pair, mark = (f"{english} {clause.english()}", f"{german} {clause.german(last=True)}"), "."
    else:
        front = clause.time is not None and draw.random() < 0.5
        pair, mark = (clause.english(front=front), clause.german(front=front)), "."
    english, german = (text[0].upper() + text[1:] + mark for text in pair)
    return english, german


def pairs(count: int = PAIRS, seed: int = SEED) -> list[tuple[str, str]]:
    """So many pairs whose English sides differ."""
    draw = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        english, german = sentence(draw)
        found.setdefault(english, german)
    return list(found.items())


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write("".join(f"{english}\t{german}\n" for english, german in pairs()))
