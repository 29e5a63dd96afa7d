//! Where something happened.

/// What was being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// A portal was asked for its targets.
    Discover,
    /// A target was connected.
    #[default]
    Connect,
    /// A target was disconnected.
    Disconnect,
    /// The initiator name was changed.
    Rename,
    /// The daemon was asked for what there is, and has never answered.
    Begin,
    /// Something else.
    Other,
}

/// Where an error happened: what its sentence names. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What was being done.
    pub stage: Stage,
    /// The portal, as it is shown.
    pub portal: String,
    /// The target.
    pub target: String,
    /// This machine's initiator name.
    pub initiator: String,
    /// Whether a user name and a secret were sent along.
    pub has_chap: bool,
}
