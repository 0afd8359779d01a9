//! A counted pointer, as `Arc` is one, to what a task costs: memory that is handed out in blocks.
//!
//! An allocator takes longer over a task's fifty bytes than the pool takes over the task. So a thread asks it for a
//! block and cuts from that what it submits, one after the other; a block goes back when all that was cut from it is
//! gone. Nothing is used twice, so nothing has to be looked for. A future that is kept for long keeps its block, which
//! is why that is small.
//!
//! Unlike with `Arc`, what it points to can be [lent](lend) as one of the traits that it implements, for the time of a call
//! and without counting: on stable Rust `Arc` is the only counted pointer by which a trait's method can be called.
//!
//! Unsafe code: Miri runs the tests below, and those of the futures that are made of this.

#![expect(unsafe_code, reason = "whoever counts by himself frees by himself")]

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    any::Any,
    cell::Cell,
    marker::PhantomData,
    mem::{self, ManuallyDrop},
    ops::Deref,
    process,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU16, AtomicU32, Ordering, fence},
};

/// One of those that hold a value together. The last to go drops it.
pub(crate) struct Counted<T: ?Sized>(NonNull<Slot<T>>, PhantomData<Slot<T>>);

/// A value where it lies, with the number of those who hold it.
#[repr(C)]
pub(crate) struct Slot<T: ?Sized> {
    holders: AtomicU32,
    /// How many [`Weak`] ones there are, and one more as long as there are holders. When it comes to none, so does the place.
    weak: AtomicU16,
    /// How many bytes behind the beginning of its block it begins; none if it has a place of its own. Never changes.
    offset: u16,
    value: T,
}

/// Knows the value, and does not hold it.
pub(crate) struct Weak<T: ?Sized>(NonNull<Slot<T>>);

/// A [`Counted`] without a count of its own, for as long as one that has one is borrowed.
pub(crate) struct View<'a, T: ?Sized>(ManuallyDrop<Counted<T>>, PhantomData<&'a Counted<T>>);

/// Sees what a [`Counted`] points to as a trait that it implements: `widen!(task => dyn Inside)`.
macro_rules! widen {
    ($counted:expr => $wide:ty) => {{
        let slot = $crate::counted::Counted::into_raw($counted);
        let slot: *mut $crate::counted::Slot<$wide> = slot;
        #[expect(unsafe_code, reason = "no stable trait says what a pointer can be widened to")]
        // SAFETY: the compiler has widened the pointer; it is to the same value still, and a count goes with it.
        unsafe {
            $crate::counted::Counted::from_raw(slot)
        }
    }};
}
pub(crate) use widen;

/// A [`View`] of what a [`Counted`] points to, as a trait that it implements: `lend!(task => dyn Inside)`.
macro_rules! lend {
    ($counted:expr => $wide:ty) => {{
        let counted = $counted;
        let slot = $crate::counted::Counted::as_raw(counted);
        let slot: *mut $crate::counted::Slot<$wide> = slot;
        #[expect(unsafe_code, reason = "no stable trait says what a pointer can be widened to")]
        // SAFETY: the compiler has widened the pointer; it is to the same value still.
        unsafe {
            $crate::counted::Counted::view(counted, slot)
        }
    }};
}
pub(crate) use lend;

// SAFETY: as with `Arc`: a value is seen from any thread that has one of these, and dropped in whichever is the last.
unsafe impl<T: ?Sized + Send + Sync> Send for Counted<T> {}
// SAFETY: as above; who sees one of these can make another.
unsafe impl<T: ?Sized + Send + Sync> Sync for Counted<T> {}
// SAFETY: it can become one of those in whichever thread it is.
unsafe impl<T: ?Sized + Send + Sync> Send for Weak<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Weak<T> {}

// The value stays where it is, whatever happens to this.
impl<T: ?Sized> Unpin for Counted<T> {}

impl<T> Counted<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(held_by(1, value), PhantomData)
    }

    /// Two holders at once, which is cheaper than one after the other.
    pub(crate) fn pair(value: T) -> (Self, Self) {
        let slot = held_by(2, value);
        (Self(slot, PhantomData), Self(slot, PhantomData))
    }
}

