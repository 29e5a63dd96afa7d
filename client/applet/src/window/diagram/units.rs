//! Lengths, as what draws them wants them.

/// As a widget has it.
#[expect(clippy::cast_possible_truncation, reason = "a window has fewer pixels than an i32 can count")]
pub(super) fn pixels(length: f64) -> i32 {
    length.ceil() as i32
}

/// As GTK's drawing has it.
#[expect(clippy::cast_possible_truncation, reason = "a fraction of a pixel is not seen")]
pub(super) fn single(length: f64) -> f32 {
    length as f32
}
