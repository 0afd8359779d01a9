//! `#[task]`
