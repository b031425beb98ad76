//! What does.
