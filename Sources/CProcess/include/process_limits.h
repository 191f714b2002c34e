#pragma once

/// Called before anything else in `main`: where standard input, output or error is closed (`>&-`), its number is taken, so that no file that
/// is opened later gets it and what is printed is not written into that file.
void cp_hold_standard_descriptors(void);

/// Called first in `main`: where a limit of this process is met, it ends with a sentence and exit code 1, or the write is refused; it is not
/// killed, and it does not wait for ever.
///
/// - A limit of a file's size (ulimit -f) fails the write instead of ending the process.
/// - Under a limit of memory (ulimit -v or -d; h_vmem, pvmem of clusters) glibc is kept from reserving 64 MiB for every thread, a process
///   that could not even start its threads ends here, and what would be a crash for want of memory ends with a sentence. Swift, C++ and
///   libdispatch have no other answer to memory that is refused.
void cp_meet_limits(void);
