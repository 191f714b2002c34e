/// Walks every tree page of one snapshot and compares it with LMDB's page format, before LMDB follows any of it.
///
/// LMDB trusts its pages: a flipped bit in one can make it read or write anywhere. The walk reads the file, not the map; the
/// caller holds a read transaction, so no page of the snapshot is reused meanwhile.
struct PageCheck {
    enum Kind: UInt16 {
        case branch = 1
        case leaf = 2
        case overflow = 4
        case meta = 8
    }

    private enum NodeFlag {
        static let big: UInt16 = 1
        static let subDatabase: UInt16 = 2
    }

    private static let headerSize = 16
    private static let nodeHeaderSize = 8
    private static let longestKey = 511
    private static let deepestTree = 32

    private let descriptor: Int32
    private let path: String
    private let pageSize: Int
    private let lastPage: Int
    private var isTaken: [Bool]
    private var previousKey: [UInt8]?
    private var lowestKey: [UInt8] = []
    private var entries: UInt64 = 0

    private enum Tree { case free, main, named }

    /// Checks the snapshot of one transaction.
    static func check(snapshot: Int, descriptor: Int32, _ folder: String) throws(StoreError) {
        let path = folder + "/data.mdb"
        guard let meta = try MetaPages.read(descriptor, path: path).first(where: { $0.transaction == UInt64(snapshot) }) else {
            // Two commits of another process went by: its pages were sound when it opened the store.
            return
        }
        var check = PageCheck(descriptor: descriptor, path: path, meta: meta)
        try check.walk(meta.main, .main)
        try check.walk(meta.free, .free)
    }

    private init(descriptor: Int32, path: String, meta: MetaPages) {
        self.descriptor = descriptor
        self.path = path
        pageSize = meta.pageSize
        lastPage = Int(meta.lastPage)
        isTaken = Array(repeating: false, count: lastPage + 1)
        isTaken[0] = true
        isTaken[1] = true
    }

    private func fault(_ reason: String) -> StoreError { .damaged(item: "data file '\(path)'", reason: reason) }

    private mutating func walk(_ root: MetaPages.Root, _ tree: Tree) throws(StoreError) {
        previousKey = nil
        lowestKey = []
        entries = 0
        var named: [MetaPages.Root] = []
        if let page = root.page {
            guard root.depth >= 1, root.depth <= PageCheck.deepestTree else { throw fault("a tree has \(root.depth, "level")") }
            try visit(page, level: root.depth, tree, &named)
        } else if root.depth != 0 {
            throw fault("a tree has no root")
        }
        guard entries == root.entries else { throw fault("a tree holds \(entries, "entry") instead of \(root.entries)") }
        for root in named {
            guard root.flags == 0 else { throw fault("a table has unknown flags") }
            try walk(root, .named)
        }
    }

    /// Marks pages as used once.
    private mutating func take(_ page: UInt64, count: Int = 1) throws(StoreError) {
        guard page <= UInt64(lastPage), count >= 1, count <= lastPage + 1 - Int(page) else {
            throw fault("it names page \(page) past its end")
        }
        for index in Int(page)..<(Int(page) + count) {
            guard !isTaken[index] else { throw fault("page \(index) is used twice") }
            isTaken[index] = true
        }
    }

