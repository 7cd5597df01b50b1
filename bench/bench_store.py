"""The workloads of bench.workloads as pytest-benchmark groups, one group a workload.

    python -m pytest bench/bench_store.py -k "readrandom or fillsync"

A round is one turn of a workload; `extra_info["figure"]` is its median by operation, in the unit
that `extra_info["unit"]` names. Rounds of different stores do not alternate here: for a comparison
that a busy machine cannot bend, use `python -m bench.compare`.
"""

from __future__ import annotations

import pytest

from bench import stores, workloads

ROUNDS = 7


@pytest.fixture(scope="session")
def data():
    return workloads.Data(workloads.QUICK_RECORDS)


def pairs_of_both():
    return [
        pytest.param(workload, kind, id=f"{workload.name}-{kind.name}")
        for workload in workloads.ALL
        for kind in stores.installed()
        if workload.takes(kind)
    ]


@pytest.mark.parametrize(("workload", "kind"), pairs_of_both())
def test_store(benchmark, tmp_path, data, workload, kind):
    benchmark.group = workload.name
    session = workload.open(kind, str(tmp_path), data)
    numbers = iter(range(ROUNDS + 1))

    def setup():
        return (session.prepare(next(numbers)),), {}

    try:
        benchmark.pedantic(lambda work: work(), setup=setup, rounds=ROUNDS, warmup_rounds=1)
    finally:
        session.close()
    if benchmark.stats is not None:
        median = benchmark.stats.stats.median
        figure = median * workload.scale / workload.operations(data)
        benchmark.extra_info["figure"] = round(figure, 4)
        benchmark.extra_info["unit"] = workload.unit
