//! What any daemon that runs as root needs from its machine, whatever its purpose.
//!
//! | room | what it is |
//! |---|---|
//! | `age` | how long ago a process was started |
//! | `atomic` | files below a directory, read within bounds and written as a whole; the only place that writes |
//! | `bounded` | reads files of the kernel and of other programs within a bound |
//! | `cancel` | a caller's wish to end a call, until the call cannot go back any more |
//! | `capabilities` | a capability raised for one thread and one moment |
//! | `inotify` | watches files below some folders for changes |
//! | `lane` | threads for work that may hang |
//! | `layout` | where everything is |
//! | `limit` | limits a wait |
//! | `permissions` | which other users may read the files that hold secrets |
//! | `program` | the only place that starts programs |
//! | `resolve` | resolves host names to addresses |
//! | `secret_bytes` | the bytes of a file that may hold secrets, in memory and in JSON |
//! | `threads` | runs blocking work |
//! | `versions` | asks programs for their version |

pub(crate) mod age;
pub(crate) mod atomic;
pub(crate) mod bounded;
pub(crate) mod cancel;
pub(crate) mod capabilities;
pub(crate) mod inotify;
pub(crate) mod lane;
pub(crate) mod layout;
pub(crate) mod limit;
pub(crate) mod permissions;
pub(crate) mod program;
pub(crate) mod resolve;
pub(crate) mod secret_bytes;
pub(crate) mod threads;
pub(crate) mod versions;
