//! The latest few of something, in no order: for spreads and medians. Small while there are few.

/// The latest items.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    items: Vec<T>,
    // Where the next one goes when it is full.
    next: u8,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: 0 }
    }
}

impl<T> Latest<T> {
    /// Adds one; of `most` that are there already, the oldest goes. `most` is the same every time,
    /// and at most 255.
    pub(crate) fn push(&mut self, item: T, most: u8) {
        if self.items.len() < usize::from(most) {
            grow_exactly(&mut self.items);
            self.items.push(item);
        } else if let Some(oldest) = self.items.get_mut(usize::from(self.next)) {
            *oldest = item;
            self.next = (self.next + 1) % most.max(1);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.items.iter()
    }
}

/// Makes room for one more: for one at first, and for twice as many whenever it is full. Most sources
/// have one of everything, and a list that begins with room for four would be four times as large.
pub(crate) fn grow_exactly<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes() {
        let mut latest = Latest::default();
        for n in 0..11 {
            latest.push(n, 4);
        }
        let mut kept: Vec<i32> = latest.iter().copied().collect();
        kept.sort_unstable();
        assert_eq!((kept, latest.len()), (vec![7, 8, 9, 10], 4));
    }
}
