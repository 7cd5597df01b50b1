"""Lessons: Markdown in which a reader, a terminal and a test find the same exercises.

lesson   := "# " title, "> " key question, text, ("## " section, text)*
exercise := a block ```sh whose lines are `oor` commands, and behind it the claims
claim    := "- `" comparison "`: " why it is so
"""

from __future__ import annotations

import functools
import re
import shlex
from dataclasses import dataclass
from importlib import resources

from oor.course.claims import Claim
from oor.errors import OorError

_BLOCK = re.compile(
    r"^```sh\n(?P<commands>(?:oor .*\n)+)```\n(?P<claims>(?:\n|- `.*\n(?:  .*\n)*)*)", re.M
)
_CLAIM = re.compile(r"^- `(?P<text>[^`]+)`: (?P<because>.*(?:\n  .*)*)", re.M)


@dataclass(frozen=True, slots=True)
class Exercise:
    """Commands to run in one folder, one after the other, and what is claimed of the last one's
    figures.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    """Each without the leading `oor`."""
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson, as its file has it."""

    number: int
    name: str
    title: str
    question: str
    """The key question that it opens with."""
    text: str
    sections: tuple[str, ...]
    exercises: tuple[Exercise, ...]


@functools.cache
def lessons() -> tuple[Lesson, ...]:
    """All of them, in order."""
    folder = resources.files("oor.course") / "lessons"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".md"))
    return tuple(
        parse(name.removesuffix(".md"), (folder / name).read_text(encoding="utf-8"))
        for name in names
    )


def find(wanted: str) -> Lesson:
    """The lesson of this number or name. OorError, with the names there are, if there is none."""
    for lesson in lessons():
        if wanted in (str(lesson.number), lesson.name):
            return lesson
    known = ", ".join(f"{lesson.number} {lesson.name}" for lesson in lessons())
    raise OorError(f"there is no lesson {wanted!r}; there are: {known}")


def parse(stem: str, text: str) -> Lesson:
    """Read one file; `stem` is its name, `N-name`. OorError if it lacks a part."""
    number, _, name = stem.partition("-")
    title = re.search(r"^# (.+)$", text, re.M)
    question = re.search(r"(?:^> .+\n)+", text, re.M)
    if not number.isdigit() or title is None or question is None:
        raise OorError(f"the lesson {stem!r} lacks a number, a title or a key question")
    return Lesson(
        int(number),
        name,
        title[1],
        " ".join(line.removeprefix("> ") for line in question[0].splitlines()),
        text,
        tuple(re.findall(r"^## (.+)$", text, re.M)),
        tuple(_exercise(found) for found in _BLOCK.finditer(text)),
    )


def _exercise(found: re.Match[str]) -> Exercise:
    commands = []
    for line in found["commands"].splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program != "oor":
            raise OorError(f"an exercise runs `oor` commands, and not {line!r}")
        commands.append(tuple(arguments))
    claims = tuple(
        Claim(claim["text"], re.sub(r"\s+", " ", claim["because"]))
        for claim in _CLAIM.finditer(found["claims"])
    )
    *_, last = commands
    name = last[1] if last[0] == "lab" else last[0]
    return Exercise(name, tuple(commands), claims)
