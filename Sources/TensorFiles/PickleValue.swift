/// What a pickle holds, as far as weights need it. Containers are numbers of rows in `Pickle`'s tables, so values never nest
/// in memory: neither depth nor cycles nor sharing cost anything.
enum PickleValue {
    case none
    case bool(Bool)
    case integer(Int)
    case text(String)
    /// What is of no use for weights: floats, bytes, long integers, objects of unknown classes.
    case opaque
    case global(PickleGlobal)
    /// A tuple or a list.
    case sequence(Int)
    case dictionary(Int)
    case storage(Int)
    case tensor(Int)
}

/// A class or function that a pickle names. None is ever called: the known ones say how their arguments are to be read.
enum PickleGlobal {
    case dictionary
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
    /// A class of storages, or a type of elements, by its name in torch.
    case elements(String)
    case unknown

    init(module: String, name: String) {
        switch (module, name) {
        case ("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict"), ("__builtin__", "dict"): self = .dictionary
        case ("torch", "Size"): self = .size
        case ("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2"): self = .tensor
        case ("torch._utils", "_rebuild_tensor_v3"): self = .typedTensor
        case ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state"): self = .parameter
        case ("torch._tensor", "_rebuild_from_type_v2"): self = .fromType
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
    let storage: TorchStorage
    /// By torch's name, where it is not the storage's.
    let type: String?
    /// In elements, as the strides are.
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

extension ElementType {
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
        default: return nil
        }
    }
}
