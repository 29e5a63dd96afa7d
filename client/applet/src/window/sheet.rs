//! A dialog that shows one thing at a time, with buttons below; what happens in it comes out of a channel.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use adw::prelude::*;
use async_channel::{Receiver, Sender, unbounded};
use gtk::{AccessibleAnnouncementPriority, glib};

use crate::bus::{Reply, ended};

/// How a button looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// What Return does.
    Suggested,
    /// What may lose something: not what Return does.
    Destructive,
    Plain,
}

/// Of the dialog, where the window has the room.
const WIDTH: i32 = 520;
/// Beside what is shown.
const MARGIN: i32 = 18;
/// The height of the title bar, and of the lines between the bars.
const HEADER: i32 = 52;

/// How long a dialog may take to come to the screen, as one of its kinds and then as the other: until then the toolkit moves the
/// focus on, and nobody has read what there is to choose.
const SETTLES: Duration = Duration::from_millis(700);

/// What is to have the focus, and until when it is given back to it, unless a person acts before.
#[derive(Debug)]
struct Focus {
    widget: RefCell<glib::WeakRef<gtk::Widget>>,
    until: Cell<Instant>,
}

/// The dialog.
#[derive(Clone, Debug)]
pub(super) struct Sheet<E: 'static> {
    dialog: adw::Dialog,
    scrolled: gtk::ScrolledWindow,
    body: adw::Bin,
    buttons: gtk::Box,
    focus: Rc<Focus>,
    events: Sender<E>,
}

impl Focus {
    /// Gives the focus back, if a dialog that comes to the screen has just taken it for another.
    fn keep(self: &Rc<Self>, dialog: &adw::Dialog) {
        let Some(widget) = self.widget.borrow().upgrade() else { return };
        // What is made of several widgets has it in one of them.
        let is_its = dialog.focus().is_some_and(|focus| focus == widget || focus.is_ancestor(&widget));
        if !is_its && Instant::now() < self.until.get() {
            // Not while it is being moved, and not if a person acts before that.
            let focus = Rc::clone(self);
            glib::idle_add_local_once(move || {
                if Instant::now() < focus.until.get() {
                    widget.grab_focus();
                }
            });
        }
    }
}

