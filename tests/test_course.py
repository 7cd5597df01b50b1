"""The course: its exercises run, its claims hold, its quizzes are gated, its progress is kept."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from oor import native
from oor.cli import exits
from oor.cli.app import run
from oor.course import lesson as course
from oor.course import quiz
from oor.course.claims import Claim
from oor.course.progress import Progress
from oor.course.quiz import Question, Result
from oor.errors import OorError

ROOT = Path(__file__).resolve().parent.parent
LESSONS = course.lessons()
EXERCISES = [(each, exercise) for each in LESSONS for exercise in each.exercises]


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


# ---- lessons -------------------------------------------------------------------------------------


def test_each_lesson_opens_with_its_question_and_has_two_or_three_labs():
    assert [each.number for each in LESSONS] == [1, 2, 3]
    for each in LESSONS:
        assert each.question.endswith("?")
        assert each.text.index("> ") < each.text.index("## ")
        assert 2 <= len(each.exercises) <= 3
        assert all(exercise.claims for exercise in each.exercises)


def test_the_course_is_small():
    files = [
        path for path in (ROOT / "oor" / "course").rglob("*") if path.suffix in (".md", ".toml")
    ]
    assert sum(path.stat().st_size for path in files) < 200_000


def test_every_command_that_a_lesson_speaks_of_is_an_exercise_or_has_help(capsys):
    import re

    for each in LESSONS:
        for text in re.findall(r"`(oor [a-z][^`]*)`", each.text):
            words = [word for word in text.split()[1:] if word.islower() and word.isascii()]
            names = words[:2] if words[0] in ("lab", "learn") else words[:1]
            assert run([*names, "--help"]) == exits.FINE, text
            help_text = capsys.readouterr().out
            for option in re.findall(r"--[a-z-]+", text):
                assert option in help_text, text


@pytest.mark.parametrize(
    ("lesson", "exercise"), EXERCISES, ids=[f"{a.number}-{b.name}" for a, b in EXERCISES]
)
def test_the_claims_of_each_lab_hold_and_are_noted(lesson, exercise, capfd):
    code = run(["learn", "lab", str(lesson.number), exercise.name, "--json"])
    content = json.loads(capfd.readouterr().out)
    assert [each for each in content["claims"] if not each["holds"]] == []
    assert code == exits.FINE
    assert Progress().of(lesson).labs == [exercise.name]


def test_a_lab_in_the_terminal_shows_the_command_its_report_and_each_claim_with_its_figures(capfd):
    assert run(["learn", "lab", "1", "frame"]) == exits.FINE
    out = capfd.readouterr().out
    assert out.startswith("$ oor lab frame\n")
    assert "header crc" in out
    assert "holds: promised_refused == promised_bits\n" in out
    assert "promised_refused = 600, promised_bits = 600" in out


def test_a_claim_that_does_not_hold_ends_with_one_and_is_not_noted(monkeypatch, capfd):
    monkeypatch.setattr("oor.cli.learn._run", lambda exercise, silent: {
        "promised_silent": 1, "last_silent": 0, "promised_refused": 599, "promised_bits": 600,
        "last_ended": 440, "last_bits": 440,
    })  # fmt: skip
    assert run(["learn", "lab", "wal-fundamentals", "frame"]) == exits.DAMAGE
    assert "DOES NOT HOLD: promised_refused == promised_bits" in capfd.readouterr().out
    assert Progress().of(LESSONS[0]).labs == []


def test_a_lesson_or_lab_that_is_not_there_is_answered_with_those_there_are(capsys):
    assert run(["learn", "show", "4"]) == exits.ERROR
    assert "1 wal-fundamentals" in capsys.readouterr().err
    assert run(["learn", "lab", "1", "aries"]) == exits.ERROR
    assert "it has: fsync-cost, frame, loss-window" in capsys.readouterr().err


def test_a_lesson_is_shown_as_its_file_has_it_and_noted(capsys):
    assert run(["learn", "show", "2"]) == exits.FINE
    assert capsys.readouterr().out == LESSONS[1].text
    assert Progress().of(LESSONS[1]).read and not Progress().of(LESSONS[0]).read
    assert run(["learn", "show", "2", "--json"]) == exits.FINE
    assert json.loads(capsys.readouterr().out)["sections"] == list(LESSONS[1].sections)


# ---- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a == 1", True),
        ("a < b <= 2", True),
        ("a > b", False),
        ("a == 1 and b == 3", False),
        ("a + b == 3 and b * 2 - a == 3 and b / 2 == a", True),
        ("word == 'one'", True),
    ],
)
def test_a_claim_is_decided_by_its_figures(text, holds):
    assert Claim(text).holds({"a": 1, "b": 2, "word": "one"}) is holds


@pytest.mark.parametrize(
    "text",
    ["", "a", "a ==", "f(a) == 1", "a.b == 1", "a[0] == 1", "a is 1", "a ** 2 == 1", "c > 0"],
)
def test_what_is_no_claim_or_lacks_a_figure_is_refused(text):
    with pytest.raises(OorError):
        Claim(text).holds({"a": 1})


# ---- quizzes -------------------------------------------------------------------------------------


def test_each_quiz_has_ten_questions_that_point_to_the_lesson_and_the_source():
    for each in LESSONS:
        asked = quiz.questions(each)
        assert len(asked) >= 10
        assert {question.kind for question in asked} == set(quiz.KINDS)
        for question in asked:
            assert question.section in each.sections
            assert (ROOT / question.source).is_file()
            assert question.why and question.text


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
    path = answers_file(tmp_path / "a.toml", LESSONS[0], wrong=4)
    assert run(["learn", "quiz", "1", "--answers", path, "--json"]) == exits.DAMAGE
    content = json.loads(capsys.readouterr().out)
    assert (content["right"], content["total"], content["passed"]) == (8, 12, False)
    assert {each["source"] for each in content["wrong"]} <= {
        question.source for question in quiz.questions(LESSONS[0])
    }
    path = answers_file(tmp_path / "a.toml", LESSONS[0], wrong=3)
    assert run(["learn", "quiz", "1", "--answers", path]) == exits.FINE
    out = capsys.readouterr().out
    assert "9 right answers of 12: 75 %" in out and "Passed: 70 % pass." in out
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


def test_a_file_of_answers_that_is_not_there_is_named(tmp_path, capsys):
    assert run(["learn", "quiz", "1", "--answers", str(tmp_path / "none")]) == exits.ERROR
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_person_is_asked_and_asked_again_until_it_is_an_answer(monkeypatch, capsys):
    asked = quiz.questions(LESSONS[0])
    typed = iter(
        text
        for question in asked
        for text in (
            ["what?", " ".join(map(str, question.answer))]
            if isinstance(question.answer, tuple)
            else ["nine", str(question.answer)]
        )
    )
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: next(typed))
    assert run(["learn", "quiz", "1"]) == exits.FINE
    captured = capsys.readouterr()
    assert "12 right answers of 12: 100 %" in captured.out
    assert captured.err.count("no answer to the question") == len(asked)
    assert asked[0].choices[1] in captured.err


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


# ---- progress ------------------------------------------------------------------------------------


def test_the_listing_shows_how_far_the_reader_is_and_what_is_next(tmp_path, capsys):
    assert run(["learn"]) == exits.FINE
    assert "Next: oor learn show 1" in capsys.readouterr().out
    run(["learn", "show", "1"])
    run(["learn", "quiz", "1", "--answers", answers_file(tmp_path / "a", LESSONS[0])])
    capsys.readouterr()
    assert run(["learn", "--json"]) == exits.FINE
    first, second, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["read"], first["best"], first["passed"]) == (True, 100, True)
    assert (second["read"], second["best"], second["passed"]) == (False, None, False)
    assert run(["learn"]) == exits.FINE
    assert "Next: oor learn show 2" in capsys.readouterr().out


def test_a_quiz_once_passed_stays_passed_and_keeps_its_best_result(tmp_path, capsys):
    run(["learn", "quiz", "1", "--answers", answers_file(tmp_path / "a", LESSONS[0], wrong=2)])
    run(["learn", "quiz", "1", "--answers", answers_file(tmp_path / "a", LESSONS[0], wrong=9)])
    standing = Progress().of(LESSONS[0])
    assert (standing.best, standing.passed) == (83, True)


def test_progress_is_kept_in_the_data_folder_and_forgotten_by_reset(home, capsys):
    run(["learn", "show", "1"])
    path = home / "oor" / "progress.json"
    assert json.loads(path.read_text())["lessons"]["wal-fundamentals"]["read"] is True
    assert native.list_dir(str(path.parent)) == ["progress.json"]
    assert run(["learn", "reset"]) == exits.FINE
    assert not path.exists() and not Progress().of(LESSONS[0]).read


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2, "lessons": {}}',
        b'{"version": 1, "lessons": {"a": {"x": 1}}}',
        b"\xff",
    ],
)
def test_progress_that_cannot_be_read_is_an_error_that_says_what_to_do(home, capsys, content):
    path = home / "oor" / "progress.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert run(["learn"]) == exits.ERROR
    error = capsys.readouterr().err
    assert str(path) in error and "oor learn reset" in error
    assert run(["learn", "reset"]) == exits.FINE
    assert run(["learn"]) == exits.FINE


# ---- capstone ------------------------------------------------------------------------------------


def test_the_capstone_is_locked_until_all_quizzes_are_passed(tmp_path, capsys):
    for number in (1, 2):
        lesson = LESSONS[number - 1]
        run(["learn", "quiz", str(number), "--answers", answers_file(tmp_path / "a", lesson)])
    capsys.readouterr()
    assert run(["capstone"]) == exits.ERROR
    assert "still to pass: 3 checkpointing" in capsys.readouterr().err


def test_the_capstone_measures_the_seven_criteria_for_who_has_passed(tmp_path, capsys):
    for lesson in LESSONS:
        path = answers_file(tmp_path / "a", lesson)
        assert run(["learn", "quiz", lesson.name, "--answers", path]) == exits.FINE
    assert "`oor capstone` is open" in capsys.readouterr().out
    code = run(["capstone", "--json", "--dir", str(tmp_path)])
    machine, *criteria = map(json.loads, capsys.readouterr().out.splitlines())
    assert machine["machine"]["the log goes by"]
    assert [each["criterion"] for each in criteria] == list("abcdefg")
    failed = [each["criterion"] for each in criteria if not each["passed"]]
    # The one criterion about time is judged by `oor capstone` itself, on a machine that is at rest.
    assert failed in ([], ["f"])
    assert code == (exits.DAMAGE if failed else exits.FINE)
