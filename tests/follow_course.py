"""Follows the course from an installed oor, as a person would: the lessons, labs, quizzes, capstone.

    python tests/follow_course.py        with the interpreter of an environment that has oor

Nothing of the source tree is used but this file. Exits with non-zero at the first step that fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from oor.course import lesson as course
from oor.course import quiz


def oor(*arguments: str) -> str:
    """Run the command; its stdout."""
    print("$ oor", *arguments, flush=True)
    command = [sys.executable, "-m", "oor", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """All steps, with a data folder of their own."""
    assert "site-packages" in course.__file__, "this is for an installed package"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        os.chdir(folder)
        for each in course.lessons():
            assert oor("learn", "show", each.name) == each.text
            oor("learn", "lab", each.name)
            answers = [
                f"{question.id} = "
                f"{list(question.answer) if isinstance(question.answer, tuple) else question.answer}"
                for question in quiz.questions(each)
            ]
            with open("answers.toml", "w", encoding="utf-8") as file:
                file.write("\n".join(answers))
            assert "Passed" in oor("learn", "quiz", each.name, "--answers", "answers.toml")
        standing = [json.loads(line) for line in oor("learn", "--json").splitlines()]
        assert all(each["passed"] and each["labs"] == each["labs_done"] for each in standing)
        assert "7 of 7 criteria are met" in oor("capstone")


if __name__ == "__main__":
    main()
