/// What a pickle holds, as far as weights need it. Containers are numbers of rows in `Pickle`'s tables, so values never nest
/// in memory: neither depth nor cycles nor sharing cost anything.
enum PickleValue {
    case none
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    /// torch's magic number, the one integer beyond 64 bits that means something.
    case magic
    /// What is of no use for weights: bytes and long integers.
    case opaque
    case global(PickleGlobal)
    /// A tuple or a list.
    case sequence(Int)
    case dictionary(Int)
    /// An object of a class that is not run: its state is data.
    case object(Int)
    case storage(Int)
    case tensor(Int)
}

/// What a pickle says of an object: the state that its class would take up, and the items where it is a dictionary of its own kind.
struct PickleObject {
    var state = PickleValue.none
    var items: [PickleItem] = []
}

/// An entry of a dictionary.
struct PickleItem {
    let key, value: PickleValue
}

/// A class or function that a pickle names. None is ever called: the known ones say how their arguments are to be read.
enum PickleGlobal {
    case dictionary
    case set
    /// torch.Size: its argument is a tuple.
    case size
    /// `_rebuild_tensor`, `_v2`: storage, offset, size, stride.
    case tensor
    /// `_rebuild_tensor_v3`: the same, with the type of the elements as the seventh.
    case typedTensor
    /// `_rebuild_parameter`: its first argument is the tensor.
    case parameter
    /// `_rebuild_from_type_v2`: a function and the type and arguments to call it with.
    case fromType
    /// A tensor without plain values, and what it is.
    case valueless(String)
    /// A class of storages, or a type of elements, by its name in torch.
    case elements(String)
    case unknown

    init(module: String, name: String) {
        switch (module, name) {
        case ("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict"), ("__builtin__", "dict"): self = .dictionary
        case ("builtins", "set"), ("__builtin__", "set"), ("builtins", "frozenset"), ("__builtin__", "frozenset"): self = .set
        case ("torch", "Size"): self = .size
        case ("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2"): self = .tensor
        case ("torch._utils", "_rebuild_tensor_v3"): self = .typedTensor
        case ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state"): self = .parameter
        case ("torch._tensor", "_rebuild_from_type_v2"): self = .fromType
        case ("torch._utils", "_rebuild_meta_tensor_no_storage"): self = .valueless("on torch's 'meta' device")
        case ("torch._utils", "_rebuild_qtensor"): self = .valueless("quantised by torch")
        case ("torch._utils", "_rebuild_sparse_tensor"), ("torch._utils", "_rebuild_sparse_csr_tensor"): self = .valueless("sparse")
        case ("torch._utils", "_rebuild_nested_tensor"): self = .valueless("a nested tensor")
        case ("torch._utils", "_rebuild_wrapper_subclass"): self = .valueless("of a class of its own, quantised or distributed")
        case ("torch._utils", _) where name.hasPrefix("_rebuild"): self = .valueless("made by '\(name)', of a device or kind without plain storage")
        case ("torch", _), ("torch.storage", _), ("torch.cuda", _): self = .elements(name)
        default: self = .unknown
        }
    }
}

/// The bytes that tensors of a torch file share.
struct TorchStorage {
    /// By torch's name, such as "FloatStorage"; "UntypedStorage" counts bytes.
    let type: String
    let key: String
    /// As the pickle says.
    let count: Int
}

/// A tensor as a pickle describes it, nothing of it checked.
struct TorchTensor {
    enum Source {
        case storage(TorchStorage)
        /// It has no plain values; what it is instead.
        case valueless(String)
    }

    let source: Source
    /// By torch's name, where it is not the storage's.
    let type: String?
    /// In elements, as the strides are.
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

extension DType {
    /// From the name of a storage class or element type in torch.
    init?(torch name: String) {
        switch name {
        case "DoubleStorage", "float64", "double": self = .f64
        case "FloatStorage", "float32", "float": self = .f32
        case "HalfStorage", "float16", "half": self = .f16
        case "BFloat16Storage", "bfloat16": self = .bf16
        case "LongStorage", "int64", "long": self = .i64
        case "IntStorage", "int32", "int": self = .i32
        case "ShortStorage", "int16", "short": self = .i16
        case "CharStorage", "int8": self = .i8
        case "ByteStorage", "UntypedStorage", "uint8": self = .u8
        case "BoolStorage", "bool": self = .bool
        case "float8_e4m3fn": self = .f8E4M3
        case "float8_e5m2": self = .f8E5M2
        case "uint16": self = .u16
        case "uint32": self = .u32
        case "uint64": self = .u64
        default: return nil
        }
    }
}
