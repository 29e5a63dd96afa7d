//! The `a{sv}` arguments: every key checked, every type exact, the unknown refused.
//! It may not read a file descriptor: that blocks, and is the daemon's to do after it was allowed.

use std::{collections::HashMap, time::Duration};

use zbus::{OwnedFd, OwnedVariant, Variant};

use crate::{Fault, Iqn, Portal, Secret, fault::Result, results::Startup};

/// An `a{sv}` argument as it comes.
pub type Dict = HashMap<String, OwnedVariant>;

/// The deadlines that a caller may set, in seconds.
pub const TIMEOUT_RANGE: std::ops::RangeInclusive<u32> = 1..=600;

/// The most targets that one `Connect` takes.
pub const MOST_TARGETS: usize = 32;

/// A secret as it came: as text, or as a file descriptor still to be read.
pub enum SecretSource {
    /// In the message.
    Text(Secret),
    /// Behind a descriptor: pipe, socket or regular file; one newline at the end is dropped.
    Fd(OwnedFd),
}

/// One side's credentials: a user name and its secret.
pub struct Credentials {
    /// At most 255 bytes, no control character, no blank at the ends.
    pub username: String,
    /// The secret that goes with it.
    pub secret: SecretSource,
}

/// CHAP: what the initiator proves and, for mutual CHAP, what the target must prove.
pub struct Chap {
    /// What this initiator proves.
    pub initiator: Credentials,
    /// What the target must prove.
    pub target: Option<Credentials>,
}

/// What `SetChap` shall do.
pub enum ChapChange {
    /// Store these.
    Set(Chap),
    /// Store that no CHAP is wanted.
    Clear,
}

/// The options of `Discover`.
#[derive(Default)]
pub struct DiscoverOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// What new records get; the configured default otherwise.
    pub startup: Option<Startup>,
    /// The network card to ask through, and to bind new nodes to.
    pub interface: Option<String>,
    /// For this discovery session only; nothing of it is stored.
    pub chap: Option<Chap>,
}

/// The options of `Login`.
#[derive(Default)]
pub struct LoginOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// Stored in the records of the portals that let us in.
    pub startup: Option<Startup>,
    /// Whether to answer only when disks and maps are there.
    pub wait: bool,
    /// Whether LUNs that are other disks than at the last login are taken as they are.
    pub accept_changed_luns: bool,
}

/// The options of `Logout`.
#[derive(Default)]
pub struct LogoutOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// Log out although something still uses the disks (asks for an action of its own).
    pub force: bool,
}

/// The options of `Connect`.
#[derive(Default)]
pub struct ConnectOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// Stored in the records of the portals that let us in.
    pub startup: Option<Startup>,
    /// Whether to answer only when disks and maps are there.
    pub wait: bool,
    /// Whether LUNs that are other disks than at the last login are taken as they are.
    pub accept_changed_luns: bool,
    /// The network card to ask through, and to bind new nodes to.
    pub interface: Option<String>,
    /// Stored in the records of the targets, and used for the discovery if it asks for CHAP.
    pub chap: Option<Chap>,
    /// Which of the portal's targets; empty: the one that it has.
    pub targets: Vec<Iqn>,
    /// The number under which the caller wants the signal `Progress`.
    pub progress: Option<u32>,
}

/// The options of `Diagnose`.
#[derive(Default)]
pub struct DiagnoseOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// Tried instead of what is recorded; nothing of it is stored.
    pub chap: Option<Chap>,
}

/// The options of `AddNode`.
#[derive(Default)]
pub struct AddOptions {
    /// The target portal group tag, if the caller knows it.
    pub tpgt: Option<u16>,
    /// What a new record gets; the configured default otherwise.
    pub startup: Option<Startup>,
    /// The network card to bind the node to.
    pub interface: Option<String>,
}

/// The options of `Rescan`.
#[derive(Default)]
pub struct RescanOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// Whether to answer only when new disks and maps are there.
    pub wait: bool,
}

