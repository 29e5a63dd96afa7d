//! What buttons, menus and keys of the window do.

use adw::prelude::*;
use gtk::{gio, glib};
use iscsi_initiator_dbus::Iqn;
use iscsi_initiator_model::{
    connect::Form,
    disconnect::Wanted,
    overview::Deed,
    remedy::{Action, Question},
};

use super::{
    acts::{self, About},
    chap_dialog,
    choice::Choice,
    complaint, connect_dialog, diagnose_dialog, disconnect_dialog, help, multipath_dialog, name_dialog,
    question, report,
    shell::Shell,
};
use crate::{
    bus::{Client, Request},
    text::gettext,
};

/// Gives the window its actions.
pub(super) fn add(shell: &Shell, client: Client) {
    let with_text = |name: &str, act: fn(&Shell, &str)| {
        let text = |text: Option<&glib::Variant>| text.and_then(glib::Variant::str).map(str::to_owned);
        gio::ActionEntry::builder(name)
            .parameter_type(Some(glib::VariantTy::STRING))
            .activate(move |shell: &Shell, _, value| act(shell, &text(value).unwrap_or_default()))
            .build()
    };
    let plain = |name: &str, act: fn(&Shell, Client)| {
        let client = client.clone();
        gio::ActionEntry::builder(name)
            .activate(move |shell: &Shell, _, _| act(shell, client.clone()))
            .build()
    };
    let about = |name: &str, act: fn(&Shell, &Client, &glib::Variant)| {
        let client = client.clone();
        gio::ActionEntry::builder(name)
            .parameter_type(glib::VariantTy::new("(sss)").ok())
            .activate(move |shell: &Shell, _, value| {
                if let Some(value) = value {
                    act(shell, &client, value);
                }
            })
            .build()
    };
    shell.add_action_entries([
        plain("look-again", |_, client| client.look_again()),
        plain("connect", |shell, client| connect(shell, client, &About::default())),
        plain("rename", rename),
        plain("multipath", multipath_dialog::open),
        plain("report", |shell, client| report::save(shell, client, shell.known())),
        with_text("choose", |shell, target| shell.choose(Choice::Target(target.to_owned()))),
        with_text("open", |shell, target| shell.open(target)),
        with_text("copy", |shell, text| shell.copy(text)),
        with_text("say", |shell, text| shell.say(text)),
        with_text("help", |shell, topic| help::show(topic, shell)),
        about("act", |shell, client, value| {
            if let Some((action, about)) = acts::parse_act(value) {
                act(shell, client.clone(), action, about);
            }
        }),
        about("do", |shell, client, value| {
            if let Some((deed, about)) = acts::parse_deed(value) {
                perform(shell, client.clone(), deed, about);
            }
        }),
    ]);
}

fn connect(shell: &Shell, client: Client, about: &About) {
    let targets = about.target.parse().into_iter().collect();
    let mut portal = about.portal.clone();
    if portal.is_empty() && !about.target.is_empty() {
        portal = shell.known().portal_of(&about.target);
    }
    connect_dialog::open(shell, client, shell.known(), Form { portal, targets, ..Form::default() });
}

fn disconnect(shell: &Shell, client: Client, targets: Vec<Iqn>, portal: &str) {
    let portal = portal.parse().ok();
    let wanted = targets.into_iter().map(|target| Wanted { target, portal: portal.clone() }).collect();
    disconnect_dialog::open(shell, client, &shell.known(), wanted);
}

fn rename(shell: &Shell, client: Client) {
    let (shell, name) = (shell.clone(), shell.known().facts().initiator);
    glib::spawn_future_local(async move {
        let Some(name) = name_dialog::ask(&shell, &name).await else { return };
        match client.call(Request::Rename(name)).await {
            Ok(_) => shell.say(&gettext("The initiator name is changed")),
            Err(fault) => complaint::complain(&shell, &fault),
        }
    });
}

/// A call without a dialog of its own.
fn call(shell: &Shell, client: Client, request: Request, done: String) {
    let shell = shell.clone();
    glib::spawn_future_local(async move {
        match client.call(request).await {
            Ok(_) => shell.say(&done),
            Err(fault) => complaint::complain(&shell, &fault),
        }
    });
}

fn forget(shell: &Shell, client: Client, target: Iqn) {
    let shell = shell.clone();
    glib::spawn_future_local(async move {
        let asked = Question::forget(&target.as_str().into());
        if question::ask(&shell, &asked).await {
            call(&shell, client, Request::Forget(target), gettext("Forgotten"));
        }
    });
}

/// An entry of a target's or a portal's menu.
fn perform(shell: &Shell, client: Client, deed: Deed, about: About) {
    let target: Option<Iqn> = about.target.parse().ok();
    match (deed, target) {
        (Deed::Connect, _) => connect(shell, client, &about),
        (Deed::Disconnect, Some(target)) => disconnect(shell, client, vec![target], &about.portal),
        (Deed::Diagnose, _) => diagnose_dialog::open(shell, client, shell.known(), about),
        (Deed::Rescan, Some(target)) => {
            call(shell, client, Request::Rescan(target), gettext("Looked for new disks and sizes"));
        }
        (Deed::ChangeChap, Some(target)) => chap_dialog::open(shell, client, target),
        (Deed::Forget, Some(target)) => forget(shell, client, target),
        (_, None) => {}
    }
}

/// A button of a remedy.
fn act(shell: &Shell, client: Client, action: Action, about: About) {
    let deed = match action {
        Action::TryAgain | Action::Refresh => return client.look_again(),
        Action::ChangeName => return rename(shell, client),
        Action::CopyName => return shell.copy(&shell.known().facts().initiator),
        Action::ShowSessions => return shell.open(&about.target),
        Action::DisconnectAll => return disconnect(shell, client, shell.known().connected(), ""),
        Action::SetUpMultipath => return multipath_dialog::open(shell, client),
        Action::Fix => return shell.examine(true),
        Action::SaveReport => return report::save(shell, client, shell.known()),
        Action::ShowAccess => return help::show("access", shell),
        Action::ShowInstall => return help::show("install", shell),
        Action::EnterChap if !about.target.is_empty() => Deed::ChangeChap,
        Action::Diagnose => Deed::Diagnose,
        Action::ShowUsers => Deed::Disconnect,
        Action::Rescan => Deed::Rescan,
        // What the way from an address to disks does.
        Action::EnterChap
        | Action::EnterMutualChap
        | Action::EnterDiscoveryChap
        | Action::ChangeAddress
        | Action::ChooseTarget
        | Action::FindTargets
        | Action::UseChangedDisk
        | Action::ForgetAndFind => Deed::Connect,
    };
    perform(shell, client, deed, about);
}
