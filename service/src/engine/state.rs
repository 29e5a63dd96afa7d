//! What the machine looks like.
//!
//! | room | what it is |
//! |---|---|
//! | `listing` | `ListPaths` and `ListNodes` |

pub(super) mod listing;