/// What a map does with I/O while it has no good path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// `queue`: waits for ever, as Ceph's documentation has it.
    #[default]
    Forever,
    /// A number: so many rounds of the path checker, then it fails.
    Rounds(u16),
    /// `fail`: fails at once.
    Never,
}

impl std::str::FromStr for Queueing {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<Self, &'static str> {
        match text {
            "queue" => Ok(Self::Forever),
            "fail" => Ok(Self::Never),
            rounds => match rounds.parse() {
                Ok(rounds @ 1..=10_000) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Ok(Self::Rounds(rounds))
                }
                _ => Err("is queue, fail or a number of rounds from 1 to 10000"),
            },
        }
    }
}

/// The options of `SetupMultipath`.
#[derive(Clone, Debug, Default)]
pub struct MultipathOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// Says what would change, and changes nothing.
    pub dry_run: bool,
    /// Puts back what was there before the first setup.
    pub undo: bool,
    /// Maps of iSCSI disks only.
    pub only_iscsi: bool,
    /// Maps called `mpatha` instead of by their WWID; true unless given.
    pub friendly_names: bool,
    /// For maps of a Ceph gateway's disks.
    pub queueing: Queueing,
}

/// The options of `Examine`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExamineOptions {
    /// The whole call's deadline.
    pub timeout: Option<Duration>,
    /// Fix what can be fixed safely, then look again (asks for an action of its own).
    pub fix: bool,
}

/// Which paths `ListPaths` shall answer.
#[derive(Default)]
pub struct PathFilter {
    /// Of this target only.
    pub target: Option<Iqn>,
    /// Through this portal only.
    pub portal: Option<Portal>,
}

impl DiscoverOptions {
    /// Reads the argument `options` of `Discover`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self {
            timeout: bag.timeout()?,
            startup: bag.startup()?,
            interface: bag.card()?,
            chap: bag.chap()?,
        };
        bag.finish(options)
    }
}

impl LoginOptions {
    /// Reads the argument `options` of `Login`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let wait = bag.take_bool("wait")?.unwrap_or(true);
        let accept_changed_luns = bag.take_bool("accept-changed-luns")?.unwrap_or(false);
        let options = Self { timeout: bag.timeout()?, startup: bag.startup()?, wait, accept_changed_luns };
        bag.finish(options)
    }
}

impl LogoutOptions {
    /// Reads the argument `options` of `Logout`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self { timeout: bag.timeout()?, force: bag.take_bool("force")?.unwrap_or(false) };
        bag.finish(options)
    }
}

impl ConnectOptions {
    /// Reads the argument `options` of `Connect`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self {
            timeout: bag.timeout()?,
            startup: bag.startup()?,
            wait: bag.take_bool("wait")?.unwrap_or(true),
            accept_changed_luns: bag.take_bool("accept-changed-luns")?.unwrap_or(false),
            interface: bag.card()?,
            chap: bag.chap()?,
            targets: bag.targets()?,
            progress: bag.take_number("progress")?,
        };
        bag.finish(options)
    }
}

impl DiagnoseOptions {
    /// Reads the argument `options` of `Diagnose`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self { timeout: bag.timeout()?, chap: bag.chap()? };
        bag.finish(options)
    }
}

impl AddOptions {
    /// Reads the argument `options` of `AddNode`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self { tpgt: bag.take_tag("tpgt")?, startup: bag.startup()?, interface: bag.card()? };
        bag.finish(options)
    }
}

impl RescanOptions {
    /// Reads the argument `options` of `Rescan`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self { timeout: bag.timeout()?, wait: bag.take_bool("wait")?.unwrap_or(true) };
        bag.finish(options)
    }
}

