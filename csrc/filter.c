#include "core.h"

extern int oor_room_filter;
int oor_room_filter;
