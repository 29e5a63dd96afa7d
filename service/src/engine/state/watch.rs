//! The listener for events, and waits for a predicate.
//!
//! Events are device events of the kernel and of udev (including device-mapper's), losses of the
//! network, and changes of open-iscsi's files. They only trigger another look; which sessions and maps device events
//! are about is for what is kept of the last one (kept.rs). Some changes have no
//! event: the end of a scan for LUNs, a session's state, and whatever happens inside multipathd, udev
//! and iscsid. Only for these, waits also look four times a second.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::fault::Result;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::backend::{
    host::{
        inotify::{Folders, Root},
        layout::Layout,
        limit::Limit,
        threads::blocking,
    },
    kernel::{
        network::NetworkEvents,
        uevents::{Subjects, Uevents},
    },
};

/// The time between two looks at what has no event.
const TICK: Duration = Duration::from_millis(250);
/// The same where events report what is waited for: the kernel drops some when there are too many.
const LOST: Duration = Duration::from_secs(1);
/// Events within this time count as one: a new disk comes with dozens.
const FLURRY: Duration = Duration::from_millis(20);
/// The same while nobody waits: they are taken only so that there is room for more.
const UNHEARD: Duration = Duration::from_millis(500);
/// After a look, the pause is the duration of the look times this.
const SHARE: u32 = 4;
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);
/// The depth of a record below the database: `nodes/TARGET/PORTAL/IFACE`.
const DEPTH: usize = 2;

/// How many events there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    devices: u64,
    files: u64,
    /// Whether device events are heard.
    is_listening: bool,
    /// Whether every change of open-iscsi's files is.
    hears_files: bool,
    /// Those that may have cut a connection.
    network: u64,
    /// All of them: a portal may be there again.
    routes: u64,
}

/// The listener; one for the daemon. Copies share it.
#[derive(Clone)]
pub(in crate::engine) struct Watch {
    count: watch::Sender<Count>,
    devices: Arc<Devices>,
    waits: Waits,
}

/// How many wait for events. Each event that is taken at once wakes the daemon up, and a login comes with a hundred.
#[derive(Clone, Debug)]
struct Waits(watch::Sender<usize>);

/// A wait, until it is dropped.
struct Waiting(Waits);

impl Waits {
    fn new() -> Self {
        Self(watch::channel(0).0)
    }

    fn begin(&self) -> Waiting {
        self.0.send_modify(|waiting| *waiting += 1);
        Waiting(self.clone())
    }

