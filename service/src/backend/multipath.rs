//! multipath-tools: its configuration, and its daemon.
//!
//! | room | what it is |
//! |---|---|
//! | `config` | this service's file, and the state before it |
//! | `daemon` | multipathd's socket |
//! | `dropin` | the text of this service's file |
//! | `memory` | what an undo needs, also after a restart |
//! | `take_back` | undoes the file changes of an interrupted setup |
//! | `verdict` | the result of multipath's parser for a configuration |

pub(crate) mod config;
pub(crate) mod daemon;
mod dropin;
pub(crate) mod memory;
mod take_back;
mod verdict;
