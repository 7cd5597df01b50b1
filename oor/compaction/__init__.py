"""Compaction: what to merge (`leveled`) and the merging (`run`).

A strategy only looks at a version and names a `Job`; running it writes tables and returns the edit
that puts them in place of its inputs. Nothing changes until somebody installs that edit.
"""

from oor.compaction.job import Cancel, CompactionOptions, Job
from oor.compaction.leveled import Leveled, everything
from oor.compaction.run import run

__all__ = ["Cancel", "CompactionOptions", "Job", "Leveled", "everything", "run"]
