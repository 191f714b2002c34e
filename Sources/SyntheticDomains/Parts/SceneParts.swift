import Foundation

/// Landscapes and buildings.
extension Drawing {
    /// A peak with its foot on `base` and snow on its top third.
    mutating func peak(_ x: Float, base: Float, half: Float, height: Float, _ rock: Colour, _ snow: Colour) {
        canvas.polygon([Point(x - half, base), Point(x + half, base), Point(x, base - height)], rock)
        let cut: Float = 0.36
        canvas.polygon(
            [
                Point(x - half * cut, base - height * (1 - cut)), Point(x - half * 0.1, base - height * 0.58),
                Point(x + half * 0.08, base - height * 0.7), Point(x + half * cut, base - height * (1 - cut)), Point(x, base - height),
            ], snow)
    }

    /// Houses of different heights side by side with rows of windows, standing on `base`.
    mutating func skyline(base: Float, _ walls: [Colour], _ window: Colour) {
        var x: Float = -1.2
        var index = 0
        while x < 1.2 {
            let half = dice.real(0.17, 0.25), height = dice.real(0.55, 1.25)
            canvas.box(x + half, base - height / 2, half, height / 2, walls[index % walls.count])
            for row in stride(from: base - height + 0.14, to: base - 0.08, by: 0.21) {
                for column in [x + half * 0.55, x + half * 1.45] where dice.chance(0.75) {
                    canvas.box(column, row, 0.05, 0.065, window)
                }
            }
            x += half * 2
            index += 1
        }
    }

    /// A boat with a triangular sail on the waterline y.
    mutating func sailboat(_ x: Float, water y: Float, size: Float, _ hull: Colour, _ sail: Colour) {
        canvas.line([Point(x, y), Point(x, y - size * 1.15)], width: size * 0.07, hull)
        canvas.polygon([Point(x + size * 0.06, y - size * 0.2), Point(x + size * 0.06, y - size * 1.15), Point(x + size * 0.62, y - size * 0.2)], sail)
        canvas.polygon(
            [Point(x - size * 0.06, y - size * 0.2), Point(x - size * 0.06, y - size * 0.95), Point(x - size * 0.4, y - size * 0.2)],
            sail.mixed(Palette.ink, 0.14))
        canvas.polygon(
            [
                Point(x - size * 0.62, y - size * 0.12), Point(x + size * 0.72, y - size * 0.12), Point(x + size * 0.45, y + size * 0.16),
                Point(x - size * 0.42, y + size * 0.16),
            ], hull)
    }

    /// A house with a pitched roof, a door and a window, standing on `base`.
    mutating func house(_ x: Float, base: Float, size: Float, _ wall: Colour, _ roof: Colour, _ door: Colour, _ window: Colour) {
        canvas.box(x, base - size * 0.35, size * 0.5, size * 0.35, wall)
        canvas.polygon([Point(x - size * 0.64, base - size * 0.66), Point(x + size * 0.64, base - size * 0.66), Point(x, base - size * 1.22)], roof)
        canvas.box(x - size * 0.2, base - size * 0.21, size * 0.12, size * 0.21, door)
        canvas.box(x + size * 0.22, base - size * 0.38, size * 0.13, size * 0.13, window)
    }

    /// A low cloud of three disks.
    mutating func cloud(_ x: Float, _ y: Float, _ size: Float, _ colour: Colour) {
        canvas.disk(x - size, y, size * 0.7, colour)
        canvas.disk(x, y - size * 0.35, size, colour)
        canvas.disk(x + size, y, size * 0.75, colour)
    }

    /// A five-pointed star.
    mutating func star(_ x: Float, _ y: Float, _ radius: Float, turn: Float = 0, points: Int = 5, _ colour: Colour) {
        let corners = (0..<2 * points).map { index -> Point in
            let angle = turn - .pi / 2 + .pi * Float(index) / Float(points)
            let reach = index.isMultiple(of: 2) ? radius : radius * 0.45
            return Point(x + cos(angle) * reach, y + sin(angle) * reach)
        }
        canvas.polygon(corners, colour)
    }

    /// A moon: a disk with a bite of the ground colour.
    mutating func crescent(_ x: Float, _ y: Float, _ radius: Float, _ colour: Colour, _ ground: Colour) {
        canvas.disk(x, y, radius, colour)
        canvas.disk(x + radius * 0.45, y - radius * 0.18, radius * 0.85, ground)
    }
}
