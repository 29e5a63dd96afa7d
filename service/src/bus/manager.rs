//! The interface `org.cloudatlas.IscsiInitiator`.
//! Must not hold a lock, or state but for the numbers of its callers' jobs: every method takes `&self`.

use std::{sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Portal,
    fault::Result,
    options::{
        self, AddOptions, Chap, ChapChange, ConnectOptions, DiagnoseOptions, Dict, DiscoverOptions,
        ExamineOptions, HoldOptions, LoginOptions, LogoutOptions, MultipathOptions, PathFilter,
        RescanOptions,
    },
    results::{Check, Finding, Holder, List, Login, Logout, MultipathChange, Node, Rescan, Startup},
};
use iscsi_initiator_polkit::{Action, Details, Gate, Grant};
use zbus::{message::Header, object_server::SignalEmitter};

use super::{
    consent::sender,
    jobs::{Job, Jobs},
    progress, secret_fd,
    watchers::Watchers,
};
use crate::{
    backend::{host::cancel::Cancel, open_iscsi::database::chap::ChapSecrets},
    engine::{
        Engine,
        call::{Call, Progress},
        login::connect::Connection,
        records::discover::Discovery,
        turns::activity::Activity,
    },
};

/// The object that serves the interface.
pub(crate) struct Manager {
    engine: Arc<Engine>,
    gate: Gate,
    activity: Activity,
    jobs: Jobs,
    watchers: Watchers,
}

impl Manager {
    /// An interface on this engine. `gate` authorizes its callers.
    pub(crate) fn new(engine: Arc<Engine>, gate: Gate, activity: Activity, watchers: Watchers) -> Self {
        Self { engine, gate, activity, jobs: Jobs::default(), watchers }
    }

    /// A long call begins, before polkit is asked.
    fn begin<'a>(&self, call: &Header<'_>, emitter: SignalEmitter<'a>, id: Option<u32>) -> Result<Job<'a>> {
        self.jobs.begin(call, emitter, ("options.job", id))
    }

    async fn ask(
        &self,
        call: &Header<'_>,
        action: Action,
        target: Option<&Iqn>,
        portal: Option<&Portal>,
    ) -> Result<Grant> {
        self.gate.ask(call, action, Details { target, portal, interface: None }).await
    }
}

#[zbus::interface(name = "org.cloudatlas.IscsiInitiator")]
impl Manager {
    #[zbus(out_args("nodes"))]
    async fn discover(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Node>> {
        let _call = self.activity.begin();
        let portal =
            options::portal("portal", portal)?.ok_or_else(|| Fault::invalid("portal", "is missing"))?;
        let options = DiscoverOptions::parse(options)?;
        self.engine.check_interface(options.interface.as_deref())?;
        let job = self.begin(&call, emitter, options.job)?;
        let details =
            Details { target: None, portal: Some(&portal), interface: options.interface.as_deref() };
        let asking = async {
            let grant = self.gate.ask(&call, Action::Discover, details).await?;
            let chap = secrets(&grant, options.chap).await?;
            Ok((grant, chap))
        };
        let (grant, chap) = job.ask(asking).await?;
        let discovery = Discovery {
            timeout: options.timeout,
            startup: options.startup,
            interface: options.interface,
            chap,
        };
        job.run(emit_progress, async |steps| {
            let granted = job.call(grant, discovery.timeout, steps);
            let consent = sender(&self.gate, &call, job.cancelled())?;
            self.engine.discover(&granted, discovery, consent).await
        })
        .await
    }

    #[zbus(out_args("portals"))]
    async fn login(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        target: &str,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Login>> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let portal = options::portal("portal", portal)?;
        let options = LoginOptions::parse(options)?;
        let job = self.begin(&call, emitter, options.job)?;
        let grant = job.ask(self.ask(&call, Action::Login, Some(&target), portal.as_ref())).await?;
        job.run(emit_progress, async |steps| {
            self.engine.login(&job.call(grant, options.timeout, steps), &options).await
        })
        .await
    }

    #[zbus(out_args("portals"))]
    async fn logout(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        target: &str,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Logout>> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let portal = options::portal("portal", portal)?;
        let options = LogoutOptions::parse(options)?;
        let action = if options.force { Action::LogoutInUse } else { Action::Logout };
        let job = self.begin(&call, emitter, options.job)?;
        let grant = job.ask(self.ask(&call, action, Some(&target), portal.as_ref())).await?;
        job.run(emit_progress, async |steps| {
            self.engine.logout(&job.call(grant, options.timeout, steps), &options).await
        })
        .await
    }

    #[zbus(out_args("holders"))]
    async fn check_in_use(
        &self,
        #[zbus(header)] call: Header<'_>,
        target: &str,
        portal: &str,
    ) -> Result<Vec<Holder>> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let portal = options::portal("portal", portal)?;
        let grant = self.ask(&call, Action::Logout, Some(&target), portal.as_ref()).await?;
        self.engine.check_in_use(&call_of(grant, None)).await
    }