/// Puts the value in a place of its own. There must be so many who hold it.
fn held_by<T>(holders: u32, value: T) -> NonNull<Slot<T>> {
    let layout = Layout::new::<Slot<T>>();
    let (place, offset) = if is_cut_from_a_block(layout) { cut(layout) } else { (allocate(layout), 0) };
    let slot = place.cast::<Slot<T>>();
    // SAFETY: the place is new, and large and aligned enough for a slot.
    unsafe { slot.write(Slot { holders: AtomicU32::new(holders), weak: AtomicU16::new(1), offset, value }) };
    slot
}

impl<T: ?Sized> Counted<T> {
    /// The pointer, with the count that goes with it.
    pub(crate) fn into_raw(this: Self) -> *mut Slot<T> {
        ManuallyDrop::new(this).0.as_ptr()
    }

    /// # Safety
    ///
    /// The pointer is one that [`into_raw`](Self::into_raw) has given, widened or not, and is used this once.
    pub(crate) unsafe fn from_raw(slot: *mut Slot<T>) -> Self {
        // SAFETY: what it was got from was not null.
        Self(unsafe { NonNull::new_unchecked(slot) }, PhantomData)
    }

    /// The pointer, which the count stays with.
    pub(crate) fn as_raw(this: &Self) -> *mut Slot<T> {
        this.0.as_ptr()
    }

    /// The same without a count of its own.
    ///
    /// # Safety
    ///
    /// The pointer is [this one's](Self::as_raw), widened or not.
    pub(crate) unsafe fn view<U: ?Sized>(_this: &Self, slot: *mut Slot<U>) -> View<'_, U> {
        // SAFETY: what it was got from was not null. The count that this one speaks of is never given back.
        View(ManuallyDrop::new(unsafe { Counted::from_raw(slot) }), PhantomData)
    }

    pub(crate) fn downgrade(this: &Self) -> Weak<T> {
        Weak::one_more(this.0)
    }

    /// The value, if nobody else holds it or could come to.
    pub(crate) fn get_mut(this: &mut Self) -> Option<&mut T> {
        let slot = this.slot();
        // In this order: one that was weak a moment ago, and is none any more, may hold it now, and has done so before.
        let is_alone = slot.weak.load(Ordering::Acquire) == 1 && slot.holders.load(Ordering::Acquire) == 1;
        // SAFETY: the slot is there as long as this is. Only this one could make another holder, and it is borrowed; what
        // the others did before they went comes before this, by their release.
        is_alone.then(|| unsafe { &mut (*this.0.as_ptr()).value })
    }

    fn slot(&self) -> &Slot<T> {
        // SAFETY: the slot is there as long as this is.
        unsafe { self.0.as_ref() }
    }

    /// Drops the value, which nobody holds any more, and gives its place back.
    #[inline(never)]
    fn end(&mut self) {
        // Goes also if dropping the value panics.
        let _for_all_holders = Weak(self.0);
        // SAFETY: nobody holds it any more, so it is dropped here and nowhere else, and not looked at afterwards.
        unsafe { ptr::drop_in_place(&raw mut (*self.0.as_ptr()).value) };
    }

    /// The same as what it is, if that is a `U`. `as_any` is the value itself and no part of it.
    pub(crate) fn downcast<U: Any>(self, as_any: impl FnOnce(&T) -> &dyn Any) -> Option<Counted<U>> {
        let value = as_any(&self).downcast_ref::<U>()?;
        assert!(ptr::addr_eq(value, &raw const *self), "it is the value itself");
        Some(Counted(ManuallyDrop::new(self).0.cast(), PhantomData))
    }
}

impl<T: ?Sized> Deref for Counted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.slot().value
    }
}

impl<T: ?Sized> Clone for Counted<T> {
    #[inline]
    fn clone(&self) -> Self {
        // One that is there already tells no news of the value.
        if self.slot().holders.fetch_add(1, Ordering::Relaxed) > u32::MAX / 2 {
            // So many can only have been forgotten; and were the count to begin anew, the value would go too early.
            process::abort();
        }
        Self(self.0, PhantomData)
    }
}

