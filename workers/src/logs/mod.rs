//! What steps print, on its way from the machine they run on to whoever reads it.
//!
//! The spool of an attempt (`supervisor::spool`) is the original. A worker ships what is in it to the ledger, part by
//! part ([`Shipper`]); anywhere else it is read from there ([`Remote`]), and looks as it does beside the spool. How far it
//! has come the ledger alone knows: whoever ships asks it first, so nothing is lost or doubled, whoever dies.

mod frames;
mod remote;
mod shipper;
mod spooled;
#[cfg(test)]
mod tests;

pub use remote::Remote;
pub use shipper::Shipper;
