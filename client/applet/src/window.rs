//! What is seen: sees the model and sends commands, never the bus.
//! Must not show what comes from outside as markup.
//!
//! | room | what it is |
//! |---|---|
//! | `actions` | what buttons and keys of the window do |
//! | `acts` | what the buttons of remedies and the entries of menus do |
//! | `chap_dialog` | changes user name and secret of a target |
//! | `choice` | [`Choice`](choice::Choice): which page is shown |
//! | `complaint` | says what became of a call that has no dialog |
//! | `connect_dialog` | from an address to disks |
//! | `deed_menu` | what can be done with a target, as a menu |
//! | `details` | [`Details`](details::Details): what the daemon said, in its own words |
//! | `diagnose_dialog` | why a target does not work, check by check |
//! | `diagram` | the paths of a target as a picture |
//! | `disconnect_dialog` | disconnects targets, after what uses them was shown |
//! | `disk_row` | a disk, with its path to copy |
//! | `finding_row` | something that was examined |
//! | `help` | how to get the service, or permission for it |
//! | `keyed` | rows of a list that stay as long as what they show |
//! | `known` | what is known, for whatever is open beside the list |
//! | `look` | icon and colour of a level |
//! | `machine_page` | this machine: its name, its service, what is wrong with it |
//! | `multipath_dialog` | sets multipath up, after the difference was shown |
//! | `name_dialog` | asks for another initiator name |
//! | `names` | what a disk is called in `/dev` |
//! | `note_row` | what needs attention, and what to do about it |
//! | `portal_row` | a portal and its session |
//! | `question` | asks something before it is done |
//! | `report` | what is needed to ask for help, as a file |
//! | `said` | texts in a dialog |
//! | `sheet` | a dialog that shows one thing at a time |
//! | `shell` | [`Shell`](shell::Shell): list and page beside each other, or one at a time |
//! | `target_list` | the targets |
//! | `target_page` | a target: its health, paths, disks and portals |
//! | `target_row` | a target in the list |
//! | `trouble_page` | why there is nothing to show |
//! | `work_view` | a call that is running |

mod actions;
mod acts;
mod chap_dialog;
mod choice;
mod complaint;
mod connect_dialog;
mod deed_menu;
mod details;
mod diagnose_dialog;
mod diagram;
mod disconnect_dialog;
mod disk_row;
mod finding_row;
mod help;
mod keyed;
mod known;
mod look;
mod machine_page;
mod multipath_dialog;
mod name_dialog;
mod names;
mod note_row;
mod portal_row;
mod question;
mod report;
mod said;
mod sheet;
mod shell;
mod target_list;
mod target_page;
mod target_row;
mod trouble_page;
mod work_view;

use adw::prelude::*;
use async_channel::Receiver;

use self::shell::Shell;
use crate::bus::{Client, State};

/// Opens the window, which shows what is known as soon as it is.
pub(crate) fn open(app: &impl IsA<gtk::Application>, client: Client, states: Receiver<State>) {
    let shell = Shell::new(app, client.clone());
    actions::add(&shell, client);
    shell.follow(states);
    shell.present();
}
