"""Quizzes: questions in TOML, answers from a person or a file, and a gate at 70 %.

quiz     := [[question]]*
question := id, kind, text, why, section, source, and by kind
            single    choices, answer: the number of the right one, from 1
            multiple  choices, answer: the numbers of all right ones
            number    answer, tolerance: what it may be off, unit
answers  := TOML: id = number | [numbers], each question once
"""

from __future__ import annotations

import contextlib
import functools
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from oor.course.lesson import Lesson
from oor.errors import OorError

PASS_PERCENT: Final = 70
KINDS: Final = ("single", "multiple", "number")

Answer = int | float | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One question, its answer, and where the reader finds why."""

    id: str
    kind: str
    text: str
    answer: Answer
    why: str
    section: str
    """The heading of the lesson that answers it."""
    source: str
    """The file of the project where it is so."""
    choices: tuple[str, ...] = ()
    tolerance: float = 0.0
    unit: str = ""

    def is_right(self, given: Answer) -> bool:
        """Whether an answer that `read` took is right."""
        if self.kind == "number":
            assert not isinstance(given, tuple) and not isinstance(self.answer, tuple)
            return abs(given - self.answer) <= self.tolerance
        return given == self.answer

    def read(self, given: object) -> Answer:
        """Check what a person or a file gave. OorError if it cannot be an answer to this."""
        if self.kind == "number":
            if isinstance(given, int | float) and not isinstance(given, bool):
                with contextlib.suppress(OverflowError):
                    return float(given)
            raise OorError(f"{self.id}: the answer is a number, and not {_shown(given)}")
        if self.kind == "single":
            return self._choice(given)
        if not isinstance(given, list | tuple):
            raise OorError(f"{self.id}: the answer is a list of choices, and not {_shown(given)}")
        return tuple(sorted({self._choice(each) for each in given}))

    def _choice(self, given: object) -> int:
        count = len(self.choices)
        if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= count:
            return given
        raise OorError(
            f"{self.id}: a choice is a number from 1 to {count}, and not {_shown(given)}"
        )


def _shown(given: object) -> str:
    """As it was given, and of something long its beginning."""
    return reprlib.repr(given)


@dataclass(frozen=True, slots=True)
class Result:
    """How a quiz went."""

    right: int
    total: int
    wrong: tuple[Question, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether at least 70 % of the answers are right."""
        return self.total > 0 and 100 * self.right >= PASS_PERCENT * self.total

    @property
    def percent(self) -> int:
        """Of right answers, rounded down: 100 only if all are."""
        return 100 * self.right // self.total if self.total else 0


@functools.cache
def questions(lesson: Lesson) -> tuple[Question, ...]:
    """The quiz of a lesson."""
    path = resources.files("oor.course") / "quizzes" / f"{lesson.number}-{lesson.name}.toml"
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Question, ...]:
    """Read a quiz. OorError if a question cannot be asked or answered."""
    found = tuple(_question(content) for content in tomllib.loads(text)["question"])
    if len({question.id for question in found}) != len(found):
        raise OorError("two questions of a quiz have the same id")
    return found


def _question(content: dict[str, Any]) -> Question:
    choices = tuple(content.pop("choices", ()))
    given = content.pop("answer")
    draft = Question(answer=0, choices=choices, **content)
    if draft.kind not in KINDS or (draft.kind == "number") != (not choices):
        raise OorError(f"{draft.id}: not a question of a known kind")
    return Question(answer=draft.read(given), choices=choices, **content)


def grade(asked: tuple[Question, ...], answers: Mapping[str, Answer]) -> Result:
    """Compare. REQUIRES: an answer for each question."""
    wrong = tuple(question for question in asked if not question.is_right(answers[question.id]))
    return Result(len(asked) - len(wrong), len(asked), wrong)


def read_answers(data: bytes, path: str, asked: tuple[Question, ...]) -> dict[str, Answer]:
    """Read the content of a file of answers. OorError, with the path, for one that is no TOML, or
    that has not exactly one fitting answer for each question.
    """
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, or of what no one needs
        raise OorError(f"the answers are no TOML: {error}", path=path) from None
    known = {question.id: question for question in asked}
    if unknown := sorted(content.keys() - known.keys()):
        raise OorError(f"answers to questions that are not asked: {', '.join(unknown)}", path=path)
    if missing := [name for name in known if name not in content]:
        raise OorError(f"questions without an answer: {', '.join(missing)}", path=path)
    try:
        return {name: known[name].read(given) for name, given in content.items()}
    except OorError as error:
        raise OorError(error.message, path=path) from None
