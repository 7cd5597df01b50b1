#include "core.h"

extern int oor_room_wal_tail;
int oor_room_wal_tail;
