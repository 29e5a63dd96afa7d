//! How the texts are declared: each a constant, and all of them in a list.

/// Declares texts: constants that are documented by what they say, and `ALL` of them.
macro_rules! messages {
    ($($name:ident = $kind:ident($($text:literal),+);)+) => {
        $(
            $(#[doc = $text])+
            pub const $name: $crate::text::Message = $crate::text::phrase::$kind($($text),+);
        )+

        /// Every text of this room.
        pub(super) const ALL: &[$crate::text::Message] = &[$($name),+];
    };
}

pub(super) use messages;
