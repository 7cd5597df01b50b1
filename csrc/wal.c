#include "core.h"

extern int oor_room_wal;
int oor_room_wal;
