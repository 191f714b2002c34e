/// The name of a tensor that a model has, and its shape.
package struct TensorShape: Sendable, Hashable {
    package let name: String
    package let shape: [Int]

    package init(_ name: String, _ shape: [Int]) { (self.name, self.shape) = (name, shape) }

    /// Values in it.
    package var count: Int { shape.reduce(1, *) }
}
