//! Reads sessions with their LUNs: all of them, or those that are asked about.
//!
//! A LUN costs some thirty system calls, one that is not asked about at most four, and a session that is
//! not asked about three. `docs/performance.md` has the figures.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use iscsi_initiator_dbus::Portal;

use super::{
    Disk, Map, Session, Sysfs,
    folder::{Folder, plain},
    parts::in_parts,
    remembered::Inquiry,
    scope::Scope,
};

impl Sysfs {
    /// Every session, by its number. Leaves out what vanishes while it is read.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.sessions_in(&Scope::all())
    }

    /// The numbers of all sessions that there are, in order.
    pub(crate) fn sids(&self) -> Vec<u32> {
        Look::begin(self).map(|look| look.sids()).unwrap_or_default()
    }

    /// The numbers of the sessions that the software initiator has made.
    pub(crate) fn software_sessions(&self) -> BTreeSet<u32> {
        self.sids().into_iter().filter(|sid| self.is_of_software(*sid)).collect()
    }

    /// Every session, as if it had no LUN.
    pub(crate) fn sessions_without_disks(&self) -> Vec<Session> {
        let Some(mut look) = Look::begin(self) else { return Vec::new() };
        let sids = look.sids().into_iter();
        sids.filter_map(|sid| {
            let (target, portal) = (look.target(sid), look.portal(sid));
            look.rest(sid, target, portal, |_, _| Vec::new())
        })
        .collect()
    }

    /// These sessions, by their numbers.
    pub(crate) fn sessions_in(&self, scope: &Scope) -> Vec<Session> {
        let Some(mut look) = Look::begin(self) else { return Vec::new() };
        let sessions = look.sessions(scope);
        if scope.is_all() {
            let there: HashSet<String> =
                sessions.iter().flat_map(|session| &session.disks).map(Disk::address).collect();
            self.remembered.keep(|address| there.contains(address));
        }
        sessions
    }

    /// The same, and of the other sessions the disks that count as one with a disk of these: with its
    /// identifier, or in its map.
    pub(crate) fn sessions_around(&self, scope: &Scope) -> Vec<Session> {
        if scope.is_all() {
            return self.sessions();
        }
        Look::begin(self).map(|mut look| look.around(scope)).unwrap_or_default()
    }

    /// These sessions, with what is around them if that is asked for, and the numbers of all sessions that there are.
    pub(crate) fn sessions_and_numbers(&self, scope: &Scope, is_around: bool) -> (Vec<Session>, Vec<u32>) {
        let Some(mut look) = Look::begin(self) else { return (Vec::new(), Vec::new()) };
        let sessions = if is_around { look.around(scope) } else { look.sessions(scope) };
        (sessions, look.sids())
    }

    /// The sessions of a target in just this spelling, including those that are being set up or are stale.
    pub(crate) fn sids_of(&self, target: &str) -> BTreeSet<u32> {
        let Some(look) = Look::begin(self) else { return BTreeSet::new() };
        look.sids().into_iter().filter(|sid| look.target(*sid) == target).collect()
    }

    /// Reads sessions again: those with these numbers, which is extended by those of the known ones in the scope that
    /// have another state, or a LUN with another state, than is known. No event reports that. Where there is a scope,
    /// also those that only the kernel has, and those that only are known.
    pub(crate) fn again(
        &self,
        sids: &mut BTreeSet<u32>,
        known: &[Arc<Session>],
        scope: Option<&Scope>,
    ) -> Vec<Session> {
        if sids.is_empty() && scope.is_none() {
            return Vec::new();
        }
        let Some(mut look) = Look::begin(self) else {
            sids.extend(known.iter().map(|session| session.sid));
            return Vec::new();
        };
        if let Some(scope) = scope {
            sids.extend(look.other_than(known, scope, sids));
        }
        look.sessions(&Scope::numbered(sids.iter().copied()))
    }

    /// A known session with these of its LUNs, by their addresses, as they are now. `None` if all of it has to be read:
    /// it or a LUN of it is in another state than is known, or one of these is not known, or gone.
    pub(crate) fn with_luns(&self, known: &Session, luns: &BTreeSet<String>) -> Option<Session> {
        let mut look = Look::begin(self).filter(|look| look.is_as(known))?;
        let device = look.class.folder(&format!("session{}/device", known.sid)).ok()?;
        let mut session = known.clone();
        for address in luns {
            let disk = session.disks.iter_mut().find(|disk| disk.address() == *address)?;
            let folder = format!("target{}:{}:{}", disk.host, disk.channel, disk.id);
            *disk = look.disk(&device.folder(&folder).ok()?, address)?;
        }
        Some(session)
    }

    /// The targets that have a session.
    pub(crate) fn targets(&self) -> BTreeSet<String> {
        let Some(look) = Look::begin(self) else { return BTreeSet::new() };
        look.sids().into_iter().map(|sid| look.target(sid)).collect()
    }
}

