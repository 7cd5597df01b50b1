#include "core.h"

extern int oor_room_tle;
int oor_room_tle;
