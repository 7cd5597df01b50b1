#include "core.h"

extern int oor_room_version;
int oor_room_version;
