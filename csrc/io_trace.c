#include "core.h"

extern int oor_room_io_trace;
int oor_room_io_trace;
