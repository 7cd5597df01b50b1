"""Orbit Mean-Elements Messages (CCSDS 502.0): KVN, XML, JSON and CSV, one module each.

Every module has the same three doors: `Splitter` finds messages in a stream, `read` takes the
fields from one message, `write` makes a message of fields. What fields must hold is in `model`.
"""