/// What makes the disk of another session count as one with a disk that is asked about.
#[derive(Default)]
struct Kin {
    /// The identifiers of the disks that are asked about.
    wwids: HashSet<String>,
    /// The addresses of the other disks of their maps.
    addresses: HashSet<String>,
}

impl Kin {
    fn of(sysfs: &Sysfs, sessions: &[Session]) -> Self {
        let disks = || sessions.iter().flat_map(|session| &session.disks);
        let wwids = disks().map(|disk| disk.wwid.clone()).filter(|wwid| !wwid.is_empty()).collect();
        let names: HashSet<&str> = disks().map(|disk| disk.name.as_str()).collect();
        let maps: BTreeSet<&str> =
            disks().filter_map(|disk| disk.map.as_ref()).map(|map| map.device.as_str()).collect();
        let paths = maps.into_iter().flat_map(|device| sysfs.slaves(device));
        let others = paths.filter(|path| !names.contains(path.as_str()));
        Self { wwids, addresses: others.filter_map(|path| sysfs.address(&path)).collect() }
    }

    fn is_empty(&self) -> bool {
        self.wwids.is_empty() && self.addresses.is_empty()
    }
}

/// One look: the folders that it begins at, and what it has read already.
struct Look<'a> {
    sysfs: &'a Sysfs,
    class: Folder,
    connections: Option<Folder>,
    /// By device; `None` for one that is not a multipath map.
    maps: HashMap<String, Option<Map>>,
    /// The numbers of the sessions that there are, in order, once they were listed.
    sids: OnceCell<Vec<u32>>,
}

impl<'a> Look<'a> {
    /// `None` on a machine without iSCSI.
    fn begin(sysfs: &'a Sysfs) -> Option<Self> {
        let class = Folder::open(&sysfs.root.join("class/iscsi_session")).ok()?;
        let connections = Folder::open(&sysfs.root.join("class/iscsi_connection")).ok();
        Some(Self { sysfs, class, connections, maps: HashMap::new(), sids: OnceCell::new() })
    }

    /// The numbers of the sessions that there are, in order.
    fn sids(&self) -> Vec<u32> {
        let list = || {
            let names = self.class.names().into_iter();
            let mut sids: Vec<u32> =
                names.filter_map(|name| name.strip_prefix("session")?.parse().ok()).collect();
            sids.sort_unstable();
            sids
        };
        self.sids.get_or_init(list).clone()
    }

    fn around(&mut self, scope: &Scope) -> Vec<Session> {
        let mut sessions = self.sessions(scope);
        let kin = Kin::of(self.sysfs, &sessions);
        if !kin.is_empty() {
            let ours: BTreeSet<u32> = sessions.iter().map(|session| session.sid).collect();
            let others = self.sids().into_iter().filter(|sid| !ours.contains(sid));
            let others: Vec<Session> = others.filter_map(|sid| self.kin(sid, &kin)).collect();
            sessions.extend(others);
            sessions.sort_by_key(|session| session.sid);
        }
        sessions
    }

