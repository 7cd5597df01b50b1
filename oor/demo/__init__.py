"""The demonstration: a process dies by SIGKILL in the middle of an ingest, and nothing is lost.

    catalogue -> child process (oor.demo.child) ingests; reports each acknowledged LSN over a pipe
    SIGKILL   -> parent (oor.demo.incident) recovers; compares every acknowledged set byte for byte

Beside it the same without a log, and the seven criteria of a write-ahead log (oor.demo.criteria).
"""
