import AdapterFormat
import TensorMath

/// A domain whose guided sampling is distilled.
package struct TeacherDomain: Sendable {
    package let name: String
    package let digest: Digest
    package let vector: TunableVector
    package let classes: ClassTable

    package init(name: String, digest: Digest, vector: TunableVector, classes: ClassTable) {
        self.name = name
        self.digest = digest
        self.vector = vector
        self.classes = classes
    }

    /// The domain so far from the base, as a recipe's weight makes it: every value and every class.
    func scaled(by strength: Float, over base: BaseFile) -> TeacherDomain {
        guard strength != 1 else { return self }
        let values = zip(base.vector.values, vector.values).map { $0 + strength * ($1 - $0) }
        let null = Array(base.classes.values.suffix(base.classes.width))
        let table = classes.values.enumerated().map { index, value in null[index % null.count] + strength * (value - null[index % null.count]) }
        return TeacherDomain(
            name: name, digest: digest, vector: TunableVector(values, layout: base.layout), classes: ClassTable(names: classes.names, values: table))
    }
}