impl MultipathOptions {
    /// Reads the argument `options` of `SetupMultipath`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let setup_keys = ["only-iscsi", "user-friendly-names", "queueing"];
        let given = setup_keys.into_iter().find(|key| bag.left.contains_key(*key));
        let queueing = match bag.take_text("queueing")? {
            Some(text) => text.parse().map_err(|why| Fault::invalid("options.queueing", why))?,
            None => Queueing::default(),
        };
        let options = Self {
            timeout: bag.timeout()?,
            dry_run: bag.take_bool("dry-run")?.unwrap_or(false),
            undo: bag.take_bool("undo")?.unwrap_or(false),
            only_iscsi: bag.take_bool("only-iscsi")?.unwrap_or(false),
            friendly_names: bag.take_bool("user-friendly-names")?.unwrap_or(true),
            queueing,
        };
        match given {
            Some(key) if options.undo => Err(Fault::invalid(&bag.name(key), "does not go with undo")),
            _ => bag.finish(options),
        }
    }
}

impl ExamineOptions {
    /// Reads the argument `options` of `Examine`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self { timeout: bag.timeout()?, fix: bag.take_bool("fix")?.unwrap_or(false) };
        bag.finish(options)
    }
}

impl ChapChange {
    /// Reads the argument `chap` of `SetChap`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("chap", dict)?;
        let clear = bag.take_bool("clear")?.unwrap_or(false);
        let change = match (bag.chap()?, clear) {
            (Some(_), true) => return Err(Fault::invalid("chap.clear", "goes with no other key")),
            (Some(chap), false) => Self::Set(chap),
            (None, true) => Self::Clear,
            (None, false) => return Err(Fault::invalid("chap.username", "is missing")),
        };
        bag.finish(change)
    }
}

impl PathFilter {
    /// Reads the argument `filter` of `ListPaths`.
    pub fn parse(dict: Dict) -> Result<Self> {
        let mut bag = Bag::new("filter", dict)?;
        let target =
            bag.take_text("target")?.map(|t| t.parse().map_err(|e| Fault::invalid("filter.target", e)));
        let portal =
            bag.take_text("portal")?.map(|p| p.parse().map_err(|e| Fault::invalid("filter.portal", e)));
        let filter = Self { target: target.transpose()?, portal: portal.transpose()? };
        bag.finish(filter)
    }
}

/// A target argument that must be there.
pub fn target(argument: &str, text: &str) -> Result<Iqn> {
    text.parse().map_err(|why| Fault::invalid(argument, why))
}

/// A portal argument; the empty text means every portal.
pub fn portal(argument: &str, text: &str) -> Result<Option<Portal>> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|why| Fault::invalid(argument, why))
    }
}

/// When a node is to be logged in to: what the boot needs is not a caller's to say.
pub fn startup(argument: &str, text: &str) -> Result<Startup> {
    match text.parse() {
        Ok(startup @ (Startup::Manual | Startup::Automatic)) => Ok(startup),
        _ => Err(Fault::invalid(argument, "is manual or automatic")),
    }
}

/// A dictionary that is emptied key by key, so that what is left at the end is unknown.
struct Bag {
    argument: &'static str,
    left: Dict,
}

