// Counts every allocation of the program that it is linked into: the heap's and the memory mapped.
#ifndef ALLOCATION_COUNT_H
#define ALLOCATION_COUNT_H

/// Allocations since the program began, of all threads.
long ac_count(void);

#endif
