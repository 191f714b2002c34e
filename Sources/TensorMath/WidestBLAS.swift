import CKernels
import COpenBLAS
import Glibc

/// Starts the program again with OpenBLAS told of AVX-512, where the processor has it and the library, older than the
/// processor, fell back to a narrower core. The library reads its setting only when it is loaded. Returns where nothing is to be done.
///
/// On a Zen 5 this makes matrix products 1.6 to 1.9 times as fast with OpenBLAS 0.3.21.
package func restartWithWidestBLAS() {
    let setting = "OPENBLAS_CORETYPE"
    guard unsafe getenv(setting) == nil, ck_best_level() == CK_AVX512, unsafe String(cString: openblas_get_corename()) == "Haswell" else { return }
    unsafe setenv(setting, "SkylakeX", 1)
    // Returns only where it failed, and then the program goes on as it is.
    unsafe execv("/proc/self/exe", CommandLine.unsafeArgv)
}
