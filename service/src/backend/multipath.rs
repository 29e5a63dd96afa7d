//! multipath-tools: its configuration, and its daemon.
//!
//! | room | what it is |
//! |---|---|
//! | `config` | the one file that is ours, and what there was before it |
//! | `daemon` | multipathd's socket |
//! | `dropin` | the text of our file |
//! | `memory` | what an undo needs, also after a restart |
//! | `take_back` | a setup that was cut off, as far as it is files |
//! | `verdict` | what multipath's parser says of a configuration |

pub(crate) mod config;
pub(crate) mod daemon;
mod dropin;
pub(crate) mod memory;
mod take_back;
mod verdict;
