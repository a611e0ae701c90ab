"""From a dataclass' fields to flags and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from nlpseq.commands.flags import Corpora, Without, application, command, expanded
from nlpseq.errors import OptionError
from nlpseq.options import check, option

KINDS = ("plain", "fancy")


@dataclass(frozen=True, kw_only=True)
class Soup:
    """What is cooked."""

    kind: str = option("plain", "what it is", choices=KINDS)
    litres: float = option(1.5, "how much there is", above=0)
    plates: int | None = option(None, "plates to fill [default: by litres]", minimum=1)
    hot: bool = option(True, "serve it hot")
    vegan: bool | None = option(None, "leave out the meat")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Where it is eaten."""

    chairs: int = option(4, "chairs around it", minimum=1)
    secret: str = option("", "not for everybody", hidden=True)


@pytest.fixture
def kitchen() -> tuple[typer.Typer, list[Any]]:
    app, served = application("A kitchen."), []

    @command(app)
    def serve(corpus: Corpora = None, out: Path = Path("here"), *, soup: Soup, table: Table) -> None:
        """Serve a soup."""
        served.append((corpus, out, soup, table))

    return app, served


def _serve(kitchen: tuple[typer.Typer, list[Any]], *arguments: str) -> Any:
    app, served = kitchen
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    return served.pop()


def test_what_is_left_out_is_the_dataclass_default(kitchen: Any) -> None:
    assert _serve(kitchen) == (None, Path("here"), Soup(), Table())


def test_flags_become_fields(kitchen: Any) -> None:
    flags = ["--kind", "fancy", "--litres", "2", "--plates", "3", "--no-hot", "--vegan", "--chairs", "6"]
    flags += ["--secret", "x", "--out", "there", "a", "b"]
    soup = Soup(kind="fancy", litres=2.0, plates=3, hot=False, vegan=True)
    assert _serve(kitchen, *flags) == (["a", "b"], Path("there"), soup, Table(chairs=6, secret="x"))


def test_types_are_those_of_the_fields(kitchen: Any) -> None:
    soup = _serve(kitchen, "--litres", "2", "--plates", "7", "--no-vegan")[2]
    assert (type(soup.litres), type(soup.plates), soup.vegan) == (float, int, False)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--kind", "fancyy"], "--kind: must be one of plain, fancy, was 'fancyy'"),
        (["--litres", "much"], "--litres: must be a number, was 'much'"),
        (["--plates", "1.5"], "--plates: must be a whole number, was '1.5'"),
        (["--plates", "1e-3"], "--plates: must be a whole number, was '1e-3'"),
        (["--plates", "1.25e1"], "--plates: must be a whole number, was '1.25e1'"),
        (["--plates", "1e999"], "--plates: must be a whole number, was '1e999'"),
        (["--plates", "e3"], "--plates: must be a whole number, was 'e3'"),
        (["--plates", "0e3"], "plates: must be at least 1, was 0"),
        (["--litres", "2", "--litres", "3"], "--litres: takes one value, was set 2 times"),
    ],
)
def test_what_spells_no_value_is_refused(kitchen: Any, flags: list[str], said: str) -> None:
    with pytest.raises(OptionError, match=f"^{said}$"):
        _serve(kitchen, *flags)


@pytest.mark.parametrize(
    ("text", "number"), [("1000", 1000), ("1_000", 1000), ("1e3", 1000), ("1E+3", 1000), ("1.5e3", 1500), ("+2e0", 2)]
)
def test_a_whole_number_is_spelled_in_several_forms(kitchen: Any, text: str, number: int) -> None:
    plates = _serve(kitchen, "--plates", text)[2].plates
    assert plates == number and type(plates) is int


def test_a_switch_may_be_repeated_and_the_last_counts(kitchen: Any) -> None:
    assert _serve(kitchen, "--hot", "--no-hot", "--vegan", "--vegan")[2] == Soup(hot=False, vegan=True)


def test_a_field_can_be_left_out_of_a_command() -> None:
    app, served = application("A kitchen."), []

    @command(app)
    def serve(*, soup: Annotated[Soup, Without("plates")]) -> None:
        """Serve a soup."""
        served.append(soup)

    assert "--plates" not in CliRunner().invoke(app, ["--help"], catch_exceptions=False).stdout
    CliRunner().invoke(app, ["--litres", "2"], catch_exceptions=False)
    assert served == [Soup(litres=2.0)]


def test_a_value_that_makes_no_sense_is_found_by_the_dataclass(kitchen: Any) -> None:
    with pytest.raises(OptionError, match="litres: must be above 0"):
        _serve(kitchen, "--litres", "0")


def test_help_has_a_section_for_each_dataclass(kitchen: Any) -> None:
    shown = CliRunner().invoke(kitchen[0], ["--help"]).stdout
    soup, table = shown.index("\nSoup:"), shown.index("\nTable:")
    assert shown.index("Options:") < soup < shown.index("--litres") < table < shown.index("--chairs")
    assert "[default: 1.5]" in shown
    assert shown.count("[default: by litres]") == 1
    assert "plain|fancy" in shown
    assert "--secret" not in shown


def test_the_function_keeps_its_name_and_help() -> None:
    def serve(*, soup: Soup) -> None:
        """Serve a soup."""

    made: Callable[..., Any] = expanded(serve)
    assert (made.__name__, made.__doc__) == ("serve", "Serve a soup.")


@pytest.mark.parametrize(
    ("value", "hint"), [(2, ""), (4.5, ""), (5, "--share 0.05"), (30, "--share 0.3"), (100, "--share 1"), (101, "")]
)
def test_only_what_looks_like_a_percentage_is_read_as_one(value: float, hint: str) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Part:
        share: float = option(0.5, "how much of it", minimum=0, maximum=1)

        def __post_init__(self) -> None:
            check(self)

    with pytest.raises(OptionError, match="share: must be at most 1") as refused:
        Part(share=value)
    assert refused.value.hint == hint


def test_an_option_that_was_turned_off_is_named_so() -> None:
    app = application("A kitchen.")

    @command(app)
    def serve(*, soup: Soup) -> None:
        """Serve a soup."""
        raise OptionError("hot", "is for soups, and there are none", "--soup")

    for arguments, where in ((["--no-hot"], "--no-hot"), (["--hot"], "hot"), ([], "hot")):
        error = CliRunner().invoke(app, arguments).exception
        assert isinstance(error, OptionError) and error.where == where


def test_a_number_above_the_largest_is_refused() -> None:
    app = application("A kitchen.")

    @command(app)
    def serve(count: Annotated[int, typer.Option("--count", min=1, max=5)] = 1) -> None:
        """Serve soups."""

    assert CliRunner().invoke(app, ["--count", "5"]).exit_code == 0
    error = CliRunner().invoke(app, ["--count", "6"]).exception
    assert isinstance(error, OptionError)
    assert (error.what, error.hint) == ("must be at most 5, was 6", "--count 5")