    private mutating func visit(_ number: UInt64, level: Int, _ tree: Tree, _ named: inout [MetaPages.Root]) throws(StoreError) {
        try take(number)
        let page = try FileCalls.read(descriptor, at: Int(number) * pageSize, count: pageSize, path: path)
        guard page.count == pageSize, page.number(UInt64.self, at: 0) == number else { throw fault("page \(number) is not itself") }
        let kind: Kind = level == 1 ? .leaf : .branch
        let lower = Int(page.number(UInt16.self, at: 12))
        let upper = Int(page.number(UInt16.self, at: 14))
        let keys = (lower - PageCheck.headerSize) / 2
        guard page.number(UInt16.self, at: 10) == kind.rawValue, lower.isMultiple(of: 2), lower <= upper, upper <= pageSize,
            keys >= (kind == .branch ? 2 : 1)
        else { throw fault("the head of page \(number) is wrong") }
        for index in 0..<keys {
            let node = Int(page.number(UInt16.self, at: PageCheck.headerSize + 2 * index))
            guard node >= upper, node.isMultiple(of: 2), node + PageCheck.nodeHeaderSize <= pageSize else {
                throw fault("node \(index) of page \(number) is outside of it")
            }
            let low = page.number(UInt32.self, at: node)
            let flags = page.number(UInt16.self, at: node + 4)
            let keySize = Int(page.number(UInt16.self, at: node + 6))
            let data = node + PageCheck.nodeHeaderSize + keySize
            guard keySize <= PageCheck.longestKey, data <= pageSize else { throw fault("a key of page \(number) is too long") }
            let key = Array(page[(node + PageCheck.nodeHeaderSize)..<data])
            if kind == .branch {
                if index > 0 { try follow(key, isSeparator: true, tree, number) }
                try visit(UInt64(flags) << 32 | UInt64(low), level: level - 1, tree, &named)
                continue
            }
            try follow(key, isSeparator: false, tree, number)
            entries += 1
            let value = try value(at: data, size: Int(low), flags: flags, in: page, number)
            switch tree {
            case .free: try takeFree(value)
            case .main:
                guard flags == NodeFlag.subDatabase, value.count == 48 else { throw fault("its list of tables is wrong") }
                named.append(MetaPages.Root(value, at: 0))
            case .named: break
            }
        }
    }

    /// The bytes of a value in its page, or none for one on pages of its own, which are marked.
    private mutating func value(at data: Int, size: Int, flags: UInt16, in page: [UInt8], _ number: UInt64) throws(StoreError) -> [UInt8] {
        guard flags == NodeFlag.big else {
            guard flags == 0 || flags == NodeFlag.subDatabase, data + size <= pageSize else {
                throw fault("a value of page \(number) is outside of it")
            }
            return Array(page[data..<(data + size)])
        }
        guard data + 8 <= pageSize else { throw fault("a value of page \(number) is outside of it") }
        let first = page.number(UInt64.self, at: data)
        let count = (PageCheck.headerSize - 1 + size) / pageSize + 1
        try take(first, count: count)
        let start = Int(first) * pageSize
        let head = try FileCalls.read(descriptor, at: start, count: PageCheck.headerSize, path: path)
        guard head.count == PageCheck.headerSize, head.number(UInt64.self, at: 0) == first,
            head.number(UInt16.self, at: 10) == Kind.overflow.rawValue, head.number(UInt32.self, at: 12) == UInt32(count)
        else { throw fault("the head of page \(first) is wrong") }
        // Only lists of free pages are looked into here; a value of the store carries its own checksum.
        guard size <= 1 << 20 else { return [] }
        let value = try FileCalls.read(descriptor, at: start + PageCheck.headerSize, count: size, path: path)
        guard value.count == size else { throw fault("it ends inside page \(first)") }
        return value
    }

    private mutating func takeFree(_ list: [UInt8]) throws(StoreError) {
        guard list.count >= 8, list.number(UInt64.self, at: 0) == UInt64(list.count / 8 - 1), list.count.isMultiple(of: 8) else {
            throw fault("a list of free pages has the wrong length")
        }
        for index in 1..<max(1, list.count / 8) { try take(list.number(UInt64.self, at: 8 * index)) }
    }

    /// Keys ascend over the whole tree, and none lies below its separator.
    private mutating func follow(_ key: [UInt8], isSeparator: Bool, _ tree: Tree, _ page: UInt64) throws(StoreError) {
        func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool {
            tree == .free ? a.reversed().lexicographicallyPrecedes(b.reversed()) : a.lexicographicallyPrecedes(b)
        }
        let follows = previousKey.map { precedes($0, key) } ?? true
        guard follows, !precedes(key, lowestKey), tree != .free || key.count == 8 else {
            throw fault("the keys of page \(page) are out of order")
        }
        if isSeparator { lowestKey = key } else { previousKey = key }
    }
}
