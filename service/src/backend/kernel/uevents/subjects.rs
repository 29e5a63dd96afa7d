//! Which sessions and maps events are about: read from the path of the device that each names.
//! Must not take anything else from an event.

use std::collections::BTreeSet;

/// More than these are everything.
const MOST: usize = 1024;
/// udev's events begin with this; the kernel's with `ACTION@DEVPATH` (libudev's monitor).
const UDEV: &[u8] = b"libudev\0";
/// Where the offset of the properties is in udev's head: a native u32.
const PROPERTIES: std::ops::Range<usize> = 16..20;
const PATH: &[u8] = b"DEVPATH=";

/// What events are about, as far as it concerns sessions and their disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subjects {
    /// Anything may have changed: events were lost or not understood, or there were many.
    pub(crate) everything: bool,
    pub(crate) sessions: BTreeSet<u32>,
    /// By their devices: `dm-0`.
    pub(crate) maps: BTreeSet<String>,
}

impl Subjects {
    /// What one event is about.
    pub(crate) fn add(&mut self, event: &[u8]) {
        match path_in(event).map(subject) {
            None => self.everything = true,
            Some(Subject::Session(sid)) => drop(self.sessions.insert(sid)),
            Some(Subject::Map(device)) => drop(self.maps.insert(device.to_owned())),
            Some(Subject::Other) => {}
        }
        if self.everything || self.sessions.len() + self.maps.len() > MOST {
            *self = Self { everything: true, ..Self::default() };
        }
    }

    /// Whether they are about nothing that is shown.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Subject<'a> {
    /// What is in a session's folder: the session, its connection, LUNs, disks and partitions.
    Session(u32),
    /// A device of device-mapper.
    Map(&'a str),
    Other,
}

/// The path of the device, below sysfs. `None` if there is none: the event was cut off, or is not one.
fn path_in(event: &[u8]) -> Option<&str> {
    let path = match event.strip_prefix(UDEV) {
        Some(_) => {
            let offset = u32::from_ne_bytes(event.get(PROPERTIES)?.try_into().ok()?);
            let properties = event.get(usize::try_from(offset).ok()?..)?;
            // The last piece has no end: it may be a part of one.
            let whole = properties.get(..properties.iter().rposition(|byte| *byte == 0)?)?;
            whole.split(|byte| *byte == 0).find_map(|property| property.strip_prefix(PATH))?
        }
        None => {
            let head = event.get(..event.iter().position(|byte| *byte == 0)?)?;
            let at = head.iter().position(|byte| *byte == b'@')?;
            head.get(at + 1..)?
        }
    };
    let path = std::str::from_utf8(path).ok()?;
    path.starts_with('/').then_some(path)
}

fn subject(path: &str) -> Subject<'_> {
    if let Some(sid) = session_in(path) {
        return Subject::Session(sid);
    }
    let mut names = path.split('/').skip_while(|name| *name != "block").skip(1);
    match names.next() {
        Some(device) if device.strip_prefix("dm-").and_then(number).is_some() => Subject::Map(device),
        _ => Subject::Other,
    }
}

/// The session whose folder a path leads through.
pub(in crate::backend::kernel) fn session_in(path: &str) -> Option<u32> {
    path.split('/').find_map(|name| number(name.strip_prefix("session")?))
}

