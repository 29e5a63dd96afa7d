//! Reads the parts of a long list at the same time: on a large machine a look at all of it takes a second
//! of one processor.
//! Must not be used for a list that is read sooner than a thread is started.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::LazyLock,
    thread::{Builder, available_parallelism, scope},
};

/// A part is at least so long.
const LEAST: usize = 32;
/// The most threads for a list: others need the processors as well.
const MOST: usize = 4;

/// As many as there are processors for the daemon; it is not asked each time, because that reads files.
static THREADS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get).min(MOST));

/// What `own` reads of the first part and `other`, on a thread for each, of the other parts, in the order of the list.
/// What a thread cannot read (`None`), or could not be started for, `own` reads.
pub(super) fn in_parts<T: Sync, R: Send>(
    list: &[T],
    own: impl FnMut(&[T]) -> Vec<R>,
    other: impl Fn(&[T]) -> Option<Vec<R>> + Sync,
) -> Vec<R> {
    with_threads(*THREADS, list, own, other)
}

fn with_threads<T: Sync, R: Send>(
    threads: usize,
    list: &[T],
    mut own: impl FnMut(&[T]) -> Vec<R>,
    other: impl Fn(&[T]) -> Option<Vec<R>> + Sync,
) -> Vec<R> {
    let length = list.len().div_ceil(threads.max(1)).max(LEAST);
    let Some((first, rest)) = list.split_at_checked(length).filter(|(_, rest)| !rest.is_empty()) else {
        return own(list);
    };
    let other = &other;
    scope(|scope| {
        let begin = |part| (part, Builder::new().spawn_scoped(scope, move || other(part)));
        let others: Vec<_> = rest.chunks(length).map(begin).collect();
        let mut all = own(first);
        for (part, thread) in others {
            let theirs =
                thread.ok().and_then(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            all.extend(theirs.unwrap_or_else(|| own(part)));
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_of_a_list_is_read_in_its_order_by_as_many_as_it_is_long_enough_for() {
        for (threads, length, started) in [
            (1, 500, 0),
            (4, 0, 0),
            (4, LEAST, 0),
            (4, LEAST + 1, 1),
            (4, 3 * LEAST, 2),
            (4, 500, 3),
            (0, 500, 0),
        ] {
            let list: Vec<usize> = (0..length).collect();
            let others = AtomicUsize::new(0);
            let read = with_threads(threads, &list, <[usize]>::to_vec, |part| {
                others.fetch_add(1, Ordering::Relaxed);
                Some(part.to_vec())
            });
            assert_eq!((read, others.into_inner()), (list, started), "{threads} threads");
        }
    }

    #[test]
    fn what_a_thread_cannot_read_is_read_all_the_same() {
        let list: Vec<usize> = (0..500).collect();
        let read =
            with_threads(4, &list, <[usize]>::to_vec, |part| (part.first()? % 2 == 1).then(|| part.to_vec()));
        assert_eq!(read, list);
    }

    #[test]
    #[should_panic(expected = "for the test")]
    fn a_part_that_panics_is_not_left_out() {
        let list: Vec<usize> = (0..500).collect();
        with_threads(4, &list, <[usize]>::to_vec, |_| panic!("for the test"));
    }
}
