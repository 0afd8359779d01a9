//! One buffer that many threads fill, each its own piece, and that becomes a `Vec` as it stands.
//!
//! Beside `counted`, `scope` and `brief` this is where the core has unsafe code: to fill a `Vec` one thread after the other
//! takes as long as a quick map itself, nearly all of it for memory that is touched for the first time.

#![expect(unsafe_code, reason = "no safe code lets several threads fill the room that a `Vec` has")]

use std::{
    mem::{self, ManuallyDrop, MaybeUninit},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

/// Room for values, of which the beginning is whole: filled, and all its pieces back.
pub(crate) struct Whole<T> {
    room: Arc<Room<T>>,
    /// How many values are there and owned by this.
    whole: usize,
    /// How much of the room is cut into pieces.
    cut: usize,
}

/// A part of the room, which nobody else touches. Owns the values in it.
pub(crate) struct Piece<T> {
    room: Arc<Room<T>>,
    start: usize,
    size: usize,
    filled: usize,
}

/// The memory. It is given back, and no value in it dropped, when the last piece is gone.
struct Room<T>(NonNull<[MaybeUninit<T>]>);

// SAFETY: the memory belongs to this value, as a box's does.
unsafe impl<T: Send> Send for Room<T> {}
// SAFETY: what is shared is the room and not what is in it. Each value is reached through its piece alone, or once that
// is back through the whole, and nobody else reaches it.
unsafe impl<T: Send> Sync for Room<T> {}

const ALL_BACK: &str = "a whole is finished when all its pieces are back";

impl<T> Whole<T> {
    /// Room for so many values; `None` if there is not that much memory.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let mut memory = Vec::<MaybeUninit<T>>::new();
        memory.try_reserve_exact(size).ok()?;
        // SAFETY: there is so much memory, and what may be without a value is there as it is.
        unsafe { memory.set_len(size) };
        let memory = NonNull::new(Box::into_raw(memory.into_boxed_slice())).expect("a box lies somewhere");
        Some(Self { room: Arc::new(Room(memory)), whole: 0, cut: 0 })
    }

    /// The next piece. `None` if there is no room for one that large, and from then on always.
    pub(crate) fn cut(&mut self, size: usize) -> Option<Piece<T>> {
        let start = self.cut;
        if size > self.room.0.len() - start {
            self.cut = self.room.0.len();
            return None;
        }
        self.cut += size;
        Some(Piece { room: Arc::clone(&self.room), start, size, filled: 0 })
    }

    /// Takes a piece back: the one after those that are back.
    ///
    /// # Panics
    ///
    /// If it is another one, or not full.
    pub(crate) fn join(&mut self, mut piece: Piece<T>) {
        assert!(Arc::ptr_eq(&self.room, &piece.room) && piece.start == self.whole, "pieces come back in order");
        assert!(piece.filled == piece.size, "a piece that comes back is full");
        // Its values change hands here.
        self.whole += mem::take(&mut piece.filled);
    }

    /// The values, where they are.
    ///
    /// # Panics
    ///
    /// If not all pieces are back.
    pub(crate) fn into_vec(mut self) -> Vec<T> {
        let len = mem::take(&mut self.whole);
        let room = Arc::clone(&self.room);
        drop(self);
        let room = ManuallyDrop::new(Arc::into_inner(room).expect(ALL_BACK));
        // SAFETY: the memory was a box's of this size, nobody else has it any more, and the first `len` values are
        // there, since `join` has made sure of each piece.
        unsafe { Vec::from_raw_parts(room.0.as_ptr().cast(), len, room.0.len()) }
    }
}

impl<T> Piece<T> {
    /// How many values it has so far.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// Takes off what lies behind so much of it, as a piece by itself.
    ///
    /// # Panics
    ///
    /// If it is not that large, or has more values.
    pub(crate) fn split_off(&mut self, size: usize) -> Self {
        assert!(self.filled <= size && size <= self.size, "what is split off is room");
        let behind = self.size - size;
        self.size = size;
        Self { room: Arc::clone(&self.room), start: self.start + size, size: behind, filled: 0 }
    }

    /// Adds values, as many as there is room for. Those that came before one panics stay.
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = T>) {
        let Self { room, start, size, filled } = self;
        let free = *size - *filled;
        // SAFETY: the piece lies within the room, and pieces do not overlap: `cut` hands out each part once, and
        // `split_off` makes two of one. What is borrowed here is as exclusive as `self` is.
        let free = unsafe { slice::from_raw_parts_mut(room.first().add(*start + *filled), free) };
        for (place, value) in free.iter_mut().zip(values) {
            place.write(value);
            *filled += 1;
        }
    }
}

