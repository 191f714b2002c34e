// swift-tools-version: 6.2
import Foundation
import PackageDescription

// oneDNN multiplies at bf16 and int8. Without it the package builds all the same and computes in f32.
// DIFFFIT_WITHOUT_ONEDNN=1 builds so where it is installed.
let hasOneDNN =
    Context.environment["DIFFFIT_WITHOUT_ONEDNN"] == nil
    && ["/usr/include", "/usr/local/include"].contains { FileManager.default.fileExists(atPath: $0 + "/oneapi/dnnl/dnnl.h") }

let package = Package(
    name: "difffit",
    products: [
        // The library; DiffFit is all of it.
        .library(name: "DiffFit", targets: ["DiffFit"]),
        .library(name: "TensorFiles", targets: ["TensorFiles"]),
        .library(name: "AdapterStore", targets: ["AdapterStore"]),
        .library(name: "DiffFitSampling", targets: ["DiffFitSampling"]),
        .library(name: "DiffFitTraining", targets: ["DiffFitTraining"]),
        .executable(name: "adapterctl", targets: ["adapterctl"]),
        .executable(name: "adapterd", targets: ["adapterd"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: ["FullFoundation"]),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.6.0"),
    ],
    targets: [
        // Level 0: system libraries and the loops no library has.
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CSPNG", pkgConfig: "spng", providers: [.apt(["libspng-dev"])]),
        .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
        .systemLibrary(name: "CWebP", pkgConfig: "libwebpdemux", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(name: "CGIF", providers: [.apt(["libgif-dev"])]),
        .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
        .systemLibrary(name: "CTIFF", pkgConfig: "libtiff-4", providers: [.apt(["libtiff-dev"])]),
        .target(
            name: "COneDNN", cSettings: hasOneDNN ? [.define("OD_ONEDNN")] : [],
            linkerSettings: hasOneDNN ? [.linkedLibrary("dnnl")] : []),
        // What a process does at its limits.
        .target(name: "CProcess"),
        // Loads libopenblas.so.0 when the first product is wanted.
        .target(name: "COpenBLAS"),
        .target(name: "CKernels"),

        // What the system is asked to write, and what it refuses, in words: any module may import it.
        .target(name: "SystemIO"),

        // What an element of a tensor can be, in a file or in memory.
        .target(name: "ElementTypes"),

        // Level 1
        .target(name: "TensorFiles", dependencies: ["ElementTypes", "SystemIO"]),
        .target(name: "TensorMath", dependencies: ["ElementTypes", "CKernels", "COpenBLAS", "COneDNN"]),
        .target(
            name: "ImageFiles",
            dependencies: [
                "SystemIO", "CSPNG", "CTurboJPEG", "CWebP", "CGIF", "CTIFF", "CArchive", .product(name: "SystemPackage", package: "swift-system"),
            ]),

        // Level 2
        .target(name: "AdapterFormat", dependencies: ["SystemIO", "TensorFiles", .product(name: "Crypto", package: "swift-crypto")]),
        .target(name: "Diffusion", dependencies: ["TensorMath"]),

        // Level 3
        .target(
            name: "AdapterStore",
            dependencies: ["SystemIO", "AdapterFormat", "TensorFiles", "CLMDB", "CZstd", .product(name: "Crypto", package: "swift-crypto")]),
        .target(name: "AdapterComposer", dependencies: ["AdapterFormat", "TensorMath"]),
        .target(name: "DiTModel", dependencies: ["TensorMath", "AdapterFormat", "TensorFiles"]),
        .target(name: "Autoencoder", dependencies: ["SystemIO", "TensorMath", "TensorFiles"]),

        // Level 4
        .target(name: "DiTPipeline", dependencies: ["AdapterFormat", "DiTModel", "Diffusion", "TensorMath"]),
        .target(name: "SyntheticDomains", dependencies: ["ImageFiles"]),
        .target(
            name: "AdapterTraining",
            dependencies: [
                "SystemIO", "DiTModel", "DiTPipeline", "Diffusion", "Evaluation", "Autoencoder", "ImageFiles", "AdapterFormat", "TensorMath", "TensorFiles",
                .product(name: "SystemPackage", package: "swift-system"),
            ]),
        .target(
            name: "Evaluation", dependencies: ["SystemIO", "DiTModel", "Diffusion", "AdapterFormat", "ImageFiles", "TensorMath"]),
        // Level 5
        .target(
            name: "SamplingEngine",
            dependencies: [
                "SystemIO", "DiTModel", "DiTPipeline", "Diffusion", "Autoencoder", "AdapterComposer", "AdapterStore", "AdapterFormat", "ImageFiles",
                "TensorFiles",
                "TensorMath",
            ]),

        .target(
            name: "Distillation",
            dependencies: ["AdapterFormat", "AdapterTraining", "DiTModel", "DiTPipeline", "Diffusion", "ImageFiles", "TensorMath"]),

        // Level 6
        .target(
            name: "DomainEvaluation",
            dependencies: [
                "AdapterComposer", "AdapterFormat", "AdapterTraining", "DiTModel", "Diffusion", "Evaluation", "ImageFiles", "SamplingEngine",
                "SyntheticDomains", "SystemIO", "TensorFiles", "TensorMath",
            ]),
        .target(
            name: "DiffFitSampling",
            dependencies: [
                "AdapterComposer", "AdapterFormat", "AdapterStore", "Autoencoder", "Diffusion", "ImageFiles", "SamplingEngine", "SystemIO", "TensorFiles",
                "TensorMath",
            ]),
        .target(
            name: "SocketService",
            dependencies: [
                "SystemIO", "SamplingEngine", "Diffusion", "AdapterComposer", "AdapterFormat", "AdapterStore", "ImageFiles", "TensorMath",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOExtras", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            resources: [.embedInCode("Page/page.html"), .embedInCode("Page/page.css"), .embedInCode("Page/page.js")]),

        // Level 7
        .target(
            name: "DiffFitTraining",
            dependencies: ["AdapterFormat", "AdapterTraining", "DiTModel", "DiffFitSampling", "TensorMath"]),
        .target(name: "DiffFit", dependencies: ["AdapterStore", "DiffFitSampling", "DiffFitTraining", "TensorFiles"]),
        .target(
            name: "Programs",
            dependencies: [
                "AdapterComposer", "AdapterFormat", "AdapterStore", "AdapterTraining", "Autoencoder", "Diffusion", "Evaluation", "ImageFiles",
                "SamplingEngine", "SystemIO", "TensorFiles", "TensorMath", .product(name: "NIOCore", package: "swift-nio"),
            ]),
        .executableTarget(
            name: "adapterd",
            dependencies: [
                "CProcess", "SystemIO", "SocketService", "SamplingEngine", "AdapterStore", "AdapterFormat", "DiTModel", "Autoencoder", "Programs",
                "TensorMath",
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .executableTarget(
            name: "adapterctl",
            dependencies: [
                "AdapterComposer", "AdapterFormat", "AdapterStore", "AdapterTraining", "CProcess", "DiTModel", "DiTPipeline", "Diffusion", "Distillation",
                "DomainEvaluation", "Evaluation", "ImageFiles", "Autoencoder", "Programs", "SamplingEngine", "SyntheticDomains", "SystemIO",
                "TensorFiles", "TensorMath",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),

        // Programs that tests start, and nothing of them left behind.
        .target(name: "ProgramRunner", path: "Tests/ProgramRunner"),
        // A test run that is killed by the tests.
        .executableTarget(name: "orphanmaker", dependencies: ["ProgramRunner"], path: "Tests/OrphanMaker"),
        .testTarget(name: "ProgramRunnerTests", dependencies: ["ProgramRunner", "orphanmaker"]),
        .testTarget(name: "ProgramsTests", dependencies: ["Programs"]),
        .testTarget(name: "SystemIOTests", dependencies: ["SystemIO", .product(name: "NIOCore", package: "swift-nio")]),
        // Swaps slots with every allocation counted. No test target depends on it: it would be linked into the tests, and its malloc be theirs.
        .target(name: "CAllocationCount", path: "Tests/AllocationCount"),
        .executableTarget(name: "swapcounter", dependencies: ["CAllocationCount", "AdapterFormat", "DiTModel"], path: "Tests/SwapCounter"),
        // Recorded truth, and how tests read it.
        .target(name: "GoldenFiles", dependencies: ["AdapterFormat", "DiTModel", "TensorMath"], path: "Tests/GoldenFiles"),
        .testTarget(name: "TensorFilesTests", dependencies: ["TensorFiles"]),
        .testTarget(name: "TensorMathTests", dependencies: ["TensorMath", "CKernels"]),
        .testTarget(name: "ImageFilesTests", dependencies: ["ImageFiles"]),
        .testTarget(name: "AdapterFormatTests", dependencies: ["AdapterFormat", "TensorFiles"]),
        .testTarget(name: "AdapterComposerTests", dependencies: ["AdapterComposer", "AdapterFormat"]),
        .testTarget(name: "DiffusionTests", dependencies: ["Diffusion", "TensorMath", "TensorFiles"]),
        // Changes a store in a loop until the tests kill it.
        .executableTarget(
            name: "storehammer",
            dependencies: ["AdapterStore", "AdapterFormat", .product(name: "Crypto", package: "swift-crypto")],
            path: "Tests/StoreHammer"),
        .testTarget(name: "AdapterStoreTests", dependencies: ["ProgramRunner", "AdapterStore", "AdapterFormat", "TensorFiles", "storehammer"]),
        .testTarget(
            name: "DiTModelTests",
            dependencies: ["ProgramRunner", "GoldenFiles", "DiTModel", "TensorMath", "TensorFiles", "AdapterFormat", "Diffusion"]),
        .testTarget(name: "AutoencoderTests", dependencies: ["GoldenFiles", "Autoencoder", "TensorMath", "TensorFiles", "CKernels"]),
        .testTarget(name: "SyntheticDomainsTests", dependencies: ["SyntheticDomains", "ImageFiles"]),
        .testTarget(
            name: "AdapterTrainingTests",
            dependencies: [
                "GoldenFiles", "AdapterTraining", "Autoencoder", "DiTModel", "Diffusion", "TensorMath", "TensorFiles", "AdapterFormat", "ImageFiles",
            ]),
        .testTarget(
            name: "DistillationTests",
            dependencies: [
                "GoldenFiles", "Distillation", "AdapterComposer", "AdapterStore", "AdapterTraining", "SamplingEngine", "DiTModel", "Diffusion", "TensorMath",
                "AdapterFormat",
            ]),
        .testTarget(
            name: "EvaluationTests", dependencies: ["Evaluation", "GoldenFiles", "DiTModel", "Diffusion", "TensorMath", "AdapterFormat", "ImageFiles"]),
        .testTarget(
            name: "DomainEvaluationTests",
            dependencies: [
                "DomainEvaluation", "AdapterFormat", "AdapterTraining", "Diffusion", "Evaluation", "ImageFiles", "SamplingEngine", "SyntheticDomains",
            ]),
        .testTarget(
            name: "SamplingEngineTests",
            dependencies: [
                "GoldenFiles", "SamplingEngine", "AdapterComposer", "DiTModel", "DiTPipeline", "Diffusion", "Autoencoder", "TensorMath", "AdapterFormat",
                "AdapterStore", "ImageFiles",
            ]),
        .testTarget(
            name: "SocketServiceTests",
            dependencies: [
                "ProgramRunner", "SocketService", "adapterd", "adapterctl", "SamplingEngine", "AdapterFormat", "AdapterStore", "TensorMath",
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Crypto", package: "swift-crypto"),
            ]),
        .testTarget(name: "DiffFitTests", dependencies: ["AdapterFormat", "DiffFit", "ImageFiles", "ProgramRunner", "adapterctl"]),
        .testTarget(name: "AdapterctlTests", dependencies: ["ProgramRunner", "adapterctl", "adapterd", "AdapterFormat", "TensorFiles", "ImageFiles"]),
    ],
    swiftLanguageModes: [.v6]
)

// One rule for every Swift module: unsafe steps are marked, warnings are errors.
for target in package.targets where ![.system].contains(target.type) && !target.name.hasPrefix("C") {
    var settings: [SwiftSetting] = [.treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny")]
    if target.type != .test && !["GoldenFiles", "ProgramRunner", "orphanmaker"].contains(target.name) { settings.append(.strictMemorySafety()) }
    target.swiftSettings = (target.swiftSettings ?? []) + settings
}
