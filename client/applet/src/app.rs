//! The application: one instance, its actions and keys.

use std::cell::OnceCell;

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gio, glib};

use crate::{
    bus::{self, Client, State},
    text::gettext,
    window,
};

/// The name on the session bus, of the icons and of the resources.
pub(crate) const ID: &str = "org.cloudatlas.IscsiInitiator.Applet";

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub(crate) struct App {
        /// The window, and what sends commands; kept from the start, so that what is there comes before the first frame.
        pub(super) client: OnceCell<Client>,
        pub(super) states: OnceCell<async_channel::Receiver<State>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for App {
        const NAME: &'static str = "IscsiApp";
        type Type = super::App;
        type ParentType = adw::Application;
    }

    impl ObjectImpl for App {}

    impl ApplicationImpl for App {
        fn startup(&self) {
            self.parent_startup();
            // A name that the keys come by is not marked as if it were to be copied.
            if let Some(settings) = gtk::Settings::default() {
                settings.set_gtk_label_select_on_focus(false);
            }
            glib::set_application_name(&gettext("iSCSI Targets"));
            let (client, states) = bus::start();
            let (_, _) = (self.client.set(client), self.states.set(states));
            self.obj().add_actions();
        }

        fn activate(&self) {
            self.parent_activate();
            let app = self.obj();
            if let Some(window) = app.active_window() {
                return window.present();
            }
            let (Some(client), Some(states)) = (self.client.get(), self.states.get()) else { return };
            window::open(&*app, client.clone(), states.clone());
        }
    }

    impl GtkApplicationImpl for App {}
    impl AdwApplicationImpl for App {}
}

glib::wrapper! {
    /// The application.
    pub(crate) struct App(ObjectSubclass<imp::App>)
        @extends adw::Application, gtk::Application, gio::Application,
        @implements gio::ActionGroup, gio::ActionMap;
}

impl App {
    fn add_actions(&self) {
        let quit = gio::ActionEntry::builder("quit").activate(|app: &Self, _, _| app.quit()).build();
        let about = gio::ActionEntry::builder("about").activate(|app: &Self, _, _| app.about()).build();
        // What a notification and the tray's menu lead to.
        let open = gio::ActionEntry::builder("open-target")
            .parameter_type(Some(glib::VariantTy::STRING))
            .activate(|app: &Self, _, target| {
                app.activate();
                let (Some(window), Some(target)) = (app.active_window(), target) else { return };
                // Before its first state, the window keeps it in mind.
                let _ = WidgetExt::activate_action(&window, "win.open", Some(target));
            })
            .build();
        self.add_action_entries([quit, about, open]);
        for (action, keys) in
            [("app.quit", ["<Control>q"]), ("window.close", ["<Control>w"]), ("win.connect", ["<Control>n"])]
        {
            self.set_accels_for_action(action, &keys);
        }
    }

    fn about(&self) {
        let about = adw::AboutDialog::builder()
            .application_name(gettext("iSCSI Targets"))
            .application_icon(ID)
            .version(env!("CARGO_PKG_VERSION"))
            .comments(gettext("Connects this machine to iSCSI gateways, and shows how the disks are."))
            .license_type(gtk::License::MitX11)
            .build();
        about.present(self.active_window().as_ref());
    }
}

/// Runs until the last window is closed.
pub(crate) fn run() -> std::process::ExitCode {
    if gio::resources_register_include!("applet.gresource").is_err() {
        // Only a broken build: the window comes without its own icons.
        glib::g_warning!("iscsi-applet", "the icons cannot be read");
    }
    let app: App = glib::Object::builder().property("application-id", ID).build();
    app.run().into()
}
