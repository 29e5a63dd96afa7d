//! When each portal with missing nodes is tried next: a table without a clock, a file or a connection of its own.
//!
//! Nodes at one portal are tried together, so that a portal that is away is asked once for all of them. A portal is
//! tried once at a time. After a try it waits 1 s, 2 s, and so on up to 60 s, a little less by chance: a gateway that
//! returns is not asked by all its initiators at once. A portal that does not answer costs a connection to try, so that
//! the pause is no longer than a part of the time that it has been away: its return is noticed soon.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal};
use tokio::time::Instant;

use crate::backend::open_iscsi::database::NodeKey;

/// How long to wait, from one try to the next.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Pace {
    /// After the first; doubled from there.
    pub(in crate::engine) first: Duration,
    /// What that grows to.
    pub(in crate::engine) longest: Duration,
    /// While a portal does not answer, the pause is no longer than this, or than this part of the time since it was first
    /// tried, whichever is more.
    pub(in crate::engine) away: (Duration, u32),
    /// After a LUN was refused because it is another disk: a person decides about that, and each try makes a session
    /// and ends it.
    pub(in crate::engine) refused: Duration,
}

pub(in crate::engine) const PACE: Pace = Pace {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
    away: (Duration::from_secs(3), 60),
    refused: Duration::from_secs(600),
};

/// How a portal is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Way {
    pub(in crate::engine) portal: Portal,
    /// The network interface that the nodes are bound to.
    pub(in crate::engine) interface: Option<String>,
}

/// The table.
#[derive(Debug)]
pub(in crate::engine) struct Plan {
    pace: Pace,
    ways: BTreeMap<Way, Turn>,
}

#[derive(Debug)]
struct Turn {
    nodes: BTreeMap<NodeKey, Lack>,
    /// Tries since it became missing, or since the network changed.
    tries: u32,
    /// The first of these.
    since: Instant,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    At(Instant),
    /// It is being tried. `again`: the network has changed since that began.
    Tried {
        again: bool,
    },
}

#[derive(Debug, Default)]
struct Lack {
    why: Option<Fault>,
    /// Not before this, because a person has to decide.
    rests_until: Option<Instant>,
}

/// What a look has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Seen {
    pub(in crate::engine) came: Vec<NodeKey>,
    pub(in crate::engine) gone: Vec<NodeKey>,
}

impl Plan {
    pub(in crate::engine) fn new(pace: Pace) -> Self {
        Self { pace, ways: BTreeMap::new() }
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.ways.values().all(|turn| turn.nodes.is_empty())
    }

    /// Takes what is missing now. What is known of `skipped` targets stays.
    pub(in crate::engine) fn see(
        &mut self,
        now: Instant,
        missing: &BTreeMap<NodeKey, Way>,
        skipped: &BTreeSet<Iqn>,
    ) -> Seen {
        let mut seen = Seen::default();
        for (way, turn) in &mut self.ways {
            turn.nodes.retain(|node, _| {
                let stays = skipped.contains(&node.target) || missing.get(node) == Some(way);
                if !stays {
                    seen.gone.push(node.clone());
                }
                stays
            });
        }
        // One that is being tried keeps its place until that has ended.
        self.ways.retain(|_, turn| !turn.nodes.is_empty() || matches!(turn.next, Next::Tried { .. }));
        for (node, way) in missing.iter().filter(|(node, _)| !skipped.contains(&node.target)) {
            let turn = self.ways.entry(way.clone()).or_insert_with(|| Turn {
                nodes: BTreeMap::new(),
                tries: 0,
                since: now,
                next: Next::At(now),
            });
            if turn.nodes.contains_key(node) {
                continue;
            }
            turn.nodes.insert(node.clone(), Lack::default());
            match &mut turn.next {
                Next::At(at) => *at = now.min(*at),
                Next::Tried { again } => *again = true,
            }
            seen.came.push(node.clone());
        }
        seen
    }

    /// The network has changed: each is tried once more at once, and soon after that.
    pub(in crate::engine) fn hurry(&mut self, now: Instant) {
        for turn in self.ways.values_mut() {
            (turn.tries, turn.since) = (0, now);
            match &mut turn.next {
                Next::At(at) => *at = now.min(*at),
                Next::Tried { again } => *again = true,
            }
        }
    }

