//! What a portal listed and cannot be used: told to the caller, so that no target is missing without
//! a reason.
//! Must not repeat text that was not checked.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, hint};
use iscsi_initiator_probe::{self as probe, Place, Unusable};

/// What was left out of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct LeftOut {
    names: usize,
    addresses: usize,
    /// The targets that are listed at no usable address, each with one of those.
    nowhere: BTreeMap<Iqn, Place>,
}

impl LeftOut {
    /// What the probe left out.
    pub(super) fn of(left_out: probe::LeftOut) -> Self {
        let probe::LeftOut { names, addresses, unusable } = left_out;
        let mut all = Self { names, addresses, nowhere: BTreeMap::new() };
        for Unusable { target, place } in unusable {
            all.nowhere.entry(target).or_insert(place);
        }
        all
    }

    /// One more address, which the probe could not judge.
    pub(super) fn add(&mut self, target: &Iqn, place: Place) {
        self.addresses += 1;
        self.nowhere.entry(target.clone()).or_insert(place);
    }

    /// What the probe left out of a list.
    pub(in crate::engine) fn of_listing(listing: &probe::Listing) -> Self {
        let mut left_out = Self::of(listing.left_out.clone());
        left_out.keep_unreachable(listing.nodes.iter().map(|found| &found.target));
        left_out
    }

    /// A target with a usable address can be reached.
    pub(super) fn keep_unreachable<'a>(&mut self, reachable: impl Iterator<Item = &'a Iqn>) {
        let reachable: BTreeSet<&Iqn> = reachable.collect();
        self.nowhere.retain(|target, _| !reachable.contains(target));
    }

    /// Whether the target is listed, and only where it cannot be reached.
    pub(in crate::engine) fn has(&self, target: &Iqn) -> bool {
        self.nowhere.contains_key(target)
    }

    /// The fault for a target that is listed at unusable addresses only.
    pub(in crate::engine) fn fault(&self, target: &Iqn, portal: &Portal) -> Option<Fault> {
        let place = self.nowhere.get(target)?;
        let what = format!("{portal} lists {target} only where it cannot be reached: at {place}");
        Some(Fault::new(Kind::PortalUnreachable, what).hint(add_it(target, portal)))
    }

    /// The fault for a list in which nothing can be used. `None` if the list is empty.
    pub(in crate::engine) fn of_all(&self, portal: &Portal) -> Option<Fault> {
        if let Some((target, _)) = self.nowhere.first_key_value() {
            return match self.nowhere.len() {
                1 if self.names == 0 => self.fault(target, portal),
                _ => {
                    let what = format!("{portal} lists nothing that can be used: {}", self.told());
                    Some(Fault::new(Kind::PortalUnreachable, what).hint(add_it(target, portal)))
                }
            };
        }
        (self.names > 0).then(|| {
            let what = format!("{portal} lists nothing that can be used: {}", self.told());
            Fault::new(Kind::TargetRejected, what).hint(RENAME)
        })
    }

    /// What to say beside a list that can be used: the message, and the next step. `None` if nothing
    /// was left out.
    pub(in crate::engine) fn remark(&self, portal: &Portal) -> Option<(String, String)> {
        if self.names == 0 && self.addresses == 0 {
            return None;
        }
        let hint = match self.nowhere.first_key_value() {
            Some((target, _)) => add_it(target, portal),
            None if self.names > 0 => RENAME.to_owned(),
            None => String::new(),
        };
        Some((format!("{portal} also lists what was left out: {}", self.told()), hint))
    }

    /// How much, and why.
    pub(in crate::engine) fn told(&self) -> String {
        let mut parts = Vec::new();
        if self.names > 0 {
            parts.push(format!("{} that no iSCSI target can have", counted(self.names, "name")));
        }
        if self.addresses > 0 {
            parts.push(format!("{} that cannot be reached from here", counted(self.addresses, "address")));
        }
        if let Some((target, place)) = self.nowhere.first_key_value() {
            let more = match self.nowhere.len() {
                1 => String::new(),
                all => format!(", and {} more", counted(all.saturating_sub(1), "target")),
            };
            parts.push(format!("{target} only at {place}{more}"));
        }
        parts.join("; ")
    }
}

