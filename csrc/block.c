#include "core.h"

extern int oor_room_block;
int oor_room_block;
