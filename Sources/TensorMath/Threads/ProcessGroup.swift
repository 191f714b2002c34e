import Glibc

/// The processes that `mpirun` started together, over the machine's own Open MPI, which is looked for when the program runs: a
/// program that was started alone neither needs nor loads it.
// @unchecked: the pointers are of a loaded library and never change; one thread calls.
@safe package final class ProcessGroup: @unchecked Sendable {
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case noLibrary(reason: String)
        case call(name: String, code: Int32)

        package var description: String {
            switch self {
            case .noLibrary(let reason): "mpirun started this program, but Open MPI's library cannot be used (\(reason)): install libopenmpi3"
            case .call(let name, let code): "Open MPI's \(name) failed with code \(code)"
            }
        }
    }

    package let rank: Int
    package let size: Int

    /// Address of one of the library's objects.
    private typealias Handle = UInt
    private typealias Broadcast = @convention(c) (UnsafeMutableRawPointer?, Int32, Handle, Int32, Handle) -> Int32
    private typealias Reduce = @convention(c) (UInt, UnsafeMutableRawPointer?, Int32, Handle, Handle, Handle) -> Int32
    private typealias Finalise = @convention(c) () -> Int32
    private let world, floats, sum: Handle
    private let broadcastCall: Broadcast
    private let reduceCall: Reduce
    private let finaliseCall: Finalise

    /// The group that this process was started in; nil where it was started alone.
    package static func joined() throws(Failure) -> ProcessGroup? {
        guard let text = unsafe getenv("OMPI_COMM_WORLD_SIZE"), let size = unsafe Int(String(cString: text)), size > 1 else { return nil }
        return try ProcessGroup()
    }

    private init() throws(Failure) {
        // Its plugins look for symbols of the library itself.
        guard let library = unsafe dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL) ?? dlopen("libmpi.so", RTLD_NOW | RTLD_GLOBAL) else {
            throw .noLibrary(reason: unsafe String(cString: dlerror()))
        }
        func symbol(_ name: String) throws(Failure) -> Handle {
            let address = unsafe UInt(bitPattern: dlsym(library, name))
            guard address != 0 else { throw .noLibrary(reason: "it has no \(name)") }
            return address
        }
        typealias Initialise = @convention(c) (UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?) -> Int32
        typealias Ask = @convention(c) (Handle, UnsafeMutablePointer<Int32>) -> Int32
        let world = try symbol("ompi_mpi_comm_world")
        self.world = world
        floats = try symbol("ompi_mpi_float")
        sum = try symbol("ompi_mpi_op_sum")
        unsafe broadcastCall = unsafeBitCast(try symbol("MPI_Bcast"), to: Broadcast.self)
        unsafe reduceCall = unsafeBitCast(try symbol("MPI_Allreduce"), to: Reduce.self)
        unsafe finaliseCall = unsafeBitCast(try symbol("MPI_Finalize"), to: Finalise.self)
        let initialise = unsafe unsafeBitCast(try symbol("MPI_Init"), to: Initialise.self)
        let code = initialise(nil, nil)
        guard code == 0 else { throw .call(name: "MPI_Init", code: code) }
        func ask(_ name: String) throws(Failure) -> Int {
            let call = unsafe unsafeBitCast(try symbol(name), to: Ask.self)
            var answer: Int32 = 0
            let code = unsafe call(world, &answer)
            guard code == 0 else { throw .call(name: name, code: code) }
            return Int(answer)
        }
        rank = try ask("MPI_Comm_rank")
        size = try ask("MPI_Comm_size")
    }

    /// Every process's values become those of one.
    package func broadcast(_ values: Matrix, from root: Int) {
        precondition(values.isContiguous)
        let code = unsafe broadcastCall(values.base, Int32(values.count), floats, Int32(root), world)
        precondition(code == 0, "Open MPI's MPI_Bcast failed with code \(code)")
    }

    /// Every process's values become the sum over all. Exact, and so the same in any order, where but one of them is not zero.
    package func add(_ values: Matrix) {
        precondition(values.isContiguous)
        let inPlace: UInt = 1
        let code = unsafe reduceCall(inPlace, values.base, Int32(values.count), floats, sum, world)
        precondition(code == 0, "Open MPI's MPI_Allreduce failed with code \(code)")
    }

    /// Ends the group's work, once, when every process has done all of its own.
    package func leave() { _ = finaliseCall() }
}
