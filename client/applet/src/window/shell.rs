//! The window: list and page beside each other, or one at a time.

use std::{cell::RefCell, time::Duration};

use adw::{prelude::*, subclass::prelude::*};
use async_channel::Receiver;
use gtk::{gio, glib};
use iscsi_initiator_model::mirror::Trouble;

use super::{
    choice::Choice,
    known::Known,
    machine_page::MachinePage,
    target_list::TargetList,
    target_page::TargetPage,
    trouble_page::{self, TroublePage},
};
use crate::{
    bus::{Client, State},
    text::gettext,
};

/// An empty page is shown for this long before it says that it is loading.
const LOADING: Duration = Duration::from_millis(300);

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "shell.ui")]
    pub(in crate::window) struct Shell {
        #[template_child]
        pub(super) toasts: TemplateChild<adw::ToastOverlay>,
        #[template_child]
        pub(super) whole: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) loading: TemplateChild<gtk::Box>,
        #[template_child]
        pub(super) spinner: TemplateChild<gtk::Spinner>,
        #[template_child]
        pub(super) trouble: TemplateChild<TroublePage>,
        #[template_child]
        pub(super) split: TemplateChild<adw::NavigationSplitView>,
        #[template_child]
        pub(super) list: TemplateChild<TargetList>,
        #[template_child]
        pub(super) machine_list: TemplateChild<gtk::ListBox>,
        #[template_child]
        pub(super) machine_row: TemplateChild<gtk::ListBoxRow>,
        #[template_child]
        pub(super) page: TemplateChild<adw::NavigationPage>,
        #[template_child]
        pub(super) banner: TemplateChild<adw::Banner>,
        #[template_child]
        pub(super) pages: TemplateChild<gtk::Stack>,
        #[template_child]
        pub(super) target: TemplateChild<TargetPage>,
        #[template_child]
        pub(super) machine: TemplateChild<MachinePage>,
        pub(super) choice: RefCell<Choice>,
        pub(super) known: Known,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Shell {
        const NAME: &'static str = "IscsiShell";
        type Type = super::Shell;
        type ParentType = adw::ApplicationWindow;

        fn class_init(class: &mut Self::Class) {
            TargetList::ensure_type();
            TargetPage::ensure_type();
            MachinePage::ensure_type();
            TroublePage::ensure_type();
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for Shell {}
    impl WidgetImpl for Shell {}
    impl WindowImpl for Shell {}
    impl ApplicationWindowImpl for Shell {}
    impl AdwApplicationWindowImpl for Shell {}
}

glib::wrapper! {
    /// The window.
    pub(super) struct Shell(ObjectSubclass<imp::Shell>)
        @extends adw::ApplicationWindow, gtk::ApplicationWindow, gtk::Window, gtk::Widget,
        @implements gio::ActionGroup, gio::ActionMap, gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget,
            gtk::Native, gtk::Root, gtk::ShortcutManager;
}

impl Shell {
    /// A window of an application, which does not follow anything yet.
    pub(super) fn new(app: &impl IsA<gtk::Application>, client: Client) -> Self {
        let shell: Self =
            glib::Object::builder().property("application", app.upcast_ref::<gtk::Application>()).build();
        let parts = shell.imp();
        parts.target.set_client(client.clone());
        parts.machine.set_client(client);
        parts.machine_list.connect_row_selected(glib::clone!(
            #[weak]
            shell,
            move |_, row| {
                if row.is_some() {
                    shell.choose(Choice::Machine);
                }
            }
        ));
        parts.machine_list.connect_row_activated(glib::clone!(
            #[weak]
            shell,
            move |_, _| shell.imp().split.set_show_content(true)
        ));
        parts.page.connect_shown(glib::clone!(
            #[weak]
            shell,
            move |_| {
                // Beside the list, the focus stays in that.
                if shell.imp().split.is_collapsed() {
                    shell.imp().target.focus();
                }
            }
        ));
        glib::timeout_add_local_once(
            LOADING,
            glib::clone!(
                #[weak]
                shell,
                move || shell.say_that_it_is_loading()
            ),
        );
        shell
    }

    /// Shows what is known, whenever it changes.
    pub(super) fn follow(&self, states: Receiver<State>) {
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = shell)]
            self,
            async move {
                while let Ok(mut state) = states.recv().await {
                    // Only the last counts.
                    while let Ok(newer) = states.try_recv() {
                        state = newer;
                    }
                    shell.show(&state);
                }
            }
        ));
    }

    fn say_that_it_is_loading(&self) {
        let parts = self.imp();
        if parts.whole.visible_child_name().as_deref() == Some("loading") {
            parts.loading.set_visible(true);
            parts.spinner.set_spinning(true);
        }
    }

    fn show(&self, state: &State) {
        let parts = self.imp();
        parts.spinner.set_spinning(false);
        match state {
            State::Known(snapshot) => {
                parts.known.set(snapshot);
                self.warn(snapshot.lost.as_ref());
                parts.list.show(&snapshot.overview.targets);
                parts.machine.show(&snapshot.facts);
                self.show_choice();
                parts.whole.set_visible_child_name("targets");
            }
            State::Trouble(trouble) => {
                let was_there = parts.whole.visible_child_name().as_deref() == Some("trouble");
                parts.trouble.show(trouble);
                parts.whole.set_visible_child_name("trouble");
                if !was_there {
                    parts.trouble.focus();
                }
            }
        }
    }

    /// Says that what is shown may be out of date.
    fn warn(&self, lost: Option<&Trouble>) {
        let banner = &self.imp().banner;
        if let Some(lost) = lost {
            let said = trouble_page::said(lost).sentence;
            banner.set_title(&format!("{said}. {}", gettext("This is how it was last.")));
        }
        banner.set_revealed(lost.is_some());
        // Folded away, it would still be read to who does not see that.
        banner.set_visible(lost.is_some());
    }

    /// Shows a page.
    pub(super) fn choose(&self, choice: Choice) {
        if *self.imp().choice.borrow() != choice {
            self.imp().choice.replace(choice);
            self.show_choice();
        }
    }

    /// Shows a target, also where list and page are shown one at a time.
    pub(super) fn open(&self, target: &str) {
        self.choose(Choice::Target(target.to_owned()));
        self.imp().split.set_show_content(true);
    }

    /// What is known, as it is whenever it is looked at.
    pub(super) fn known(&self) -> Known {
        self.imp().known.clone()
    }

    /// Shows this machine, and examines it.
    pub(super) fn examine(&self, fix: bool) {
        self.choose(Choice::Machine);
        self.imp().split.set_show_content(true);
        self.imp().machine.examine(fix);
    }

    /// Puts a text on the clipboard.
    pub(super) fn copy(&self, text: &str) {
        self.clipboard().set_text(text);
        self.say(&gettext("Copied"));
    }

    /// Says something of what the person has just done.
    pub(super) fn say(&self, text: &str) {
        let toast = adw::Toast::new(text);
        toast.set_use_markup(false);
        self.imp().toasts.add_toast(toast);
    }

    fn show_choice(&self) {
        let parts = self.imp();
        let Some(snapshot) = parts.known.get() else { return };
        let choice = parts.choice.borrow().clone().settled(&snapshot.overview, !parts.split.is_collapsed());
        // Before anything is selected: that tells of a choice, too.
        parts.choice.replace(choice.clone());
        let (page, title) = match &choice {
            Choice::Nothing if snapshot.overview.targets.is_empty() => ("empty", gettext("iSCSI Targets")),
            Choice::Nothing => {
                parts.split.set_show_content(false);
                ("none", gettext("iSCSI Targets"))
            }
            Choice::Machine => ("machine", gettext("This Machine")),
            Choice::Target(name) => match snapshot.overview.target(name) {
                Some(target) => {
                    parts.target.show(&snapshot, target);
                    ("target", target.title.clone())
                }
                None => ("none", gettext("iSCSI Targets")),
            },
        };
        parts.page.set_title(&title);
        parts.pages.set_visible_child_name(page);
        parts.list.select(choice.target());
        match choice {
            Choice::Machine => parts.machine_list.select_row(Some(&*parts.machine_row)),
            _ => parts.machine_list.unselect_all(),
        }
    }
}

#[cfg(test)]
mod tests;
