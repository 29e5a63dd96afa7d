//! The gateway beside the machine: targets with their LUNs and initiators, and the portals where they are.
//! Must not know sessions: it answers each login by what it has then, as LIO does (iscsi_target_nego.c).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{
    Core, Machine,
    model::Model,
    records::{Credentials, INITIATOR},
};
use crate::target::{
    Chap, Login, Script,
    listening::{Seen, serve},
    scsi::Unit,
};

/// iscsiadm's exit code, whether it was the name or the secret.
const NOT_ALLOWED: i32 = 24;

/// A target of the gateway.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: String,
    pub luns: BTreeMap<u64, Lun>,
    /// The initiators that it knows, and what each must prove. Empty: everybody may come.
    pub initiators: BTreeMap<String, Option<Chap>>,
    pub is_enabled: bool,
}

/// A disk of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lun {
    /// In bytes.
    pub size: u64,
    /// As sysfs shows it: `naa.6001405…`.
    pub wwid: String,
    pub vendor: String,
    pub model: String,
    /// 0 is a disk (SPC-4, table 143).
    pub kind: u8,
}

/// Where the gateway listens.
#[derive(Debug, Default)]
pub(super) struct Portal {
    /// The names of the targets that are here.
    pub(super) targets: BTreeSet<String>,
    /// Takes connections, and does not say a word.
    pub(super) is_silent: bool,
    /// Nothing gets here or away.
    pub(super) is_cut: bool,
    task: Option<AbortHandle>,
    seen: Arc<Seen>,
}

impl Lun {
    /// A disk of this size in MiB; `number` becomes its identifier.
    pub fn disk(number: u64, megabytes: u64) -> Self {
        Self {
            size: megabytes << 20,
            wwid: format!("naa.6001405{number:025x}"),
            vendor: "LIO-ORG".to_owned(),
            model: "TCMU device".to_owned(),
            kind: 0,
        }
    }

    /// What multipath and udev know it by (scsi_id's `ID_SERIAL`).
    pub(super) fn serial(&self) -> String {
        self.wwid.strip_prefix("naa.").map_or_else(|| self.wwid.clone(), |number| format!("3{number}"))
    }
}

impl Target {
    /// A target with these LUNs, from 0 on, to which everybody may come.
    pub fn new(name: &str, luns: impl IntoIterator<Item = Lun>) -> Self {
        let luns = (0..).zip(luns).collect();
        Self { name: name.to_owned(), luns, initiators: BTreeMap::new(), is_enabled: true }
    }

    /// The same, for this initiator as well.
    pub fn for_initiator(mut self, name: &str, chap: Option<Chap>) -> Self {
        self.initiators.insert(name.to_owned(), chap);
        self
    }
}

impl Model {
    /// The target that is at the portal and would let the initiator in, with what it wants proved; or the class and
    /// detail of its refusal.
    fn welcome(&self, at: SocketAddr, login: &Login) -> Result<(&Target, Option<&Chap>), (u8, u8)> {
        let name = login.target.as_deref().unwrap_or_default();
        let is_here = self.portals.get(&at).is_some_and(|portal| portal.targets.contains(name));
        // LIO says "service unavailable" also of a target that it does not have.
        let target = self.targets.get(name).filter(|target| is_here && target.is_enabled);
        let target = target.ok_or((3, 1))?;
        if target.initiators.is_empty() {
            return Ok((target, None));
        }
        let chap = target.initiators.get(&login.initiator).ok_or((2, 2))?;
        Ok((target, chap.as_ref()))
    }

    /// What a portal plays to who has sent this.
    fn script(&self, at: SocketAddr, login: &Login) -> Script {
        let portal = self.portals.get(&at);
        if portal.is_none_or(|portal| portal.is_silent || portal.is_cut) {
            return Script { is_silent: true, ..Script::default() };
        }
        if login.target.is_none() {
            return self.list(at);
        }
        match self.welcome(at, login) {
            Err(status) => Script { refuses: Some(status), ..Script::default() },
            Ok((target, chap)) => {
                let unit = |(lun, is): (&u64, &Lun)| Unit {
                    lun: *lun,
                    kind: is.kind,
                    vendor: is.vendor.clone(),
                    product: is.model.clone(),
                };
                let units = target.luns.iter().map(unit).collect();
                Script { chap: chap.cloned(), units, ..Script::default() }
            }
        }
    }

    /// Every target that can be reached at the portal, with all of its portals.
    fn list(&self, at: SocketAddr) -> Script {
        let here =
            |name: &&String| self.portals.get(&at).is_some_and(|portal| portal.targets.contains(*name));
        let enabled = self.targets.iter().filter(|(_, target)| target.is_enabled);
        let names = enabled.map(|(name, _)| name).filter(here);
        let mut listed = Vec::new();
        for name in names {
            let portals = self.portals.iter().filter(|(_, portal)| portal.targets.contains(name));
            listed
                .push((name.clone(), portals.map(|(address, _)| format!("{address},1")).collect::<Vec<_>>()));
        }
        let mut list = Vec::new();
        for (name, addresses) in listed {
            list.extend(format!("TargetName={name}\0").bytes());
            addresses.iter().for_each(|at| list.extend(format!("TargetAddress={at}\0").bytes()));
        }
        Script { list: Arc::new(list), ..Script::default() }
    }

