// swift-tools-version: 6.2
import PackageDescription

// A package of its own that uses the library from outside: built by tools/check-consumer, never with the main package.
let package = Package(
    name: "Consumer",
    dependencies: [.package(name: "difffit", path: "../..")],
    targets: [
        .executableTarget(name: "Consumer", dependencies: [.product(name: "DiffFit", package: "difffit")]),
        // The snippets of the documentation, which the main package's tests compile too.
        .target(name: "Snippets", dependencies: [.product(name: "DiffFit", package: "difffit")]),
    ]
)
