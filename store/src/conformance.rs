//! The suite every ledger passes.