    /// Those whose time has come. Each is tried from here on, until [`Plan::ended`].
    pub(in crate::engine) fn take(&mut self, now: Instant) -> Vec<(Way, Vec<NodeKey>)> {
        let mut taken = Vec::new();
        for (way, turn) in &mut self.ways {
            if turn.due().is_none_or(|due| due > now) {
                continue;
            }
            let is_ready = |missing: &Lack| missing.rests_until.is_none_or(|until| until <= now);
            let nodes = turn.nodes.iter().filter(|(_, missing)| is_ready(missing));
            taken.push((way.clone(), nodes.map(|(node, _)| node.clone()).collect()));
            turn.next = Next::Tried { again: false };
        }
        taken
    }

    /// What of these targets is missing by other ways because nothing answered there, or was not tried yet. What failed
    /// with anything else has its own pace.
    pub(in crate::engine) fn others(&self, way: &Way, targets: &BTreeSet<Iqn>) -> Vec<(Way, Vec<NodeKey>)> {
        let mut others = Vec::new();
        for (other, turn) in self.ways.iter().filter(|(other, _)| *other != way) {
            let is_silent = |lack: &Lack| lack.why.as_ref().is_none_or(|why| is_no_answer(why.kind()));
            let nodes =
                turn.nodes.iter().filter(|(node, lack)| targets.contains(&node.target) && is_silent(lack));
            let nodes: Vec<NodeKey> = nodes.map(|(node, _)| node.clone()).collect();
            if !nodes.is_empty() {
                others.push((other.clone(), nodes));
            }
        }
        others
    }

    /// When the next one is due.
    pub(in crate::engine) fn due(&self) -> Option<Instant> {
        self.ways.values().filter_map(Turn::due).min()
    }

    /// A try has ended, with what each node failed with. `chance` is any number. Returns the nodes that fail with
    /// another kind of error than before.
    pub(in crate::engine) fn ended(
        &mut self,
        way: &Way,
        now: Instant,
        faults: &BTreeMap<NodeKey, Fault>,
        chance: u64,
    ) -> Vec<(NodeKey, Fault)> {
        let Some(turn) = self.ways.get_mut(way) else { return Vec::new() };
        let mut changed = Vec::new();
        for (node, missing) in &mut turn.nodes {
            let Some(fault) = faults.get(node) else { continue };
            if missing.why.as_ref().map(Fault::kind) != Some(fault.kind()) {
                changed.push((node.clone(), fault.clone()));
            }
            missing.rests_until = is_for_a_person(fault.kind()).then(|| now + self.pace.refused);
            missing.why = Some(fault.clone());
        }
        let is_again = matches!(turn.next, Next::Tried { again: true });
        (turn.tries, turn.since) =
            if is_again { (0, now) } else { (turn.tries.saturating_add(1), turn.since) };
        let is_away = !faults.is_empty() && faults.values().all(|fault| is_no_answer(fault.kind()));
        let away = is_away.then(|| now.saturating_duration_since(turn.since));
        turn.next = Next::At(now + self.pace.after(turn.tries, away, chance));
        if turn.nodes.is_empty() {
            self.ways.remove(way);
        }
        changed
    }

    /// Why a node is missing, if it is: what its last try failed with.
    pub(in crate::engine) fn why(&self, node: &NodeKey) -> Option<Option<&Fault>> {
        self.ways.values().find_map(|turn| turn.nodes.get(node)).map(|missing| missing.why.as_ref())
    }

    /// Every missing node with that.
    pub(in crate::engine) fn all(&self) -> impl Iterator<Item = (&NodeKey, Option<&Fault>)> {
        let nodes = self.ways.values().flat_map(|turn| &turn.nodes);
        nodes.map(|(node, missing)| (node, missing.why.as_ref()))
    }
}

impl Turn {
    fn due(&self) -> Option<Instant> {
        let Next::At(at) = self.next else { return None };
        let ready = self.nodes.values().map(|missing| missing.rests_until.unwrap_or(at)).min()?;
        Some(at.max(ready))
    }
}

impl Pace {
    /// The pause after so many tries of a portal that has been `away` for some time, or answers: between three quarters
    /// of it and all of it.
    fn after(&self, tries: u32, away: Option<Duration>, chance: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(tries.saturating_sub(1).min(16));
        let (least, part) = self.away;
        let most = away.map_or(self.longest, |time| (time / part.max(1)).max(least).min(self.longest));
        let whole = self.first.saturating_mul(doubled).min(most);
        // Below 256.
        let part = u32::try_from(chance % 256).unwrap_or_default();
        whole / 1024 * (768 + part)
    }
}

/// Nothing answers: as a rule such a try is a connection and nothing more.
fn is_no_answer(kind: Kind) -> bool {
    matches!(kind, Kind::PortalUnreachable | Kind::TimedOut)
}

