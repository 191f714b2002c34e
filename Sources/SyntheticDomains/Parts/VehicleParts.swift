import Foundation

/// Vehicles seen from the side, standing on a road at height `road`; `facing` is 1 to the right, -1 to the left.
extension Drawing {
    mutating func wheels(_ centres: [Float], road: Float, radius: Float, _ tyre: Colour, _ hub: Colour) {
        for x in centres {
            canvas.disk(x, road - radius, radius, tyre)
            canvas.disk(x, road - radius, radius * 0.45, hub)
        }
    }

    /// A cabin: a trapezium with two windows, on height `sill`.
    mutating func cabin(_ x: Float, sill: Float, halfBottom: Float, halfTop: Float, height: Float, lean: Float = 0, _ body: Colour, _ glass: Colour) {
        let top = sill - height
        canvas.polygon([Point(x - halfBottom, sill), Point(x + halfBottom, sill), Point(x + halfTop + lean, top), Point(x - halfTop + lean, top)], body)
        let inset: Float = 0.75
        canvas.polygon(
            [
                Point(x - halfBottom * inset, sill - height * 0.1), Point(x - 0.04 + lean * 0.3, sill - height * 0.1),
                Point(x - 0.04 + lean * 0.8, top + height * 0.18),
                Point(x - halfTop * inset + lean, top + height * 0.18),
            ], glass)
        canvas.polygon(
            [
                Point(x + 0.04 + lean * 0.3, sill - height * 0.1), Point(x + halfBottom * inset, sill - height * 0.1),
                Point(x + halfTop * inset + lean, top + height * 0.18),
                Point(x + 0.04 + lean * 0.8, top + height * 0.18),
            ], glass)
    }

    mutating func sedan(road: Float, _ facing: Float, _ body: Colour, _ glass: Colour, _ tyre: Colour) {
        cabin(-0.04 * facing, sill: road - 0.5, halfBottom: 0.46, halfTop: 0.28, height: 0.36, body, glass)
        canvas.box(0, road - 0.34, 0.86, 0.2, round: 0.12, body)
        canvas.box(facing * 0.8, road - 0.38, 0.05, 0.06, Palette.yellow)
        wheels([-0.5, 0.5], road: road, radius: 0.2, tyre, Palette.grey)
    }

    mutating func bus(road: Float, _ body: Colour, _ glass: Colour, _ tyre: Colour, windows: Int = 4) {
        canvas.box(0, road - 0.62, 0.9, 0.5, round: 0.1, body)
        for index in 0..<windows {
            canvas.box(-0.66 + 1.32 * Float(index) / Float(windows - 1), road - 0.78, 0.145, 0.17, glass)
        }
        canvas.box(0, road - 0.46, 0.9, 0.045, Palette.white)
        wheels([-0.52, 0.52], road: road, radius: 0.19, tyre, Palette.grey)
    }

    mutating func truck(road: Float, _ facing: Float, _ cab: Colour, _ load: Colour, _ glass: Colour, _ tyre: Colour) {
        canvas.box(-0.22 * facing, road - 0.66, 0.66, 0.46, round: 0.03, load)
        canvas.box(0.66 * facing, road - 0.5, 0.26, 0.32, round: 0.07, cab)
        canvas.box(0.72 * facing, road - 0.6, 0.15, 0.13, round: 0.03, glass)
        canvas.box(0, road - 0.2, 0.9, 0.07, Palette.ink)
        wheels([-0.58 * facing, -0.2 * facing, 0.62 * facing], road: road, radius: 0.19, tyre, Palette.grey)
    }

    mutating func beetle(road: Float, _ facing: Float, _ body: Colour, _ glass: Colour, _ tyre: Colour) {
        canvas.halfEllipse(0, road - 0.3, 0.58, 0.62, body)
        canvas.halfEllipse(-0.5, road - 0.18, 0.36, 0.36, body.mixed(Palette.ink, 0.12))
        canvas.halfEllipse(0.5, road - 0.18, 0.36, 0.36, body.mixed(Palette.ink, 0.12))
        canvas.box(0, road - 0.24, 0.7, 0.08, body)
        canvas.halfEllipse(-0.03, road - 0.5, 0.4, 0.32, glass)
        canvas.box(0, road - 0.66, 0.035, 0.17, body)
        canvas.disk(facing * 0.78, road - 0.3, 0.07, Palette.yellow)
        wheels([-0.5, 0.5], road: road, radius: 0.21, tyre, Palette.grey)
    }

    mutating func racer(road: Float, _ facing: Float, _ body: Colour, _ tyre: Colour, _ stripe: Colour) {
        canvas.polygon(
            [Point(-0.8 * facing, road - 0.42), Point(0.0, road - 0.46), Point(0.95 * facing, road - 0.16), Point(-0.85 * facing, road - 0.14)], body)
        canvas.box(-0.76 * facing, road - 0.62, 0.18, 0.05, body)
        canvas.box(-0.76 * facing, road - 0.5, 0.04, 0.12, body)
        canvas.halfEllipse(-0.06 * facing, road - 0.44, 0.17, 0.18, stripe)
        canvas.line([Point(-0.5 * facing, road - 0.28), Point(0.45 * facing, road - 0.26)], width: 0.08, stripe)
        wheels([-0.56 * facing, 0.52 * facing], road: road, radius: 0.25, tyre, Palette.grey)
    }

    mutating func pickup(road: Float, _ facing: Float, _ body: Colour, _ glass: Colour, _ tyre: Colour) {
        cabin(0.14 * facing, sill: road - 0.48, halfBottom: 0.33, halfTop: 0.23, height: 0.4, body, glass)
        canvas.box(0, road - 0.34, 0.9, 0.17, round: 0.05, body)
        canvas.box(-0.54 * facing, road - 0.5, 0.34, 0.05, body.mixed(Palette.ink, 0.4))
        wheels([-0.52, 0.55], road: road, radius: 0.23, tyre, Palette.grey)
    }
}
