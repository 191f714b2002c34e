#include <lmdb.h>
/* statfs(2), which tells a store whether its folder lies on a network; Swift's Glibc module leaves it out. */
#include <sys/statfs.h>
