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
    /// Whether the sessions have a column. Without one, a path begins at its portal.
    pub has_sessions: bool,
}

/// Narrower than this part of its full width, a picture has no column for the sessions: the other boxes keep their text.
const WITH_SESSIONS: f64 = 0.6;

impl Default for Metrics {
    /// For a window of 800 pixels; boxes are as high as what a finger hits.
    fn default() -> Self {
        Self { box_width: 140.0, box_height: 36.0, column_gap: 56.0, row_gap: 12.0, has_sessions: true }
    }
}

impl Metrics {
    /// How wide a picture with all its columns is: interfaces, portals, sessions, disks.
    pub fn width(&self) -> f64 {
        let columns = if self.has_sessions { 4.0 } else { 3.0 };
        self.box_width * columns + self.column_gap * (columns - 1.0)
    }

    /// The same, made narrower so that the picture is no wider than this. It is never made wider. Boxes and gaps shrink
    /// alike, once the sessions have been left out.
    #[must_use]
    pub fn fitted(self, width: f64) -> Self {
        let has_sessions = self.has_sessions && width >= self.width() * WITH_SESSIONS;
        let whole = Self { has_sessions, ..self };
        let factor = (width / whole.width()).clamp(0.0, 1.0);
        Self { box_width: self.box_width * factor, column_gap: self.column_gap * factor, ..whole }
    }
}
