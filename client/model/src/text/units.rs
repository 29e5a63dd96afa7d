//! Sizes, and lists of words.

use super::{Phrase, messages::messages};

messages! {
    LIST = message("{list}, {item}");
    UNKNOWN_SIZE = message("unknown size");
}

/// `10 GiB`, `1.5 TiB`; nothing for nothing.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut text = if bytes == 0 { String::new() } else { format!("{bytes} B") };
    let mut unit_bytes: u128 = 1;
    for unit in UNITS {
        unit_bytes *= 1024;
        if u128::from(bytes) < unit_bytes {
            break;
        }
        let tenths = (u128::from(bytes) * 10 + unit_bytes / 2) / unit_bytes;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        text = if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") };
    }
    text
}

/// One after the other, with commas.
pub fn list<P: Into<Phrase>>(items: impl IntoIterator<Item = P>) -> Phrase {
    let join = |list: Phrase, item: Phrase| LIST.with("list", list).with("item", item);
    items.into_iter().map(Into::into).reduce(join).unwrap_or(Phrase::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, ""),
            (512, "512 B"),
            (1024, "1 KiB"),
            (1536 << 30, "1.5 TiB"),
            (10 << 30, "10 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_list_has_commas_between() {
        assert!(list::<&str>([]).is_empty());
        assert_eq!(list(["a"]).to_string(), "a");
        assert_eq!(list(["a", "b", "{list}"]).to_string(), "a, b, {list}");
    }
}
