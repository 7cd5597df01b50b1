"""The C half under many threads has no data race and touches no memory that is not its own."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import sanitize


@pytest.mark.parametrize("name", sanitize.SANITIZERS)
def test_a_short_stress_has_no_finding(name):
    if shutil.which("cc") is None:
        pytest.skip("the stress program needs a C compiler: cc")
    probe = subprocess.run(
        ["cc", f"-fsanitize={sanitize.SANITIZERS[name]}", "-x", "c", "-", "-o", "/dev/null"],
        input="int main(void){return 0;}", text=True, capture_output=True,
    )  # fmt: skip
    if probe.returncode:
        pytest.skip(f"this compiler has no {sanitize.SANITIZERS[name]} sanitizer")
    done = sanitize.stress(name, 2)
    assert all(int(word) > 100 for word in done.replace(",", " ").split() if word.isdigit())
