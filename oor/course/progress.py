"""How far a reader has come, kept in the user's data folder.

    progress.json := {"version": 1, "lessons": {name: {"read", "labs", "best", "passed"}}}

`best` is the best result of the quiz in percent. The file is replaced whole, so that two readers at
once, or a crash, leave one of the two and never half of one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import platformdirs

from oor import native
from oor.course.lesson import Lesson, lessons
from oor.course.quiz import Result
from oor.errors import OorError

VERSION = 1


@dataclass(slots=True)
class Standing:
    """One lesson's share."""

    read: bool = False
    labs: list[str] = field(default_factory=list)
    best: int | None = None
    passed: bool = False


def default_path() -> str:
    """Where this user's progress is kept."""
    return os.path.join(platformdirs.user_data_dir("oor"), "progress.json")


def forget() -> str:
    """Begin anew, whatever the file holds; returns its path."""
    path = default_path()
    if native.exists(path):
        native.unlink(path)
    return path


class Progress:
    """The file `progress.json` of this user. Not for two threads at once."""

    def __init__(self, path: str | None = None) -> None:
        """Read what is there; `path` stands in for the user's own file.

        Raises OorError if the file is not what this version of oor wrote.
        """
        self.path = path or default_path()
        self._lessons = _read(self.path) if native.exists(self.path) else {}

    def of(self, lesson: Lesson) -> Standing:
        """How this lesson stands."""
        return self._lessons.get(lesson.name, Standing())

    def note_read(self, lesson: Lesson) -> None:
        """The text was shown."""
        self._change(lesson).read = True
        self._save()

    def note_lab(self, lesson: Lesson, name: str) -> None:
        """An exercise was run, and its claims held."""
        standing = self._change(lesson)
        if name not in standing.labs:
            standing.labs.append(name)
        self._save()

    def note_quiz(self, lesson: Lesson, result: Result) -> None:
        """A quiz was taken. What was passed once stays passed."""
        standing = self._change(lesson)
        standing.best = max(standing.best or 0, result.percent)
        standing.passed = standing.passed or result.passed
        self._save()

    def missing(self) -> list[Lesson]:
        """The lessons whose quiz is not passed yet."""
        return [lesson for lesson in lessons() if not self.of(lesson).passed]

    def _change(self, lesson: Lesson) -> Standing:
        return self._lessons.setdefault(lesson.name, Standing())

    def _save(self) -> None:
        folder = os.path.dirname(self.path)
        _make_dirs(folder)
        content = {
            "version": VERSION,
            "lessons": {name: asdict(standing) for name, standing in self._lessons.items()},
        }
        native.replace_atomic(self.path, (json.dumps(content, indent=1) + "\n").encode())


def _make_dirs(folder: str) -> None:
    if not native.exists(folder):
        _make_dirs(os.path.dirname(folder))
        native.make_dir(folder)


def _standing(each: dict[str, Any]) -> Standing:
    found = Standing(**each)
    labs, best = found.labs, found.best
    if (
        not (isinstance(found.read, bool) and isinstance(found.passed, bool))
        or not (isinstance(labs, list) and all(isinstance(name, str) for name in labs))
        or not (best is None or (type(best) is int and 0 <= best <= 100))
    ):
        raise ValueError(f"{each!r}")
    return found


def _read(path: str) -> dict[str, Standing]:
    try:
        content: Any = json.loads(native.read_file(path))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}")
        return {name: _standing(each) for name, each in content["lessons"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OorError(
            f"this is no progress that this version reads ({error}); `oor learn reset` begins anew",
            path=path,
        ) from None
