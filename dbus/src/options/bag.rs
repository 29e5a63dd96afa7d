//! Options that are taken from a dictionary key by key: each key checked, each type exact, the unknown refused.
//! Must not read a file descriptor: that blocks, and is for the daemon to do once the call is allowed.

use std::{collections::HashMap, time::Duration};

use zbus::OwnedFd;

use super::{
    dict::{Dict, Excess, LONGEST_KEY, Value},
    keys, words,
};
use crate::{Fault, Iqn, fault::Result, results::Startup};

/// The deadlines that a caller may set, in seconds.
pub const TIMEOUT_RANGE: std::ops::RangeInclusive<u32> = 1..=600;

/// The most targets that one `Connect` takes.
pub const MOST_TARGETS: usize = 32;

/// What is left of a dictionary; at the end, what is left is unknown.
pub(super) struct Bag {
    argument: &'static str,
    left: HashMap<String, Value>,
}

impl Bag {
    pub(super) fn new(argument: &'static str, dict: impl Into<Dict>) -> Result<Self> {
        let dict = dict.into();
        let bag = Self { argument, left: dict.values };
        match &dict.excess {
            None => Ok(bag),
            Some(excess @ Excess::Bytes(key)) if is_shown(key) => Err(bag.wrong(key, excess.says())),
            Some(excess) => Err(Fault::invalid(argument, excess.says())),
        }
    }

