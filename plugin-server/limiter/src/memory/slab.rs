//! Storage whose items never move and whose growth never copies.

/// Items by position. Grows by a chunk at a time, so that no request waits for a million items to be copied, and
/// reuses the positions of removed items.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    vacant: Vec<u32>,
    hand: u32,
}

/// Positions in a chunk.
const CHUNK: usize = 128;

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            vacant: Vec::new(),
            hand: 0,
        }
    }

    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.positions() - self.vacant.len()
    }

    /// How many positions were ever used.
    fn positions(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub(super) fn insert(&mut self, item: T) -> u32 {
        if let Some(position) = self.vacant.pop() {
            let (chunk, offset) = split(position);
            self.chunks[chunk][offset] = Some(item);
            return position;
        }
        let position =
            u32::try_from(self.positions()).expect("a shard holds fewer than 2^32 items");
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self
            .chunks
            .last_mut()
            .expect("a chunk with room was just made sure of");
        last.push(Some(item));
        position
    }

    pub(super) fn get(&self, position: u32) -> Option<&T> {
        let (chunk, offset) = split(position);
        self.chunks.get(chunk)?.get(offset)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, position: u32) -> Option<&mut T> {
        let (chunk, offset) = split(position);
        self.chunks.get_mut(chunk)?.get_mut(offset)?.as_mut()
    }

    pub(super) fn remove(&mut self, position: u32) -> Option<T> {
        let (chunk, offset) = split(position);
        let item = self.chunks.get_mut(chunk)?.get_mut(offset)?.take()?;
        self.vacant.push(position);
        Some(item)
    }

    /// Every item with its position.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(self.chunks.iter().flatten())
            .filter_map(|(position, item)| Some((position, item.as_ref()?)))
    }

    /// The next position on an endless walk over all of them, for collecting garbage a little at a time.
    pub(super) fn walk(&mut self) -> Option<u32> {
        let positions =
            u32::try_from(self.positions()).expect("a shard holds fewer than 2^32 items");
        if positions == 0 {
            return None;
        }
        self.hand = if self.hand + 1 < positions {
            self.hand + 1
        } else {
            0
        };
        Some(self.hand)
    }
}

const fn split(position: u32) -> (usize, usize) {
    (position as usize / CHUNK, position as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_stable_and_reused() {
        let mut slab = Slab::new();
        let positions: Vec<_> = (0..300).map(|item| slab.insert(item)).collect();
        assert_eq!(slab.remove(positions[7]), Some(7));
        assert_eq!(slab.remove(positions[7]), None);
        assert_eq!((slab.len(), slab.get(positions[299])), (299, Some(&299)));
        assert_eq!(slab.insert(-1), positions[7]);
        assert_eq!(slab.get_mut(7), Some(&mut -1));
        assert_eq!(slab.get(300), None);
    }

    #[test]
    fn the_walk_meets_every_position() {
        let mut slab = Slab::new();
        assert_eq!(slab.walk(), None);
        for item in 0..5 {
            slab.insert(item);
        }
        let mut seen: Vec<_> = (0..5).filter_map(|_| slab.walk()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
}
