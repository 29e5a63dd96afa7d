//! The name that was probably meant by one that is not there.

/// What a slip of the fingers makes of a name: two letters exchanged, one missing, one too many.
const SLIP: usize = 2;

/// The nearest of these names, if one is near enough.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|known| (distance(name, known), known));
    distances.filter(|(distance, _)| *distance <= SLIP).min().map(|(_, known)| known)
}

/// How many letters to change, add or leave out (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in one.chars().enumerate() {
        let (mut diagonal, mut left) = (number, number + 1);
        let mut next = vec![left];
        for (same, above) in other.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(letter != *same)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised_and_another_name_is_not() {
        let known = ["iqn.2003-01.com.example:disks", "iqn.2003-01.com.example:tapes"];
        for (name, near) in [
            ("iqn.2003-01.com.example:dsiks", Some(known[0])),
            ("iqn.2003-01.com.example:disk", Some(known[0])),
            ("iqn.2003-01.com.example:tape2s", Some(known[1])),
            ("iqn.2003-01.com.example:backup", None),
        ] {
            assert_eq!(nearest(name, known), near, "{name}");
        }
        assert_eq!(distance("", "abc"), 3);
    }
}