/// Another try fails in the same way, until someone decides.
fn is_for_a_person(kind: Kind) -> bool {
    kind == Kind::LunChanged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(target: usize, portal: usize) -> (NodeKey, Way) {
        let portal: Portal = format!("192.0.2.{portal}").parse().unwrap();
        let key = NodeKey {
            target: format!("iqn.2001-04.com.example:{target}").parse().unwrap(),
            portal: portal.clone(),
            tpgt: Some(1),
            iface: "default".into(),
            spelled: None,
        };
        (key, Way { portal, interface: None })
    }

    fn away() -> Fault {
        Fault::new(Kind::PortalUnreachable, "no reply")
    }

    fn refused() -> Fault {
        Fault::new(Kind::ChapRejected, "not now")
    }

    fn failed(nodes: &[NodeKey], fault: &Fault) -> BTreeMap<NodeKey, Fault> {
        nodes.iter().map(|node| (node.clone(), fault.clone())).collect()
    }

    #[test]
    fn a_portal_is_tried_at_once_and_then_less_and_less_often_for_all_its_nodes_together() {
        let mut plan = Plan::new(PACE);
        let begun = Instant::now();
        let missing = BTreeMap::from([node(1, 1), node(2, 1), node(1, 2)]);
        assert_eq!(plan.see(begun, &missing, &BTreeSet::new()).came.len(), 3);
        let taken = plan.take(begun);
        assert_eq!(taken.iter().map(|(_, nodes)| nodes.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(plan.take(begun).is_empty() && plan.due().is_none(), "each is being tried");
        let (way, nodes) = &taken[0];
        let (mut now, mut pauses) = (begun, Vec::new());
        for number in 0..9 {
            let changed = plan.ended(way, now, &failed(nodes, &refused()), 256 * number + 255);
            assert_eq!(changed.len(), if number == 0 { 2 } else { 0 }, "one word for each change");
            let due = plan.due().unwrap();
            pauses.push((due - now).as_secs_f64().round());
            now = due;
            assert_eq!(plan.take(now).len(), 1);
        }
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
        // The network has changed during a try: soon after it, from the beginning.
        plan.hurry(now);
        assert!(plan.take(now).is_empty());
        plan.ended(way, now, &failed(nodes, &away()), 0);
        assert!(plan.due().unwrap() <= now + PACE.first);
        plan.hurry(now);
        assert_eq!(plan.take(now).len(), 1, "at once");
    }

    #[test]
    fn the_return_of_a_portal_that_did_not_answer_is_noticed_soon() {
        let mut plan = Plan::new(PACE);
        let begun = Instant::now();
        plan.see(begun, &BTreeMap::from([node(1, 1)]), &BTreeSet::new());
        let (way, nodes) = plan.take(begun).remove(0);
        let mut now = begun;
        while now < begun + Duration::from_secs(7200) {
            // A try that nothing answers takes a while itself.
            now += Duration::from_secs(5);
            plan.ended(&way, now, &failed(&nodes, &away()), 255);
            let (due, away) = (plan.due().unwrap(), now - begun);
            assert!(due - now <= (away / 60).max(Duration::from_secs(3)), "{away:?}");
            assert!(due - now <= PACE.longest && due - now >= PACE.first * 3 / 4);
            now = due;
            assert_eq!(plan.take(now).len(), 1);
        }
        plan.ended(&way, now, &failed(&nodes, &away()), 255);
        assert!(plan.due().unwrap() - now > Duration::from_secs(50), "once a minute in the end");
    }

    #[test]
    fn a_node_that_comes_or_goes_during_a_try_is_not_tried_twice() {
        let mut plan = Plan::new(PACE);
        let now = Instant::now();
        let (one, way) = node(1, 1);
        let missing = BTreeMap::from([(one.clone(), way.clone())]);
        let nobody = BTreeSet::new();
        plan.see(now, &missing, &nobody);
        assert_eq!(plan.take(now).len(), 1);
        assert_eq!(plan.see(now, &BTreeMap::new(), &nobody).gone, std::slice::from_ref(&one));
        assert!(plan.is_empty());
        assert_eq!(plan.see(now, &missing, &nobody).came, std::slice::from_ref(&one));
        assert!(plan.take(now).is_empty() && plan.due().is_none(), "the first try has not ended");
        plan.ended(&way, now, &BTreeMap::new(), 0);
        assert!(plan.due().is_some_and(|due| due > now));
        // What a call works on is left as it is.
        let claimed = BTreeSet::from([one.target.clone()]);
        assert_eq!(plan.see(now, &BTreeMap::new(), &claimed), Seen::default());
        assert!(plan.why(&one).is_some());
    }

    #[test]
    fn another_disk_is_for_a_person_and_does_not_keep_the_portals_other_nodes() {
        let mut plan = Plan::new(PACE);
        let now = Instant::now();
        let ((changed, way), (other, _)) = (node(1, 1), node(2, 1));
        let missing = BTreeMap::from([(changed.clone(), way.clone()), (other.clone(), way.clone())]);
        plan.see(now, &missing, &BTreeSet::new());
        plan.take(now);
        let refused = Fault::new(Kind::LunChanged, "LUN 1 is another disk");
        let faults = BTreeMap::from([(changed.clone(), refused), (other.clone(), away())]);
        plan.ended(&way, now, &faults, 0);
        let later = now + PACE.longest;
        let elsewhere = node(1, 2).1;
        let targets = BTreeSet::from([changed.target.clone(), other.target.clone()]);
        assert_eq!(plan.others(&elsewhere, &targets), [(way.clone(), vec![other.clone()])]);
        assert_eq!(plan.others(&way, &targets), []);
        assert_eq!(plan.others(&elsewhere, &BTreeSet::from([changed.target.clone()])), []);
        assert_eq!(plan.take(later), [(way.clone(), vec![other])]);
        plan.ended(&way, later, &BTreeMap::new(), 0);
        plan.see(later, &BTreeMap::from([(changed, way)]), &BTreeSet::new());
        assert_eq!(plan.due(), Some(now + PACE.refused));
    }

    #[derive(Clone, Debug)]
    enum Event {
        See(Vec<(usize, usize)>),
        Skip(usize, Vec<(usize, usize)>),
        Hurry,
        Pass(u64),
        Take,
        End(usize, u64, bool),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let nodes = || proptest::collection::vec((0..3_usize, 0..3_usize), 0..6);
        let event = prop_oneof![
            nodes().prop_map(Event::See),
            (0..3_usize, nodes()).prop_map(|(target, nodes)| Event::Skip(target, nodes)),
            Just(Event::Hurry),
            (0..90_u64).prop_map(Event::Pass),
            Just(Event::Take),
            (0..3_usize, any::<u64>(), any::<bool>()).prop_map(|(at, chance, up)| Event::End(at, chance, up)),
        ];
        proptest::collection::vec(event, 0..60)
    }

    proptest! {
        /// Whatever happens in whatever order: no node is tried twice at a time, no pause is longer than the longest,
        /// and what is missing is either tried or due.
        #[test]
        fn a_node_is_tried_once_at_a_time_and_never_forgotten(events in events()) {
            let (mut plan, mut now) = (Plan::new(PACE), Instant::now());
            let mut running: BTreeMap<Way, Vec<NodeKey>> = BTreeMap::new();
            for event in events {
                match event {
                    Event::See(nodes) => {
                        let missing = nodes.into_iter().map(|(target, portal)| node(target, portal)).collect();
                        plan.see(now, &missing, &BTreeSet::new());
                        for node in missing.keys() {
                            prop_assert!(plan.why(node).is_some());
                        }
                        prop_assert_eq!(plan.all().count(), missing.len());
                    }
                    Event::Skip(target, nodes) => {
                        let missing = nodes.into_iter().map(|(target, portal)| node(target, portal)).collect();
                        plan.see(now, &missing, &BTreeSet::from([node(target, 0).0.target]));
                    }
                    Event::Hurry => plan.hurry(now),
                    Event::Pass(seconds) => now += Duration::from_secs(seconds),
                    Event::Take => {
                        for (way, nodes) in plan.take(now) {
                            prop_assert!(!nodes.is_empty());
                            prop_assert!(running.insert(way, nodes).is_none());
                        }
                    }
                    Event::End(at, chance, is_up) => {
                        let Some(way) = running.keys().nth(at % running.len().max(1)).cloned() else { continue };
                        let nodes = running.remove(&way).unwrap_or_default();
                        let faults = if is_up { BTreeMap::new() } else { failed(&nodes, &away()) };
                        plan.ended(&way, now, &faults, chance);
                    }
                }
                for (way, turn) in &plan.ways {
                    let is_running = running.contains_key(way);
                    prop_assert_eq!(is_running, matches!(turn.next, Next::Tried { .. }));
                    if let (false, Some(due)) = (is_running, turn.due()) {
                        prop_assert!(due <= now + PACE.longest);
                    }
                }
            }
        }
    }
}
