//! Colours and strokes: a line that does not work is seen without its colour.

use gtk::{gdk, graphene, gsk, prelude::*};
use iscsi_initiator_model::{diagram::Flow, health::Level};

use crate::window::look;

/// What is drawn with: the colours of the theme, as they are now.
pub(super) struct Brush {
    text: gdk::RGBA,
    ground: gdk::RGBA,
    success: gdk::RGBA,
    warning: gdk::RGBA,
    error: gdk::RGBA,
}

impl Brush {
    pub(super) fn of(widget: &impl IsA<gtk::Widget>) -> Self {
        let text = widget.color();
        // libadwaita's names. What else there is for this needs a widget for each colour.
        #[allow(deprecated, reason = "the colours of a theme have no other way into a picture")]
        let named = |name: &str| widget.style_context().lookup_color(name).unwrap_or(text);
        Self {
            text,
            ground: named("view_bg_color"),
            success: named("success_color"),
            warning: named("warning_color"),
            error: named("error_color"),
        }
    }

    pub(super) fn text(&self) -> gdk::RGBA {
        self.text
    }

    pub(super) fn ground(&self) -> &gdk::RGBA {
        &self.ground
    }

    fn faint(&self) -> gdk::RGBA {
        self.text.with_alpha(self.text.alpha() * 0.4)
    }

    pub(super) fn of_flow(&self, flow: Flow) -> gdk::RGBA {
        match flow {
            Flow::Off => self.faint(),
            Flow::Works => self.success,
            Flow::Waits => self.warning,
            Flow::Failed => self.error,
        }
    }

    fn of_level(&self, level: Level) -> gdk::RGBA {
        match look::colour(level) {
            "success" => self.success,
            "warning" => self.warning,
            "error" => self.error,
            _ => self.faint(),
        }
    }

    /// Whole where it works, dotted where it waits, dashed where it failed, thin where nothing is connected.
    pub(super) fn line(&self, snapshot: &gtk::Snapshot, path: &gsk::Path, flow: Flow) {
        let (width, dash): (f32, &[f32]) = match flow {
            Flow::Off => (1.0, &[]),
            Flow::Works => (2.5, &[]),
            Flow::Waits => (2.5, &[2.5, 4.0]),
            Flow::Failed => (2.5, &[9.0, 6.0]),
        };
        let stroke = gsk::Stroke::new(width);
        stroke.set_dash(dash);
        snapshot.append_stroke(path, &stroke, &self.of_flow(flow));
    }

    /// The frame of a box; broken where nothing is connected.
    pub(super) fn frame(&self, snapshot: &gtk::Snapshot, shape: &graphene::Rect, level: Level) {
        let path = gsk::PathBuilder::new();
        path.add_rounded_rect(&gsk::RoundedRect::from_rect(*shape, 8.0));
        let path = path.to_path();
        snapshot.append_fill(&path, gsk::FillRule::Winding, &self.ground);
        let colour = self.of_level(level);
        if level.is_trouble() {
            snapshot.append_fill(&path, gsk::FillRule::Winding, &colour.with_alpha(0.12));
        }
        let stroke = gsk::Stroke::new(if level.is_trouble() { 2.0 } else { 1.5 });
        if level == Level::Idle {
            stroke.set_dash(&[4.0, 4.0]);
        }
        snapshot.append_stroke(&path, &stroke, &colour);
    }

    /// An icon on the corner of a box, where it takes no room from the text.
    pub(super) fn badge(
        &self,
        widget: &impl IsA<gtk::Widget>,
        snapshot: &gtk::Snapshot,
        name: &str,
        level: Level,
    ) {
        let theme = gtk::IconTheme::for_display(&widget.display());
        let (scale, direction) = (widget.scale_factor(), gtk::TextDirection::None);
        let icon = theme.lookup_icon(name, &[], 16, scale, direction, gtk::IconLookupFlags::FORCE_SYMBOLIC);
        let colour = self.of_level(level);
        snapshot.save();
        let ground = gsk::PathBuilder::new();
        ground.add_circle(&graphene::Point::new(2.0, 2.0), 10.0);
        snapshot.append_fill(&ground.to_path(), gsk::FillRule::Winding, &self.ground);
        snapshot.translate(&graphene::Point::new(-6.0, -6.0));
        icon.snapshot_symbolic(snapshot, 16.0, 16.0, &[colour, colour, colour, colour]);
        snapshot.restore();
    }
}
