//! What is odd about an initiator name.

/// `iqn.YYYY-MM.` (RFC 7143, section 4.2.7.4); other kinds of names have no date.
pub(super) fn has_a_date(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("iqn.") else { return true };
    let mut parts = rest.splitn(2, '.');
    let date = parts.next().unwrap_or_default();
    let (year, month) = date.split_once('-').unwrap_or_default();
    let month = month.parse::<u8>().ok().filter(|_| month.len() == 2);
    year.len() == 4
        && year.bytes().all(|byte| byte.is_ascii_digit())
        && month.is_some_and(|month| (1..=12).contains(&month))
        && parts.next().is_some_and(|authority| !authority.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_years_and_months() {
        for good in [
            "iqn.2001-04.com.example:disk",
            "iqn.1989-06.io.cloud-atlas:me",
            "eui.02004567a425678d",
            "naa.6001405",
        ] {
            assert!(has_a_date(good), "{good}");
        }
        for bad in [
            "iqn.com.example:disk",
            "iqn.2001-13.com.example",
            "iqn.2001-4.com.example",
            "iqn.2001-04",
            "iqn.2001-04.",
        ] {
            assert!(!has_a_date(bad), "{bad}");
        }
    }
}
