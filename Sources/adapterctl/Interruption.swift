import Foundation

/// Ctrl-C, a polite kill and a terminal that goes away, seen at the next step.
enum Interruption {
    // Written by the signal handler alone, read by the loop; one aligned word.
    private nonisolated(unsafe) static var flag: sig_atomic_t = 0

    static func watch() {
        var numbers = sigset_t()
        unsafe sigemptyset(&numbers)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            var old = sigaction()
            // Under nohup a run goes on without its terminal.
            if number == SIGHUP, unsafe sigaction(number, nil, &old) == 0, unsafe unsafeBitCast(old.__sigaction_handler.sa_handler, to: UInt.self) == 1 { continue }
            signal(number) { _ in unsafe Interruption.flag = 1 }
            unsafe sigaddset(&numbers, number)
        }
        // A parent may have left them blocked.
        unsafe pthread_sigmask(SIG_UNBLOCK, &numbers, nil)
    }

    static var happened: Bool { unsafe flag != 0 }
}
