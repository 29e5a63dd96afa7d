//! Rows of a list that stay as long as what they show: what is focused stays focused, and nothing jumps.

use std::cell::RefCell;

use gtk::prelude::*;

/// The rows of a list, each with the key of what it shows.
#[derive(Debug)]
pub(super) struct Keyed<R>(RefCell<Vec<(String, R)>>);

impl<R> Default for Keyed<R> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<R: IsA<gtk::Widget>> Keyed<R> {
    /// Makes the list show these: a new row for a new key, no row for one that is gone, and every row filled anew.
    pub(super) fn update<T>(
        &self,
        list: &gtk::ListBox,
        items: Vec<(String, T)>,
        make: impl Fn() -> R,
        fill: impl Fn(&R, T),
    ) {
        let mut before = self.0.take();
        before.retain(|(key, row)| {
            let stays = items.iter().any(|(wanted, _)| wanted == key);
            if !stays {
                list.remove(row);
            }
            stays
        });
        let mut now = Vec::with_capacity(items.len());
        // The list has the rows of `now`, and then those of `before`.
        for (place, (key, item)) in (0..).zip(items) {
            let known = before.iter().position(|(other, _)| *other == key);
            let row = match known {
                Some(at) => {
                    let (_, row) = before.remove(at);
                    if at > 0 {
                        list.remove(&row);
                        list.insert(&row, place);
                    }
                    row
                }
                None => {
                    let row = make();
                    list.insert(&row, place);
                    row
                }
            };
            fill(&row, item);
            now.push((key, row));
        }
        self.0.replace(now);
    }

    /// The row of a key.
    pub(super) fn row(&self, key: &str) -> Option<R> {
        self.0.borrow().iter().find(|(known, _)| known == key).map(|(_, row)| row.clone())
    }

    /// The key of the row at a place.
    pub(super) fn key(&self, place: i32) -> Option<String> {
        let place = usize::try_from(place).ok()?;
        self.0.borrow().get(place).map(|(key, _)| key.clone())
    }
}
