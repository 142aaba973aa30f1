//! Files at an https address.
//!
//! A remote is fetched whole and only read: whose people are in it is decided elsewhere. An address
//! that an administrator of a tenant enters must not become a way into the network of the operator, so
//! every address is checked before it is connected to, and the checked one is the one connected to.
//!
//! A proxy named by the environment is not used: behind a proxy, the address that was checked would
//! not be the one that is reached.

mod address;
mod fault;
mod fetch;
mod network;
mod probe;

pub use address::{AddressError, PASSWORD_BYTES_MAX, Remote, URL_BYTES_MAX, USER_BYTES_MAX};
pub use fault::{Fault, FetchError, TlsFault};
pub use fetch::{Fetched, REDIRECTS_MAX, VALIDATOR_BYTES_MAX, Validators};
pub use network::{BYTES_MAX, CONNECT_TIME_MAX, IDLE_TIME_MAX, Limits, Network, TOTAL_TIME_MAX};
pub use probe::{Outcome, Stage, StageName};
