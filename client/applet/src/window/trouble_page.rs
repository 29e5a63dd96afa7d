//! Why there is nothing to show, and the way out: no daemon, no permission, an older daemon, no bus.

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_model::{
    mirror::Trouble,
    remedy::{self, Action, Place, Stage, remedy},
    text::errors,
};

use super::{acts, details::Details};
use crate::text::{say, word};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "trouble_page.ui")]
    pub(in crate::window) struct TroublePage {
        #[template_child]
        pub(super) status: TemplateChild<adw::StatusPage>,
        #[template_child]
        pub(super) again: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) help: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) details: TemplateChild<Details>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TroublePage {
        const NAME: &'static str = "IscsiTroublePage";
        type Type = super::TroublePage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            Details::ensure_type();
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for TroublePage {}
    impl WidgetImpl for TroublePage {}
    impl BinImpl for TroublePage {}
}

glib::wrapper! {
    /// Why there is nothing to show.
    pub(super) struct TroublePage(ObjectSubclass<imp::TroublePage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

/// What is said of it.
pub(super) struct Said {
    pub(super) sentence: String,
    pub(super) advice: String,
    help: Option<Action>,
    details: remedy::Details,
}

/// What a person is told of it.
pub(super) fn said(trouble: &Trouble) -> Said {
    let own = |sentence, advice, help, message: &str| Said {
        sentence: word(sentence),
        advice: word(advice),
        help,
        details: remedy::Details { message: message.to_owned(), ..remedy::Details::default() },
    };
    match trouble {
        Trouble::Old { version } => own(
            errors::OLDER_DAEMON,
            errors::OLDER_DAEMON_ADVICE,
            Some(Action::ShowInstall),
            &format!("iscsi-initiatord {version}: no objects"),
        ),
        Trouble::Gone(fault) | Trouble::Later(fault) | Trouble::Refused(fault) => {
            let place = Place { stage: Stage::Begin, ..Place::default() };
            let remedy = remedy(fault, &place);
            let helps = [Action::ShowInstall, Action::ShowAccess];
            Said {
                sentence: say(&remedy.sentence),
                advice: say(&remedy.advice),
                help: remedy.actions.into_iter().find(|action| helps.contains(action)),
                details: remedy.details,
            }
        }
        _ => own(errors::NO_BUS, errors::NO_BUS_ADVICE, None, ""),
    }
}

impl TroublePage {
    pub(super) fn show(&self, trouble: &Trouble) {
        let parts = self.imp();
        let icon = match trouble {
            Trouble::Refused(_) => "changes-prevent-symbolic",
            Trouble::Later(_) => "iscsi-queueing-symbolic",
            Trouble::Old { .. } => "software-update-available-symbolic",
            _ => "iscsi-down-symbolic",
        };
        let said = said(trouble);
        parts.status.set_icon_name(Some(icon));
        parts.status.set_title(&glib::markup_escape_text(&said.sentence));
        parts.status.set_description(Some(&glib::markup_escape_text(&said.advice)));
        parts.details.show(&said.details);
        parts.help.set_visible(said.help.is_some());
        if let Some(help) = said.help {
            let topic = if help == Action::ShowAccess { "access" } else { "install" };
            parts.help.set_label(&word(help.label()));
            acts::point(&parts.help, "win.help", &topic.to_variant());
        }
    }

    /// Where the next key goes.
    pub(super) fn focus(&self) {
        self.imp().again.grab_focus();
    }
}