impl<T: ?Sized> Drop for Counted<T> {
    #[inline]
    fn drop(&mut self) {
        if self.slot().holders.fetch_sub(1, Ordering::Release) == 1 {
            // What the others have done with it comes before its end.
            fence(Ordering::Acquire);
            self.end();
        }
    }
}

impl<T: ?Sized> Weak<T> {
    /// Another one, beside that or the holder by which the slot is known to be there.
    fn one_more(slot: NonNull<Slot<T>>) -> Self {
        let this = Self(slot);
        // Few are made of one task. Were they so many, its place would be given back too early.
        if this.weak().fetch_add(1, Ordering::Relaxed) > u16::MAX / 2 {
            process::abort();
        }
        this
    }

    /// One that holds the value, if anyone does.
    pub(crate) fn upgrade(&self) -> Option<Counted<T>> {
        let one_more = |holders: u32| (holders > 0).then(|| holders + 1);
        self.holders().fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).ok()?;
        Some(Counted(self.0, PhantomData))
    }

    // The value itself is none of its business: it may just be dropped.

    fn holders(&self) -> &AtomicU32 {
        // SAFETY: the slot is there as long as this is.
        unsafe { &(*self.0.as_ptr()).holders }
    }

    fn weak(&self) -> &AtomicU16 {
        // SAFETY: as above.
        unsafe { &(*self.0.as_ptr()).weak }
    }

    /// Gives the place back, which nobody knows any more.
    fn end(&self) {
        // SAFETY: as above, and nobody else has to do with it.
        let slot = unsafe { self.0.as_ref() };
        let (layout, offset) = (Layout::for_value(slot), slot.offset);
        let place = self.0.cast::<u8>();
        if is_cut_from_a_block(layout) {
            // SAFETY: so many bytes before it is where its block begins, and it counts as cut from it until here.
            unsafe { Block::give_back(place.sub(offset.into()).cast(), 1) };
        } else {
            // SAFETY: it was allocated by itself, with this very layout.
            unsafe { dealloc(place.as_ptr(), layout) };
        }
    }
}

impl<T: ?Sized> Clone for Weak<T> {
    fn clone(&self) -> Self {
        Self::one_more(self.0)
    }
}

impl<T: ?Sized> Drop for Weak<T> {
    #[inline]
    fn drop(&mut self) {
        // Of the last one nobody can make another; most tasks know but this one.
        if self.weak().load(Ordering::Acquire) == 1 {
            self.end();
        } else if self.weak().fetch_sub(1, Ordering::Release) == 1 {
            // What the others have done with it comes before its end.
            fence(Ordering::Acquire);
            self.end();
        }
    }
}

impl<T: ?Sized> View<'_, T> {
    /// Forgets what it is borrowed from.
    ///
    /// # Safety
    ///
    /// It is not used after that is gone.
    pub(crate) unsafe fn for_ever(self) -> View<'static, T> {
        View(self.0, PhantomData)
    }
}

impl<T: ?Sized> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        Self(ManuallyDrop::new(Counted(self.0.0, PhantomData)), PhantomData)
    }
}

impl<T: ?Sized> Deref for View<'_, T> {
    type Target = Counted<T>;

    #[inline]
    fn deref(&self) -> &Counted<T> {
        &self.0
    }
}

/// Memory from which slots are cut, and before them this.
struct Block {
    /// How many of the slots that were cut are not given back; as long as more may be cut, [`OPEN`] more than that.
    left: AtomicU32,
}

/// More than can be cut from a block.
const OPEN: u32 = 1 << 16;

/// With the word that an allocator adds it makes a round number. A dozen small tasks share its price.
const BLOCK: Layout = match Layout::from_size_align(640 - mem::size_of::<usize>(), 16) {
    Ok(layout) => layout,
    Err(_) => panic!("it is a power of two"),
};

/// What is larger has a place of its own.
const LARGEST: usize = 128;

