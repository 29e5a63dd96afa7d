//! The words of the bus as those of this program: `options.timeout` is `--timeout` here.
//! Must not change what a message says.

/// The keys of a call, as this program's options.
const OPTIONS: [(&str, &str); 15] = [
    ("targets", "--target"),
    ("timeout", "--timeout"),
    ("startup", "--startup"),
    ("interface", "--interface"),
    ("tpgt", "--tpgt"),
    ("force", "--force"),
    ("username", "--user"),
    ("secret", "the secret"),
    ("secret-fd", "the secret"),
    ("target-username", "--target-user"),
    ("target-secret", "the target's secret"),
    ("target-secret-fd", "the target's secret"),
    ("holder", "--as"),
    ("portal", "the portal"),
    ("target", "the target"),
];

/// A message of the daemon without the argument's name on the bus, and without an action's of polkit.
pub(super) fn plain(message: &str) -> String {
    let message = without_action(message);
    let Some((argument, why)) = message.split_once(": ") else { return message };
    let (group, key) = argument.split_once('.').unwrap_or(("", argument));
    if !["options", "chap", "filter", ""].contains(&group) {
        return message;
    }
    let option = OPTIONS.iter().find(|(name, _)| *name == key).map(|(_, option)| *option);
    match option {
        // "the secret: the secret is empty"
        Some(option) if why.starts_with(option) => why.to_owned(),
        // "--user: the user name is empty", "the secret has more than 255 bytes"
        Some(option) if is_sentence(why) => format!("{option}: {why}"),
        Some(option) => format!("{option} {why}"),
        None if group.is_empty() => message,
        None => format!("{key}: {why}"),
    }
}

/// Whether a reason has its own subject: "is missing" has none.
fn is_sentence(why: &str) -> bool {
    let verbs = ["is", "must", "has", "cannot", "may", "needs", "ends", "holds", "contains"];
    !verbs.contains(&why.split(' ').next().unwrap_or_default())
}

/// Without ` (action org.cloudatlas.IscsiInitiator.login)`, which is for who writes a rule.
fn without_action(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" (action ") else {
        return message.replace("org.cloudatlas.IscsiInitiator.", "the action ");
    };
    match rest.split_once(')') {
        Some((_, after)) => format!("{before}{after}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_bus_is_left() {
        for (message, shown) in [
            (
                "options.targets: is required, since p has 2 targets: a, b",
                "--target is required, since p has 2 targets: a, b",
            ),
            (
                "options.interface: eth9 is not an interface here",
                "--interface: eth9 is not an interface here",
            ),
            ("options.timeout: must be 1 to 600 seconds", "--timeout must be 1 to 600 seconds"),
            ("chap.username: the user name is empty", "--user: the user name is empty"),
            ("chap.username: is empty", "--user is empty"),
            ("chap.secret: the secret is empty", "the secret is empty"),
            (
                "chap.target-secret: must differ from the other secret",
                "the target's secret must differ from the other secret",
            ),
            ("portal: is missing", "the portal is missing"),
            (
                "filter.portal: is numeric here: records have no host names",
                "the portal is numeric here: records have no host names",
            ),
            ("options.job: unknown key", "job: unknown key"),
            (
                "a password is needed (action org.cloudatlas.IscsiInitiator.login), and more",
                "a password is needed, and more",
            ),
            (
                "not authorised for org.cloudatlas.IscsiInitiator.configure",
                "not authorised for the action configure",
            ),
            ("192.0.2.21:3260 rejected it", "192.0.2.21:3260 rejected it"),
            ("iscsid: gone", "iscsid: gone"),
        ] {
            assert_eq!(plain(message), shown);
        }
    }
}
