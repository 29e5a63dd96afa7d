//! A catalogue of translations, as msgfmt writes it (gettext's manual, "The Format of GNU MO Files"): read whole, within
//! bounds. glibc has the same, and it is not to be had without unsafe code.

use std::{fs::File, io::Read as _, path::Path};

/// Ours has 150 KiB.
const LONGEST: u64 = 4 << 20;
const MAGIC: u32 = 0x9504_12de;

/// The translations of one language.
#[derive(Debug)]
pub(super) struct Catalogue {
    bytes: Vec<u8>,
    count: u32,
    originals: u32,
    translations: u32,
}

impl Catalogue {
    /// Nothing if there is none, or none that is sound.
    pub(super) fn read(file: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(file).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        Self::parse(bytes)
    }

    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let number = |place| number(&bytes, place);
        // Written on a machine of this byte order: msgfmt writes little endian, unless it is told otherwise.
        if number(0)? != MAGIC || number(4)? >> 16 > 1 {
            return None;
        }
        let (count, originals, translations) = (number(8)?, number(12)?, number(16)?);
        Some(Self { bytes, count, originals, translations })
    }

    /// The translation of a text.
    pub(super) fn get(&self, text: &str) -> Option<&str> {
        // The empty text is that of the header.
        let found = self.find(text).filter(|_| !text.is_empty())?;
        found.split('\0').next().filter(|text| !text.is_empty())
    }

    /// The translation of a text that depends on a number.
    pub(super) fn get_plural(&self, one: &str, n: usize) -> Option<&str> {
        let forms: Vec<&str> = self.find(one)?.split('\0').collect();
        let form = match forms.as_slice() {
            [_] => 0,
            // A language with more forms needs its rule here.
            [_, _] if self.find("")?.contains("plural=(n > 1)") || self.find("")?.contains("plural=n>1") => {
                usize::from(n > 1)
            }
            [_, _] => usize::from(n != 1),
            _ => return None,
        };
        forms.get(form).copied().filter(|text| !text.is_empty())
    }

    /// All forms of the translation: texts are sorted, and the one for a plural follows behind a NUL.
    fn find(&self, text: &str) -> Option<&str> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let known = self.text(self.originals, middle)?;
            match known.split('\0').next().unwrap_or_default().cmp(text) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.text(self.translations, middle),
            }
        }
        None
    }

    fn text(&self, table: u32, which: u32) -> Option<&str> {
        let entry = table.checked_add(which.checked_mul(8)?)?;
        let length = usize::try_from(number(&self.bytes, entry)?).ok()?;
        let begin = usize::try_from(number(&self.bytes, entry.checked_add(4)?)?).ok()?;
        std::str::from_utf8(self.bytes.get(begin..begin.checked_add(length)?)?).ok()
    }
}

fn number(bytes: &[u8], place: u32) -> Option<u32> {
    let place = usize::try_from(place).ok()?;
    bytes.get(place..place.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::po_tests::compiled, *};

    fn sample() -> Vec<u8> {
        let text = |text: &str| text.to_owned();
        compiled(&[
            (text(""), text("Plural-Forms: nplurals=2; plural=(n > 1);\n")),
            (text("a"), text("甲")),
            (text("{n} disk\0{n} disks"), text("{n} disque\0{n} disques")),
            (text("z"), text("")),
        ])
    }

    #[test]
    fn a_text_is_found_and_another_is_not() {
        let catalogue = Catalogue::parse(sample()).unwrap();
        assert_eq!(catalogue.get("a"), Some("甲"));
        assert_eq!(["b", "", "z", "{n} disks"].map(|text| catalogue.get(text)), [None; 4]);
        assert_eq!(catalogue.get_plural("{n} disk", 0), Some("{n} disque"));
        assert_eq!(catalogue.get_plural("{n} disk", 2), Some("{n} disques"));
        assert_eq!(catalogue.get_plural("a", 7), Some("甲"));
    }

    proptest! {
        #[test]
        fn a_damaged_one_is_none_or_says_less(place in 0_usize..200, byte: u8, length in 0_usize..300) {
            let mut bytes = sample();
            if let Some(at) = bytes.get_mut(place) { *at = byte; }
            bytes.truncate(length);
            if let Some(catalogue) = Catalogue::parse(bytes) {
                for text in ["", "a", "z", "{n} disk"] {
                    let _ = (catalogue.get(text), catalogue.get_plural(text, 1));
                }
            }
        }
    }
}
