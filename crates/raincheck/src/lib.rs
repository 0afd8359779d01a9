//! raincheck
