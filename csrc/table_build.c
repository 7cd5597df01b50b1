#include "core.h"

extern int oor_room_table_build;
int oor_room_table_build;