    /// What a login of iscsid's comes to: the LUNs, or iscsiadm's exit code.
    pub(super) fn log_in(
        &self,
        at: SocketAddr,
        login: &Login,
        has: &Credentials,
    ) -> Result<BTreeMap<u64, Lun>, i32> {
        let portal = self.portals.get(&at).filter(|portal| !portal.is_silent && !portal.is_cut);
        // iscsid would go on for its retries first.
        portal.ok_or(8)?;
        let code = |(class, _)| if class == 2 { NOT_ALLOWED } else { 8 };
        let (target, chap) = self.welcome(at, login).map_err(code)?;
        match (chap, &has.chap) {
            (Some(chap), Some((name, secret)))
                if *name == chap.username
                    && *secret == chap.secret
                    && has.algorithms.contains(&chap.algorithm) => {}
            (Some(_), _) => return Err(NOT_ALLOWED),
            (None, _) => {}
        }
        // The target proves itself with what it has, and iscsid checks that.
        if has.target.is_some() && has.target != chap.and_then(|chap| chap.own.clone()) {
            return Err(19);
        }
        Ok(target.luns.clone())
    }
}

impl Machine {
    /// The gateway gets what Ceph's has: two portals, and a target with two LUNs for this machine, which proves itself
    /// with this CHAP. The portals.
    pub fn add_gateway(&self, target: &str, chap: Chap) -> [SocketAddr; 2] {
        let portals = ["127.0.0.1", "127.0.0.2"].map(|address| self.add_portal(address));
        let target = Target::new(target, [Lun::disk(1, 64), Lun::disk(2, 128)]);
        self.add_target(target.for_initiator(INITIATOR, Some(chap)), &portals);
        portals
    }

    /// The gateway gets a portal at this address of the loopback, at a free port that no other portal of it has: tests
    /// tell them apart by it.
    pub fn add_portal(&self, address: &str) -> SocketAddr {
        let address: IpAddr = address.parse().unwrap();
        let has = |port| self.core.model().portals.keys().any(|portal| portal.port() == port);
        let bound = std::iter::repeat_with(|| TcpListener::bind((address, 0)).unwrap());
        let mut others = bound.take(100).filter(|listener| !has(listener.local_addr().unwrap().port()));
        self.core.listen(others.next().expect("a free port"))
    }

    /// The gateway gets a target, at these portals; one of its name is replaced.
    pub fn add_target(&self, target: Target, portals: &[SocketAddr]) {
        let mut model = self.core.model();
        for (at, portal) in &mut model.portals {
            if portals.contains(at) {
                portal.targets.insert(target.name.clone());
            } else {
                portal.targets.remove(&target.name);
            }
        }
        model.targets.insert(target.name.clone(), target);
    }

    /// Changes a target; who is logged in sees it at the next rescan.
    pub fn change_target(&self, name: &str, change: impl FnOnce(&mut Target)) {
        let mut model = self.core.model();
        change(model.targets.get_mut(name).unwrap_or_else(|| panic!("the gateway has no target {name}")));
    }

    /// The gateway does not have the target any more.
    pub fn lose_target(&self, name: &str) {
        self.core.model().targets.remove(name);
    }

    /// The portal takes connections and says nothing, or speaks again.
    pub fn silence(&self, portal: SocketAddr, is_silent: bool) {
        if let Some(portal) = self.core.model().portals.get_mut(&portal) {
            portal.is_silent = is_silent;
        }
    }

    /// Nobody listens at the portal any more: connections are refused.
    pub fn close_portal(&self, at: SocketAddr) {
        let task = self.core.model().portals.get_mut(&at).and_then(|portal| portal.task.take());
        let Some(task) = task else { return };
        task.abort();
        // Until it has ended, the port still takes connections, which are then hung up on.
        let ended = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(1));
            task.is_finished()
        });
        assert!(ended.take(10_000).any(|it| it), "{at} is not closed");
    }

    /// Somebody listens there again.
    pub fn open_portal(&self, at: SocketAddr) {
        if self.core.model().portals.get(&at).is_some_and(|portal| portal.task.is_some()) {
            return;
        }
        // The one before may not have ended yet.
        let listener = std::iter::repeat_with(|| {
            TcpListener::bind(at).inspect_err(|_| std::thread::sleep(Duration::from_millis(5)))
        });
        self.core.listen(listener.take(1000).find_map(Result::ok).expect("the port is free again"));
    }

    /// How many connections there were to a portal.
    pub fn visits(&self, at: SocketAddr) -> usize {
        self.core.model().portals.get(&at).map_or(0, |portal| portal.seen.visits())
    }
}

impl Core {
    fn listen(self: &Arc<Self>, listener: TcpListener) -> SocketAddr {
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let mut model = self.model();
        let portal = model.portals.entry(at).or_default();
        let (core, seen) = (Arc::downgrade(self), Arc::clone(&portal.seen));
        let choose = move |login: &Login| {
            core.upgrade().map_or_else(Script::default, |core| core.model().script(at, login))
        };
        let task = self.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(listener, seen, choose).await;
        });
        portal.task = Some(task.abort_handle());
        at
    }
}
