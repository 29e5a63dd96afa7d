//! How large the boxes are and how far apart.

/// Sizes, in whatever unit the caller draws in (pixels, usually).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// The width of a box.
    pub box_width: f64,
    /// The height of a box.
    pub box_height: f64,
    /// The space between two columns, which the lines cross.
    pub column_gap: f64,
    /// The space between two boxes of a column.
    pub row_gap: f64,
}

/// Interfaces, portals, sessions, disks.
pub(super) const COLUMNS: u8 = 4;

impl Default for Metrics {
    /// For a window of 800 pixels; boxes are as high as what a finger hits.
    fn default() -> Self {
        Self { box_width: 140.0, box_height: 36.0, column_gap: 56.0, row_gap: 12.0 }
    }
}

impl Metrics {
    /// How wide a picture with all four columns is.
    pub fn width(&self) -> f64 {
        self.box_width * f64::from(COLUMNS) + self.column_gap * f64::from(COLUMNS - 1)
    }

    /// The same, made narrower so that the picture is no wider than this. It is never made wider. Boxes and gaps shrink
    /// alike.
    #[must_use]
    pub fn fitted(self, width: f64) -> Self {
        let factor = (width / self.width()).clamp(0.0, 1.0);
        Self { box_width: self.box_width * factor, column_gap: self.column_gap * factor, ..self }
    }
}
