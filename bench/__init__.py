"""Speed and size of oor beside RocksDB, LevelDB, LMDB and SQLite, measured in one run.

    python -m bench.compare [--quick]    rounds of all stores in turn, and a table
    python -m bench.latency              single puts while flushes and rotations run
    python -m bench.counters             syncs, bytes, blocks, objects of a fixed piece of work
    python -m bench.kernels              instructions of the C half's inner loops
    python -m bench.revisions REVISION   this tree against an earlier one
    python -m pytest bench/              the same workloads as pytest-benchmark groups

To read in this order: stores (what is compared, and how each is set), workloads (what is timed;
its parts are records, ycsb and elsets), measure (how), budgets (what is wanted), report (how it is
shown).
"""
