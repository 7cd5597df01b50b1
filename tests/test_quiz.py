"""The quizzes: what they ask, who passes, and what is said of answers that are none."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.course import answers_file, home  # noqa: F401

from oor.cli import exits
from oor.cli.app import run
from oor.course import lesson as course
from oor.course import quiz
from oor.course.progress import Progress
from oor.course.quiz import Question, Result
from oor.errors import OorError

ROOT = Path(__file__).resolve().parent.parent
LESSONS = course.lessons()


def test_each_quiz_has_ten_questions_that_point_to_the_lesson_and_the_source():
    for each in LESSONS:
        asked = quiz.questions(each)
        assert len(asked) >= 10
        assert {question.kind for question in asked} == set(quiz.KINDS)
        for question in asked:
            assert question.section in each.sections
            assert (ROOT / question.source).is_file()
            assert question.why and question.text


def guesses(question):
    """What who knows nothing could go by: the place of a choice, or its length."""
    lengths = [len(choice) for choice in question.choices]
    for place in range(len(lengths)):
        yield f"number {place + 1}", place + 1
    if len(set(lengths)) > 1:
        yield "longest", lengths.index(max(lengths)) + 1
        yield "shortest", lengths.index(min(lengths)) + 1


def test_no_rule_of_place_or_length_finds_more_than_four_of_ten_right_choices():
    for each in LESSONS:
        single = [question for question in quiz.questions(each) if question.kind == "single"]
        hits = {}
        for question in single:
            for rule, guess in guesses(question):
                hits[rule] = hits.get(rule, 0) + (guess == question.answer)
        assert {rule: n for rule, n in hits.items() if n > 0.4 * len(single)} == {}, each.name


@pytest.mark.parametrize(("right", "passed"), [(69, False), (70, True), (71, True), (0, False)])
def test_the_gate_is_at_70_percent(right, passed):
    question = Question("q", "number", "?", 1, "because", "s", "f")
    asked = tuple(Question(f"q{i}", "number", "?", 1, question.why, "s", "f") for i in range(100))
    result = quiz.grade(asked, {f"q{i}": 1 if i < right else 2 for i in range(100)})
    assert (result.right, result.percent, result.passed) == (right, right, passed)
    assert len(result.wrong) == 100 - right


def test_almost_70_percent_is_not_70_percent():
    assert not Result(13, 19).passed and Result(13, 19).percent == 68
    assert not Result(699, 1000).passed and Result(700, 1000).passed
    assert not Result(0, 0).passed


def test_a_number_may_be_off_by_its_tolerance_and_no_more():
    question = Question("q", "number", "?", 50, "w", "s", "f", tolerance=5)
    assert question.is_right(55) and question.is_right(45.0)
    assert not question.is_right(55.1)


def test_a_multiple_choice_is_right_only_if_it_is_whole():
    question = Question("q", "multiple", "?", (1, 3), "w", "s", "f", choices=("a", "b", "c"))
    assert question.is_right(question.read([3, 1, 3]))
    assert not question.is_right(question.read([1]))
    assert not question.is_right(question.read([1, 2, 3]))


def test_a_file_of_answers_is_graded_and_what_is_wrong_is_explained(tmp_path, capsys):
    path = answers_file(tmp_path / "a.toml", LESSONS[0], wrong=5)
    assert run(["learn", "quiz", "1", "--answers", path, "--json"]) == exits.DAMAGE
    content = json.loads(capsys.readouterr().out)
    assert (content["right"], content["total"], content["passed"]) == (10, 15, False)
    assert {each["source"] for each in content["wrong"]} <= {
        question.source for question in quiz.questions(LESSONS[0])
    }
    path = answers_file(tmp_path / "a.toml", LESSONS[0], wrong=4)
    assert run(["learn", "quiz", "1", "--answers", path]) == exits.FINE
    out = capsys.readouterr().out
    assert "11 right answers of 15: 73 %" in out and "Passed: 70 % pass." in out
    assert "See 'The rule' in lesson 1, and oor/commit.py." in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["what is this"], "no TOML"),
        (lambda lines: [*lines, "more = 1"], "not asked: more"),
        (lambda lines: lines[1:], "without an answer: rule"),
        (lambda lines: ["rule = 5", *lines[1:]], "rule: a choice is a number from 1 to 4"),
        (lambda lines: ["rule = true", *lines[1:]], "rule: a choice is a number from 1 to 4"),
        (lambda lines: [lines[0], "lsn = 1", *lines[2:]], "lsn: the answer is a list"),
        (lambda lines: [*lines, lines[0]], "no TOML"),
        (lambda lines: ["rule = " + "[" * 50_000], "no TOML"),
        (lambda lines: ["rule = 1" + "0" * 5000], "no TOML"),
        (lambda lines: ["rule = {}", *lines[1:]], "rule: a choice is a number from 1 to 4"),
        (lambda lines: ["[rule]", "a = 1"], "without an answer: lsn"),
        (
            lambda lines: [*lines[:2], "batch-lsn = 1" + "0" * 400, *lines[3:]],
            "batch-lsn: the answer is a number, and not 10000",
        ),
        (lambda lines: [*lines[:2], 'batch-lsn = "47"', *lines[3:]], "batch-lsn: the answer is a"),
        (lambda lines: [*lines, "# " + "x" * (1 << 20)], "too long"),
    ],
)
def test_a_wrong_file_of_answers_is_refused_with_its_path_and_what_is_wrong(
    tmp_path, capsys, change, message
):
    path = tmp_path / "a.toml"
    answers_file(path, LESSONS[0])
    path.write_text("\n".join(change(path.read_text().splitlines())))
    assert run(["learn", "quiz", "1", "--answers", str(path)]) == exits.ERROR
    error = capsys.readouterr().err
    assert message in error and str(path) in error
    assert Progress().of(LESSONS[0]).best is None


def test_a_file_of_answers_that_is_not_there_or_no_text_is_named(tmp_path, capsys):
    assert run(["learn", "quiz", "1", "--answers", str(tmp_path / "none")]) == exits.ERROR
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert run(["learn", "quiz", "1", "--answers", str(tmp_path)]) == exits.ERROR
    assert str(tmp_path) in capsys.readouterr().err
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    assert run(["learn", "quiz", "1", "--answers", str(tmp_path / "picture")]) == exits.ERROR
    assert "no TOML" in capsys.readouterr().err


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_answers_come_from_the_standard_input_too_with_or_without_a_byte_order_mark(
    tmp_path, monkeypatch, capsys, mark
):
    data = mark + Path(answers_file(tmp_path / "a.toml", LESSONS[0])).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run(["learn", "quiz", "1", "--answers", "-"]) == exits.FINE


def test_a_person_is_asked_and_asked_again_until_it_is_an_answer(monkeypatch, capsys):
    asked = quiz.questions(LESSONS[0])
    typed = iter(
        text
        for question in asked
        for text in (
            ["what?", " ".join(map(str, question.answer))]
            if isinstance(question.answer, tuple)
            else ["1, 2" if question.kind == "single" else "nine", str(question.answer)]
        )
    )
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: next(typed))
    assert run(["learn", "quiz", "1"]) == exits.FINE
    captured = capsys.readouterr()
    assert "15 right answers of 15: 100 %" in captured.out
    assert captured.err.count("no answer to the question") == len(asked)
    assert asked[0].choices[1] in captured.err


def test_answers_that_end_early_are_told_and_grade_nothing(monkeypatch, capsys):
    typed = iter(["2"])

    def prompt(text):
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("click.termui.visible_prompt_func", prompt)
    assert run(["learn", "quiz", "1"]) == exits.ERROR
    assert "ended before question 2" in capsys.readouterr().err
    assert Progress().of(LESSONS[0]).best is None


def test_a_quiz_is_taken_at_a_terminal():
    lines = "".join(
        f"{' '.join(map(str, question.answer)) if question.kind == 'multiple' else question.answer}\n"
        for question in quiz.questions(LESSONS[2])
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "oor", "learn", "quiz", "3"],
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as child:  # fmt: skip
        os.close(theirs)
        os.write(ours, lines.encode())
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:
            pass  # the other side of the terminal is closed
        finally:
            os.close(ours)
    assert child.returncode == exits.FINE
    assert b"Passed: 70 % pass." in shown and b"The numbers of all that are right" in shown
    assert Progress().of(LESSONS[2]).best == 100


def test_a_question_that_cannot_be_answered_right_is_refused():
    good = tomllib.loads((ROOT / "oor/course/quizzes/1-wal-fundamentals.toml").read_text())
    first = "\n".join(f"{key} = {json.dumps(value)}" for key, value in good["question"][0].items())
    assert len(quiz.parse(f"[[question]]\n{first}")) == 1
    for broken in (
        first.replace('"single"', '"double"'),
        first.replace("answer = ", "answer = 9"),
        first.replace('"single"', '"number"'),
    ):
        with pytest.raises(OorError):
            quiz.parse(f"[[question]]\n{broken}")
    with pytest.raises(OorError, match="same id"):
        quiz.parse(f"[[question]]\n{first}\n[[question]]\n{first}")
