#include "core.h"

extern int oor_room_io;
int oor_room_io;
