/// A pickle read without running anything: a stack, a memo and tables. Globals are names, calls are readings of arguments.
///
/// The opcodes are those of protocols 0 to 5 as `torch.save` and the picklers of Python 2 and 3 write them for dictionaries of
/// tensors, whole modules and the plain objects beside them. Work and memory are bounded by `longest` and `steps` before they are spent.
struct Pickle {
    /// Most bytes of one pickle. A whole training checkpoint of DiT-XL/2 describes its tensors in less than one MB.
    static let longest = 1 << 26
    /// Most opcodes.
    static let steps = 1 << 20

    private(set) var root = PickleValue.none
    private(set) var sequences: [[PickleValue]] = []
    private(set) var dictionaries: [[PickleItem]] = []
    private(set) var objects: [PickleObject] = []
    private(set) var storages: [TorchStorage] = []
    private(set) var tensors: [TorchTensor] = []
    /// Where the next thing in the file begins.
    var end: Int { reader.position }

    private var reader: ByteReader
    private var stack: [PickleValue] = []
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]

    /// Reads one pickle that begins at the range's start and ends within it.
    init(_ file: MappedFile, _ range: Range<Int>) throws(TensorFileError) {
        reader = ByteReader(file, range.lowerBound..<min(range.upperBound, range.lowerBound + Pickle.longest))
        for _ in 0..<Pickle.steps {
            let code = try next(UInt8.self)
            if code == 0x2e {  // STOP
                root = try pop()
                return
            }
            try perform(code)
        }
        throw fault("it has more than \(Pickle.steps) steps")
    }

    private func fault(_ reason: String) -> TensorFileError { .badPickle(path: reader.file.path, at: reader.position, reason: reason) }

    // MARK: Reading

    private mutating func next<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) throws(TensorFileError) -> Number {
        guard let number = reader.number(type) else { throw fault("it is cut short, or longer than \(Pickle.longest) bytes") }
        return number
    }

    /// The bytes that a length before them counts.
    private mutating func counted<Length: FixedWidthInteger & BitwiseCopyable>(_ type: Length.Type) throws(TensorFileError) -> Range<Int> {
        let length = try next(type)
        guard let count = Int(exactly: length), let range = reader.take(count) else { throw fault("a length of \(length) reaches beyond it") }
        return range
    }

    private func text(_ range: Range<Int>) throws(TensorFileError) -> PickleValue {
        guard let text = String(validating: reader.file.bytes(range), as: UTF8.self) else { throw fault("a text is not UTF-8") }
        return .text(text)
    }

    /// A byte string of Python 2, which is a text in everything that torch saved there.
    private func byteText(_ bytes: [UInt8]) -> PickleValue {
        .text(String(validating: bytes, as: UTF8.self) ?? String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) })))
    }

    private mutating func line() throws(TensorFileError) -> String {
        guard let bytes = reader.line(limit: 1 << 16) else { throw fault("a line does not end") }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: Stack and tables

    private mutating func pop() throws(TensorFileError) -> PickleValue {
        guard stack.count > (marks.last ?? 0), let value = stack.popLast() else { throw fault("its stack is empty") }
        return value
    }

    /// Everything above the last mark, which goes too.
    private mutating func popToMark() throws(TensorFileError) -> [PickleValue] {
        guard let mark = marks.popLast() else { throw fault("it has no mark") }
        let values = Array(stack[mark...])
        stack.removeLast(values.count)
        return values
    }

    private mutating func pop(_ count: Int) throws(TensorFileError) -> [PickleValue] {
        guard stack.count - (marks.last ?? 0) >= count else { throw fault("its stack is empty") }
        let values = Array(stack.suffix(count))
        stack.removeLast(count)
        return values
    }

    private mutating func push(sequence values: [PickleValue]) {
        sequences.append(values)
        stack.append(.sequence(sequences.count - 1))
    }

    private mutating func push(dictionary items: [PickleItem]) {
        dictionaries.append(items)
        stack.append(.dictionary(dictionaries.count - 1))
    }

    private mutating func pushObject() { stack.append(newObject()) }

    private mutating func newObject() -> PickleValue {
        objects.append(PickleObject())
        return .object(objects.count - 1)
    }

    private func pairs(_ values: [PickleValue]) throws(TensorFileError) -> [PickleItem] {
        guard values.count.isMultiple(of: 2) else { throw fault("a key has no value") }
        return stride(from: 0, to: values.count, by: 2).map { PickleItem(key: values[$0], value: values[$0 + 1]) }
    }

    /// Items go to the list, pairs to the dictionary on top of the stack; an opaque object there takes them and forgets them.
    private mutating func add(items: [PickleValue] = [], pairs: [PickleItem] = []) throws(TensorFileError) {
        switch stack.last {
        case .sequence(let index): sequences[index] += items
        case .dictionary(let index): dictionaries[index] += pairs
        case .object(let index): objects[index].items += pairs
        case .opaque: break
        default: throw fault("items are added to what holds none")
        }
    }

    private mutating func memoize(_ index: Int) throws(TensorFileError) {
        guard let value = stack.last else { throw fault("its stack is empty") }
        memo[index] = value
    }

    private mutating func recall(_ index: Int) throws(TensorFileError) {
        guard let value = memo[index] else { throw fault("its memo has no entry \(index)") }
        stack.append(value)
    }

    // MARK: Opcodes

    private mutating func perform(_ code: UInt8) throws(TensorFileError) {
        switch code {
        case 0x80: _ = try next(UInt8.self)  // PROTO
        case 0x95: _ = try next(UInt64.self)  // FRAME
        case 0x28: marks.append(stack.count)  // MARK
        case 0x30:  // POP
            if marks.last == stack.count { marks.removeLast() } else { _ = try pop() }
        case 0x31: _ = try popToMark()  // POP_MARK
        case 0x32:  // DUP
            let value = try pop()
            stack += [value, value]
        case 0x4e: stack.append(.none)  // NONE
        case 0x88: stack.append(.bool(true))
        case 0x89: stack.append(.bool(false))
        case 0x4a: stack.append(.integer(Int(try next(Int32.self))))  // BININT
        case 0x4b: stack.append(.integer(Int(try next(UInt8.self))))
        case 0x4d: stack.append(.integer(Int(try next(UInt16.self))))
        case 0x8a: stack.append(integer(try counted(UInt8.self)))  // LONG1
        case 0x8b: stack.append(integer(try counted(UInt32.self)))
        case 0x47:  // BINFLOAT, the one number with the high byte first
            stack.append(.number(Double(bitPattern: try next(UInt64.self).byteSwapped)))
        case 0x58: stack.append(try text(try counted(UInt32.self)))  // BINUNICODE
        case 0x8c: stack.append(try text(try counted(UInt8.self)))
        case 0x8d: stack.append(try text(try counted(UInt64.self)))
        case 0x54: stack.append(byteText(reader.file.bytes(try counted(UInt32.self))))  // BINSTRING
        case 0x55: stack.append(byteText(reader.file.bytes(try counted(UInt8.self))))  // SHORT_BINSTRING
        case 0x42:  // BINBYTES
            _ = try counted(UInt32.self)
            stack.append(.opaque)
        case 0x43:  // SHORT_BINBYTES
            _ = try counted(UInt8.self)
            stack.append(.opaque)
        case 0x8e, 0x96:  // BINBYTES8, BYTEARRAY8
            _ = try counted(UInt64.self)
            stack.append(.opaque)
        case 0x5d, 0x29: push(sequence: [])  // EMPTY_LIST, EMPTY_TUPLE
        case 0x7d: push(dictionary: [])  // EMPTY_DICT
        case 0x8f: push(sequence: [])  // EMPTY_SET
        case 0x6c, 0x74: push(sequence: try popToMark())  // LIST, TUPLE
        case 0x85, 0x86, 0x87: push(sequence: try pop(Int(code) - 0x84))  // TUPLE1, 2, 3
        case 0x64: push(dictionary: try pairs(try popToMark()))  // DICT
        case 0x91: push(sequence: try popToMark())  // FROZENSET
        case 0x61: try add(items: [try pop()])  // APPEND
        case 0x65, 0x90: try add(items: try popToMark())  // APPENDS, ADDITEMS
        case 0x73: try add(pairs: try pairs(try pop(2)))  // SETITEM
        case 0x75: try add(pairs: try pairs(try popToMark()))  // SETITEMS
        case 0x71: try memoize(Int(try next(UInt8.self)))  // BINPUT
        case 0x72: try memoize(Int(try next(UInt32.self)))
        case 0x94: try memoize(memo.count)  // MEMOIZE
        case 0x68: try recall(Int(try next(UInt8.self)))  // BINGET
        case 0x6a: try recall(Int(try next(UInt32.self)))
        default: try performLine(code)
        }
    }

    /// The opcodes of protocol 0, whose arguments are lines of text.
    private mutating func performLine(_ code: UInt8) throws(TensorFileError) {
        switch code {
        case 0x49:  // INT, and the truth values of protocols 0 and 1
            let text = try line()
            if text == "00" || text == "01" {
                stack.append(.bool(text == "01"))
            } else {
                stack.append(Int(text).map { .integer($0) } ?? .opaque)
            }
        case 0x4c:  // LONG
            let text = try line()
            stack.append(text == Self.magicDigits + "L" ? .magic : Int(text.hasSuffix("L") ? text.dropLast() : text[...]).map { .integer($0) } ?? .opaque)
        case 0x46: stack.append(Double(try line()).map { .number($0) } ?? .opaque)  // FLOAT
        case 0x53:  // STRING, in quotes
            let text = try line()
            guard text.count >= 2, let quote = text.first, quote == "'" || quote == "\"", text.last == quote else { throw fault("a string is not in quotes") }
            // A name of a tensor has no escapes; what has some is no name.
            stack.append(text.contains("\\") ? .opaque : .text(String(text.dropFirst().dropLast())))
        case 0x56:  // UNICODE
            let text = try line()
            stack.append(text.contains("\\u") ? .opaque : .text(text))
        case 0x70, 0x67:  // PUT, GET
            guard let index = Int(try line()) else { throw fault("a place in the memo is no number") }
            if code == 0x70 { try memoize(index) } else { try recall(index) }
        case 0x50: throw fault("its storages are named in text (protocol 0), which torch cannot load either: save it with the default protocol")
        default: try performObject(code)
        }
    }

    /// torch's magic number, 0x1950a86a20f9469cfc6c.
    private static let magicDigits = "119547037146038801333356"
    private static let magicBytes: [UInt8] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]

    /// The opcodes that name classes and call them in Python.
    private mutating func performObject(_ code: UInt8) throws(TensorFileError) {
        switch code {
        case 0x63:  // GLOBAL
            guard let module = reader.line(limit: 1000), let name = reader.line(limit: 1000) else { throw fault("a class has no name") }
            stack.append(.global(PickleGlobal(module: String(decoding: module, as: UTF8.self), name: String(decoding: name, as: UTF8.self))))
        case 0x93:  // STACK_GLOBAL
            let names = try pop(2)
            guard case .text(let module) = names[0], case .text(let name) = names[1] else { throw fault("a class has no name") }
            stack.append(.global(PickleGlobal(module: module, name: name)))
        case 0x52, 0x81:  // REDUCE, NEWOBJ
            let call = try pop(2)
            stack.append(try result(of: call[0], arguments: call[1]))
        case 0x92:  // NEWOBJ_EX
            let call = try pop(3)
            stack.append(try result(of: call[0], arguments: call[1]))
        case 0x6f:  // OBJ
            guard !(try popToMark()).isEmpty else { throw fault("an object has no class") }
            pushObject()
        case 0x69:  // INST: the class in two lines, its arguments above the mark
            guard reader.line(limit: 1000) != nil, reader.line(limit: 1000) != nil else { throw fault("a class has no name") }
            _ = try popToMark()
            pushObject()
        case 0x62:  // BUILD: the state of an object
            let state = try pop()
            if case .object(let index) = stack.last { objects[index].state = state }
        case 0x51: stack.append(try persistent(try pop()))  // BINPERSID
        default: throw fault("the opcode \(code) has no place in a file of weights")
        }
    }

    /// A little-endian two's complement number; opaque beyond 64 bits.
    private func integer(_ range: Range<Int>) -> PickleValue {
        guard range.count <= 8 else { return range.count == 10 && reader.file.bytes(range) == Self.magicBytes ? .magic : .opaque }
        let bytes = reader.file.bytes(range)
        let sign: UInt8 = bytes.last.map { $0 >= 0x80 ? 0xff : 0 } ?? 0
        let padded = bytes + [UInt8](repeating: sign, count: 8 - bytes.count)
        return .integer(Int(truncatingIfNeeded: padded.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }))
    }

    // MARK: torch

    private func elements(_ value: PickleValue) -> [PickleValue]? {
        if case .sequence(let index) = value { sequences[index] } else { nil }
    }

    private func integers(_ value: PickleValue) -> [Int]? {
        guard let values = elements(value), values.count <= 64 else { return nil }
        let numbers = values.compactMap { if case .integer(let number) = $0 { number } else { nil } }
        return numbers.count == values.count ? numbers : nil
    }

    /// torch's `("storage", class, key, device, count)`; before 1.6 a sixth part says None, or a view, which nothing wrote since 0.4.
    private mutating func persistent(_ value: PickleValue) throws(TensorFileError) -> PickleValue {
        guard let parts = elements(value), parts.count == 5 || parts.count == 6, case .text("storage") = parts[0],
            case .global(.elements(let type)) = parts[1], case .text(let key) = parts[2], case .integer(let count) = parts[4]
        else { throw fault("a persistent id is not a storage's") }
        if parts.count == 6 {
            guard case .none = parts[5] else { throw fault("the storage '\(key)' is a view, as torch before 0.4 wrote") }
        }
        storages.append(TorchStorage(type: type, key: key, count: count))
        return .storage(storages.count - 1)
    }

    private mutating func result(of callable: PickleValue, arguments: PickleValue) throws(TensorFileError) -> PickleValue {
        guard case .global(var function) = callable else { return newObject() }
        guard var arguments = elements(arguments) else { throw fault("the arguments of a call are no tuple") }
        if case .fromType = function {
            guard arguments.count >= 3, case .global(let inner) = arguments[0], let own = elements(arguments[2]) else { return .opaque }
            (function, arguments) = (inner, own)
        }
        switch function {
        case .dictionary:
            // Python 2 gives an ordered dictionary its items as a list of lists.
            var pairs: [PickleItem] = []
            for item in arguments.first.flatMap(elements) ?? [] {
                guard let pair = elements(item), pair.count == 2 else { continue }
                pairs.append(PickleItem(key: pair[0], value: pair[1]))
            }
            dictionaries.append(pairs)
            return .dictionary(dictionaries.count - 1)
        case .set:
            guard let first = arguments.first, case .sequence = first else {
                sequences.append([])
                return .sequence(sequences.count - 1)
            }
            return first
        case .valueless(let what):
            tensors.append(TorchTensor(source: .valueless(what), type: nil, offset: 0, shape: [], strides: []))
            return .tensor(tensors.count - 1)
        case .size: return arguments.first ?? .opaque
        case .parameter: return arguments.first ?? .opaque
        case .tensor, .typedTensor:
            var type: String?
            if case .typedTensor = function {
                guard arguments.count >= 7, case .global(.elements(let name)) = arguments[6] else { throw fault("a tensor has no type") }
                type = name
            }
            guard arguments.count >= 4, case .storage(let storage) = arguments[0], case .integer(let offset) = arguments[1],
                let shape = integers(arguments[2]), let strides = integers(arguments[3]), shape.count == strides.count
            else { throw fault("a tensor is not given by storage, offset, size and stride") }
            tensors.append(TorchTensor(source: .storage(storages[storage]), type: type, offset: offset, shape: shape, strides: strides))
            return .tensor(tensors.count - 1)
        case .fromType, .elements, .unknown: return newObject()
        }
    }
}