    /// What is wrong with a key.
    pub(super) fn wrong(&self, key: &str, why: impl std::fmt::Display) -> Fault {
        Fault::invalid(&format!("{}.{key}", self.argument), why)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// The value of a key that `convert` takes; another one has a wrong type.
    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(Value) -> std::result::Result<T, Value>,
    ) -> Result<Option<T>> {
        let Some(value) = self.left.remove(key) else { return Ok(None) };
        convert(value).map(Some).map_err(|other| {
            self.wrong(key, format_args!("expected type {expected}, got {}", other.signature()))
        })
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>> {
        self.take(key, "s", |value| match value {
            Value::Text(text) => Ok(text),
            other => Err(other),
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        self.take(key, "b", |value| match value {
            Value::Flag(flag) => Ok(flag),
            other => Err(other),
        })
    }

    pub(super) fn descriptor(&mut self, key: &str) -> Result<Option<OwnedFd>> {
        self.take(key, "h", |value| match value {
            Value::Descriptor(fd) => Ok(fd),
            other => Err(other),
        })
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<u32>> {
        self.take(key, "u", |value| match value {
            Value::Number(number) => Ok(number),
            other => Err(other),
        })
    }

    pub(super) fn short(&mut self, key: &str) -> Result<Option<u16>> {
        self.take(key, "q", |value| match value {
            Value::Short(number) => Ok(number),
            other => Err(other),
        })
    }

    /// A text that is parsed.
    pub(super) fn parsed<T>(&mut self, key: &str) -> Result<Option<T>>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|why| self.wrong(key, why))
    }

    pub(super) fn timeout(&mut self) -> Result<Option<Duration>> {
        let Some(seconds) = self.number(keys::TIMEOUT)? else { return Ok(None) };
        if !TIMEOUT_RANGE.contains(&seconds) {
            let (least, most) = (TIMEOUT_RANGE.start(), TIMEOUT_RANGE.end());
            return Err(self.wrong(keys::TIMEOUT, format_args!("must be {least} to {most} seconds")));
        }
        Ok(Some(Duration::from_secs(seconds.into())))
    }

    /// The caller's own number for a call.
    pub(super) fn job(&mut self) -> Result<Option<u32>> {
        self.number(keys::JOB)
    }

    /// The same, and by the older name that `Connect` has for it.
    pub(super) fn job_and_progress(&mut self) -> Result<(Option<u32>, Option<u32>)> {
        match (self.job()?, self.number(keys::PROGRESS)?) {
            (Some(job), Some(progress)) if job != progress => {
                Err(self.wrong(keys::PROGRESS, format_args!("is another number than {}", keys::JOB)))
            }
            both => Ok(both),
        }
    }

    pub(super) fn startup(&mut self) -> Result<Option<Startup>> {
        let Some(text) = self.text(keys::STARTUP)? else { return Ok(None) };
        words::startup(&format!("{}.{}", self.argument, keys::STARTUP), &text).map(Some)
    }

    /// A network interface's name that the kernel (net/core/dev.c, `dev_valid_name`) and open-iscsi's files can have.
    pub(super) fn interface(&mut self) -> Result<Option<String>> {
        let Some(name) = self.text(keys::INTERFACE)? else { return Ok(None) };
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=15).contains(&name.len()) || !name.bytes().all(is_letter) || name.starts_with(['.', '-']) {
            return Err(self.wrong(
                keys::INTERFACE,
                "a network interface's name has 1 to 15 letters, digits, dots, dashes and underscores",
            ));
        }
        Ok(Some(name))
    }

    /// Each name once, in the order given.
    pub(super) fn targets(&mut self) -> Result<Vec<Iqn>> {
        let names = self.take(keys::TARGETS, "as", |value| match value {
            Value::Texts(texts) => Ok(texts),
            other => Err(other),
        })?;
        let names = names.unwrap_or_default();
        if names.len() > MOST_TARGETS {
            return Err(self.wrong(keys::TARGETS, format_args!("more than {MOST_TARGETS} names")));
        }
        let mut targets: Vec<Iqn> = Vec::new();
        for name in names {
            let target: Iqn = name.parse().map_err(|why| self.wrong(keys::TARGETS, why))?;
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        Ok(targets)
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T> {
        match self.left.keys().min() {
            None => Ok(value),
            Some(key) if is_shown(key) => Err(self.wrong(key, "unknown key")),
            Some(_) => Err(Fault::invalid(self.argument, "unknown key")),
        }
    }
}

/// A key is repeated as it is only if it reads like one.
fn is_shown(key: &str) -> bool {
    (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
pub(super) mod tests {
    use zbus::Variant;

    use super::{
        super::{
            dict::tests::received,
            machine::DiagnoseOptions,
            records::{DiscoverOptions, PathFilter},
            sessions::{ConnectOptions, LoginOptions, LogoutOptions},
        },
        *,
    };

    pub(in super::super) fn dict<const N: usize>(entries: [(&str, Variant<'static>); N]) -> Dict {
        received(entries.into())
    }

    pub(in super::super) fn text<T>(result: Result<T>) -> String {
        result.err().map(|fault| fault.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert_eq!(
            text(LoginOptions::parse(dict([("timeuot", 5u32.into())]))),
            "options.timeuot: unknown key"
        );
        assert_eq!(text(PathFilter::parse(dict([("disk", "sda".into())]))), "filter.disk: unknown key");
        assert_eq!(
            text(PathFilter::parse(dict([("device", "/dev/sda".into())]))),
            "filter.device: unknown key"
        );
        for path in ["sda", "/etc/passwd", &format!("/dev/{}", "x".repeat(251))] {
            let filter = PathFilter::parse_for_nodes(dict([("device", path.to_owned().into())]));
            assert!(text(filter).starts_with("filter.device: is a path below /dev"), "{path:.9}");
        }
        assert_eq!(text(LogoutOptions::parse(dict([("a\nb", true.into())]))), "options: unknown key");
        let many = (0..33).map(|n| (format!("k{n}"), Variant::from(n))).collect();
        assert_eq!(text(LoginOptions::parse(received(many))), "options: more than 32 keys");
    }

    #[test]
    fn what_is_too_long_is_named() {
        let long = || Variant::from("x".repeat(1 << 20));
        let says = "more than 65536 bytes of values";
        assert_eq!(text(PathFilter::parse(dict([("target", long())]))), format!("filter.target: {says}"));
        assert_eq!(text(PathFilter::parse(dict([("a\nb", long())]))), format!("filter: {says}"));
        let key = received(vec![("k".repeat(1 << 20), true.into())]);
        assert_eq!(text(PathFilter::parse(key)), "filter: unknown key");
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
                text(DiscoverOptions::parse(dict([("secret-fd", 0u32.into())]))),
                "options.secret-fd: expected type h, got u",
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
                "options.timeout: must be 1 to 600 seconds"
            );
        }
        assert_eq!(
            text(DiscoverOptions::parse(dict([("startup", "onboot".into())]))),
            "options.startup: must be manual or automatic"
        );
        assert_eq!(
            text(DiscoverOptions::parse(dict([("interface", "a/b".into())]))),
            "options.interface: a network interface's name has 1 to 15 letters, digits, dots, dashes and underscores"
        );
        assert!(text(PathFilter::parse(dict([("portal", "x/y".into())]))).starts_with("filter.portal: "));
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
        assert!(parsed.wait && parsed.number().is_none());
        assert!(text(options(vec![one, "../x"])).starts_with("options.targets: "));
        let many: Vec<String> = (0..33).map(|n| format!("{one}{n}")).collect();
        assert_eq!(
            text(options(many.iter().map(String::as_str).collect())),
            "options.targets: more than 32 names"
        );
        assert_eq!(
            text(ConnectOptions::parse(dict([("targets", one.into())]))),
            "options.targets: expected type as, got s"
        );
        assert_eq!(
            text(ConnectOptions::parse(dict([("progress", "1".into())]))),
            "options.progress: expected type u, got s"
        );
        assert_eq!(text(DiagnoseOptions::parse(dict([("wait", true.into())]))), "options.wait: unknown key");
    }

    #[test]
    fn a_job_has_one_number_by_either_name() {
        let connect = |entries: &[(&'static str, u32)]| {
            let entries = entries.iter().map(|(key, id)| ((*key).to_owned(), Variant::from(*id)));
            ConnectOptions::parse(received(entries.collect())).map(|options| options.number())
        };
        for entries in [&[("job", 7)][..], &[("progress", 7)], &[("job", 7), ("progress", 7)]] {
            assert_eq!(connect(entries), Ok(Some(7)), "{entries:?}");
        }
        let both = connect(&[("job", 7), ("progress", 8)]);
        assert_eq!(text(both), "options.progress: is another number than job");
        assert_eq!(LoginOptions::parse(dict([("job", 0_u32.into())])).unwrap().job, Some(0));
        assert_eq!(
            text(LoginOptions::parse(dict([("job", "1".into())]))),
            "options.job: expected type u, got s"
        );
        assert_eq!(
            text(LoginOptions::parse(dict([("progress", 1_u32.into())]))),
            "options.progress: unknown key"
        );
    }
}