impl Bag {
    fn new(argument: &'static str, dict: Dict) -> Result<Self> {
        // No method knows half as many; this bounds the work on a hostile message.
        if dict.len() > 32 {
            return Err(Fault::invalid(argument, "has more than 32 keys"));
        }
        Ok(Self { argument, left: dict })
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.argument)
    }

    fn wrong_type(&self, key: &str, expected: &str, got: &Variant<'_>) -> Fault {
        Fault::invalid(
            &self.name(key),
            format_args!("expected type {expected}, got {}", got.value_signature()),
        )
    }

    fn take_text(&mut self, key: &str) -> Result<Option<String>> {
        match self.left.remove(key).map(Variant::from) {
            None => Ok(None),
            Some(Variant::Str(text)) => Ok(Some(text.as_str().to_owned())),
            Some(other) => Err(self.wrong_type(key, "s", &other)),
        }
    }

    fn take_bool(&mut self, key: &str) -> Result<Option<bool>> {
        match self.left.remove(key).map(Variant::from) {
            None => Ok(None),
            Some(Variant::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong_type(key, "b", &other)),
        }
    }

    fn take_fd(&mut self, key: &str) -> Result<Option<OwnedFd>> {
        match self.left.remove(key).map(Variant::from) {
            None => Ok(None),
            Some(Variant::Fd(zbus::Fd::Owned(fd))) => Ok(Some(OwnedFd::from(fd))),
            Some(other) => Err(self.wrong_type(key, "h", &other)),
        }
    }

    fn take_number(&mut self, key: &str) -> Result<Option<u32>> {
        match self.left.remove(key).map(Variant::from) {
            None => Ok(None),
            Some(Variant::U32(number)) => Ok(Some(number)),
            Some(other) => Err(self.wrong_type(key, "u", &other)),
        }
    }

    fn take_tag(&mut self, key: &str) -> Result<Option<u16>> {
        match self.left.remove(key).map(Variant::from) {
            None => Ok(None),
            Some(Variant::U16(number)) => Ok(Some(number)),
            Some(other) => Err(self.wrong_type(key, "q", &other)),
        }
    }

    /// A network card's name as the kernel can have it (net/core/dev.c, `dev_valid_name`), and open-iscsi's files.
    fn card(&mut self) -> Result<Option<String>> {
        let Some(name) = self.take_text("interface")? else { return Ok(None) };
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=15).contains(&name.len()) || !name.bytes().all(is_letter) || name.starts_with(['.', '-']) {
            return Err(Fault::invalid(
                &self.name("interface"),
                "is a network card's name: 1 to 15 letters, digits, dots, dashes and underscores",
            ));
        }
        Ok(Some(name))
    }

    /// Each name once, in the order given.
    fn targets(&mut self) -> Result<Vec<Iqn>> {
        let Some(value) = self.left.remove("targets") else { return Ok(Vec::new()) };
        if value.value_signature().to_string() != "as" {
            return Err(self.wrong_type("targets", "as", &value));
        }
        let names = Vec::<String>::try_from(value)
            .map_err(|_| Fault::invalid(&self.name("targets"), "cannot be read"))?;
        if names.len() > MOST_TARGETS {
            return Err(Fault::invalid(
                &self.name("targets"),
                format_args!("has more than {MOST_TARGETS} names"),
            ));
        }
        let mut targets: Vec<Iqn> = Vec::new();
        for name in names {
            let target: Iqn = name.parse().map_err(|why| Fault::invalid(&self.name("targets"), why))?;
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        Ok(targets)
    }

    fn timeout(&mut self) -> Result<Option<Duration>> {
        match self.left.remove("timeout").map(Variant::from) {
            None => Ok(None),
            Some(Variant::U32(seconds)) if TIMEOUT_RANGE.contains(&seconds) => {
                Ok(Some(Duration::from_secs(seconds.into())))
            }
            Some(Variant::U32(_)) => Err(Fault::invalid(&self.name("timeout"), "is 1 to 600 seconds")),
            Some(other) => Err(self.wrong_type("timeout", "u", &other)),
        }
    }

    fn startup(&mut self) -> Result<Option<Startup>> {
        let Some(text) = self.take_text("startup")? else { return Ok(None) };
        startup(&self.name("startup"), &text).map(Some)
    }

    fn credentials(&mut self, prefix: &str) -> Result<Option<Credentials>> {
        let key = |name: &str| format!("{prefix}{name}");
        let (username_key, secret_key, fd_key) = (key("username"), key("secret"), key("secret-fd"));
        let username = self.take_text(&username_key)?;
        let text = self.take_text(&secret_key)?;
        let fd = self.take_fd(&fd_key)?;
        let secret = match (text, fd) {
            (Some(_), Some(_)) => {
                return Err(Fault::invalid(&self.name(&fd_key), "goes without the same secret as text"));
            }
            (Some(text), None) => Some(SecretSource::Text(
                Secret::new(text).map_err(|why| Fault::invalid(&self.name(&secret_key), why))?,
            )),
            (None, Some(fd)) => Some(SecretSource::Fd(fd)),
            (None, None) => None,
        };
        match (username, secret) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Fault::invalid(&self.name(&username_key), "is missing")),
            (Some(_), None) => Err(Fault::invalid(&self.name(&secret_key), "is missing")),
            (Some(username), Some(secret)) => {
                check_username(&username).map_err(|why| Fault::invalid(&self.name(&username_key), why))?;
                Ok(Some(Credentials { username, secret }))
            }
        }
    }

    fn chap(&mut self) -> Result<Option<Chap>> {
        let initiator = self.credentials("")?;
        let target = self.credentials("target-")?;
        match (initiator, target) {
            (None, None) => Ok(None),
            // RFC 7143, section 12.1.3: the target answers only an initiator that proved itself.
            (None, Some(_)) => {
                Err(Fault::invalid(&self.name("username"), "is missing: mutual CHAP needs both sides"))
            }
            (Some(initiator), target) => Ok(Some(Chap { initiator, target })),
        }
    }

    fn finish<T>(self, value: T) -> Result<T> {
        match self.left.keys().min() {
            None => Ok(value),
            // The key is repeated as it is only if it reads like one.
            Some(key) if (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
                Err(Fault::invalid(&self.name(key), "is no known key"))
            }
            Some(_) => Err(Fault::invalid(self.argument, "has an unknown key")),
        }
    }
}