impl<T> Room<T> {
    fn first(&self) -> *mut MaybeUninit<T> {
        self.0.as_ptr().cast()
    }

    /// Drops some of the values.
    ///
    /// # Safety
    ///
    /// They are there, nobody else reaches them, and nobody does from now on.
    unsafe fn drop_values(&self, start: usize, count: usize) {
        // SAFETY: as above.
        unsafe { ptr::slice_from_raw_parts_mut(self.first().add(start).cast::<T>(), count).drop_in_place() }
    }
}

impl<T> Drop for Whole<T> {
    fn drop(&mut self) {
        // SAFETY: the values of pieces that are back belong to this.
        unsafe { self.room.drop_values(0, self.whole) }
    }
}

impl<T> Drop for Piece<T> {
    fn drop(&mut self) {
        // SAFETY: the values belong to the piece until `join`, which leaves it none.
        unsafe { self.room.drop_values(self.start, self.filled) }
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        // SAFETY: it was a box, and who has shared it is gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, thread};

    use super::*;

    #[test]
    fn pieces_that_threads_fill_become_one_vec() {
        let mut whole = Whole::new(10).unwrap();
        let pieces = [3, 5, 2].map(|size| whole.cut(size).unwrap());

        let threads = pieces.map(|mut piece| {
            thread::spawn(move || {
                let first = piece.start;
                piece.extend((first..).map(|n| n.to_string()));
                piece
            })
        });
        for thread in threads {
            whole.join(thread.join().unwrap());
        }

        assert_eq!(whole.into_vec(), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_vec_goes_on_where_the_pieces_end() {
        let mut whole = Whole::new(4).unwrap();
        let mut piece = whole.cut(3).unwrap();
        piece.extend(["a", "b"].into_iter().map(String::from));
        assert_eq!(piece.len(), 2);
        piece.extend(["c", "no room"].into_iter().map(String::from));
        whole.join(piece);

        assert!(whole.cut(2).is_none());
        assert!(whole.cut(1).is_none());
        let mut all = whole.into_vec();
        all.push("d".into());

        assert_eq!(all, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_piece_is_split_where_its_values_end() {
        let mut whole = Whole::new(6).unwrap();
        let mut first = whole.cut(6).unwrap();
        first.extend(["a", "b"].into_iter().map(String::from));
        let mut second = first.split_off(2);
        let mut third = second.split_off(3);
        third.extend(["f", "no room"].into_iter().map(String::from));
        second.extend(["c", "d", "e", "no room"].into_iter().map(String::from));

        for piece in [first, second, third] {
            whole.join(piece);
        }
        assert_eq!(whole.into_vec(), ["a", "b", "c", "d", "e", "f"]);
    }

    #[test]
    #[should_panic(expected = "what is split off is room")]
    fn values_are_not_split_off() {
        let mut whole = Whole::new(2).unwrap();
        let mut piece = whole.cut(2).unwrap();
        piece.extend([1, 2].into_iter());

        let _behind = piece.split_off(1);
    }

    #[test]
    fn each_value_is_dropped_once_wherever_it_is() {
        let value = Arc::new(());
        let many = || std::iter::repeat_with(|| Arc::clone(&value));
        let mut whole = Whole::new(9).unwrap();
        let (mut back, mut partly, untouched) = (whole.cut(3).unwrap(), whole.cut(3).unwrap(), whole.cut(3).unwrap());
        back.extend(many());
        let panics = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            partly.extend(many().enumerate().map(|(n, value)| if n == 2 { panic!("no third") } else { value }));
        }));
        whole.join(back);

        assert!(panics.is_err());
        assert_eq!(Arc::strong_count(&value), 1 + 3 + 2);
        drop(whole);
        assert_eq!(Arc::strong_count(&value), 1 + 2);
        drop((partly, untouched));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn values_of_no_size_have_room_too() {
        let mut whole = Whole::new(2).unwrap();
        let mut piece = whole.cut(2).unwrap();
        piece.extend([(), ()].into_iter());
        whole.join(piece);

        assert_eq!(whole.into_vec(), [(), ()]);
    }

    #[test]
    fn there_is_no_room_for_more_than_there_is_memory() {
        assert!(Whole::<u64>::new(usize::MAX).is_none());
    }

    #[test]
    #[should_panic(expected = "all its pieces are back")]
    fn what_is_still_out_is_not_handed_out() {
        let mut whole = Whole::<u8>::new(2).unwrap();
        let _piece = whole.cut(2);

        whole.into_vec();
    }

    #[test]
    #[should_panic(expected = "full")]
    fn what_is_not_full_does_not_come_back() {
        let mut whole = Whole::<u8>::new(2).unwrap();
        let piece = whole.cut(2).unwrap();

        whole.join(piece);
    }
}
