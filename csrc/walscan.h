/* walscan.h: what the log writer needs of the log reader: the frames of the chunk read last.
 *
 * Ownership: the frames' bodies point into the scan, until its next call.
 * Threads:   one caller at a time. */
#ifndef OOR_WALSCAN_H
#define OOR_WALSCAN_H

#include "frame.h"

const oor_frame *oor_walscan_frames(const oor_walscan *scan, size_t *count);

#endif