impl<E: Clone + 'static> Sheet<E> {
    /// A dialog, and what happens in it. `closed` is said when the person closes it.
    pub(super) fn new(title: &str, closed: E) -> (Self, Receiver<E>) {
        let (events, happened) = unbounded();
        let body = adw::Bin::builder()
            .margin_top(6)
            .margin_bottom(MARGIN)
            .margin_start(MARGIN)
            .margin_end(MARGIN)
            .valign(gtk::Align::Start)
            .build();
        let scrolled = gtk::ScrolledWindow::builder()
            .hscrollbar_policy(gtk::PolicyType::Never)
            .propagate_natural_height(true)
            .vexpand(true)
            .child(&adw::Clamp::builder().maximum_size(WIDTH).child(&body).build())
            .build();
        let buttons = gtk::Box::builder()
            .orientation(gtk::Orientation::Vertical)
            .spacing(6)
            .margin_top(12)
            .margin_bottom(MARGIN)
            .margin_start(MARGIN)
            .margin_end(MARGIN)
            .build();
        let view = adw::ToolbarView::builder().content(&scrolled).build();
        view.add_top_bar(&adw::HeaderBar::new());
        view.add_bottom_bar(&adw::Clamp::builder().maximum_size(WIDTH).child(&buttons).build());
        let dialog = adw::Dialog::builder().title(title).content_width(WIDTH).child(&view).build();
        let tell = events.clone();
        dialog.connect_closed(move |_| drop(tell.try_send(closed.clone())));
        let focus = Rc::new(Focus { widget: RefCell::default(), until: Cell::new(Instant::now()) });
        dialog.connect_focus_widget_notify(glib::clone!(
            #[strong]
            focus,
            move |dialog| focus.keep(dialog)
        ));
        // A person who moves it has it moved.
        let acts =
            gtk::EventControllerLegacy::builder().propagation_phase(gtk::PropagationPhase::Capture).build();
        acts.connect_event(glib::clone!(
            #[strong]
            focus,
            move |_, event| {
                use gtk::gdk::EventType::{ButtonPress, KeyPress, TouchBegin};
                if matches!(event.event_type(), ButtonPress | KeyPress | TouchBegin) {
                    focus.until.set(Instant::now());
                }
                glib::Propagation::Proceed
            }
        ));
        dialog.add_controller(acts);
        (Self { dialog, scrolled, body, buttons, focus, events }, happened)
    }

    pub(super) fn present(&self, parent: &impl IsA<gtk::Widget>) {
        self.dialog.present(Some(parent));
    }

    pub(super) fn close(&self) {
        self.dialog.force_close();
    }

    pub(super) fn widget(&self) -> &adw::Dialog {
        &self.dialog
    }

    /// Where what happens is said.
    pub(super) fn events(&self) -> Sender<E> {
        self.events.clone()
    }

    /// Says this as if the person had done it.
    pub(super) fn tell(&self, event: E) {
        let _ = self.events.try_send(event);
    }

    /// A button that says this.
    pub(super) fn button(&self, label: &str, event: E, style: Style) -> gtk::Button {
        let button = gtk::Button::builder().label(label).build();
        match style {
            Style::Suggested => button.add_css_class("suggested-action"),
            Style::Destructive => button.add_css_class("destructive-action"),
            Style::Plain => {}
        }
        let tell = self.events.clone();
        button.connect_clicked(move |_| drop(tell.try_send(event.clone())));
        button
    }

    /// Shows this in place of what was there. Return presses the button that is suggested; the focus is on `focus`, or else
    /// on that button, or on the last. `said` is read aloud.
    pub(super) fn show(
        &self,
        child: &impl IsA<gtk::Widget>,
        buttons: &[gtk::Button],
        focus: Option<&gtk::Widget>,
        said: &str,
    ) {
        if self.body.child().as_ref() != Some(child.upcast_ref()) {
            self.body.set_child(Some(child));
            self.begin_at_the_top();
        }
        let before: Vec<gtk::Widget> =
            std::iter::successors(self.buttons.first_child(), gtk::Widget::next_sibling).collect();
        for button in buttons {
            self.buttons.append(button);
        }
        self.buttons.set_visible(!buttons.is_empty());
        let suggested = buttons.iter().find(|button| button.has_css_class("suggested-action"));
        self.dialog.set_default_widget(suggested);
        let next = focus.or(suggested.or(buttons.last()).map(|button| button.upcast_ref()));
        if let Some(next) = next {
            self.focus.until.set(Instant::now() + SETTLES);
            self.focus.widget.borrow().set(Some(next));
            next.grab_focus();
            self.focus.keep(&self.dialog);
        }
        // Now that none of them has the focus, which would pass to what is shown and scroll it.
        for button in before {
            self.buttons.remove(&button);
        }
        self.fit();
        if !said.is_empty() {
            self.dialog.announce(said, AccessibleAnnouncementPriority::Medium);
        }
    }

    /// What is new is read from its heading on: where there is no room for all of it, GTK would keep to what it has opened.
    fn begin_at_the_top(&self) {
        let place = self.scrolled.vadjustment();
        // After the layout.
        glib::idle_add_local_once(move || place.set_value(0.0));
    }

    /// As high as what is shown, where the window has the room: what scrolls does not ask for it.
    fn fit(&self) {
        let room = self.dialog.root().map_or(WIDTH, |window| window.width().min(WIDTH));
        let height = |widget: &gtk::Widget| {
            let (narrowest, ..) = widget.measure(gtk::Orientation::Horizontal, -1);
            widget.measure(gtk::Orientation::Vertical, narrowest.max(room - 2 * MARGIN)).1
        };
        let buttons = if self.buttons.is_visible() { height(self.buttons.upcast_ref()) } else { 0 };
        self.dialog.set_content_height(HEADER + height(self.body.upcast_ref()) + buttons);
    }

    /// Says what comes of a call, as what `event` makes of it.
    pub(super) fn follow(&self, replies: Receiver<Reply>, event: impl Fn(Reply) -> E + 'static) {
        let events = self.events.clone();
        glib::spawn_future_local(async move {
            while let Ok(reply) = replies.recv().await {
                let is_last = matches!(reply, Reply::Answer(_));
                let _ = events.try_send(event(reply));
                if is_last {
                    return;
                }
            }
            let _ = events.try_send(event(Reply::Answer(Err(ended()))));
        });
    }
}
