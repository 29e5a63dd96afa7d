//! Whether a password may be asked for on this terminal: a pkttyagent that serves it writes its prompt there.
//! Must not start or end a process.

use std::fs;

/// The name of polkit's agent for text terminals, as the kernel has it.
const AGENT: &str = "pkttyagent";

/// Whether such an agent runs on the terminal of this process. A line that is drawn again and again would
/// overwrite its prompt.
pub(crate) fn may_ask_here() -> bool {
    let Some(terminal) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| terminal(&stat)) else {
        return false;
    };
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let is_agent = fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.trim() == AGENT);
        is_agent
            && fs::read_to_string(process.path().join("stat"))
                .is_ok_and(|stat| self::terminal(&stat) == Some(terminal))
    })
}

/// The number of a process's terminal, from proc_pid_stat(5): the fifth field after the name, which is in
/// brackets and may have any character in it.
fn terminal(stat: &str) -> Option<i64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(4)?.parse().ok().filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_read_from_a_process_of_any_name() {
        assert_eq!(terminal("7 (a) b) S 1 7 7 34816 7 4194304"), Some(34816));
        assert_eq!(terminal("7 (pkttyagent) S 1 7 7 0 -1 4194304"), None);
        assert_eq!(terminal("7 (a"), None);
    }
}
