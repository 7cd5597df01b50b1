#include "core.h"

extern int oor_room_compaction;
int oor_room_compaction;
