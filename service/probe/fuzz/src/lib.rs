//! What every fuzz target shares: the memory that one input may take, counted to the byte.

use std::{alloc::System, panic, sync::Once};

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// One KiB.
pub const KIB: usize = 1 << 10;

/// Runs one input. To want more than `most` bytes at once, or to leave one behind, is a crash.
pub fn within(most: usize, input: impl FnOnce() -> bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A backtrace takes its own memory; without it the report itself would wait for ever.
            lift();
            report(info);
        }));
    });
    let before = HEAP.allocated();
    HEAP.set_limit(before + most).expect("nothing else allocates");
    input();
    lift();
    assert_eq!(HEAP.allocated(), before, "memory was left behind");
}

fn lift() {
    HEAP.set_limit(usize::MAX).expect("there is no higher one");
}
