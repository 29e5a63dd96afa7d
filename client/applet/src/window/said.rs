//! Texts in a dialog: a heading, sentences, and what is said of an error.
//! Must not read a text as markup.

use adw::prelude::*;
use iscsi_initiator_model::{
    health::Level,
    remedy::{self, Remedy},
    text::Phrase,
};

use super::{details::Details, look};
use crate::text::say;

/// Things below each other.
pub(super) fn column() -> gtk::Box {
    gtk::Box::builder().orientation(gtk::Orientation::Vertical).spacing(12).build()
}

/// What it is about.
pub(super) fn heading(text: &str) -> gtk::Label {
    let label = words(&breakable(text));
    label.update_property(&[gtk::accessible::Property::Label(text)]);
    label.add_css_class("title-3");
    label
}

/// Too long for a line of a narrow window.
const LONG: usize = 24;

/// A text whose long names a narrow window breaks between their parts, not inside one: with a break that takes no room
/// behind each sign. A short word stays whole.
pub(super) fn breakable(text: &str) -> String {
    let of_word = |word: &str| match word.chars().count() > LONG {
        true => word.replace(':', ":\u{200b}").replace('.', ".\u{200b}").replace('/', "/\u{200b}"),
        false => word.to_owned(),
    };
    text.split(' ').map(of_word).collect::<Vec<_>>().join(" ")
}

/// A sentence or more. A name that is broken has no hyphen that is not its own.
pub(super) fn words(text: &str) -> gtk::Label {
    let attributes = gtk::pango::AttrList::new();
    attributes.insert(gtk::pango::AttrInt::new_insert_hyphens(false));
    gtk::Label::builder()
        .label(text)
        .xalign(0.0)
        .wrap(true)
        .wrap_mode(gtk::pango::WrapMode::WordChar)
        .attributes(&attributes)
        .hexpand(true)
        .build()
}

/// A sentence with the icon of a level before it.
pub(super) fn marked(level: Level, label: &gtk::Label) -> gtk::Box {
    let row = gtk::Box::builder().spacing(12).build();
    let icon = gtk::Image::builder()
        .accessible_role(gtk::AccessibleRole::Presentation)
        .valign(gtk::Align::Start)
        .margin_top(4)
        .build();
    look::show(&icon, level);
    row.append(&icon);
    row.append(label);
    row
}

/// What is wrong, what to do next, what stays of what was done, and the daemon's own words.
pub(super) fn remedy(remedy: &Remedy, done: &[Phrase]) -> gtk::Box {
    let column = column();
    column.append(&marked(Level::Down, &heading(&say(&remedy.sentence))));
    column.append(&selectable(&say(&remedy.advice)));
    for line in done {
        column.append(&marked(Level::Well, &words(&say(line))));
    }
    column.append(&details(&remedy.details));
    column
}

/// A sentence that can be copied in parts.
pub(super) fn selectable(text: &str) -> gtk::Label {
    let label = words(text);
    label.set_selectable(true);
    label
}

pub(super) fn details(said: &remedy::Details) -> Details {
    let details = Details::new();
    details.show(said);
    details
}

/// Says that something is being done, beside the words that say what.
pub(super) fn spinner() -> gtk::Spinner {
    gtk::Spinner::builder()
        .spinning(true)
        .valign(gtk::Align::Center)
        .accessible_role(gtk::AccessibleRole::Presentation)
        .build()
}

/// Leaves room around something.
pub(super) fn inset(widget: &impl IsA<gtk::Widget>, room: i32) {
    widget.set_margin_top(room);
    widget.set_margin_bottom(room);
    widget.set_margin_start(room);
    widget.set_margin_end(room);
}

/// A list with frames.
pub(super) fn boxed_list() -> gtk::ListBox {
    let list = gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).build();
    list.add_css_class("boxed-list");
    list
}

/// A row of such a list.
pub(super) fn row(title: &str, subtitle: &str) -> adw::ActionRow {
    let row = adw::ActionRow::builder().use_markup(false).build();
    row.set_title(title);
    row.set_subtitle(subtitle);
    row.set_title_lines(0);
    row.set_subtitle_lines(0);
    row
}
