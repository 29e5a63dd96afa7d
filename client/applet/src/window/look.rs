//! Icon and colour of a level: never the colour alone.

use gtk::prelude::*;
use iscsi_initiator_model::{health::Level, overview::Link, remedy::Mark};

/// The classes of colour that a widget may have from here.
const COLOURS: [&str; 4] = ["dim-label", "success", "warning", "error"];

/// The icon of a level; each has a shape of its own.
pub(super) fn icon(level: Level) -> &'static str {
    match level {
        Level::Idle => "iscsi-idle-symbolic",
        Level::Well => "iscsi-well-symbolic",
        Level::Unknown => "iscsi-unknown-symbolic",
        Level::Attention => "iscsi-attention-symbolic",
        Level::Degraded => "iscsi-degraded-symbolic",
        Level::Queueing => "iscsi-queueing-symbolic",
        Level::Down => "iscsi-down-symbolic",
    }
}

/// The class of a level's colour.
pub(super) fn colour(level: Level) -> &'static str {
    match level {
        Level::Idle | Level::Unknown => "dim-label",
        Level::Well => "success",
        Level::Attention | Level::Degraded => "warning",
        Level::Queueing | Level::Down => "error",
    }
}

/// How well a portal is connected.
pub(super) fn of_link(link: Link) -> Level {
    match link {
        Link::Off => Level::Idle,
        Link::Up => Level::Well,
        Link::Making => Level::Unknown,
        Link::Lost => Level::Down,
    }
}

/// How something that was examined stands.
pub(super) fn of_mark(mark: Mark) -> Level {
    match mark {
        Mark::Good => Level::Well,
        Mark::Warning => Level::Attention,
        Mark::Bad => Level::Down,
        Mark::Skipped => Level::Idle,
    }
}

/// Shows a level in an icon.
pub(super) fn show(image: &gtk::Image, level: Level) {
    image.set_icon_name(Some(icon(level)));
    for class in COLOURS.into_iter().filter(|class| *class != colour(level)) {
        image.remove_css_class(class);
    }
    image.add_css_class(colour(level));
}
