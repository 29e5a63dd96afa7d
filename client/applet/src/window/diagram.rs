//! The paths of a target as a picture, with the same in words for who cannot see it.
//! Must not decide where anything is: that is the model's.
//!
//! | room | what it is |
//! |---|---|
//! | `brush` | colours and strokes: a line that does not work is seen without its colour |
//! | `ends` | where the lines with names end |
//! | `units` | lengths, as what draws them wants them |

mod brush;
mod ends;
mod units;

use std::{cell::RefCell, sync::Arc};

use gtk::{accessible::Property, glib, graphene, gsk, pango, prelude::*, subclass::prelude::*};
use iscsi_initiator_model::{
    diagram::{self, Line, Metrics, Node, Part},
    overview::Target,
};

use self::{
    brush::Brush,
    units::{pixels, single},
};
use super::look;
use crate::{
    bus::Snapshot,
    text::{filled, gettext, say},
};

/// Narrower than this, no box shows an address any more.
const NARROWEST: i32 = 240;
/// Around the text of a box.
const PADDING: f64 = 6.0;
/// Between the name of a device and the box where its line ends.
const NAME_GAP: f64 = 6.0;
/// The text of a box, and the name of a device, beside the text around the picture.
const BOX: f64 = 0.9;
const DEVICE: f64 = 0.85;

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub(in crate::window) struct PathDiagram {
        pub(super) shown: RefCell<Option<(Arc<Snapshot>, Target)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for PathDiagram {
        const NAME: &'static str = "IscsiPathDiagram";
        type Type = super::PathDiagram;
        type ParentType = gtk::Widget;

        fn class_init(class: &mut Self::Class) {
            class.set_css_name("diagram");
            class.set_accessible_role(gtk::AccessibleRole::Img);
        }
    }

    impl ObjectImpl for PathDiagram {}

    impl WidgetImpl for PathDiagram {
        fn measure(&self, orientation: gtk::Orientation, _: i32) -> (i32, i32, i32, i32) {
            let size = match orientation {
                gtk::Orientation::Horizontal => (NARROWEST, pixels(self.obj().metrics().width())),
                _ => {
                    let height = self.obj().layout(f64::MAX).map_or(0, |diagram| pixels(diagram.height) + 2);
                    (height, height)
                }
            };
            (size.0, size.1, -1, -1)
        }

        fn snapshot(&self, snapshot: &gtk::Snapshot) {
            self.obj().draw(snapshot);
        }
    }
}

