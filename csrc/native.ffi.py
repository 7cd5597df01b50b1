"""Describe the compiled module to cffi: its cdef is the span that csrc/oor.h marks for it."""

import re
from pathlib import Path

from cffi import FFI

_header = (Path(__file__).parent / "oor.h").read_text(encoding="ascii")
_span = _header.split("/* cdef: begin */")[1].split("/* cdef: end */")[0]
# cffi wants the bare number behind a #define; comments in the header explain it to people.
_span = re.sub(r"^(#define \w+ \w+).*$", r"\1", _span, flags=re.MULTILINE)

ffibuilder = FFI()
ffibuilder.cdef(_span)
ffibuilder.set_source("oor._native", '#include "oor.h"\n#include "native.h"')