    fn sessions(&mut self, scope: &Scope) -> Vec<Session> {
        // Those with a number need not be looked for.
        let sids = scope.sids.as_ref().map_or_else(|| self.sids(), |sids| sids.iter().copied().collect());
        let sysfs = self.sysfs;
        let read = |look: &mut Look<'_>, sids: &[u32]| -> Vec<Session> {
            sids.iter().filter_map(|sid| look.session(*sid, scope)).collect()
        };
        in_parts(&sids, |sids| read(self, sids), |sids| Some(read(&mut Look::begin(sysfs)?, sids)))
    }

    /// Empty while the session is being set up.
    fn target(&self, sid: u32) -> String {
        self.class.attribute(&format!("session{sid}/targetname")).unwrap_or_default()
    }

    fn session(&mut self, sid: u32, scope: &Scope) -> Option<Session> {
        let target = self.target(sid);
        if !scope.has_target(&target) {
            return None;
        }
        let portal = self.portal(sid);
        if !scope.has_portal(portal.as_ref()) {
            return None;
        }
        self.rest(sid, target, portal, |look, device| look.disks(device, scope.is_brief))
    }

    /// Another session, if it has a disk that counts as one with another.
    fn kin(&mut self, sid: u32, kin: &Kin) -> Option<Session> {
        let device = self.class.folder(&format!("session{sid}/device")).ok()?;
        let mut found: Vec<(String, String)> = Vec::new();
        for target in targets(&device) {
            let Ok(folder) = device.folder(&target) else { continue };
            let is_kin = |address: &String| {
                let wwid = || folder.attribute(&format!("{address}/wwid")).unwrap_or_default();
                address.contains(':') && (kin.addresses.contains(address) || kin.wwids.contains(&wwid()))
            };
            found.extend(folder.names().into_iter().filter(is_kin).map(|address| (target.clone(), address)));
        }
        if found.is_empty() {
            return None;
        }
        let (target, portal) = (self.target(sid), self.portal(sid));
        self.rest(sid, target, portal, |look, device| {
            let read =
                |(target, address): &(String, String)| look.disk(&device.folder(target).ok()?, address);
            found.iter().filter_map(read).collect()
        })
    }

    fn rest(
        &mut self,
        sid: u32,
        target: String,
        portal: Option<Portal>,
        disks: impl FnOnce(&mut Self, &Folder) -> Vec<Disk>,
    ) -> Option<Session> {
        let own = self.class.folder(&format!("session{sid}")).ok()?;
        // Before the disks: if the scan was done by then, the disks are complete.
        let scanned = own.attribute("target_state").map(|state| state == "SCANNED");
        let mut disks = own.folder("device").map(|device| disks(self, &device)).unwrap_or_default();
        disks.sort_by_key(|disk| (disk.channel, disk.id, disk.lun));
        // Gone while it was read.
        let state = own.attribute("state")?;
        let host = match disks.first() {
            Some(disk) => Some(disk.host),
            None => self.sysfs.host_of(sid),
        };
        Some(Session {
            sid,
            target,
            portal,
            iface: own.attribute("ifacename").unwrap_or_else(|| "default".to_owned()),
            initiator: own.attribute("initiatorname").unwrap_or_default(),
            state,
            scanned,
            host: host.unwrap_or_default(),
            disks,
        })
    }

    /// The sessions whose states are other than is known, but for those that are read anyway.
    fn other_than(&self, known: &[Arc<Session>], scope: &Scope, anyway: &BTreeSet<u32>) -> BTreeSet<u32> {
        let there: BTreeSet<u32> = self.sids().into_iter().collect();
        let is_asked = |session: &&Arc<Session>| scope.has(session) && !anyway.contains(&session.sid);
        let asked: Vec<&Arc<Session>> = known.iter().filter(is_asked).collect();
        let read = |look: &Look<'_>, part: &[&Arc<Session>]| -> Vec<u32> {
            part.iter().filter(|session| !look.is_as(session)).map(|session| session.sid).collect()
        };
        let others =
            in_parts(&asked, |part| read(self, part), |part| Some(read(&Look::begin(self.sysfs)?, part)));
        let sids: BTreeSet<u32> = known.iter().map(|session| session.sid).collect();
        others.into_iter().chain(there.symmetric_difference(&sids).copied()).collect()
    }

    /// Whether its states, and those of its LUNs, are still the same.
    fn is_as(&self, session: &Session) -> bool {
        let Ok(own) = self.class.folder(&format!("session{}", session.sid)) else { return false };
        let scanned = own.attribute("target_state").map(|state| state == "SCANNED");
        if own.attribute("state").as_deref() != Some(session.state.as_str()) || scanned != session.scanned {
            return false;
        }
        if session.disks.is_empty() {
            return true;
        }
        let Ok(device) = own.folder("device") else { return false };
        session.disks.iter().all(|disk| {
            let Disk { host, channel, id, .. } = disk;
            let path = format!("target{host}:{channel}:{id}/{}/state", disk.address());
            device.attribute(&path).unwrap_or_default() == disk.state
        })
    }

    /// The portal asked for (`persistent_…`), which stays readable while the connection is down.
    fn portal(&self, sid: u32) -> Option<Portal> {
        let connections = self.connections.as_ref()?;
        let own = |name: &str| connections.attribute(&format!("connection{sid}:0/{name}"));
        let address = own("persistent_address").or_else(|| own("address"))?;
        let port = own("persistent_port").or_else(|| own("port"))?;
        let text =
            if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        text.parse().ok()
    }

    fn disks(&mut self, device: &Folder, is_brief: bool) -> Vec<Disk> {
        let mut disks = Vec::new();
        for target in targets(device) {
            let Ok(folder) = device.folder(&target) else { continue };
            let mut read = |address: &String| match is_brief {
                true => self.brief(&folder, address).map(|(disk, _)| disk),
                false => self.disk(&folder, address),
            };
            disks.extend(folder.names().iter().filter_map(&mut read));
        }
        disks
    }

    /// A LUN's address, its name and its map, and its folder.
    fn brief(&mut self, target: &Folder, address: &str) -> Option<(Disk, Folder)> {
        let mut numbers = address.split(':');
        let (host, channel, id) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let (host, channel, id) = (host.parse().ok()?, channel.parse().ok()?, id.parse().ok()?);
        let lun = numbers.next()?.parse().ok()?;
        let own = target.folder(address).ok()?;
        let name = own.name_in("block").unwrap_or_default();
        let map = if name.is_empty() { None } else { self.map_over(&own, &name) };
        Some((Disk { host, channel, id, lun, name, map, ..Disk::default() }, own))
    }

    fn disk(&mut self, target: &Folder, address: &str) -> Option<Disk> {
        let (brief, own) = self.brief(target, address)?;
        let text = |name: &str| own.attribute(name).unwrap_or_default();
        let Inquiry { vendor, model, is_disk } = self.inquiry(&own, address);
        let of_disk = |attribute: &str| match brief.name.as_str() {
            "" => None,
            name => own.attribute(&format!("block/{name}/{attribute}")),
        };
        Some(Disk {
            number: of_disk("dev").unwrap_or_default(),
            // In sectors of 512 bytes, whatever the disk's own sector size
            // (Documentation/ABI/stable/sysfs-block).
            size: of_disk("size")
                .and_then(|size| size.parse::<u64>().ok())
                .unwrap_or_default()
                .saturating_mul(512),
            vendor,
            model,
            wwid: text("wwid"),
            serial: serial(&own).unwrap_or_default(),
            state: text("state"),
            is_disk,
            // SPC-4, section 5.15.2.4, in the words of scsi_dh_alua; without that handler there is
            // no such attribute.
            is_standby: own.attribute("access_state").is_some_and(|state| !state.starts_with("active")),
            ..brief
        })
    }

    fn inquiry(&self, lun: &Folder, address: &str) -> Inquiry {
        // The folder's, before what is in it: it may be removed, and made again for another LUN.
        let identity = lun.identity();
        if let Some(known) = identity.and_then(|identity| self.sysfs.remembered.inquiry(address, identity)) {
            return known;
        }
        let (vendor, model) = (lun.attribute("vendor"), lun.attribute("model"));
        // The last of them: it is there, so were the others.
        let kind = lun.attribute("type");
        let inquiry = Inquiry {
            vendor: vendor.unwrap_or_default(),
            model: model.unwrap_or_default(),
            is_disk: kind.as_deref() == Some("0"),
        };
        if let (Some(identity), Some(_)) = (identity, kind) {
            self.sysfs.remembered.remember(address, identity, &inquiry);
        }
        inquiry
    }

    /// The multipath map that holds a disk. Its paths share what was read of it.
    fn map_over(&mut self, lun: &Folder, disk: &str) -> Option<Map> {
        let holders = lun.folder(&format!("block/{disk}/holders")).ok()?.names();
        holders.into_iter().find_map(|device| {
            let sysfs = self.sysfs;
            let map = self.maps.entry(device).or_insert_with_key(|device| sysfs.multipath_map(device));
            map.clone()
        })
    }
}

