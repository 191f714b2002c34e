import Foundation

/// Ctrl-C and a polite kill, seen at the next step.
enum Interruption {
    // Written by the signal handler alone, read by the loop; one aligned word.
    private nonisolated(unsafe) static var flag: sig_atomic_t = 0

    static func watch() {
        var numbers = sigset_t()
        unsafe sigemptyset(&numbers)
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in unsafe Interruption.flag = 1 }
            unsafe sigaddset(&numbers, number)
        }
        // A parent may have left them blocked.
        unsafe pthread_sigmask(SIG_UNBLOCK, &numbers, nil)
    }

    static var happened: Bool { unsafe flag != 0 }
}
