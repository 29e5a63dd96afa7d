//! open-iscsi: its records, its programs, and what this daemon stores about them.
//!
//! | room | what it is |
//! |---|---|
//! | `database` | node and discovery records, and the CHAP in them |
//! | `initiator_name` | the file initiatorname.iscsi |
//! | `iscsiadm` | what changes the kernel's sessions |
//! | `iscsid` | whether the daemon can be reached, and since when it runs |
//! | `known_luns` | which disk each LUN of a target was at the last login |
//! | `undo` | the journal on disk of what has to be put back if a change is cut off |

pub(crate) mod database;
pub(crate) mod initiator_name;
pub(crate) mod iscsiadm;
pub(crate) mod iscsid;
pub(crate) mod known_luns;
pub(crate) mod undo;
