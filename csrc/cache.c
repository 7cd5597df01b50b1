#include "core.h"

extern int oor_room_cache;
int oor_room_cache;
