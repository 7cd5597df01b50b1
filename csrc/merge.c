#include "core.h"

extern int oor_room_merge;
int oor_room_merge;
