"""`oor learn`: the lessons, their labs and quizzes, and how far the reader has come."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

import click

from oor import native
from oor.cli import exits
from oor.cli.output import count, emit, json_option, table
from oor.course import lesson as course
from oor.course import quiz as quizzes
from oor.course.lesson import Exercise, Lesson
from oor.course.progress import Progress, forget
from oor.course.quiz import Answer, Question, Result
from oor.demo.scratch import scratch
from oor.errors import OorError

ANSWERS_BYTES_MAX = 1 << 20
lesson_argument = click.argument("lesson")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def learn(ctx: click.Context, as_json: bool) -> int:
    """Learn write-ahead logging on this very engine: what a lesson claims, you run.

    Without a command it lists the lessons and how far you are. LESSON is a number or a name.
    """
    return exits.FINE if ctx.invoked_subcommand else _list(as_json)


def _list(as_json: bool) -> int:
    progress = Progress()
    rows = []
    for lesson in course.lessons():
        standing = progress.of(lesson)
        names = [exercise.name for exercise in lesson.exercises]
        if as_json:
            emit(
                {
                    "lesson": lesson.number,
                    "name": lesson.name,
                    "title": lesson.title,
                    "question": lesson.question,
                    "labs": names,
                    "questions": len(quizzes.questions(lesson)),
                    "read": standing.read,
                    "labs_done": standing.labs,
                    "best": standing.best,
                    "passed": standing.passed,
                }
            )
            continue
        done = sum(name in standing.labs for name in names)
        best = "-" if standing.best is None else f"{standing.best} %"
        rows.append(
            (f"{lesson.number} {lesson.title}", "yes" if standing.read else "no",
             f"{done} of {len(names)}", best, "yes" if standing.passed else "no")
        )  # fmt: skip
    if not as_json:
        table(("lesson", "read", "labs", "quiz", "passed"), rows)
        print(f"\n{_next_step(progress)}")
    return exits.FINE


def _next_step(progress: Progress) -> str:
    missing = progress.missing()
    if not missing:
        return "All quizzes are passed: `oor capstone` is open."
    lesson = missing[0]
    standing = progress.of(lesson)
    if not standing.read:
        return f"Next: oor learn show {lesson.number}"
    to_run = [exercise.name for exercise in lesson.exercises if exercise.name not in standing.labs]
    if to_run:
        return f"Next: oor learn lab {lesson.number} {to_run[0]}"
    return f"Next: oor learn quiz {lesson.number}"


# ---- the text ------------------------------------------------------------------------------------


@learn.command()
@lesson_argument
@json_option
def show(lesson: str, as_json: bool) -> int:
    """Show a lesson."""
    found = course.find(lesson)
    if as_json:
        emit(_content(found))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        console = Console()
        with console.pager(styles=True):
            console.print(Markdown(found.text))
    else:
        print(found.text, end="")
    progress = Progress()
    progress.note_read(found)
    if not as_json and sys.stdout.isatty():
        print(_next_step(progress))
    return exits.FINE


def _content(lesson: Lesson) -> dict[str, Any]:
    return {
        "lesson": lesson.number,
        "name": lesson.name,
        "title": lesson.title,
        "question": lesson.question,
        "sections": lesson.sections,
        "labs": [
            {
                "name": exercise.name,
                "commands": [" ".join(["oor", *command]) for command in exercise.commands],
                "claims": [claim.text for claim in exercise.claims],
            }
            for exercise in lesson.exercises
        ],
        "text": lesson.text,
    }


# ---- the labs ------------------------------------------------------------------------------------


@learn.command()
@lesson_argument
@click.argument("name", required=False)
@json_option
def lab(lesson: str, name: str | None, as_json: bool) -> int:
    """Run the labs of a lesson, or the one of this NAME, and hold its claims against them.

    Each runs in a scratch folder. Exits with 1 if a claim does not hold on this machine.
    """
    found = course.find(lesson)
    chosen = [each for each in found.exercises if name in (None, each.name)]
    if not chosen:
        names = ", ".join(each.name for each in found.exercises)
        raise OorError(f"lesson {found.number} has no lab {name!r}; it has: {names}")
    progress = Progress()
    failed = 0
    for exercise in chosen:
        figures = _run(exercise, as_json)
        held = [claim.holds(figures) for claim in exercise.claims]
        failed += held.count(False)
        if all(held):
            progress.note_lab(found, exercise.name)
        if as_json:
            emit(
                {
                    "lesson": found.number,
                    "lab": exercise.name,
                    "figures": figures,
                    "claims": [
                        {"claim": claim.text, "holds": holds, "because": claim.because}
                        for claim, holds in zip(exercise.claims, held, strict=True)
                    ],
                }
            )
            continue
        _tell_claims(exercise, figures, held)
    return exits.DAMAGE if failed else exits.FINE


def _run(exercise: Exercise, silent: bool) -> dict[str, Any]:
    """Run the commands in a scratch folder; returns the figures of the last one."""
    with scratch() as folder:
        path = os.path.join(folder, "figures.json")
        for command in exercise.commands:
            if not silent:
                print(f"$ oor {' '.join(command)}", flush=True)
            with_figures = ["lab", "--figures", path, *command[1:]]
            arguments = with_figures if command[0] == "lab" else [*command]
            done = subprocess.run(
                [sys.executable, "-m", "oor", *arguments],
                cwd=folder,
                stdout=subprocess.DEVNULL if silent else None,
                check=False,
            )
            if done.returncode not in (exits.FINE, exits.DAMAGE):
                raise OorError(f"`oor {' '.join(command)}` ended with {done.returncode}")
        if not native.exists(path):
            return {}
        figures: dict[str, Any] = json.loads(native.read_file(path))
        return figures


def _tell_claims(exercise: Exercise, figures: dict[str, Any], held: list[bool]) -> None:
    print()
    for claim, holds in zip(exercise.claims, held, strict=True):
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {claim.text}")
        print(f"    {claim.because}")
        print(f"    {', '.join(f'{name} = {_shown(figures[name])}' for name in claim.names())}")
    print(flush=True)


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


# ---- the quizzes ---------------------------------------------------------------------------------


@learn.command()
@lesson_argument
@click.option(
    "--answers",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Take the answers from a TOML file; - is the standard input.",
)
@json_option
def quiz(lesson: str, answers: str | None, as_json: bool) -> int:
    """Take the quiz of a lesson; 70 % of the answers right pass it.

    A file has a line for each question: its id = the number of a choice, [the numbers of choices],
    or a number. Exits with 1 if the quiz is not passed.
    """
    found = course.find(lesson)
    asked = quizzes.questions(found)
    given = (
        _ask_all(asked)
        if answers is None
        else quizzes.read_answers(_content_of(answers), answers, asked)
    )
    result = quizzes.grade(asked, given)
    Progress().note_quiz(found, result)
    if as_json:
        emit(
            {
                "lesson": found.number,
                "right": result.right,
                "total": result.total,
                "percent": result.percent,
                "passed": result.passed,
                "wrong": [
                    {"id": question.id, "why": question.why, "section": question.section,
                     "source": question.source}
                    for question in result.wrong
                ],
            }
        )  # fmt: skip
    else:
        _tell_result(found, result)
    return exits.FINE if result.passed else exits.DAMAGE


def _content_of(path: str) -> bytes:
    try:
        with click.open_file(path, "rb") as file:
            data: bytes = file.read(ANSWERS_BYTES_MAX + 1)
    except OSError as error:
        raise OorError(f"cannot read the answers: {error.strerror}", path=path) from None
    if len(data) > ANSWERS_BYTES_MAX:
        raise OorError("this is too long to be answers to a quiz", path=path)
    return data


def _ask_all(asked: tuple[Question, ...]) -> dict[str, Answer]:
    given = {}
    for number, question in enumerate(asked, 1):
        click.echo(f"\n{number} of {len(asked)}  {question.text}", err=True)
        for place, choice in enumerate(question.choices, 1):
            click.echo(f"  {place}  {choice}", err=True)
        try:
            given[question.id] = click.prompt(
                _PROMPTS[question.kind] + (f", in {question.unit}" if question.unit else ""),
                value_proc=functools.partial(_typed, question),
                err=True,
            )
        except click.Abort as error:
            if isinstance(error.__context__, EOFError):
                click.echo(err=True)
                raise OorError(
                    f"the answers ended before question {number}, and nothing is graded; "
                    "a script gives them by --answers FILE"
                ) from None
            raise
    return given


_PROMPTS = {
    "single": "The number of one choice",
    "multiple": "The numbers of all that are right, with spaces",
    "number": "A number",
}


def _typed(question: Question, text: str) -> Answer:
    try:
        if question.kind == "number":
            return question.read(float(text.replace(",", "")))
        numbers = [int(each) for each in text.replace(",", " ").split()]
        if question.kind == "multiple":
            return question.read(numbers)
        (number,) = numbers
        return question.read(number)
    except (ValueError, OorError):
        raise click.BadParameter("this is no answer to the question") from None


def _tell_result(lesson: Lesson, result: Result) -> None:
    print(f"{count(result.right, 'right answer')} of {result.total}: {result.percent} %")
    for question in result.wrong:
        print(f"\n{question.text}\n    {question.why}")
        print(f"    See {question.section!r} in lesson {lesson.number}, and {question.source}.")
    gate = f"{quizzes.PASS_PERCENT} % pass"
    print(f"\n{'Passed' if result.passed else 'Not passed'}: {gate}.")
    if result.passed:
        print(_next_step(Progress()))


# ---- anew ----------------------------------------------------------------------------------------


@learn.command()
@json_option
def reset(as_json: bool) -> int:
    """Forget how far you were."""
    path = forget()
    if as_json:
        emit({"progress": path, "lessons": 0})
    else:
        print(f"begun anew: {path} is gone")
    return exits.FINE