/// Digits alone: the standard library takes a sign as well.
fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As udev sends it.
    fn of_udev(path: &str) -> Vec<u8> {
        let mut event = UDEV.to_vec();
        event.extend(0xfeed_cafe_u32.to_be_bytes());
        let properties =
            format!("ACTION=add\0{}{path}\0SUBSYSTEM=block\0", std::str::from_utf8(PATH).unwrap());
        for number in [40, 40, u32::try_from(properties.len()).unwrap(), 0, 0, 0, 0] {
            event.extend(number.to_ne_bytes());
        }
        assert_eq!(event.len(), 40);
        event.extend(properties.as_bytes());
        event
    }

    fn of_kernel(path: &str) -> Vec<u8> {
        format!("add@{path}\0ACTION=add\0DEVPATH={path}\0SUBSYSTEM=block\0").into_bytes()
    }

    fn of(event: &[u8]) -> Subjects {
        let mut subjects = Subjects::default();
        subjects.add(event);
        subjects
    }

    fn everything() -> Subjects {
        Subjects { everything: true, ..Subjects::default() }
    }

    #[test]
    fn an_event_is_about_the_session_or_the_map_that_its_path_leads_through() {
        let session = |sid| Subjects { sessions: [sid].into(), ..Subjects::default() };
        let map = |device: &str| Subjects { maps: [device.to_owned()].into(), ..Subjects::default() };
        for (path, expected) in [
            ("/devices/platform/host3/session1", session(1)),
            ("/devices/platform/host3/session1/iscsi_session/session1", session(1)),
            ("/devices/platform/host3/session12/connection12:0/iscsi_connection/connection12:0", session(12)),
            ("/devices/platform/host3/session7/target3:0:0/3:0:0:0/block/sda/sda1", session(7)),
            ("/devices/pci0000:00/0000:00:1f.2/host4/session4294967295/target4:0:0", session(u32::MAX)),
            ("/devices/virtual/block/dm-0", map("dm-0")),
            ("/devices/virtual/block/dm-12/dm-12p1", map("dm-12")),
            ("/devices/virtual/bdi/253:0", Subjects::default()),
            ("/devices/virtual/block/dm-", Subjects::default()),
            ("/devices/virtual/block/dm-+1", Subjects::default()),
            ("/devices/virtual/block/dm-x", Subjects::default()),
            ("/devices/virtual/block/loop0", Subjects::default()),
            ("/devices/platform/host3/session", Subjects::default()),
            ("/devices/platform/host3/session+1", Subjects::default()),
            ("/devices/platform/host3/session4294967296", Subjects::default()),
            ("/devices/platform/host3/sessions1", Subjects::default()),
            ("/module/dm_multipath", Subjects::default()),
            ("/", Subjects::default()),
        ] {
            for event in [of_kernel(path), of_udev(path)] {
                assert_eq!(of(&event), expected, "{path}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_about_everything() {
        let mut far = of_udev("/devices/virtual/block/dm-0");
        far[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
        let mut short = of_udev("/devices/virtual/block/dm-0");
        short.truncate(18);
        let without_path = {
            let mut event = of_udev("/devices/virtual/block/dm-0");
            let at = event.windows(PATH.len()).position(|piece| piece == PATH).unwrap();
            event[at] = b'X';
            event
        };
        for event in [
            &b""[..],
            b"\0",
            b"add",
            b"add@",
            b"add@/devices/platform/host3/session1",
            b"add@devices/platform/host3/session1\0",
            b"add@/devices/\xff/session1\0",
            b"/devices/platform/host3/session1\0",
            b"libudev\0",
            &far,
            &short,
            &without_path,
        ] {
            assert_eq!(of(event), everything(), "{event:?}");
        }
    }

    #[test]
    fn an_event_that_was_cut_off_is_never_about_another_device() {
        for whole in
            [of_kernel("/devices/virtual/block/dm-123"), of_udev("/devices/platform/host3/session123/x")]
        {
            let right = of(&whole);
            for length in 0..whole.len() {
                let cut = of(&whole[..length]);
                assert!(cut == right || cut == everything(), "{length}: {cut:?}");
            }
        }
    }

    #[test]
    fn many_are_everything_and_take_no_more_memory() {
        let mut subjects = Subjects::default();
        for sid in 0..=u32::try_from(MOST).unwrap() {
            assert!(!subjects.everything, "{sid}");
            subjects.add(&of_kernel(&format!("/devices/platform/host1/session{sid}")));
        }
        assert_eq!(subjects, everything());
        subjects.add(&of_kernel("/devices/virtual/block/dm-0"));
        assert_eq!(subjects, everything());
    }

    proptest! {
        #[test]
        fn nonsense_is_about_something_and_breaks_nothing(
            mut event in proptest::collection::vec(any::<u8>(), 0..120),
            is_udevs: bool,
            at in 0..60_u32,
        ) {
            if is_udevs {
                let mut head = UDEV.to_vec();
                head.extend([0; 8]);
                head.extend(at.to_ne_bytes());
                event.splice(0..0, head);
            }
            let subjects = of(&event);
            prop_assert!(!subjects.is_nothing() || path_in(&event).is_some());
        }
    }
}
