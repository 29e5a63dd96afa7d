//! multipath-tools: its configuration, and its daemon.
//!
//! | room | what it is |
//! |---|---|
//! | `config` | the one file that is ours, and what there was before it |
//! | `daemon` | multipathd's socket |
//! | `dropin` | the text of our file |
//! | `memory` | what an undo needs, also after a restart |
//! | `verdict` | what multipath's parser says of a configuration |

pub(crate) mod config;
pub(crate) mod daemon;
mod dropin;
mod memory;
mod verdict;