    async fn hold(
        &self,
        #[zbus(header)] call: Header<'_>,
        target: &str,
        holder: &str,
        options: Dict,
    ) -> Result<()> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let holder = options::holder("holder", holder)?;
        let options = HoldOptions::parse(options)?;
        let grant = self.ask(&call, Action::Login, Some(&target), None).await?;
        self.engine.hold(&call_of(grant, options.timeout), holder, options.until_released).await
    }

    async fn release(&self, #[zbus(header)] call: Header<'_>, target: &str, holder: &str) -> Result<()> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let holder = options::holder("holder", holder)?;
        let grant = self.ask(&call, Action::Logout, Some(&target), None).await?;
        self.engine.release(&call_of(grant, None), holder).await
    }

    async fn set_chap(
        &self,
        #[zbus(header)] call: Header<'_>,
        target: &str,
        portal: &str,
        chap: Dict,
    ) -> Result<()> {
        let _call = self.activity.begin();
        let target = if target.is_empty() { None } else { Some(options::target("target", target)?) };
        let portal = options::portal("portal", portal)?;
        let change = ChapChange::parse(chap)?;
        let grant = self.ask(&call, Action::SetChap, target.as_ref(), portal.as_ref()).await?;
        let secrets = match change {
            ChapChange::Set(chap) => Some(secret_fd::read("chap", chap, grant.caller().uid()).await?),
            ChapChange::Clear => None,
        };
        self.engine.set_chap(&call_of(grant, None), secrets).await
    }

    #[zbus(out_args("paths"))]
    async fn list_paths(&self, #[zbus(header)] call: Header<'_>, filter: Dict) -> Result<List> {
        let _call = self.activity.begin();
        let filter = PathFilter::parse(filter)?;
        let grant =
            self.ask(&call, Action::ListPaths, filter.target.as_ref(), filter.portal.as_ref()).await?;
        Ok(List::to(&call, self.engine.list_paths(&call_of(grant, None), &filter).await?))
    }

    #[zbus(out_args("nodes"))]
    async fn list_nodes(&self, #[zbus(header)] call: Header<'_>, filter: Dict) -> Result<List> {
        let _call = self.activity.begin();
        let filter = PathFilter::parse_for_nodes(filter)?;
        let grant =
            self.ask(&call, Action::ListPaths, filter.target.as_ref(), filter.portal.as_ref()).await?;
        Ok(List::to(&call, self.engine.list_nodes(&call_of(grant, None), &filter).await?))
    }

    #[zbus(out_args("checks"))]
    async fn diagnose(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        target: &str,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Check>> {
        let _call = self.activity.begin();
        let target = if target.is_empty() { None } else { Some(options::target("target", target)?) };
        let portal = options::portal("portal", portal)?;
        if target.is_none() && portal.is_none() {
            return Err(Fault::invalid(
                "target",
                "is missing, and so is the portal: at least one of them is required",
            ));
        }
        let options = DiagnoseOptions::parse(options)?;
        let job = self.begin(&call, emitter, options.job)?;
        let asking = async {
            let grant = self.ask(&call, Action::Login, target.as_ref(), portal.as_ref()).await?;
            let chap = secrets(&grant, options.chap).await?;
            Ok((grant, chap))
        };
        let (grant, chap) = job.ask(asking).await?;
        job.run(emit_progress, async |steps| {
            let granted = job.call(grant, options.timeout, steps);
            self.engine.diagnose(&granted, chap, sender(&self.gate, &call, job.cancelled())?).await
        })
        .await
    }

    #[zbus(out_args("portals"))]
    async fn connect(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Login>> {
        let _call = self.activity.begin();
        let portal =
            options::portal("portal", portal)?.ok_or_else(|| Fault::invalid("portal", "is missing"))?;
        let options = ConnectOptions::parse(options)?;
        self.engine.check_interface(options.interface.as_deref())?;
        let details =
            |target| Details { target, portal: Some(&portal), interface: options.interface.as_deref() };
        let argument = if options.job.is_some() { "options.job" } else { "options.progress" };
        let job = self.jobs.begin(&call, emitter, (argument, options.number()))?;
        // Each by its name. Where none is named, the engine asks again about the one that it finds.
        let (first, rest) = match options.targets.split_first() {
            Some((first, rest)) => (Some(first), rest),
            None => (None, &[][..]),
        };
        let asking = async {
            let grant = self.gate.ask(&call, Action::Connect, details(first)).await?;
            let mut also = Vec::new();
            for target in rest {
                also.push(self.gate.ask(&call, Action::Connect, details(Some(target))).await?);
            }
            if options.startup == Some(Startup::Automatic) {
                for target in &options.targets {
                    also.push(self.gate.ask(&call, Action::Login, details(Some(target))).await?);
                }
            }
            let chap = secrets(&grant, options.chap).await?;
            Ok((grant, also, chap))
        };
        let (grant, also, chap) = job.ask(asking).await?;
        let connection = Connection {
            timeout: options.timeout,
            startup: options.startup,
            wait: options.wait,
            accept_changed_luns: options.accept_changed_luns,
            interface: options.interface,
            chap,
        };
        job.run(emit_progress, async |steps| {
            let granted = job.call(grant, connection.timeout, steps).also(also);
            self.engine.connect(&granted, connection, sender(&self.gate, &call, job.cancelled())?).await
        })
        .await
    }

    async fn forget(&self, #[zbus(header)] call: Header<'_>, target: &str, portal: &str) -> Result<()> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let portal = options::portal("portal", portal)?;
        let grant = self.ask(&call, Action::Configure, Some(&target), portal.as_ref()).await?;
        self.engine.forget(&call_of(grant, None)).await
    }

    #[zbus(out_args("nodes"))]
    async fn add_node(
        &self,
        #[zbus(header)] call: Header<'_>,
        target: &str,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Node>> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let portal =
            options::portal("portal", portal)?.ok_or_else(|| Fault::invalid("portal", "is missing"))?;
        let options = AddOptions::parse(options)?;
        self.engine.check_interface(options.interface.as_deref())?;
        let details =
            Details { target: Some(&target), portal: Some(&portal), interface: options.interface.as_deref() };
        let grant = self.gate.ask(&call, Action::Discover, details).await?;
        let mut also = Vec::new();
        if options.startup == Some(Startup::Automatic) {
            also.push(self.gate.ask(&call, Action::Login, details).await?);
        }
        let consent = sender(&self.gate, &call, &Cancel::default())?;
        self.engine.add_node(&call_of(grant, None).also(also), &options, consent).await
    }

    async fn set_startup(
        &self,
        #[zbus(header)] call: Header<'_>,
        target: &str,
        portal: &str,
        startup: &str,
    ) -> Result<()> {
        let _call = self.activity.begin();
        let target = options::target("target", target)?;
        let portal = options::portal("portal", portal)?;
        let startup = options::startup("startup", startup)?;
        let grant = self.ask(&call, Action::Login, Some(&target), portal.as_ref()).await?;
        self.engine.set_startup(&call_of(grant, None), startup).await
    }

    #[zbus(out_args("sessions"))]
    async fn rescan(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        target: &str,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Rescan>> {
        let _call = self.activity.begin();
        let target = if target.is_empty() { None } else { Some(options::target("target", target)?) };
        let portal = options::portal("portal", portal)?;
        let options = RescanOptions::parse(options)?;
        let job = self.begin(&call, emitter, options.job)?;
        let grant = job.ask(self.ask(&call, Action::Login, target.as_ref(), portal.as_ref())).await?;
        job.run(emit_progress, async |steps| {
            let granted = job.call(grant, options.timeout, steps);
            self.engine.rescan(&granted, &options, sender(&self.gate, &call, job.cancelled())?).await
        })
        .await
    }

    #[zbus(out_args("change"))]
    async fn setup_multipath(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        options: Dict,
    ) -> Result<MultipathChange> {
        let _call = self.activity.begin();
        let options = MultipathOptions::parse(options)?;
        let job = self.begin(&call, emitter, options.job)?;
        let grant = job.ask(self.ask(&call, Action::Configure, None, None)).await?;
        job.run(emit_progress, async |steps| {
            self.engine.setup_multipath(&job.call(grant, options.timeout, steps), options).await
        })
        .await
    }

    #[zbus(out_args("findings"))]
    async fn examine(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        options: Dict,
    ) -> Result<Vec<Finding>> {
        let _call = self.activity.begin();
        let options = ExamineOptions::parse(options)?;
        let action = if options.fix { Action::Configure } else { Action::ListPaths };
        let job = self.begin(&call, emitter, options.job)?;
        let grant = job.ask(self.ask(&call, action, None, None)).await?;
        // The gate finds out which actions polkit knows; the engine judges that.
        job.run(emit_progress, async |steps| {
            let granted = job.call(grant, options.timeout, steps);
            self.engine.examine(&granted, options, self.gate.unknown_actions()).await
        })
        .await
    }

    /// Ends a call of the caller's own; polkit has nothing to say about that.
    async fn cancel(&self, #[zbus(header)] call: Header<'_>, id: u32) -> Result<()> {
        let _call = self.activity.begin();
        self.jobs.cancel(&call, id)
    }

    async fn subscribe(&self, #[zbus(header)] call: Header<'_>) -> Result<()> {
        let _call = self.activity.begin();
        let grant = self.ask(&call, Action::ListPaths, None, None).await?;
        self.watchers.add(grant)?;
        // Everything that changes from here on is reported.
        self.engine.show().await;
        Ok(())
    }

    /// Ends what is the caller's own: polkit is not asked.
    async fn unsubscribe(&self, #[zbus(header)] call: Header<'_>) {
        let _call = self.activity.begin();
        if let Some(caller) = call.sender() {
            self.watchers.remove(caller);
        }
    }

    #[zbus(signal)]
    async fn progress(emitter: &SignalEmitter<'_>, id: u32, step: &str, detail: &str) -> zbus::Result<()>;

    async fn set_initiator_name(&self, #[zbus(header)] call: Header<'_>, name: &str) -> Result<()> {
        let _call = self.activity.begin();
        let name = options::target("name", name)?;
        let grant = self.ask(&call, Action::Configure, None, None).await?;
        self.engine.set_initiator_name(&call_of(grant, None), name).await
    }

    /// Read from open-iscsi's file on each request.
    #[zbus(property)]
    async fn initiator_name(&self) -> Result<String> {
        Ok(self.engine.initiator_name().await?.map(String::from).unwrap_or_default())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn features(&self) -> Vec<String> {
        FEATURES.iter().map(|&feature| feature.to_owned()).collect()
    }
}

/// The credentials among the options of an authorized call.
async fn secrets(grant: &Grant, chap: Option<Chap>) -> Result<Option<ChapSecrets>> {
    match chap {
        Some(chap) => secret_fd::read("options", chap, grant.caller().uid()).await.map(Some),
        None => Ok(None),
    }
}

fn emit_progress<'a>(
    emitter: &'a SignalEmitter<'a>,
    id: u32,
    step: &'a str,
    detail: &'a str,
) -> progress::Emitted<'a> {
    Box::pin(Manager::progress(emitter, id, step, detail))
}

/// A short call, which reports no steps and cannot be cancelled.
fn call_of(grant: Grant, timeout: Option<Duration>) -> Call {
    Call::new(grant, timeout, Cancel::default(), Progress::none())
}

/// What this daemon supports, for the property `Features`.
const FEATURES: &[&str] = &[
    "list-nodes",
    "discovery-chap",
    "mutual-chap",
    "secret-fd",
    "diagnose",
    "connect",
    "connect-progress",
    "forget",
    "add-node",
    "set-startup",
    "rescan",
    "interface",
    "setup-multipath",
    "lun-changed",
    "examine",
    "check-in-use",
    "leases",
    "objects",
    "authentication-dismissed",
    "jobs",
    "logout-wait",
    "until-released",
    "nodes-of-device",
    "waiting",
];