/// A limit of this service, of which the portal knows nothing.
pub(super) fn too_long(portal: &Portal, what: &str) -> Fault {
    Fault::new(Kind::Failed, format!("{portal} lists {what}, and this service handles no longer list"))
        .hint(hint!(
            "connect to one target at {PORTAL} by its name, with the option --target: iscsictl connect --help",
            PORTAL = portal
        ))
}

const RENAME: &str = "have the gateway's administrator rename these targets: an iSCSI name begins with iqn., eui. or \
                      naa., has at most 223 bytes and no blanks";

fn add_it(target: &Iqn, portal: &Portal) -> String {
    hint!(
        "if it can be reached at {PORTAL}, record it there: iscsictl add {TARGET} {PORTAL}",
        TARGET = target,
        PORTAL = portal
    )
}

fn counted(number: usize, what: &str) -> String {
    let plural = match (number, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Iqn {
        text.parse().unwrap()
    }

    fn portal() -> Portal {
        "[2001:db8::21]:3260".parse().unwrap()
    }

    fn unusable(target: &str, address: &str) -> Unusable {
        Unusable { target: name(target), place: Place::Nobody(address.parse().unwrap()) }
    }

    const ONE: &str = "iqn.2001-04.com.example:1";
    const TWO: &str = "iqn.2001-04.com.example:2";

    #[test]
    fn an_empty_list_is_empty_and_one_that_cannot_be_used_says_why() {
        let of = |names, unusable: Vec<Unusable>| {
            LeftOut::of(probe::LeftOut { names, addresses: unusable.len(), unusable })
        };
        assert_eq!((of(0, vec![]).of_all(&portal()), of(0, vec![]).remark(&portal())), (None, None));
        let one = of(0, vec![unusable(ONE, "0.0.0.0:3260")]);
        let fault = one.of_all(&portal()).unwrap();
        assert_eq!(fault.kind(), Kind::PortalUnreachable);
        for words in [ONE, "0.0.0.0:3260", "[2001:db8::21]:3260 lists"] {
            assert!(fault.message().contains(words), "{fault}");
        }
        assert!(fault.next_step().ends_with(&format!("iscsictl add {ONE} '[2001:db8::21]:3260'")), "{fault}");
        let fault = of(2, vec![]).of_all(&portal()).unwrap();
        assert!(fault.message().contains("2 names that no iSCSI target can have"), "{fault}");
        let both = of(1, vec![unusable(ONE, "0.0.0.0:3260"), unusable(TWO, "224.0.0.1:1")]);
        let fault = both.of_all(&portal()).unwrap();
        for words in ["1 name that", "2 addresses that", "and 1 target more"] {
            assert!(fault.message().contains(words), "{fault}");
        }
    }

    #[test]
    fn a_target_with_a_usable_address_is_not_nowhere() {
        let unusable = vec![unusable(ONE, "0.0.0.0:3260"), unusable(TWO, "0.0.0.0:3260")];
        let mut left_out = LeftOut::of(probe::LeftOut { names: 0, addresses: 2, unusable });
        left_out.add(&name(TWO), Place::Name("gw.invalid".into(), 3260));
        left_out.keep_unreachable([&name(ONE)].into_iter());
        assert!(left_out.has(&name(TWO)) && !left_out.has(&name(ONE)));
        assert_eq!(left_out.fault(&name(ONE), &portal()), None);
        let (message, hint) = left_out.remark(&portal()).unwrap();
        assert!(message.contains("3 addresses that") && message.contains(TWO), "{message}");
        assert!(hint.contains(&format!("iscsictl add {TWO} ")), "{hint}");
    }
}