glib::wrapper! {
    /// The paths of a target.
    pub(super) struct PathDiagram(ObjectSubclass<imp::PathDiagram>)
        @extends gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl PathDiagram {
    /// Shows a target's paths. What is said of them in words.
    pub(super) fn show(&self, snapshot: &Arc<Snapshot>, target: &Target) -> Vec<String> {
        self.imp().shown.replace(Some((Arc::clone(snapshot), target.clone())));
        let diagram = self.layout(f64::MAX);
        let words: Vec<String> = diagram.iter().flat_map(|diagram| &diagram.words).map(say).collect();
        self.update_property(&[Property::Label(&words.join(". "))]);
        self.queue_resize();
        self.queue_draw();
        words
    }

    /// Boxes as high as two lines of text, with room between them for the names of devices.
    fn metrics(&self) -> Metrics {
        let layout = self.create_pango_layout(Some("Ay\nAy"));
        layout.set_attributes(Some(&scaled(BOX)));
        let (_, text) = layout.pixel_size();
        let height = f64::from(text) + 2.0 * PADDING;
        Metrics { box_width: 132.0, box_height: height, column_gap: 84.0, row_gap: 18.0, has_sessions: true }
    }

    fn layout(&self, width: f64) -> Option<diagram::Diagram> {
        let shown = self.imp().shown.borrow();
        let (snapshot, target) = shown.as_ref()?;
        Some(diagram::diagram(&snapshot.model, target, &self.metrics().fitted(width)))
    }

    fn draw(&self, snapshot: &gtk::Snapshot) {
        // A stroke is half outside of its box.
        let (width, edge) = (f64::from(self.width()) - 2.0, 1.0);
        let Some(diagram) = self.layout(width) else { return };
        let brush = Brush::of(self);
        snapshot.save();
        let left = ((width - diagram.width) / 2.0).max(0.0) + edge;
        snapshot.translate(&graphene::Point::new(single(left), single(edge)));
        let lines = ends::parted(&diagram.lines, self.device_height());
        for line in &lines {
            brush.line(snapshot, &curve(line), line.flow);
        }
        for line in &lines {
            self.name(snapshot, &brush, line);
        }
        for node in &diagram.nodes {
            self.node(snapshot, &brush, node);
        }
        snapshot.restore();
    }

    fn device_height(&self) -> f64 {
        let layout = self.create_pango_layout(Some("sda"));
        layout.set_attributes(Some(&scaled(DEVICE)));
        f64::from(layout.pixel_size().1)
    }

    /// The name of a device, where its line ends.
    fn name(&self, snapshot: &gtk::Snapshot, brush: &Brush, line: &Line) {
        if line.label.is_empty() {
            return;
        }
        let layout = self.create_pango_layout(Some(&line.label));
        layout.set_attributes(Some(&scaled(DEVICE)));
        let (width, height) = layout.pixel_size();
        let x = line.end.x - NAME_GAP - f64::from(width);
        let y = line.end.y - f64::from(height) / 2.0;
        snapshot.save();
        snapshot.translate(&graphene::Point::new(single(x), single(y)));
        let ground =
            graphene::Rect::new(-3.0, 0.0, single(f64::from(width)) + 6.0, single(f64::from(height)));
        snapshot.append_color(brush.ground(), &ground);
        snapshot.append_layout(&layout, &brush.of_flow(line.flow));
        snapshot.restore();
    }

    fn node(&self, snapshot: &gtk::Snapshot, brush: &Brush, node: &Node) {
        let (rect, corner) = (node.rect, node.rect.corner);
        snapshot.save();
        snapshot.translate(&graphene::Point::new(single(corner.x), single(corner.y)));
        let shape = graphene::Rect::new(0.0, 0.0, single(rect.width), single(rect.height));
        brush.frame(snapshot, &shape, node.level);
        // Trouble has a shape, besides its colour.
        if node.level.is_trouble() {
            brush.badge(self, snapshot, look::icon(node.level), node.level);
        }
        let layout = self.create_pango_layout(Some(&label(node)));
        layout.set_attributes(Some(&scaled(BOX)));
        layout.set_wrap(pango::WrapMode::WordChar);
        layout.set_ellipsize(pango::EllipsizeMode::Middle);
        // Lines, not units.
        layout.set_height(-2);
        layout.set_width(pixels((rect.width - 2.0 * PADDING).max(0.0)) * pango::SCALE);
        layout.set_alignment(pango::Alignment::Center);
        let (_, height) = layout.pixel_size();
        let top = (rect.height - f64::from(height)) / 2.0;
        snapshot.translate(&graphene::Point::new(single(PADDING), single(top)));
        snapshot.append_layout(&layout, &brush.text());
        snapshot.restore();
    }
}

fn label(node: &Node) -> String {
    match &node.part {
        Part::Session(id) => filled(&gettext("Session {number}"), &[("number", id.name())]),
        Part::Portal(_) => breakable(&say(&node.label)),
        // Its name above its size.
        Part::Disk(_) => say(&node.label).replacen("  ", "\n", 1),
        _ => say(&node.label),
    }
}

/// An address that does not fit on one line has its port on the second.
fn breakable(portal: &str) -> String {
    match portal.rsplit_once(':') {
        Some((address, port)) => format!("{address}\u{200b}:{port}"),
        None => portal.to_owned(),
    }
}

fn scaled(factor: f64) -> pango::AttrList {
    let attributes = pango::AttrList::new();
    attributes.insert(pango::AttrFloat::new_scale(factor));
    attributes
}

fn curve(line: &Line) -> gsk::Path {
    let path = gsk::PathBuilder::new();
    let middle = single((line.begin.x + line.end.x) / 2.0);
    let (begin, end) =
        ((single(line.begin.x), single(line.begin.y)), (single(line.end.x), single(line.end.y)));
    path.move_to(begin.0, begin.1);
    path.cubic_to(middle, begin.1, middle, end.1, end.0, end.1);
    path.to_path()
}