/// What a record's line can carry as a user name.
fn check_username(name: &str) -> std::result::Result<(), &'static str> {
    if name.is_empty() {
        Err("is empty")
    } else if name.len() > Secret::MAX {
        Err("has more than 255 bytes")
    } else if name.chars().any(char::is_control) {
        Err("holds a control character")
    } else if name.trim() != name {
        Err("begins or ends with a blank, which open-iscsi would drop")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict<const N: usize>(entries: [(&str, Variant<'static>); N]) -> Dict {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value.try_into().unwrap())).collect()
    }

    fn text<T>(result: Result<T>) -> String {
        result.err().map(|fault| fault.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert_eq!(
            text(LoginOptions::parse(dict([("timeuot", 5u32.into())]))),
            "options.timeuot: is no known key"
        );
        assert_eq!(text(PathFilter::parse(dict([("disk", "sda".into())]))), "filter.disk: is no known key");
        assert_eq!(text(LogoutOptions::parse(dict([("a\nb", true.into())]))), "options: has an unknown key");
    }

    #[test]
    fn a_wrong_type_is_named_with_both_types() {
        for (result, expected) in [
            (
                text(LoginOptions::parse(dict([("timeout", "5".into())]))),
                "options.timeout: expected type u, got s",
            ),
            (
                text(LoginOptions::parse(dict([("timeout", 5i32.into())]))),
                "options.timeout: expected type u, got i",
            ),
            (
                text(LoginOptions::parse(dict([("wait", 1u32.into())]))),
                "options.wait: expected type b, got u",
            ),
            (
                text(LogoutOptions::parse(dict([("force", "yes".into())]))),
                "options.force: expected type b, got s",
            ),
            (
                text(PathFilter::parse(dict([("target", 1u32.into())]))),
                "filter.target: expected type s, got u",
            ),
            (
                text(ChapChange::parse(dict([("secret-fd", 0u32.into())]))),
                "chap.secret-fd: expected type h, got u",
            ),
        ] {
            assert_eq!(result, expected);
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        for seconds in [0u32, 601, u32::MAX] {
            assert_eq!(
                text(LoginOptions::parse(dict([("timeout", seconds.into())]))),
                "options.timeout: is 1 to 600 seconds"
            );
        }
        assert_eq!(
            text(DiscoverOptions::parse(dict([("startup", "onboot".into())]))),
            "options.startup: is manual or automatic"
        );
        assert!(text(PathFilter::parse(dict([("portal", "x/y".into())]))).starts_with("filter.portal: "));
    }

    #[test]
    fn chap_is_whole_or_refused() {
        let user = || ("username", "libvirtd".into());
        let secret = || ("secret", "mypassword12".into());
        assert!(ChapChange::parse(dict([user(), secret()])).is_ok());
        for (entries, expected) in [
            (dict([]), "chap.username: is missing"),
            (dict([user()]), "chap.secret: is missing"),
            (dict([secret()]), "chap.username: is missing"),
            (dict([user(), secret(), ("clear", true.into())]), "chap.clear: goes with no other key"),
            (dict([user(), secret(), ("target-username", "gw".into())]), "chap.target-secret: is missing"),
            (
                dict([("target-username", "gw".into()), ("target-secret", "othersecret1".into())]),
                "chap.username: is missing: mutual CHAP needs both sides",
            ),
            (dict([("username", "a\nb".into()), secret()]), "chap.username: holds a control character"),
            (dict([user(), ("secret", "a\nb".into())]), "chap.secret: the secret holds a control character"),
        ] {
            assert_eq!(text(ChapChange::parse(entries)), expected);
        }
    }

    #[test]
    fn the_targets_of_a_connect_are_a_list_of_names_each_once() {
        let options = |names: Vec<&str>| {
            ConnectOptions::parse(dict([(
                "targets",
                Variant::from(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()),
            )]))
        };
        let (one, two) = ("iqn.2001-04.com.example:1", "iqn.2001-04.com.example:2");
        let parsed = options(vec![two, one, two]).unwrap();
        assert_eq!(parsed.targets.iter().map(Iqn::as_str).collect::<Vec<_>>(), [two, one]);
        assert!(parsed.wait && parsed.progress.is_none());
        assert!(text(options(vec![one, "../x"])).starts_with("options.targets: "));
        let many: Vec<String> = (0..33).map(|n| format!("{one}{n}")).collect();
        assert_eq!(
            text(options(many.iter().map(String::as_str).collect())),
            "options.targets: has more than 32 names"
        );
        assert_eq!(
            text(ConnectOptions::parse(dict([("targets", one.into())]))),
            "options.targets: expected type as, got s"
        );
        assert_eq!(
            text(ConnectOptions::parse(dict([("progress", "1".into())]))),
            "options.progress: expected type u, got s"
        );
        assert_eq!(
            text(DiagnoseOptions::parse(dict([("wait", true.into())]))),
            "options.wait: is no known key"
        );
    }

    #[test]
    fn multipath_is_set_up_with_checked_words() {
        let plain = MultipathOptions::parse(dict([])).unwrap();
        assert!(
            plain.friendly_names
                && !plain.only_iscsi
                && !plain.dry_run
                && plain.queueing == Queueing::Forever
        );
        for (word, queueing) in
            [("queue", Queueing::Forever), ("fail", Queueing::Never), ("30", Queueing::Rounds(30))]
        {
            let options = MultipathOptions::parse(dict([("queueing", word.into())])).unwrap();
            assert_eq!(options.queueing, queueing);
        }
        for bad in ["", "0", "10001", "+5", "for ever", "5\n"] {
            assert!(
                text(MultipathOptions::parse(dict([("queueing", bad.into())])))
                    .starts_with("options.queueing: "),
                "{bad}"
            );
        }
        assert_eq!(
            text(MultipathOptions::parse(dict([("undo", true.into()), ("only-iscsi", true.into())]))),
            "options.only-iscsi: does not go with undo"
        );
    }

    #[test]
    fn an_examination_only_looks_unless_it_is_told_to_fix() {
        assert!(!ExamineOptions::parse(dict([])).unwrap().fix);
        assert!(ExamineOptions::parse(dict([("fix", true.into())])).unwrap().fix);
        assert_eq!(
            text(ExamineOptions::parse(dict([("fix", "yes".into())]))),
            "options.fix: expected type b, got s"
        );
        assert_eq!(
            text(ExamineOptions::parse(dict([("undo", true.into())]))),
            "options.undo: is no known key"
        );
    }

    #[test]
    fn no_fault_repeats_a_secret() {
        let long = "s3cr3t".repeat(60);
        let fault =
            text(ChapChange::parse(dict([("username", "u".into()), ("secret", Variant::from(long))])));
        assert!(fault.contains("chap.secret") && !fault.contains("s3cr3t"), "{fault}");
    }
}
