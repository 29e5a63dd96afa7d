//! What can be said about credentials before a gateway is asked: lengths that Ceph refuses, one secret for both.
//! Must not show a secret, or say how long it is.

use std::{cmp::Ordering, ops::RangeInclusive};

use iscsi_initiator_dbus::Secret;

use crate::language::say;
use crate::problem::Problem;

/// What ceph-iscsi lets an administrator set (gwcli/utils.py, `valid_credentials`), in characters.
const SECRET: RangeInclusive<usize> = 12..=16;
const USER: RangeInclusive<usize> = 8..=64;

/// One sentence for all that Ceph does not accept. Other makes of target accept other lengths.
pub(crate) fn sentence(odd: &[String]) -> Option<String> {
    let and = |first: String, second: &String| say!("{first}, and {second}", first, second);
    let (first, rest) = odd.split_first()?;
    let odd = rest.iter().fold(first.clone(), and);
    Some(say!("if this is a Ceph gateway: it accepts only {odd}", odd))
}

/// What Ceph does not accept. `whose` names the secret.
pub(crate) fn lengths(user: &str, secret: &Secret, whose: &str) -> Vec<String> {
    let (least, most) = (SECRET.start(), SECRET.end());
    let of_secret = match place(&SECRET, secret.expose()) {
        Ordering::Less => {
            Some(say!("secrets of {least} to {most} characters ({whose} is shorter)", least, most, whose))
        }
        Ordering::Greater => {
            Some(say!("secrets of {least} to {most} characters ({whose} is longer)", least, most, whose))
        }
        Ordering::Equal => None,
    };
    let (least, most) = (USER.start(), USER.end());
    let of_user = match place(&USER, user) {
        Ordering::Less => Some(say!(
            "user names of {least} to {most} characters (\"{user}\" is shorter)",
            least,
            most,
            user
        )),
        Ordering::Greater => {
            Some(say!("user names of {least} to {most} characters (\"{user}\" is longer)", least, most, user))
        }
        Ordering::Equal => None,
    };
    of_secret.into_iter().chain(of_user).collect()
}

/// Whether a text is shorter or longer than that, in characters.
fn place(range: &RangeInclusive<usize>, text: &str) -> Ordering {
    let characters = text.chars().count();
    if characters < *range.start() {
        Ordering::Less
    } else if characters > *range.end() {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

/// One secret for both directions proves nothing: a peer that reflects our challenge gets the proof from us
/// (RFC 7143, section 12.1.3).
pub(crate) fn differ(initiator: &Secret, target: &Secret) -> Result<(), Problem> {
    if initiator.expose() == target.expose() {
        return Err(Problem::usage(
            say!(
                "the target's secret must differ from the initiator's: with one for both, any host can pass for the target"
            ),
            &say!("set another secret for the target's side on the gateway, and use that one here"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).unwrap()
    }

    #[test]
    fn what_ceph_refuses_is_remarked_on_without_saying_how_long_it_is() {
        let messages = |user: &str, text: &str| lengths(user, &secret(text), "this one");
        for text in ["exactly-12-b", "exactly-16-bytes"] {
            assert_eq!(messages("libvirtd", text), [""; 0]);
            assert_eq!(messages(&"u".repeat(64), text), [""; 0]);
        }
        assert_eq!(
            messages("libvirtd", "s3cr3t-11-b"),
            ["secrets of 12 to 16 characters (this one is shorter)"]
        );
        assert_eq!(
            messages("admin", "s3cr3t-of-17-byte"),
            [
                "secrets of 12 to 16 characters (this one is longer)",
                "user names of 8 to 64 characters (\"admin\" is shorter)",
            ]
        );
        assert_eq!(sentence(&[]), None);
        assert_eq!(
            sentence(&["a".to_owned(), "b".to_owned()]).unwrap(),
            "if this is a Ceph gateway: it accepts only a, and b"
        );
        assert_eq!(messages(&"ü".repeat(8), &"ü".repeat(16)), [""; 0]);
    }

    #[test]
    fn one_secret_for_both_sides_is_refused_unrepeated() {
        let problem = differ(&secret("s3cr3t-s3cr3t"), &secret("s3cr3t-s3cr3t")).unwrap_err();
        assert_eq!(problem.exit, Exit::Usage);
        assert!(problem.message.starts_with("the target's secret must differ from the initiator's: "));
        assert!(!format!("{problem:?}").contains("s3cr3t"));
        assert_eq!(differ(&secret("s3cr3t-s3cr3t"), &secret("another-s3cr3t")), Ok(()));
    }
}
