//! What there is to choose, and what became of it.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    results::{ChapMode, Login, LoginOutcome, Node, NodeState},
};

use crate::remedy::{Details, Place, Remedy};

/// A target that the portal lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub target: Iqn,
    /// Its portals, as listed.
    pub portals: Vec<String>,
    /// Whether it is connected at one of them.
    pub is_connected: bool,
    /// Whether credentials are recorded for it.
    pub has_chap: bool,
}

/// The targets of a list, by name. What is recorded and not listed any more is left out, as is a name that no call takes.
pub(super) fn offers(nodes: &[Node]) -> Vec<Offer> {
    let mut offers: BTreeMap<String, Offer> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.state != NodeState::Gone) {
        let Ok(target) = node.target.parse::<Iqn>() else { continue };
        let offer = offers.entry(target.canonical()).or_insert_with(|| Offer {
            target,
            portals: Vec::new(),
            is_connected: false,
            has_chap: false,
        });
        if !offer.portals.contains(&node.portal) {
            offer.portals.push(node.portal.clone());
        }
        offer.is_connected |= node.logged_in;
        offer.has_chap |= matches!(node.chap, ChapMode::OneWay | ChapMode::Mutual);
    }
    offers.into_values().collect()
}

/// What became of a portal.
#[derive(Clone, Debug, PartialEq)]
pub struct PortalResult {
    /// The target.
    pub target: String,
    /// The portal.
    pub portal: String,
    /// Whether there is a session that works.
    pub is_up: bool,
    /// Its disks by kernel name, in the order of their LUNs.
    pub devices: Vec<String>,
    /// What is worth knowing although it worked, in the daemon's words; usually empty.
    pub remark: Details,
    /// What to do, where it did not.
    pub remedy: Option<Remedy>,
}

/// What became of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Each portal.
    pub portals: Vec<PortalResult>,
    /// The disks as they are used: multipath maps, each once, and then devices of portals without a map.
    pub disks: Vec<String>,
}

impl Outcome {
    /// Whether some portals failed.
    pub fn is_partial(&self) -> bool {
        self.portals.iter().any(|portal| !portal.is_up)
    }
}

/// What an answer of `Connect` says; an error if it says that no portal worked.
pub(super) fn outcome(logins: &[Login], place: &Place) -> Result<Outcome, Fault> {
    let portals: Vec<PortalResult> = logins.iter().map(|login| result(login, place)).collect();
    if !portals.iter().any(|portal| portal.is_up) {
        return Err(most_telling(logins));
    }
    let mut disks: Vec<String> = Vec::new();
    let mut add = |name: &String| {
        if !name.is_empty() && !disks.contains(name) {
            disks.push(name.clone());
        }
    };
    for login in logins {
        login.maps.iter().chain([&login.map]).for_each(&mut add);
    }
    for login in logins.iter().filter(|login| login.maps.is_empty() && login.map.is_empty()) {
        login.devices.iter().for_each(&mut add);
    }
    Ok(Outcome { portals, disks })
}

fn result(login: &Login, place: &Place) -> PortalResult {
    // With a word that is newer than this program, the error decides.
    let is_up = login.outcome != LoginOutcome::Failed && login.error.is_empty();
    let here = Place { portal: login.portal.clone(), target: login.target.clone(), ..place.clone() };
    let remedy = (!is_up).then(|| Remedy::of_entry(&login.error, &login.message, &login.hint, &here));
    let (message, hint) = (login.message.clone(), login.hint.clone());
    let remark = if is_up { Details { error: String::new(), message, hint } } else { Details::default() };
    let (target, portal, devices) = (login.target.clone(), login.portal.clone(), login.devices.clone());
    PortalResult { target, portal, is_up, devices, remark, remedy }
}

/// The daemon answers an error if every portal failed; should it not, the most telling reason counts.
fn most_telling(logins: &[Login]) -> Fault {
    let kind = |login: &&Login| login.error.parse().unwrap_or(Kind::Failed);
    match logins.iter().min_by_key(|login| kind(login).rank()) {
        Some(login) => Fault::new(kind(&login), &login.message).hint(&login.hint),
        None => Fault::new(Kind::Failed, "the answer has no portal"),
    }
}