    /// Until the next events are to be taken: somebody waits, or some time has passed.
    async fn pause(&self) {
        let mut waiting = self.0.subscribe();
        if *waiting.borrow() > 0 {
            return sleep(FLURRY).await;
        }
        tokio::select! {
            _ = waiting.wait_for(|waiting| *waiting > 0) => {}
            () = sleep(UNHEARD) => {}
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// Device events.
#[derive(Default)]
struct Devices {
    /// `None` if they cannot be received.
    uevents: Option<Uevents>,
    /// What those are about that were taken from the socket since the last look at what has changed. Held while more are
    /// taken: whoever takes them out of it misses none that had been sent.
    heard: Mutex<Subjects>,
}

/// What a wait is for.
pub(in crate::engine) trait Predicate: Send {
    /// The result.
    type Is: Send;

    /// Looks once. `None`: not yet.
    fn look(&mut self) -> impl Future<Output = Result<Option<Self::Is>>> + Send;

    /// Whether a device event comes with everything that the last look found missing. Not so where a
    /// session's state, the end of a scan, a process, or the work within multipathd is waited for.
    fn is_announced(&self) -> bool {
        false
    }
}

impl Watch {
    /// Listens from now on, until the runtime ends. Without events, every wait relies on looking from
    /// time to time.
    pub(in crate::engine) fn start(layout: &Layout) -> Self {
        let (count, _) = watch::channel(Count::default());
        let subscribed = Uevents::subscribe(layout);
        if let Err(error) = &subscribed {
            tracing::warn!(%error, "cannot receive device events");
        }
        let devices = Devices { uevents: subscribed.ok(), heard: Mutex::default() };
        let watch = Self { count: count.clone(), devices: Arc::new(devices), waits: Waits::new() };
        if watch.devices.uevents.is_some() {
            count.send_modify(|count| count.is_listening = true);
            tokio::spawn(watch.clone().hear_devices());
        }
        match NetworkEvents::subscribe(layout) {
            Ok(events) => drop(tokio::spawn(hear_network(events, count.clone()))),
            Err(error) => tracing::warn!(%error, "cannot receive network events"),
        }
        tokio::spawn(hear_files(layout.clone(), count));
        watch
    }

    /// What the device events are about that were sent since this was called before. `None` if they are not heard: then
    /// anything may have changed.
    pub(super) fn changed_devices(&self) -> Option<Subjects> {
        let uevents = self.devices.uevents.as_ref().filter(|_| self.count.borrow().is_listening)?;
        // Those that have not come to the task below yet, too: who asks may have seen what they report.
        self.take_devices(uevents, |_, heard| std::mem::take(heard)).ok()
    }

    /// Takes those that have not come to the task below yet; an error is that task's.
    fn take_sent(&self) {
        if let Some(uevents) = self.devices.uevents.as_ref().filter(|_| self.count.borrow().is_listening) {
            let _ = self.take_devices(uevents, |_, _| ());
        }
    }

    /// Takes the device events that there are. All waits hear of them, whoever takes them. `then` gets whether there were
    /// any.
    fn take_devices<T>(
        &self,
        uevents: &Uevents,
        then: impl FnOnce(bool, &mut Subjects) -> T,
    ) -> io::Result<T> {
        let mut heard = self.devices.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = uevents.take(&mut heard);
        if matches!(taken, Ok(true)) {
            self.count.send_modify(|count| count.devices += 1);
        }
        taken.map(|taken| then(taken, &mut heard))
    }

    async fn hear_devices(self) {
        let Some(uevents) = &self.devices.uevents else { return };
        let take = |uevents: &Uevents| self.take_devices(uevents, |taken, _| taken);
        let mut taken = Ok(false);
        loop {
            // One that comes is followed by others: the socket is registered for a wait once there is none.
            taken = match taken {
                Ok(true) => {
                    self.waits.pause().await;
                    take(uevents)
                }
                Ok(false) => uevents.changed(take).await,
                Err(error) => {
                    self.count.send_modify(|count| count.is_listening = false);
                    return tracing::warn!(%error, "lost the device events");
                }
            };
        }
    }

    /// Looks until the predicate has a result, immediately and after each event. `None` if the
    /// limit passes first. The last look starts after that.
    pub(in crate::engine) async fn until<P: Predicate>(
        &self,
        predicate: &mut P,
        limit: &Limit,
    ) -> Result<Option<P::Is>> {
        let mut changes = self.count.subscribe();
        let _waiting = self.waits.begin();
        loop {
            changes.mark_unchanged();
            let is_last = limit.is_over();
            let begun = Instant::now();
            if let Some(is) = predicate.look().await? {
                return Ok(Some(is));
            }
            if is_last {
                return Ok(None);
            }
            // udev and multipathd need the processor too, to produce what this waits for.
            let pause = begun.elapsed().saturating_mul(SHARE).clamp(FLURRY, LONGEST);
            let is_announced = predicate.is_announced() && changes.borrow().is_listening;
            let tick = if is_announced { LOST } else { TICK };
            let next = async {
                tokio::select! {
                    // Cannot fail: this holds a sender.
                    _ = changes.changed() => sleep(pause).await,
                    () = sleep(tick.max(pause)) => {}
                }
            };
            limit.wait(next).await;
        }
    }

    /// The same for what nobody waits for: looks a few times at first, but not at once, then four times a second, however
    /// many events there are, and has none taken sooner.
    pub(in crate::engine) async fn until_at_leisure<P: Predicate>(
        &self,
        predicate: &mut P,
        limit: &Limit,
    ) -> Result<Option<P::Is>> {
        let mut pause = FLURRY;
        loop {
            limit.wait(sleep(pause)).await;
            pause = TICK.min(pause * 3);
            let is_last = limit.is_over();
            let is = predicate.look().await?;
            if is.is_some() || is_last {
                return Ok(is);
            }
        }
    }

    /// A listener for every event from now on.
    pub(in crate::engine) fn events(&self) -> Events {
        let changes = self.count.subscribe();
        let seen = *changes.borrow();
        Events { changes, seen, watch: self.clone() }
    }

    /// A listener for what nodes can be missing, or reached again, after.
    pub(in crate::engine) fn signs(&self) -> Signs {
        let changes = self.count.subscribe();
        let seen = *changes.borrow();
        Signs { changes, seen }
    }

    /// Whether every change of open-iscsi's files is reported.
    pub(in crate::engine) fn hears_files(&self) -> bool {
        self.count.borrow().hears_files
    }

    /// A listener that reports when open-iscsi's files have changed.
    pub(in crate::engine) fn files(&self) -> FileEvents {
        let changes = self.count.subscribe();
        let seen = changes.borrow().files;
        FileEvents { changes, seen }
    }
}

/// Events of devices, files and the network.
pub(crate) struct Events {
    changes: watch::Receiver<Count>,
    seen: Count,
    watch: Watch,
}

/// Which kinds of events there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) devices: bool,
    pub(crate) files: bool,
    /// Something that may have cut a connection.
    pub(crate) network: bool,
}

impl Events {
    /// Waits for the next event; several at once count as one.
    pub(crate) async fn next(&mut self) {
        let _waiting = self.watch.waits.begin();
        loop {
            if self.changes.changed().await.is_err() {
                // The engine is gone.
                std::future::pending().await
            }
            // What only the missing sessions are about is no event here.
            let Count { routes, hears_files, .. } = self.seen;
            if (Count { routes, hears_files, ..*self.changes.borrow_and_update() }) != self.seen {
                return;
            }
        }
    }

    /// What happened since this was asked before, up to now.
    pub(crate) fn take(&mut self) -> Happened {
        self.watch.take_sent();
        let now = *self.changes.borrow_and_update();
        let before = std::mem::replace(&mut self.seen, now);
        Happened {
            devices: now.devices != before.devices,
            files: now.files != before.files,
            network: now.network != before.network,
        }
    }
}

/// The same as a sign that nodes may be missing, or reached again. Has no device event taken sooner than without it.
pub(in crate::engine) struct Signs {
    changes: watch::Receiver<Count>,
    seen: Count,
}

/// Which of them there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Sign {
    /// Sessions may have come or gone.
    pub(in crate::engine) devices: bool,
    /// Records may be other than before.
    pub(in crate::engine) files: bool,
    /// A portal may be there again.
    pub(in crate::engine) network: bool,
}

impl Signs {
    /// Waits for the next one, and says which there were since this was asked before.
    pub(in crate::engine) async fn next(&mut self) -> Sign {
        if self.changes.changed().await.is_err() {
            // The engine is gone.
            std::future::pending().await
        }
        let now = *self.changes.borrow_and_update();
        let before = std::mem::replace(&mut self.seen, now);
        Sign {
            devices: now.devices != before.devices || now.is_listening != before.is_listening,
            files: now.files != before.files,
            network: now.routes != before.routes,
        }
    }
}

/// Changes of open-iscsi's configuration and records.
pub(crate) struct FileEvents {
    changes: watch::Receiver<Count>,
    seen: u64,
}

impl FileEvents {
    /// Waits for the next change; several at once count as one.
    pub(crate) async fn changed(&mut self) {
        let seen = self.seen;
        let counted = self.changes.wait_for(|count| count.files != seen).await.map(|count| count.files);
        match counted {
            Ok(files) => self.seen = files,
            // The engine is gone, and no call is left that could change anything.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn hear_network(events: NetworkEvents, count: watch::Sender<Count>) {
    loop {
        let is_loss = match events.changed().await {
            Ok(is_loss) => is_loss,
            Err(error) => return tracing::warn!(%error, "lost the network events"),
        };
        count.send_modify(|count| {
            count.routes += 1;
            count.network += u64::from(is_loss);
        });
    }
}

async fn hear_files(layout: Layout, count: watch::Sender<Count>) {
    let watching = blocking(move || {
        let database = layout.find_database();
        let records = |name: &str| Root { path: database.join(name), depth: DEPTH };
        let root = |path: &std::path::Path| Root { path: path.to_owned(), depth: 0 };
        Folders::watch(vec![root(&layout.config), root(&database), records("nodes"), records("send_targets")])
    });
    let folders = match watching.await {
        Ok(folders) => folders.and_then(|folders| folders.register()),
        Err(fault) => return tracing::warn!(error = fault.message(), "cannot receive file events"),
    };
    let mut folders = match folders {
        Ok(folders) => folders,
        Err(error) => return tracing::warn!(%error, "cannot receive file events"),
    };
    count.send_modify(|count| count.hears_files = folders.are_whole());
    loop {
        if let Err(error) = folders.changed().await {
            count.send_modify(|count| count.hears_files = false);
            return tracing::warn!(%error, "lost the file events");
        }
        count.send_modify(|count| {
            count.files += 1;
            count.hears_files = folders.are_whole();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::time::Instant;

    use super::*;
    use crate::backend::host::cancel::Cancel;

    /// Succeeds at the n-th look.
    struct Nth(u32, Arc<AtomicU32>);

    impl Predicate for Nth {
        type Is = u32;

        async fn look(&mut self) -> Result<Option<u32>> {
            let looks = self.1.fetch_add(1, Ordering::Relaxed) + 1;
            Ok((looks >= self.0).then_some(looks))
        }
    }

    fn quiet() -> (Watch, watch::Sender<Count>) {
        let (count, _) = watch::channel(Count::default());
        (Watch { count: count.clone(), devices: Arc::default(), waits: Waits::new() }, count)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_is_not_waited_for_and_what_is_not_is_looked_at_now_and_then() {
        let (watch, _) = quiet();
        let begun = Instant::now();
        let looks = Arc::default();
        let limit = Limit::of(Duration::from_secs(1));
        assert_eq!(watch.until(&mut Nth(1, Arc::clone(&looks)), &limit).await.unwrap(), Some(1));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(watch.until(&mut Nth(9, looks), &limit).await.unwrap(), None);
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_a_reason_to_look_and_many_at_once_are_one() {
        let (watch, count) = quiet();
        let looks = Arc::<AtomicU32>::default();
        let waiting = tokio::spawn({
            let (watch, looks) = (watch.clone(), Arc::clone(&looks));
            async move { watch.until(&mut Nth(3, looks), &Limit::of(Duration::from_secs(5))).await }
        });
        let begun = Instant::now();
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            (0..50).for_each(|_| count.send_modify(|count| count.devices += 1));
        }
        assert_eq!(waiting.await.unwrap().unwrap(), Some(3));
        assert!(begun.elapsed() < TICK, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_is_looked_at_now_and_then_whatever_happens() {
        let (watch, count) = quiet();
        let looks = Arc::<AtomicU32>::default();
        let waiting = tokio::spawn({
            let (watch, looks) = (watch.clone(), Arc::clone(&looks));
            async move { watch.until_at_leisure(&mut Nth(5, looks), &Limit::of(Duration::from_secs(5))).await }
        });
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!((looks.load(Ordering::Relaxed), *watch.waits.0.borrow()), (1, 0));
        (0..50).for_each(|_| count.send_modify(|count| count.devices += 1));
        assert_eq!(waiting.await.unwrap().unwrap(), Some(5));
        let pauses = FLURRY * (1 + 3 + 9) + TICK * 2;
        assert!((pauses..pauses + FLURRY).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        let limit = Limit::of(TICK / 4);
        let never = watch.until_at_leisure(&mut Nth(u32::MAX, Arc::clone(&looks)), &limit).await;
        assert_eq!((never.unwrap(), looks.load(Ordering::Relaxed)), (None, 7), "once more at the limit");
    }

    /// The same, and each result is announced.
    struct Announced(Nth);

    impl Predicate for Announced {
        type Is = u32;

        async fn look(&mut self) -> Result<Option<u32>> {
            self.0.look().await
        }

        fn is_announced(&self) -> bool {
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_announced_is_hardly_looked_at_before_its_event() {
        for (is_listening, looks) in [(true, 3), (false, 9)] {
            let (watch, count) = quiet();
            count.send_modify(|count| count.is_listening = is_listening);
            let seen = Arc::<AtomicU32>::default();
            let mut never = Announced(Nth(u32::MAX, Arc::clone(&seen)));
            let limit = Limit::of(Duration::from_secs(2));
            assert_eq!(watch.until(&mut never, &limit).await.unwrap(), None);
            assert_eq!(seen.load(Ordering::Relaxed), looks, "events are heard: {is_listening}");
        }
    }

    #[tokio::test]
    async fn who_takes_device_events_has_all_that_were_sent_and_every_wait_hears_of_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let layout = Layout::below(folder.path());
        let watch = Watch::start(&layout);
        let mut events = watch.events();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let send = |event: &str| sender.send_to(event.as_bytes(), layout.uevents.as_ref().unwrap()).unwrap();
        assert_eq!(watch.changed_devices(), Some(Subjects::default()));
        for sid in [1, 2] {
            send(&format!("add@/devices/platform/host3/session{sid}\0"));
            // The task that listens had no chance to take it.
            assert_eq!(
                watch.changed_devices(),
                Some(Subjects { sessions: [sid].into(), ..Subjects::default() })
            );
            assert!(events.take().devices && !events.take().devices);
        }
        send("change@/devices/virtual/block/dm-0\0");
        events.next().await;
        assert!(events.take().devices, "the task that listens has taken it");
        let map = Subjects { maps: ["dm-0".to_owned()].into(), ..Subjects::default() };
        assert_eq!(watch.changed_devices(), Some(map));
        assert_eq!(watch.changed_devices(), Some(Subjects::default()));
        send("change@/devices/virtual/block/dm-1\0");
        assert!(events.take().devices, "what the task that listens has not taken yet as well");
        assert_eq!(quiet().0.changed_devices(), None, "nothing is heard");
    }

    /// A machine's device events, what sends them, and the listener.
    fn heard() -> (tempfile::TempDir, impl Fn(u32), Watch) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let layout = Layout::below(folder.path());
        let (watch, sender) = (Watch::start(&layout), std::os::unix::net::UnixDatagram::unbound().unwrap());
        let send = move |sid: u32| {
            let event = format!("add@/devices/platform/host3/session{sid}\0");
            sender.send_to(event.as_bytes(), layout.uevents.as_ref().unwrap()).unwrap();
        };
        (folder, send, watch)
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_nobody_waits_for_are_taken_a_few_at_a_time_and_none_is_lost() {
        // A socket of a machine of files takes no more than ten at a time.
        const EVENTS: u32 = 30;
        let (mut times, mut folders) = (Vec::new(), Vec::new());
        for is_waited_for in [false, true] {
            let (folder, send, watch) = heard();
            // Until the end: what is removed is an event as well.
            folders.push(folder);
            let _waiting = is_waited_for.then(|| watch.waits.begin());
            for sid in 1..=EVENTS {
                send(sid);
                tokio::time::sleep(FLURRY * 3).await;
            }
            tokio::time::sleep(FLURRY + UNHEARD).await;
            times.push(watch.count.borrow().devices);
            let all = Subjects { sessions: (1..=EVENTS).collect(), ..Subjects::default() };
            assert_eq!(*watch.devices.heard.lock().unwrap(), all, "the task that listens has taken them");
            assert_eq!(watch.changed_devices(), Some(all));
        }
        // In 1.8 s: every 500 ms, and each by itself.
        assert!((3..=6).contains(&times[0]) && times[1] >= 25, "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_to_wait_in_a_pause_hears_of_what_was_sent_in_it_at_once() {
        let (_folder, send, watch) = heard();
        send(1);
        while watch.count.borrow().devices == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // In the pause that follows.
        send(2);
        tokio::time::sleep(FLURRY * 2).await;
        assert_eq!(watch.count.borrow().devices, 1, "nobody waits");
        let (mut events, begun) = (watch.events(), Instant::now());
        events.next().await;
        assert!(begun.elapsed() < FLURRY, "{:?}", begun.elapsed());
        // Who reads what has changed, without a wait, has also what was sent in the pause.
        send(3);
        let all = Subjects { sessions: [1, 2, 3].into(), ..Subjects::default() };
        assert_eq!(watch.changed_devices(), Some(all));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_ends_the_wait_after_one_more_look() {
        let (watch, _) = quiet();
        let cancel = Cancel::default();
        let limit = Limit::new(Duration::from_secs(60), cancel.clone());
        let looks = Arc::<AtomicU32>::default();
        let waiting = tokio::spawn({
            let looks = Arc::clone(&looks);
            async move { watch.until(&mut Nth(u32::MAX, looks), &limit).await }
        });
        tokio::time::sleep(Duration::from_millis(600)).await;
        let before = looks.load(Ordering::Relaxed);
        let begun = Instant::now();
        cancel.cancel();
        assert_eq!(waiting.await.unwrap().unwrap(), None);
        assert_eq!((looks.load(Ordering::Relaxed) - before, begun.elapsed()), (1, Duration::ZERO));
    }
}
