import Programs
import Testing

struct ShellWordsTests {
    /// A negative number is the value of the option before it, and nothing else is.
    @Test(arguments: [
        (["sample", "x", "--n", "-1"], ["sample", "x", "--n=-1"]), (["--seed", "-1", "--steps", "-2.5", "-o", "-"], ["--seed=-1", "--steps=-2.5", "-o", "-"]),
        (["--strength", "-.5", "--port", "-1"], ["--strength=-.5", "--port=-1"]),
        (["--guidance-scale", "-inf", "--guidance-interval", "-0.1,0.8"], ["--guidance-scale=-inf", "--guidance-interval=-0.1,0.8"]),
        (["--n=3", "-1", "x", "-2"], ["--n=3", "-1", "x", "-2"]), (["--latents", "-o", "--json", "-"], ["--latents", "-o", "--json", "-"]),
        (["-1", "--", "--n", "-1"], ["-1", "--", "--n", "-1"]),
    ])
    func negativesJoinTheirOption(given: [String], joined: [String]) {
        #expect(ShellWords.joiningNegatives(given) == joined)
    }
}
