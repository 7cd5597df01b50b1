#include "core.h"

extern int oor_room_walscan;
int oor_room_walscan;
