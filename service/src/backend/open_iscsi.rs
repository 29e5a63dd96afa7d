//! open-iscsi: its records, its programs, and what this daemon stores about them.
//!
//! | room | what it is |
//! |---|---|
//! | `database` | node and discovery records, and the CHAP in them |
//! | `initiator_name` | the file initiatorname.iscsi |
//! | `iscsiadm` | changes the kernel's sessions |
//! | `iscsid` | whether the daemon can be reached, and since when it is running |
//! | `known_luns` | the identifier of each LUN's disk at the last login |
//! | `undo` | the journal on disk of the backups that undo interrupted changes |

pub(crate) mod database;
pub(crate) mod initiator_name;
pub(crate) mod iscsiadm;
pub(crate) mod iscsid;
pub(crate) mod known_luns;
pub(crate) mod undo;
