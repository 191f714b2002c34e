import AdapterFormat
import AdapterStore
import ArgumentParser
import CProcess
import Foundation
import Programs
import SamplingEngine

/// The command line of the adapter store, its trainer and its sampler.
@main
struct Adapterctl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adapterctl", abstract: "Stores, trains and samples DiffFit adapters of one frozen DiT base.",
        version: packageVersion,
        subcommands: [
            Init.self, BaseCommand.self, Add.self, List.self, Show.self, Remove.self, Rename.self, Verify.self, Prune.self, Export.self,
            Snapshot.self, Sync.self, Compose.self, Diff.self, Merge.self, Sparsify.self, Calibrate.self, Fit.self, Distill.self, Recover.self,
            Sample.self, Sheet.self, Draw.self, Forward.self, Train.self, Eval.self, Bench.self, Status.self,
        ])

    static func main() async {
        cp_hold_standard_descriptors()
        cp_meet_limits()
        do {
            let environment = ProcessInfo.processInfo.environment
            if let empty = ShellWords.empty(in: CommandLine.arguments, environment) { throw Failure.usage(empty) }
            for sentence in ShellWords.unknownSettings(in: environment) { note("warning: \(sentence)") }
            var command = try parseAsRoot(ShellWords.joiningNegatives(Array(CommandLine.arguments.dropFirst())))
            if var command = command as? any AsyncParsableCommand { try await command.run() } else { try command.run() }
        } catch {
            Failure.end(unknownVerb(Array(CommandLine.arguments.dropFirst())) ?? error, from: self)
        }
    }
}
