#include "core.h"

extern int oor_room_crc32c;
int oor_room_crc32c;
