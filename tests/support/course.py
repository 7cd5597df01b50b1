"""What the tests of the course share: a data folder of their own, and files of answers."""

from __future__ import annotations

import pytest

from oor.course import quiz


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A data folder of its own for each test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def answers_file(path, lesson, wrong=0):
    """Answers to the quiz of a lesson, the first so many of them wrong."""
    lines = []
    for place, question in enumerate(quiz.questions(lesson)):
        answer = question.answer
        if place < wrong:
            answer = {"number": -1, "multiple": (), "single": 1 if answer != 1 else 2}[
                question.kind
            ]
        lines.append(f"{question.id} = {list(answer) if isinstance(answer, tuple) else answer}")
    path.write_text("\n".join(lines))
    return str(path)
