"""The workflows of the hosted runners say what the tree can do, and nothing they use can be moved."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.wheels.trial import TESTS

yaml = pytest.importorskip("yaml", reason="workflows are read with PyYAML")

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RUNNERS = {"ubuntu-22.04", "ubuntu-24.04", "ubuntu-24.04-arm"}


def jobs():
    for path in FILES:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield f"{path.name}: {name}", job


def steps():
    for name, job in jobs():
        for step in job["steps"]:
            yield name, step


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_keeps_to_the_schema_of_its_host(path):
    pytest.importorskip("check_jsonschema", reason="schemas come with check-jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_fails_in_front_of_a_pipe_fails_its_step():
    for path in FILES:
        content = yaml.safe_load(path.read_text())
        shell = content.get("defaults", {}).get("run", {}).get("shell")
        for job in content["jobs"].values():
            for step in job["steps"]:
                # Said by name, bash runs with pipefail; where nothing is said, without.
                assert "|" not in step.get("run", "") or step.get("shell", shell) == "bash"


def test_what_guards_a_change_runs_for_each():
    called = {step["run"] for name, step in steps() if name.startswith("ci.yml") and "run" in step}
    wanted = {"make check", "make docs", "make sanitize", "make mutants", "make counters",
              "make kernels", "make bench-compare BASE=HEAD~1"}  # fmt: skip
    assert wanted <= called
    (measured,) = (job for name, job in jobs() if name == "ci.yml: benchmarks")
    assert measured["steps"][0]["with"]["fetch-depth"] == 2, "HEAD~1 is not there otherwise"


def test_there_is_a_workflow_for_changes_and_one_for_releases():
    assert [path.name for path in FILES] == ["ci.yml", "wheels.yml"]
    names = {name.split(": ")[1] for name, _ in jobs()}
    assert names == {
        "lint", "tests", "sanitizers", "proof", "benchmarks", "wheels", "sdist", "publish",
    }  # fmt: skip


def test_every_action_is_pinned_by_its_commit_and_says_its_version():
    for path in FILES:
        uses = re.findall(r"uses: (.*)", path.read_text())
        assert uses
        for used in uses:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_one_action_has_one_version_everywhere():
    versions = {}
    for path in FILES:
        for name, commit in re.findall(r"uses: ([^@]+)@([0-9a-f]{40})", path.read_text()):
            assert versions.setdefault(name, commit) == commit


def test_nothing_may_write_but_the_publisher_and_it_only_identifies_itself():
    for path in FILES:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    allowed = {name: job["permissions"] for name, job in jobs() if "permissions" in job}
    assert allowed == {"wheels.yml: publish": {"id-token": "write"}}
    for name, step in steps():
        if str(step.get("uses", "")).startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False, name
        assert "secrets." not in str(step), name


def test_every_job_ends_in_time_runs_where_there_is_a_runner_and_waits_for_jobs_there_are():
    for name, job in jobs():
        assert 0 < job["timeout-minutes"] <= 90, name
        runner = job["runs-on"]
        found = job["strategy"]["matrix"]["runner"] if "matrix" in runner else [runner]
        assert set(found) <= RUNNERS, name
        beside = {other.split(": ")[1] for other, _ in jobs() if other.split(":")[0] in name}
        assert set(job.get("needs", ())) <= beside, name


def test_both_processors_are_tested_and_get_wheels():
    for name, job in jobs():
        if name.endswith((": tests", ": wheels")):
            assert {"ubuntu-24.04", "ubuntu-24.04-arm"} <= set(job["strategy"]["matrix"]["runner"])


def test_every_make_target_that_a_workflow_calls_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set()
    for _, step in steps():
        words = shlex.split(step.get("run", "").split("|")[0])
        if words[:1] == ["make"]:
            called.add(words[1])
    assert called and called <= targets


def test_wheels_are_tested_with_files_that_are_there_and_copied():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    copied = settings["test-sources"]
    assert all((ROOT / name).exists() for name in copied)
    tested = re.findall(r"tests/\w+\.py", settings["test-command"])
    assert tested == [f"tests/{name}" for name in TESTS], "make wheels tries them with others"
    assert len(tested) >= 5 and "tests/test_recovery.py" in tested
    assert all((ROOT / name).is_file() for name in tested) and "tests" in copied
    assert "oor" not in copied, "the tests would find the sources and not the wheel"


def test_before_a_commit_the_same_check_runs():
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [hook["entry"] for repo in content["repos"] for hook in repo["hooks"]] == ["make check"]
