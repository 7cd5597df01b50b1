"""The fuzz targets accept their committed corpus, and their own checks can fail."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from fuzz import manifest, run
from oor import manifest as engine


@pytest.mark.skipif(shutil.which("cc") is None, reason="the targets need a C compiler: cc")
def test_the_corpus_runs_under_the_sanitizers():
    """Replayed with gcc, or with clang where it has libFuzzer: no finding."""
    run.replay_c(run.build(run.libfuzzer()))


def test_the_committed_corpus_is_small_and_has_every_target():
    sizes = {
        target: sum(path.stat().st_size for path in (run.CORPUS / target).iterdir())
        for target in run.LENGTHS
    }
    assert all(sizes.values()) and sum(sizes.values()) < 200_000


def test_manifests_with_anything_wrong_give_a_state_or_an_error():
    rng = random.Random(1)
    outcomes = set()
    for _ in range(4000):
        data = manifest.one_input(rng)
        manifest.check(data)
        try:
            engine.parse_manifest("MANIFEST", data, 1)
            outcomes.add("state")
        except engine.OorError as error:
            outcomes.add(type(error).__name__)
    # Each way out is taken: the inputs are neither all sound nor all broken.
    assert outcomes == {"state", "CorruptionError", "FormatError"}


def test_the_check_of_a_manifest_sees_an_error_of_another_kind(monkeypatch):
    monkeypatch.setattr(engine.VersionEdit, "from_json", lambda content: {}["missing"])
    with pytest.raises(AssertionError):
        monkeypatch.setattr(
            manifest, "parse_manifest", lambda *_: (_ for _ in ()).throw(engine.CorruptionError(""))
        )
        manifest.check(b"")


def test_a_finding_ends_a_replay(tmp_path, monkeypatch):
    broken = tmp_path / "fuzz_frame"
    broken.write_text("#!/bin/sh\nexit 77\n")
    broken.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError):
        run.replay_c(tmp_path)
