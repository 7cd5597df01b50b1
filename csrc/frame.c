#include "core.h"

extern int oor_room_frame;
int oor_room_frame;
