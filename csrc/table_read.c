#include "core.h"

extern int oor_room_table_read;
int oor_room_table_read;
