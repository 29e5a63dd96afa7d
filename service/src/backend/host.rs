//! What any daemon that runs as root needs from its machine, whatever its purpose.
//!
//! | room | what it is |
//! |---|---|
//! | `atomic` | files below a directory, read within bounds and written whole; the only place that writes |
//! | `capabilities` | a capability raised for one thread and one moment |
//! | `inotify` | changes of files below some folders |
//! | `layout` | where everything lies |
//! | `limit` | until when a wait may last |
//! | `permissions` | who else may read the files that hold secrets |
//! | `program` | the only place that starts programs |
//! | `resolve` | host names to addresses |
//! | `secret_bytes` | the bytes of a file that may hold secrets, in memory and in JSON |
//! | `threads` | work that blocks |
//! | `versions` | what a program says its version is |

pub(crate) mod atomic;
pub(crate) mod capabilities;
pub(crate) mod inotify;
pub(crate) mod layout;
pub(crate) mod limit;
pub(crate) mod permissions;
pub(crate) mod program;
pub(crate) mod resolve;
pub(crate) mod secret_bytes;
pub(crate) mod threads;
pub(crate) mod versions;