fn targets(device: &Folder) -> impl Iterator<Item = String> {
    device.names().into_iter().filter(|name| name.starts_with("target"))
}

/// The unit serial number in vital product data page 80h (SPC-4, section 7.8.15): a header of four bytes
/// with the length, then the text.
fn serial(lun: &Folder) -> Option<String> {
    let page = lun.read("vpd_pg80").ok()?;
    let (head, text) = page.split_at_checked(4)?;
    let length = head.iter().skip(2).fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    plain(text.get(..length.min(text.len()))?)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Iqn;
    use iscsi_initiator_fake::{
        Machine,
        machine::{Lun, Size, large_target},
    };

    use super::*;

    const PORTALS: [&str; 2] = ["192.0.2.21", "192.0.2.37"];

    /// Numbers that look random, and are the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, most: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % most
        }
    }

    /// Sessions of a few targets whose disks have identifiers and maps in common, also across targets.
    fn tangle(seed: u64) -> Machine {
        let (machine, mut numbers) = (Machine::new(), Numbers(seed));
        let mut count = 0;
        for _ in 0..=numbers.below(6) {
            let target = large_target(usize::try_from(numbers.below(3)).unwrap());
            machine.session(&target, PORTALS[usize::try_from(numbers.below(2)).unwrap()], "3260");
            for lun in 0..numbers.below(4) {
                let (name, number) = (format!("sd{}", char::from(b'a' + count)), format!("8:{count}"));
                let mut is = Lun::disk(numbers.below(5), 64);
                match numbers.below(6) {
                    0 => is.wwid.clear(),
                    1 => is.kind = 3,
                    _ => {}
                }
                machine.disk_as(&name, u32::try_from(lun).unwrap(), &number, &is);
                count += 1;
                let map = numbers.below(4);
                if map > 0 {
                    machine.stacked(
                        &name,
                        &format!("dm-{map}"),
                        &format!("mpath{map}"),
                        &format!("mpath-{map}"),
                    );
                    machine.put(&format!("sys/class/block/dm-{map}/slaves/{name}/x"), "", 0o444);
                }
            }
        }
        machine
    }

    fn scopes(machine: &Machine) -> Vec<Scope> {
        let target =
            |number: usize| -> Iqn { large_target(number).replace("large", "LARGE").parse().unwrap() };
        let portal = |at: usize| -> Vec<Portal> { vec![PORTALS[at].parse().unwrap()] };
        let sids = machine.sessions();
        let mut scopes = vec![Scope::all(), Scope::all().through(portal(0)), Scope::numbered([77])];
        scopes.extend((0..3).map(|number| Scope::of([&target(number)])));
        scopes.push(Scope::of([&target(0), &target(2)]));
        scopes.push(Scope::of([&target(1)]).through(portal(1)));
        scopes.extend(sids.iter().map(|sid| Scope::numbered([*sid])));
        scopes.push(Scope::numbered(sids.into_iter().take(2)));
        scopes
    }

    fn shared(sessions: &[Session]) -> Vec<Arc<Session>> {
        sessions.iter().cloned().map(Arc::new).collect()
    }

    #[test]
    fn a_scoped_look_is_what_a_look_at_everything_has_of_it() {
        for seed in 0..40 {
            let machine = tangle(seed);
            let sysfs = Sysfs::new(&machine.at("sys"));
            let all = sysfs.sessions();
            for scope in scopes(&machine) {
                let is_in = |session: &&Session| scope.has(session);
                let wanted: Vec<Session> = all.iter().filter(is_in).cloned().collect();
                assert_eq!(sysfs.sessions_in(&scope), wanted, "{seed}: {scope:?}");
                let mut briefly = wanted.clone();
                for disk in briefly.iter_mut().flat_map(|session| &mut session.disks) {
                    let Disk { host, channel, id, lun, name, map, .. } = std::mem::take(disk);
                    *disk = Disk { host, channel, id, lun, name, map, ..Disk::default() };
                }
                assert_eq!(sysfs.sessions_in(&scope.clone().in_brief()), briefly, "{seed}: {scope:?}");
                let ours = || wanted.iter().flat_map(|session| &session.disks);
                let is_kin = |disk: &Disk| {
                    ours().any(|own| {
                        let is_same = !own.wwid.is_empty() && own.wwid == disk.wwid;
                        is_same || (own.map.is_some() && own.map == disk.map)
                    })
                };
                let around = all.iter().filter_map(|session| {
                    if is_in(&session) {
                        return Some(session.clone());
                    }
                    let mut other = session.clone();
                    other.disks.retain(is_kin);
                    (!other.disks.is_empty()).then_some(other)
                });
                let around: Vec<Session> = around.collect();
                assert_eq!(sysfs.sessions_around(&scope), around, "{seed}: {scope:?}");
                assert_eq!(scope.around(&shared(&all)), shared(&around), "{seed}: {scope:?}");
            }
            let targets: BTreeSet<String> = all.iter().map(|session| session.target.clone()).collect();
            assert_eq!(sysfs.targets(), targets);
            let bare = |session: &Session| Session { disks: Vec::new(), ..session.clone() };
            assert_eq!(sysfs.sessions_without_disks(), all.iter().map(bare).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_lun_that_takes_the_place_of_another_is_read_anew() {
        let machine = Machine::new();
        machine.fill(Size { targets: 1, portals: 1, luns: 2, has_maps: false });
        let sysfs = Sysfs::new(&machine.at("sys"));
        let models = || {
            let disks = sysfs.sessions().remove(0).disks.into_iter();
            disks.map(|disk| (disk.vendor, disk.model, disk.is_disk)).collect::<Vec<_>>()
        };
        let disk = ("LIO-ORG".to_owned(), "TCMU device".to_owned(), true);
        for _ in 0..2 {
            assert_eq!(models(), [disk.clone(), disk.clone()]);
        }
        let lun = "sys/devices/platform/host3/session1/target3:0:0/3:0:0:1";
        machine.remove(lun);
        assert_eq!(models(), std::slice::from_ref(&disk));
        for (name, text) in [("vendor", "IET"), ("model", "VIRTUAL-DISK"), ("type", "5")] {
            machine.put(&format!("{lun}/{name}"), text, 0o444);
        }
        assert_eq!(models(), [disk, ("IET".to_owned(), "VIRTUAL-DISK".to_owned(), false)]);
    }
}
