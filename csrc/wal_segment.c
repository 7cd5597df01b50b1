#include "core.h"

extern int oor_room_wal_segment;
int oor_room_wal_segment;
