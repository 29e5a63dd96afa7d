//! The setters that the options of several methods have in common.

/// One of them. What it means for the method is written above it, but for `timeout` and `job`, which mean the same for
/// all.
macro_rules! setter {
    (timeout) => {
        /// Gives up after so long, 1 to 600 s; parts of a second are rounded up.
        #[must_use]
        pub fn timeout(self, timeout: std::time::Duration) -> Self {
            Self { timeout: Some(timeout), ..self }
        }
    };
    (job) => {
        /// Gives the call a number of the caller's own: its steps come as the signal `Progress` with it, and
        /// `Cancel` ends it. Needs the feature `jobs`.
        #[must_use]
        pub fn job(self, id: u32) -> Self {
            Self { job: Some(id), ..self }
        }
    };
    ($(#[$says:meta])+ startup) => {
        $(#[$says])+
        #[must_use]
        pub fn startup(self, startup: $crate::results::Startup) -> Self {
            Self { startup: Some(startup), ..self }
        }
    };
    ($(#[$says:meta])+ interface) => {
        $(#[$says])+
        #[must_use]
        pub fn interface(self, name: impl Into<String>) -> Self {
            Self { interface: Some(name.into()), ..self }
        }
    };
    ($(#[$says:meta])+ chap) => {
        $(#[$says])+
        #[must_use]
        pub fn chap(self, chap: $crate::options::Chap) -> Self {
            Self { chap: Some(chap), ..self }
        }
    };
    ($(#[$says:meta])+ $flag:ident) => {
        $(#[$says])+
        #[must_use]
        pub fn $flag(self, $flag: bool) -> Self {
            Self { $flag, ..self }
        }
    };
}

pub(super) use setter;
