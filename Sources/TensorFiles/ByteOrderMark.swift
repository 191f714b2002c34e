import Foundation

extension Data {
    /// The bytes without the mark that editors put before UTF-8 text.
    package var withoutByteOrderMark: Data { starts(with: [0xef, 0xbb, 0xbf]) ? Data(dropFirst(3)) : self }
}
