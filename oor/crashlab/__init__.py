"""The crash laboratory: every state that a crash may leave, opened by the engine and judged.

A workload runs on a disk in memory behind the one door (`memory`, `run`), which is recorded
(`recording`). A model of what a disk may hold (`model`, `profiles`) turns the recording into images
(`images`, `levels`, `lies`). Each image is opened by the engine itself and held against what had
been given and promised (`judge`, `invariants`, `history`); the order of operations is held against
two rules (`order`). Recoveries are cut off in turn (`nested`). `explorer` counts, `fleet` spreads
the work over processes, `shrink` and `replay` turn a violation into a small file that shows it
again. `oor crashlab` is the command, `plugin` the fixture `oor_crash` for pytest.
"""
