//! Many bytes, as one value that is passed on and never copied.

use std::{fmt, io, ops::Deref, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

#[cfg(all(feature = "process", unix))]
use crate::segment::{self, Held, LEAST, Segment};

/// Many bytes, which go from task to task without being copied: an image, an archive, a table that all tasks read.
///
/// It derefs to `[u8]`; a clone is the same bytes. In this process it is shared memory as any `Arc`. As an argument or
/// a value of a task in a `ProcessPool`, alone or inside another type, it crosses as memory that both processes map,
/// and the other process reads it where it lies. That memory is used again once nobody holds it, in either process,
/// and is gone with the last of them, however they end. Less than 128 KiB is copied, which is faster then. Anywhere
/// else serde knows it as bytes.
///
/// A `Vec<u8>` can be an argument too, but serde writes and reads it byte by byte: a hundred times slower.
///
/// # Examples
///
/// ```
/// use raincheck::{Blob, Executor, Inline};
///
/// #[raincheck::task]
/// fn newlines(text: Blob) -> usize {
///     text.iter().filter(|byte| **byte == b'\n').count()
/// }
///
/// # fn main() -> Result<(), raincheck::TaskError> {
/// let text = Blob::from(b"rain\ncheck\n".to_vec());
/// assert_eq!(Inline::new().submit(newlines::call(text.clone())).result()?, 2);
/// assert_eq!(text.len(), 11);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Blob(Arc<Bytes>);

struct Bytes {
    store: Store,
    len: usize,
    /// The same in memory that can cross, once it has.
    #[cfg(all(feature = "process", unix))]
    crossing: std::sync::OnceLock<Arc<Segment>>,
}

/// Where the bytes are: at the beginning of this.
enum Store {
    Heap(Vec<u8>),
    #[cfg(all(feature = "process", unix))]
    Shared(Held),
}

impl Blob {
    fn of(store: Store, len: usize) -> Self {
        Self(Arc::new(Bytes {
            store,
            len,
            #[cfg(all(feature = "process", unix))]
            crossing: std::sync::OnceLock::new(),
        }))
    }

    /// Makes a blob of `len` bytes where it is to be: `fill` writes them. Unlike one that is made from a `Vec`, it is
    /// not copied when it first goes to another process.
    ///
    /// What `fill` finds there is unspecified: it writes all of it.
    pub fn build(len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut fill = Some(fill);
        #[cfg(all(feature = "process", unix))]
        if len >= LEAST {
            let built = Segment::build(len, |bytes| {
                if let Some(fill) = fill.take() {
                    fill(bytes);
                }
            });
            if let Ok(segment) = built {
                return Self::of(Store::Shared(Held::Own(Arc::new(segment))), len);
            }
        }
        let mut bytes = vec![0; len];
        if let Some(fill) = fill.take() {
            fill(&mut bytes);
        }
        Self::from(bytes)
    }

    /// Reads all that there is.
    ///
    /// # Errors
    ///
    /// With the reader's error.
    pub fn read_from(mut reader: impl io::Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self::of(Store::Heap(bytes), len)
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self::build(bytes.len(), |to| to.copy_from_slice(bytes))
    }
}

impl From<String> for Blob {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0.store {
            Store::Heap(bytes) => bytes,
            #[cfg(all(feature = "process", unix))]
            Store::Shared(held) => &held.bytes()[..self.0.len],
        }
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Blob {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Eq for Blob {}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len)
    }
}

#[cfg(all(feature = "process", unix))]
impl Blob {
    /// The bytes in memory that can go where the message goes that this thread writes; `None` if they are better
    /// copied, or there is no such memory.
    fn to_cross(&self) -> Option<Held> {
        if self.0.len < LEAST || !segment::can_attach() {
            return None;
        }
        match &self.0.store {
            Store::Shared(held @ Held::Own(_)) => return Some(held.clone()),
            Store::Shared(held @ Held::Lent(lease)) if segment::goes_back(lease) => return Some(held.clone()),
            Store::Shared(Held::Lent(_) | Held::File(..) | Held::Lost(_)) | Store::Heap(_) => {}
        }
        if self.0.crossing.get().is_none() {
            let copy = Segment::build(self.0.len, |to| to.copy_from_slice(self)).ok()?;
            // Who was first is as good.
            let _ = self.0.crossing.set(Arc::new(copy));
        }
        self.0.crossing.get().map(|segment| Held::Own(Arc::clone(segment)))
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[cfg(all(feature = "process", unix))]
        if let Some(held) = self.to_cross() {
            return (segment::attach(held), self.0.len).serialize(serializer);
        }
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;

        impl<'de> Visitor<'de> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(bytes.to_vec().into())
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(bytes.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Blob, A::Error> {
                #[cfg(all(feature = "process", unix))]
                if crate::carry::is_reading() {
                    return crossed(seq);
                }
                let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(1 << 20));
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes.into())
            }
        }

        #[cfg(all(feature = "process", unix))]
        if crate::carry::is_reading() {
            return deserializer.deserialize_any(BlobVisitor);
        }
        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

/// Finds what has come with the message.
#[cfg(all(feature = "process", unix))]
fn crossed<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Blob, A::Error> {
    use serde::de::Error as _;

    let mut next = || seq.next_element::<u64>()?.ok_or_else(|| A::Error::custom("a blob is named by two numbers"));
    let (key, len) = (next()?, next()?);
    let held = segment::attached(key)
        .ok_or_else(|| A::Error::custom("the memory of a blob has not come, or there is no room for it"))?;
    match usize::try_from(len) {
        Ok(len) if len <= held.bytes().len() => Ok(Blob::of(Store::Shared(held), len)),
        _ => Err(A::Error::custom("a blob is larger than its memory")),
    }
}