fn is_cut_from_a_block(layout: Layout) -> bool {
    layout.size() <= LARGEST && layout.align() <= BLOCK.align()
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: a slot and a block have a size.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// The block that a thread cuts from.
struct Cutting {
    block: Option<NonNull<Block>>,
    /// Up to where it is cut, in bytes.
    used: usize,
    /// How many slots were cut.
    slots: u32,
}

thread_local! {
    static CUTTING: AtHand = const { AtHand(Cell::new(Cutting::NOTHING)) };
}

/// Ends with its thread.
struct AtHand(Cell<Cutting>);

impl Drop for AtHand {
    fn drop(&mut self) {
        self.0.take().close();
    }
}

/// A place for a slot of this layout, and how far behind the beginning of its block it is.
fn cut(layout: Layout) -> (NonNull<u8>, u16) {
    let cut = |cutting: &AtHand| {
        let mut block = cutting.0.take();
        let place = block.cut(layout);
        cutting.0.set(block);
        place
    };
    CUTTING.try_with(cut).unwrap_or_else(|_| {
        // The thread is at its end, and has no use for a block.
        let mut block = Cutting::NOTHING;
        let place = block.cut(layout);
        block.close();
        place
    })
}

impl Default for Cutting {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Cutting {
    const NOTHING: Self = Self { block: None, used: 0, slots: 0 };

    #[inline]
    fn cut(&mut self, layout: Layout) -> (NonNull<u8>, u16) {
        let mut start = self.used.next_multiple_of(layout.align());
        let block = match self.block {
            Some(block) if start + layout.size() <= BLOCK.size() => block,
            _ => {
                start = mem::size_of::<Block>().next_multiple_of(layout.align());
                self.renew()
            }
        };
        self.used = start + layout.size();
        self.slots += 1;
        // SAFETY: the block is there, since it is open; and the place is inside it, behind all that was cut.
        (unsafe { block.cast::<u8>().add(start) }, start as u16)
    }

    #[inline(never)]
    fn renew(&mut self) -> NonNull<Block> {
        mem::take(self).close();
        let block = allocate(BLOCK).cast::<Block>();
        // SAFETY: it is new, and large and aligned enough.
        unsafe { block.write(Block { left: AtomicU32::new(OPEN) }) };
        self.block = Some(block);
        block
    }

    /// Cuts no more from it.
    fn close(self) {
        if let Some(block) = self.block {
            // SAFETY: it was open until here.
            unsafe { Block::give_back(block, OPEN - self.slots) };
        }
    }
}

impl Block {
    /// Counts down by so many, and gives the block back with the last.
    ///
    /// # Safety
    ///
    /// So many are counted, of which the caller speaks for each.
    unsafe fn give_back(this: NonNull<Self>, many: u32) {
        // SAFETY: the block is there as long as anything is counted.
        if unsafe { this.as_ref() }.left.fetch_sub(many, Ordering::AcqRel) == many {
            // SAFETY: it was allocated so, and nobody speaks for it any more.
            unsafe { dealloc(this.as_ptr().cast(), BLOCK) };
        }
    }
}

#[cfg(all(test, not(raincheck_loom)))]
mod tests {
    use std::{
        fmt::Debug,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Arc, Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::{BLOCK, Block, Counted, LARGEST, Slot};

    /// Counts those that are dropped.
    #[derive(Clone, Debug, Default)]
    struct Drops(Arc<AtomicUsize>);

    impl Drops {
        fn so_far(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn block_of<T>(counted: &Counted<T>) -> usize {
        counted.0.addr().get() - counted.slot().offset as usize
    }

    #[test]
    fn the_last_holder_drops_the_value() {
        let drops = Drops::default();
        let one = Counted::new(drops.clone());
        let other = one.clone();

        drop(one);
        assert_eq!(drops.so_far(), 0);
        drop(other);
        assert_eq!(drops.so_far(), 1);
    }

    #[test]
    fn holders_on_many_threads_drop_it_once() {
        const ROUNDS: usize = if cfg!(miri) { 20 } else { 2_000 };
        for _ in 0..ROUNDS {
            let drops = Drops::default();
            let all = Counted::new((drops.clone(), 7));
            let start = Barrier::new(3);
            thread::scope(|scope| {
                for _ in 0..3 {
                    let one = all.clone();
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        assert_eq!((*one.clone()).1, 7);
                    });
                }
                drop(all);
            });
            assert_eq!(drops.so_far(), 1);
        }
    }

    #[test]
    fn what_other_threads_keep_outlives_the_thread_that_made_it() {
        let kept: Vec<Counted<u64>> = thread::spawn(|| (0..100).map(Counted::new).collect()).join().unwrap();
        assert!(kept.iter().map(|one| **one).eq(0..100));
    }

    #[test]
    fn small_values_share_a_block_and_large_ones_have_a_place_of_their_own() {
        #[repr(align(64))]
        struct Aligned(u8);

        let (one, other) = (Counted::new(1_u32), Counted::new(2_u128));
        assert!(block_of(&one).abs_diff(block_of(&other)) <= BLOCK.size());
        assert!(one.slot().offset > 0 && other.slot().offset > 0);
        assert!((&raw const *other).is_aligned());

        let large = Counted::new([3_u8; LARGEST]);
        let aligned = Counted::new(Aligned(4));
        assert_eq!((large.slot().offset, aligned.slot().offset), (0, 0));
        assert!((&raw const *aligned).is_aligned());
        assert_eq!((*one, *other, large[LARGEST - 1], (*aligned).0), (1, 2, 3, 4));
    }

    #[test]
    fn a_block_holds_a_dozen_small_tasks() {
        let task = size_of::<Slot<[usize; 5]>>();
        assert!((BLOCK.size() - size_of::<Block>()) / task >= 12);
    }

    #[test]
    fn only_who_is_alone_may_change_it() {
        let mut one = Counted::new(1);
        let other = one.clone();
        assert!(Counted::get_mut(&mut one).is_none());

        drop(other);
        *Counted::get_mut(&mut one).unwrap() = 2;
        assert_eq!(*one, 2);
    }

    #[test]
    fn what_is_lent_counts_for_nothing_until_it_is_cloned() {
        let drops = Drops::default();
        let mut one = Counted::new(drops.clone());
        let kept: Counted<dyn Debug + Send + Sync> = {
            let lent = lend!(&one => dyn Debug + Send + Sync);
            (*lent).clone()
        };
        assert!(Counted::get_mut(&mut one).is_none());

        drop(one);
        assert_eq!(drops.so_far(), 0);
        drop(kept);
        assert_eq!(drops.so_far(), 1);
    }

    #[test]
    fn who_knows_it_keeps_its_place_and_not_the_value() {
        let drops = Drops::default();
        let mut one = Counted::new(drops.clone());
        let weak = Counted::downgrade(&one);
        assert!(Counted::get_mut(&mut one).is_none(), "another could come to hold it");
        drop(weak.clone().upgrade().expect("it is held"));

        drop(one);
        assert_eq!(drops.so_far(), 1);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn who_comes_to_hold_it_meets_whoever_lets_go_last() {
        const ROUNDS: usize = if cfg!(miri) { 20 } else { 2_000 };
        for _ in 0..ROUNDS {
            let drops = Drops::default();
            let mut one = Counted::new((drops.clone(), 7));
            let weak = Counted::downgrade(&one);
            let start = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    let held = weak.upgrade();
                    drop(weak);
                    assert!(held.is_none_or(|held| (*held).1 >= 7));
                });
                start.wait();
                if let Some(alone) = Counted::get_mut(&mut one) {
                    alone.1 += 1;
                }
                drop(one);
            });
            assert_eq!(drops.so_far(), 1);
        }
    }

    #[test]
    fn a_value_that_panics_in_its_drop_is_dropped_once() {
        struct Panics {
            _drops: Drops,
        }
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let drops = Drops::default();
        let one = Counted::new(Panics { _drops: drops.clone() });
        assert!(catch_unwind(AssertUnwindSafe(|| drop(one))).is_err());
        assert_eq!(drops.so_far(), 1);
    }
}
